//! The operator's program against a real cluster.

use serde_json::Value as Json;
use warlock_tests::{Cluster, done, operate};

#[test]
fn status_shows_every_node_from_any_node() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    cluster.node(1).connect().ok(&["SET", "k", "v"]);
    cluster.await_agreement();
    for node in &cluster.nodes {
        let status: Json = serde_json::from_str(&done(node, &["--json", "status"])).unwrap();
        assert_eq!(status["master"], master);
        assert_eq!(status["view"], 1);
        assert!(status["cluster"].as_str().is_some_and(|name| name.starts_with("test-")));
        let nodes = status["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 3);
        for (position, shown) in nodes.iter().enumerate() {
            let expected = &cluster.nodes[position];
            assert_eq!(shown["id"], expected.id);
            assert_eq!(shown["addr"], expected.client.to_string());
            assert_eq!(shown["peer"], expected.peer.to_string());
            assert_eq!(shown["role"], if expected.id == master { "master" } else { "follower" });
            assert_eq!(shown["state"], "up");
            assert!(shown["applied"].is_u64() && shown["lag"].is_u64(), "{shown}");
            assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
        }
        let own = &nodes[usize::from(master) - 1];
        assert_eq!(own["lease_ms_left"].is_u64(), node.id == master, "{own}");
        let table = done(node, &["status"]);
        assert!(table.contains("master") && table.contains("follower"), "{table}");
        let members: Json = serde_json::from_str(&done(node, &["--json", "members"])).unwrap();
        assert_eq!(members["nodes"].as_array().map(Vec::len), Some(3), "{members}");
    }
}

#[test]
fn a_dead_node_is_shown_down() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let master = cluster.master();
    cluster.node_mut(follower).kill();
    warlock_tests::eventually("the dead node is shown down", || {
        let text = done(cluster.node(master), &["--json", "status"]);
        let status: Json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let state = &status["nodes"][usize::from(follower) - 1]["state"];
        if state == "down" { Ok(()) } else { Err(text) }
    });
}

#[test]
fn exec_and_wait_ready_have_honest_exit_codes() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let node = cluster.node(follower);
    done(node, &["wait-ready"]);
    assert_eq!(done(node, &["exec", "SET", "k", "v"]).trim(), "OK");
    assert_eq!(done(node, &["exec", "GET", "k"]).trim(), "v");
    assert_eq!(done(node, &["--json", "exec", "GET", "k"]).trim(), "{\"reply\":\"v\"}");
    let digest: Json = serde_json::from_str(&done(node, &["--json", "digest"])).unwrap();
    assert!(digest["applied"].is_u64() && digest["digest"].is_string(), "{digest}");
    assert_eq!(operate(node, &["exec", "INCR", "k"]).status.code(), Some(1), "refused");
    assert_eq!(operate(node, &["no-such-command"]).status.code(), Some(2), "usage");
    for other in cluster.others(follower) {
        cluster.node_mut(other).kill();
    }
    let node = cluster.node(follower);
    let not_ready = operate(node, &["wait-ready", "--timeout", "1s"]);
    assert_eq!(not_ready.status.code(), Some(4), "timed out");
    cluster.node_mut(follower).kill();
    let gone = operate(cluster.node(follower), &["exec", "GET", "k"]);
    assert_eq!(gone.status.code(), Some(3), "cannot connect");
}
