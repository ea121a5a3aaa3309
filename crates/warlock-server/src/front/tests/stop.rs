//! Stopping: what was taken is answered, nothing more is taken.

use super::*;

#[test]
fn replies_in_flight_go_out_before_the_end() {
    let mut node = Node::master();
    node.core(|core| core.hold_writes = true);
    let (mut busy, mut quiet) = (node.client(), node.client());
    busy.send(pipeline(&["SET k v", "GET k"]));
    quiet.send("PING\r\n").expect("+PONG\r\n");
    node.wait_for("the write", |core| core.commands == 1);
    let front = node.front.take().unwrap();
    let stopping = std::thread::spawn(move || front.stop(Span::from_millis(60_000)));
    quiet.expect_end();
    node.release();
    busy.expect("+OK\r\n$1\r\nv\r\n").expect_end();
    stopping.join().unwrap();
    assert_eq!(node.connections(), 0);
    let refused = TcpStream::connect(node.address);
    assert!(refused.is_err(), "the port is still open");
}

#[test]
fn a_reply_that_does_not_come_does_not_hold_up_the_end() {
    let mut node = Node::master();
    node.core(|core| core.hold_writes = true);
    let mut client = node.client();
    client.send(pipeline(&["SET k v"]));
    node.wait_for("the write", |core| core.commands == 1);
    node.front.take().unwrap().stop(Span::from_millis(50));
    // Closed without a reply: the outcome is unknown to the client.
    client.expect_end();
}
