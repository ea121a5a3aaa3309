//! Replies leave in the order of the commands, whatever path each command takes.

use super::*;

#[test]
fn mixed_pipelines_are_answered_in_order() {
    for node in [Node::master(), Node::follower()] {
        let mut client = node.client();
        client
            .send(pipeline(&[
                "SET k 1",
                "GET k",
                "PING",
                "INCR k",
                "GET k",
                "SELECT 1",
                "GET k",
                "SET k other",
                "GET k",
                "SELECT 0",
                "NOSUCH",
                "GET k",
                "SET",
                "DEL k",
                "GET k",
                "ECHO end",
            ]))
            .expect("+OK\r\n$1\r\n1\r\n+PONG\r\n:2\r\n$1\r\n2\r\n+OK\r\n$-1\r\n+OK\r\n")
            .expect("$5\r\nother\r\n+OK\r\n")
            .expect("-ERR unknown command 'NOSUCH', with args beginning with: \r\n")
            .expect("$1\r\n2\r\n-ERR wrong number of arguments for 'set' command\r\n:1\r\n$-1\r\n")
            .expect("$3\r\nend\r\n");
    }
}

#[test]
fn input_may_be_cut_at_every_byte() {
    let node = Node::master();
    let input = pipeline(&["SET k v", "GET k", "PING", "INCR n", "GET n", "DEL k n"]);
    let expected = "+OK\r\n$1\r\nv\r\n+PONG\r\n:1\r\n$1\r\n1\r\n:2\r\n";
    for cut in 1..input.len() {
        let mut client = node.client();
        client.send(&input[..cut]);
        // The other half must come in a read of its own: another connection shows that the
        // worker has been past the first half.
        for _ in 0..2 {
            node.client().send("PING\r\n").expect("+PONG\r\n");
        }
        client.send(&input[cut..]).expect(expected);
    }
    let mut client = node.client();
    for byte in &input {
        client.send([*byte]);
    }
    client.expect(expected);
}

#[test]
fn a_thousand_pipelined_commands_of_each_kind() {
    for node in [Node::master(), Node::follower()] {
        let mut client = node.client();
        let (mut input, mut expected) = (Vec::new(), String::new());
        for number in 1..=1000 {
            input.extend(pipeline(&["INCR n"]));
            expected += &format!(":{number}\r\n");
        }
        client.send(&input).expect(&expected);
        client.send(pipeline(&["GET n"]).repeat(1000)).expect("$4\r\n1000\r\n".repeat(1000));
        client.send("PING\r\n".repeat(1000)).expect("+PONG\r\n".repeat(1000));
        let (mut input, mut expected) = (Vec::new(), String::new());
        for number in 1001..=2000 {
            input.extend(pipeline(&["INCR n", "GET n"]));
            expected += &format!(":{number}\r\n$4\r\n{number}\r\n");
        }
        client.send(&input).expect(&expected);
    }
}

#[test]
fn a_read_behind_a_write_waits_for_it() {
    let node = Node::master();
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["SET k v", "GET k", "PING"]));
    node.wait_for("the write is asked", |core| core.commands == 1);
    // Another connection does not wait, and sees the state before the write.
    node.client().send(pipeline(&["GET k", "PING"])).expect("$-1\r\n+PONG\r\n");
    node.release();
    client.expect("+OK\r\n$1\r\nv\r\n+PONG\r\n");
    assert_eq!(node.core(|core| core.commands), 1, "the read did not need the log");
}

#[test]
fn reads_between_writes_go_through_the_log_in_one_round() {
    let node = Node::master();
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["INCR k", "GET k", "INCR k", "GET k", "INCR k", "GET k"]));
    node.wait_for("all but the last read are asked", |core| core.commands == 5);
    node.release();
    client.expect(":1\r\n$1\r\n1\r\n:2\r\n$1\r\n2\r\n:3\r\n$1\r\n3\r\n");
}

#[test]
fn commands_that_arrive_together_travel_together() {
    let node = Node::with_workers(Limits::DEFAULT, 1);
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["SET a 1"]).repeat(500));
    node.wait_for("all commands", |core| core.commands == 500);
    let chunks = node.core(|core| core.chunks);
    assert!(chunks < 50, "500 commands came in {chunks} chunks");
    node.release();
    client.expect("+OK\r\n".repeat(500));
}

#[test]
fn hello_in_a_pipeline_changes_the_replies_behind_it_only() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&[
        "GET none",
        "SET k v",
        "HELLO 3",
        "GET none",
        "SET k v GET",
        "HELLO 2",
    ]));
    client.expect("$-1\r\n+OK\r\n%7\r\n");
    while client.line() != "*0" {}
    client.expect("_\r\n$1\r\nv\r\n*14\r\n");
    while client.line() != "*0" {}
    client.send(pipeline(&["GET none"])).expect("$-1\r\n");
}

#[test]
fn quit_behind_a_write_closes_after_both_replies() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&["SET k v", "QUIT", "SET k w"])).expect("+OK\r\n+OK\r\n").expect_end();
    node.client().send(pipeline(&["GET k"])).expect("$1\r\nv\r\n");
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_replies() {
    for node in [Node::master(), Node::follower()] {
        // Often enough that bytes and the end of the stream also come in one event.
        for _ in 0..200 {
            let mut client = node.client();
            client.send("PING\r\n").expect("+PONG\r\n");
            client.send(pipeline(&["SET k v", "GET k", "PING", "SET k w", "GET k"]));
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            client.expect("+OK\r\n$1\r\nv\r\n+PONG\r\n+OK\r\n$1\r\nw\r\n").expect_end();
        }
    }
}

#[test]
fn wait_counts_for_the_writes_before_it() {
    let node = Node::master();
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["SET k v", "WAIT 2 0", "GET k"]));
    node.wait_for("the write is asked", |core| core.commands == 1);
    assert_eq!(node.core(|core| core.waits), 0);
    node.release();
    client.expect("+OK\r\n:2\r\n$1\r\nv\r\n");
    client
        .send(pipeline(&["WAIT 1 100", "WAIT -1 100", "WAIT 9 100"]))
        .expect(":1\r\n:0\r\n:2\r\n");
    client
        .send(pipeline(&["WAIT x 0", "WAIT 1 -1", "WAIT 1 x", "WAIT 1"]))
        .expect("-ERR value is not an integer or out of range\r\n-ERR timeout is negative\r\n")
        .expect("-ERR timeout is not an integer or out of range\r\n")
        .expect("-ERR wrong number of arguments for 'wait' command\r\n");
}

#[test]
fn a_client_that_leaves_during_wait_is_forgotten() {
    let node = Node::master();
    node.core(|core| core.hold_waits = true);
    let mut client = node.client();
    client.send(pipeline(&["WAIT 3 0", "PING"]));
    node.wait_for("the wait is asked", |core| core.waits == 1);
    drop(client);
    node.wait_for("the wait is forgotten", |core| core.forgotten == 1);
    node.wait_until("the connection is closed", |shared| {
        shared.connections.load(Ordering::Relaxed) == 0
    });
    node.release();
    node.client().send("PING\r\n").expect("+PONG\r\n");
}
