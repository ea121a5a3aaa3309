//! A real server to compare with.
#![expect(clippy::disallowed_types, reason = "the server to compare with is behind a socket")]

use std::io::{Read, Write};
use std::net::TcpStream;

use warlock_resp::{ReplyLimits, ReplyParser, Value, encode_request};
use warlock_store::Applier;
use warlock_store::conformance::Replica;

use crate::transcripts::Server;

pub(crate) struct Oracle {
    stream: TcpStream,
    input: Vec<u8>,
    parser: ReplyParser,
}

impl Oracle {
    /// Connects, and empties the server.
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("WARLOCK_ORACLE names a server");
        let parser = ReplyParser::new(ReplyLimits::DEFAULT);
        let mut oracle = Self { stream, input: Vec::new(), parser };
        let emptied = oracle.command(&[b"FLUSHALL".to_vec()]);
        assert_eq!(emptied, Value::Simple("OK".to_owned()));
        oracle
    }
}

impl Server for Oracle {
    const IS_WARLOCK: bool = false;

    fn command(&mut self, words: &[Vec<u8>]) -> Value {
        let mut bytes = Vec::new();
        encode_request(words.iter().map(Vec::as_slice), &mut bytes);
        self.stream.write_all(&bytes).unwrap();
        loop {
            if let Some((value, length)) = self.parser.parse(&self.input).unwrap() {
                self.input.drain(..length);
                return value;
            }
            let mut chunk = [0; 4096];
            let length = self.stream.read(&mut chunk).unwrap();
            assert!(length > 0, "the server hung up on {words:?}");
            self.input.extend_from_slice(&chunk[..length]);
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
        let words = ["DEBUG", "SLEEP", &seconds].map(|word| word.as_bytes().to_vec());
        let slept = self.command(&words);
        assert_eq!(slept, Value::Simple("OK".to_owned()), "DEBUG must be enabled");
    }
}

/// Compares random sums of floats with those of the server.
pub(crate) fn compare_sums(oracle: &mut Oracle) {
    let mut replica = Replica::new(crate::small());
    let mut draw = draws();
    for round in 0..20_000 {
        let mut number = || {
            let sign = ["", "-"][usize::from(draw(2) == 0)];
            let (integer, fraction) = (draw(1 << 31) >> draw(31), draw(1 << 31) >> draw(31));
            let exponent = match draw(3) {
                0 => format!("e{}", i64::try_from(draw(60)).unwrap() - 30),
                _ => String::new(),
            };
            format!("{sign}{integer}.{fraction}{exponent}")
        };
        let (old, increment) = (number(), number());
        for words in [["SET", "f", &old], ["INCRBYFLOAT", "f", &increment]] {
            let words = words.map(|word| word.as_bytes().to_vec());
            let expected = oracle.command(&words);
            let shown = own(&mut replica, &words);
            assert_eq!(shown, expected, "round {round}: {old} + {increment}");
        }
    }
}

/// Compares what random patterns match with what they match there.
pub(crate) fn compare_patterns(oracle: &mut Oracle) {
    let mut replica = Replica::new(crate::small());
    let mut draw = draws();
    let mut word = |length: u64| -> Vec<u8> {
        let letters = b"abc*?[]\\^-";
        let length = draw(length);
        (0..length).map(|_| letters[usize::try_from(draw(letters.len() as u64)).unwrap()]).collect()
    };
    for _ in 0..200 {
        // There, no pattern but `*` alone and the empty one matches the empty key.
        let key = [word(4), b"a".to_vec()].concat();
        let words = [b"SET".to_vec(), key, b"v".to_vec()];
        assert_eq!(own(&mut replica, &words), oracle.command(&words));
    }
    for _ in 0..20_000 {
        let words = [b"KEYS".to_vec(), word(9)];
        let keys = |value: Value| {
            let Value::Array(mut keys) = value else { panic!("{value:?}") };
            keys.sort_by_key(|key| format!("{key:?}"));
            keys
        };
        let (shown, expected) = (own(&mut replica, &words), oracle.command(&words));
        assert_eq!(keys(shown), keys(expected), "{}", words[1].escape_ascii());
    }
}

fn own(replica: &mut Replica<Applier>, words: &[Vec<u8>]) -> Value {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let bytes = replica.apply(&words);
    let reply = ReplyParser::new(ReplyLimits::DEFAULT).parse(&bytes).unwrap();
    reply.expect("a whole reply").0
}

/// Numbers below the limits that it is called with, always the same.
fn draws() -> impl FnMut(u64) -> u64 {
    let mut random = 1u64;
    move |limit| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (random >> 33) % limit
    }
}
