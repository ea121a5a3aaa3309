//! What must hold in every run, whatever the network, the disks and the clocks do.
//!
//! | property | PROTOCOL.md |
//! |---|---|
//! | all nodes apply the same content for a slot, in order, once | P3, P5 |
//! | ballots never fall, also across restarts | P2 |
//! | at most one node serves local reads at a time | L1, L2 |
//! | nobody that serves lacks an acknowledged write | L3, L4 |
//! | a command is executed at most once, and never after its node said "not executed" | W1, Fate |
//! | fates of one node's submissions come in the order of submitting | Fate |
//! | one membership for each view, each a lawful successor of the one before | M1, M2, M3 |
//! | a node id belongs to one data directory, and does not come back | P7 |

use std::collections::{BTreeMap, BTreeSet};

use warlock_paxos::{
    Ballot, Batch, Charter, Fate, Incarnation, Membership, NodeId, Slot, Verdict, View,
};

/// The truth about one run.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    log: Vec<Batch>,
    executed: BTreeMap<u64, Slot>,
    never: BTreeSet<u64>,
    acknowledged: u64,
    ballots: BTreeMap<NodeId, Ballot>,
    pub(crate) acknowledgements: usize,
    views: BTreeMap<View, Charter>,
    directories: BTreeMap<NodeId, Incarnation>,
    gone: BTreeSet<NodeId>,
    /// Changes that were decided.
    pub(crate) changes: usize,
}

/// The number that the commands of a submission consist of.
pub(crate) fn id_of(commands: &[u8]) -> u64 {
    u64::from_le_bytes(commands[..8].try_into().expect("submissions start with their number"))
}

impl Checker {
    /// `node` applies `batch` for `slot`.
    pub(crate) fn apply(&mut self, node: NodeId, slot: Slot, batch: &Batch) {
        let index = usize::try_from(slot.distance_from(Slot::FIRST)).expect("short");
        if let Some(known) = self.log.get(index) {
            assert!(known == batch, "agreement: {node} applies {batch} for {slot}, not {known}");
            return;
        }
        assert!(index == self.log.len(), "P5: {node} applies {slot} before an earlier slot");
        for proposal in batch.proposals() {
            let id = id_of(&proposal.commands);
            if let Some(before) = self.executed.insert(id, slot) {
                panic!("once: command {id} in {before} and {slot}");
            }
            assert!(!self.never.contains(&id), "fate: command {id} in {slot} despite its fate");
        }
        self.log.push(batch.clone());
    }

    /// A client got the reply to a write in `slot`.
    pub(crate) fn acknowledge(&mut self, slot: Slot) {
        self.acknowledged = self.acknowledged.max(slot.position());
        self.acknowledgements += 1;
    }

    pub(crate) fn fail(&mut self, id: u64, fate: Fate) {
        if fate == Fate::NotExecuted {
            assert!(!self.executed.contains_key(&id), "fate: command {id} was executed");
            self.never.insert(id);
        }
    }

    /// A node enters a membership.
    pub(crate) fn enter(&mut self, charter: &Charter) {
        let view = charter.view;
        if let Some(known) = self.views.get(&view) {
            assert!(known == charter, "M1: two memberships for {view}: {known} and {charter}");
            return;
        }
        if let Some((last, _)) = self.views.last_key_value() {
            assert!(view == last.next(), "M1: {view} comes after {last}");
        }
        if let Some((_, before)) = self.views.last_key_value() {
            let of = |charter: &Charter| Membership::from_charter(charter.clone());
            let (before, next) = (of(before).expect("sound"), of(charter).expect("sound"));
            assert!(before.may_be_followed_by(&next), "M1: {next} after {before}");
            let gone = before.members().iter().filter(|member| !next.is_member(member.node));
            self.gone.extend(gone.map(|member| member.node));
        }
        for member in &charter.members {
            let node = member.node;
            assert!(!self.gone.contains(&node), "P7: {node} comes back in {charter}");
            if let Some(found) = member.incarnation {
                let known = *self.directories.entry(node).or_insert(found);
                assert!(known == found, "P7: {node} has another data directory in {charter}");
            }
        }
        self.views.insert(view, charter.clone());
    }

    /// The newest membership that any node entered.
    pub(crate) fn newest(&self) -> &Charter {
        self.views.last_key_value().expect("there is a first").1
    }

    /// A change was answered.
    pub(crate) fn answered(&mut self, verdict: &Verdict) {
        self.changes += usize::from(matches!(verdict, Verdict::Decided(_)));
    }

    /// The newest slot with an acknowledged write; 0 before the first.
    pub(crate) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// `node`, which has applied all below `applied`, answers a read that began when slots up to
    /// `acknowledged` were acknowledged.
    pub(crate) fn read(&self, node: NodeId, applied: Slot, acknowledged: u64) {
        assert!(
            applied.position() > acknowledged,
            "stale: {node} reads at {applied} though s{acknowledged} is acknowledged"
        );
    }

    /// `node` has `ballot` in its memory, or tells it to somebody.
    pub(crate) fn ballot(&mut self, node: NodeId, ballot: Ballot) {
        let known = self.ballots.entry(node).or_insert(ballot);
        assert!(*known <= ballot, "P2: ballot of {node} falls from {known} to {ballot}");
        *known = ballot;
    }

    /// `node` restarts with `ballot`, after it told others at most `told`.
    pub(crate) fn restart(&mut self, node: NodeId, ballot: Ballot, told: Ballot) {
        assert!(told <= ballot, "P1: {node} told {told} but remembers only {ballot}");
        self.ballots.insert(node, ballot);
    }

    pub(crate) fn decided(&self) -> Slot {
        Slot::new(self.log.len() as u64 + 1)
    }

    pub(crate) fn content(&self, slot: Slot) -> Option<&Batch> {
        self.log.get(usize::try_from(slot.distance_from(Slot::FIRST)).ok()?)
    }
}
