//! Every limit holds at its value and bites one past it.

use super::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[test]
fn one_connection_more_than_the_limit_is_refused() {
    let node = Node::with_limits(Limits { connections: 3, ..Limits::DEFAULT });
    let mut clients: Vec<_> = (0..3).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send("PING\r\n").expect("+PONG\r\n");
    }
    node.client().expect("-ERR max number of clients reached\r\n").expect_end();
    drop(clients.pop());
    node.wait_until("there is room again", |shared| {
        shared.connections.load(Ordering::Relaxed) == 2
    });
    node.client().send("PING\r\n").expect("+PONG\r\n");
}

#[test]
fn a_request_of_the_permitted_length_passes_and_one_longer_is_a_protocol_error() {
    let mut limits = Limits::DEFAULT;
    limits.request.argument_length = 100;
    let node = Node::with_limits(limits);
    let mut client = node.client();
    client.send(request(&["ECHO", &"x".repeat(100)])).expect("$100\r\n").expect("x".repeat(100));
    client.expect("\r\n");
    client.send(request(&["ECHO", &"x".repeat(101)]));
    client.expect("-ERR Protocol error: invalid bulk length\r\n").expect_end();
    let mut limits = Limits::DEFAULT;
    limits.request.arguments = 3;
    let node = Node::with_limits(limits);
    let mut client = node.client();
    client.send(request(&["EXISTS", "a", "b"])).expect(":0\r\n");
    client.send(request(&["EXISTS", "a", "b", "c"]));
    client.expect("-ERR Protocol error: invalid multibulk length\r\n").expect_end();
}

#[test]
fn a_protocol_error_waits_for_the_replies_before_it() {
    for node in [Node::master(), Node::follower()] {
        node.core(|core| core.hold_writes = true);
        let mut client = node.client();
        let mut input = pipeline(&["SET k v", "GET k"]);
        input.extend_from_slice(b"*1\r\n!3\r\nfoo\r\n");
        client.send(input);
        node.wait_for("the write", |core| core.commands == 1);
        node.release();
        client.expect("+OK\r\n$1\r\nv\r\n-ERR Protocol error: expected '$', got '!'\r\n");
        client.expect_end();
    }
}

#[test]
fn a_pipeline_deeper_than_the_limit_waits_outside() {
    let node = Node::with_limits(Limits { pipeline_depth: 10, ..Limits::DEFAULT });
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["INCR k"]).repeat(11));
    node.wait_for("as many as the limit", |core| core.commands == 10);
    node.client().send("PING\r\n").expect("+PONG\r\n");
    node.client().send("PING\r\n").expect("+PONG\r\n");
    assert_eq!(node.core(|core| core.commands), 10);
    node.release();
    for number in 1..=11 {
        client.expect(format!(":{number}\r\n"));
    }
}

#[test]
fn held_commands_count_as_well() {
    let node = Node::with_limits(Limits { pipeline_depth: 10, ..Limits::DEFAULT });
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["SET k v"])).send(pipeline(&["PING"]).repeat(9));
    client.send(pipeline(&["SET k w"]));
    node.wait_for("the first write", |core| core.commands == 1);
    node.release();
    client.expect("+OK\r\n").expect("+PONG\r\n".repeat(9)).expect("+OK\r\n");
}

#[test]
fn bytes_in_flight_are_limited_however_few_the_commands() {
    let limits = Limits { pipeline_bytes: 64 * KIB, ..Limits::DEFAULT };
    let node = Node::with_limits(limits);
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    let value = "x".repeat(20 * KIB);
    let mut sender = client.stream.try_clone().unwrap();
    let input = request(&["SET", "k", &value]).repeat(100);
    let sending = std::thread::spawn(move || sender.write_all(&input).unwrap());
    node.wait_for("the limit", |core| core.commands == 4);
    node.client().send("PING\r\n").expect("+PONG\r\n");
    node.client().send("PING\r\n").expect("+PONG\r\n");
    assert_eq!(node.core(|core| core.commands), 4, "a fifth command passed the limit");
    node.release();
    client.expect("+OK\r\n".repeat(100));
    sending.join().unwrap();
}

#[test]
fn bytes_in_flight_of_all_connections_are_limited() {
    let limits = Limits { in_flight_total: 128 * KIB, ..Limits::DEFAULT };
    let node = Node::with_workers(limits, 1);
    node.core(|core| core.hold_writes = true);
    let mut clients: Vec<_> = (0..3).map(|_| node.client()).collect();
    for client in &mut clients {
        client.send(request(&["SET", "k", &"x".repeat(20 * KIB)]).repeat(4));
    }
    node.wait_for("the limit", |core| core.commands >= 7);
    assert_eq!(node.core(|core| core.commands), 7);
    node.core(|core| {
        for ask in std::mem::take(&mut core.held) {
            core.answer(ask);
        }
    });
    node.wait_for("the rest", |core| core.commands == 12);
    node.release();
    for client in &mut clients {
        client.expect("+OK\r\n".repeat(4));
    }
}

#[test]
fn a_flood_of_a_client_that_left_is_over() {
    let limits = Limits { in_flight_total: 64 * KIB, ..Limits::DEFAULT };
    let node = Node::with_workers(limits, 1);
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(request(&["SET", "k", &"x".repeat(64 * KIB)]));
    node.wait_for("the limit", |core| core.commands == 1);
    let mut other = node.client();
    other.send("PING\r\n");
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    node.release();
    other.expect("+PONG\r\n");
}

#[test]
fn a_client_that_does_not_read_is_not_read_either() {
    let limits = Limits { output_soft: MIB, output_hard: 8 * MIB, ..Limits::DEFAULT };
    let node = Node::with_limits(limits);
    let mut client = node.client();
    let value = "x".repeat(512 * KIB);
    client.send(request(&["SET", "k", &value])).expect("+OK\r\n");
    // Far more than the sockets of both sides hold.
    client.send(pipeline(&["GET k"]).repeat(200));
    let mut other = node.client();
    let deadline = Deadline::now() + PATIENCE;
    let mut last = 0;
    loop {
        // Settled when two looks, many turns of the workers apart, see the same.
        for _ in 0..10 {
            other.send(pipeline(&["ECHO x"])).expect("$1\r\nx\r\n");
        }
        let now = most_unsent(&mut other);
        if now == last && now > 0 {
            break;
        }
        last = now;
        assert!(Deadline::now() < deadline, "never settles; {now} bytes are unsent");
    }
    assert!(last < 2 * MIB, "{last} bytes of replies are held");
    // It reads after all, and misses nothing.
    let reply = format!("${}\r\n{value}\r\n", value.len());
    for _ in 0..200 {
        client.expect(&reply);
    }
}

/// The most that any connection has unsent, as `CLIENT LIST` shows it.
fn most_unsent(client: &mut Client) -> usize {
    let list = client.send(pipeline(&["CLIENT LIST"])).text();
    let outputs = list.split(" omem=").skip(1).map(|rest| rest.split(' ').next().unwrap());
    outputs.map(|text| text.parse::<usize>().unwrap()).max().unwrap_or(0)
}

#[test]
fn replies_past_the_hard_limit_close_the_connection() {
    let limits = Limits { output_soft: 64 * KIB, output_hard: 16 * MIB, ..Limits::DEFAULT };
    let node = Node::with_limits(limits);
    let mut client = node.client();
    let value = "x".repeat(MIB);
    client.send(request(&["SET", "k", &value])).expect("+OK\r\n");
    // Writes with large replies: all are in flight before the first reply is there.
    node.core(|core| core.hold_writes = true);
    client.send(pipeline(&["GETEX k PERSIST"]).repeat(64));
    node.wait_for("all in flight", |core| core.commands == 65);
    node.release();
    node.wait_until("the connection is closed", |shared| {
        shared.connections.load(Ordering::Relaxed) == 0
    });
}

#[test]
fn a_stalled_client_is_closed_after_a_while() {
    let limits =
        Limits { output_soft: 64 * KIB, output_stall: Span::from_millis(200), ..Limits::DEFAULT };
    let node = Node::with_limits(limits);
    let mut client = node.client();
    let value = "x".repeat(MIB);
    client.send(request(&["SET", "k", &value])).expect("+OK\r\n");
    client.send(pipeline(&["GET k"]).repeat(64));
    node.wait_until("the connection is closed", |shared| {
        shared.connections.load(Ordering::Relaxed) == 0
    });
}

#[test]
fn an_idle_client_is_closed_if_the_limit_says_so() {
    let node = Node::with_limits(Limits { idle: Some(Span::from_millis(100)), ..Limits::DEFAULT });
    let mut idle = node.client();
    idle.send("PING\r\n").expect("+PONG\r\n").expect_end();
    // One that waits for a reply is not idle.
    node.core(|core| core.hold_waits = true);
    let mut waiting = node.client();
    waiting.send(pipeline(&["WAIT 1 0"]));
    node.wait_for("the wait", |core| core.waits == 1);
    node.client().expect_end();
    node.release();
    waiting.expect(":1\r\n");
}
