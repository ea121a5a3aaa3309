//! The disk of one node: what is durable, folded to what a recovery needs, and what is not durable
//! yet.

use std::collections::{BTreeMap, BTreeSet};

use warlock_paxos::{
    AcceptorState, Ballot, Batch, Charter, Incarnation, LeaderState, LogTime, NodeId, Output,
    PValue, Reconfiguration, Record, ReplicaState, Slot,
};

use super::fingerprint::fingerprint;

/// A disk that keeps the order of writing, and loses in a crash what was not synced.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Disk {
    promised: Option<Ballot>,
    /// The newest accept of each slot.
    accepted: BTreeMap<Slot, (Ballot, Batch)>,
    /// The newest record of each slot, accepted or learned.
    contents: BTreeMap<Slot, Batch>,
    learned: BTreeSet<Slot>,
    decided: Option<Slot>,
    in_force: Option<Charter>,
    reconfiguration: Option<Reconfiguration>,
    waiting: Vec<(Option<Record>, Vec<Output>)>,
    starts: u64,
}

/// What the roles of a node start from.
pub(super) struct Recovered {
    pub(super) acceptor: AcceptorState,
    pub(super) leader: LeaderState,
    pub(super) replica: ReplicaState,
}

impl Disk {
    /// Takes a write. What only says again what waits to be said already is not taken: a question
    /// that came twice is answered once.
    pub(super) fn write(&mut self, record: Option<Record>, then: Vec<Output>) -> bool {
        let write = (record, then);
        if write.0.is_none() {
            let mark = fingerprint(&write);
            if self.waiting.iter().any(|waiting| fingerprint(waiting) == mark) {
                return false;
            }
        }
        self.waiting.push(write);
        true
    }

    /// How many writes are not durable.
    pub(super) const fn unsynced(&self) -> usize {
        self.waiting.len()
    }

    /// Makes everything written durable; hands back what waited for it, in order.
    pub(super) fn sync(&mut self) -> Vec<Vec<Output>> {
        let waiting = std::mem::take(&mut self.waiting);
        let written = waiting.into_iter().map(|(record, then)| {
            record.into_iter().for_each(|record| self.keep(record));
            then
        });
        written.collect()
    }

    /// Loses what is not durable. That it may also be kept, untold, is the same as a sync whose
    /// messages never arrive.
    pub(super) fn crash(&mut self) {
        self.waiting.clear();
    }

    /// Whether the content of a slot is durable here.
    pub(super) fn holds(&self, slot: Slot, batch: &Batch) -> bool {
        self.contents.get(&slot).is_some_and(|content| content.is_same(batch))
    }

    /// Whether an accept under this ballot or a higher one is durable, or a content that was
    /// learned to be decided.
    pub(super) fn remembers(&self, ballot: Ballot, slot: Slot) -> bool {
        let accepted = self.accepted.get(&slot).is_some_and(|(under, _)| *under >= ballot);
        accepted || self.learned.contains(&slot)
    }

    /// The highest ballot that is durable.
    pub(super) fn ballot(&self) -> Ballot {
        self.promised.unwrap_or(Ballot::ZERO)
    }

    /// The newest membership that is durable, if it is not the first.
    pub(super) const fn in_force(&self) -> Option<&Charter> {
        self.in_force.as_ref()
    }

    /// Starts a process on what is durable.
    pub(super) fn recover(&mut self, node: NodeId) -> Recovered {
        self.starts += 1;
        let known = self.decided.unwrap_or(Slot::FIRST);
        let mut slots = (Slot::FIRST.position()..known.position()).map(Slot::new);
        let decided = slots.find(|slot| !self.contents.contains_key(slot)).unwrap_or(known);
        let ballot = self.ballot();
        let accepted = self.accepted.iter();
        let acceptor = AcceptorState {
            ballot,
            pvalues: accepted
                .map(|(&slot, (ballot, batch))| PValue {
                    ballot: *ballot,
                    slot,
                    batch: batch.clone(),
                })
                .collect(),
            decided,
            unknown: Vec::new(),
            known,
            restarted: self.starts > 1,
            incarnation: Incarnation::new(u128::from(node.number())),
            reconfiguration: self.reconfiguration.clone(),
        };
        let seed = u64::from(node.number()) * 1000 + self.starts;
        let leader = LeaderState { ballot, applied: Slot::FIRST, log_time: LogTime::ZERO, seed };
        let replica = ReplicaState {
            incarnation: Incarnation::new(u128::from(node.number())),
            first_sequence: self.starts * 1000 + 1,
            snapshot: Slot::FIRST,
            log_time: LogTime::ZERO,
            decided: self.contents.range(..decided).map(|(_, batch)| batch.clone()).collect(),
        };
        Recovered { acceptor, leader, replica }
    }

    fn keep(&mut self, record: Record) {
        match record {
            Record::Promise { ballot } => self.promised = self.promised.max(Some(ballot)),
            Record::Accept(PValue { ballot, slot, batch }) => {
                self.promised = self.promised.max(Some(ballot));
                self.accepted.insert(slot, (ballot, batch.clone()));
                self.contents.insert(slot, batch);
            }
            Record::Learn { slot, batch } => {
                self.contents.insert(slot, batch);
                self.learned.insert(slot);
            }
            Record::Decided { slot } => self.decided = self.decided.max(Some(slot)),
            Record::AcceptView(accepted) => {
                self.promised = self.promised.max(Some(accepted.ballot));
                self.reconfiguration = Some(accepted);
            }
            Record::InForce(charter) => {
                self.in_force = Some(charter);
                self.reconfiguration = None;
            }
        }
    }
}
