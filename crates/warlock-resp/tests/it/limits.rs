//! Each limit at its value and one past it.

use std::iter;

use warlock_resp::{
    ProtocolError, ReplyLimits, RequestLimits, RequestParser, RequestSpans, encode_request,
};

use crate::connection::{Event, replies, requests};

const SMALL: RequestLimits = RequestLimits {
    inline_length: 100,
    arguments: 20,
    argument_length: 50_000,
    request_length: 60_000,
};

fn array(args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_request(args.iter().copied(), &mut out);
    out
}

/// The one event in `input`, whole and cut where the last byte is missing.
fn only(limits: RequestLimits, input: &[u8]) -> Event {
    let (events, _) = requests(limits, [input]);
    let (left, right) = input.split_at(input.len() - 1);
    assert_eq!(requests(limits, [left, right]).0, events);
    let [event] = &events[..] else { panic!("{} events", events.len()) };
    event.clone()
}

fn check_accepted(limits: RequestLimits, input: &[u8]) {
    let event = only(limits, input);
    assert!(matches!(event, Event::Array(_) | Event::Inline(_)), "{event:?}");
}

fn check_refused(limits: RequestLimits, input: &[u8], text: &str) {
    let event = only(limits, input);
    let Event::Failed(error) = event else { panic!("accepted") };
    assert_eq!(error.to_string(), format!("Protocol error: {text}"));
}

#[test]
fn inline_length() {
    for limits in [SMALL, RequestLimits::AUTHENTICATED, RequestLimits::UNAUTHENTICATED] {
        for end in ["\n", "\r\n"] {
            let line = |length: usize| ["x".repeat(length).as_bytes(), end.as_bytes()].concat();
            check_accepted(limits, &line(limits.inline_length));
            let text = "too big inline request";
            check_refused(limits, &line(limits.inline_length + 1), text);
        }
        // Without a line end in sight it is refused as soon as it is certain.
        let endless = vec![b'x'; limits.inline_length + 1];
        assert_eq!(requests(limits, [&endless[1..]]), (vec![], limits.inline_length));
        check_refused(limits, &endless, "too big inline request");
    }
}

#[test]
fn count_and_length_lines() {
    for limits in [SMALL, RequestLimits::AUTHENTICATED, RequestLimits::UNAUTHENTICATED] {
        for (start, invalid, too_big) in [
            ("*", "invalid multibulk length", "too big mbulk count string"),
            ("*1\r\n$", "invalid bulk length", "too big bulk count string"),
        ] {
            let line = |length: usize, end: &str| {
                let digits = "1".repeat(length - 1);
                [start, &digits, end].concat().into_bytes()
            };
            check_refused(limits, &line(limits.inline_length, "\r\n"), invalid);
            check_refused(limits, &line(limits.inline_length + 1, "\r\n"), too_big);
            let waiting = line(limits.inline_length, "");
            assert_eq!(requests(limits, [&waiting[..]]).0, []);
            check_refused(limits, &line(limits.inline_length + 1, ""), too_big);
        }
    }
}

#[test]
fn arguments() {
    let words = |count: usize| ["x"].repeat(count).join(" ") + "\n";
    let array_of = |count: usize| array(&[b"x".as_slice()].repeat(count));
    for (limits, text) in [
        (SMALL, "invalid multibulk length"),
        (RequestLimits::AUTHENTICATED, "invalid multibulk length"),
        (RequestLimits::UNAUTHENTICATED, "unauthenticated multibulk length"),
    ] {
        check_accepted(limits, &array_of(limits.arguments));
        check_refused(limits, &array_of(limits.arguments + 1), text);
        if limits.arguments < limits.inline_length / 2 {
            check_accepted(limits, words(limits.arguments).as_bytes());
            check_refused(limits, words(limits.arguments + 1).as_bytes(), text);
        }
    }
    // Redis has the other words for a count that nobody may send.
    check_refused(RequestLimits::UNAUTHENTICATED, b"*1048577\r\n", "invalid multibulk length");
}

#[test]
fn argument_length() {
    let of = |length: usize| array(&[b"ECHO", &vec![b'x'; length]]);
    check_accepted(SMALL, &of(SMALL.argument_length));
    check_refused(SMALL, &of(SMALL.argument_length + 1), "invalid bulk length");
    let limits = RequestLimits::UNAUTHENTICATED;
    check_accepted(limits, &of(limits.argument_length));
    check_refused(limits, &of(limits.argument_length + 1), "unauthenticated bulk length");
    // The default for both lengths is the same: room for what surrounds the argument is extra.
    let limits = RequestLimits { request_length: 40 << 20, ..RequestLimits::AUTHENTICATED };
    check_accepted(limits, &of(limits.argument_length));
    check_refused(limits, &of(limits.argument_length + 1), "invalid bulk length");
    let limits = RequestLimits { argument_length: 3, ..SMALL };
    check_accepted(limits, b"ECHO abc\n".get(5..).unwrap());
    check_refused(limits, b"ECHO\n", "invalid bulk length");
}

#[test]
fn request_length() {
    for limits in [SMALL, RequestLimits::UNAUTHENTICATED, RequestLimits::AUTHENTICATED] {
        // Two arguments of about half the request.
        let half = vec![b'x'; limits.request_length / 2 - 16];
        let base = array(&[&half, &half]).len();
        let longer = [half.clone(), vec![b'x'; limits.request_length - base]].concat();
        let at_limit = array(&[&half, &longer]);
        assert_eq!(at_limit.len(), limits.request_length);
        check_accepted(limits, &at_limit);
        let past_limit = array(&[&half, &[&longer[..], b"x"].concat()]);
        check_refused(limits, &past_limit, "too big request");
    }
}

#[test]
fn ceilings_hold_whatever_the_settings() {
    let limits = RequestLimits {
        inline_length: usize::MAX,
        arguments: usize::MAX,
        argument_length: usize::MAX,
        request_length: usize::MAX,
    };
    let ceiling = RequestLimits::CEILING;
    let line = |length: usize| [&vec![b'x'; length][..], b"\n"].concat();
    check_accepted(limits, &line(ceiling.inline_length));
    check_refused(limits, &line(ceiling.inline_length + 1), "too big inline request");
    let count = |count: usize| format!("*{count}\r\n").into_bytes();
    assert_eq!(requests(limits, [&count(ceiling.arguments)[..]]).0, []);
    check_refused(limits, &count(ceiling.arguments + 1), "invalid multibulk length");
    let length = |length: usize| format!("*1\r\n${length}\r\n").into_bytes();
    assert_eq!(requests(limits, [&length(ceiling.argument_length)[..]]).0, []);
    check_refused(limits, &length(ceiling.argument_length + 1), "invalid bulk length");
}

#[test]
fn a_line_limit_below_any_number_does_not_cut_numbers() {
    let limits = RequestLimits { inline_length: 1, ..SMALL };
    check_accepted(limits, b"*1\r\n$4\r\nPING\r\n");
    check_accepted(limits, b"x\r\n");
    check_refused(limits, b"xy\r\n", "too big inline request");
}

#[test]
fn announcing_much_takes_no_memory() {
    // A thousand connections that each announce 32 TiB would not fit anywhere.
    let connections: Vec<_> = iter::repeat_with(|| {
        let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
        let mut spans = RequestSpans::default();
        let input = b"*1048576\r\n$33554000\r\n";
        assert!(parser.parse(input, &mut spans).is_ok());
        (parser, spans)
    })
    .take(1000)
    .collect();
    assert_eq!(connections.len(), 1000);
}

const SMALL_REPLIES: ReplyLimits =
    ReplyLimits { line_length: 30, bulk_length: 50, values: 8, depth: 3, reply_length: 200 };

fn check_replies(accepted: &str, refused: &str, error: ProtocolError) {
    let (events, left) = replies(SMALL_REPLIES, [accepted.as_bytes()]);
    assert!(matches!(events[..], [Event::Reply(_)]), "{accepted:?}: {events:?}");
    assert_eq!(left, 0);
    let (events, _) = replies(SMALL_REPLIES, [refused.as_bytes()]);
    assert_eq!(events, [Event::Failed(error)], "{refused:?}");
}

#[test]
fn reply_lines_and_strings() {
    let line = |length: usize| format!("+{}\r\n", "x".repeat(length - 1));
    check_replies(&line(30), &line(31), ProtocolError::ReplyTooLong);
    check_replies(&line(30), &"+".repeat(31), ProtocolError::ReplyTooLong);
    for kind in ["$", "!", "="] {
        let string =
            |length: usize| format!("{kind}{length}\r\ntxt:{}\r\n", "x".repeat(length - 4));
        check_replies(&string(50), &string(51), ProtocolError::ReplyTooLong);
    }
}

#[test]
fn reply_values_and_depth() {
    let array = |count: usize| format!("*{count}\r\n{}", "_\r\n".repeat(count));
    check_replies(&array(8), &array(9), ProtocolError::ReplyTooManyValues);
    let map = |count: usize| format!("%{count}\r\n{}", "_\r\n_\r\n".repeat(count));
    check_replies(&map(4), &map(5), ProtocolError::ReplyTooManyValues);
    let nested = |depth: usize| format!("{}_\r\n", "*1\r\n".repeat(depth));
    check_replies(&nested(3), &nested(4), ProtocolError::ReplyTooDeep);
    let attributes = |count: usize| format!("{}_\r\n", "|1\r\n_\r\n_\r\n".repeat(count));
    check_replies(&attributes(4), &attributes(5), ProtocolError::ReplyTooManyValues);
    let announced = |count: u64| format!("%{count}\r\n");
    for count in [1 << 40, 1 << 62, i64::MAX.unsigned_abs()] {
        check_replies("_\r\n", &announced(count), ProtocolError::ReplyTooManyValues);
    }
}

#[test]
fn reply_length() {
    let strings = |last: usize| {
        let string = |length: usize| format!("$50\r\n{}\r\n", "x".repeat(length));
        let long = string(50);
        format!("*4\r\n{long}{long}{long}${last}\r\n{}\r\n", "x".repeat(last))
    };
    // The last line end is not counted: the values are complete without it.
    let fits = 200 - strings(10).len() + 10 + 2;
    check_replies(&strings(fits), &strings(fits + 1), ProtocolError::ReplyTooLong);
    let empty_attributes = "|0\r\n".repeat(60);
    check_replies("_\r\n", &empty_attributes, ProtocolError::ReplyTooLong);
}

#[test]
fn reply_depth_has_a_ceiling() {
    let limits = ReplyLimits { depth: usize::MAX, ..ReplyLimits::DEFAULT };
    let nested = |depth: usize| format!("{}_\r\n", "*1\r\n".repeat(depth)).into_bytes();
    let (events, _) = replies(limits, [&nested(ReplyLimits::DEPTH_CEILING)[..]]);
    assert!(matches!(events[..], [Event::Reply(_)]));
    let (events, _) = replies(limits, [&nested(ReplyLimits::DEPTH_CEILING + 1)[..]]);
    assert_eq!(events, [Event::Failed(ProtocolError::ReplyTooDeep)]);
}
