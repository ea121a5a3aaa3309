//! Connections without sockets, with a clock that a test sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;

use warlock_paxos::LogTime;
use warlock_resp::{Progress, Protocol, RequestLimits, RequestParser, RequestSpans};

use super::limits::{CHUNK_HELD_LENGTH, CHUNK_HELD_MAX, CHUNK_LENGTH};
use super::*;
use crate::seam::{Ask, ConnectionId};
use crate::shared::Shared;
use crate::status::Status;

const KIB: usize = 1024;

/// A clock that stands still between two looks of a test.
#[derive(Clone, Debug, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Relaxed);
    }
}

impl Surroundings for Clock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> LogTime {
        LogTime::ZERO
    }

    fn process(&self) -> ProcessFacts {
        ProcessFacts { id: 7, user_ticks: 250, ..ProcessFacts::default() }
    }
}

/// A worker with one connection.
struct Desk {
    clock: Clock,
    turn: Turn,
    connection: Connection,
    spans: RequestSpans,
    asks: Vec<Ask>,
    /// Keeps the state machine.
    _applier: warlock_store::Applier,
}

impl Desk {
    fn new() -> Self {
        Self::with_limits(Limits::DEFAULT)
    }

    fn with_limits(limits: Limits) -> Self {
        let clock = Clock::default();
        let (applier, reader) = warlock_store::new(warlock_store::Options::default());
        let shared = Arc::new(Shared::new(reader, status()));
        shared.recovered.store(true, Ordering::Relaxed);
        let identity = Identity {
            cluster: "test".to_owned(),
            node: 1,
            version: "0.0.1".to_owned(),
            data_dir: PathBuf::from("/var/lib/warlock"),
            settings_file: None,
            run_id: "0".repeat(40),
            started: Instant::from_nanos(0),
        };
        let surroundings = Box::new(clock.clone());
        let front = Arc::new(Front::new(limits, identity, 6379, 1, surroundings));
        let mut turn = Turn::new(0, Arc::clone(&front), shared);
        turn.begin(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let client = front.enter(address, address, 3, turn.now);
        let connection = Connection::new(ConnectionId(1), client, &turn);
        let spans = RequestSpans::default();
        Self { clock, turn, connection, spans, asks: Vec::new(), _applier: applier }
    }

    fn with_lease_until(nanos: u64) -> Self {
        let desk = Self::new();
        desk.turn.shared.lease.publish(Some(Instant::from_nanos(nanos)));
        desk
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) {
        self.connection.receive(bytes.as_ref(), &mut self.spans, &mut self.turn);
    }

    /// Ends the turn, and gives what it asked.
    fn finish(&mut self) -> &[Ask] {
        let connection = &mut self.connection;
        self.turn.finish(|_, ticket| connection.cover(ticket));
        self.asks = self.turn.take_asks().collect();
        &self.asks
    }

    /// What the client gets.
    fn replies(&mut self) -> String {
        let mut bytes = Vec::new();
        while self.connection.unsent() > 0 {
            self.connection.flush(&mut bytes, &mut self.turn).unwrap();
        }
        String::from_utf8(bytes).unwrap()
    }
}

fn status() -> Status {
    Status {
        cluster: "test".to_owned(),
        view: 1,
        master: None,
        nodes: Vec::new(),
        local: 1,
        ballot: String::new(),
        at: Instant::from_nanos(0),
    }
}

#[test]
fn a_lease_that_ends_within_a_turn_ends_local_reads_at_once() {
    let mut desk = Desk::with_lease_until(100);
    desk.clock.set(99);
    desk.receive("GET k\r\n");
    assert_eq!(desk.replies(), "$-1\r\n");
    desk.clock.set(100);
    desk.receive("GET k\r\n");
    assert_eq!(desk.replies(), "", "the turn began before the lease ended, the read did not");
    assert!(matches!(desk.finish(), [Ask::Index { worker: 0, ticket: 1 }]));
    assert_eq!(desk.turn.redeem(1, true), [ConnectionId(1)]);
    desk.connection.on_indexed(1, true, &mut desk.turn);
    assert_eq!(desk.replies(), "$-1\r\n");
}

#[test]
fn a_ticket_that_is_refused_means_that_nothing_ran() {
    let mut desk = Desk::new();
    desk.receive("GET k\r\nPING\r\n");
    assert!(matches!(desk.finish(), [Ask::Index { ticket: 1, .. }]));
    desk.connection.on_indexed(1, false, &mut desk.turn);
    assert_eq!(desk.replies(), "-CLUSTERDOWN no master with a quorum can be reached\r\n+PONG\r\n");
}

#[test]
fn reads_that_may_be_old_ask_once_in_a_while() {
    let mut desk = Desk::new();
    let bound = desk.turn.front.limits.staleness.nanos();
    desk.clock.set(1_000);
    desk.turn.begin(0);
    desk.receive("READONLY\r\nGET k\r\n");
    assert_eq!(desk.replies(), "+OK\r\n", "nobody has confirmed anything yet");
    assert!(matches!(desk.finish(), [Ask::Index { ticket: 1, .. }]));
    assert_eq!(desk.turn.redeem(1, true), [ConnectionId(1)]);
    desk.connection.on_indexed(1, true, &mut desk.turn);
    assert_eq!(desk.replies(), "$-1\r\n");
    desk.clock.set(1_000 + bound);
    desk.receive("GET k\r\n");
    assert_eq!(desk.replies(), "$-1\r\n", "the answer to the earlier question is young enough");
    desk.clock.set(1_001 + bound);
    desk.receive("GET k\r\n");
    assert_eq!(desk.replies(), "");
    assert!(matches!(desk.finish(), [Ask::Index { ticket: 2, .. }]));
    assert_eq!(desk.turn.redeem(2, false), [ConnectionId(1)]);
    desk.connection.on_indexed(2, false, &mut desk.turn);
    assert_eq!(desk.replies(), "-CLUSTERDOWN no master with a quorum can be reached\r\n");
    desk.receive("READONLY ANY\r\nGET k\r\nREADONLY x\r\n");
    let syntax = "-ERR syntax error. READONLY takes nothing, or ANY\r\n";
    assert_eq!(desk.replies(), format!("+OK\r\n$-1\r\n{syntax}"));
    for word in ["READWRITE\r\n", "RESET\r\n"] {
        desk.receive("READONLY ANY\r\n");
        desk.receive(word);
        desk.replies();
        desk.receive("GET k\r\n");
        assert_eq!(desk.replies(), "", "linearizable again after {word:?}");
        let [Ask::Index { ticket, .. }] = *desk.finish() else { panic!("nothing was asked") };
        assert_eq!(desk.turn.redeem(ticket, false), [ConnectionId(1)]);
        desk.connection.on_indexed(ticket, false, &mut desk.turn);
        desk.replies();
    }
}

#[test]
fn requests_mean_the_same_wherever_their_bytes_are_cut() {
    let input = b"PING\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\rb\r\nGET k\r\nSET k v\r\nPING x\r\n";
    for cut in 0..=input.len() {
        let mut desk = Desk::with_lease_until(u64::MAX);
        desk.receive(&input[..cut]);
        desk.receive(&input[cut..]);
        assert_eq!(desk.replies(), "+PONG\r\n$3\r\na\rb\r\n$-1\r\n", "cut at {cut}");
        let [Ask::Write(chunk)] = desk.finish() else { panic!("{:?}", desk.asks) };
        assert_eq!(chunk.calls.len(), 1, "cut at {cut}");
        desk.connection.on_reply(b"+OK\r\n", &mut desk.turn);
        desk.connection.advance(&mut desk.turn);
        assert_eq!(desk.replies(), "+OK\r\n$1\r\nx\r\n", "cut at {cut}");
    }
}

#[test]
fn a_wait_is_taken_back_when_its_connection_closes() {
    let mut desk = Desk::with_lease_until(u64::MAX);
    desk.receive("WAIT 2 0\r\n");
    let [Ask::Wait { connection: ConnectionId(1), replicas: 2, deadline: None, .. }] =
        desk.finish()
    else {
        panic!("{:?}", desk.asks)
    };
    desk.connection.end();
    assert!(desk.connection.is_done(&desk.turn), "nobody will ever read the answer");
    desk.connection.abandon(&mut desk.turn);
    assert!(matches!(desk.finish(), [Ask::Forget { connection: ConnectionId(1), .. }]));
}

#[test]
fn info_shows_what_the_host_knows_of_the_process() {
    let mut desk = Desk::with_lease_until(u64::MAX);
    desk.receive("INFO server cpu\r\n");
    let info = desk.replies();
    for line in ["process_id:7", "tcp_port:6379", "used_cpu_user:2.500000"] {
        assert!(info.lines().any(|seen| seen == line), "{line} is not in:\n{info}");
    }
}

#[test]
fn a_long_turn_sends_chunks_of_limited_length() {
    let mut turn = Desk::new().turn;
    let mut input = Vec::new();
    let value = "x".repeat(100 * KIB);
    warlock_resp::encode_request(
        ["SET", "k", &value].iter().map(|word| word.as_bytes()),
        &mut input,
    );
    let mut spans = RequestSpans::default();
    let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
    assert!(matches!(parser.parse(&input, &mut spans), Ok(Progress::Complete { .. })));
    for number in 0..25 {
        turn.submit(ConnectionId(number), Protocol::Resp2, 0, &spans.request(&input));
    }
    turn.finish(|_, _| false);
    let mut calls = 0;
    for ask in turn.take_asks() {
        let Ask::Write(chunk) = ask else { panic!("{ask:?}") };
        assert!(chunk.entries.len() < CHUNK_LENGTH + input.len() + 16);
        for call in chunk.calls {
            assert_eq!(call.connection, ConnectionId(calls), "the order is kept");
            calls += 1;
        }
    }
    assert_eq!(calls, 25);
}

#[test]
fn commands_wait_for_the_answers_to_those_before() {
    let mut desk = Desk::new();
    desk.receive("SET k 1\r\n");
    assert!(matches!(desk.finish(), [Ask::Write(_)]), "nothing to wait for");
    desk.receive("SET k 2\r\n");
    assert!(desk.finish().is_empty(), "they would pay for a slot of their own");
    desk.receive("SET k 3\r\n");
    desk.turn.answered(1);
    let [Ask::Write(chunk)] = desk.finish() else { panic!("{:?}", desk.asks) };
    assert_eq!(chunk.calls.len(), 2, "those that waited leave with those that came");
}

#[test]
fn commands_wait_for_a_bounded_time_only() {
    let mut desk = Desk::new();
    desk.receive("SET k 1\r\n");
    desk.finish();
    desk.receive("SET k 2\r\n");
    let until = desk.turn.held_until().expect("the first one has no answer");
    assert_eq!(until, Instant::from_nanos(0).after(CHUNK_HELD_MAX));
    desk.clock.set(until.nanos() - 1);
    desk.turn.begin(0);
    assert!(desk.finish().is_empty());
    desk.clock.set(until.nanos());
    desk.turn.begin(0);
    assert!(matches!(desk.finish(), [Ask::Write(_)]), "a slow disk is not waited for");
    assert_eq!(desk.turn.held_until(), None, "nothing is left to wait");
}

#[test]
fn commands_that_fill_a_slot_wait_for_nobody() {
    for (length, waits) in [(CHUNK_HELD_LENGTH / 2, true), (CHUNK_HELD_LENGTH, false)] {
        let mut desk = Desk::new();
        desk.receive("SET k 1\r\n");
        desk.finish();
        desk.receive(format!("SET k {}\r\n", "x".repeat(length)));
        assert_eq!(desk.finish().is_empty(), waits, "{length} bytes");
    }
}

#[test]
fn who_reads_no_replies_is_read_no_further() {
    let soft = 16 * KIB;
    let mut desk = Desk::with_limits(Limits { output_soft: soft, ..Limits::DEFAULT });
    let line = format!("ECHO {}\r\n", "x".repeat(KIB));
    let reply = format!("$1024\r\n{}\r\n", "x".repeat(KIB));
    desk.receive(line.repeat(100));
    assert!(!desk.connection.wants_input(&desk.turn));
    let mut replies = String::new();
    while desk.connection.unsent() > 0 {
        assert!(desk.connection.unsent() < soft + reply.len());
        replies += &desk.replies();
        desk.connection.resume(&mut desk.spans, &mut desk.turn);
    }
    assert!(replies == reply.repeat(100), "nothing is lost");
    assert!(desk.connection.wants_input(&desk.turn));
}

#[test]
fn crowded_output_lowers_the_soft_limit() {
    let limits = Limits::DEFAULT;
    assert_eq!(limits.output_soft(true, false), limits.output_soft);
    assert_eq!(limits.output_soft(true, true), limits.output_crowded);
    let unauthenticated = limits.output_soft(false, false);
    let request = limits.request(false).request_length;
    assert!(unauthenticated + request <= warlock_resp::limits::UNAUTHENTICATED_MEMORY);
}
