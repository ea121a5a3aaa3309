//! What this node knows of its cluster, gathered for `status`, `INFO` and the status page.

use std::collections::BTreeMap;

use warlock_paxos::{Ballot, Instant, Membership, NodeId, Seat, Slot, Span};

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

impl PeerFacts {
    const UNKNOWN: Self = Self { version: String::new(), client_addr: String::new() };
}

#[derive(Clone, Debug)]
struct Member {
    seat: Seat,
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
    own: PeerFacts,
    /// Where members are whose address the membership does not name.
    addresses: BTreeMap<NodeId, String>,
    membership: Membership,
    members: BTreeMap<NodeId, Member>,
    master: Option<Ballot>,
    lease_end: Option<Instant>,
    patience: Span,
}

impl Overview {
    /// The cluster `cluster` before anything was heard of its members; `addresses` are those for
    /// peers that the settings name. `own` says what this node, `local`, is; silence of `patience`
    /// makes a member down.
    #[must_use]
    pub fn new(
        local: NodeId,
        cluster: String,
        membership: &Membership,
        addresses: BTreeMap<NodeId, String>,
        own: PeerFacts,
        patience: Span,
    ) -> Self {
        let mut overview = Self {
            local,
            cluster,
            own,
            addresses,
            membership: Membership::unknown(),
            members: BTreeMap::new(),
            master: None,
            lease_end: None,
            patience,
        };
        overview.enter(membership);
        overview
    }

    /// Goes on with the nodes of a new membership; keeps what is known of those that stay.
    pub(super) fn enter(&mut self, membership: &Membership) {
        let mut before = std::mem::take(&mut self.members);
        for entry in membership.members() {
            let mut member = before.remove(&entry.node).unwrap_or_else(|| Member {
                seat: entry.seat,
                peer_addr: self.addresses.get(&entry.node).cloned().unwrap_or_default(),
                facts: if entry.node == self.local { self.own.clone() } else { PeerFacts::UNKNOWN },
                connected: false,
                heard: None,
                applied: Slot::FIRST,
            });
            member.seat = entry.seat;
            if !entry.address.is_empty() {
                member.peer_addr.clone_from(&entry.address);
            }
            self.members.insert(entry.node, member);
        }
        self.membership = membership.clone();
    }

    pub(super) const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether the node is this one, or answers.
    pub(super) fn answers(&self, now: Instant, node: NodeId) -> bool {
        let member = self.members.get(&node);
        node == self.local || member.is_some_and(|member| self.is_up(now, member))
    }

    /// The first slot that the node has not applied, as it said last since it is connected.
    pub(super) fn applied(&self, node: NodeId) -> Slot {
        self.members.get(&node).map_or(Slot::FIRST, |member| member.applied)
    }

    /// Where the node's clients connect; empty if that is unknown.
    pub(super) fn client_addr(&self, node: NodeId) -> &str {
        self.members.get(&node).map_or("", |member| &member.facts.client_addr)
    }

    /// Where the node listens for peers; empty if that is unknown.
    pub(super) fn peer_addr(&self, node: NodeId) -> &str {
        self.members.get(&node).map_or("", |member| &member.peer_addr)
    }

    pub(super) fn voters(&self) -> usize {
        self.membership.voters().len()
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
                    role: role(member.seat, master == Some(node)),
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
            view: self.membership.view().number(),
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

const fn role(seat: Seat, master: bool) -> Role {
    match (master, seat) {
        (true, _) => Role::Master,
        (false, Seat::Observer) => Role::Observer,
        (false, Seat::Voter | Seat::Leaving) => Role::Follower,
    }
}

const fn state(up: bool, lag: u64) -> State {
    match (up, lag > LAG_MAX) {
        (false, _) => State::Down,
        (true, true) => State::Recovering,
        (true, false) => State::Up,
    }
}
