//! Who votes, and what a quorum is (P4).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::{NodeId, View};

/// The voters of one view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    view: View,
    voters: Arc<[NodeId]>,
}

impl Membership {
    /// The membership of `view` with these voters, in any order.
    ///
    /// # Panics
    /// Without a single voter.
    #[must_use]
    pub fn new(view: View, voters: impl IntoIterator<Item = NodeId>) -> Self {
        let sorted: BTreeSet<NodeId> = voters.into_iter().collect();
        assert!(!sorted.is_empty(), "P4: a membership without voters has no quorum");
        Self { view, voters: sorted.into_iter().collect() }
    }

    /// Number of the view.
    #[must_use]
    pub const fn view(&self) -> View {
        self.view
    }

    /// The voters by node id.
    #[must_use]
    pub const fn voters(&self) -> &Arc<[NodeId]> {
        &self.voters
    }

    /// The voters without `node`.
    #[must_use]
    pub fn others(&self, node: NodeId) -> Arc<[NodeId]> {
        self.voters.iter().copied().filter(|&voter| voter != node).collect()
    }

    /// Whether `node` has a vote.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.binary_search(&node).is_ok()
    }

    /// How many voters are a majority.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + usize::from(!mutant!(QuorumIsHalf))
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.view)?;
        for (index, voter) in self.voters.iter().enumerate() {
            write!(f, "{}{voter}", if index == 0 { "" } else { " " })?;
        }
        f.write_str("]")
    }
}

/// Which voters answered one question. Answers of others, and second answers, never count (P4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    answered: BTreeSet<NodeId>,
}

impl Tally {
    /// Counts `node` if it is a voter that has not answered yet; says whether it counted.
    pub fn add(&mut self, membership: &Membership, node: NodeId) -> bool {
        let counted = match mutant!(DuplicateAnswersCount) && self.contains(node) {
            false => node,
            true => self.missing(membership).first().copied().unwrap_or(node),
        };
        membership.is_voter(node) && self.answered.insert(counted)
    }

    /// Whether a majority of the voters answered.
    #[must_use]
    pub fn is_quorum(&self, membership: &Membership) -> bool {
        self.answered.len() >= membership.quorum()
    }

    /// Whether `node` was counted.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.answered.contains(&node)
    }

    /// Whether every voter answered.
    #[must_use]
    pub fn is_complete(&self, membership: &Membership) -> bool {
        self.answered.len() == membership.voters().len()
    }

    /// The voters that have not answered.
    #[must_use]
    pub fn missing(&self, membership: &Membership) -> Vec<NodeId> {
        membership.voters().iter().copied().filter(|&voter| !self.contains(voter)).collect()
    }
}
