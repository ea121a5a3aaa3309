//! In which order new nodes become members.
//!
//! Ids only ever rise (P7), so a node that overtakes one with a lower id shuts it out for ever.
//! Nodes that are started together ask in any order, and should not have to care.

use std::collections::BTreeMap;

use warlock_paxos::{Instant, NodeId};

use crate::limits::{NEWCOMER_PATIENCE, NEWCOMERS_MAX};

/// Nodes that asked to become members lately.
#[derive(Debug, Default)]
pub(crate) struct Newcomers(BTreeMap<NodeId, Asked>);

#[derive(Debug)]
struct Asked {
    first: Instant,
    last: Instant,
}

impl Newcomers {
    /// A node that is no member asks, where `highest` is the highest id so far.
    ///
    /// # Errors
    /// Why it must ask again: lower ids ask too, or still may.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        node: NodeId,
        highest: NodeId,
    ) -> Result<(), String> {
        let is_late = |asked: &Asked| now.since(asked.last) > NEWCOMER_PATIENCE;
        self.0.retain(|other, asked| *other > highest && !is_late(asked));
        if self.0.len() >= NEWCOMERS_MAX && !self.0.contains_key(&node) {
            self.0.pop_last();
        }
        let asked = self.0.entry(node).or_insert(Asked { first: now, last: now });
        asked.last = now;
        let waited = now.since(asked.first);
        match self.0.first_key_value() {
            Some((&lower, _)) if lower < node => {
                Err(format!("{lower} joins first: its id is lower"))
            }
            _ if node.number().saturating_sub(highest.number()) <= 1 => Ok(()),
            _ if waited >= NEWCOMER_PATIENCE => Ok(()),
            _ => Err(format!("nodes of ids between {highest} and {node} may join first")),
        }
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::Span;

    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(0).after(Span::from_millis(millis))
    }

    #[test]
    fn the_next_id_waits_for_nobody() {
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.admit(at(0), node(4), node(3)), Ok(()));
        assert_eq!(newcomers.admit(at(0), node(5), node(4)), Ok(()));
    }

    #[test]
    fn nodes_that_start_together_join_in_the_order_of_their_ids() {
        let mut newcomers = Newcomers::default();
        assert!(newcomers.admit(at(0), node(3), node(1)).is_err(), "n2 may come");
        assert_eq!(newcomers.admit(at(400), node(2), node(1)), Ok(()));
        let why = newcomers.admit(at(500), node(3), node(1)).unwrap_err();
        assert_eq!(why, "n2 joins first: its id is lower");
        assert_eq!(newcomers.admit(at(600), node(3), node(2)), Ok(()), "n2 is a member");
    }

    #[test]
    fn a_gap_is_waited_for_once() {
        let mut newcomers = Newcomers::default();
        for millis in [0, 300, 600, 900] {
            assert!(newcomers.admit(at(millis), node(10), node(3)).is_err());
        }
        assert_eq!(newcomers.admit(at(1000), node(10), node(3)), Ok(()));
    }

    #[test]
    fn a_lower_node_that_asks_no_more_is_not_waited_for() {
        let mut newcomers = Newcomers::default();
        assert!(newcomers.admit(at(0), node(5), node(3)).is_err());
        for millis in [0, 500, 1000] {
            assert!(newcomers.admit(at(millis), node(6), node(3)).is_err());
        }
        assert_eq!(newcomers.admit(at(1100), node(6), node(3)), Ok(()));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut newcomers = Newcomers::default();
        for id in (100..1000).rev() {
            let _ = newcomers.admit(at(0), node(id), node(3));
        }
        assert!(newcomers.0.len() <= NEWCOMERS_MAX);
        assert!(newcomers.0.contains_key(&node(100)));
    }
}
