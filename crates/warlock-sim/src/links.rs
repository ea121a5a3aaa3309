//! Clusters whose links are cut in one shape and stay so: who becomes master, how soon, and how
//! often that changes (DESIGN section 4, "Election").
//!
//! A *link* leads from one node to another; an undirected one is two. A node is *quorum-connected*
//! if with a majority of the voters, itself included, it has links both ways: its questions reach
//! them and their answers reach it. One way is not enough, and neither is a way through others, as
//! promises, accepts and grants of the lease go directly.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use warlock_paxos::{
    Acceptor, AcceptorState, Ballot, Fate, HandOver, Incarnation, Instant, Leader, LeaderState,
    LogTime, Membership, Message, Node, NodeEffect, NodeId, NodeState, Notice, Replica,
    ReplicaState, Slot, Span, Timing, View,
};

const MILLISECOND: u64 = 1_000_000;
const WALL: LogTime = LogTime::from_micros(1_000_000_000_000);
/// What a message takes.
const LATENCY: u64 = MILLISECOND;

/// How long an election takes at most where nothing hinders it: until the old master is missed,
/// the lease that it may still hold is over, and a heartbeat has told that.
#[must_use]
pub fn election_timeout() -> Span {
    let timing = Timing::DEFAULT;
    timing.patience().plus(timing.lease()).plus(timing.heartbeat())
}

/// Which links of a cluster carry messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    nodes: u16,
    open: Vec<bool>,
}

impl Links {
    /// All links of a cluster.
    #[must_use]
    pub fn all(nodes: u16) -> Self {
        Self { nodes, open: vec![true; usize::from(nodes) * usize::from(nodes)] }
    }

    /// The directed graph whose links are the bits of `number`, from the lowest, in the order of
    /// sender and addressee.
    #[must_use]
    pub fn directed(nodes: u16, number: u64) -> Self {
        let mut links = Self::all(nodes);
        let pairs = (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
        for (bit, (from, to)) in pairs.filter(|(from, to)| from != to).enumerate() {
            links.set(from, to, number >> bit & 1 == 1);
        }
        links
    }

    /// The undirected graph whose edges are the bits of `number`.
    #[must_use]
    pub fn undirected(nodes: u16, number: u64) -> Self {
        let mut links = Self::all(nodes);
        let pairs = (1..=nodes).flat_map(|from| (from + 1..=nodes).map(move |to| (from, to)));
        for (bit, (one, other)) in pairs.enumerate() {
            links.set(one, other, number >> bit & 1 == 1);
            links.set(other, one, number >> bit & 1 == 1);
        }
        links
    }

    /// Whether messages of `from` reach `to`.
    #[must_use]
    pub fn carries(&self, from: u16, to: u16) -> bool {
        self.open[self.place(from, to)]
    }

    /// Whether questions of `one` reach `other`, and the answers come back.
    #[must_use]
    pub fn round_trip(&self, one: u16, other: u16) -> bool {
        self.carries(one, other) && self.carries(other, one)
    }

    /// Whether the node makes round trips with a majority, itself included.
    #[must_use]
    pub fn is_quorum_connected(&self, node: u16) -> bool {
        let reached = (1..=self.nodes).filter(|&other| self.round_trip(node, other)).count();
        reached > usize::from(self.nodes) / 2
    }

    /// The nodes of the cluster.
    pub fn nodes(&self) -> impl Iterator<Item = u16> + use<> {
        1..=self.nodes
    }

    fn set(&mut self, from: u16, to: u16, open: bool) {
        let place = self.place(from, to);
        self.open[place] = open;
    }

    fn place(&self, from: u16, to: u16) -> usize {
        usize::from(from - 1) * usize::from(self.nodes) + usize::from(to - 1)
    }
}

/// The links that carry messages, each as sender and addressee.
impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("links")?;
        for from in self.nodes() {
            for to in self.nodes().filter(|&to| to != from && self.carries(from, to)) {
                write!(f, " {from}>{to}")?;
            }
        }
        Ok(())
    }
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The write is applied, or the read may be answered.
    Done,
    /// It was not executed and never will be: `-CLUSTERDOWN`.
    Refused,
    /// It may or may not take effect: `-UNKNOWN`.
    Unknown,
}

/// A cluster in virtual time; every message takes a millisecond, every disk nothing.
#[derive(Debug)]
pub struct Mesh {
    nodes: Vec<Node>,
    links: Links,
    time: u64,
    network: BTreeMap<(u64, u64), (u16, u16, Message)>,
    serial: u64,
    /// Every ballot that began to serve, and when.
    reigns: Vec<(u64, Ballot)>,
    replies: BTreeMap<u64, (u64, Reply)>,
    next_ticket: u64,
}

impl Mesh {
    /// A cluster that starts with these links.
    #[must_use]
    pub fn new(links: Links, seed: u64) -> Self {
        let voters: Vec<NodeId> = links.nodes().map(NodeId::new).collect();
        let membership = Membership::new(View::new(1), voters.iter().copied());
        let nodes = voters.iter().map(|&id| start(id, &membership, seed)).collect();
        let mut mesh = Self {
            nodes,
            links,
            time: 0,
            network: BTreeMap::new(),
            serial: 0,
            reigns: Vec::new(),
            replies: BTreeMap::new(),
            next_ticket: 1,
        };
        (0..voters.len()).for_each(|index| mesh.settle(index));
        mesh
    }

    /// Has a node stand for election at once, and runs until it serves and all follow it.
    pub fn elect(&mut self, node: u16) {
        let ask = HandOver { ballot: Ballot::ZERO };
        let now = self.now();
        let index = usize::from(node - 1);
        self.nodes[index].with_leader(now, |leader, out| {
            leader.handle_hand_over(now, &ask, out);
        });
        self.settle(index);
        self.run(Span::from_millis(300));
    }

    /// Changes the links; what is under way arrives.
    pub fn cut(&mut self, links: Links) {
        self.links = links;
        self.reigns.clear();
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Span) {
        let end = self.time + span.nanos();
        loop {
            let timers = self.nodes.iter().enumerate().filter_map(|(index, node)| {
                Some((node.next_timeout()?.nanos().max(self.time), index))
            });
            let timer = timers.min();
            let arrival = self.network.first_key_value().map(|(&(at, _), _)| at);
            let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
            let Some(at) = next.filter(|&at| at <= end) else { break };
            self.time = at;
            if arrival == Some(at) {
                let Some((_, (from, to, message))) = self.network.pop_first() else { break };
                let index = usize::from(to - 1);
                self.nodes[index].receive(NodeId::new(from), message);
                self.settle(index);
            } else if let Some((_, index)) = timer {
                let now = self.now();
                self.nodes[index].handle_timeout(now, WALL);
                self.settle(index);
            }
            self.note_reign();
        }
        self.time = end;
    }

    /// A client of a node writes; the reply comes within `patience`.
    pub fn write(&mut self, node: u16, patience: Span) -> u64 {
        self.ask(node, |replica, now, ticket, out| {
            let commands = Bytes::copy_from_slice(&ticket.to_le_bytes());
            replica.handle_submit(now, ticket, commands, now.after(patience), out);
        })
    }

    /// A client of a node reads; the reply comes within `patience`.
    pub fn read(&mut self, node: u16, patience: Span) -> u64 {
        self.ask(node, |replica, now, ticket, out| {
            replica.handle_read(now, ticket, now.after(patience), out);
        })
    }

    /// What a client was told, and how long after time zero.
    #[must_use]
    pub fn reply(&self, ticket: u64) -> Option<(Span, Reply)> {
        self.replies.get(&ticket).map(|&(at, reply)| (Span::from_nanos(at), reply))
    }

    /// The time since the start.
    #[must_use]
    pub const fn time(&self) -> Span {
        Span::from_nanos(self.time)
    }

    /// The node that serves.
    #[must_use]
    pub fn master(&self) -> Option<u16> {
        let now = self.now();
        let serves = |node: &&Node| node.leader.serves_until().is_some_and(|end| now < end);
        self.nodes.iter().find(serves).map(|node| node.id().number())
    }

    /// The master that a node would send its clients' commands to.
    #[must_use]
    pub fn believed_master(&self, node: u16) -> Option<Ballot> {
        self.nodes[usize::from(node - 1)].leader.master(self.now())
    }

    /// Every ballot that began to serve since the links changed last, and when.
    #[must_use]
    pub fn reigns(&self) -> &[(u64, Ballot)] {
        &self.reigns
    }

    fn ask(
        &mut self,
        node: u16,
        act: impl FnOnce(&mut Replica, Instant, u64, &mut Vec<warlock_paxos::Output>),
    ) -> u64 {
        let (ticket, now) = (self.next_ticket, self.now());
        self.next_ticket += 1;
        let index = usize::from(node - 1);
        self.nodes[index].with_replica(|replica, out| act(replica, now, ticket, out));
        self.settle(index);
        ticket
    }

    const fn now(&self) -> Instant {
        Instant::from_nanos(self.time)
    }

    fn note_reign(&mut self) {
        let Some(master) = self.master() else { return };
        let ballot = self.nodes[usize::from(master - 1)].leader.leads();
        if let Some(ballot) = ballot
            && self.reigns.last().is_none_or(|(_, last)| *last != ballot)
        {
            self.reigns.push((self.time, ballot));
        }
    }

    fn settle(&mut self, index: usize) {
        let now = self.now();
        loop {
            let effects = self.nodes[index].take_effects();
            let idle = effects.is_empty();
            for effect in effects {
                match effect {
                    NodeEffect::Send { to, message } => self.send(index, to, message),
                    NodeEffect::Persist { then, .. } => self.nodes[index].persisted(now, then),
                    NodeEffect::Notify(notice) => self.notice(notice),
                }
            }
            if !self.nodes[index].deliver(now, WALL, 0) && idle {
                return;
            }
        }
    }

    fn send(&mut self, index: usize, to: NodeId, message: Message) {
        let from = self.nodes[index].id().number();
        if self.links.carries(from, to.number()) {
            self.serial += 1;
            let key = (self.time + LATENCY, self.serial);
            self.network.insert(key, (from, to.number(), message));
        }
    }

    fn notice(&mut self, notice: Notice) {
        let mut reply = |ticket: u64, reply: Reply| {
            self.replies.insert(ticket, (self.time, reply));
        };
        if let Notice::Apply { tickets, .. } = notice {
            tickets.into_iter().for_each(|(_, ticket)| reply(ticket, Reply::Done));
        } else if let Notice::Failed { ticket, fate } = notice {
            let refused = fate == Fate::NotExecuted;
            reply(ticket, if refused { Reply::Refused } else { Reply::Unknown });
        } else if let Notice::ReadReady { ticket, allowed } = notice {
            reply(ticket, if allowed { Reply::Done } else { Reply::Refused });
        }
    }
}

fn start(id: NodeId, membership: &Membership, seed: u64) -> Node {
    let (timing, now) = (Timing::DEFAULT, Instant::from_nanos(0));
    let acceptor = AcceptorState {
        ballot: Ballot::ZERO,
        pvalues: Vec::new(),
        decided: Slot::FIRST,
        unknown: Vec::new(),
        known: Slot::FIRST,
        restarted: false,
        incarnation: Incarnation::new(u128::from(id.number())),
        reconfiguration: None,
    };
    let leader = LeaderState {
        ballot: Ballot::ZERO,
        applied: Slot::FIRST,
        log_time: LogTime::ZERO,
        seed: seed * 100 + u64::from(id.number()),
    };
    let replica = ReplicaState {
        incarnation: Incarnation::new(u128::from(id.number())),
        first_sequence: 1,
        snapshot: Slot::FIRST,
        log_time: LogTime::ZERO,
        decided: Vec::new(),
    };
    let state = NodeState {
        acceptor: Acceptor::new(id, membership.clone(), timing, acceptor, now),
        leader: Leader::new(id, membership.clone(), timing, leader, now),
        replica: Replica::new(id, timing, replica),
    };
    Node::new(id, state, now)
}
