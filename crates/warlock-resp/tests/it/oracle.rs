//! Agreement with `redis-protocol`, an independent implementation.
//!
//! It knows no inline requests and recurses without bound, so only arrays of strings are given to
//! it. It takes spellings of numbers that Redis refuses, so agreement is asked where both accept.

use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use warlock_resp::{Progress, RequestLimits, RequestParser, RequestSpans, Value, encode_request};

/// What the oracle makes of the first request: its arguments and length in bytes.
fn oracle_request(input: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    if !input.starts_with(b"*") || input.windows(3).any(|bytes| bytes == b"\r\n*") {
        return None;
    }
    let (OwnedFrame::Array(frames), length) = decode(input).ok()?? else {
        return None;
    };
    let args = frames.into_iter().map(|frame| match frame {
        OwnedFrame::BulkString(bytes) => Some(bytes),
        OwnedFrame::SimpleString(_) | OwnedFrame::Error(_) | OwnedFrame::Integer(_) => None,
        OwnedFrame::Array(_) | OwnedFrame::Null => None,
    });
    Some((args.collect::<Option<_>>()?, length))
}

/// What this crate makes of it.
fn own_request(input: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut spans = RequestSpans::default();
    match RequestParser::new(RequestLimits::AUTHENTICATED).parse(input, &mut spans) {
        Ok(Progress::Complete { consumed }) if !spans.is_inline() => {
            Some((spans.request(input).args().map(<[u8]>::to_vec).collect(), consumed))
        }
        Ok(Progress::Complete { .. } | Progress::Empty { .. } | Progress::Incomplete) => None,
        Err(_) => None,
    }
}

fn check_agreement(input: &[u8]) -> Result<(), TestCaseError> {
    let own = own_request(input);
    if let (Some(own), Some(oracle)) = (&own, oracle_request(input)) {
        prop_assert_eq!(own, &oracle);
    }
    // What is accepted has one encoding, so a server can store the bytes as they came.
    if let Some((args, consumed)) = own {
        let mut encoded = Vec::new();
        encode_request(args.iter().map(Vec::as_slice), &mut encoded);
        prop_assert_eq!(&encoded, &input[..consumed]);
    }
    Ok(())
}

fn without_aggregates_inside(args: &[Vec<u8>]) -> bool {
    !args.iter().any(|arg| arg.starts_with(b"*") || arg.windows(3).any(|x| x == b"\r\n*"))
}

fn oracle_value(frame: OwnedFrame) -> Value {
    match frame {
        OwnedFrame::SimpleString(bytes) => {
            Value::Simple(String::from_utf8_lossy(&bytes).into_owned())
        }
        OwnedFrame::Error(text) => Value::Error(text),
        OwnedFrame::Integer(value) => Value::Integer(value),
        OwnedFrame::BulkString(bytes) => Value::Bulk(bytes),
        OwnedFrame::Array(frames) => Value::Array(frames.into_iter().map(oracle_value).collect()),
        OwnedFrame::Null => Value::Null,
    }
}

/// Lines and strings of RESP2, many of them slightly wrong.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        4 => Just(b"$1\r\nx\r\n".to_vec()),
        2 => Just(b"$0\r\n\r\n".to_vec()),
        2 => (0..4usize).prop_map(|count| format!("*{count}\r\n").into_bytes()),
        1 => (-2..5i64).prop_map(|length| format!("${length}\r\n").into_bytes()),
        1 => any::<i64>().prop_map(|value| format!(":{value}\r\n").into_bytes()),
        1 => "[+-][ -~]{0,5}\r\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..3),
    ];
    vec(fragment, 1..8).prop_map(|fragments| fragments.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_read_valid_requests_alike(args in vec(vec(any::<u8>(), 0..30), 1..6)) {
        prop_assume!(without_aggregates_inside(&args));
        let mut input = Vec::new();
        encode_request(args.iter().map(Vec::as_slice), &mut input);
        let length = input.len();
        prop_assert_eq!(own_request(&input), Some((args.clone(), length)));
        prop_assert_eq!(oracle_request(&input), Some((args, length)));
    }

    #[test]
    fn both_read_mutated_requests_alike(
        args in vec(vec(any::<u8>(), 0..12), 1..5),
        changes in vec((any::<usize>(), prop_oneof![
            Just(b'0'), Just(b'1'), Just(b'-'), Just(b'\r'), Just(b'\n'), Just(b'$'), any::<u8>(),
        ], 0..3u8), 1..4),
    ) {
        let mut input = Vec::new();
        encode_request(args.iter().map(Vec::as_slice), &mut input);
        for (place, byte, kind) in changes {
            let place = place % input.len();
            match kind {
                0 => input[place] = byte,
                1 => input.insert(place, byte),
                _ if input.len() > 1 => drop(input.remove(place)),
                _ => {}
            }
        }
        check_agreement(&input)?;
    }

    #[test]
    fn both_read_arbitrary_bytes_alike(tail in vec(any::<u8>(), 0..64)) {
        check_agreement(&tail)?;
        check_agreement(&[b"*1\r\n", &tail[..]].concat())?;
        check_agreement(&[b"*2\r\n$1\r\n", &tail[..]].concat())?;
    }

    #[test]
    fn both_read_replies_alike(input in fragments()) {
        let mut parser = warlock_resp::ReplyParser::new(warlock_resp::ReplyLimits::DEFAULT);
        let own = parser.parse(&input);
        let oracle = decode(&input);
        if let (Ok(Some((own, consumed))), Ok(Some((oracle, length)))) = (own, oracle) {
            prop_assert_eq!(own, oracle_value(oracle));
            prop_assert_eq!(consumed, length);
        }
    }
}
