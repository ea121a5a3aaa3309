//! What a leader declines it has not proposed and never will ("Fate" in PROTOCOL.md).
//!
//! The node that is told so proposes the same commands to another leader. If the first one had
//! proposed them after all they would be executed twice, which shows only if they can be told
//! apart from once, and if the slot of the first survives the election.

use std::collections::BTreeMap;

use warlock_paxos::{Ballot, NodeId};

use super::Violation;

const PROPERTY: &str = "declined proposals";

/// What each leader did with the proposals of each node. Sequences of a node only grow, also from
/// one of its processes to the next.
#[derive(Clone, Debug, Default)]
pub struct Declines {
    /// The highest sequence that was proposed.
    proposed: BTreeMap<(Ballot, NodeId), u64>,
    /// The lowest sequence that was declined.
    declined: BTreeMap<(Ballot, NodeId), u64>,
}

impl Declines {
    /// The leader of `ballot` proposes what `node` gave it under `sequence`.
    ///
    /// # Errors
    /// When it declined that.
    pub fn observe_proposed(
        &mut self,
        ballot: Ballot,
        node: NodeId,
        sequence: u64,
    ) -> Result<(), Violation> {
        let highest = self.proposed.entry((ballot, node)).or_insert(sequence);
        *highest = sequence.max(*highest);
        self.judge(ballot, node)
    }

    /// The leader of `ballot` tells `node` that it declines what it has under `from` and above.
    ///
    /// # Errors
    /// When it proposed some of that.
    pub fn observe_declined(
        &mut self,
        ballot: Ballot,
        node: NodeId,
        from: u64,
    ) -> Result<(), Violation> {
        let lowest = self.declined.entry((ballot, node)).or_insert(from);
        *lowest = from.min(*lowest);
        self.judge(ballot, node)
    }

    fn judge(&self, ballot: Ballot, node: NodeId) -> Result<(), Violation> {
        let proposed = self.proposed.get(&(ballot, node));
        let declined = self.declined.get(&(ballot, node));
        match (proposed, declined) {
            (Some(proposed), Some(declined)) if proposed >= declined => {
                let sentence = format!(
                    "{ballot} declines what {node} gave it from number {declined} on, but it \
                     proposes number {proposed}"
                );
                Err(Violation::safety(PROPERTY, &[ballot.node, node], sentence))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::View;

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);

    fn ballot(round: u64) -> Ballot {
        Ballot { view: View::new(1), round, node: N1 }
    }

    #[test]
    fn what_comes_behind_the_proposed_may_be_declined() {
        let mut checker = Declines::default();
        for sequence in [4, 5, 6] {
            assert_eq!(checker.observe_proposed(ballot(1), N2, sequence), Ok(()));
        }
        assert_eq!(checker.observe_declined(ballot(1), N2, 8), Ok(()));
        assert_eq!(checker.observe_declined(ballot(1), N2, 7), Ok(()));
        assert_eq!(checker.observe_declined(ballot(1), N3, 1), Ok(()));
        assert_eq!(checker.observe_proposed(ballot(2), N2, 9), Ok(()));
    }

    #[test]
    fn what_is_proposed_before_or_after_must_not_be_declined() {
        let mut checker = Declines::default();
        assert_eq!(checker.observe_proposed(ballot(1), N2, 6), Ok(()));
        let found = checker.observe_declined(ballot(1), N2, 6).unwrap_err();
        assert_eq!(found.nodes, [N1, N2]);
        assert_eq!(
            found.to_string(),
            format!(
                "declined proposals: {} declines what n2 gave it from number 6 on, but it \
                 proposes number 6",
                ballot(1)
            )
        );
        let mut checker = Declines::default();
        assert_eq!(checker.observe_declined(ballot(1), N2, 6), Ok(()));
        assert_eq!(checker.observe_proposed(ballot(1), N2, 5), Ok(()));
        assert!(checker.observe_proposed(ballot(1), N2, 7).is_err());
    }
}
