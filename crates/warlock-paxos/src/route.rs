//! Which role takes which input: the one place that every host routes by.

use alloc::sync::Arc;

use crate::ids::{Ballot, NodeId, Slot};
use crate::message::{Decision, Message};
use crate::output::Tell;

/// Names a role of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// The acceptor.
    Acceptor,
    /// The leader.
    Leader,
    /// The replica.
    Replica,
    /// The scout of a ballot; what comes after it has gone is dropped.
    Scout(Ballot),
    /// The commander of a slot; what comes after it has gone is the leader's.
    Commander(Ballot, Slot),
}

/// What arrives in the mailbox of a role.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// A message of a node, this one included.
    Peer {
        /// The sender.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// The word of another role of this node.
    Tell(Tell),
}

/// Hands a message of `from` to every role that it is for.
pub fn route_message(from: NodeId, message: Message, mut deliver: impl FnMut(RoleName, Input)) {
    let role = match &message {
        Message::P1a(_)
        | Message::P2a(_)
        | Message::P2aView(_)
        | Message::InForce(_)
        | Message::Release(_) => RoleName::Acceptor,
        Message::P1b(p1b) => RoleName::Scout(p1b.asked),
        Message::P2b(p2b) => RoleName::Commander(p2b.asked, p2b.slot),
        Message::Propose(_)
        | Message::Ack(_)
        | Message::ReadIndex(_)
        | Message::HandOver(_)
        | Message::P2bView(_) => RoleName::Leader,
        Message::Learn(_)
        | Message::Learned(_)
        | Message::ReadIndexed(_)
        | Message::Declined(_)
        | Message::SnapshotFetch(_)
        | Message::SnapshotChunk(_) => RoleName::Replica,
        Message::Decision(Decision { ballot, decided }) => {
            let watermark = Tell::Watermark { ballot: *ballot, decided: *decided };
            deliver(RoleName::Replica, Input::Tell(watermark));
            return;
        }
        Message::Heartbeat(heartbeat) => {
            let heard = Tell::Heard { from, heartbeat: Arc::new(heartbeat.clone()) };
            deliver(RoleName::Acceptor, Input::Peer { from, message });
            deliver(RoleName::Leader, Input::Tell(heard.clone()));
            deliver(RoleName::Replica, Input::Tell(heard));
            return;
        }
    };
    deliver(role, Input::Peer { from, message });
}

/// The role that something is told to.
#[must_use]
pub const fn addressee(tell: &Tell) -> RoleName {
    match tell {
        Tell::Decided { .. } | Tell::Installed(_) => RoleName::Acceptor,
        Tell::Accepted(_)
        | Tell::Members { .. }
        | Tell::Watermark { .. }
        | Tell::Chosen(_)
        | Tell::Vouched { .. }
        | Tell::Ahead { .. }
        | Tell::Mastership(_) => RoleName::Replica,
        Tell::Applied { .. }
        | Tell::Promised(_)
        | Tell::Adopted(_)
        | Tell::Preempted { .. }
        | Tell::Accomplished { .. }
        | Tell::Held { .. }
        | Tell::InForce { .. }
        | Tell::Heard { .. } => RoleName::Leader,
    }
}
