//! What servers read: corpus of requests, each cut at every byte.

use warlock_resp::{ProtocolError, RequestLimits, RequestParser, RequestSpans, looks_like_http};

use crate::connection::Event::{self, Array, Empty, Failed, Inline};
use crate::connection::{however_cut, requests};

fn args(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn read(input: &[u8]) -> (Vec<Event>, usize) {
    however_cut(input, |pieces| requests(RequestLimits::AUTHENTICATED, pieces.iter().copied()))
}

fn check(input: &[u8], expected: &[Event]) {
    assert_eq!(read(input), (expected.to_vec(), 0), "{}", input.escape_ascii());
}

#[test]
fn arrays_and_inline_requests_mix_on_a_connection() {
    check(b"*1\r\n$4\r\nPING\r\n", &[Array(args(&["PING"]))]);
    check(b"PING\r\n", &[Inline(args(&["PING"]))]);
    check(b"PING\n", &[Inline(args(&["PING"]))]);
    check(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &[Array(args(&["GET", ""]))]);
    check(b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", &[Array(args(&["ECHO", "\r\n\r\n"]))]);
    check(
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\n0123456789ab\r\nGET k\r\n*1\r\n$4\r\nQUIT\r\n",
        &[
            Array(args(&["SET", "k", "0123456789ab"])),
            Inline(args(&["GET", "k"])),
            Array(args(&["QUIT"])),
        ],
    );
    check(
        b"set \"a key\" 'it\\'s'\r\n$3\r\n",
        &[Inline(args(&["set", "a key", "it's"])), Inline(args(&["$3"]))],
    );
}

#[test]
fn a_request_without_a_command_leaves_no_trace() {
    let ping = || Array(args(&["PING"]));
    check(b"*0\r\n*1\r\n$4\r\nPING\r\n", &[Empty, ping()]);
    check(b"*-1\r\n*1\r\n$4\r\nPING\r\n", &[Empty, ping()]);
    check(b"*-10\r\nPING\r\n", &[Empty, Inline(args(&["PING"]))]);
    check(b"*-9223372036854775808\r\nPING\r\n", &[Empty, Inline(args(&["PING"]))]);
    check(b"\r\n*1\r\n$4\r\nPING\r\n", &[Empty, ping()]);
    check(b"\n  \t \r\n\r\nPING\r\n", &[Empty, Empty, Empty, Inline(args(&["PING"]))]);
    check(b"\x0b\r\nPING\r\n", &[Empty, Inline(args(&["PING"]))]);
    check(
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n\r\n*-1\r\n*1\r\n$4\r\nPING\r\n*0\r\n",
        &[Array(args(&["GET", "k"])), Empty, Empty, Empty, ping(), Empty],
    );
}

#[test]
fn an_incomplete_request_waits() {
    for input in [
        "",
        "*",
        "*1",
        "*1\r",
        "*1\r\n",
        "*1\r\n$",
        "*1\r\n$4\r\nPING",
        "*1\r\n$4\r\nPING\r",
        "*1048576\r\n$33554400\r\n",
        "PING",
        "PING\r",
        "\"",
        "*1\n$4\nPING\n",
    ] {
        assert_eq!(read(input.as_bytes()).0, [], "{input:?}");
    }
}

#[test]
fn refusals_have_the_words_of_redis() {
    for (input, text) in [
        ("*x\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*1 \r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*1048577\r\n", "invalid multibulk length"),
        ("*3000000000\r\n", "invalid multibulk length"),
        ("*9223372036854775808\r\n", "invalid multibulk length"),
        ("*99999999999999999999999\r\n", "invalid multibulk length"),
        ("*1\rx", "invalid multibulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\r\n$blabla\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$-10\r\n", "invalid bulk length"),
        ("*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$2000000000\r\n", "invalid bulk length"),
        ("*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        ("*1\r\n$18446744073709551615\r\n", "invalid bulk length"),
        ("*1\r\n$3\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$4\r\nPING\rx", "invalid bulk length"),
        ("*1\r\nfoo\r\n", "expected '$', got 'f'"),
        ("*1\r\n\r\n", "expected '$', got ' '"),
        ("*1\r\n\n", "expected '$', got ' '"),
        ("*1\r\n\0\r\n", "expected '$', got '?'"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        ("set \"\"\"key\"\"\" value\r\n", "unbalanced quotes in request"),
        ("get 'k\n", "unbalanced quotes in request"),
    ] {
        let (events, _) = read(input.as_bytes());
        let [Failed(error)] = events[..] else { panic!("{input:?}: {events:?}") };
        assert_eq!(error.to_string(), format!("Protocol error: {text}"), "{input:?}");
    }
}

#[test]
fn an_error_ends_the_connection_for_good() {
    let (events, _) = read(b"PING\r\n*x\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(events, [Inline(args(&["PING"])), Failed(ProtocolError::InvalidCount)]);
}

#[test]
fn new_limits_hold_for_what_follows() {
    let input = b"*11\r\n";
    let mut spans = RequestSpans::default();
    let mut parser = RequestParser::new(RequestLimits::UNAUTHENTICATED);
    parser.set_limits(RequestLimits::AUTHENTICATED);
    assert!(parser.parse(input, &mut spans).is_ok());
    let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
    parser.set_limits(RequestLimits::UNAUTHENTICATED);
    let refusal = parser.parse(input, &mut spans);
    assert_eq!(refusal, Err(ProtocolError::UnauthenticatedCount));
}

#[test]
fn spans_without_a_request_are_empty() {
    let spans = RequestSpans::default();
    let request = spans.request(b"ignored");
    assert!(request.is_empty());
    assert_eq!(request.len(), 0);
    assert_eq!(request.name(), b"");
    assert_eq!(request.arg(0), None);
    assert_eq!(request.args().len(), 0);
}

#[test]
fn requests_of_web_browsers_are_recognised() {
    for name in ["POST", "post", "Host:", "HOST:", "host:"] {
        assert!(looks_like_http(name.as_bytes()), "{name}");
    }
    for name in ["GET", "HOST", "POSTS", "", "PING"] {
        assert!(!looks_like_http(name.as_bytes()), "{name}");
    }
}
