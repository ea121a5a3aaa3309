//! What a checker says when a property does not hold.

use core::fmt;

use warlock_paxos::NodeId;

use crate::history::OpId;

/// What kind of promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something happened that never may.
    Safety,
    /// Something did not happen that must, within its bound.
    Liveness,
    /// The checker could not find out within its budget. Never a pass.
    Unverified,
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which property, in the words of the table in [`crate::check`].
    pub property: &'static str,
    /// What kind of promise is broken.
    pub severity: Severity,
    /// What happened, for a person: names nodes, slots, keys and values.
    pub sentence: String,
    /// The nodes concerned, in order and each once; empty if the clients' view names none.
    pub nodes: Vec<NodeId>,
    /// The operations of the history that show it, if a history does.
    pub operations: Vec<OpId>,
}

impl Violation {
    /// Something happened that never may.
    pub(crate) fn safety(property: &'static str, nodes: &[NodeId], sentence: String) -> Self {
        Self::new(Severity::Safety, property, nodes, sentence)
    }

    /// Something did not happen in time.
    pub(crate) fn liveness(property: &'static str, nodes: &[NodeId], sentence: String) -> Self {
        Self::new(Severity::Liveness, property, nodes, sentence)
    }

    /// The checker gave up.
    pub(crate) fn unverified(property: &'static str, sentence: String) -> Self {
        Self::new(Severity::Unverified, property, &[], sentence)
    }

    /// Names the operations that show it.
    #[must_use]
    pub(crate) fn shown_by(mut self, operations: &[OpId]) -> Self {
        self.operations = operations.to_vec();
        self
    }

    fn new(severity: Severity, property: &'static str, nodes: &[NodeId], sentence: String) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        nodes.dedup();
        Self { property, severity, sentence, nodes, operations: Vec::new() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.sentence)
    }
}

impl core::error::Error for Violation {}
