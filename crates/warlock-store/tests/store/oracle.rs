//! A real server to compare with.
#![expect(clippy::disallowed_types, reason = "the server to compare with is behind a socket")]

use std::io::{Read, Write};
use std::net::TcpStream;

use warlock_resp::{ReplyLimits, ReplyParser, Value, encode_request};

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

/// Random sums, in the words of both. Only with `WARLOCK_ORACLE`.
#[test]
fn sums_of_floats_are_those_of_a_redis_server() {
    let Some(address) = std::env::var_os("WARLOCK_ORACLE") else {
        return;
    };
    let mut oracle = Oracle::connect(address.to_str().expect("host:port"));
    let mut replica = warlock_store::conformance::Replica::new(crate::small());
    let mut random = 1u64;
    let mut draw = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (random >> 33) % limit
    };
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
            let bytes = replica.apply(&words.each_ref().map(Vec::as_slice));
            let reply = ReplyParser::new(ReplyLimits::DEFAULT).parse(&bytes).unwrap();
            let shown = reply.expect("a whole reply").0;
            assert_eq!(shown, expected, "round {round}: {old} + {increment}");
        }
    }
}
