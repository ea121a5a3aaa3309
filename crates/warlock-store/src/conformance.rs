//! What every back end must do, as functions over a way to make an empty one.
//!
//! The checks panic with what they saw. They are part of the crate, and not of its tests, so that
//! back ends elsewhere can run them.

use warlock_resp::{
    Protocol, ReplyWriter, Request, RequestLimits, RequestParser, RequestSpans, encode_request,
};

use crate::backend::{Backend, BackendReader};
use crate::reader::ReadOutcome;

/// Runs every check on back ends made by `make`, each of them empty and independent.
pub fn check_all<B: Backend>(make: impl Fn() -> (B, B::Reader)) {
    replies_are_those_of_redis(&make);
    reads_see_what_was_applied(&make);
    databases_are_separate(&make);
    expiry_goes_by_log_time(&make);
    a_reader_past_a_deadline_asks_the_log(&make);
    a_sequence_is_admitted_once(&make);
    equal_logs_make_equal_states(&make);
    a_snapshot_is_the_state_when_it_was_taken(&make);
    a_damaged_snapshot_changes_nothing(&make);
}

/// A back end with its reader, driven one command to a batch.
#[derive(Debug)]
pub struct Replica<B: Backend> {
    /// The writing half.
    pub backend: B,
    /// The reading half.
    pub reader: B::Reader,
    /// Log time of the next batch, in microseconds since the Unix epoch.
    pub log_time_us: u64,
    /// Database of the commands.
    pub db: u8,
}

impl<B: Backend> Replica<B> {
    /// Wraps a back end, at a log time of some day in 2023.
    #[must_use]
    pub fn new((backend, reader): (B, B::Reader)) -> Self {
        Self { backend, reader, log_time_us: START_US, db: 0 }
    }

    /// Applies `words` as a batch of one command, and returns the reply as sent.
    pub fn apply(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let (db, mut out) = (self.db, Vec::new());
        self.batch(|backend| {
            with_request(words, |request| {
                backend.apply(db, request, &mut ReplyWriter::new(&mut out, Protocol::Resp2));
            });
        });
        out
    }

    /// Applies a batch whose commands `run` applies.
    pub fn batch(&mut self, run: impl FnOnce(&mut B)) {
        let slot = self.reader.checkpoint().next_slot;
        self.backend.begin_batch(slot, self.log_time_us, slot);
        run(&mut self.backend);
        self.backend.end_batch();
    }

    /// Reads at `now_us`: the reply as sent, or `None` in limbo.
    #[must_use]
    pub fn read(&self, words: &[&[u8]], now_us: u64) -> Option<Vec<u8>> {
        read(&self.reader, self.db, words, now_us)
    }

    /// Takes in all `chunks` of a snapshot.
    ///
    /// # Errors
    /// Whatever the back end refuses.
    pub fn restore(&mut self, chunks: &[Vec<u8>]) -> Result<(), crate::RestoreError> {
        self.backend.begin_restore();
        for chunk in chunks {
            self.backend.restore_chunk(chunk)?;
        }
        self.backend.finish_restore()
    }

    fn text(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        String::from_utf8(self.apply(&words)).expect("text")
    }

    fn expect(&mut self, line: &str, reply: &str) {
        assert_eq!(self.text(line), reply, "{line}");
    }

    fn advance_ms(&mut self, milliseconds: u64) {
        self.log_time_us += milliseconds * 1000;
    }
}

/// Reads at `now_us`: the reply as sent, or `None` in limbo.
///
/// # Panics
/// If there is a reply in limbo.
#[must_use]
pub fn read(reader: &impl BackendReader, db: u8, words: &[&[u8]], now_us: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
    let outcome = with_request(words, |request| reader.read(db, request, now_us, &mut reply));
    match outcome {
        ReadOutcome::Done => Some(out),
        ReadOutcome::Limbo => {
            assert!(out.is_empty(), "limbo with a reply");
            None
        }
    }
}

/// Calls `run` with the request that has these words.
pub fn with_request<T>(words: &[&[u8]], run: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    encode_request(words.iter().copied(), &mut bytes);
    let mut spans = RequestSpans::default();
    let parsed = RequestParser::new(RequestLimits::CEILING).parse(&bytes, &mut spans);
    assert!(parsed.is_ok(), "a request that was just encoded");
    run(&spans.request(&bytes))
}

fn replies_are_those_of_redis<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    replica.expect("SET k v", "+OK\r\n");
    replica.expect("GET k", "$1\r\nv\r\n");
    replica.expect("SET k w NX", "$-1\r\n");
    replica.expect("INCR n", ":1\r\n");
    replica.expect("INCR k", "-ERR value is not an integer or out of range\r\n");
    replica.expect("MGET k x n", "*3\r\n$1\r\nv\r\n$-1\r\n$1\r\n1\r\n");
    replica.expect("DEL k x n", ":2\r\n");
    replica.expect("GET", "-ERR wrong number of arguments for 'get' command\r\n");
    replica.expect("NOSUCH a", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' \r\n");
    assert!(replica.text("PING").starts_with("-ERR "), "not a command for the log");
}

fn reads_see_what_was_applied<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    let now_us = replica.log_time_us;
    assert_eq!(replica.read(&[b"GET", b"k"], now_us).as_deref(), Some(&b"$-1\r\n"[..]));
    replica.expect("SET k v", "+OK\r\n");
    assert_eq!(replica.read(&[b"GET", b"k"], now_us).as_deref(), Some(&b"$1\r\nv\r\n"[..]));
    assert_eq!(replica.read(&[b"DBSIZE"], now_us).as_deref(), Some(&b":1\r\n"[..]));
    let refused = replica.read(&[b"SET", b"k", b"w"], now_us).expect("an error");
    assert!(refused.starts_with(b"-ERR "), "a write is no read");
    replica.expect("GET k", "$1\r\nv\r\n");
}

fn databases_are_separate<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    replica.expect("SET k zero", "+OK\r\n");
    replica.db = 15;
    replica.expect("GET k", "$-1\r\n");
    replica.expect("SET k fifteen", "+OK\r\n");
    replica.expect("SET l fifteen", "+OK\r\n");
    assert_eq!((replica.reader.keys(0), replica.reader.keys(15)), (1, 2));
    replica.expect("FLUSHDB", "+OK\r\n");
    assert_eq!((replica.reader.keys(0), replica.reader.keys(15)), (1, 0));
    replica.expect("FLUSHALL", "+OK\r\n");
    assert_eq!(replica.reader.keys(0), 0);
    replica.db = 16;
    replica.expect("GET k", "-ERR DB index is out of range\r\n");
}

fn expiry_goes_by_log_time<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    replica.expect("SET k v PX 100", "+OK\r\n");
    assert_eq!(replica.backend.next_deadline_us(), Some(START_US + 100_000));
    replica.log_time_us = START_US + 99_999;
    replica.expect("GET k", "$1\r\nv\r\n");
    replica.expect("SET k w NX", "$-1\r\n");
    replica.log_time_us = START_US + 100_000;
    replica.expect("GET k", "$-1\r\n");
    replica.expect("DBSIZE", ":0\r\n");
    assert_eq!(replica.backend.next_deadline_us(), None);
    replica.expect("SET k w NX", "+OK\r\n");
    replica.expect("PTTL k", ":-1\r\n");
}

fn a_reader_past_a_deadline_asks_the_log<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    replica.expect("SET k v PX 100", "+OK\r\n");
    replica.expect("SET stays v", "+OK\r\n");
    let deadline_us = START_US + 100_000;
    let get: [&[u8]; 2] = [b"GET", b"k"];
    assert_eq!(replica.read(&get, deadline_us - 1).as_deref(), Some(&b"$1\r\nv\r\n"[..]));
    let lines = ["GET k", "MGET stays k", "EXISTS stays k", "TTL k", "KEYS *", "SCAN 0", "DBSIZE"];
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(replica.read(&words, deadline_us), None, "{line}");
    }
    assert!(replica.read(&[b"GET", b"stays"], deadline_us).is_some());
    replica.log_time_us = deadline_us;
    replica.batch(|_| {});
    // Even by a clock that is behind: what expired stays so.
    assert_eq!(replica.read(&get, START_US).as_deref(), Some(&b"$-1\r\n"[..]));
}

fn a_sequence_is_admitted_once<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    let mut admitted = Vec::new();
    for (node, incarnation, sequence) in [(1, 7, 1), (1, 7, 1), (1, 8, 1), (2, 7, 1), (1, 7, 2)] {
        replica.batch(|backend| admitted.push(backend.admit(node, incarnation, sequence)));
    }
    assert_eq!(admitted, [true, false, true, true, true]);
    let chunks: Vec<_> = replica.backend.snapshot().collect();
    let mut copy = Replica::new(make());
    copy.restore(&chunks).expect("a whole snapshot");
    copy.batch(|backend| assert!(!backend.admit(1, 7, 2), "the snapshot remembers"));
}

fn equal_logs_make_equal_states<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let (mut one, mut two) = (Replica::new(make()), Replica::new(make()));
    for step in 0..2_000 {
        work(&mut one, step);
        work(&mut two, step);
        assert_eq!(one.reader.checkpoint(), two.reader.checkpoint(), "step {step}");
    }
    two.text("SET k other");
    one.text("SET k value");
    assert_ne!(one.reader.checkpoint().digest, two.reader.checkpoint().digest);
}

fn a_snapshot_is_the_state_when_it_was_taken<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    for step in 0..3_000 {
        work(&mut replica, step);
    }
    let then = replica.reader.checkpoint();
    let mut snapshot = replica.backend.snapshot();
    let mut chunks = Vec::new();
    for step in 3_000..6_000 {
        work(&mut replica, step);
        if step % 500 == 0 {
            chunks.extend(snapshot.next());
        }
        if step == 5_000 {
            replica.text("FLUSHALL");
        }
    }
    chunks.extend(&mut snapshot);
    assert_eq!(snapshot.next(), None);
    let mut copy = Replica::new(make());
    copy.text("SET gone with the restore");
    copy.restore(&chunks).expect("a whole snapshot");
    assert_eq!(copy.reader.checkpoint(), then);
    copy.log_time_us = then.log_time_us;
    for step in 3_000..6_000 {
        work(&mut copy, step);
        if step == 5_000 {
            copy.text("FLUSHALL");
        }
    }
    assert_eq!(copy.reader.checkpoint(), replica.reader.checkpoint());
}

fn a_damaged_snapshot_changes_nothing<B: Backend>(make: &impl Fn() -> (B, B::Reader)) {
    let mut replica = Replica::new(make());
    for step in 0..200 {
        work(&mut replica, step);
    }
    let chunks: Vec<_> = replica.backend.snapshot().collect();
    let mut other = Replica::new(make());
    other.expect("SET k v", "+OK\r\n");
    let before = other.reader.checkpoint();
    let mut refuse = |chunks: &[Vec<u8>], what: &str| {
        assert!(other.restore(chunks).is_err(), "{what}");
        assert_eq!(other.reader.checkpoint(), before, "{what}");
        assert!(other.read(&[b"GET", b"k"], START_US).is_some_and(|reply| reply == b"$1\r\nv\r\n"));
    };
    refuse(&[], "nothing");
    for index in 0..chunks.len() {
        let mut fewer = chunks.clone();
        fewer.remove(index);
        refuse(&fewer, "a chunk is missing");
        let mut twice = chunks.clone();
        twice.insert(index, chunks[index].clone());
        refuse(&twice, "a chunk comes twice");
        for at in 0..chunks[index].len() {
            let mut flipped = chunks.clone();
            flipped[index][at] ^= 1 << (at % 8);
            refuse(&flipped, "a bit is flipped");
            let mut cut = chunks.clone();
            cut[index].truncate(at);
            refuse(&cut, "a chunk is cut");
        }
    }
    other.restore(&chunks).expect("the snapshot itself is whole");
    assert_eq!(other.reader.checkpoint(), replica.reader.checkpoint());
}

/// One step of a workload that depends on its number alone: all kinds of writes on few keys, with
/// and without deadlines, in several databases.
fn work<B: Backend>(replica: &mut Replica<B>, step: u64) {
    let mixed = (step + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let (choice, key) = ((mixed >> 60) % 16, (mixed >> 32) % 97);
    replica.db = u8::try_from((mixed >> 16) % 3).expect("below 3");
    replica.advance_ms((mixed >> 8) % 8);
    let other = (key * 7 + 1) % 97;
    let line = match choice {
        0..=4 => format!("SET k{key} value-{step}"),
        5 | 6 => format!("SET k{key} v PX {}", 1 + step % 300),
        7 => format!("DEL k{key} k{other}"),
        8 => format!("RENAME k{key} k{other}"),
        9 => format!("APPEND k{key} {step}"),
        10 => format!("INCRBY n{key} {step}"),
        11 => format!("MSET k{key} {step} k{other} {step}"),
        12 => format!("PEXPIRE k{key} {}", step % 200),
        13 => format!("PERSIST k{key}"),
        14 => format!("GETEX k{key} PX 50"),
        _ if step.is_multiple_of(40) => "FLUSHDB".to_owned(),
        _ => format!("INCRBYFLOAT f{key} 0.1"),
    };
    replica.text(&line);
}

/// 2023-11-14 22:13:20 UTC.
const START_US: u64 = 1_700_000_000_000_000;
