//! Strangers and broken clients on every port: each is turned away, and nobody else notices.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use warlock_tests::{Client, Cluster, Node, eventually, text};

/// Longest wait for a node to turn a stranger away.
const TURNED_AWAY: Duration = Duration::from_secs(10);

/// Requests that are wrong as a whole, and how the error reply starts. An empty one: closed
/// without a word.
const WRONG: &[(&[u8], &str)] = &[
    (b"*1048577\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*-2\r\n*x\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*1\r\n$536870913\r\n", "ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
    (b"*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"),
    (b"*99999999999999999999\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"SET \"open\r\n", "ERR Protocol error: unbalanced quotes in request"),
];

/// Requests that are no request, and are passed over.
const EMPTY: &[&[u8]] = &[b"\r\n", b"*0\r\n", b"*-1\r\n", b"\n", b"   \r\n"];

/// Numbers that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        (0..count).map(|_| next()).collect()
    }
}

/// A connection on which a node must not stay silent for long.
fn stranger(node: &Node, address: SocketAddr) -> Client {
    let stream = node.try_stream(address).expect("the port is open");
    let mut client = Client::new(stream).expect("the connection is new");
    client.set_timeout(TURNED_AWAY);
    client
}

/// The cluster works as if nobody had been there.
#[track_caller]
fn assert_unharmed(cluster: &mut Cluster, process_ids: &[u32]) {
    let now: Vec<u32> = cluster.nodes.iter().map(Node::process_id).collect();
    assert_eq!(now, process_ids, "nobody restarted");
    for (node, mut client) in cluster.clients() {
        assert_eq!(client.text(&["SET", "unharmed", "yes"]), "OK", "at n{node}");
        assert_eq!(client.text(&["GET", "unharmed"]), "yes", "at n{node}");
    }
}

fn process_ids(cluster: &Cluster) -> Vec<u32> {
    cluster.nodes.iter().map(Node::process_id).collect()
}

#[test]
fn wrong_requests_get_an_error_and_the_connection_is_closed() {
    let mut cluster = Cluster::start();
    let pids = process_ids(&cluster);
    for (bytes, expected) in WRONG {
        let mut client = stranger(cluster.node(1), cluster.node(1).client);
        client.send_raw(bytes).unwrap();
        let reply = text(&client.receive().unwrap());
        assert!(
            reply.starts_with(&format!("-{expected}")),
            "{reply} to {:?}",
            bytes.escape_ascii()
        );
        client.read_to_close().expect("the connection is closed");
    }
    assert_unharmed(&mut cluster, &pids);
}

#[test]
fn empty_requests_between_others_change_nothing() {
    let mut cluster = Cluster::start();
    let pids = process_ids(&cluster);
    for node in &cluster.nodes {
        let mut client = node.connect();
        for empty in EMPTY {
            let mut bytes = empty.to_vec();
            bytes.extend(b"PING\r\n");
            bytes.extend(*empty);
            bytes.extend(b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n");
            // Also with every byte in a packet of its own.
            for byte in &bytes {
                client.send_raw(&[*byte]).unwrap();
            }
            client.send_raw(&bytes).unwrap();
            for _ in 0..2 {
                assert_eq!(text(&client.receive().unwrap()), "PONG");
                assert_eq!(text(&client.receive().unwrap()), "hi");
            }
        }
    }
    assert_unharmed(&mut cluster, &pids);
}

#[test]
fn noise_on_every_port_disturbs_nobody() {
    let mut cluster = Cluster::start();
    let pids = process_ids(&cluster);
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let master = cluster.master();
    for id in [master, cluster.follower()] {
        let node = cluster.node(id);
        for address in [node.client, node.peer, node.http] {
            for length in [1, 2, 7, 64, 1000, 70_000] {
                let mut client = stranger(node, address);
                // The node may close before all of it is sent.
                let _ = client.send_raw(&noise.bytes(length));
                client.finish_sending();
                client.read_to_close().expect("a stranger who is done is not kept");
            }
        }
    }
    assert_unharmed(&mut cluster, &pids);
}

#[test]
fn http_on_ports_of_other_protocols_is_turned_away() {
    let mut cluster = Cluster::start();
    let pids = process_ids(&cluster);
    let node = cluster.node(1);
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 22\r\n\r\nSET smuggled yes\r\nQUIT\r\n",
        "Host: x\r\nSET smuggled yes\r\n",
    ] {
        for address in [node.client, node.peer] {
            let mut client = stranger(node, address);
            let _ = client.send_raw(request.as_bytes());
            client.finish_sending();
            client.read_to_close().expect("a stranger is not kept");
        }
    }
    assert_eq!(node.connect().text(&["EXISTS", "smuggled"]), "0");
    assert_unharmed(&mut cluster, &pids);
}

#[test]
fn strangers_on_the_peer_port_are_not_taken_for_peers() {
    let mut cluster = Cluster::start();
    let pids = process_ids(&cluster);
    let node = cluster.node(1);
    let huge = [b"WLCKPEER".as_slice(), &[0xff; 2]].concat();
    let wrong_checksum = [b"WLCKPEER".as_slice(), &[4, 0, 1, 2, 3, 4, 9, 9, 9, 9]].concat();
    for bytes in [huge, wrong_checksum, b"WLCKPEEX".to_vec(), vec![0; 4096]] {
        let mut client = stranger(node, node.peer);
        let _ = client.send_raw(&bytes);
        client.read_to_close().expect("a stranger is turned away, though it waits");
    }
    // Far more half-open connections than a cluster has members.
    let silent: Vec<_> = (0..300).map(|_| node.try_stream(node.peer)).collect();
    assert_unharmed(&mut cluster, &pids);
    // A real peer finds its way past them.
    let other = cluster.others(1)[0];
    cluster.node_mut(other).kill();
    cluster.node_mut(other).start();
    cluster.await_ready();
    drop(silent);
    cluster.await_agreement();
}

#[test]
fn silent_and_half_open_clients_do_not_stop_others() {
    let mut cluster = Cluster::start();
    let pids = process_ids(&cluster);
    let mut idle = Vec::new();
    for node in &cluster.nodes {
        for number in 0..300 {
            let mut stream = node.try_stream(node.client).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nhalf of a val").unwrap();
            }
            idle.push(stream);
        }
    }
    assert_unharmed(&mut cluster, &pids);
    drop(idle);
    for node in &cluster.nodes {
        eventually("vanished clients are forgotten", || {
            let open = node.metric("warlock_connections_open")?;
            if open <= 3.0 { Ok(()) } else { Err(open.to_string()) }
        });
    }
}

#[test]
fn announced_lengths_take_no_memory() {
    const CONNECTIONS: usize = 500;
    const ALLOWED_KIB: u64 = 64 * 1024;
    let mut cluster = Cluster::start();
    let pids = process_ids(&cluster);
    let node = cluster.node(1);
    let before = node.resident_kib();
    let mut strangers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = node.try_stream(node.client).unwrap();
        stream.write_all(b"*1048576\r\n$33554432\r\nx").unwrap();
        strangers.push(stream);
    }
    // All of them are read once the node has answered one that came later.
    assert_unharmed(&mut cluster, &pids);
    let grown = cluster.node(1).resident_kib().saturating_sub(before);
    assert!(grown < ALLOWED_KIB, "{CONNECTIONS} announcements took {grown} KiB");
}

#[test]
fn a_client_that_does_not_read_is_bounded() {
    const REQUESTS: usize = 2000;
    let mut cluster = Cluster::builder().set("client.output_bytes_max", "8388608").start();
    let pids = process_ids(&cluster);
    let node = cluster.node(1);
    node.connect().ok(&["SET", "large", &"x".repeat(256 * 1024)]);
    let before = node.resident_kib();
    // 500 MiB of replies, of which nothing is read.
    let mut stream = node.try_stream(node.client).unwrap();
    stream.set_write_timeout(Some(TURNED_AWAY)).unwrap();
    for _ in 0..REQUESTS {
        if stream.write_all(b"GET large\r\n").is_err() {
            break;
        }
    }
    assert_unharmed(&mut cluster, &pids);
    let node = cluster.node(1);
    let grown = node.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "replies that nobody reads took {grown} KiB");
    // What was promised before the limit is still a whole reply, or the connection is closed.
    let mut start = [0; 9];
    if stream.read_exact(&mut start).is_ok() {
        assert_eq!(&start, b"$262144\r\n");
    }
}
