//! What a node sees of the others, and whether it may stand for election (OmniPaxos' ballot leader
//! election, carried over): heartbeat round trips say who is connected, standings say who is happy.
//!
//! A node scouts only if it is connected to a quorum, sees no master that has a quorum, and nobody
//! it hears from does. So neither a half-connected node deposes a working master, nor do the ends
//! of a chain depose each other for ever, nor does a cluster wait for a master that lost its
//! quorum.

use alloc::collections::{BTreeMap, VecDeque};

use crate::ids::{Ballot, NodeId, Slot, View};
use crate::membership::Membership;
use crate::message::Standing;
use crate::time::{Instant, Span};

/// Heartbeats whose answers still say something about the present.
const ROUNDS_REMEMBERED: usize = 32;

#[derive(Clone, Debug, Default, Hash)]
struct Peer {
    round_trip: Option<Instant>,
    heard: Option<(Instant, Standing)>,
    /// Its acceptor promises nothing for a while, as it has just started (L2).
    silent: bool,
}

/// What one node knows of the others.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Surroundings {
    node: NodeId,
    patience: Span,
    peers: BTreeMap<NodeId, Peer>,
    rounds: VecDeque<(u64, Instant)>,
    released: Ballot,
    view: View,
}

impl Surroundings {
    pub(crate) fn new(node: NodeId, membership: &Membership, patience: Span) -> Self {
        let peers = membership.others(node).iter().map(|&other| (other, Peer::default())).collect();
        let view = membership.view();
        Self { node, patience, peers, rounds: VecDeque::new(), released: Ballot::ZERO, view }
    }

    /// Goes on with the nodes of a new membership: what is known of those that stay is kept, and
    /// who leads in an older view is no master any more (M4).
    pub(crate) fn enter(&mut self, membership: &Membership) {
        self.peers.retain(|&node, _| membership.is_member(node));
        for &other in membership.others(self.node).iter() {
            self.peers.entry(other).or_default();
        }
        self.view = membership.view();
    }

    fn counts(&self, ballot: Ballot) -> bool {
        ballot > self.released && ballot.view >= self.view
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

    pub(crate) fn note_silent(&mut self, from: NodeId, silent: bool) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.silent = silent;
        }
    }

    /// Whether the node said lately that it can promise a ballot.
    pub(crate) fn may_promise(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| !peer.silent)
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
            .filter(|(ballot, _)| self.counts(*ballot))
            .max()
    }

    /// Whether anybody that is heard is, or sees, a master with a quorum.
    pub(crate) fn somebody_is_happy(&self, now: Instant) -> bool {
        self.heard(now).any(|(_, standing)| match standing {
            Standing::Master { ballot, .. } | Standing::Follower { ballot } => self.counts(ballot),
            Standing::Unhappy => false,
        })
    }

    /// Whether round trips with enough nodes for an election, this one included, succeeded lately.
    pub(crate) fn is_quorum_connected(&self, now: Instant, membership: &Membership) -> bool {
        membership.is_election_quorum(|node| self.reaches(now, node))
    }

    /// Whether a round trip with `node` succeeded lately; this node reaches itself.
    pub(crate) fn reaches(&self, now: Instant, node: NodeId) -> bool {
        let peer = self.peers.get(&node).and_then(|peer| peer.round_trip);
        node == self.node || peer.is_some_and(|at| now.since(at) < self.patience)
    }

    pub(crate) fn connected(&self, now: Instant) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.iter().filter_map(move |(&node, peer)| {
            let fresh = peer.round_trip.is_some_and(|at| now.since(at) < self.patience);
            fresh.then_some(node)
        })
    }

    /// Whether heartbeats to `node` have not made the round trip for as long as it takes to miss
    /// somebody: it may be heard, but does not hear. Of a node that was not asked for so long
    /// nothing is known.
    pub(crate) fn is_deaf(&self, now: Instant, node: NodeId) -> bool {
        let asked = self.rounds.front().is_some_and(|(_, sent)| now.since(*sent) >= self.patience);
        let answers = self.connected(now).any(|connected| connected == node);
        asked && node != self.node && !answers
    }

    /// Whether a heartbeat of `node` came lately, whatever it said.
    pub(crate) fn hears(&self, now: Instant, node: NodeId) -> bool {
        self.heard(now).any(|(heard, _)| heard == node)
    }

    fn heard(&self, now: Instant) -> impl Iterator<Item = (NodeId, Standing)> + '_ {
        self.peers.iter().filter_map(move |(&node, peer)| {
            let (at, standing) = peer.heard?;
            (now.since(at) < self.patience).then_some((node, standing))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Span = Span::from_millis(400);

    fn node(number: u16) -> NodeId {
        NodeId::new(number)
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(0).after(Span::from_millis(milliseconds))
    }

    fn ballot(round: u64, number: u16) -> Ballot {
        Ballot { view: View::new(1), round, node: node(number) }
    }

    fn master(round: u64, number: u16) -> Standing {
        Standing::Master { ballot: ballot(round, number), barrier: Slot::FIRST }
    }

    fn five() -> (Membership, Surroundings) {
        let membership = Membership::new(View::new(1), (1..=5).map(NodeId::new));
        let surroundings = Surroundings::new(node(1), &membership, PATIENCE);
        (membership, surroundings)
    }

    #[test]
    fn only_round_trips_connect_and_they_age_from_the_sending() {
        let (membership, mut seen) = five();
        seen.note_heard(at(0), node(2), Standing::Unhappy);
        seen.note_heard(at(0), node(3), Standing::Unhappy);
        assert!(!seen.is_quorum_connected(at(0), &membership));
        seen.note_round(7, at(0));
        seen.note_ack(node(2), 7);
        assert!(!seen.is_quorum_connected(at(1), &membership));
        seen.note_ack(node(3), 7);
        assert!(seen.is_quorum_connected(at(399), &membership));
        assert!(!seen.is_quorum_connected(at(400), &membership));
    }

    #[test]
    fn who_was_asked_for_long_and_never_answered_is_deaf() {
        let (_, mut seen) = five();
        assert!(!seen.is_deaf(at(0), node(2)));
        seen.note_round(7, at(0));
        seen.note_round(8, at(100));
        seen.note_heard(at(399), node(2), master(4, 2));
        assert!(!seen.is_deaf(at(399), node(2)));
        assert!(seen.is_deaf(at(400), node(2)));
        seen.note_ack(node(2), 8);
        assert!(!seen.is_deaf(at(499), node(2)));
        assert!(seen.is_deaf(at(500), node(2)));
        assert!(!seen.is_deaf(at(500), node(1)), "a node hears itself");
    }

    #[test]
    fn an_answer_to_an_unknown_round_or_of_a_stranger_says_nothing() {
        let (_, mut seen) = five();
        seen.note_round(7, at(0));
        seen.note_ack(node(2), 6);
        seen.note_ack(node(9), 7);
        assert_eq!(seen.connected(at(0)).count(), 0);
    }

    #[test]
    fn the_highest_master_heard_lately_is_the_master() {
        let (_, mut seen) = five();
        seen.note_heard(at(0), node(2), master(4, 2));
        seen.note_heard(at(100), node(3), master(3, 3));
        assert_eq!(seen.master(at(399)), Some((ballot(4, 2), Slot::FIRST)));
        assert_eq!(seen.master(at(400)), Some((ballot(3, 3), Slot::FIRST)));
        assert_eq!(seen.master(at(500)), None);
    }

    #[test]
    fn who_follows_is_happy_but_no_master() {
        let (_, mut seen) = five();
        seen.note_heard(at(0), node(2), Standing::Follower { ballot: ballot(4, 3) });
        assert_eq!(seen.master(at(0)), None);
        assert!(seen.somebody_is_happy(at(399)));
        assert!(!seen.somebody_is_happy(at(400)));
    }

    #[test]
    fn a_released_ballot_makes_nobody_happy() {
        let (_, mut seen) = five();
        seen.note_heard(at(0), node(2), master(4, 2));
        seen.note_heard(at(0), node(3), Standing::Follower { ballot: ballot(4, 2) });
        seen.note_released(ballot(4, 2));
        assert_eq!(seen.master(at(0)), None);
        assert!(!seen.somebody_is_happy(at(0)));
        seen.note_heard(at(1), node(3), Standing::Follower { ballot: ballot(5, 2) });
        assert!(seen.somebody_is_happy(at(1)));
    }

    #[test]
    fn a_closed_connection_ends_what_is_known_of_a_node() {
        let (_, mut seen) = five();
        seen.note_round(1, at(0));
        seen.note_ack(node(2), 1);
        seen.note_heard(at(0), node(2), master(4, 2));
        seen.note_down(node(2));
        assert_eq!(seen.connected(at(0)).count(), 0);
        assert_eq!(seen.master(at(0)), None);
    }
}
