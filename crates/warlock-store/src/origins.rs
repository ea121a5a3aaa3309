//! Which batches were applied already: the last sequence of each origin.
//!
//! A batch may be decided in two slots, when its node proposed it again after a change of master.
//! Only the first of them is executed. The table is part of the replicated state.

use std::collections::BTreeMap;

use wincode::{SchemaRead, SchemaWrite};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::ORIGINS_MAX;

#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    last: BTreeMap<(u16, u128), Last>,
    /// Sum of the digests of all entries.
    digest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    /// Slot of the batch with this sequence.
    slot: u64,
}

/// One entry of the table, as it stands in snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(crate) struct Origin {
    pub(crate) node: u16,
    pub(crate) incarnation: u128,
    pub(crate) sequence: u64,
    pub(crate) slot: u64,
}

impl Origins {
    /// Remembers the batch in `slot` and says whether it is new. When there are too many origins,
    /// the one is forgotten whose last new batch is the oldest: all replicas forget the same.
    pub(crate) fn admit(&mut self, origin: Origin) -> bool {
        let key = (origin.node, origin.incarnation);
        match self.last.get(&key).copied() {
            Some(last) if origin.sequence <= last.sequence => return false,
            Some(last) => self.forget(key, last),
            None if self.last.len() >= ORIGINS_MAX => self.forget_oldest(),
            None => {}
        }
        let last = Last { sequence: origin.sequence, slot: origin.slot };
        self.last.insert(key, last);
        self.digest = self.digest.wrapping_add(digest(key, last));
        true
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn to_list(&self) -> Vec<Origin> {
        let entries = self.last.iter().map(|((node, incarnation), last)| Origin {
            node: *node,
            incarnation: *incarnation,
            sequence: last.sequence,
            slot: last.slot,
        });
        entries.collect()
    }

    fn forget(&mut self, key: (u16, u128), last: Last) {
        self.last.remove(&key);
        self.digest = self.digest.wrapping_sub(digest(key, last));
    }

    fn forget_oldest(&mut self) {
        let slots = self.last.iter().map(|(key, last)| (last.slot, *key));
        if let Some((_, key)) = slots.min() {
            let last = self.last[&key];
            self.forget(key, last);
        }
    }
}

fn digest((node, incarnation): (u16, u128), last: Last) -> u64 {
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&node.to_le_bytes());
    bytes[2..18].copy_from_slice(&incarnation.to_le_bytes());
    bytes[18..26].copy_from_slice(&last.sequence.to_le_bytes());
    bytes[26..].copy_from_slice(&last.slot.to_le_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(node: u16, sequence: u64, slot: u64) -> Origin {
        Origin { node, incarnation: 7, sequence, slot }
    }

    #[test]
    fn a_sequence_is_admitted_once_for_each_origin() {
        let mut origins = Origins::default();
        assert!(origins.admit(origin(1, 5, 1)));
        assert!(!origins.admit(origin(1, 5, 2)));
        assert!(!origins.admit(origin(1, 4, 3)));
        assert!(origins.admit(origin(2, 4, 4)));
        assert!(origins.admit(origin(1, 6, 5)));
    }

    #[test]
    fn at_the_limit_the_origin_with_the_oldest_batch_is_forgotten() {
        let mut origins = Origins::default();
        let limit = u16::try_from(ORIGINS_MAX).unwrap();
        for node in 1..=limit {
            assert!(origins.admit(origin(node, 1, u64::from(node))));
        }
        assert!(origins.admit(origin(1, 2, 5000)));
        assert_eq!(origins.to_list().len(), ORIGINS_MAX);
        assert!(origins.admit(origin(limit + 1, 1, 5001)));
        assert_eq!(origins.to_list().len(), ORIGINS_MAX);
        assert!(!origins.admit(origin(1, 2, 5002)), "node 1 was active");
        assert!(origins.admit(origin(2, 1, 5003)), "node 2 was forgotten");
    }

    #[test]
    fn the_digest_depends_on_the_entries_alone() {
        let mut one = Origins::default();
        let mut two = Origins::default();
        assert!(one.admit(origin(1, 1, 1)) && one.admit(origin(2, 1, 2)));
        assert!(two.admit(origin(2, 1, 2)) && two.admit(origin(1, 1, 1)));
        assert_eq!(one.digest(), two.digest());
        let mut copy = Origins::default();
        for entry in one.to_list() {
            assert!(copy.admit(entry));
        }
        assert_eq!(copy.digest(), one.digest());
        assert!(one.admit(origin(1, 2, 3)));
        assert_ne!(one.digest(), two.digest());
    }
}
