//! What a node sees of the others, and whether it may stand for election (OmniPaxos' ballot leader
//! election, carried over): heartbeat round trips say who is connected, standings say who is happy.
//!
//! A node scouts only if it is connected to a quorum, sees no master that has a quorum, and nobody
//! it hears from does. So neither a half-connected node deposes a working master, nor do the ends
//! of a chain depose each other for ever, nor does a cluster wait for a master that lost its
//! quorum.

use alloc::collections::{BTreeMap, VecDeque};

use crate::ids::{Ballot, NodeId, Slot};
use crate::membership::Membership;
use crate::message::Standing;
use crate::time::{Instant, Span};

/// Heartbeats whose answers still say something about the present.
const ROUNDS_REMEMBERED: usize = 32;

#[derive(Clone, Debug, Default)]
struct Peer {
    round_trip: Option<Instant>,
    heard: Option<(Instant, Standing)>,
}

/// What one node knows of the others.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    node: NodeId,
    patience: Span,
    peers: BTreeMap<NodeId, Peer>,
    rounds: VecDeque<(u64, Instant)>,
    released: Ballot,
}

impl Surroundings {
    pub(crate) fn new(node: NodeId, membership: &Membership, patience: Span) -> Self {
        let peers = membership.others(node).iter().map(|&other| (other, Peer::default())).collect();
        Self { node, patience, peers, rounds: VecDeque::new(), released: Ballot::ZERO }
    }

    pub(crate) fn note_round(&mut self, number: u64, sent: Instant) {
        if self.rounds.len() == ROUNDS_REMEMBERED {
            self.rounds.pop_front();
        }
        self.rounds.push_back((number, sent));
    }

    /// A round trip proves the connection as of when the round was sent.
    pub(crate) fn note_ack(&mut self, from: NodeId, number: u64) {
        let sent = self.rounds.iter().find(|(round, _)| *round == number).map(|&(_, sent)| sent);
        if let (Some(peer), Some(sent)) = (self.peers.get_mut(&from), sent) {
            peer.round_trip = peer.round_trip.max(Some(sent));
        }
    }

    pub(crate) fn note_heard(&mut self, now: Instant, from: NodeId, standing: Standing) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.heard = Some((now, standing));
        }
    }

    /// A closed connection is no proof, but a reason not to wait for silence.
    pub(crate) fn note_down(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            *peer = Peer::default();
        }
    }

    /// The master of `ballot` gave up: what still calls it master is old.
    pub(crate) fn note_released(&mut self, ballot: Ballot) {
        self.released = self.released.max(ballot);
    }

    /// The master with the highest ballot that says of itself that it has a quorum.
    pub(crate) fn master(&self, now: Instant) -> Option<(Ballot, Slot)> {
        self.heard(now)
            .filter_map(|(_, standing)| match standing {
                Standing::Master { ballot, barrier } => Some((ballot, barrier)),
                Standing::Follower { .. } | Standing::Unhappy => None,
            })
            .filter(|(ballot, _)| *ballot > self.released)
            .max()
    }

    /// Whether anybody that is heard is, or sees, a master with a quorum.
    pub(crate) fn somebody_is_happy(&self, now: Instant) -> bool {
        self.heard(now).any(|(_, standing)| match standing {
            Standing::Master { ballot, .. } | Standing::Follower { ballot } => {
                ballot > self.released
            }
            Standing::Unhappy => false,
        })
    }

    /// Whether round trips with a majority of the voters, this node included, succeeded lately.
    pub(crate) fn is_quorum_connected(&self, now: Instant, membership: &Membership) -> bool {
        let connected = self.connected(now).filter(|&node| membership.is_voter(node)).count();
        let own = usize::from(membership.is_voter(self.node));
        connected + own >= membership.quorum()
    }

    pub(crate) fn connected(&self, now: Instant) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.iter().filter_map(move |(&node, peer)| {
            let fresh = peer.round_trip.is_some_and(|at| now.since(at) < self.patience);
            fresh.then_some(node)
        })
    }

    fn heard(&self, now: Instant) -> impl Iterator<Item = (NodeId, Standing)> + '_ {
        self.peers.iter().filter_map(move |(&node, peer)| {
            let (at, standing) = peer.heard?;
            (now.since(at) < self.patience).then_some((node, standing))
        })
    }
}
