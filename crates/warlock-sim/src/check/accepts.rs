//! What an acceptor said it accepted is there after a restart, or the acceptor says that it cannot
//! read it (P1, P6).
//!
//! On a sound disk nothing is ever missing. On one that breaks its promises records may be gone,
//! but never without a trace: an acceptor that takes such a slot for empty lets another value be
//! chosen for it, which shows only if just the right quorum asks.

use std::collections::BTreeMap;

use warlock_paxos::{AcceptorState, Ballot, NodeId, Slot};

use super::{Violation, index_of};

const PROPERTY: &str = "remembered accepts";

/// The accepts that were told, by node.
#[derive(Clone, Debug, Default)]
pub struct Accepts {
    /// By slot, from the first: the highest ballot.
    told: BTreeMap<NodeId, Vec<Ballot>>,
}

impl Accepts {
    /// `node` tells others that it accepted something for `slot` under `ballot`.
    pub fn observe_told(&mut self, node: NodeId, slot: Slot, ballot: Ballot) {
        let told = self.told.entry(node).or_default();
        let index = index_of(slot);
        if told.len() <= index {
            told.resize(index + 1, Ballot::ZERO);
        }
        told[index] = told[index].max(ballot);
    }

    /// `node` comes back with what its data directory holds.
    ///
    /// # Errors
    /// When it neither has what it told of a slot that it does not know to be decided, nor
    /// abstains.
    pub fn observe_restart(&self, node: NodeId, found: &AcceptorState) -> Result<(), Violation> {
        let Some(told) = self.told.get(&node) else { return Ok(()) };
        let mut slot = found.decided.max(Slot::FIRST);
        while let Some(&ballot) = told.get(index_of(slot)) {
            let abstains = found.unknown.iter().any(|range| range.contains(slot));
            let held = found.pvalues.iter().find(|pvalue| pvalue.slot == slot);
            let holds = held.map_or(Ballot::ZERO, |pvalue| pvalue.ballot) >= ballot;
            if !abstains && !holds {
                let sentence = format!(
                    "{node} told others that it accepted {slot} under {ballot}, but neither finds \
                     it after its restart nor misses it"
                );
                return Err(Violation::safety(PROPERTY, &[node], sentence));
            }
            slot = slot.next();
        }
        Ok(())
    }

    /// The data directory of `node` is gone: what follows is another incarnation (P7).
    pub fn observe_wiped(&mut self, node: NodeId) {
        self.told.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::{Batch, Incarnation, LogTime, PValue, SlotRange, Stamp, View};

    use super::*;

    const N1: NodeId = NodeId::new(1);

    fn ballot(round: u64) -> Ballot {
        Ballot { view: View::new(1), round, node: N1 }
    }

    fn found(decided: u64, pvalues: &[(u64, u64)], unknown: &[(u64, u64)]) -> AcceptorState {
        let batch = Batch::no_op(Stamp { log_time: LogTime::ZERO, seed: 0 });
        let pvalues = pvalues.iter().map(|&(slot, round)| PValue {
            ballot: ballot(round),
            slot: Slot::new(slot),
            batch: batch.clone(),
        });
        let unknown = unknown
            .iter()
            .map(|&(first, last)| SlotRange { first: Slot::new(first), last: Slot::new(last) });
        AcceptorState {
            ballot: ballot(9),
            pvalues: pvalues.collect(),
            decided: Slot::new(decided),
            unknown: unknown.collect(),
            known: Slot::new(decided),
            restarted: true,
            incarnation: Incarnation::new(1),
            reconfiguration: None,
        }
    }

    fn restart(state: &AcceptorState) -> Result<(), Violation> {
        let mut checker = Accepts::default();
        for (slot, round) in [(3, 1), (4, 1), (4, 2), (4, 1), (6, 2)] {
            checker.observe_told(N1, Slot::new(slot), ballot(round));
        }
        checker.observe_restart(N1, state)
    }

    #[test]
    fn what_was_told_is_there_decided_or_missed() {
        assert_eq!(restart(&found(3, &[(3, 1), (4, 2), (6, 2)], &[])), Ok(()));
        assert_eq!(restart(&found(3, &[(3, 2), (4, 3), (6, 2)], &[])), Ok(()));
        assert_eq!(restart(&found(4, &[(4, 2)], &[(6, 100)])), Ok(()));
        assert_eq!(restart(&found(7, &[], &[])), Ok(()));
    }

    #[test]
    fn a_slot_that_is_gone_or_older_is_found_out() {
        let missing = restart(&found(3, &[(3, 1), (4, 2)], &[])).unwrap_err();
        assert_eq!(missing.nodes, [N1]);
        assert_eq!(
            missing.to_string(),
            format!(
                "remembered accepts: n1 told others that it accepted s6 under {}, but neither \
                 finds it after its restart nor misses it",
                ballot(2)
            )
        );
        assert!(restart(&found(3, &[(3, 1), (4, 1), (6, 2)], &[])).is_err());
        assert!(restart(&found(3, &[(3, 1), (4, 2)], &[(7, 9)])).is_err());
    }

    #[test]
    fn a_lost_directory_is_another_life() {
        let mut checker = Accepts::default();
        checker.observe_told(N1, Slot::new(3), ballot(1));
        checker.observe_wiped(N1);
        assert_eq!(checker.observe_restart(N1, &found(1, &[], &[])), Ok(()));
    }
}
