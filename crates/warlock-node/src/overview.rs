//! What this node knows of its cluster, gathered for `status`, `INFO` and the status page.

use std::collections::BTreeMap;

use warlock_paxos::{Ballot, Instant, NodeId, Slot, Span};

use crate::status::{NodeStatus, Role, State, Status};

/// A node with more slots to catch up than this shows as recovering.
const LAG_MAX: u64 = 10_000;

/// What a peer said of itself when it connected.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    /// Version of its `warlockd`.
    pub version: String,
    /// Where its clients connect.
    pub client_addr: String,
}

#[derive(Clone, Debug)]
struct Member {
    peer_addr: String,
    facts: PeerFacts,
    connected: bool,
    heard: Option<Instant>,
    applied: Slot,
}

/// The cluster as one node sees it.
#[derive(Debug)]
pub struct Overview {
    local: NodeId,
    cluster: String,
    view: u64,
    members: BTreeMap<NodeId, Member>,
    master: Option<Ballot>,
    lease_end: Option<Instant>,
    patience: Span,
}

impl Overview {
    /// The cluster `cluster` before anything was heard of its members: node and peer address.
    /// `own` says what this node, `local`, is; silence of `patience` makes a member down.
    #[must_use]
    pub fn new(
        local: NodeId,
        cluster: String,
        view: u64,
        members: &BTreeMap<NodeId, String>,
        own: PeerFacts,
        patience: Span,
    ) -> Self {
        let unknown = PeerFacts { version: String::new(), client_addr: String::new() };
        let members = members
            .iter()
            .map(|(&node, address)| {
                let facts = if node == local { own.clone() } else { unknown.clone() };
                let member = Member {
                    peer_addr: address.clone(),
                    facts,
                    connected: false,
                    heard: None,
                    applied: Slot::FIRST,
                };
                (node, member)
            })
            .collect();
        Self { local, cluster, view, members, master: None, lease_end: None, patience }
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) const fn master(&self) -> Option<Ballot> {
        self.master
    }

    pub(super) const fn note_master(&mut self, master: Option<Ballot>) {
        self.master = master;
    }

    pub(super) const fn note_lease(&mut self, end: Option<Instant>) {
        self.lease_end = end;
    }

    pub(super) fn note_heartbeat(&mut self, now: Instant, from: NodeId, applied: Slot) {
        if let Some(member) = self.members.get_mut(&from) {
            member.heard = Some(now);
            member.applied = member.applied.max(applied);
        }
    }

    /// A connection came up with these facts, or went down.
    pub(super) fn note_peer(&mut self, node: NodeId, facts: Option<PeerFacts>) {
        if let Some(member) = self.members.get_mut(&node) {
            member.connected = facts.is_some();
            if let Some(facts) = facts {
                member.facts = facts;
                // A node that lost its data starts again from the beginning.
                member.applied = Slot::FIRST;
            }
        }
    }

    /// The first slot that a node needs from the log, of those that answer and are not so far
    /// behind that they need a snapshot anyway: at or above `start`.
    pub(super) fn lowest_needed(&self, now: Instant, start: Slot) -> Option<Slot> {
        let others = self.members.iter().filter(|(node, _)| **node != self.local);
        let answering = others.filter(|(_, member)| self.is_up(now, member));
        answering.map(|(_, member)| member.applied).filter(|applied| *applied >= start).min()
    }

    fn is_up(&self, now: Instant, member: &Member) -> bool {
        let fresh = member.heard.is_some_and(|at| now.since(at) < self.patience);
        member.connected && fresh
    }

    /// All of it, with `applied` as the first slot that this node has not applied.
    #[must_use]
    pub fn status(&self, now: Instant, applied: Slot) -> Status {
        let master = self.master.map(|ballot| ballot.node);
        let master_applied = match master {
            Some(node) if node == self.local => applied,
            Some(node) => self.members.get(&node).map_or(applied, |member| member.applied),
            None => applied,
        };
        let nodes = self
            .members
            .iter()
            .map(|(&node, member)| {
                let own = node == self.local;
                let applied = if own { applied } else { member.applied };
                let lag = master_applied.distance_from(applied);
                let up = own || self.is_up(now, member);
                NodeStatus {
                    id: node.number(),
                    addr: member.facts.client_addr.clone(),
                    peer: member.peer_addr.clone(),
                    role: if master == Some(node) { Role::Master } else { Role::Follower },
                    state: state(up, lag),
                    applied: applied.position() - 1,
                    lag,
                    lease_ms_left: self.lease_left(now, own && master == Some(node)),
                    snapshot: None,
                    version: member.facts.version.clone(),
                }
            })
            .collect();
        Status {
            cluster: self.cluster.clone(),
            view: self.view,
            master: master.map(NodeId::number),
            nodes,
            local: self.local.number(),
            ballot: self.master.map(|ballot| ballot.to_string()).unwrap_or_default(),
            at: now,
        }
    }

    fn lease_left(&self, now: Instant, own_mastership: bool) -> Option<u64> {
        self.lease_end.filter(|_| own_mastership).map(|end| end.since(now).millis())
    }
}

const fn state(up: bool, lag: u64) -> State {
    match (up, lag > LAG_MAX) {
        (false, _) => State::Down,
        (true, true) => State::Recovering,
        (true, false) => State::Up,
    }
}
