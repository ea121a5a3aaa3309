//! Requests from a hostile client: no panic, the same however the network cuts the bytes, one
//! encoding for what is accepted, and agreement with an independent parser where both accept.
//!
//! The first two bytes of the data choose the limits and the cut; the rest is the connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use warlock_resp::{
    Progress, ProtocolError, RequestLimits, RequestParser, RequestSpans, encode_request,
};

/// What the parser made of one request, and its bytes.
#[derive(PartialEq, Debug)]
struct Seen {
    args: Vec<Vec<u8>>,
    inline: bool,
    bytes: Vec<u8>,
}

type Outcome = (Vec<Seen>, Option<ProtocolError>, usize);

fuzz_target!(|data: &[u8]| {
    let [selector, step, input @ ..] = data else { return };
    let limits = match selector % 3 {
        0 => RequestLimits::AUTHENTICATED,
        1 => RequestLimits::UNAUTHENTICATED,
        _ => SMALL,
    };
    let whole = read(limits, [input]);
    let cut = usize::from(*step) % (input.len() + 1);
    let (left, right) = input.split_at(cut);
    assert_eq!(read(limits, [left, right]), whole);
    assert_eq!(read(limits, input.chunks(usize::from(*step % 8) + 1)), whole);
    for seen in &whole.0 {
        check_limits(&limits, seen);
        if !seen.inline && !seen.args.is_empty() {
            check_encoding(seen);
        }
    }
});

fn read<'a>(limits: RequestLimits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut parser = RequestParser::new(limits);
    let mut spans = RequestSpans::default();
    let mut buffer = Vec::new();
    let mut seen = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let (consumed, empty) = match parser.parse(&buffer, &mut spans) {
                Ok(Progress::Incomplete) => break,
                Ok(Progress::Empty { consumed }) => (consumed, true),
                Ok(Progress::Complete { consumed }) => (consumed, false),
                Err(error) => return (seen, Some(error), 0),
            };
            assert!(consumed > 0);
            let request = spans.request(&buffer);
            assert_eq!(request.is_empty(), empty);
            seen.push(Seen {
                args: request.args().map(<[u8]>::to_vec).collect(),
                inline: spans.is_inline(),
                bytes: buffer.drain(..consumed).collect(),
            });
        }
    }
    (seen, None, buffer.len())
}

fn check_limits(limits: &RequestLimits, seen: &Seen) {
    assert!(seen.args.len() <= limits.arguments);
    assert!(seen.args.iter().all(|arg| arg.len() <= limits.argument_length));
    assert!(seen.bytes.len() <= limits.request_length + 2);
    assert!(!seen.inline || seen.bytes.len() <= limits.inline_length + 2);
}

fn check_encoding(seen: &Seen) {
    let mut encoded = Vec::new();
    encode_request(seen.args.iter().map(Vec::as_slice), &mut encoded);
    assert_eq!(encoded, seen.bytes);
    // The bytes are an array of strings now, so the oracle cannot recurse.
    let (frame, length) = decode(&seen.bytes).expect("valid").expect("complete");
    assert_eq!(length, seen.bytes.len());
    let OwnedFrame::Array(frames) = frame else { panic!("{frame:?}") };
    let args = seen.args.iter().cloned().map(OwnedFrame::BulkString);
    assert_eq!(frames, args.collect::<Vec<_>>());
}

/// Limits that short inputs reach.
const SMALL: RequestLimits =
    RequestLimits { inline_length: 24, arguments: 3, argument_length: 12, request_length: 40 };
