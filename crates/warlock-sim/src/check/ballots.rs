//! The ballot of an acceptor never falls, also across restarts, and a ballot proposes one batch for
//! a slot (P1, P2, P3; PMMC section 2.2, a1 and c2).
//!
//! What counts is what others were told: a promise that left the node must be found again after
//! every crash. Ballots that a node only thought of may be forgotten.

use std::collections::BTreeMap;

use warlock_paxos::{Ballot, NodeId, Slot};

use super::Violation;

const PROPERTY: &str = "monotonic ballots";

/// The ballots of all acceptors, and what was proposed with them.
#[derive(Clone, Debug, Default)]
pub struct Ballots {
    told: BTreeMap<NodeId, Ballot>,
    held: BTreeMap<NodeId, Ballot>,
    proposed: BTreeMap<(Slot, Ballot), u64>,
}

impl Ballots {
    /// The acceptor of `node` has `ballot` in its memory.
    ///
    /// # Errors
    /// When it had a higher one since it started.
    pub fn observe_held(&mut self, node: NodeId, ballot: Ballot) -> Result<(), Violation> {
        let known = self.held.entry(node).or_insert(ballot);
        if ballot < *known {
            let sentence = format!("the ballot of {node} falls from {known} to {ballot}");
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        *known = ballot;
        Ok(())
    }

    /// `node` tells another node that its acceptor has `ballot`.
    ///
    /// # Errors
    /// When it told a higher one before.
    pub fn observe_told(&mut self, node: NodeId, ballot: Ballot) -> Result<(), Violation> {
        let known = self.told.entry(node).or_insert(ballot);
        if ballot < *known {
            let sentence = format!("{node} answers with ballot {ballot} after it told {known}");
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        *known = ballot;
        Ok(())
    }

    /// The acceptor of `node` comes back from its data directory with `ballot`.
    ///
    /// # Errors
    /// When it told a higher one before it stopped.
    pub fn observe_restart(&mut self, node: NodeId, ballot: Ballot) -> Result<(), Violation> {
        self.held.insert(node, ballot);
        match self.told.get(&node) {
            Some(told) if ballot < *told => {
                let sentence =
                    format!("{node} told {told}, but remembers only {ballot} after its restart");
                Err(Violation::safety(PROPERTY, &[node], sentence))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The data directory of `node` is gone: what follows is another incarnation (P7).
    pub fn observe_wiped(&mut self, node: NodeId) {
        self.told.remove(&node);
        self.held.remove(&node);
    }

    /// The batch with hash `batch_hash` is proposed for `slot` with `ballot`.
    ///
    /// # Errors
    /// When another batch was proposed with the same ballot.
    pub fn observe_proposed(
        &mut self,
        ballot: Ballot,
        slot: Slot,
        batch_hash: u64,
    ) -> Result<(), Violation> {
        let known = *self.proposed.entry((slot, ballot)).or_insert(batch_hash);
        if known == batch_hash {
            return Ok(());
        }
        let sentence = format!(
            "{ballot} proposes batch {batch_hash:016x} for {slot} after it proposed {known:016x}"
        );
        Err(Violation::safety(PROPERTY, &[ballot.node], sentence))
    }

    /// Forgets proposals for slots below `below`, which every node has applied.
    pub fn forget_proposals(&mut self, below: Slot) {
        self.proposed = self.proposed.split_off(&(below, Ballot::ZERO));
    }

    /// The highest ballot that `node` ever told anybody.
    #[must_use]
    pub fn told(&self, node: NodeId) -> Option<Ballot> {
        self.told.get(&node).copied()
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::View;

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);

    fn ballot(round: u64, node: NodeId) -> Ballot {
        Ballot { view: View::new(1), round, node }
    }

    #[test]
    fn a_ballot_nobody_heard_of_may_be_forgotten() {
        let mut checker = Ballots::default();
        checker.observe_held(N1, ballot(3, N1)).unwrap();
        checker.observe_told(N1, ballot(3, N1)).unwrap();
        checker.observe_held(N1, ballot(4, N2)).unwrap();
        checker.observe_restart(N1, ballot(3, N1)).unwrap();
        checker.observe_held(N1, ballot(3, N2)).unwrap();
        checker.observe_told(N1, ballot(3, N2)).unwrap();
        assert_eq!(checker.told(N1), Some(ballot(3, N2)));
    }

    #[test]
    fn another_data_directory_starts_from_nothing() {
        let mut checker = Ballots::default();
        checker.observe_told(N1, ballot(9, N1)).unwrap();
        checker.observe_wiped(N1);
        checker.observe_restart(N1, Ballot::ZERO).unwrap();
        checker.observe_told(N1, ballot(1, N2)).unwrap();
    }

    #[test]
    fn a_ballot_that_falls_in_memory_is_found() {
        let mut checker = Ballots::default();
        checker.observe_held(N1, ballot(3, N2)).unwrap();
        let found = checker.observe_held(N1, ballot(3, N1)).unwrap_err();
        assert_eq!(
            found.to_string(),
            "monotonic ballots: the ballot of n1 falls from v1.b3.n2 to v1.b3.n1"
        );
    }

    #[test]
    fn an_answer_with_an_older_ballot_is_found() {
        let mut checker = Ballots::default();
        checker.observe_told(N1, ballot(3, N2)).unwrap();
        assert!(checker.observe_told(N1, ballot(2, N2)).is_err());
    }

    #[test]
    fn a_promise_forgotten_by_a_restart_is_found() {
        let mut checker = Ballots::default();
        checker.observe_told(N1, ballot(3, N2)).unwrap();
        let found = checker.observe_restart(N1, ballot(2, N2)).unwrap_err();
        assert_eq!(found.nodes, [N1]);
    }

    #[test]
    fn two_batches_of_one_ballot_for_a_slot_are_found() {
        let mut checker = Ballots::default();
        checker.observe_proposed(ballot(3, N2), Slot::new(7), 1).unwrap();
        checker.observe_proposed(ballot(3, N2), Slot::new(8), 2).unwrap();
        checker.observe_proposed(ballot(3, N1), Slot::new(7), 2).unwrap();
        checker.observe_proposed(ballot(3, N2), Slot::new(7), 1).unwrap();
        let found = checker.observe_proposed(ballot(3, N2), Slot::new(7), 2).unwrap_err();
        assert_eq!(found.nodes, [N2]);
        checker.forget_proposals(Slot::new(8));
        assert!(checker.observe_proposed(ballot(3, N2), Slot::new(8), 1).is_err());
    }
}
