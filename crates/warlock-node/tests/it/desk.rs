//! One client's connection, and a core that applies at once what it is asked to write.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use warlock_node::Shared;
use warlock_node::front::limits::Limits;
use warlock_node::front::{Connection, Front, Identity, ProcessFacts, Surroundings, Turn};
use warlock_node::seam::{Ask, Chunk, ConnectionId};
use warlock_node::status::Status;
use warlock_paxos::{Instant, LogTime};
use warlock_resp::{ReplyWriter, RequestSpans};
use warlock_store::{Applier, Options, entry};

/// Time stands still.
#[derive(Debug)]
struct Still;

const NOW: Instant = Instant::from_nanos(1_000_000_000);
/// Log time of every batch, in microseconds since the Unix epoch.
const LOG_TIME_US: u64 = 1_700_000_000_000_000;

impl Surroundings for Still {
    fn now(&self) -> Instant {
        NOW
    }

    fn wall(&self) -> LogTime {
        LogTime::from_micros(LOG_TIME_US)
    }

    fn process(&self) -> ProcessFacts {
        ProcessFacts::default()
    }
}

/// A worker with one connection, on a node that is master for ever, or sees one.
pub(crate) struct Desk {
    turn: Turn,
    connection: Connection,
    spans: RequestSpans,
    applier: Applier,
    replies: Vec<u8>,
}

impl Desk {
    pub(crate) fn new(has_lease: bool) -> Self {
        let (applier, reader) = warlock_store::new(Options { hash_seed: 42, shards: 4 });
        let shared = Arc::new(Shared::new(reader, status()));
        shared.recovered.store(true, Ordering::Release);
        shared.log_clock.publish(LogTime::from_micros(LOG_TIME_US), NOW);
        shared.lease.publish(has_lease.then_some(Instant::from_nanos(u64::MAX)));
        let front = Arc::new(Front::new(Limits::DEFAULT, identity(), 6379, 1, Box::new(Still)));
        let mut turn = Turn::new(0, Arc::clone(&front), shared);
        turn.begin(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let client = front.enter(address, address, 3, NOW);
        let connection = Connection::new(ConnectionId(1), client, &turn);
        Self { turn, connection, spans: RequestSpans::default(), applier, replies: Vec::new() }
    }

    /// One read of the socket brings `bytes`; returns when nothing is left to do.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.turn.begin(self.connection.unsent());
        if !self.connection.wants_input(&self.turn) {
            return;
        }
        self.connection.receive(bytes, &mut self.spans, &mut self.turn);
        loop {
            self.connection.flush(&mut self.replies, &mut self.turn).expect("a vector takes all");
            if self.connection.may_resume(&self.turn) {
                self.connection.resume(&mut self.spans, &mut self.turn);
            }
            let connection = &mut self.connection;
            self.turn.finish(|_, ticket| connection.cover(ticket));
            let asks: Vec<Ask> = self.turn.take_asks().collect();
            if asks.is_empty() && self.connection.unsent() == 0 {
                return;
            }
            asks.into_iter().for_each(|ask| self.answer(ask));
        }
    }

    /// Everything that was sent to the client, and whether its connection is closed.
    pub(crate) fn end(self) -> (Vec<u8>, bool) {
        let is_done = self.connection.is_done(&self.turn);
        (self.replies, is_done)
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Write(chunk) => self.apply(&chunk),
            Ask::Index { ticket, .. } => {
                for waiting in self.turn.redeem(ticket, true) {
                    assert_eq!(waiting, ConnectionId(1));
                    self.connection.on_indexed(ticket, true, &mut self.turn);
                }
            }
            Ask::Wait { .. } => self.connection.on_held(0, &mut self.turn),
            Ask::Operate { operation, .. } => {
                self.connection.on_operated(Ok(format!("{operation:?}")), &mut self.turn);
            }
            Ask::Forget { .. } => {}
        }
        self.connection.advance(&mut self.turn);
    }

    fn apply(&mut self, chunk: &Chunk) {
        self.turn.answered(chunk.calls.len());
        let slot = self.turn.shared.store.next_slot();
        self.applier.begin_batch(slot, LOG_TIME_US, slot);
        let mut entries = entry::Entries::new(&chunk.entries);
        let mut spans = RequestSpans::default();
        let mut replies = Vec::new();
        for call in &chunk.calls {
            let (db, request) =
                entries.next(&mut spans).expect("a call has an entry").expect("a worker wrote it");
            let mut bytes = Vec::new();
            self.applier.apply(db, &request, &mut ReplyWriter::new(&mut bytes, call.protocol));
            replies.push(bytes);
        }
        assert!(entries.next(&mut spans).is_none(), "an entry without a call");
        self.applier.end_batch();
        for bytes in replies {
            self.connection.on_reply(&bytes, &mut self.turn);
        }
    }
}

fn identity() -> Identity {
    Identity {
        cluster: "test".to_owned(),
        node: 1,
        version: "0.0.1".to_owned(),
        data_dir: PathBuf::from("/var/lib/warlock"),
        settings_file: None,
        run_id: "0".repeat(40),
        started: Instant::from_nanos(0),
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
        at: NOW,
    }
}
