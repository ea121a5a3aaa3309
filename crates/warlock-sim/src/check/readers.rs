//! A leader starts only when a quorum could read each slot that is open (P4, P6); in a transition,
//! a quorum of either membership (M2).
//!
//! An acceptor that lost a slot abstains for it. A leader that counts it all the same may miss what
//! was chosen, which shows only if nobody else in its quorum had accepted that.

use std::collections::BTreeMap;

use warlock_paxos::{Ballot, Membership, NodeId, Slot, SlotRange};

use super::Violation;
use super::majority::may_elect;

const PROPERTY: &str = "readable slots";

/// What each ballot was promised.
#[derive(Clone, Debug, Default)]
pub struct Readers {
    /// For each node that promised, the slots that it cannot read.
    promises: BTreeMap<Ballot, BTreeMap<NodeId, Vec<SlotRange>>>,
}

impl Readers {
    /// `node` promises `ballot`, and cannot read the slots of `unknown`.
    pub fn observe_promise(&mut self, node: NodeId, ballot: Ballot, unknown: &[SlotRange]) {
        let promises = self.promises.entry(ballot).or_default();
        promises.entry(node).or_insert_with(|| unknown.to_vec());
    }

    /// `ballot`, of the view of `membership`, leads, and takes every slot below `from` for decided.
    ///
    /// # Errors
    /// When too few nodes promised, or too few of them can read a slot and others might.
    pub fn observe_leading(
        &mut self,
        ballot: Ballot,
        from: Slot,
        membership: &Membership,
    ) -> Result<(), Violation> {
        let promises = self.promises.remove(&ballot).unwrap_or_default();
        let electors = membership.electors();
        if electors.iter().all(|node| promises.contains_key(node)) {
            return Ok(());
        }
        let firsts = promises.values().flatten().filter(|range| range.last >= from);
        // Between the beginnings of ranges the readers only become more.
        let bounds = firsts.map(|range| range.first.max(from)).chain([from]);
        for slot in bounds {
            let reads = |node: NodeId| {
                let unknown = promises.get(&node);
                unknown.is_some_and(|unknown| !unknown.iter().any(|range| range.contains(slot)))
            };
            if !may_elect(membership, reads) {
                let readers: Vec<String> =
                    electors.iter().filter(|&&node| reads(node)).map(NodeId::to_string).collect();
                let sentence = format!(
                    "{ballot} leads in {membership} though only [{}] could read {slot} for it",
                    readers.join(" ")
                );
                return Err(Violation::safety(PROPERTY, &[ballot.node], sentence));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::{Change, View};

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);

    const BALLOT: Ballot = Ballot { view: View::new(1), round: 4, node: N1 };

    fn three() -> Membership {
        Membership::new(View::new(1), [N1, N2, N3])
    }

    /// Promises of nodes with the slots that they cannot read; then the leader starts at slot 10.
    fn leading(promises: &[(NodeId, &[(u64, u64)])]) -> Result<(), Violation> {
        let mut checker = Readers::default();
        for &(node, unknown) in promises {
            let ranges: Vec<SlotRange> = unknown
                .iter()
                .map(|&(first, last)| SlotRange { first: Slot::new(first), last: Slot::new(last) })
                .collect();
            checker.observe_promise(node, BALLOT, &ranges);
        }
        checker.observe_leading(BALLOT, Slot::new(10), &three())
    }

    #[test]
    fn a_quorum_that_reads_everything_is_enough() {
        assert_eq!(leading(&[(N1, &[]), (N2, &[])]), Ok(()));
        assert_eq!(leading(&[(N1, &[]), (N2, &[(3, 9)])]), Ok(()));
        assert_eq!(leading(&[(N1, &[(12, 14)]), (N2, &[(10, 11)]), (N3, &[])]), Ok(()));
    }

    #[test]
    fn when_everybody_answered_nobody_is_left_to_ask() {
        assert_eq!(leading(&[(N1, &[(10, 99)]), (N2, &[(10, 99)]), (N3, &[])]), Ok(()));
    }

    #[test]
    fn a_slot_that_too_few_can_read_is_found() {
        let found = leading(&[(N1, &[]), (N2, &[(8, 12)])]).unwrap_err();
        assert_eq!(
            found.to_string(),
            "readable slots: v1.b4.n1 leads in v1[n1 n2 n3] though only [n1] could read s10 for it"
        );
        assert!(leading(&[(N1, &[(14, 20)]), (N2, &[])]).is_err());
    }

    #[test]
    fn promises_of_too_few_or_to_others_do_not_count() {
        assert!(leading(&[(N1, &[])]).is_err());
        let mut checker = Readers::default();
        checker.observe_promise(N1, BALLOT, &[]);
        checker.observe_promise(N2, Ballot { round: 3, ..BALLOT }, &[]);
        assert!(checker.observe_leading(BALLOT, Slot::new(10), &three()).is_err());
    }

    #[test]
    fn an_older_ballot_may_lead_later() {
        let (older, mut checker) = (Ballot { round: 3, ..BALLOT }, Readers::default());
        for (node, ballot) in [(N1, older), (N2, older), (N2, BALLOT), (N3, BALLOT)] {
            checker.observe_promise(node, ballot, &[]);
        }
        assert_eq!(checker.observe_leading(BALLOT, Slot::new(10), &three()), Ok(()));
        assert_eq!(checker.observe_leading(older, Slot::new(10), &three()), Ok(()));
    }

    #[test]
    fn a_transition_without_a_majority_of_either_side_is_found() {
        let next = three().changed(&Change::SetVoters { voters: vec![N1] }).unwrap();
        let ballot = Ballot { view: View::new(2), ..BALLOT };
        let leading = |nodes: &[NodeId], membership: &Membership| {
            let mut checker = Readers::default();
            nodes.iter().for_each(|&node| checker.observe_promise(node, ballot, &[]));
            checker.observe_leading(ballot, Slot::new(10), membership)
        };
        assert_eq!(leading(&[N1, N3], &next), Ok(()));
        assert!(leading(&[N1], &next).is_err(), "no majority of the old voters");
        assert!(leading(&[N2, N3], &next).is_err(), "no majority of the new voters");
        assert_eq!(leading(&[N1], &next.stabilised()), Ok(()));
    }
}
