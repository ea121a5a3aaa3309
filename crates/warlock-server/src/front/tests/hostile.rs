//! What strangers send. Each attack is named after where it was seen.

use super::*;

/// A connection that leaves with a reset instead of a farewell.
fn reset(client: Client) {
    rustix::net::sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO)).unwrap();
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

/// CVE-2021-32675: announcing much costs nothing.
#[test]
fn announced_lengths_take_no_memory() {
    let node = Node::master();
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    // Both ends of each connection are files of this process.
    let many = files.map_or(10_000, |files| files.saturating_sub(512) / 2).clamp(50, 10_000);
    let before = resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..many {
        let mut client = node.client();
        client.send("*1048576\r\n$30000000\r\n");
        clients.push(client);
    }
    let many_open = usize::try_from(many).unwrap();
    node.wait_until("all are open", |shared| shared.connections.load(Ordering::Relaxed) == many);
    // Every worker has been past what was sent.
    for _ in 0..4 {
        node.client().send("PING\r\n").expect("+PONG\r\n");
    }
    let grown = resident_bytes().saturating_sub(before);
    let each = grown / many_open;
    assert!(each < 16 * 1024, "{each} bytes for each of {many} hostile connections");
    let mut oversized = node.client();
    oversized.send("*1048577\r\n");
    oversized.expect("-ERR Protocol error: invalid multibulk length\r\n").expect_end();
    let mut oversized = node.client();
    oversized.send("*2\r\n$536870913\r\n");
    oversized.expect("-ERR Protocol error: invalid bulk length\r\n").expect_end();
}

/// CVE-2025-48367: clients that vanish while they are accepted.
#[test]
fn resets_during_accept_do_not_stop_the_loop() {
    let node = Node::master();
    for _ in 0..500 {
        reset(node.client());
    }
    for _ in 0..4 {
        node.client().send("PING\r\n").expect("+PONG\r\n");
    }
    node.wait_until("all resets are noticed", |shared| {
        shared.connections.load(Ordering::Relaxed) == 0
    });
}

/// A reset with commands in flight: replies for nobody harm nobody.
#[test]
fn a_reset_in_the_middle_of_everything() {
    let node = Node::with_workers(Limits::DEFAULT, 1);
    let closed = || {
        node.wait_until("the connection is closed", |shared| {
            shared.connections.load(Ordering::Relaxed) == 0
        });
    };
    node.core(|core| {
        core.hold_writes = true;
        core.hold_tickets = true;
    });
    let mut client = node.client();
    client.send(pipeline(&["SET k v", "GET k", "INCR n"]));
    node.wait_for("the writes", |core| core.commands == 3);
    reset(client);
    closed();
    node.drop_lease();
    let mut client = node.client();
    client.send(pipeline(&["GET k"]));
    node.wait_for("the ticket", |core| core.tickets.len() == 1);
    reset(client);
    closed();
    // A newcomer, now in the same place, must not get their replies.
    let mut newcomer = node.client();
    newcomer.send(pipeline(&["INCR n", "GET k"]));
    node.wait_for("the newcomer's write", |core| core.commands == 4);
    node.release();
    newcomer.expect(":2\r\n$1\r\nv\r\n");
}

/// CVE-2026-27623: empty requests leave no state behind.
#[test]
fn empty_requests_leave_nothing_behind() {
    let node = Node::master();
    for empty in ["*0\r\n", "*-1\r\n", "\r\n", "\n", " \r\n", "*0\r\n\r\n*-1\r\n"] {
        let input = format!("{empty}PING\r\n{empty}*1\r\n$4\r\nPING\r\n{empty}{empty}PING\r\n");
        for cut in 1..input.len() {
            let mut client = node.client();
            client.send(&input.as_bytes()[..cut]).send(&input.as_bytes()[cut..]);
            client.expect("+PONG\r\n+PONG\r\n+PONG\r\n");
        }
    }
}

/// CVE-2025-67733: a line end in an error would start a reply that nobody sent.
#[test]
fn no_error_carries_a_line_end() {
    let node = Node::master();
    let evil = "x\r\n+OK\r\n$3\r\nfoo\r\n";
    let commands: [&[&str]; 8] = [
        &[evil],
        &[evil, evil, evil],
        &["CLIENT", evil],
        &["CLIENT", "SETINFO", evil, "x"],
        &["CLIENT", "LIST", "TYPE", evil],
        &["HELLO", "3", evil],
        &["CONFIG", evil],
        &["WARLOCK", evil],
    ];
    for words in commands {
        let mut client = node.client();
        client.send(request(words)).send("PING\r\n");
        let error = client.line();
        assert!(error.starts_with('-'), "{error}");
        client.expect("+PONG\r\n");
    }
}

/// Cross-protocol attacks of 2016: a browser is made to talk to the port.
#[test]
fn http_is_cut_off_without_a_reply() {
    let node = Node::master();
    for head in [
        "POST / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\n",
        "PUT /x HTTP/1.1\r\n",
        "Host: localhost:6379\r\n",
    ] {
        let mut client = node.client();
        client.send(format!("{head}Content-Length: 30\r\n\r\nSET k evil\r\n")).expect_end();
    }
    node.client().send(pipeline(&["GET k"])).expect("$-1\r\n");
    assert_eq!(node.core(|core| core.commands), 0);
    // A key may have any name.
    node.client().send(pipeline(&["GET HTTP/1.1"])).expect("$-1\r\n");
}

#[test]
fn http_behind_held_reads_is_cut_off_as_well() {
    let node = Node::follower();
    node.core(|core| core.hold_tickets = true);
    let mut client = node.client();
    client.send(pipeline(&["GET k", "PING"])).send("POST / HTTP/1.1\r\n");
    client.expect_end();
    node.wait_until("the connection is closed", |shared| {
        shared.connections.load(Ordering::Relaxed) == 0
    });
    node.release();
    node.hold_lease();
    node.client().send(pipeline(&["GET k"])).expect("$-1\r\n");
}

/// Bytes without sense, from a fixed sequence: an answer or the end, never a hang or a crash.
#[test]
fn noise_is_refused() {
    let node = Node::master();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for length in 1..200 {
        let mut noise = Vec::new();
        for _ in 0..length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.push(state.to_le_bytes()[3]);
        }
        noise.extend_from_slice(b"\r\nQUIT\r\n");
        let mut client = node.client();
        client.send(noise);
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        if let Err(error) = client.stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    node.client().send("PING\r\n").expect("+PONG\r\n");
}
