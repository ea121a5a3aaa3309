//! How much may happen in a small world. Every field but the first counts down as it happens.

use warlock_paxos::{Change, Incarnation, Membership, NodeId, View};

use super::nodes::Input;

/// The membership that a history begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum First {
    /// Three voters.
    Three,
    /// Two voters, and the third node observes.
    Observed,
    /// The third node is about to vote in the place of the second.
    InTransition,
}

/// The bounds of one exhaustive exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Whether the first node already holds the lease when the history begins, and nobody has heard
    /// that yet.
    pub settled: bool,
    /// Whether the first two nodes hear nothing of each other, so that only the third is in both
    /// quorums.
    pub apart: bool,
    /// Highest round of a ballot with which a node scouts; what goes further is cut off.
    pub rounds: u8,
    /// Times that a node stands for election because it pleases.
    pub elections: u8,
    /// The first so many nodes may stand.
    pub candidates: u8,
    /// Writes of clients.
    pub writes: u8,
    /// Reads of clients that ask the master for an index; reads under the lease are checked in
    /// every state and need no bound.
    pub reads: u8,
    /// The first so many nodes have clients.
    pub served: u8,
    /// Nodes that die and start again.
    pub restarts: u8,
    /// The first so many nodes may die.
    pub mortal: u8,
    /// Packets that arrive a second time.
    pub copies: u8,
    /// Steps of time, each to the next moment at which something ends.
    pub passes: u8,
    /// Times that a node does what is due: heartbeats, retries.
    pub timeouts: u8,
    /// The first so many nodes do.
    pub beating: u8,
    /// Hand-overs.
    pub leaves: u8,
    /// Times that the master is asked to let the third node vote in the place of the second.
    pub changes: u8,
    /// The membership that the history begins with.
    pub first: First,
    /// The last view that is looked at; what enters a later one is cut off.
    pub view_max: u8,
    /// By how many thousandths the clock of the first node is slow, and those of the others fast.
    pub clock_error: u8,
}

impl Bounds {
    /// Nothing may happen.
    pub const NONE: Self = Self {
        settled: false,
        apart: false,
        rounds: 2,
        elections: 0,
        candidates: 2,
        writes: 0,
        reads: 0,
        served: 2,
        restarts: 0,
        mortal: 3,
        copies: 0,
        passes: 0,
        timeouts: 0,
        beating: 1,
        leaves: 0,
        changes: 0,
        first: First::Three,
        view_max: 2,
        clock_error: 0,
    };

    /// The membership that every node starts with.
    pub(super) fn membership(&self) -> Membership {
        let [first, second, third] = [1, 2, 3].map(NodeId::new);
        let before = Membership::new(View::new(1), [first, second]);
        let incarnation = Incarnation::new(u128::from(third.number()));
        let add = Change::AddObserver { node: third, address: String::new(), incarnation };
        let lawful = |next: Result<Membership, _>| next.expect("a lawful change");
        match self.first {
            First::Three => Membership::new(View::new(1), self.nodes()),
            First::Observed => lawful(before.changed(&add)),
            First::InTransition => {
                lawful(lawful(before.changed(&add)).changed(&Self::replacement()))
            }
        }
    }

    /// The change that the master is asked for.
    pub(super) fn replacement() -> Change {
        Change::SetVoters { voters: vec![NodeId::new(1), NodeId::new(3)] }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=3).map(NodeId::new)
    }

    pub(super) fn clock_per_mille(&self, id: NodeId) -> u64 {
        let error = u64::from(self.clock_error);
        if id.number() == 1 { 1000 - error } else { 1000 + error }
    }

    /// The number of the next write.
    pub(super) fn next_write(&self) -> u64 {
        1000 + u64::from(self.writes)
    }

    /// The number of the next read.
    pub(super) fn next_read(&self) -> u64 {
        2000 + u64::from(self.reads)
    }

    /// Counts down what happens.
    pub(super) const fn take(&mut self, input: Input) {
        match input {
            Input::Packet(_) | Input::Sync => {}
            Input::Copy(_) => self.copies -= 1,
            Input::Elect => self.elections -= 1,
            Input::Write(_) => self.writes -= 1,
            Input::Read(_) => self.reads -= 1,
            Input::Leave => self.leaves -= 1,
            Input::Change => self.changes -= 1,
            Input::Timeout => self.timeouts -= 1,
            Input::Restart => self.restarts -= 1,
        }
    }
}
