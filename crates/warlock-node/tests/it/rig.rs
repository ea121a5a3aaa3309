//! A cluster of one node with one client, on one thread, with a clock of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use warlock_node::front::limits::Limits;
use warlock_node::front::{Connection, Front, Identity, ProcessFacts, Surroundings, Turn};
use warlock_node::seam::{Answer, ConnectionId};
use warlock_node::{
    Effect, Host, HostOptions, LogUse, Machine, Overview, PeerFacts, Recovery, RecoveryOptions,
    Shared, SnapshotDesk,
};
use warlock_paxos::{
    Acceptor, Ballot, ChangeRequest, Incarnation, Instant, Leader, LogTime, Membership, Node,
    NodeEffect, NodeId, NodeState, Record, Replica, Span, Timing, View,
};
use warlock_resp::RequestSpans;
use warlock_wal::{FaultyDisk, Wal};

/// Inputs after which a test gives up.
const STEPS_MAX: u32 = 100_000;

const NODE: NodeId = NodeId::new(1);

#[derive(Clone, Debug)]
struct Clock(Arc<AtomicU64>);

impl Surroundings for Clock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> LogTime {
        LogTime::from_micros(self.now().nanos() / 1000)
    }

    fn process(&self) -> ProcessFacts {
        ProcessFacts::default()
    }
}

/// A running node and its client.
pub(crate) struct Rig {
    pub(crate) disk: FaultyDisk,
    pub(crate) incarnation: Incarnation,
    pub(crate) snapshots: u64,
    clock: Clock,
    wal: Wal<FaultyDisk>,
    desk: SnapshotDesk<FaultyDisk>,
    node: Node,
    host: Host,
    ballot: Ballot,
    turn: Turn,
    connection: Connection,
    spans: RequestSpans,
}

impl Rig {
    /// Starts a node on `disk`; a new directory becomes `incarnation`.
    pub(crate) fn start(disk: FaultyDisk, incarnation: u128, snapshot_after_bytes: u64) -> Self {
        let recovery = Recovery::run(disk.clone(), &options(incarnation));
        let recovery = recovery.expect("the disk can be read");
        let clock = Clock(Arc::new(AtomicU64::new(1_000_000_000)));
        let now = clock.now();
        let timing =
            Timing::new(Span::from_millis(500), Span::from_millis(100), 50).expect("they fit");
        let membership = Membership::new(View::new(1), [NODE]);
        let (log_start, incarnation) = (recovery.log_start, recovery.incarnation);
        let Recovery { wal, snapshots, applier, reader, roles, log_time, .. } = recovery;
        let (applied, log_bytes) = (roles.leader.applied, roles.log_bytes());
        let ballot = roles.leader.ballot;
        let shared = Arc::new(Shared::new(reader, overview(timing).status(now, applied)));
        let host = Host::new(
            HostOptions {
                node: NODE,
                request_timeout: Span::from_millis(10_000),
                snapshot_after_bytes,
                log_start,
                overview: overview(timing),
            },
            Arc::clone(&shared),
            Machine::new(applier, log_time, 1),
            applied,
            log_bytes,
        );
        let acceptor = Acceptor::new(NODE, membership.clone(), timing, roles.acceptor, now);
        let leader = Leader::new(NODE, membership, timing, roles.leader, now);
        let mut replica = Replica::new(NODE, timing, roles.replica);
        replica.note_log_start(log_start);
        let node = Node::new(NODE, NodeState { acceptor, leader, replica }, now);
        let front = front(clock.clone());
        let mut turn = Turn::new(0, Arc::clone(&front), shared);
        turn.begin(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let client = front.enter(address, address, 3, now);
        let connection = Connection::new(ConnectionId(1), client, &turn);
        let (desk, spans) = (SnapshotDesk::new(snapshots), RequestSpans::default());
        let mut rig = Self {
            disk,
            incarnation,
            snapshots: 0,
            clock,
            wal,
            desk,
            node,
            host,
            ballot,
            turn,
            connection,
            spans,
        };
        rig.settle();
        rig.host.handle_recovered(now);
        rig
    }

    /// Sends `bytes` and lets time pass until as many bytes of replies are there as `expected` has.
    pub(crate) fn expect(&mut self, bytes: &str, expected: &str) {
        self.turn.begin(0);
        self.connection.receive(bytes.as_bytes(), &mut self.spans, &mut self.turn);
        self.ask();
        let mut replies = Vec::new();
        for _ in 0..STEPS_MAX {
            self.settle();
            self.connection.flush(&mut replies, &mut self.turn).expect("a vector takes all");
            if replies.len() >= expected.len() {
                break;
            }
            self.sleep();
        }
        assert_eq!(
            String::from_utf8(replies).expect("replies are text"),
            expected,
            "after {bytes:?}"
        );
    }

    /// What the host does from time to time.
    pub(crate) fn tick(&mut self) {
        let log = LogUse { written: self.wal.stats().bytes_written, held: self.wal.bytes() };
        let mut out = Vec::new();
        self.host.handle_tick(self.clock.now(), log, self.ballot, &mut out);
        self.carry_out(out);
        self.settle();
    }

    /// Lets time pass until a role wants to act.
    fn sleep(&mut self) {
        let at = self.node.next_timeout().expect("a leader always has a timer");
        self.clock.0.fetch_max(at.nanos(), Ordering::Relaxed);
        self.node.handle_timeout(self.clock.now(), self.clock.wall());
    }

    /// Does everything that needs no time to pass.
    fn settle(&mut self) {
        loop {
            let (now, wall) = (self.clock.now(), self.clock.wall());
            let effects = self.node.take_effects();
            if effects.is_empty() && !self.node.deliver(now, wall, 0) {
                return;
            }
            for effect in effects {
                match effect {
                    NodeEffect::Send { to, .. } => panic!("there is no {to}"),
                    NodeEffect::Persist { record, then } => {
                        self.persist(record);
                        self.node.persisted(now, then);
                    }
                    NodeEffect::Notify(notice) => {
                        let mut out = Vec::new();
                        self.host.handle_notice(now, notice, &mut out);
                        self.carry_out(out);
                    }
                }
            }
        }
    }

    fn persist(&mut self, record: Option<Record>) {
        if let Some(record) = record {
            if let Record::Promise { ballot } = record {
                self.ballot = self.ballot.max(ballot);
            }
            self.wal.append(&record);
            self.wal.sync().expect("the disk works");
        }
    }

    fn change(&mut self, ticket: u64, request: &ChangeRequest, dry_run: bool) {
        let now = self.clock.now();
        let mut judged = None;
        self.node.with_leader(now, |leader, out| match dry_run {
            true => judged = Some(leader.judge(now, request)),
            false => leader.handle_change(now, ticket, request, out),
        });
        if let Some(judged) = judged {
            let mut out = Vec::new();
            self.host.handle_judged(now, ticket, judged, &mut out);
            self.carry_out(out);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let now = self.clock.now();
        for effect in effects {
            match effect {
                Effect::Answer { answer, .. } => self.answer(answer),
                Effect::Submit { ticket, commands, deadline } => {
                    self.node.with_replica(|replica, out| {
                        replica.handle_submit(now, ticket, commands, deadline, out);
                    });
                }
                Effect::Read { ticket, deadline } => {
                    self.node.with_replica(|replica, out| {
                        replica.handle_read(now, ticket, deadline, out);
                    });
                }
                Effect::Expiry(at) => {
                    self.node.with_leader(now, |leader, _| leader.note_deadline(at));
                }
                Effect::Digest(slot, digest) => {
                    self.node.with_leader(now, |leader, _| leader.note_digest(slot, digest));
                    self.node.with_replica(|replica, _| replica.note_digest(slot, digest));
                }
                Effect::Snapshot(job) => {
                    self.desk.give(job);
                    while !self.desk.is_idle() {
                        let Some(event) = self.desk.step() else { continue };
                        let mut out = Vec::new();
                        self.host.handle_snapshot_event(now, event, &mut out);
                        self.carry_out(out);
                    }
                }
                Effect::Stored(slot) => {
                    self.snapshots += 1;
                    self.node.with_replica(|replica, _| replica.note_snapshot(slot));
                }
                Effect::Truncate(slot) => {
                    self.wal.truncate_below(slot).expect("the disk works");
                    self.node.with_replica(|replica, _| replica.note_log_start(slot));
                }
                Effect::Installed { .. }
                | Effect::Refused
                | Effect::Written(..)
                | Effect::LogRead { .. }
                | Effect::SendChunk { .. } => panic!("there is no other node: {effect:?}"),
                Effect::Change { ticket, request, dry_run } => {
                    self.change(ticket, &request, dry_run);
                }
                Effect::Members(_) => {}
                Effect::Transfer(_)
                | Effect::Join { .. }
                | Effect::Reset(_)
                | Effect::Joined(..)
                | Effect::Retired(_)
                | Effect::Fatal(_)
                | Effect::HandedOver => panic!("nobody asked for {effect:?}"),
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let Self { connection, turn, .. } = self;
        match answer {
            Answer::Replies { bytes, ends } => {
                turn.answered(ends.len());
                let mut start = 0;
                for (_, end) in ends {
                    connection.on_reply(&bytes[start..end as usize], turn);
                    start = end as usize;
                }
            }
            Answer::Indexed { ticket, allowed } => {
                if turn.redeem(ticket, allowed).contains(&connection.id()) {
                    connection.on_indexed(ticket, allowed, turn);
                }
            }
            Answer::Held { replicas, .. } => connection.on_held(replicas, turn),
            Answer::Operated { outcome, .. } => connection.on_operated(outcome, turn),
        }
        connection.advance(turn);
        self.ask();
    }

    /// Ends the turn of the worker.
    fn ask(&mut self) {
        let connection = &mut self.connection;
        self.turn.finish(|_, ticket| connection.cover(ticket));
        let asks: Vec<_> = self.turn.take_asks().collect();
        for ask in asks {
            let mut out = Vec::new();
            self.host.handle_ask(self.clock.now(), ask, &mut out);
            self.carry_out(out);
        }
    }
}

/// How the node recovers; a new directory becomes `incarnation`.
pub(crate) fn options(incarnation: u128) -> RecoveryOptions<'static> {
    RecoveryOptions {
        cluster: "test",
        node: NODE,
        segment_bytes: 1024 * 1024,
        shards: 16,
        incarnation: Incarnation::new(incarnation),
        entropy: 1,
        crew: |work| work(),
    }
}

fn overview(timing: Timing) -> Overview {
    let own = PeerFacts { version: String::new(), client_addr: String::new() };
    let members = BTreeMap::from([(NODE, "n1:7379".to_owned())]);
    let membership = Membership::new(View::new(1), [NODE]);
    Overview::new(NODE, "test".to_owned(), &membership, members, own, timing.patience())
}

fn front(clock: Clock) -> Arc<Front> {
    let identity = Identity {
        cluster: "test".to_owned(),
        node: NODE.number(),
        version: "0.0.1".to_owned(),
        data_dir: PathBuf::from("/var/lib/warlock"),
        settings_file: None,
        run_id: "0".repeat(40),
        started: clock.now(),
    };
    Arc::new(Front::new(Limits::DEFAULT, identity, 6379, 1, Box::new(clock)))
}
