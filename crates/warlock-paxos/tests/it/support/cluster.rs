//! A cluster on one thread: every event is drawn from a seed, and every property is checked after
//! every event.

mod changes;
mod faults;
mod notices;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use warlock_paxos::{
    Acceptor, Ballot, Batch, Incarnation, Instant, Leader, LogTime, Membership, Message, Node,
    NodeEffect, NodeId, NodeState, Record, Replica, Slot, Span, Timing, View,
};

use super::checker::Checker;
use super::disk::{Disk, incarnation};
use super::random::Random;
use super::{WALL_START, node};

const MILLISECOND: u64 = 1_000_000;
const TIMING: Timing = Timing::DEFAULT;
/// A part of a snapshot in one message; small, so that transfers take several.
const CHUNK: usize = 700;
/// More than any run takes whose time moves on.
const STEPS_MAX: u64 = 600_000;
/// What a submission waits for its fate while faults happen.
const PATIENCE: u64 = 3000 * MILLISECOND;

/// How rough a run is; drawn from its seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) nodes: u16,
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) delay_max: u64,
    pub(crate) sync_max: u64,
    pub(crate) fault_every: u64,
    pub(crate) client_every: u64,
    /// Whether the membership changes; then no record is damaged, because there may be one voter.
    pub(crate) changes: bool,
}

impl Weather {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        Self {
            nodes: if random.chance(600) { 3 } else { 5 },
            loss: [0, 0, 20, 200][random.index(4)],
            duplication: [0, 50, 300][random.index(3)],
            delay_max: [1, 5, 40, 200][random.index(4)] * MILLISECOND,
            sync_max: [1, 5, 60][random.index(3)] * MILLISECOND,
            fault_every: random.between(100, 700) * MILLISECOND,
            client_every: random.between(4, 60) * MILLISECOND,
            changes: false,
        }
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most events are arrivals")]
enum Event {
    Arrival { from: NodeId, to: NodeId, message: Message },
    Sync(NodeId),
    Install(NodeId),
    Client,
    Fault,
    Change,
}

/// A clock with its own origin, and a rate that is wrong by some thousandths.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: u64,
    rate: u64,
}

impl Clock {
    fn drawn(random: &mut Random) -> Self {
        let rate = [950, 1000, 1050, random.between(950, 1050)][random.index(4)];
        Self { origin: random.below(1 << 40), rate }
    }

    fn at(self, truth: u64) -> Instant {
        let local = u128::from(truth) * u128::from(self.rate) / 1000;
        Instant::from_nanos(self.origin + u64::try_from(local).expect("runs are short"))
    }

    /// The first moment at which this clock shows `local` or later.
    fn when(self, local: Instant) -> u64 {
        let since = local.nanos().saturating_sub(self.origin);
        u64::try_from((u128::from(since) * 1000).div_ceil(u128::from(self.rate))).expect("short")
    }
}

struct Host {
    id: NodeId,
    clock: Clock,
    disk: Disk,
    node: Option<Node>,
    sync_max: u64,
    syncing: bool,
    paused_until: u64,
    machine: Vec<Batch>,
    receiving: Vec<u8>,
    installing: Option<Slot>,
    serve: Option<Instant>,
    submitted: VecDeque<u64>,
    reads: BTreeMap<u64, u64>,
    told: Ballot,
    leaving: bool,
    retired: bool,
    incarnation: Incarnation,
    restart_at: Option<u64>,
}

pub(crate) struct Cluster {
    pub(crate) checker: Checker,
    random: Random,
    weather: Weather,
    membership: Membership,
    hosts: Vec<Host>,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    time: u64,
    blocked: BTreeSet<(NodeId, NodeId)>,
    victim: NodeId,
    calm: bool,
    next_id: u64,
    steps: u64,
    /// The newest lines of what happened, and how many to keep.
    trace: VecDeque<String>,
    traced: usize,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather::drawn(&mut random);
        Self::in_weather(random, weather)
    }

    /// A cluster of which nodes come and go.
    pub(crate) fn changing(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = [1, 2, 3, 3, 3, 4, 5][random.index(7)];
        let weather = Weather { nodes, changes: true, ..Weather::drawn(&mut random) };
        Self::in_weather(random, weather)
    }

    fn in_weather(mut random: Random, weather: Weather) -> Self {
        let membership = Membership::new(View::new(1), (1..=weather.nodes).map(node));
        let hosts: Vec<Host> = (1..=weather.nodes)
            .map(|number| Host::new(node(number), &weather, &mut random, 0))
            .collect();
        let mut checker = Checker::default();
        checker.enter(membership.charter());
        let mut cluster = Self {
            checker,
            hosts,
            victim: node(1),
            random,
            weather,
            membership,
            events: BTreeMap::new(),
            serial: 0,
            time: 0,
            blocked: BTreeSet::new(),
            calm: false,
            next_id: 1,
            steps: 0,
            trace: VecDeque::new(),
            traced: 0,
        };
        cluster.victim = cluster.any_host();
        if weather.changes {
            cluster.schedule(1, Event::Change);
        }
        cluster.schedule(0, Event::Client);
        cluster.schedule(cluster.weather.fault_every, Event::Fault);
        cluster
    }

    /// Keeps the newest `lines` of what happens, for [`describe`](Self::describe).
    pub(crate) fn trace(&mut self, lines: usize) {
        self.traced = lines;
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.traced == 0 {
            return;
        }
        if self.trace.len() == self.traced {
            self.trace.pop_front();
        }
        let (micros, line) = (self.time / 1000, line());
        self.trace.push_back(format!("{micros:>9} us {line}"));
    }

    /// Runs with faults for `span` nanoseconds.
    pub(crate) fn storm(&mut self, span: u64) {
        let end = self.time + span;
        while self.time < end {
            self.step();
        }
    }

    /// Ends all faults, and requires that the cluster serves, answers and agrees soon.
    pub(crate) fn heal(&mut self) {
        self.calm = true;
        self.blocked.clear();
        for host in &mut self.hosts {
            host.paused_until = 0;
            host.sync_max = MILLISECOND;
            host.restart_at = host.node.is_none().then_some(self.time);
        }
        let election = TIMING.patience().plus(TIMING.lease()).plus(TIMING.heartbeat()).nanos();
        self.require("a master that serves", 4 * election, |cluster| {
            cluster.hosts.iter().any(|host| host.serves(cluster.time))
        });
        self.require("a stable membership that every member knows", 4 * election, |cluster| {
            let newest = cluster.checker.newest();
            !newest.transitional && cluster.members().iter().all(|host| host.knows(newest.view))
        });
        for index in self.member_indices() {
            self.submit(index, 60_000 * MILLISECOND);
            self.read(index, 60_000 * MILLISECOND);
        }
        let deadlines = PATIENCE * 12 / 10;
        self.require("the fate of every submission and read", deadlines, |cluster| {
            cluster.hosts.iter().all(|host| host.submitted.is_empty() && host.reads.is_empty())
        });
        self.require("the end of every hand-over", election, |cluster| {
            cluster.hosts.iter().all(|host| !host.leaving)
        });
        let decided = self.checker.decided();
        self.require("the same log everywhere", 2 * election, |cluster| {
            cluster.members().iter().all(|host| host.applied() >= decided)
        });
    }

    fn require(&mut self, what: &str, span: u64, holds: impl Fn(&Self) -> bool) {
        let end = self.time + span;
        while !holds(self) {
            assert!(self.time < end, "liveness: no {what}\n{}", self.describe());
            self.step();
        }
    }

    /// One line for each node.
    pub(crate) fn describe(&self) -> String {
        let lines = self.hosts.iter().map(|host| {
            let now = host.clock.at(self.time);
            let Some(node) = &host.node else { return format!("{} down", host.id) };
            format!(
                "{} in {} ballot {} leads {:?} master {:?} applied {} serves {} submitted {:?} \
                 reads {:?} unsynced {}",
                host.id,
                node.leader.membership(),
                node.acceptor.ballot(),
                node.leader.leads().map(|ballot| ballot.to_string()),
                node.leader.master(now).map(|ballot| ballot.to_string()),
                node.replica.applied(),
                host.serves(self.time),
                host.submitted,
                host.reads,
                host.disk.unsynced(),
            )
        });
        let lines: Vec<String> = self.trace.iter().cloned().chain(lines).collect();
        format!("{:?} at {} ms\n{}", self.weather, self.time / MILLISECOND, lines.join("\n"))
    }

    fn step(&mut self) {
        let time = self.time;
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "liveness: endless work");
        let busy: Vec<usize> = (0..self.hosts.len())
            .filter(|&index| {
                let host = &self.hosts[index];
                time >= host.paused_until && host.node.as_ref().is_some_and(|n| n.deliverable() > 0)
            })
            .collect();
        if !busy.is_empty() && !self.random.chance(100) {
            let index = busy[self.random.index(busy.len())];
            let choice = self.random.index(16);
            self.with(index, |node, now, wall| {
                node.deliver(now, wall, choice);
            });
            return;
        }
        let timer = (0..self.hosts.len())
            .filter_map(|index| Some((self.hosts[index].next_wake(time)?, index)))
            .min();
        let event = self.events.first_key_value().map(|(&(at, _), _)| at);
        match (timer, event) {
            (Some((at, index)), Some(first)) if at < first => self.wake(at, index),
            (Some((at, index)), None) => self.wake(at, index),
            (_, Some(_)) => self.handle_event(),
            (None, None) => panic!("nothing will ever happen again"),
        }
    }

    fn wake(&mut self, at: u64, index: usize) {
        self.time = self.time.max(at);
        if self.hosts[index].node.is_none() {
            self.start(index);
            return;
        }
        self.with(index, Node::handle_timeout);
    }

    fn handle_event(&mut self) {
        let Some(((at, _), event)) = self.events.pop_first() else { return };
        self.time = self.time.max(at);
        match event {
            Event::Arrival { from, to, message } => self.arrive(from, to, message),
            Event::Sync(id) => self.sync(id),
            Event::Install(id) => self.install(id),
            Event::Client => self.client(),
            Event::Fault => self.fault(),
            Event::Change => self.change(),
        }
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, message: Message) {
        let index = self.index(to);
        let pause = self.hosts[index].paused_until;
        if self.time < pause {
            self.schedule(pause - self.time, Event::Arrival { from, to, message });
            return;
        }
        if self.blocked.contains(&(from, to)) || self.hosts[index].node.is_none() {
            return;
        }
        self.note(|| format!("{from}->{to} {message}"));
        self.with(index, |node, _, _| node.receive(from, message));
    }

    fn sync(&mut self, id: NodeId) {
        let index = self.index(id);
        let host = &mut self.hosts[index];
        host.syncing = false;
        if host.node.is_none() {
            return;
        }
        if self.time < host.paused_until {
            host.syncing = true;
            let delay = host.paused_until - self.time;
            self.schedule(delay, Event::Sync(id));
            return;
        }
        let synced = self.random.between(1, self.hosts[index].disk.unsynced().max(1) as u64);
        for _ in 0..synced {
            let Some(then) = self.hosts[index].disk.complete_one() else { break };
            self.with(index, |node, now, _| node.persisted(now, then));
        }
        self.sync_soon(index);
    }

    fn sync_soon(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if !host.syncing && !host.disk.is_idle() {
            host.syncing = true;
            let (id, delay) = (host.id, self.random.between(1, host.sync_max));
            self.schedule(delay, Event::Sync(id));
        }
    }

    fn client(&mut self) {
        let every = self.weather.client_every;
        if !self.calm {
            let delay = self.random.between(1, 2 * every);
            self.schedule(delay, Event::Client);
        }
        let index = self.random.index(self.hosts.len());
        let deadline = self.random.between(100 * MILLISECOND, PATIENCE);
        if self.random.chance(700) {
            for _ in 0..self.random.between(1, 4) {
                self.submit(index, deadline);
            }
        } else {
            self.read(index, deadline);
        }
    }

    fn submit(&mut self, index: usize, patience: u64) {
        let time = self.time;
        if self.hosts[index].node.is_none() || time < self.hosts[index].paused_until {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.hosts[index].submitted.push_back(id);
        let mut commands = id.to_le_bytes().to_vec();
        commands.resize(8 + self.random.index(60), 0);
        self.with(index, |node, now, _| {
            let deadline = now.after(Span::from_nanos(patience));
            node.with_replica(|replica, out| {
                replica.handle_submit(now, id, Bytes::from(commands), deadline, out);
            });
        });
    }

    fn read(&mut self, index: usize, patience: u64) {
        if self.hosts[index].node.is_none() || self.time < self.hosts[index].paused_until {
            return;
        }
        let ticket = self.next_id;
        self.next_id += 1;
        self.hosts[index].reads.insert(ticket, self.checker.acknowledged());
        self.with(index, |node, now, _| {
            let deadline = now.after(Span::from_nanos(patience));
            node.with_replica(|replica, out| replica.handle_read(now, ticket, deadline, out));
        });
    }

    fn start(&mut self, index: usize) {
        let seed = self.random.bits();
        let time = self.time;
        let host = &mut self.hosts[index];
        let now = host.clock.at(time);
        let mut recovered = host.disk.recover(host.id, seed);
        recovered.acceptor.incarnation = host.incarnation;
        recovered.replica.incarnation = host.incarnation;
        self.checker.restart(host.id, recovered.acceptor.ballot, host.told);
        host.restart_at = None;
        host.machine = recovered.image.batches;
        let id = host.id;
        let founder = id.number() <= self.weather.nodes;
        let first = if founder { self.membership.clone() } else { Membership::unknown() };
        let membership = recovered.membership.unwrap_or(first);
        let found = format!("{:?}", recovered.acceptor);
        let state = NodeState {
            acceptor: Acceptor::new(id, membership.clone(), TIMING, recovered.acceptor, now),
            leader: Leader::new(id, membership, TIMING, recovered.leader, now),
            replica: Replica::new(id, TIMING, recovered.replica),
        };
        let mut node = Node::new(id, state, now);
        // Whoever has not met the founders may not give a newcomer a vote beside them.
        let founders = if self.random.chance(700) { self.weather.nodes } else { 0 };
        for met in (1..=founders).map(super::node) {
            node.leader.note_member(met, String::new(), Some(incarnation(met)));
        }
        host.node = Some(node);
        self.note(|| format!("{id} starts from {found}"));
        self.with(index, |_, _, _| {});
    }

    /// Lets a node do something, acts on what it wants, and checks everything.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut Node, Instant, LogTime)) {
        let time = self.time;
        let host = &mut self.hosts[index];
        let now = host.clock.at(time);
        let wall = WALL_START.after(Span::from_nanos(time));
        let Some(node) = &mut host.node else { return };
        act(node, now, wall);
        let effects = node.take_effects();
        for effect in effects {
            match effect {
                NodeEffect::Send { to, message } => self.send(index, to, message),
                NodeEffect::Persist { record, then } => {
                    let id = self.hosts[index].id;
                    self.note(|| format!("{id} writes {}", describe(record.as_ref())));
                    self.hosts[index].disk.write(record, then);
                }
                NodeEffect::Notify(notice) => self.notice(index, notice),
            }
        }
        self.sync_soon(index);
        self.check(index);
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.serial += 1;
        self.events.insert((self.time + delay, self.serial), event);
    }

    fn index(&self, id: NodeId) -> usize {
        self.hosts.iter().position(|host| host.id == id).expect("a member")
    }

    fn any_host(&mut self) -> NodeId {
        let index = self.random.index(self.hosts.len());
        self.hosts[index].id
    }
}

impl Host {
    fn new(id: NodeId, weather: &Weather, random: &mut Random, start: u64) -> Self {
        Self {
            id,
            clock: Clock::drawn(random),
            disk: Disk::default(),
            node: None,
            sync_max: weather.sync_max,
            syncing: false,
            paused_until: 0,
            machine: Vec::new(),
            receiving: Vec::new(),
            installing: None,
            serve: None,
            submitted: VecDeque::new(),
            reads: BTreeMap::new(),
            told: Ballot::ZERO,
            leaving: false,
            retired: false,
            incarnation: incarnation(id),
            restart_at: Some(start),
        }
    }

    /// Whether the roles of this node act in the view.
    fn knows(&self, view: View) -> bool {
        let known = self.node.as_ref().map(|node| node.leader.membership().view());
        known == Some(view)
    }

    /// Whether a client that reads here now is answered from local state.
    fn serves(&self, time: u64) -> bool {
        let now = self.clock.at(time);
        let Some(node) = &self.node else { return false };
        let by_leader = node.leader.serves_until().is_some_and(|end| now < end);
        self.serve.is_some_and(|end| now < end) || by_leader
    }

    fn applied(&self) -> Slot {
        next_slot(&self.machine)
    }

    fn next_wake(&self, time: u64) -> Option<u64> {
        let due = match &self.node {
            Some(node) => self.clock.when(node.next_timeout()?),
            None => self.restart_at?,
        };
        Some(due.max(self.paused_until).max(time))
    }
}

fn describe(record: Option<&Record>) -> String {
    record.map_or_else(|| String::from("nothing"), ToString::to_string)
}

fn next_slot(machine: &[Batch]) -> Slot {
    Slot::new(machine.len() as u64 + 1)
}
