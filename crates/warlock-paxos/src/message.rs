//! The messages between nodes. `PROTOCOL.md` has the table of who sends which to whom.

use alloc::vec::Vec;

use bytes::Bytes;
use wincode::{SchemaRead, SchemaWrite};

use crate::batch::Batch;
use crate::ids::{Ballot, NodeId, Origin, Slot, SlotRange, View};
use crate::membership::Charter;
use crate::record::PValue;
use crate::time::LogTime;

/// Everything that one node says to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum Message {
    /// Asks an acceptor to promise a ballot (PMMC 2, phase 1).
    P1a(P1a),
    /// Tells a scout what the acceptor promised and holds.
    P1b(P1b),
    /// Asks an acceptor to accept a pvalue (PMMC 2, phase 2).
    P2a(P2a),
    /// Tells a commander that the pvalue is durable, or which higher ballot forbids it.
    P2b(P2b),
    /// Asks an acceptor to accept a membership for the next reconfiguration slot.
    P2aView(P2aView),
    /// Tells a leader that the membership is durable, or which higher ballot forbids it.
    P2bView(P2bView),
    /// Tells a node which membership is in force (M4).
    InForce(InForce),
    /// Tells a replica how far the log is decided.
    Decision(Decision),
    /// Asks the master to put commands into the log.
    Propose(Propose),
    /// Tells a replica which of its proposals the leader will never put into the log.
    Declined(Declined),
    /// Tells every node that the sender lives and what it sees; asks for an answer.
    Heartbeat(Heartbeat),
    /// Tells the sender of a heartbeat that it was heard, and grants it the lease if it asked.
    Ack(Ack),
    /// Asks a replica for decided slots.
    Learn(Learn),
    /// Tells decided slots to a replica that lacks them.
    Learned(Learned),
    /// Asks the master, under its lease, for a slot at which a read is linearizable.
    ReadIndex(ReadIndex),
    /// Tells that slot.
    ReadIndexed(ReadIndexed),
    /// Tells an acceptor that the master gave its lease up (L5).
    Release(Release),
    /// Asks a node to start an election at once, because the master is leaving (L5).
    HandOver(HandOver),
    /// Asks for a part of the newest snapshot.
    SnapshotFetch(SnapshotFetch),
    /// Tells a part of a snapshot.
    SnapshotChunk(SnapshotChunk),
}

/// Asks an acceptor to promise a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct P1a {
    /// The ballot to promise.
    pub ballot: Ballot,
    /// The asking node has decided every slot below this one.
    pub decided: Slot,
}

/// Answers a [`P1a`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct P1b {
    /// The ballot that was asked for.
    pub asked: Ballot,
    /// The acceptor's ballot. Equal to `asked`: promised. Higher: preempted. Lower: refused because
    /// of a lease granted to another master (L1) or of the silence after a restart (L2).
    pub promised: Ballot,
    /// The acceptor's node knows every slot below this one to be decided; no pvalues are sent for
    /// those, the replica fetches them.
    pub decided: Slot,
    /// Accepted pvalues at or above both watermarks, in slot order.
    pub pvalues: Vec<PValue>,
    /// Slots that this acceptor held but cannot read: it abstains for them (P6).
    pub unknown: Vec<SlotRange>,
    /// The log time by this node's running clock; `None` while it has heard of none since its
    /// start.
    pub log_time: Option<LogTime>,
    /// The view in force on the acceptor's node. Lower than that of `asked`: it must be told the
    /// newer membership before it can promise.
    pub view: View,
    /// Every slot below is decided, though maybe not readable here: such a slot is never filled
    /// with a no-op, whoever cannot read it (P6).
    pub known: Slot,
    /// What it accepted for the reconfiguration slot after that view.
    pub reconfiguration: Option<Reconfiguration>,
}

/// A membership accepted for its reconfiguration slot under a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Reconfiguration {
    /// The ballot that it was accepted under, of the view before.
    pub ballot: Ballot,
    /// The content.
    pub charter: Charter,
}

/// Asks an acceptor to accept a membership for the reconfiguration slot after the ballot's view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct P2aView {
    /// The ballot of the leader.
    pub ballot: Ballot,
    /// The membership proposed.
    pub charter: Charter,
}

/// Answers a [`P2aView`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct P2bView {
    /// The ballot of the `P2aView` answered.
    pub asked: Ballot,
    /// The acceptor's ballot; higher than `asked` if it refused.
    pub promised: Ballot,
    /// The view that the membership would be of.
    pub view: View,
}

/// Tells which membership is in force: the newest one decided, whole, never one that is merely
/// accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct InForce {
    /// The membership.
    pub charter: Charter,
}

/// Asks an acceptor to accept a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct P2a {
    /// The ballot of the master.
    pub ballot: Ballot,
    /// The slot proposed for.
    pub slot: Slot,
    /// The content proposed.
    pub batch: Batch,
    /// Every slot below this one is decided and applied on the master (L4).
    pub decided: Slot,
}

/// Answers a [`P2a`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct P2b {
    /// The ballot of the `P2a` answered.
    pub asked: Ballot,
    /// The acceptor's ballot; higher than `asked` if it refused.
    pub promised: Ballot,
    /// The slot answered for.
    pub slot: Slot,
    /// Every slot below this one is durable on the acceptor's node.
    pub held: Slot,
}

/// Tells how far the log is decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Decision {
    /// The ballot of the master that says so. A pvalue that a node accepted under this very ballot
    /// for a slot below `decided` is the decided one.
    pub ballot: Ballot,
    /// Every slot below this one is decided and applied on the master (L4).
    pub decided: Slot,
}

/// Asks the master to put commands into the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Propose {
    /// The ballot of the master addressed; another master, or the same in a later ballot, ignores
    /// it.
    pub ballot: Ballot,
    /// Names the proposal.
    pub origin: Origin,
    /// Sequence of the sender's proposal that must come right before this one, or `None` if nothing
    /// before it waits any more. The master takes each sequence once and in order.
    pub previous: Option<u64>,
    /// Encoded commands.
    pub commands: Bytes,
}

/// Tells which proposals were never proposed and never will be, so that they may go to another
/// master.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Declined {
    /// The ballot that they were addressed to.
    pub ballot: Ballot,
    /// Proposals of the addressee under that ballot with this sequence or a higher one.
    pub from_sequence: u64,
}

/// What a node says of the mastership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum Standing {
    /// I am the master under this ballot and hold a lease of a quorum. Slots at or above `barrier`
    /// were never proposed under a lower ballot.
    Master {
        /// My ballot.
        ballot: Ballot,
        /// The first slot that this ballot proposed on its own.
        barrier: Slot,
    },
    /// I hear from this master, and it has a quorum.
    Follower {
        /// Its ballot.
        ballot: Ballot,
    },
    /// I see no master that has a quorum.
    Unhappy,
}

/// Tells that the sender lives and what it sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Heartbeat {
    /// Counts the sender's heartbeats; the answer repeats it, so that only round trips count.
    pub round: u64,
    /// The view in force on the sender.
    pub view: View,
    /// The highest ballot that the sender has seen.
    pub ballot: Ballot,
    /// Set if the sender leads with `ballot` and asks for its lease to be granted or renewed.
    pub lease: bool,
    /// What the sender says of the mastership.
    pub standing: Standing,
    /// The sender has applied every slot below this one.
    pub applied: Slot,
    /// The master's watermark, as in [`Decision`]; for others what they know.
    pub decided: Slot,
    /// Slots from which on each node holds no durable record; known to the master only.
    pub held: Vec<(NodeId, Slot)>,
    /// Log time by the sender's running clock.
    pub log_time: Option<LogTime>,
    /// Digest of the state before a slot, for comparison (state digests equal on all replicas).
    pub digest: Option<(Slot, u64)>,
}

/// Answers a [`Heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Ack {
    /// The round answered.
    pub round: u64,
    /// The view in force on the acceptor's node.
    pub view: View,
    /// The acceptor's ballot.
    pub promised: Ballot,
    /// Every slot below is durable on the acceptor's node: known there to be decided, or accepted
    /// under the ballot of the heartbeat.
    pub held: Slot,
    /// The lease asked for in this round is granted (L1).
    pub granted: bool,
    /// The acceptor's log has not synced for a lease although something waits for it.
    pub stalled: bool,
    /// The acceptor has just started and promises no new ballot yet (L2).
    pub silent: bool,
}

/// Asks a replica for decided slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Learn {
    /// The first slot wanted.
    pub from: Slot,
}

/// Answers a [`Learn`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Learned {
    /// The first slot told.
    pub from: Slot,
    /// Decided batches of consecutive slots from `from` on, bounded in bytes; may be empty.
    pub batches: Vec<Batch>,
    /// The answering node knows every slot below this one to be decided.
    pub decided: Slot,
    /// The wanted slot is gone from the log; a snapshot that covers all slots below this one
    /// exists.
    pub snapshot: Option<Slot>,
}

/// Asks the master for a slot at which a read is linearizable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct ReadIndex {
    /// Never used twice, also not for a retry.
    pub id: u64,
}

/// Answers a [`ReadIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct ReadIndexed {
    /// The id asked with.
    pub id: u64,
    /// The ballot and watermark of a master under its lease; `None` from a node that has none.
    pub index: Option<Decision>,
    /// The answering node has applied every slot below this one, and with it every write that was
    /// acknowledged before.
    pub applied: Slot,
}

/// Tells that a master gave its lease up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Release {
    /// The ballot whose grants end.
    pub ballot: Ballot,
}

/// Asks a node to start an election at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct HandOver {
    /// The ballot that was released.
    pub ballot: Ballot,
}

/// Asks for a part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct SnapshotFetch {
    /// The snapshot that a transfer goes on with; `None` asks for the newest.
    pub slot: Option<Slot>,
    /// Position of the first byte wanted.
    pub offset: u64,
}

/// Tells a part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct SnapshotChunk {
    /// The snapshot covers every slot below this one.
    pub slot: Slot,
    /// Position of the first byte.
    pub offset: u64,
    /// Length of the whole snapshot file in bytes.
    pub total: u64,
    /// The bytes; empty if the snapshot asked for is gone.
    pub bytes: Bytes,
}
