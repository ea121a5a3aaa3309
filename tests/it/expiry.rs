//! Keys with a deadline: gone on every node afterwards, and on none before, whoever is master.

use std::time::{Duration, Instant};

use warlock_tests::{Client, Cluster, eventually};

/// Clocks of this machine agree, but the log clock may be slewed by so much, in thousandths.
const SLEW: u32 = 1;

/// Reads until the key is gone from a node, and checks that it was not gone too early.
#[track_caller]
fn await_expiry(client: &mut Client, key: &str, written: Instant, ttl: Duration) {
    let gone = eventually("the key is gone", || {
        let value = client.text(&["GET", key]);
        if value == "nil" { Ok(written.elapsed()) } else { Err(value) }
    });
    let least = ttl - ttl * SLEW / 1000;
    assert!(gone >= least, "{key} lived {gone:?} of {ttl:?}");
}

#[test]
fn a_key_expires_on_every_node_and_not_too_early() {
    const TTL: Duration = Duration::from_millis(1500);
    let mut cluster = Cluster::start();
    let mut clients = cluster.clients();
    let written = Instant::now();
    for (number, (_, client)) in clients.iter_mut().enumerate() {
        client.ok(&["SET", &format!("k{number}"), "v", "PX", &TTL.as_millis().to_string()]);
    }
    for (_, client) in &mut clients {
        for key in ["k0", "k1", "k2"] {
            await_expiry(client, key, written, TTL);
            assert_eq!(client.text(&["PTTL", key]), "-2");
        }
        assert_eq!(client.text(&["EXISTS", "k0", "k1", "k2"]), "0");
    }
    eventually("nobody keeps what is gone", || {
        let size = clients[0].1.text(&["DBSIZE"]);
        if size == "0" { Ok(()) } else { Err(size) }
    });
    cluster.await_agreement();
}

#[test]
fn a_time_to_live_is_never_shortened_by_a_failover() {
    const TTL: Duration = Duration::from_secs(6);
    let mut cluster = Cluster::start();
    let first = cluster.master();
    let mut client = cluster.node(first).connect();
    let written = Instant::now();
    client.ok(&["SET", "k", "v", "PX", &TTL.as_millis().to_string()]);
    client.ok(&["SET", "for ever", "v"]);
    for _ in 0..2 {
        let master = cluster.master();
        cluster.node_mut(master).kill();
        let next = cluster.master();
        let mut client = cluster.node(next).connect();
        let left: i64 = client.text(&["PTTL", "k"]).parse().unwrap();
        let elapsed = i64::try_from(written.elapsed().as_millis()).unwrap();
        let slew = i64::try_from((TTL * SLEW / 1000).as_millis()).unwrap() + 1;
        let total = i64::try_from(TTL.as_millis()).unwrap();
        if left >= 0 {
            assert!(left + elapsed + slew >= total, "{left} ms left after {elapsed} ms");
        } else {
            assert!(elapsed + slew >= total, "gone after {elapsed} ms");
        }
        cluster.node_mut(master).start();
        cluster.await_ready();
    }
    for (_, mut client) in cluster.clients() {
        await_expiry(&mut client, "k", written, TTL);
        assert_eq!(client.text(&["GET", "for ever"]), "v");
    }
    cluster.await_agreement();
}

#[test]
fn a_time_to_live_survives_the_restart_of_all_nodes() {
    const TTL: Duration = Duration::from_secs(100);
    let mut cluster = Cluster::start();
    let mut client = cluster.node(1).connect();
    client.ok(&["SET", "k", "v", "PX", &TTL.as_millis().to_string()]);
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_ready();
    for (node, mut client) in cluster.clients() {
        let left: u128 = client.text(&["PTTL", "k"]).parse().unwrap();
        assert!(left > 0 && left <= TTL.as_millis(), "{left} ms left at n{node}");
        assert_eq!(client.text(&["GET", "k"]), "v");
    }
}
