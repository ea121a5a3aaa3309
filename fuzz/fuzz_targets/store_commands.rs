//! Any commands, in any order, at any log time: no panic, two replicas come to the same state with
//! the same replies, a reader sees what the log says, and a snapshot is the state as it was.
//!
//! The data is a program: see [`Program`]. The second replica is one that caught up: now and then
//! it is replaced by what a snapshot of the first one holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warlock_resp::{Protocol, ReplyWriter};
use warlock_store::conformance::with_request;
use warlock_store::{
    Applier, COMMANDS, Class, CommandId, CommandSpec, Options, ReadOutcome, Reader, SnapshotStream,
};

fuzz_target!(|data: &[u8]| {
    let mut program = Program { bytes: data };
    let mut world = World::new();
    while let Some(step) = program.byte() {
        match step % 16 {
            0 => world.log_time_us += u64::from(program.byte().unwrap_or(0)) * 20_000,
            1 => world.log_time_us += u64::from(program.byte().unwrap_or(0)) * 3_600_000_000,
            2 => world.db = program.byte().unwrap_or(0) % 17,
            3 => world.admit(program.byte().unwrap_or(0)),
            4 => world.begin_snapshot(),
            5 => world.end_snapshot(),
            6 => world.catch_up(),
            _ => {
                let protocol = if step & 16 == 0 { Protocol::Resp2 } else { Protocol::Resp3 };
                let (spec, words) = program.command();
                world.command(spec, &words, protocol);
            }
        }
    }
    world.end_snapshot();
});

/// Reads steps and commands out of the data.
struct Program<'a> {
    bytes: &'a [u8],
}

impl Program<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.bytes.split_off_first().copied()
    }

    /// A command of the table with as many words as the data says, right or wrong.
    fn command(&mut self) -> (&'static CommandSpec, Vec<Vec<u8>>) {
        let number = usize::from(self.byte().unwrap_or(0)) % COMMANDS.len();
        let spec = &COMMANDS[number];
        let count = usize::from(self.byte().unwrap_or(0) % 7);
        let mut words = vec![spec.name.as_bytes().to_vec()];
        words.extend((0..count).map(|_| self.word()));
        (spec, words)
    }

    fn word(&mut self) -> Vec<u8> {
        let kind = self.byte().unwrap_or(0);
        match kind % 8 {
            0..=2 => format!("key{}", kind / 8 % 6).into_bytes(),
            3 => TOKENS[usize::from(kind / 8) % TOKENS.len()].as_bytes().to_vec(),
            4 => NUMBERS[usize::from(kind / 8) % NUMBERS.len()].as_bytes().to_vec(),
            5 => i64::from(self.byte().unwrap_or(0).cast_signed()).to_string().into_bytes(),
            _ => {
                let length = usize::from(kind / 8).min(self.bytes.len());
                let (word, rest) = self.bytes.split_at(length);
                self.bytes = rest;
                word.to_vec()
            }
        }
    }
}

/// Two replicas that apply the same log.
struct World {
    first: (Applier, Reader),
    second: (Applier, Reader),
    log_time_us: u64,
    db: u8,
    /// A snapshot that nobody has read yet, and the digest when it was taken.
    snapshot: Option<(SnapshotStream, u64)>,
}

impl World {
    fn new() -> Self {
        let log_time_us = 1_700_000_000_000_000;
        Self { first: empty(), second: empty(), log_time_us, db: 0, snapshot: None }
    }

    fn begin_batch(&mut self) {
        let slot = self.first.1.checkpoint().next_slot;
        for (applier, _) in [&mut self.first, &mut self.second] {
            applier.begin_batch(slot, self.log_time_us, slot.wrapping_mul(77));
        }
    }

    fn end_batch(&mut self) {
        self.first.0.end_batch();
        self.second.0.end_batch();
        let (first, second) = (&self.first, &self.second);
        assert_eq!(first.1.checkpoint(), second.1.checkpoint(), "replicas differ");
        assert_eq!(first.0.next_deadline_us(), second.0.next_deadline_us());
        assert_eq!(first.1.keys(0), second.1.keys(0));
    }

    fn admit(&mut self, byte: u8) {
        let (node, sequence) = (u16::from(byte % 3), u64::from(byte / 3));
        self.begin_batch();
        let admitted = self.first.0.admit(node, 9, sequence);
        assert_eq!(self.second.0.admit(node, 9, sequence), admitted);
        assert!(!self.first.0.admit(node, 9, sequence), "admitted twice");
        self.end_batch();
    }

    fn command(&mut self, spec: &CommandSpec, words: &[Vec<u8>], protocol: Protocol) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let db = self.db;
        self.begin_batch();
        let replies = [&mut self.first, &mut self.second].map(|(applier, _)| {
            let mut out = Vec::new();
            let mut reply = ReplyWriter::new(&mut out, protocol);
            with_request(&words, |request| applier.apply(db, request, &mut reply));
            out
        });
        self.end_batch();
        assert!(!replies[0].is_empty(), "a command without a reply");
        assert_eq!(replies[0], replies[1], "replies differ");
        let is_repeatable = spec.class == Class::Read && spec.id != CommandId::RandomKey;
        if is_repeatable && db < 16 {
            assert_eq!(self.read(&words, protocol), replies[0], "the reader sees something else");
        }
    }

    fn read(&self, words: &[&[u8]], protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = ReplyWriter::new(&mut out, protocol);
        let reader = &self.first.1;
        let outcome = with_request(words, |request| {
            reader.read(self.db, request, self.log_time_us, &mut reply)
        });
        assert_eq!(outcome, ReadOutcome::Done, "in limbo at log time");
        out
    }

    fn begin_snapshot(&mut self) {
        self.end_snapshot();
        let digest = self.first.1.checkpoint().digest;
        self.snapshot = Some((self.first.0.snapshot(), digest));
    }

    /// Replaces the second replica by one that took in a snapshot of the first.
    fn catch_up(&mut self) {
        self.end_snapshot();
        self.second = restored(self.first.0.snapshot());
    }

    fn end_snapshot(&mut self) {
        let Some((stream, digest)) = self.snapshot.take() else { return };
        let (_, reader) = restored(stream);
        assert_eq!(reader.checkpoint().digest, digest, "not the state when it was taken");
    }
}

fn empty() -> (Applier, Reader) {
    warlock_store::new(Options { hash_seed: 42, shards: 4 })
}

/// A replica that took in a snapshot.
fn restored(stream: SnapshotStream) -> (Applier, Reader) {
    let (mut applier, reader) = empty();
    applier.begin_restore();
    for chunk in stream {
        applier.restore_chunk(&chunk).expect("a replica wrote it");
    }
    applier.finish_restore().expect("a replica wrote it");
    (applier, reader)
}

/// Words that commands know.
const TOKENS: &[&str] = &[
    "EX", "PX", "EXAT", "PXAT", "NX", "XX", "GT", "LT", "KEEPTTL", "PERSIST", "GET", "IFEQ",
    "IFNE", "MATCH", "COUNT", "TYPE", "ASYNC", "SYNC", "string", "*", "key[0-3]", "k?y*", "[^a-z]",
    "ex", "Nx", "\\*", "[z-a]", "[", "**y*",
];

/// Numbers at which something happens.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "10",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1700000001",
    "1700000000500",
    "1.5",
    "-0.25",
    "1e308",
    "-1e308",
    "3.0e-5",
    "nan",
    "inf",
    "-inf",
    "00",
    "+1",
    " 1",
    "1 ",
    "0x10",
    "17179869184",
    "18446744073709551615",
    "1e400",
    "",
    "-0",
];
