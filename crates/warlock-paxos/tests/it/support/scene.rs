//! A cluster that does what a transcript says: nothing arrives, and no time passes, unless told so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use warlock_paxos::{
    Acceptor, Ballot, Batch, Change, ChangeRequest, HandOver, Instant, Leader, Learned, LogTime,
    Membership, Message, Node, NodeEffect, NodeId, NodeState, Notice, Replica, Slot, SnapshotChunk,
    Span, Timing, View, decode, encode, invariants,
};

use super::disk::{Disk, Image, incarnation};
use super::{WALL_START, node};

const MILLISECOND: u64 = 1_000_000;
const TIMING: Timing = Timing::DEFAULT;
/// More than any scene delivers at one moment.
const DELIVERIES_MAX: usize = 20_000;
const PATIENCE: Span = Span::from_millis(5000);

/// How the disk of a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    /// Everything is durable at once.
    Fast,
    /// Nothing becomes durable until told.
    Stalled,
}

struct Host {
    node: Option<Node>,
    disk: Disk,
    speed: Speed,
    machine: Vec<Batch>,
    receiving: Vec<u8>,
    serving: bool,
}

/// The cluster, and what happened in it since it was last asked.
pub(crate) struct Scene {
    hosts: BTreeMap<NodeId, Host>,
    membership: Membership,
    /// A founder that no other node has met.
    stranger: Option<NodeId>,
    network: VecDeque<(NodeId, NodeId, Message)>,
    blocked: BTreeSet<(NodeId, NodeId)>,
    time: u64,
    names: BTreeMap<u64, String>,
    next_ticket: u64,
    muted: bool,
    heartbeats: bool,
    no_ops: bool,
    /// What was proposed as a no-op.
    filled: BTreeSet<(Ballot, Slot)>,
    trace: String,
}

impl Scene {
    pub(crate) fn new(nodes: u16, stranger: Option<NodeId>) -> Self {
        let membership = Membership::new(View::new(1), (1..=nodes).map(node));
        let mut scene = Self {
            hosts: BTreeMap::new(),
            membership,
            stranger,
            network: VecDeque::new(),
            blocked: BTreeSet::new(),
            time: 1000 * MILLISECOND,
            names: BTreeMap::new(),
            next_ticket: 1,
            muted: false,
            heartbeats: false,
            no_ops: false,
            filled: BTreeSet::new(),
            trace: String::new(),
        };
        for id in (1..=nodes).map(node) {
            scene.newcomer(id);
        }
        scene
    }

    /// The stranger shows itself.
    pub(crate) fn meet(&mut self, id: NodeId) {
        self.stranger = self.stranger.filter(|&stranger| stranger != id);
        self.introduce();
    }

    /// Every node knows the data directory of every other one, but for the stranger's.
    fn introduce(&mut self) {
        let met = self.hosts.keys().copied().filter(|&id| Some(id) != self.stranger);
        let met: Vec<NodeId> = met.collect();
        for node in self.hosts.values_mut().filter_map(|host| host.node.as_mut()) {
            for &id in &met {
                node.leader.note_member(id, String::new(), Some(incarnation(id)));
            }
        }
    }

    /// Starts a node with an empty disk.
    pub(crate) fn newcomer(&mut self, id: NodeId) {
        let host = Host {
            node: None,
            disk: Disk::default(),
            speed: Speed::Fast,
            machine: Vec::new(),
            receiving: Vec::new(),
            serving: false,
        };
        self.hosts.insert(id, host);
        self.start(id);
    }

    /// Asks a node for another membership, from the view that it knows itself unless another is
    /// given.
    pub(crate) fn change(&mut self, id: NodeId, view: Option<View>, change: Change) {
        self.with(id, |node, now, _| {
            let view = view.unwrap_or(node.leader.membership().view());
            let request = ChangeRequest { view, change };
            node.with_leader(now, |leader, out| leader.handle_change(now, 1, &request, out));
        });
    }

    /// What was written since the last call.
    pub(crate) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    pub(crate) fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    pub(crate) fn show_heartbeats(&mut self, shown: bool) {
        self.heartbeats = shown;
    }

    pub(crate) fn show_no_ops(&mut self, shown: bool) {
        self.no_ops = shown;
    }

    /// Loses everything that waits in the network.
    pub(crate) fn lose_everything(&mut self) {
        self.network.clear();
    }

    /// Has a node stand for election at once, whatever it sees.
    pub(crate) fn elect(&mut self, id: NodeId) {
        let ask = HandOver { ballot: Ballot::ZERO };
        self.with(id, |node, now, _| {
            node.with_leader(now, |leader, out| leader.handle_hand_over(now, &ask, out));
        });
    }

    pub(crate) fn propose(&mut self, id: NodeId, text: &str, patience: Option<Span>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.names.insert(ticket, text.to_owned());
        let commands = Bytes::copy_from_slice(text.as_bytes());
        self.with(id, |node, now, _| {
            let deadline = now.after(patience.unwrap_or(PATIENCE));
            node.with_replica(|replica, out| {
                replica.handle_submit(now, ticket, commands, deadline, out);
            });
        });
    }

    pub(crate) fn read(&mut self, id: NodeId, patience: Option<Span>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.names.insert(ticket, format!("read {ticket}"));
        self.with(id, |node, now, _| {
            let deadline = now.after(patience.unwrap_or(PATIENCE));
            node.with_replica(|replica, out| replica.handle_read(now, ticket, deadline, out));
        });
    }

    /// What a client that reads on this node now is told.
    pub(crate) fn read_locally(&mut self, id: NodeId) {
        let now = self.now();
        let host = &self.hosts[&id];
        let until = host.node.as_ref().and_then(|node| node.leader.serves_until());
        let answer = if until.is_some_and(|end| now < end) { "answered" } else { "refused" };
        let applied = host.machine.len();
        self.say(&format!("{id} local read {answer} after s{applied}"));
    }

    pub(crate) fn hand_over(&mut self, id: NodeId, to: Option<NodeId>) {
        self.with(id, |node, now, _| {
            node.with_leader(now, |leader, out| leader.handle_leave(now, to, out));
        });
    }

    pub(crate) fn peer_down(&mut self, id: NodeId, gone: NodeId) {
        self.with(id, |node, now, _| {
            node.with_leader(now, |leader, out| leader.handle_peer_down(now, gone, out));
            node.replica.handle_peer_down(gone);
        });
    }

    pub(crate) fn peer_version(&mut self, id: NodeId, peer: NodeId, version: u8) {
        self.with(id, |node, now, _| {
            node.with_leader(now, |leader, _| leader.note_version(peer, version));
        });
    }

    pub(crate) fn crash(&mut self, id: NodeId, kept: usize) {
        let host = self.hosts.get_mut(&id).expect("a member");
        host.node = None;
        host.serving = false;
        let lost = host.disk.unsynced().saturating_sub(kept);
        host.disk.crash(kept);
        self.network.retain(|(_, to, _)| *to != id);
        if lost > 0 {
            self.say(&format!("{id} loses {lost} unsynced writes"));
        }
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        let now = self.now();
        let host = self.hosts.get_mut(&id).expect("a member");
        let recovered = host.disk.recover(id, u64::from(id.number()));
        host.machine = recovered.image.batches;
        let founder = self.membership.is_member(id);
        let first = if founder { self.membership.clone() } else { Membership::unknown() };
        let membership = recovered.membership.unwrap_or(first);
        let state = NodeState {
            acceptor: Acceptor::new(id, membership.clone(), TIMING, recovered.acceptor, now),
            leader: Leader::new(id, membership, TIMING, recovered.leader, now),
            replica: Replica::new(id, TIMING, recovered.replica),
        };
        host.node = Some(Node::new(id, state, now));
        self.introduce();
        self.with(id, |_, _, _| {});
    }

    pub(crate) fn corrupt(&mut self, id: NodeId, slot: Slot) {
        self.hosts.get_mut(&id).expect("a member").disk.corrupt_slot(slot);
    }

    pub(crate) fn set_disk(&mut self, id: NodeId, speed: Speed) {
        self.hosts.get_mut(&id).expect("a member").speed = speed;
        self.sync(id);
    }

    /// Makes `writes` more writes of a stalled disk durable.
    pub(crate) fn complete(&mut self, id: NodeId, writes: usize) {
        for _ in 0..writes {
            let Some(then) = self.hosts.get_mut(&id).expect("a member").disk.complete_one() else {
                return;
            };
            self.with(id, |node, now, _| node.persisted(now, then));
        }
    }

    pub(crate) fn snapshot(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a member");
        let slot = Slot::new(host.machine.len() as u64 + 1);
        host.disk.keep_image(Image { slot, batches: host.machine.clone() });
        if let Some(node) = &mut host.node {
            node.replica.note_snapshot(slot);
        }
    }

    pub(crate) fn block(&mut self, from: NodeId, to: NodeId) {
        self.blocked.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.blocked.clear();
    }

    pub(crate) fn members(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    /// Takes the waiting messages of a link out of the network.
    pub(crate) fn take(&mut self, from: NodeId, to: NodeId, kind: &str) -> Vec<Message> {
        let (taken, left): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.network)
            .into_iter()
            .partition(|(sender, receiver, message): &(NodeId, NodeId, Message)| {
                *sender == from && *receiver == to && message.to_string().starts_with(kind)
            });
        self.network = left;
        taken.into_iter().map(|(_, _, message)| message).collect()
    }

    pub(crate) fn put(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.network.push_back((from, to, message));
    }

    pub(crate) fn arrive(&mut self, from: NodeId, to: NodeId, message: Message) {
        if self.blocked.contains(&(from, to)) || self.hosts[&to].node.is_none() {
            return;
        }
        self.say_message(from, to, &message, "");
        self.with(to, |node, _, _| node.receive(from, message));
    }

    pub(crate) fn say_message(&mut self, from: NodeId, to: NodeId, message: &Message, note: &str) {
        if let Message::P2a(p2a) = message
            && p2a.batch.proposals().is_empty()
        {
            self.filled.insert((p2a.ballot, p2a.slot));
        }
        let beat = matches!(message, Message::Heartbeat(_) | Message::Ack(_));
        let filled = |ballot, slot| self.filled.contains(&(ballot, slot));
        let no_op = matches!(message, Message::P2a(m) if filled(m.ballot, m.slot))
            || matches!(message, Message::P2b(m) if filled(m.asked, m.slot));
        let hidden = (beat && !self.heartbeats) || (no_op && !self.no_ops);
        if !hidden {
            self.say(&format!("{from}->{to} {message}{note}"));
        }
    }

    /// Lists what waits in the network.
    pub(crate) fn list_network(&mut self) {
        for (from, to, message) in self.network.clone() {
            self.say_message(from, to, &message, "");
        }
    }

    /// Delivers messages in the order of sending until none is left.
    pub(crate) fn stabilize(&mut self) {
        for _ in 0..DELIVERIES_MAX {
            let Some((from, to, message)) = self.network.pop_front() else { return };
            self.arrive(from, to, message);
        }
        panic!("the messages never end:\n{}", self.trace);
    }

    /// Lets time pass; with `deliver`, messages take no time, else they wait.
    pub(crate) fn pass(&mut self, span: Span, deliver: bool) {
        let end = self.time + span.nanos();
        loop {
            if deliver {
                self.stabilize();
            }
            let timers = self.hosts.iter().filter_map(|(&id, host)| {
                Some((host.node.as_ref()?.next_timeout()?.nanos().max(self.time), id))
            });
            let Some((at, id)) = timers.min().filter(|(at, _)| *at <= end) else { break };
            self.time = at;
            self.with(id, |node, now, wall| node.handle_timeout(now, wall));
        }
        self.time = end;
    }

    /// One line for each node.
    pub(crate) fn status(&mut self) {
        let now = self.now();
        for id in self.members() {
            let host = &self.hosts[&id];
            let Some(node) = &host.node else {
                self.say(&format!("{id} down"));
                continue;
            };
            let role = match (node.leader.leads(), node.leader.master(now)) {
                (Some(ballot), _) => format!("leads {ballot}"),
                (None, Some(ballot)) => format!("follows {ballot}"),
                (None, None) => String::from("sees no master"),
            };
            let serves = node.leader.serves_until().is_some_and(|end| now < end);
            let serves = if serves { ", serves" } else { "" };
            let mut unknown = String::new();
            for range in node.acceptor.unknown() {
                let _ = write!(unknown, ", unknown {range}");
            }
            let (ballot, applied) = (node.acceptor.ballot(), node.replica.applied());
            let membership = node.acceptor.membership();
            let changed = membership.view() != View::new(1);
            let known = if changed { format!(", in {membership}") } else { String::new() };
            let line = format!(
                "{id} {role}{serves}, acceptor {ballot}, applied {applied}{unknown}{known}"
            );
            self.say(&line);
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.time)
    }

    fn say(&mut self, line: &str) {
        if !self.muted {
            self.trace.push_str(line);
            self.trace.push('\n');
        }
    }

    fn with(&mut self, id: NodeId, act: impl FnOnce(&mut Node, Instant, LogTime)) {
        let now = self.now();
        let wall = WALL_START.after(Span::from_nanos(self.time));
        let Some(node) = &mut self.hosts.get_mut(&id).expect("a member").node else { return };
        act(node, now, wall);
        let mut delivered = 0;
        loop {
            let effects = self.effects(id);
            effects.into_iter().for_each(|effect| self.act(id, effect));
            self.sync(id);
            let Some(node) = &mut self.hosts.get_mut(&id).expect("a member").node else { return };
            if !node.deliver(now, wall, 0) {
                break;
            }
            delivered += 1;
            assert!(delivered < DELIVERIES_MAX, "{id} talks to itself for ever");
        }
        let node = self.hosts[&id].node.as_ref().expect("still running");
        if let Err(violation) = invariants::check(node) {
            panic!("{id}: {violation}");
        }
    }

    fn effects(&mut self, id: NodeId) -> Vec<NodeEffect> {
        let node = &mut self.hosts.get_mut(&id).expect("a member").node;
        node.as_mut().map(Node::take_effects).unwrap_or_default()
    }

    fn sync(&mut self, id: NodeId) {
        let host = &self.hosts[&id];
        if host.speed == Speed::Fast && !host.disk.is_idle() && host.node.is_some() {
            let writes = host.disk.unsynced();
            self.complete(id, writes);
        }
    }

    fn act(&mut self, id: NodeId, effect: NodeEffect) {
        match effect {
            NodeEffect::Send { to, message } => {
                if self.blocked.contains(&(id, to)) {
                    self.say_message(id, to, &message, " (lost)");
                } else {
                    self.network.push_back((id, to, message));
                }
            }
            NodeEffect::Persist { record, then } => {
                let host = self.hosts.get_mut(&id).expect("a member");
                host.disk.write(record, then);
            }
            NodeEffect::Notify(notice) => self.notice(id, notice),
        }
    }

    fn notice(&mut self, id: NodeId, notice: Notice) {
        match notice {
            Notice::Apply { slot, batch, tickets } => self.apply(id, slot, batch, &tickets),
            Notice::Failed { ticket, fate } => {
                self.say(&format!("{id} fails {}: {fate}", self.names[&ticket].clone()));
            }
            Notice::ReadReady { ticket, allowed } => {
                let applied = self.hosts[&id].machine.len();
                let answer = if allowed { "allowed" } else { "refused" };
                self.say(&format!(
                    "{id} {} {answer} after s{applied}",
                    self.names[&ticket].clone()
                ));
            }
            Notice::Serve(end) => {
                let host = self.hosts.get_mut(&id).expect("a member");
                let news = std::mem::replace(&mut host.serving, end.is_some()) != end.is_some();
                if news {
                    self.say(&format!("{id} {notice}"));
                }
            }
            Notice::ReadLog { to, from } => self.with(id, |node, _, _| {
                node.with_replica(|replica, out| {
                    replica.handle_log_read(to, from, Vec::new(), out);
                });
            }),
            Notice::ReadSnapshot { to, offset, .. } => self.send_image(id, to, offset),
            Notice::WriteSnapshot { offset, ref bytes, .. } => {
                self.say(&format!("{id} {notice}"));
                let receiving = &mut self.hosts.get_mut(&id).expect("a member").receiving;
                receiving.truncate(usize::try_from(offset).expect("short"));
                receiving.extend_from_slice(bytes);
            }
            Notice::InstallSnapshot { slot } => self.install(id, slot),
            Notice::Held(_) | Notice::LogClock(..) => {}
            Notice::SnapshotWanted => {
                self.say(&format!("{id} {notice}"));
                self.snapshot(id);
            }
            Notice::ChangeAnswered { verdict, .. } => self.say(&format!("{id} answers: {verdict}")),
            Notice::Master(_)
            | Notice::Diverged { .. }
            | Notice::HandedOver
            | Notice::InForce(_)
            | Notice::Retired
            | Notice::Log(_) => {
                self.say(&format!("{id} {notice}"));
            }
        }
    }

    fn apply(&mut self, id: NodeId, slot: Slot, batch: Batch, tickets: &[(usize, u64)]) {
        let texts: Vec<String> = batch
            .proposals()
            .iter()
            .map(|proposal| String::from_utf8_lossy(&proposal.commands).into_owned())
            .collect();
        let content = if texts.is_empty() { String::from("no-op") } else { texts.join(", ") };
        if texts.is_empty() && self.extend_run(id, slot) {
            // The line before says so.
        } else {
            self.say(&format!("{id} applies {slot} {content}"));
        }
        for (_, ticket) in tickets {
            self.say(&format!("{id} answers {}", self.names[ticket].clone()));
        }
        let machine = &mut self.hosts.get_mut(&id).expect("a member").machine;
        assert!(machine.len() as u64 + 1 == slot.position(), "P5: {id} applies {slot} out of turn");
        machine.push(batch);
    }

    /// Makes one line of consecutive no-ops.
    fn extend_run(&mut self, id: NodeId, slot: Slot) -> bool {
        let before = Slot::new(slot.position() - 1);
        let start = self.trace.trim_end().rfind('\n').map_or(0, |at| at + 1);
        let line = self.trace[start..].trim_end();
        let Some(run) = line
            .strip_prefix(&format!("{id} applies "))
            .and_then(|line| line.strip_suffix(" no-op"))
            .filter(|run| *run == before.to_string() || run.ends_with(&format!("..{before}")))
        else {
            return false;
        };
        let first = run.split("..").next().unwrap_or(run);
        let longer = format!("{id} applies {first}..{slot} no-op\n");
        self.trace.truncate(start);
        self.trace.push_str(&longer);
        true
    }

    fn send_image(&mut self, id: NodeId, to: NodeId, offset: u64) {
        let image = self.hosts[&id].disk.image().clone();
        let told = Learned {
            from: Slot::FIRST,
            batches: image.batches,
            decided: image.slot,
            snapshot: None,
        };
        let mut whole = Vec::new();
        encode(&Message::Learned(told), &mut whole);
        let start = usize::try_from(offset).expect("short").min(whole.len());
        let half = whole.len().div_ceil(2);
        let bytes = Bytes::copy_from_slice(&whole[start..(start + half).min(whole.len())]);
        let chunk = SnapshotChunk { slot: image.slot, offset, total: whole.len() as u64, bytes };
        self.act(id, NodeEffect::Send { to, message: Message::SnapshotChunk(chunk) });
    }

    fn install(&mut self, id: NodeId, slot: Slot) {
        self.say(&format!("{id} installs snapshot {slot}"));
        let host = self.hosts.get_mut(&id).expect("a member");
        let bytes = std::mem::take(&mut host.receiving);
        let Ok(Message::Learned(Learned { batches, .. })) = decode(&bytes) else {
            panic!("{id} received a malformed snapshot");
        };
        host.machine.clone_from(&batches);
        host.disk.keep_image(Image { slot, batches });
        self.with(id, |node, now, _| {
            node.with_replica(|replica, out| {
                replica.handle_snapshot_installed(now, slot, LogTime::ZERO, out);
            });
        });
    }
}
