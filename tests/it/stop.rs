//! Orderly stops and starts that cannot work.

use serde_json::Value as Json;
use warlock_tests::{Cluster, Traffic};

/// Writes that show that a cluster works.
const SOME: u64 = 200;

#[test]
fn a_master_told_to_stop_hands_over_and_writes_go_on() {
    let mut cluster = Cluster::start();
    for _ in 0..3 {
        let master = cluster.master();
        let others = cluster.others(master);
        let addresses: Vec<_> = others.iter().map(|id| cluster.node(*id).client).collect();
        let traffic = Traffic::start(4, &addresses);
        traffic.await_acknowledged(SOME);
        let finished = cluster.node_mut(master).terminate();
        assert_eq!(finished.code, Some(0), "{}", finished.log);
        traffic.await_acknowledged(SOME);
        assert_ne!(cluster.master(), master);
        let ledger = traffic.stop();
        let [_, refused, unknown] = ledger.counts();
        assert_eq!((refused, unknown), (0, 0), "clients of other nodes notice a delay only");
        ledger.check(&mut cluster.clients());
        cluster.node_mut(master).start();
        cluster.await_ready();
        ledger.check(&mut cluster.clients());
    }
    cluster.await_agreement();
}

#[test]
fn a_follower_told_to_stop_ends_with_success() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let finished = cluster.node_mut(follower).terminate();
    assert_eq!(finished.code, Some(0), "{}", finished.log);
    assert!(finished.log.contains("told to stop"), "{}", finished.log);
    let last = finished.log.lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("stopped"), "the log is written to its end: {last:?}");
}

#[test]
fn all_nodes_told_to_stop_end_and_come_back_with_everything() {
    let mut cluster = Cluster::start();
    let traffic = Traffic::start(2, &cluster.addresses());
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    for node in &mut cluster.nodes {
        let finished = node.terminate();
        assert_eq!(finished.code, Some(0), "{}", finished.log);
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_ready();
    ledger.check(&mut cluster.clients());
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let mut cluster = Cluster::builder().prepare();
    cluster.node_mut(1).start();
    cluster.node_mut(2).start();
    cluster.await_ready();
    let (taken, free) = (cluster.node(1), cluster.node(3));
    for (setting, address) in
        [("client.listen", taken.client), ("peer.listen", taken.peer), ("http.listen", taken.http)]
    {
        let address = address.to_string();
        let finished = free.run_another(&[&format!("--{setting}"), &address]);
        assert_eq!(finished.code, Some(1), "{}", finished.log);
        for expected in [setting, &address, "Address already in use"] {
            assert!(finished.log.contains(expected), "{expected} is not in {}", finished.log);
        }
    }
}

#[test]
fn logs_for_programs_are_one_object_in_a_line_to_the_end() {
    let mut cluster = Cluster::builder().set("log.format", "\"json\"").start();
    cluster.node(1).connect().ok(&["SET", "secret-key", "secret-value"]);
    for node in &mut cluster.nodes {
        let finished = node.terminate();
        assert_eq!(finished.code, Some(0), "{}", finished.log);
        for line in finished.log.lines() {
            let object: Json = serde_json::from_str(line).unwrap();
            assert_eq!(object["node"], node.id, "{line}");
            for field in ["time", "level", "part", "message"] {
                assert!(object[field].is_string(), "{field} is not in {line}");
            }
        }
        assert!(!finished.log.contains("secret"), "logs hold nothing of clients");
    }
}
