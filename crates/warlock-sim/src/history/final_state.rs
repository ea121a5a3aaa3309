//! What a node holds when everything is over.

use std::collections::BTreeMap;

use warlock_paxos::NodeId;

use super::{Key, Value};

/// The keys of a history as one node holds them after all clients stopped and all faults ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalState {
    node: NodeId,
    values: BTreeMap<Key, Option<Value>>,
}

impl FinalState {
    /// The state of `node`, of which nothing is known yet.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self { node, values: BTreeMap::new() }
    }

    /// Takes note that the node holds `value` at `key`; `None` if the key is absent.
    pub fn set(&mut self, key: Key, value: Option<Value>) {
        self.values.insert(key, value);
    }

    /// Which node it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What is known, in the order of keys.
    pub fn values(&self) -> impl Iterator<Item = (Key, Option<Value>)> {
        self.values.iter().map(|(&key, &value)| (key, value))
    }
}
