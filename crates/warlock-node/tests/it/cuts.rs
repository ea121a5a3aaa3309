//! Replies are the same wherever the network cuts the bytes of requests.

use crate::desk::Desk;

/// What clients of all kinds send: pipelines, both forms of requests, both protocols, reads behind
/// writes, errors, and ends of connections.
const INPUTS: &[&[u8]] = &[
    b"PING\r\n*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\nSET k v\r\nGET k\r\nINCR k\r\nPING x\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n\r\n*0\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nSTRLEN k\r\n",
    b"HELLO 3\r\nMSET a 1 b 2\r\nMGET a b c\r\nGET c\r\nINCRBYFLOAT a 0.5\r\nHELLO 2\r\nGET c\r\n",
    b"SELECT 3\r\nSET k 3\r\nSELECT 0\r\nGET k\r\nSELECT 3\r\nGET k\r\nSELECT 99\r\nDBSIZE\r\n",
    b"SET k v PX 5000\r\nPTTL k\r\nPEXPIRE k 0\r\nGET k\r\nSETNX k w\r\nGETDEL k\r\nWAIT 0 0\r\n",
    b"GET\r\nNOSUCH\r\nSET k \"a\\x41\\n\" extra\r\nSET k \"a\\x41\\n\"\r\nGET k\r\nRESET\r\n",
    b"SET k 1\r\nGET k\r\nQUIT\r\nSET k 2\r\n",
    b"SET k 1\r\nQUIT\r\n*2\r\n$x\r\n",
    b"INCR n\r\n*1\r\n$4\r\nPING\r\n*x\r\nINCR n\r\n",
    b"INCR n\r\nGET \"n\r\nINCR n\r\n",
    b"SET k 1\r\nPOST / HTTP/1.1\r\nHost: here\r\n\r\nSET k 2\r\n",
];

fn replies<'a>(has_lease: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, bool) {
    let mut desk = Desk::new(has_lease);
    pieces.into_iter().for_each(|piece| desk.receive(piece));
    let (replies, is_done) = desk.end();
    (replies.escape_ascii().to_string(), is_done)
}

#[test]
fn replies_do_not_depend_on_where_requests_are_cut() {
    for input in INPUTS {
        for has_lease in [true, false] {
            let whole = replies(has_lease, [*input]);
            assert!(!whole.0.is_empty(), "{}", input.escape_ascii());
            for cut in 0..=input.len() {
                let (left, right) = input.split_at(cut);
                assert_eq!(replies(has_lease, [left, right]), whole, "cut at {cut}");
            }
            for length in [1, 2, 3, 7] {
                assert_eq!(replies(has_lease, input.chunks(length)), whole, "by {length}");
            }
        }
    }
}

#[test]
fn a_connection_that_ended_takes_nothing_more() {
    for (input, is_done) in [(INPUTS[0], false), (INPUTS[6], true), (INPUTS[8], true)] {
        assert_eq!(replies(true, [input]).1, is_done, "{}", input.escape_ascii());
    }
    let (quit, _) = replies(true, [INPUTS[6]]);
    assert_eq!(quit, "+OK\\r\\n$1\\r\\n1\\r\\n+OK\\r\\n", "nothing behind QUIT is run");
}
