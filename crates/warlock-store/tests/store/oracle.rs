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
