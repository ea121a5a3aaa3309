//! All replicas that have applied the same slots hold the same state (P5, section 5 of the design).
//!
//! The first digest told for a slot is the truth; every later one is compared with it, also those
//! of a node that restarted or that installed an image.

use std::collections::BTreeMap;

use warlock_paxos::{NodeId, Slot};

use super::Violation;

const PROPERTY: &str = "equal replicas";

/// The digests told so far.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    by_slot: BTreeMap<Slot, (u64, NodeId)>,
    compared: u64,
}

impl Digests {
    /// `node` has applied all slots below `next`, and `digest` is the digest of its state.
    ///
    /// # Errors
    /// When the state at that slot had another digest, on this node or another one.
    pub fn observe_digest(
        &mut self,
        node: NodeId,
        next: Slot,
        digest: u64,
    ) -> Result<(), Violation> {
        let Some(&(known, first)) = self.by_slot.get(&next) else {
            self.by_slot.insert(next, (digest, node));
            return Ok(());
        };
        self.compared += 1;
        if known == digest {
            return Ok(());
        }
        let sentence = format!(
            "the state of {node} before {next} has digest {digest:016x}, that of {first} had \
             {known:016x}"
        );
        Err(Violation::safety(PROPERTY, &[node, first], sentence))
    }

    /// Forgets digests of slots below `below`, which no node can come to any more.
    pub fn forget(&mut self, below: Slot) {
        self.by_slot = self.by_slot.split_off(&below);
    }

    /// How many digests were compared with an earlier one: none means that nothing was tested.
    #[must_use]
    pub const fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);

    fn digests(told: &[(NodeId, u64, u64)]) -> Result<Digests, Violation> {
        let mut checker = Digests::default();
        for &(node, next, digest) in told {
            checker.observe_digest(node, Slot::new(next), digest)?;
        }
        Ok(checker)
    }

    #[test]
    fn replicas_may_be_at_different_slots() {
        let checker =
            digests(&[(N1, 5, 50), (N2, 4, 40), (N2, 5, 50), (N3, 9, 50), (N1, 9, 50)]).unwrap();
        assert_eq!(checker.compared(), 2);
    }

    #[test]
    fn forgotten_slots_are_not_compared() {
        let mut checker = digests(&[(N1, 5, 50), (N1, 6, 60)]).unwrap();
        checker.forget(Slot::new(6));
        checker.observe_digest(N2, Slot::new(5), 51).unwrap();
        assert!(checker.observe_digest(N2, Slot::new(6), 61).is_err());
    }

    #[test]
    fn one_flipped_value_is_found() {
        let found = digests(&[(N1, 5, 50), (N3, 5, 50), (N2, 5, 51)]).unwrap_err();
        assert_eq!(
            found.to_string(),
            "equal replicas: the state of n2 before s5 has digest 0000000000000033, that of n1 \
             had 0000000000000032"
        );
    }

    #[test]
    fn a_node_that_recovers_another_state_is_found() {
        let found = digests(&[(N1, 5, 50), (N1, 6, 60), (N1, 5, 60)]).unwrap_err();
        assert_eq!(found.nodes, [N1]);
    }

    #[test]
    fn a_slot_applied_twice_is_found() {
        assert!(digests(&[(N1, 5, 50), (N1, 6, 60), (N2, 5, 50), (N2, 6, 70)]).is_err());
    }
}
