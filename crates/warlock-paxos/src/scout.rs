//! The scout: phase 1 for one ballot (PMMC 2.3).
//!
//! It asks every acceptor for a promise until a quorum promised, and gathers for each undecided
//! slot the pvalue of the highest ballot (P3). An acceptor that holds a slot but cannot read it
//! does not count for that slot (P6). It must never adopt on answers to another ballot (P4).

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::batch::Batch;
use crate::ids::{Ballot, NodeId, Slot};
use crate::membership::{Membership, Tally};
use crate::message::{InForce, Message, P1a, P1b, Reconfiguration};
use crate::output::{Adopted, Event, Notice, Output, Tell};
use crate::record::PValue;
use crate::time::{Instant, LogTime, Span};

/// Phase 1 of one ballot.
#[derive(Clone, Debug, Hash)]
pub struct Scout {
    ballot: Ballot,
    membership: Membership,
    decided_here: Slot,
    retry: Span,
    retry_at: Option<Instant>,
    promises: Tally,
    answers: BTreeMap<NodeId, Answer>,
    done: bool,
    /// The first slot that is lost, if the host was told of one.
    lost_told: Option<Slot>,
}

/// What of a promise matters later: its pvalues, and the slots for which it does not count.
#[derive(Clone, Debug, Hash)]
struct Answer {
    decided: Slot,
    known: Slot,
    pvalues: Vec<PValue>,
    unknown: Vec<crate::ids::SlotRange>,
    /// How far the log clock of the node is ahead of this node's clock, in microseconds: a clock
    /// goes on while its reading waits for those of others.
    log_clock: Option<i64>,
    reconfiguration: Option<Reconfiguration>,
}

const fn micros(now: Instant) -> u64 {
    now.nanos() / 1000
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

impl Scout {
    /// A scout for `ballot`, of a node that has decided every slot below `decided`.
    #[must_use]
    pub fn new(ballot: Ballot, membership: Membership, decided: Slot, retry: Span) -> Self {
        assert!(ballot.view == membership.view(), "P4: {ballot} scouts in {membership}");
        Self {
            ballot,
            membership,
            decided_here: decided,
            retry,
            retry_at: None,
            promises: Tally::default(),
            answers: BTreeMap::new(),
            done: false,
            lost_told: None,
        }
    }

    /// The ballot that it asks for.
    #[must_use]
    pub const fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Asks everybody whose promise counts; to be called once, by the host that started the scout.
    pub fn start(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.retry_at = Some(now.after(self.retry));
        let to = self.membership.electors().clone();
        out.push(Output::Broadcast { to, message: self.question() });
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Asks those again that have not promised: the question may be lost, or a lease has run out.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.done || self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.retry_at = Some(now.after(self.retry));
        for to in self.promises.missing(&self.membership) {
            out.push(Output::Send { to, message: self.question() });
        }
    }

    /// Handles the answer of an acceptor.
    pub fn handle_p1b(&mut self, now: Instant, from: NodeId, p1b: P1b, out: &mut Vec<Output>) {
        if self.done || p1b.asked != self.ballot {
            return;
        }
        if p1b.promised > self.ballot {
            self.finish();
            out.push(Output::Tell(Tell::Preempted { ballot: self.ballot, by: p1b.promised }));
            return;
        }
        if p1b.view < self.ballot.view {
            // It can promise once it knows the view; it is asked again soon.
            let charter = self.membership.charter().clone();
            out.push(Output::Send { to: from, message: Message::InForce(InForce { charter }) });
            out.push(Output::Send { to: from, message: self.question() });
            return;
        }
        if p1b.promised < self.ballot || !self.promises.add(&self.membership, from) {
            return;
        }
        let P1b { decided, known, pvalues, unknown, log_time, reconfiguration, .. } = p1b;
        let log_clock = log_time.map(|time| signed(time.micros()) - signed(micros(now)));
        let answer = Answer { decided, known, pvalues, unknown, log_clock, reconfiguration };
        self.answers.insert(from, answer);
        // The own promise too: a ballot that the own disk does not know could be used by two
        // processes of this node, one after the other.
        let own = self.promises.contains(self.ballot.node) || mutant!(OwnPromiseNotNeeded);
        let enough = self.promises.is_election_quorum(&self.membership);
        if own && enough && self.every_slot_is_known(out) {
            assert!(self.answers.len() >= self.membership.quorum(), "P4: adopted without a quorum");
            self.finish();
            out.push(Output::Tell(Tell::Adopted(self.adopted(now))));
        }
    }

    fn question(&self) -> Message {
        Message::P1a(P1a { ballot: self.ballot, decided: self.decided_here })
    }

    fn finish(&mut self) {
        self.done = true;
        self.retry_at = None;
    }

    /// The first slot that no acceptor of the quorum knows to be decided.
    fn decided(&self) -> Slot {
        self.answers.values().map(|answer| answer.decided).fold(self.decided_here, Slot::max)
    }

    /// Whether each slot has a quorum that can read it (P6).
    ///
    /// Once every voter answered there is nobody left to wait for: a chosen pvalue was durable on a
    /// quorum, and of a quorum at most a minority can have been damaged since, so that a readable
    /// copy is among the answers if there ever was a chosen one. But if some disk still knows that
    /// a slot is decided and no copy is left, then it is lost, and filling it would hide that.
    fn every_slot_is_known(&mut self, out: &mut Vec<Output>) -> bool {
        let complete = self.promises.is_complete(&self.membership);
        for (first, end) in self.ranges_without_quorum() {
            let lost = match complete {
                true => self.first_lost(first, end),
                false => Some(first),
            };
            if let Some(slot) = lost {
                if complete && self.lost_told.replace(slot) != Some(slot) {
                    out.push(Output::Notify(Notice::Log(Event::Lost(slot))));
                }
                return false;
            }
        }
        true
    }

    /// Where no quorum of the answers can read: from a slot to before another.
    fn ranges_without_quorum(&self) -> Vec<(Slot, Slot)> {
        let decided = self.decided();
        // Between two bounds of unknown ranges nothing changes.
        let mut bounds = BTreeSet::new();
        for answer in self.answers.values() {
            for range in answer.unknown.iter().filter(|range| range.last >= decided) {
                bounds.insert(range.first.max(decided));
                bounds.insert(Slot::new(range.last.position().saturating_add(1)));
            }
        }
        let readers = |slot| self.membership.is_election_quorum(|node| self.reads(node, slot));
        let ends = bounds.iter().skip(1).copied();
        let ranges = bounds.iter().copied().zip(ends);
        ranges.filter(|(first, _)| !readers(*first) && !mutant!(UnreadableCounts)).collect()
    }

    /// The first slot of a range that is decided, as some acceptor knows, and of which none has a
    /// copy.
    fn first_lost(&self, first: Slot, end: Slot) -> Option<Slot> {
        let known = self.answers.values().map(|answer| answer.known).max()?.min(end);
        let pvalues = self.answers.values().flat_map(|answer| &answer.pvalues);
        let held: BTreeSet<Slot> = pvalues.map(|pvalue| pvalue.slot).collect();
        let mut missing = first;
        for slot in held.range(first..) {
            if *slot > missing {
                break;
            }
            missing = slot.next();
        }
        (missing < known).then_some(missing)
    }

    fn reads(&self, node: NodeId, slot: Slot) -> bool {
        let answer = self.answers.get(&node);
        answer.is_some_and(|answer| !answer.unknown.iter().any(|range| range.contains(slot)))
    }

    fn adopted(&self, now: Instant) -> Adopted {
        let decided = self.decided();
        let mut highest: BTreeMap<Slot, (Ballot, &Batch)> = BTreeMap::new();
        for pvalue in self.answers.values().flat_map(|answer| &answer.pvalues) {
            if pvalue.slot < decided {
                continue;
            }
            let found = highest.entry(pvalue.slot).or_insert((pvalue.ballot, &pvalue.batch));
            if (pvalue.ballot > found.0) != mutant!(LowestBallotWins) {
                *found = (pvalue.ballot, &pvalue.batch);
            }
        }
        let pvalues = highest
            .into_iter()
            .map(|(slot, (ballot, batch))| PValue { ballot, slot, batch: batch.clone() })
            .collect();
        let informant = self
            .answers
            .iter()
            .find(|(_, answer)| answer.decided == decided)
            .map_or(self.ballot.node, |(&node, _)| node);
        // A clock that ran ahead since it last heard of a master must not make keys vanish early.
        let lowest = self.answers.values().filter_map(|answer| answer.log_clock).min();
        let reading = lowest.and_then(|ahead| micros(now).checked_add_signed(ahead));
        let log_time = reading.map(LogTime::from_micros);
        // All were accepted in this view: those of others are for other reconfiguration slots.
        let accepted = self.answers.values().filter_map(|answer| answer.reconfiguration.as_ref());
        let reconfiguration = accepted
            .filter(|accepted| accepted.ballot.view == self.ballot.view)
            .max_by_key(|accepted| accepted.ballot)
            .map(|accepted| accepted.charter.clone());
        Adopted { ballot: self.ballot, decided, pvalues, log_time, informant, reconfiguration }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::ids::View;

    fn answer(from: u16, ballot: Ballot, micros: u64) -> (NodeId, P1b) {
        let p1b = P1b {
            asked: ballot,
            promised: ballot,
            decided: Slot::FIRST,
            pvalues: vec![],
            unknown: vec![],
            log_time: Some(LogTime::from_micros(micros)),
            view: ballot.view,
            known: Slot::FIRST,
            reconfiguration: None,
        };
        (NodeId::new(from), p1b)
    }

    #[test]
    fn clocks_go_on_while_their_readings_wait_for_others() {
        let membership = Membership::new(View::new(1), (1..=3).map(NodeId::new));
        let ballot = Ballot { view: View::new(1), round: 1, node: NodeId::new(1) };
        let mut scout = Scout::new(ballot, membership, Slot::FIRST, Span::from_millis(50));
        let start = Instant::from_nanos(5_000_000_000);
        let later = start.after(Span::from_millis(900));
        let mut out = Vec::new();
        for (now, (from, p1b)) in
            [(start, answer(1, ballot, 7_000_000)), (later, answer(2, ballot, 7_950_000))]
        {
            scout.handle_p1b(now, from, p1b, &mut out);
        }
        let [Output::Tell(Tell::Adopted(adopted))] = &out[..] else { panic!("{out:?}") };
        assert_eq!(adopted.log_time, Some(LogTime::from_micros(7_900_000)), "the slower clock's");
    }
}
