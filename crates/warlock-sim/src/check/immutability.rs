//! What a node has decided stays as it is: in order, without gaps, and across restarts (P5, P6;
//! PMMC section 2.2).
//!
//! [`Agreement`](super::Agreement) compares nodes with each other; this checker compares a node
//! with its own past. A node applies exactly the slot after the last one, an installed image only
//! moves it forward, what it reads again after a restart is what it had applied before, and it
//! does not forget what it told others to be durable.

use std::collections::BTreeMap;

use warlock_paxos::{NodeId, Slot};

use super::{Violation, index_of};

const PROPERTY: &str = "log immutability";

/// What every node has applied so far.
#[derive(Clone, Debug, Default)]
pub struct Immutability {
    nodes: BTreeMap<NodeId, Past>,
}

/// The past of one data directory.
#[derive(Clone, Debug)]
struct Past {
    /// By slot, from the first: hash of the batch it applied; `None` where an image stood for it.
    applied: Vec<Option<u64>>,
    /// The slot that it applies next.
    next: Slot,
    /// All below it is durable, as it told others.
    told_durable: Slot,
}

impl Immutability {
    /// `node` applies the batch with hash `batch_hash` for `slot`.
    ///
    /// # Errors
    /// When it is not the next slot, or was another batch before a restart.
    pub fn observe_applied(
        &mut self,
        node: NodeId,
        slot: Slot,
        batch_hash: u64,
    ) -> Result<(), Violation> {
        let past = self.nodes.entry(node).or_default();
        if slot != past.next {
            let sentence = format!("{node} applies {slot}, but the next slot is {}", past.next);
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        past.next = slot.next();
        let index = index_of(slot);
        if past.applied.len() <= index {
            past.applied.resize(index + 1, None);
        }
        match past.applied[index].replace(batch_hash) {
            Some(before) if before != batch_hash => {
                let sentence = format!(
                    "{node} applied batch {before:016x} for {slot} before it restarted, \
                     and now {batch_hash:016x}"
                );
                Err(Violation::safety(PROPERTY, &[node], sentence))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// `node` replaces its state by an image of all slots below `next`.
    ///
    /// # Errors
    /// When the image is older than what the node has applied.
    pub fn observe_image(&mut self, node: NodeId, next: Slot) -> Result<(), Violation> {
        let past = self.nodes.entry(node).or_default();
        if next < past.next {
            let sentence = format!(
                "{node} installs an image of the slots below {next}, though it has applied all \
                 below {}",
                past.next
            );
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        past.next = next;
        Ok(())
    }

    /// `node` tells others that all slots below `below` are durable with it.
    pub fn observe_told_durable(&mut self, node: NodeId, below: Slot) {
        let past = self.nodes.entry(node).or_default();
        past.told_durable = past.told_durable.max(below);
    }

    /// `node` comes back from its data directory, whose image and log hold all slots below
    /// `durable`, and goes on applying at `next`.
    ///
    /// # Errors
    /// When less is durable than it told others, or it would skip slots.
    pub fn observe_restart(
        &mut self,
        node: NodeId,
        next: Slot,
        durable: Slot,
    ) -> Result<(), Violation> {
        let past = self.nodes.entry(node).or_default();
        let told = past.told_durable;
        past.next = next;
        if durable < told {
            let sentence = format!(
                "{node} told others that all below {told} is durable, but finds only what is \
                 below {durable} after its restart"
            );
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        if next > durable {
            let sentence =
                format!("{node} goes on at {next}, but only slots below {durable} are durable");
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        Ok(())
    }

    /// `node` forgot what others hold, as it was told.
    pub fn observe_forgotten(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().told_durable = Slot::FIRST;
    }

    /// The data directory of `node` is gone: what follows is another incarnation (P7).
    pub fn observe_wiped(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// The slot that `node` applies next.
    #[must_use]
    pub fn next(&self, node: NodeId) -> Slot {
        self.nodes.get(&node).map_or(Slot::FIRST, |past| past.next)
    }
}

impl Default for Past {
    fn default() -> Self {
        Self { applied: Vec::new(), next: Slot::FIRST, told_durable: Slot::FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);

    fn slot(position: u64) -> Slot {
        Slot::new(position)
    }

    fn applied(count: u64) -> Immutability {
        let mut checker = Immutability::default();
        for position in 1..=count {
            checker.observe_applied(N1, slot(position), position * 10).unwrap();
        }
        checker
    }

    #[test]
    fn reading_the_same_log_again_after_a_restart_is_right() {
        let mut checker = applied(5);
        checker.observe_told_durable(N1, slot(4));
        checker.observe_restart(N1, slot(2), slot(4)).unwrap();
        for position in 2..=5 {
            checker.observe_applied(N1, slot(position), position * 10).unwrap();
        }
        checker.observe_image(N1, slot(9)).unwrap();
        checker.observe_applied(N1, slot(9), 1).unwrap();
        assert_eq!(checker.next(N1), slot(10));
    }

    #[test]
    fn another_data_directory_starts_from_nothing() {
        let mut checker = applied(3);
        checker.observe_told_durable(N1, slot(4));
        checker.observe_wiped(N1);
        checker.observe_restart(N1, slot(1), slot(1)).unwrap();
        checker.observe_applied(N1, slot(1), 77).unwrap();
    }

    #[test]
    fn a_skipped_slot_is_found() {
        let found = applied(3).observe_applied(N1, slot(5), 50).unwrap_err();
        assert_eq!(found.to_string(), "log immutability: n1 applies s5, but the next slot is s4");
    }

    #[test]
    fn a_slot_applied_twice_is_found() {
        assert!(applied(3).observe_applied(N1, slot(3), 30).is_err());
        let mut other = applied(3);
        assert!(other.observe_applied(N2, slot(2), 20).is_err(), "each node counts for itself");
    }

    #[test]
    fn a_log_rewritten_by_a_restart_is_found() {
        let mut checker = applied(3);
        checker.observe_restart(N1, slot(3), slot(3)).unwrap();
        assert!(checker.observe_applied(N1, slot(3), 31).is_err());
    }

    #[test]
    fn an_older_image_over_a_newer_state_is_found() {
        assert!(applied(3).observe_image(N1, slot(3)).is_err());
    }

    #[test]
    fn a_node_that_forgets_what_it_told_is_found() {
        let mut checker = applied(3);
        checker.observe_told_durable(N1, slot(4));
        let found = checker.observe_restart(N1, slot(2), slot(3)).unwrap_err();
        assert_eq!(found.nodes, [N1]);
    }

    #[test]
    fn a_restart_beyond_the_log_is_found() {
        assert!(applied(3).observe_restart(N1, slot(4), slot(3)).is_err());
    }
}
