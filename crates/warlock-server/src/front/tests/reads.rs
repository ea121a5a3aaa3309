//! A read never sees less than it must (L3), with and without the lease.

use warlock_node::front::limits::TICKETS_IN_FLIGHT;

use super::*;

#[test]
fn a_master_asks_nobody_for_reads() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&["SET k v"])).expect("+OK\r\n");
    client.send(pipeline(&["GET k"]).repeat(100)).expect("$1\r\nv\r\n".repeat(100));
    assert_eq!(node.core(|core| (core.commands, core.tickets.len())), (1, 0));
}

#[test]
fn a_lease_that_ends_is_seen_by_the_next_read() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&["GET k"])).expect("$-1\r\n");
    node.shared.lease.publish(Some(clock::now()));
    client.send(pipeline(&["GET k"])).expect("$-1\r\n");
    assert_eq!(node.core(|core| core.tickets.len()), 1);
}

#[test]
fn reads_of_one_turn_share_a_ticket() {
    let node = Node::follower();
    let mut client = node.client();
    client.send(pipeline(&["GET k"]).repeat(100)).expect("$-1\r\n".repeat(100));
    let tickets = node.core(|core| core.tickets.len());
    assert!(tickets < 10, "100 reads took {tickets} tickets");
}

#[test]
fn a_read_that_arrives_after_the_question_waits_for_the_next_ticket() {
    let node = Node::with_workers(Limits::DEFAULT, 1);
    node.drop_lease();
    node.core(|core| core.hold_tickets = true);
    let (mut early, mut late) = (node.client(), node.client());
    early.send(pipeline(&["GET k"]));
    node.wait_for("the first ticket", |core| core.tickets.len() == 1);
    early.send(pipeline(&["GET k"]));
    late.send(pipeline(&["GET k"]));
    node.wait_for("the second ticket", |core| core.tickets.len() == 2);
    // The answer to the first question covers the first read only.
    node.core(|core| {
        let first = core.held.remove(0);
        core.answer(first);
    });
    early.expect("$-1\r\n");
    node.wait_for("a ticket for the second read", |core| core.tickets.len() == 3);
    node.release();
    early.expect("$-1\r\n");
    late.expect("$-1\r\n");
}

#[test]
fn reads_beyond_the_tickets_in_flight_share_the_next_one() {
    let node = Node::with_workers(Limits::DEFAULT, 1);
    node.drop_lease();
    node.core(|core| core.hold_tickets = true);
    let mut clients: Vec<_> = (0..TICKETS_IN_FLIGHT + 2).map(|_| node.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(pipeline(&["GET k"]));
        if index < TICKETS_IN_FLIGHT {
            node.wait_for("a ticket", |core| core.tickets.len() == index + 1);
        }
    }
    // The worker has been past all of them.
    for _ in 0..2 {
        node.client().send("PING\r\n").expect("+PONG\r\n");
    }
    assert_eq!(node.core(|core| core.tickets.len()), TICKETS_IN_FLIGHT);
    node.core(|core| {
        let first = core.held.remove(0);
        core.answer(first);
    });
    node.wait_for("the next ticket", |core| core.tickets.len() == TICKETS_IN_FLIGHT + 1);
    node.release();
    for client in &mut clients {
        client.expect("$-1\r\n");
    }
    assert_eq!(node.core(|core| core.tickets.len()), TICKETS_IN_FLIGHT + 1);
}

#[test]
fn a_read_sees_what_was_applied_before_its_ticket_was_answered() {
    let node = Node::follower();
    node.core(|core| core.hold_tickets = true);
    let mut reader = node.client();
    reader.send(pipeline(&["GET k"]));
    node.wait_for("the ticket", |core| core.tickets.len() == 1);
    node.client().send(pipeline(&["SET k v"])).expect("+OK\r\n");
    node.release();
    reader.expect("$1\r\nv\r\n");
}

#[test]
fn a_refused_read_says_that_nothing_was_executed() {
    let node = Node::follower();
    node.core(|core| core.allowed = false);
    let mut client = node.client();
    let refused = "-CLUSTERDOWN no master with a quorum can be reached\r\n";
    client.send(pipeline(&["GET k", "PING", "GET k"])).expect(refused).expect("+PONG\r\n");
    client.expect(refused);
    node.core(|core| core.allowed = true);
    client.send(pipeline(&["GET k"])).expect("$-1\r\n");
}

#[test]
fn a_read_behind_a_write_asks_only_after_the_write() {
    let node = Node::follower();
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["SET k v", "GET k"]));
    node.wait_for("the write", |core| core.commands == 1);
    assert_eq!(node.core(|core| core.tickets.len()), 0);
    node.release();
    client.expect("+OK\r\n$1\r\nv\r\n");
    assert_eq!(node.core(|core| (core.commands, core.tickets.len())), (1, 1));
}

#[test]
fn a_write_behind_reads_without_a_lease_takes_them_along() {
    let node = Node::follower();
    node.core(|core| core.hold_tickets = true);
    let mut client = node.client();
    client.send(pipeline(&["GET k"]));
    node.wait_for("the ticket", |core| core.tickets.len() == 1);
    client.send(pipeline(&["SET k v"])).expect("$-1\r\n+OK\r\n");
    assert_eq!(node.core(|core| core.commands), 2);
    // The first answer says nothing about a read behind the write.
    client.send(pipeline(&["GET k"]));
    node.wait_for("a ticket of its own", |core| core.tickets.len() == 2);
    node.core(|core| core.allowed = false);
    node.core(|core| {
        let first = core.held.remove(0);
        core.answer(first);
        core.allowed = true;
    });
    node.release();
    client.expect("$1\r\nv\r\n");
}

#[test]
fn an_answer_from_before_a_write_says_nothing_about_the_read_behind_it() {
    let node = Node::follower();
    node.core(|core| {
        core.hold_tickets = true;
        core.hold_writes = true;
        core.allowed = false;
    });
    let mut client = node.client();
    client.send(pipeline(&["GET k"]));
    node.wait_for("the ticket", |core| core.tickets.len() == 1);
    client.send(pipeline(&["SET k v", "GET k"]));
    node.wait_for("the first read and the write", |core| core.commands == 2);
    // The ticket is refused first, then the write is answered.
    node.core(|core| core.allowed = false);
    node.release();
    node.wait_for("a ticket of its own", |core| core.tickets.len() == 2);
    let refused = "-CLUSTERDOWN no master with a quorum can be reached\r\n";
    client.expect("$-1\r\n+OK\r\n").expect(refused);
}

#[test]
fn an_undecided_expiry_goes_through_the_log() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&["SET k v PX 1000", "GET k"])).expect("+OK\r\n$1\r\nv\r\n");
    // By the clock the key is gone, but no batch has said so.
    node.set_log_time(3_000_000);
    node.core(|core| core.log_time_us = 3_000_000);
    client.send(pipeline(&["GET k", "PING"])).expect("$-1\r\n+PONG\r\n");
    assert_eq!(node.core(|core| core.commands), 2);
    // Now it is decided.
    client.send(pipeline(&["GET k"])).expect("$-1\r\n");
    assert_eq!(node.core(|core| core.commands), 2);
}

#[test]
fn nothing_is_served_while_the_node_recovers() {
    let node = Node::master();
    node.shared.recovered.store(false, Ordering::Release);
    let mut client = node.client();
    let loading = "-LOADING Warlock is recovering its log from disk\r\n";
    let refused = ["GET k", "SET k v", "PING", "DBSIZE", "TIME", "WAIT 0 0", "WARLOCK READY"];
    client.send(pipeline(&refused)).expect(loading.repeat(refused.len()));
    client.send(pipeline(&["CLIENT SETNAME x", "SELECT 3", "ECHO hi"]));
    client.expect("+OK\r\n+OK\r\n$2\r\nhi\r\n");
    let info = client.send(pipeline(&["INFO persistence"])).text();
    assert!(info.contains("\r\nloading:1\r\n") && info.contains("loading_eta_seconds:"), "{info}");
    client.send(pipeline(&["HELLO 3"])).expect("%7\r\n");
    while client.line() != "*0" {}
    node.shared.recovered.store(true, Ordering::Release);
    client.send(pipeline(&["PING"])).expect("+PONG\r\n");
    assert_eq!(node.core(|core| core.chunks), 0);
}
