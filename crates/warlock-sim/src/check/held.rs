//! A view ends only when a majority of its voters holds all that came before it (M3), and nobody
//! gets a vote who lacks more than the last slots (M6).
//!
//! What counts as held is what was on disks: a recorded watermark, and above it what was accepted
//! under the very ballot that asks. A third content of a ballot in between may be on others. What a
//! later ballot has replaced since counts too: a majority had it, so that it is chosen.

use std::collections::BTreeMap;

use warlock_paxos::limits::{PROMOTION_LAG_MAX, WINDOW_MAX};
use warlock_paxos::{AcceptorState, Ballot, Membership, NodeId, PValue, Record, Slot};

use super::Violation;
use super::majority::is_majority;

const SECURED: &str = "secured views";
const NEWCOMERS: &str = "newcomers caught up";

/// What every disk holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    disks: BTreeMap<NodeId, Disk>,
    barriers: BTreeMap<Ballot, Slot>,
}

#[derive(Clone, Debug)]
struct Disk {
    /// Every slot below is decided, on record.
    recorded: Slot,
    /// The newest accept of slots from there on.
    accepted: BTreeMap<Slot, Ballot>,
    /// For each ballot accepted, where what was held for it ended at best.
    reached: BTreeMap<Ballot, Slot>,
    /// The data directory is gone: what comes to be on the disk counts for nobody.
    is_lost: bool,
}

impl Default for Disk {
    fn default() -> Self {
        let (accepted, reached) = (BTreeMap::new(), BTreeMap::new());
        Self { recorded: Slot::FIRST, accepted, reached, is_lost: false }
    }
}

impl Disk {
    fn record(&mut self, slot: Slot) {
        if slot > self.recorded && !self.is_lost {
            self.recorded = slot;
            self.accepted = self.accepted.split_off(&slot);
        }
    }

    fn accept(&mut self, slot: Slot, ballot: Ballot) {
        if self.is_lost {
            return;
        }
        self.accepted.insert(slot, ballot);
        let end = self.end(ballot);
        // Ballots only rise, so that what is held for lower ones grows no more.
        self.reached.insert(ballot, end);
    }

    /// Those who lead were told what was there, and nobody else will be.
    fn lose<'a>(&mut self, leading: impl Iterator<Item = &'a Ballot>) {
        let reached = leading.map(|&ballot| (ballot, self.end(ballot))).collect();
        *self = Self { reached, is_lost: true, ..Self::default() };
    }

    /// Every slot below is, or was, held for the leader of `ballot`.
    fn end(&self, ballot: Ballot) -> Slot {
        let reached = self.reached.get(&ballot).copied().unwrap_or(Slot::FIRST);
        let mut end = self.recorded.max(reached);
        while self.accepted.get(&end) == Some(&ballot) {
            end = end.next();
        }
        end
    }
}

impl Held {
    /// A record is durable on `node`.
    pub fn observe_record(&mut self, node: NodeId, record: &Record) {
        let disk = self.disks.entry(node).or_default();
        match record {
            Record::Accept(PValue { ballot, slot, .. }) if *slot >= disk.recorded => {
                disk.accept(*slot, *ballot);
            }
            Record::Decided { slot } => disk.record(*slot),
            Record::Accept(_)
            | Record::Promise { .. }
            | Record::Learn { .. }
            | Record::AcceptView(_)
            | Record::InForce(_) => {}
        }
    }

    /// `node` holds a snapshot of all below `slot`.
    pub fn observe_installed(&mut self, node: NodeId, slot: Slot) {
        self.disks.entry(node).or_default().record(slot);
    }

    /// `node` comes back with what its data directory holds.
    pub fn observe_restart(&mut self, node: NodeId, found: &AcceptorState) {
        let disk = self.disks.entry(node).or_default();
        disk.record(found.decided);
        let recorded = disk.recorded;
        for pvalue in found.pvalues.iter().filter(|pvalue| pvalue.slot >= recorded) {
            disk.accept(pvalue.slot, pvalue.ballot);
        }
    }

    /// The data directory of `node` is gone.
    pub fn observe_wiped(&mut self, node: NodeId) {
        let disk = self.disks.entry(node).or_default();
        disk.lose(self.barriers.keys());
    }

    /// `ballot` leads, and fills slots on its own account from `barrier` on.
    pub fn observe_leading(&mut self, ballot: Ballot, barrier: Slot) {
        self.barriers.insert(ballot, barrier);
    }

    /// Whether `ballot` leads, or has led.
    #[must_use]
    pub fn has_led(&self, ballot: Ballot) -> bool {
        self.barriers.contains_key(&ballot)
    }

    /// The leader of `ballot` proposes what comes after `present`, the view of its ballot.
    ///
    /// # Errors
    /// When no majority of the voters of that view holds every slot up to the barrier.
    pub fn observe_change(&self, ballot: Ballot, present: &Membership) -> Result<(), Violation> {
        let Some(&barrier) = self.barriers.get(&ballot) else { return Ok(()) };
        let holds = |node: NodeId| self.end_of(node, ballot) >= barrier;
        if is_majority(present.voters(), holds) {
            return Ok(());
        }
        let ends =
            present.voters().iter().map(|&node| format!("{node} {}", self.end_of(node, ballot)));
        let sentence = format!(
            "{ballot} ends {present} before a majority holds all below {barrier}: {}",
            ends.collect::<Vec<_>>().join(", ")
        );
        Err(Violation::safety(SECURED, &[ballot.node], sentence))
    }

    /// The leader of `ballot`, who knows all below `decided` to be decided, gives votes to nodes
    /// that have none in `present`.
    ///
    /// # Errors
    /// When one of them lacks more than it may.
    pub fn observe_promoted(
        &self,
        ballot: Ballot,
        decided: Slot,
        present: &Membership,
        next: &Membership,
    ) -> Result<(), Violation> {
        // What a leader has applied it may know of a moment later.
        let lag_max = PROMOTION_LAG_MAX + WINDOW_MAX;
        for &node in next.voters().iter().filter(|&&node| !present.is_voter(node)) {
            let end = self.end_of(node, ballot);
            if decided.distance_from(end) > lag_max {
                let sentence = format!(
                    "{node} gets a vote in {next} with what is below {end}, when all below \
                     {decided} is decided"
                );
                return Err(Violation::safety(NEWCOMERS, &[node], sentence));
            }
        }
        Ok(())
    }

    fn end_of(&self, node: NodeId, ballot: Ballot) -> Slot {
        self.disks.get(&node).map_or(Slot::FIRST, |disk| disk.end(ballot))
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::{Batch, Change, Incarnation, LogTime, Stamp, View};

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N4: NodeId = NodeId::new(4);

    fn ballot(round: u64) -> Ballot {
        Ballot { view: View::new(1), round, node: N1 }
    }

    fn three() -> Membership {
        Membership::new(View::new(1), (1..=3).map(NodeId::new))
    }

    fn accept(slot: u64, round: u64) -> Record {
        let batch = Batch::no_op(Stamp { log_time: LogTime::ZERO, seed: 0 });
        Record::Accept(PValue { ballot: ballot(round), slot: Slot::new(slot), batch })
    }

    fn decided(slot: u64) -> Record {
        Record::Decided { slot: Slot::new(slot) }
    }

    /// Ballot 2 leads with barrier 5 after these records.
    fn changing(records: &[(NodeId, Record)]) -> Result<(), Violation> {
        let mut checker = Held::default();
        checker.observe_leading(ballot(2), Slot::new(5));
        for (node, record) in records {
            checker.observe_record(*node, record);
        }
        checker.observe_change(ballot(2), &three())
    }

    #[test]
    fn records_and_accepts_of_the_ballot_secure_a_view() {
        assert_eq!(changing(&[(N1, decided(5)), (N2, decided(7))]), Ok(()));
        let accepts = [(N1, decided(5)), (N2, decided(3)), (N2, accept(3, 2)), (N2, accept(4, 2))];
        assert_eq!(changing(&accepts), Ok(()));
    }

    #[test]
    fn a_view_that_ends_too_early_is_found() {
        let found = changing(&[(N1, decided(5)), (N2, decided(4)), (N4, decided(9))]).unwrap_err();
        assert_eq!(
            found.to_string(),
            "secured views: v1.b2.n1 ends v1[n1 n2 n3] before a majority holds all below s5: \
             n1 s5, n2 s4, n3 s1"
        );
        assert!(changing(&[(N1, decided(5)), (N2, decided(3)), (N2, accept(4, 2))]).is_err());
    }

    #[test]
    fn accepts_of_other_ballots_secure_nothing() {
        assert!(changing(&[(N1, decided(5)), (N2, decided(4)), (N2, accept(4, 1))]).is_err());
        assert!(changing(&[(N1, decided(5)), (N2, decided(4)), (N2, accept(4, 3))]).is_err());
    }

    #[test]
    fn what_was_held_before_a_later_ballot_replaced_it_counts() {
        let before = [(N1, decided(5)), (N2, decided(3)), (N2, accept(3, 2)), (N2, accept(4, 2))];
        let replaced = [(N2, accept(3, 3)), (N2, accept(4, 3))];
        assert_eq!(changing(&[&before[..], &replaced].concat()), Ok(()));
        assert!(changing(&[&before[..3], &replaced].concat()).is_err(), "it never had slot 4");
    }

    #[test]
    fn a_lost_directory_holds_nothing_for_later_leaders_and_a_snapshot_what_it_covers() {
        let mut checker = Held::default();
        checker.observe_leading(ballot(2), Slot::new(5));
        checker.observe_record(N1, &decided(5));
        checker.observe_installed(N2, Slot::new(8));
        assert_eq!(checker.observe_change(ballot(2), &three()), Ok(()));
        checker.observe_wiped(N2);
        assert_eq!(checker.observe_change(ballot(2), &three()), Ok(()), "it was told before");
        checker.observe_leading(ballot(3), Slot::new(5));
        checker.observe_record(N2, &decided(5));
        assert!(checker.observe_change(ballot(3), &three()).is_err());
    }

    #[test]
    fn a_newcomer_that_lacks_many_slots_is_found() {
        let add = Change::AddObserver {
            node: N4,
            address: String::new(),
            incarnation: Incarnation::new(4),
        };
        let four = three().changed(&add).unwrap();
        let next = four.changed(&Change::Promote { node: N4 }).unwrap();
        let mut checker = Held::default();
        checker.observe_record(N4, &decided(20));
        let promoted =
            |decided| checker.observe_promoted(ballot(2), Slot::new(decided), &four, &next);
        assert_eq!(promoted(20 + PROMOTION_LAG_MAX), Ok(()));
        assert_eq!(promoted(100).unwrap_err().nodes, [N4]);
        checker.observe_promoted(ballot(2), Slot::new(900), &four, &four).expect("no vote is new");
    }
}
