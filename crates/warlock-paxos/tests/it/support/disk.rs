//! The disk of one node: records become durable in order, some time after they were written; a
//! crash loses an end of what was not synced. Also what a node recovers from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use warlock_paxos::{
    AcceptorState, Ballot, Batch, Charter, Incarnation, LeaderState, LogTime, Membership, NodeId,
    Output, PValue, Reconfiguration, Record, ReplicaState, Slot, SlotRange,
};

use super::random::Random;

/// A state image: here simply the whole log below a slot.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The first slot that it does not cover.
    pub(crate) slot: Slot,
    /// Every batch from the first slot on.
    pub(crate) batches: Vec<Batch>,
}

/// What a node writes to, and what of it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    records: Vec<Record>,
    image: Image,
    ballot_floor: Ballot,
    /// Slots for which something was accepted that cannot be read. A learned content says what is
    /// decided, but not what was accepted, so that it does not end this.
    unreadable: BTreeSet<Slot>,
    waiting: VecDeque<(Option<Record>, Vec<Output>)>,
    in_force: Option<Charter>,
    accepted_view: Option<Reconfiguration>,
    starts: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            image: Image { slot: Slot::FIRST, batches: Vec::new() },
            ballot_floor: Ballot::ZERO,
            unreadable: BTreeSet::new(),
            waiting: VecDeque::new(),
            in_force: None,
            accepted_view: None,
            starts: 0,
        }
    }
}

/// What the roles of a node start from.
pub(crate) struct Recovered {
    pub(crate) acceptor: AcceptorState,
    pub(crate) leader: LeaderState,
    pub(crate) replica: ReplicaState,
    pub(crate) image: Image,
    /// The newest membership known to be in force; `None` if it is still the first.
    pub(crate) membership: Option<Membership>,
}

impl Disk {
    pub(crate) fn write(&mut self, record: Option<Record>, then: Vec<Output>) {
        self.waiting.push_back((record, then));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Makes the oldest write durable; hands back what waited for it.
    pub(crate) fn complete_one(&mut self) -> Option<Vec<Output>> {
        let (record, then) = self.waiting.pop_front()?;
        record.into_iter().for_each(|record| self.keep(record));
        Some(then)
    }

    /// Loses what is not durable, but for the oldest `kept` writes.
    pub(crate) fn crash(&mut self, kept: usize) {
        let waiting = std::mem::take(&mut self.waiting);
        for record in waiting.into_iter().take(kept).filter_map(|(record, _)| record) {
            self.keep(record);
        }
    }

    /// How many writes are not durable yet.
    pub(crate) fn unsynced(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps an image of everything below `slot`, and drops the records that it covers.
    pub(crate) fn keep_image(&mut self, image: Image) {
        if image.slot <= self.image.slot {
            return;
        }
        let slot = image.slot;
        self.records.retain(|record| match record {
            Record::Promise { .. } | Record::AcceptView(_) | Record::InForce(_) => false,
            Record::Decided { slot: of } => *of > slot,
            Record::Accept(PValue { slot: of, .. }) | Record::Learn { slot: of, .. } => *of >= slot,
        });
        self.unreadable = self.unreadable.split_off(&slot);
        self.image = image;
    }

    /// The newest membership that is durable here.
    pub(crate) const fn in_force(&self) -> Option<&Charter> {
        self.in_force.as_ref()
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Makes the newest record of one slot unreadable.
    pub(crate) fn corrupt(&mut self, random: &mut Random) -> Option<Slot> {
        let slots: Vec<Slot> = self.newest().into_keys().collect();
        if slots.is_empty() {
            return None;
        }
        let slot = slots[random.index(slots.len())];
        self.corrupt_slot(slot);
        Some(slot)
    }

    pub(crate) fn corrupt_slot(&mut self, slot: Slot) {
        self.records.retain(|record| slot_of(record) != Some(slot));
        self.unreadable.insert(slot);
    }

    /// The newest durable content of a slot.
    pub(crate) fn content(&self, slot: Slot) -> Option<Batch> {
        if slot < self.image.slot {
            let index = usize::try_from(slot.distance_from(Slot::FIRST)).expect("short");
            return self.image.batches.get(index).cloned();
        }
        self.newest().remove(&slot)
    }

    /// Starts a process on what is durable.
    pub(crate) fn recover(&mut self, node: NodeId, seed: u64) -> Recovered {
        self.starts += 1;
        let newest = self.newest();
        let recorded = self.records.iter().filter_map(|record| match record {
            Record::Decided { slot } => Some(*slot),
            Record::Promise { .. }
            | Record::Accept(_)
            | Record::Learn { .. }
            | Record::AcceptView(_)
            | Record::InForce(_) => None,
        });
        let known = recorded.fold(self.image.slot, Slot::max);
        let mut slots = (self.image.slot.position()..known.position()).map(Slot::new);
        let readable = slots.find(|slot| !newest.contains_key(slot)).unwrap_or(known);
        let decided: Vec<Batch> = (self.image.slot.position()..readable.position())
            .map(|slot| newest[&Slot::new(slot)].clone())
            .collect();
        let unreadable = self.unreadable.range(readable..).copied();
        let acceptor = AcceptorState {
            ballot: self.ballot_floor,
            pvalues: self.accepted().into_values().collect(),
            decided: readable,
            unknown: unreadable.map(|slot| SlotRange { first: slot, last: slot }).collect(),
            known,
            restarted: self.starts > 1,
            incarnation: incarnation(node),
            reconfiguration: self.accepted_view.clone(),
        };
        let log_times = self.image.batches.iter().map(|batch| batch.stamp().log_time);
        let log_time = log_times.fold(LogTime::ZERO, LogTime::max);
        let leader =
            LeaderState { ballot: self.ballot_floor, applied: self.image.slot, log_time, seed };
        let replica = ReplicaState {
            incarnation: incarnation(node),
            first_sequence: self.starts * 100_000 + 1,
            snapshot: self.image.slot,
            log_time,
            decided,
        };
        let membership = self.in_force.clone().map(Membership::from_charter);
        let membership = membership.transpose().expect("a membership");
        Recovered { acceptor, leader, replica, image: self.image.clone(), membership }
    }

    fn keep(&mut self, record: Record) {
        match &record {
            Record::Promise { ballot } | Record::Accept(PValue { ballot, .. }) => {
                self.ballot_floor = self.ballot_floor.max(*ballot);
            }
            Record::AcceptView(accepted) => {
                self.ballot_floor = self.ballot_floor.max(accepted.ballot);
                self.accepted_view = Some(accepted.clone());
            }
            Record::InForce(charter) => {
                self.in_force = Some(charter.clone());
                self.accepted_view = None;
            }
            Record::Learn { .. } | Record::Decided { .. } => {}
        }
        if let Record::Accept(PValue { slot, .. }) = &record {
            self.unreadable.remove(slot);
        }
        self.records.push(record);
    }

    fn newest(&self) -> BTreeMap<Slot, Batch> {
        let mut newest = BTreeMap::new();
        for record in &self.records {
            match record {
                Record::Accept(PValue { slot, batch, .. }) | Record::Learn { slot, batch } => {
                    newest.insert(*slot, batch.clone());
                }
                Record::Promise { .. }
                | Record::Decided { .. }
                | Record::AcceptView(_)
                | Record::InForce(_) => {}
            }
        }
        newest
    }

    fn accepted(&self) -> BTreeMap<Slot, PValue> {
        let accepts = self.records.iter().filter_map(|record| match record {
            Record::Accept(pvalue) => Some((pvalue.slot, pvalue.clone())),
            Record::Promise { .. }
            | Record::Learn { .. }
            | Record::Decided { .. }
            | Record::AcceptView(_)
            | Record::InForce(_) => None,
        });
        accepts.collect()
    }
}

fn slot_of(record: &Record) -> Option<Slot> {
    match record {
        Record::Accept(PValue { slot, .. }) | Record::Learn { slot, .. } => Some(*slot),
        Record::Promise { .. }
        | Record::Decided { .. }
        | Record::AcceptView(_)
        | Record::InForce(_) => None,
    }
}

/// The data directory of a node.
pub(crate) fn incarnation(node: NodeId) -> Incarnation {
    Incarnation::new(1000 + u128::from(node.number()))
}
