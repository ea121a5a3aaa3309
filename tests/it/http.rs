//! Metrics, health and the status page of a running cluster.

use warlock_tests::{Cluster, eventually};

#[test]
fn health_readiness_and_status_follow_the_cluster() {
    let mut cluster = Cluster::start();
    for node in &cluster.nodes {
        assert_eq!(node.page("/healthz").unwrap().status, 200);
        let ready = node.page("/readyz").unwrap();
        assert_eq!(ready.status, 200, "{}", ready.body);
        let page = node.page("/").unwrap();
        assert_eq!(page.status, 200);
        assert!(page.body.contains("<html") && page.body.contains("n3"), "{}", page.body);
        assert_eq!(node.page("/nothing").unwrap().status, 404);
    }
    // One node alone is healthy, and not ready.
    let follower = cluster.follower();
    for id in cluster.others(follower) {
        cluster.node_mut(id).kill();
    }
    let node = cluster.node(follower);
    eventually("the last node is not ready", || {
        let status = node.page("/readyz").map_err(|error| error.to_string())?.status;
        if status == 503 { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(node.page("/healthz").unwrap().status, 200);
    for id in cluster.others(follower) {
        cluster.node_mut(id).start();
    }
    cluster.await_ready();
    eventually("the node is ready again", || {
        let page = cluster.node(follower).page("/readyz").map_err(|error| error.to_string())?;
        if page.status == 200 { Ok(()) } else { Err(page.body) }
    });
}

#[test]
fn metrics_count_what_happens() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    let (_, mut client) = cluster.clients().remove(0);
    let before = cluster.node(master).metric("warlock_commands_applied_total").unwrap();
    for number in 0..100 {
        client.ok(&["SET", &format!("k{number}"), "v"]);
    }
    cluster.await_agreement();
    for node in &cluster.nodes {
        let page = node.page("/metrics").unwrap();
        assert_eq!(page.status, 200);
        assert!(page.body.ends_with("# EOF\n"), "it is OpenMetrics");
        assert!(page.head.to_lowercase().contains("openmetrics-text"), "{}", page.head);
        let metric = |name: &str| node.metric(name).unwrap();
        assert!(metric("warlock_commands_applied_total") >= before.min(1.0) + 99.0);
        assert!((metric("warlock_is_master") > 0.5) == (node.id == master));
        eventually("all keys are counted", || {
            let keys = node.metric("warlock_keys")?;
            if keys > 99.5 { Ok(()) } else { Err(keys.to_string()) }
        });
        assert!(metric("warlock_wal_fsync_seconds_count") >= 1.0);
        assert!(metric("warlock_wal_written_bytes_total") >= 100.0);
        assert!(!page.body.contains("k42"), "no key of a client is ever in a label");
    }
}
