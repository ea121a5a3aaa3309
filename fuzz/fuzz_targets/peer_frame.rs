//! A connection from a hostile or damaged peer: no panic, the same however the network cuts the
//! bytes, and what was understood is framed again as a frame that says the same.
//!
//! The first two bytes of the data choose what the rest is, and the cut: the connection as it is,
//! or payloads (a length byte each) that get their right heads here, because a fuzzer does not
//! guess checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warlock_paxos::{MESSAGE_VERSION, Message};

use peer::frame::{FrameBuffer, FrameError, encode};

// The sources and not the crate, so that no executor and no web framework is built for them.
#[path = "../../crates/warlock-server/src/peer"]
#[expect(dead_code, reason = "the server uses more of them")]
mod peer {
    pub mod frame;
    mod limits;
}

fuzz_target!(|data: &[u8]| {
    let [selector, step, input @ ..] = data else { return };
    let framed = if selector % 2 == 0 { input.to_vec() } else { with_heads(input) };
    let whole = read([framed.as_slice()]);
    let (left, right) = framed.split_at(usize::from(*step) % (framed.len() + 1));
    assert_eq!(read([left, right]), whole);
    assert_eq!(read(framed.chunks(usize::from(*step % 16) + 1)), whole);
    for message in &whole.0 {
        let bytes = encode(MESSAGE_VERSION, message).expect("what came in a frame fits into one");
        assert_eq!(read([bytes.as_ref()]), (vec![message.clone()], None, true));
    }
});

type Outcome = (Vec<Message>, Option<FrameError>, bool);

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut buffer = FrameBuffer::new();
    let mut messages = Vec::new();
    for piece in pieces {
        buffer.space().extend_from_slice(piece);
        loop {
            match buffer.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error), false),
            }
        }
    }
    (messages, None, buffer.is_empty())
}

fn with_heads(mut input: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    while let [length, rest @ ..] = input {
        let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let length = u32::try_from(payload.len()).expect("a length byte").to_le_bytes();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), payload);
        framed.extend_from_slice(&length);
        framed.extend_from_slice(&checksum.to_le_bytes());
        framed.extend_from_slice(payload);
        input = rest;
    }
    framed
}
