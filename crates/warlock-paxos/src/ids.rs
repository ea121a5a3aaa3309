//! Names of nodes, slots, ballots and proposals.
//!
//! Every number of the protocol has a type of its own, and `Display` prints the one form that
//! logs, transcripts and command line share: `n2`, `s17`, `v4`, `v4.b9.n2`.

use core::fmt;

use wincode::{SchemaRead, SchemaWrite};

/// Names a node of the cluster, from 1. A node id is never reused (P7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub struct NodeId(u16);

impl NodeId {
    /// Makes the name of node `number`.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number as it stands in settings and replies.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Number of the membership in force, equal to its reconfiguration slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub struct View(u64);

impl View {
    /// Makes view `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The plain number, for metrics and JSON.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The view after this one.
    ///
    /// # Panics
    /// After 2^64 - 1 views.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("there are fewer than 2^64 views"))
    }

    /// The reconfiguration slot that decides the membership of this view.
    #[must_use]
    pub const fn slot(self) -> ReconfigurationSlot {
        ReconfigurationSlot(self.0)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// Position in the log of memberships, beside the data log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReconfigurationSlot(u64);

impl fmt::Display for ReconfigurationSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Position in the data log, from 1.
///
/// As a watermark a slot is *exclusive*: "decided `s5`" says that slots 1 to 4 are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub struct Slot(u64);

impl Slot {
    /// The first slot of every log.
    pub const FIRST: Self = Self(1);

    /// Makes the slot at `position`.
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The plain position, for metrics, files and JSON.
    #[must_use]
    pub const fn position(self) -> u64 {
        self.0
    }

    /// The slot after this one.
    ///
    /// # Panics
    /// After 2^64 - 1 slots.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("the log has fewer than 2^64 slots"))
    }

    /// How many slots lie between `earlier` and this one; zero if `earlier` is later.
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// Slots from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub struct SlotRange {
    /// The first slot of the range.
    pub first: Slot,
    /// The last slot of the range.
    pub last: Slot,
}

impl SlotRange {
    /// Whether `slot` lies in the range.
    #[must_use]
    pub fn contains(self, slot: Slot) -> bool {
        self.first <= slot && slot <= self.last
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.last)
    }
}

/// Orders the attempts to lead: by view, then round, then node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub struct Ballot {
    /// The membership whose voters decide for this ballot (P4).
    pub view: View,
    /// Counts attempts within the view.
    pub round: u64,
    /// The node that leads with this ballot.
    pub node: NodeId,
}

impl Ballot {
    /// Lower than every ballot that a node can lead with.
    pub const ZERO: Self = Self { view: View(0), round: 0, node: NodeId(0) };

    /// The lowest ballot of `node` in `view` that is higher than this one.
    ///
    /// # Panics
    /// After 2^64 - 1 rounds in one view.
    #[must_use]
    pub fn next_for(self, view: View, node: NodeId) -> Self {
        assert!(view >= self.view, "P2: no ballot of {view} is higher than {self}");
        if view > self.view {
            return Self { view, round: 1, node };
        }
        let round = self.round.checked_add(1).expect("a view has fewer than 2^64 rounds");
        Self { view, round, node }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.b{}.{}", self.view, self.round, self.node)
    }
}

/// The random identity of a data directory (P7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub struct Incarnation(u128);

impl Incarnation {
    /// Makes an incarnation from 128 random bits; zero is not a valid one.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names one proposal of one node, for ever.
///
/// Sequences of one (node, incarnation) strictly increase in the order of proposing, also across
/// restarts: the host puts a durable count of starts into the upper bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub struct Origin {
    /// The node whose clients sent the commands.
    pub node: NodeId,
    /// The data directory of that node.
    pub incarnation: Incarnation,
    /// Position among the proposals of that data directory.
    pub sequence: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.node, self.sequence)
    }
}
