//! What a majority is, counted here once more: a checker that asked the code under test would make
//! its mistakes.

use warlock_paxos::{Membership, NodeId};

/// Whether more than half of `nodes` are such that `belongs`.
pub(super) fn is_majority(nodes: &[NodeId], belongs: impl Fn(NodeId) -> bool) -> bool {
    2 * nodes.iter().filter(|node| belongs(**node)).count() > nodes.len()
}

/// Whether those of whom `belongs` is true are enough to elect: a majority of the voters, and in a
/// transition of the voters before, too (M2).
pub(crate) fn may_elect(membership: &Membership, belongs: impl Fn(NodeId) -> bool) -> bool {
    let of = |nodes: &[NodeId]| is_majority(nodes, &belongs);
    of(membership.voters()) && membership.previous().is_none_or(|nodes| of(nodes))
}

#[cfg(test)]
mod tests {
    use warlock_paxos::{Change, View};

    use super::*;

    #[test]
    fn half_is_no_majority_and_a_transition_needs_two() {
        let three = Membership::new(View::new(1), (1..=3).map(NodeId::new));
        let of = |nodes: &'static [u16]| move |id: NodeId| nodes.contains(&id.number());
        assert!(may_elect(&three, of(&[1, 3])));
        assert!(!may_elect(&three, of(&[1, 4, 5])));
        let two = three.changed(&Change::Remove { node: NodeId::new(3) }).expect("one goes");
        assert!(!may_elect(&two, of(&[1, 3])), "one of two");
        assert!(may_elect(&two, of(&[1, 2])));
        assert!(is_majority(two.voters(), of(&[1, 2])));
        assert!(!is_majority(two.voters(), of(&[2])));
    }
}
