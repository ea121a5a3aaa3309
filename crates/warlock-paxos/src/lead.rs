//! What a leader keeps while it leads with one ballot: the queue, the slots in flight, the window.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::batch::Proposal;
use crate::ids::{Ballot, Incarnation, NodeId, Origin, Slot};
use crate::lease::MasterLease;
use crate::limits::{
    BATCH_BYTES, IN_FLIGHT_BYTES_MAX, QUEUE_BYTES_MAX, READS_ASKED_MAX, WINDOW_MAX, WINDOW_MIN,
};
use crate::membership::{Membership, Tally};
use crate::message::Propose;
use crate::time::{Instant, LogTime};

/// A slot that was proposed and is not applied yet.
#[derive(Clone, Debug, Hash)]
pub(crate) struct InFlight {
    pub(crate) bytes: usize,
    pub(crate) proposed: Instant,
    /// A quorum accepted it under the ballot of this leader.
    pub(crate) chosen: bool,
    /// Other nodes whose clients wait for it.
    pub(crate) waiting: Vec<NodeId>,
}

/// A membership that this ballot proposes.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Changing {
    /// Whoever asked for it, if it was asked for here.
    pub(crate) ticket: Option<u64>,
    pub(crate) next: Membership,
    pub(crate) accepts: Tally,
    pub(crate) ask_again_at: Instant,
    /// A quorum accepted it.
    pub(crate) decided: bool,
}

/// Leading with one ballot, from adoption to stepping down.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Lead {
    pub(crate) ballot: Ballot,
    pub(crate) adopted: Instant,
    /// The first slot that this ballot fills on its own account.
    pub(crate) barrier: Slot,
    pub(crate) next_slot: Slot,
    pub(crate) lease: MasterLease,
    pub(crate) lease_reported: bool,
    pub(crate) in_flight: BTreeMap<Slot, InFlight>,
    held: BTreeMap<NodeId, Slot>,
    pub(crate) last_stamp: LogTime,
    pub(crate) tick_wanted: bool,
    pub(crate) leaving: Option<Leaving>,
    /// Questions for a read index that came before this node may answer one.
    asked: Vec<(NodeId, u64)>,
    pub(crate) changing: Option<Changing>,
    /// What an earlier leader of the view had accepted for the next reconfiguration slot: it must
    /// be proposed again before anything else may be.
    pub(crate) inherited: Option<Membership>,
    streams: BTreeMap<(NodeId, Incarnation), u64>,
    queue: VecDeque<Proposal>,
    queue_bytes: usize,
    rounds: Smoothed,
    syncs: Smoothed,
}

/// A master on its way out (L5).
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Leaving {
    /// When to go even if slots are still in flight.
    pub(crate) deadline: Instant,
    /// Who shall lead next, if the operator said.
    pub(crate) to: Option<NodeId>,
    /// It goes because it is not part of the next membership, which it has to decide first (M5).
    pub(crate) retiring: bool,
    /// The host waits for the end of it.
    pub(crate) asked: bool,
}

impl Lead {
    pub(crate) fn new(ballot: Ballot, adopted: Instant, from: Slot, barrier: Slot) -> Self {
        Self {
            ballot,
            adopted,
            barrier,
            next_slot: from,
            lease: MasterLease::default(),
            lease_reported: false,
            in_flight: BTreeMap::new(),
            held: BTreeMap::new(),
            last_stamp: LogTime::ZERO,
            tick_wanted: false,
            leaving: None,
            asked: Vec::new(),
            changing: None,
            inherited: None,
            streams: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            rounds: Smoothed::default(),
            syncs: Smoothed::default(),
        }
    }

    /// Queues a proposal unless it or a later one came before, or the one before it is missing.
    pub(crate) fn enqueue(&mut self, propose: Propose) {
        let Propose { origin, previous, commands, .. } = propose;
        let stream = (origin.node, origin.incarnation);
        let last = self.streams.get(&stream).copied();
        let repeated = last.is_some_and(|last| origin.sequence <= last) && !mutant!(NoDedup);
        let gap = previous.is_some() && previous != last && !mutant!(NoDedup);
        let full = self.queue_bytes + commands.len() > QUEUE_BYTES_MAX && self.queue_bytes > 0;
        if repeated || gap || full {
            return;
        }
        self.streams.insert(stream, origin.sequence);
        self.queue_bytes += commands.len();
        self.queue.push_back(Proposal { origin, commands });
    }

    /// Keeps a follower's question for a read index until this node serves reads; `false` if there
    /// are too many.
    pub(crate) fn keep_asked(&mut self, from: NodeId, id: u64) -> bool {
        let room = self.asked.len() < READS_ASKED_MAX;
        if room {
            self.asked.push((from, id));
        }
        room
    }

    /// Takes the questions that were kept.
    pub(crate) fn take_asked(&mut self) -> Vec<(NodeId, u64)> {
        core::mem::take(&mut self.asked)
    }

    /// Whether a proposal of this origin was taken before, so that it may be in the log.
    pub(crate) fn has_taken(&self, origin: Origin) -> bool {
        let stream = self.streams.get(&(origin.node, origin.incarnation));
        stream.is_some_and(|&last| origin.sequence <= last)
    }

    /// Every slot below that this ballot proposed was chosen under it, and is applied. What only
    /// another ballot decided does not count: neither the window nor a word to others may rest on
    /// it.
    pub(crate) fn decided(&self) -> Slot {
        self.in_flight.first_key_value().map_or(self.next_slot, |(&slot, _)| slot)
    }

    /// Past the last slot that was chosen, whatever stands before it: nothing that can be relied
    /// on, and only the mutant `DecidedBeyondGap` does.
    pub(crate) fn past_last_chosen(&self) -> Slot {
        let last = self.in_flight.iter().rev().find(|(_, flight)| flight.chosen);
        last.map_or_else(|| self.decided(), |(slot, _)| slot.next())
    }

    /// Takes out what is chosen and applied up to the first slot that is not.
    pub(crate) fn settle(&mut self, applied: Slot) -> BTreeMap<Slot, InFlight> {
        let counts = |flight: &InFlight| flight.chosen || mutant!(WindowByOthersProgress);
        let open = |(slot, flight): (&Slot, &InFlight)| !counts(flight) || *slot >= applied;
        let first = self.in_flight.iter().find(|&(slot, flight)| open((slot, flight)));
        let first = first.map_or(self.next_slot, |(&slot, _)| slot);
        let later = self.in_flight.split_off(&first);
        core::mem::replace(&mut self.in_flight, later)
    }

    /// Whether a slot of its own may be proposed now: only less than a window beyond what this
    /// ballot decided.
    pub(crate) fn may_propose(&self) -> bool {
        let wanted = !self.queue.is_empty() || self.tick_wanted;
        wanted
            && self.leaving.is_none()
            && self.next_slot >= self.barrier
            && self.next_slot.distance_from(self.decided()) < self.window()
            && self.in_flight_bytes() < IN_FLIGHT_BYTES_MAX
    }

    fn in_flight_bytes(&self) -> usize {
        self.in_flight.values().map(|flight| flight.bytes).sum()
    }

    /// Takes proposals for one batch: whatever queued, up to a bound in bytes.
    pub(crate) fn take_batch(&mut self) -> Vec<Proposal> {
        self.tick_wanted = false;
        let mut bytes = 0;
        let mut proposals = Vec::with_capacity(self.queue.len().min(64));
        while let Some(next) = self.queue.front() {
            if bytes > 0 && bytes + next.commands.len() > BATCH_BYTES {
                break;
            }
            bytes += next.commands.len();
            proposals.extend(self.queue.pop_front());
        }
        self.queue_bytes -= bytes;
        proposals
    }

    /// Empties the queue; for each stream that had something in it, the first sequence.
    pub(crate) fn decline_queue(&mut self) -> Vec<(NodeId, u64)> {
        let mut firsts: BTreeMap<(NodeId, Incarnation), u64> = BTreeMap::new();
        for proposal in self.queue.drain(..) {
            let origin = proposal.origin;
            firsts.entry((origin.node, origin.incarnation)).or_insert(origin.sequence);
        }
        self.queue_bytes = 0;
        firsts.into_iter().map(|((node, _), sequence)| (node, sequence)).collect()
    }

    pub(crate) fn note_held(&mut self, node: NodeId, held: Slot) -> bool {
        let known = self.held.insert(node, held);
        let highest = known.map_or(held, |known| known.max(held));
        self.held.insert(node, highest);
        known.is_none_or(|known| known < held)
    }

    /// Takes the word of a process that has just started: an operator may have had it forget what
    /// the one before held.
    pub(crate) fn note_held_at_start(&mut self, node: NodeId, held: Slot) {
        self.held.insert(node, held);
    }

    pub(crate) fn held_by(&self, node: NodeId) -> Option<Slot> {
        self.held.get(&node).copied()
    }

    /// M3: every slot up to the barrier, and so every one that phase 1 found, is held by a majority
    /// of the voters: accepted under this ballot, or recorded as decided.
    pub(crate) fn is_secured(&self, membership: &Membership) -> bool {
        let holds = |node: NodeId| self.held.get(&node).is_some_and(|held| *held >= self.barrier);
        membership.is_quorum(holds) || mutant!(ChangeBeforeHeld)
    }

    /// What is durable where, as far as it is decided: of the rest another ballot may still decide
    /// something else.
    pub(crate) fn held(&self) -> Vec<(NodeId, Slot)> {
        let decided = self.decided();
        self.held.iter().map(|(&node, &held)| (node, held.min(decided))).collect()
    }

    /// The node's own acceptor has synced the slot: how long its disk takes.
    pub(crate) fn note_own_sync(&mut self, now: Instant, held: Slot) {
        let newest = self.in_flight.range(..held).next_back();
        if let Some((_, flight)) = newest {
            self.syncs.add(now.since(flight.proposed).nanos());
        }
    }

    pub(crate) fn note_chosen(&mut self, now: Instant, slot: Slot) {
        if let Some(flight) = self.in_flight.get_mut(&slot) {
            flight.chosen = true;
            self.rounds.add(now.since(flight.proposed).nanos());
        }
    }

    /// Few slots in flight on a LAN, where another one only splits batches; more only when a round
    /// to a quorum takes much longer than the own disk.
    pub(crate) fn window(&self) -> u64 {
        match (self.rounds.value(), self.syncs.value()) {
            (Some(round), Some(sync)) => (round / sync.max(1)).clamp(WINDOW_MIN, WINDOW_MAX),
            _ => WINDOW_MIN,
        }
    }
}

/// An exponentially weighted mean with weight 1/8 for the newest value.
#[derive(Clone, Copy, Debug, Default, Hash)]
struct Smoothed(Option<u64>);

impl Smoothed {
    fn add(&mut self, value: u64) {
        self.0 = Some(self.0.map_or(value, |mean| mean - mean / 8 + value / 8));
    }

    const fn value(self) -> Option<u64> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::View;

    const BALLOT: Ballot = Ballot { view: View::new(1), round: 1, node: NodeId::new(1) };

    fn lead() -> Lead {
        let from = Slot::new(10);
        Lead::new(BALLOT, Instant::from_nanos(0), from, from)
    }

    fn propose(node: u16, sequence: u64, previous: Option<u64>) -> Propose {
        let incarnation = Incarnation::new(u128::from(node));
        let origin = Origin { node: NodeId::new(node), incarnation, sequence };
        Propose { ballot: BALLOT, origin, previous, commands: Bytes::from_static(b"x") }
    }

    fn fly(lead: &mut Lead, slot: u64) {
        let flight = InFlight {
            bytes: 0,
            proposed: Instant::from_nanos(0),
            chosen: false,
            waiting: Vec::new(),
        };
        lead.in_flight.insert(Slot::new(slot), flight);
        lead.next_slot = Slot::new(slot + 1);
    }

    fn sequences(lead: &mut Lead) -> Vec<u64> {
        lead.take_batch().into_iter().map(|proposal| proposal.origin.sequence).collect()
    }

    #[test]
    fn each_proposal_is_taken_once_and_in_order() {
        let mut lead = lead();
        lead.enqueue(propose(2, 6, Some(5)));
        lead.enqueue(propose(2, 5, None));
        lead.enqueue(propose(2, 5, None));
        lead.enqueue(propose(2, 6, Some(5)));
        lead.enqueue(propose(2, 5, None));
        lead.enqueue(propose(2, 8, Some(7)));
        assert_eq!(sequences(&mut lead), [5, 6]);
        lead.enqueue(propose(2, 6, None));
        assert_eq!(sequences(&mut lead), [0_u64; 0]);
    }

    #[test]
    fn what_was_given_up_leaves_no_gap() {
        let mut lead = lead();
        lead.enqueue(propose(2, 5, None));
        lead.enqueue(propose(2, 9, None));
        lead.enqueue(propose(2, 7, None));
        assert_eq!(sequences(&mut lead), [5, 9]);
    }

    #[test]
    fn nodes_and_incarnations_have_streams_of_their_own() {
        let mut lead = lead();
        lead.enqueue(propose(2, 5, None));
        lead.enqueue(propose(3, 1, None));
        let mut other = propose(2, 1, None);
        other.origin.incarnation = Incarnation::new(99);
        lead.enqueue(other);
        assert_eq!(sequences(&mut lead), [5, 1, 1]);
    }

    #[test]
    fn declining_names_the_first_of_each_stream() {
        let mut lead = lead();
        lead.enqueue(propose(2, 5, None));
        lead.enqueue(propose(3, 7, None));
        lead.enqueue(propose(2, 6, Some(5)));
        assert_eq!(lead.decline_queue(), [(NodeId::new(2), 5), (NodeId::new(3), 7)]);
        assert_eq!(lead.decline_queue(), []);
        assert!(lead.has_taken(propose(2, 6, None).origin));
        assert!(!lead.has_taken(propose(2, 7, None).origin));
    }

    #[test]
    fn a_batch_ends_at_its_bound_but_takes_one_larger_proposal() {
        let mut lead = lead();
        let large = Bytes::from(alloc::vec![0; BATCH_BYTES]);
        for sequence in 1..=2 {
            lead.enqueue(Propose { commands: large.clone(), ..propose(2, sequence, None) });
        }
        lead.enqueue(propose(2, 3, None));
        assert_eq!(sequences(&mut lead), [1]);
        assert_eq!(sequences(&mut lead), [2]);
        assert_eq!(sequences(&mut lead), [3]);
    }

    #[test]
    fn a_full_queue_takes_nothing_more() {
        let mut lead = lead();
        let half = Bytes::from(alloc::vec![0; QUEUE_BYTES_MAX / 2]);
        for sequence in 1..=2 {
            lead.enqueue(Propose { commands: half.clone(), ..propose(2, sequence, None) });
        }
        lead.enqueue(propose(2, 3, None));
        assert!(!lead.has_taken(propose(2, 3, None).origin));
        lead.take_batch();
        lead.enqueue(propose(2, 3, None));
        assert!(lead.has_taken(propose(2, 3, None).origin));
    }

    #[test]
    fn the_window_counts_from_what_this_ballot_chose() {
        let mut lead = lead();
        let now = Instant::from_nanos(0);
        lead.enqueue(propose(2, 1, None));
        assert!(lead.may_propose());
        fly(&mut lead, 10);
        assert!(lead.may_propose());
        fly(&mut lead, 11);
        assert!(!lead.may_propose());
        // Applied, as a later ballot decided them: that opens nothing.
        assert_eq!(lead.settle(Slot::new(12)).len(), 0);
        assert!(!lead.may_propose());
        lead.note_chosen(now, Slot::new(11));
        assert_eq!(lead.settle(Slot::new(12)).len(), 0);
        lead.note_chosen(now, Slot::new(10));
        assert_eq!(lead.settle(Slot::new(11)).len(), 1);
        assert_eq!(lead.decided(), Slot::new(11));
        assert!(lead.may_propose());
        assert_eq!(lead.settle(Slot::new(12)).len(), 1);
        assert_eq!(lead.decided(), Slot::new(12));
    }

    #[test]
    fn what_is_held_is_told_as_far_as_it_is_decided() {
        let mut lead = lead();
        fly(&mut lead, 10);
        assert!(lead.note_held(NodeId::new(2), Slot::new(11)));
        assert!(!lead.note_held(NodeId::new(2), Slot::new(11)));
        assert!(!lead.note_held(NodeId::new(2), Slot::new(9)));
        assert_eq!(lead.held(), [(NodeId::new(2), Slot::new(10))]);
        lead.note_chosen(Instant::from_nanos(0), Slot::new(10));
        lead.settle(Slot::new(11));
        assert_eq!(lead.held(), [(NodeId::new(2), Slot::new(11))]);
    }

    #[test]
    fn the_window_grows_where_the_round_is_longer_than_the_sync() {
        let mut lead = lead();
        fly(&mut lead, 10);
        assert_eq!(lead.window(), WINDOW_MIN);
        lead.note_own_sync(Instant::from_nanos(1_000), Slot::new(11));
        lead.note_chosen(Instant::from_nanos(5_000), Slot::new(10));
        assert_eq!(lead.window(), 5);
        lead.note_chosen(Instant::from_nanos(1_000_000), Slot::new(10));
        assert_eq!(lead.window(), WINDOW_MAX);
    }
}
