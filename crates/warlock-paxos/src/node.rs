//! All roles of one node on one thread, for hosts without tasks: transcripts, the simulator, a
//! browser.
//!
//! It only routes. Inputs for roles wait in a queue, so that a host may deliver them one by one and
//! in any order that keeps what one role says to another in order.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::acceptor::Acceptor;
use crate::commander::Commander;
use crate::ids::{Ballot, NodeId, Slot};
use crate::leader::Leader;
use crate::message::Message;
use crate::output::{Notice, Output};
use crate::record::Record;
use crate::replica::Replica;
use crate::route::{Input, RoleName, addressee, route_message};
use crate::scout::Scout;
use crate::time::{Instant, LogTime};

/// In so few inputs looking back is faster than remembering.
const FEW: usize = 16;

/// The roles that a node starts with.
#[derive(Clone, Debug, Hash)]
pub struct NodeState {
    /// The acceptor.
    pub acceptor: Acceptor,
    /// The leader.
    pub leader: Leader,
    /// The replica, not started yet.
    pub replica: Replica,
}

/// What the host of a [`Node`] has to do.
#[derive(Clone, Debug, Hash)]
pub enum NodeEffect {
    /// The host must send the message.
    Send {
        /// The addressee, never this node.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// The host must make the record durable and then hand `then` to [`Node::persisted`].
    Persist {
        /// What to write; without it only the order matters.
        record: Option<Record>,
        /// What waits for it.
        then: Vec<Output>,
    },
    /// The host must act on the notice.
    Notify(Notice),
}

/// One node.
#[derive(Clone, Debug, Hash)]
pub struct Node {
    id: NodeId,
    /// The acceptor.
    pub acceptor: Acceptor,
    /// The leader.
    pub leader: Leader,
    /// The replica.
    pub replica: Replica,
    scouts: BTreeMap<Ballot, Scout>,
    commanders: BTreeMap<(Ballot, Slot), Commander>,
    mailboxes: VecDeque<(Option<RoleName>, RoleName, Input)>,
    effects: Vec<NodeEffect>,
}

impl Node {
    /// Starts a node: has the recovered log applied.
    #[must_use]
    pub fn new(id: NodeId, state: NodeState, now: Instant) -> Self {
        let NodeState { acceptor, leader, replica } = state;
        let mut node = Self {
            id,
            acceptor,
            leader,
            replica,
            scouts: BTreeMap::new(),
            commanders: BTreeMap::new(),
            mailboxes: VecDeque::new(),
            effects: Vec::new(),
        };
        node.with_replica(|replica, out| replica.start(now, out));
        node
    }

    /// The id of the node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Takes what the host has to do, after any other call.
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<NodeEffect> {
        core::mem::take(&mut self.effects)
    }

    /// Puts a message of another node into the mailboxes.
    pub fn receive(&mut self, from: NodeId, message: Message) {
        self.put(None, from, message);
    }

    /// Carries out what waited for a record that is durable now.
    pub fn persisted(&mut self, now: Instant, then: Vec<Output>) {
        self.acceptor.handle_synced(now, 1);
        self.carry_out(now, RoleName::Acceptor, then);
    }

    /// Lets the leader do something that only a host asks for.
    pub fn with_leader(&mut self, now: Instant, act: impl FnOnce(&mut Leader, &mut Vec<Output>)) {
        let mut out = Vec::new();
        act(&mut self.leader, &mut out);
        self.carry_out(now, RoleName::Leader, out);
    }

    /// Lets the replica do something that only a host asks for.
    pub fn with_replica(&mut self, act: impl FnOnce(&mut Replica, &mut Vec<Output>)) {
        let mut out = Vec::new();
        act(&mut self.replica, &mut out);
        self.carry_out(Instant::from_nanos(0), RoleName::Replica, out);
    }

    pub(crate) fn scouting(&self) -> impl Iterator<Item = Ballot> + '_ {
        self.scouts.keys().copied()
    }

    pub(crate) fn commanding(&self) -> impl Iterator<Item = (Ballot, Slot)> + '_ {
        self.commanders.keys().copied()
    }

    /// Whether an input waits in a mailbox.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.mailboxes.is_empty()
    }

    /// How many inputs could be delivered next.
    #[must_use]
    pub fn deliverable(&self) -> usize {
        self.heads().len()
    }

    /// Delivers one waiting input: the `choice`-th of those that may come next. False if none
    /// waits.
    pub fn deliver(&mut self, now: Instant, wall: LogTime, choice: usize) -> bool {
        let heads = self.heads();
        let Some(&index) = heads.get(choice % heads.len().max(1)) else { return false };
        let Some((_, role, input)) = self.mailboxes.remove(index) else { return false };
        let mut out = Vec::new();
        match role {
            RoleName::Acceptor => self.acceptor.handle(now, input, &mut out),
            RoleName::Leader => self.leader.handle(now, wall, input, &mut out),
            RoleName::Replica => self.replica.handle(now, input, &mut out),
            RoleName::Scout(ballot) => self.deliver_to_scout(now, ballot, input, &mut out),
            RoleName::Commander(ballot, slot) => {
                self.deliver_to_commander(now, wall, (ballot, slot), input, &mut out);
            }
        }
        self.carry_out(now, role, out);
        true
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let scouts = self.scouts.values().filter_map(Scout::next_timeout);
        let commanders = self.commanders.values().filter_map(Commander::next_timeout);
        let roles = [self.leader.next_timeout(), self.replica.next_timeout()];
        roles.into_iter().flatten().chain(scouts).chain(commanders).min()
    }

    /// Lets every role do what is due.
    pub fn handle_timeout(&mut self, now: Instant, wall: LogTime) {
        let mut out = Vec::new();
        if self.leader.next_timeout().is_some_and(|at| at <= now) {
            self.leader.handle_timeout(now, wall, &mut out);
            self.carry_out(now, RoleName::Leader, core::mem::take(&mut out));
        }
        if self.replica.next_timeout().is_some_and(|at| at <= now) {
            self.replica.handle_timeout(now, &mut out);
            self.carry_out(now, RoleName::Replica, core::mem::take(&mut out));
        }
        for ballot in self.scouts.keys().copied().collect::<Vec<_>>() {
            if let Some(scout) = self.scouts.get_mut(&ballot) {
                scout.handle_timeout(now, &mut out);
                self.carry_out(now, RoleName::Scout(ballot), core::mem::take(&mut out));
            }
        }
        for (ballot, slot) in self.commanders.keys().copied().collect::<Vec<_>>() {
            if let Some(commander) = self.commanders.get_mut(&(ballot, slot)) {
                commander.handle_timeout(now, &mut out);
                let name = RoleName::Commander(ballot, slot);
                self.carry_out(now, name, core::mem::take(&mut out));
            }
        }
    }

    /// Positions in the queue that are the oldest of their pair of roles.
    fn heads(&self) -> Vec<usize> {
        let pair = |at: usize| self.mailboxes.get(at).map(|(from, to, _)| (from, to));
        if self.mailboxes.len() <= FEW {
            let is_oldest = |at: &usize| (0..*at).all(|before| pair(before) != pair(*at));
            return (0..self.mailboxes.len()).filter(is_oldest).collect();
        }
        let mut seen = alloc::collections::BTreeSet::new();
        let pairs = self.mailboxes.iter().enumerate();
        pairs.filter(|(_, (from, to, _))| seen.insert((*from, *to))).map(|(at, _)| at).collect()
    }

    fn deliver_to_scout(
        &mut self,
        now: Instant,
        ballot: Ballot,
        input: Input,
        out: &mut Vec<Output>,
    ) {
        if let (Some(scout), Input::Peer { from, message: Message::P1b(p1b) }) =
            (self.scouts.get_mut(&ballot), input)
        {
            scout.handle_p1b(now, from, p1b, out);
        }
    }

    fn deliver_to_commander(
        &mut self,
        now: Instant,
        wall: LogTime,
        name: (Ballot, Slot),
        input: Input,
        out: &mut Vec<Output>,
    ) {
        let name = match mutant!(OldBallotAnswersCount) {
            false => name,
            true => self.commanding().find(|(_, slot)| *slot == name.1).unwrap_or(name),
        };
        let Some(commander) = self.commanders.get_mut(&name) else {
            self.leader.handle(now, wall, input, out);
            return;
        };
        if let Input::Peer { from, message: Message::P2b(p2b) } = input {
            commander.handle_p2b(from, &p2b, out);
        }
    }

    fn put(&mut self, source: Option<RoleName>, from: NodeId, message: Message) {
        let mailboxes = &mut self.mailboxes;
        route_message(from, message, |role, input| mailboxes.push_back((source, role, input)));
    }

    fn send(&mut self, source: RoleName, to: NodeId, message: Message) {
        if to == self.id {
            self.put(Some(source), to, message);
        } else {
            self.effects.push(NodeEffect::Send { to, message });
        }
    }

    fn carry_out(&mut self, now: Instant, source: RoleName, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, message } => self.send(source, to, message),
                Output::Broadcast { to, message } => {
                    to.iter().for_each(|&to| self.send(source, to, message.clone()));
                }
                Output::Persist { record, then } => {
                    self.effects.push(NodeEffect::Persist { record, then });
                }
                Output::Tell(tell) => {
                    let to = addressee(&tell);
                    self.mailboxes.push_back((Some(source), to, Input::Tell(tell)));
                }
                Output::SpawnScout(mut scout) => {
                    let (ballot, mut out) = (scout.ballot(), Vec::new());
                    scout.start(now, &mut out);
                    self.scouts.insert(ballot, scout);
                    self.carry_out(now, RoleName::Scout(ballot), out);
                }
                Output::SpawnCommander(mut commander) => {
                    let (ballot, slot) = (commander.ballot(), commander.slot());
                    let mut out = Vec::new();
                    commander.start(now, &mut out);
                    self.commanders.insert((ballot, slot), commander);
                    self.carry_out(now, RoleName::Commander(ballot, slot), out);
                }
                Output::RetireScout(ballot) => {
                    self.scouts.remove(&ballot);
                }
                Output::RetireCommander(ballot, slot) => {
                    self.commanders.remove(&(ballot, slot));
                }
                Output::Notify(notice) => self.effects.push(NodeEffect::Notify(notice)),
            }
        }
    }
}
