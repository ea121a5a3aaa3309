//! Every node decides the same batch for a slot (P3, P4; PMMC section 2.2, "agreement").
//!
//! The first node that decides a slot sets its content; every later decision is compared with it,
//! one look-up each.

use warlock_paxos::{NodeId, Slot};

use super::{Violation, index_of};

const PROPERTY: &str = "agreement";

/// What the cluster has decided, as far as any node said so.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    /// By slot, from the first: hash of the batch and who decided it first.
    decided: Vec<Option<(u64, NodeId)>>,
}

impl Agreement {
    /// `node` holds the batch with hash `batch_hash` as decided for `slot`.
    ///
    /// # Errors
    /// When another batch was decided for that slot.
    pub fn observe_decided(
        &mut self,
        node: NodeId,
        slot: Slot,
        batch_hash: u64,
    ) -> Result<(), Violation> {
        let index = index_of(slot);
        if self.decided.len() <= index {
            self.decided.resize(index + 1, None);
        }
        let Some((known, first)) = self.decided[index] else {
            self.decided[index] = Some((batch_hash, node));
            return Ok(());
        };
        if known == batch_hash {
            return Ok(());
        }
        let sentence = format!(
            "{node} decides batch {batch_hash:016x} for {slot}, \
             but {first} decided {known:016x} for it"
        );
        Err(Violation::safety(PROPERTY, &[node, first], sentence))
    }

    /// The hash of the batch that is decided for `slot`, if any node has decided it.
    #[must_use]
    pub fn decided(&self, slot: Slot) -> Option<u64> {
        self.decided.get(index_of(slot)).copied().flatten().map(|(hash, _)| hash)
    }

    /// The slot after the highest that any node has decided.
    #[must_use]
    pub fn end(&self) -> Slot {
        Slot::new(Slot::FIRST.position() + self.decided.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);

    fn agreement(events: &[(NodeId, u64, u64)]) -> Result<Agreement, Violation> {
        let mut checker = Agreement::default();
        for &(node, slot, hash) in events {
            checker.observe_decided(node, Slot::new(slot), hash)?;
        }
        Ok(checker)
    }

    #[test]
    fn equal_batches_in_any_order_agree() {
        let checker =
            agreement(&[(N1, 1, 7), (N2, 3, 9), (N2, 1, 7), (N1, 2, 7), (N3, 3, 9), (N1, 1, 7)]);
        let checker = checker.expect("these agree");
        assert_eq!(checker.decided(Slot::new(2)), Some(7));
        assert_eq!(checker.end(), Slot::new(4));
    }

    #[test]
    fn two_nodes_with_different_batches_for_a_slot_disagree() {
        let found = agreement(&[(N1, 1, 7), (N2, 1, 8)]).unwrap_err();
        assert_eq!(found.nodes, [N1, N2]);
        assert_eq!(
            found.to_string(),
            "agreement: n2 decides batch 0000000000000008 for s1, \
             but n1 decided 0000000000000007 for it"
        );
    }

    #[test]
    fn a_node_that_changes_its_mind_disagrees_with_itself() {
        let found = agreement(&[(N1, 4, 7), (N1, 5, 7), (N1, 4, 8)]).unwrap_err();
        assert_eq!(found.nodes, [N1]);
    }

    #[test]
    fn a_hole_filled_differently_disagrees() {
        let found = agreement(&[(N1, 9, 1), (N2, 3, 2), (N3, 9, 1), (N3, 3, 1)]).unwrap_err();
        assert_eq!(found.nodes, [N2, N3]);
    }

    #[test]
    fn batches_exchanged_between_slots_disagree() {
        assert!(agreement(&[(N1, 1, 1), (N1, 2, 2), (N2, 1, 2), (N2, 2, 1)]).is_err());
    }
}
