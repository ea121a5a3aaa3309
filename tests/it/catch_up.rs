//! Nodes that missed something, and logs that do not grow for ever.

use std::fs;
use std::path::Path;

use warlock_tests::{Cluster, eventually, text};

const MIB: u64 = 1024 * 1024;

/// Writes `count` values of `length` bytes over `keys` keys through a node.
fn fill(cluster: &Cluster, node: u16, count: usize, keys: usize, length: usize) {
    const PIPELINE: usize = 1000;
    let mut client = cluster.node(node).connect();
    let filler = "x".repeat(length);
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(PIPELINE) {
        let command = |number: &usize| {
            vec!["SET".to_owned(), format!("k{}", number % keys), format!("{number}{filler}")]
        };
        let commands: Vec<Vec<String>> = chunk.iter().map(command).collect();
        for reply in client.pipeline(&commands).expect("the node lives") {
            assert_eq!(text(&reply), "OK");
        }
    }
}

#[test]
fn a_node_down_during_a_hundred_thousand_writes_catches_up() {
    const WRITES: usize = 100_000;
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let master = cluster.master();
    cluster.node_mut(follower).kill();
    fill(&cluster, master, WRITES, WRITES, 40);
    cluster.node_mut(follower).start();
    cluster.await_ready();
    cluster.await_agreement();
    for (node, mut client) in cluster.clients() {
        assert_eq!(client.text(&["DBSIZE"]), WRITES.to_string(), "at n{node}");
    }
    // And all of it survives on the disk of the one that caught up.
    cluster.node_mut(follower).kill();
    cluster.node_mut(follower).start();
    cluster.await_ready();
    cluster.await_agreement();
}

#[test]
fn snapshots_keep_the_log_small_and_bring_a_node_up_that_was_down() {
    let mut cluster = Cluster::builder()
        .set("wal.segment_bytes", &MIB.to_string())
        .set("wal.snapshot_after_bytes", &(2 * MIB).to_string())
        .start();
    let follower = cluster.follower();
    let master = cluster.master();
    cluster.node_mut(follower).kill();
    // 40 MiB of writes, of which 1 MiB is live.
    fill(&cluster, master, 40_000, 1000, 1000);
    let live: Vec<u16> = cluster.others(follower);
    for id in &live {
        let node = cluster.node(*id);
        eventually("snapshots have replaced the log", || {
            let bytes = node.data_bytes();
            if bytes <= 12 * MIB { Ok(()) } else { Err(format!("n{id} holds {bytes} bytes")) }
        });
        assert!(node.metric("warlock_snapshots_total").unwrap() >= 1.0);
    }
    cluster.node_mut(follower).start();
    cluster.await_ready();
    cluster.await_agreement();
    let received = cluster.node(follower).metric("warlock_snapshots_total").unwrap();
    assert!(received >= 1.0, "the log was dropped, so it must have come as a snapshot");
    // A node that installed a snapshot also starts from it, together with all others.
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_ready();
    cluster.await_agreement();
    for (_, mut client) in cluster.clients() {
        assert_eq!(client.text(&["DBSIZE"]), "1000");
        assert!(client.text(&["GET", "k999"]).starts_with("39999x"));
    }
}

#[test]
fn a_node_that_lost_some_of_its_log_to_a_power_failure_is_repaired() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let master = cluster.master();
    fill(&cluster, master, 5000, 5000, 100);
    cluster.await_agreement();
    cluster.node_mut(follower).kill();
    let damaged = flip_bits(&cluster.node(follower).data);
    assert!(damaged > 0, "there is a log to damage");
    cluster.node_mut(follower).start();
    // Either it is repaired by its peers, or it refuses to run; a wrong value is neither.
    let node = cluster.node_mut(follower);
    let repaired = eventually("the node is repaired or refuses", || {
        if !node.is_live() {
            return Ok(false);
        }
        node.ask("READY").map(|_| true)
    });
    if repaired {
        cluster.await_agreement();
    } else {
        let finished = cluster.node_mut(follower).finish();
        assert_eq!(finished.code, Some(1), "{}", finished.log);
    }
    for (_, mut client) in cluster.clients() {
        assert_eq!(client.text(&["DBSIZE"]), "5000");
        for key in [0, 1234, 4999] {
            let value = client.text(&["GET", &format!("k{key}")]);
            assert!(value.starts_with(&format!("{key}x")), "{value}");
        }
    }
}

/// Changes a byte in every 4 KiB of every log file. How many were changed.
fn flip_bits(directory: &Path) -> usize {
    let mut changed = 0;
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let mut bytes = fs::read(&path).expect("a file can be read");
            let is_log = bytes.len() > 64 * 1024;
            for at in (32 * 1024..bytes.len()).step_by(4096).filter(|_| is_log) {
                // What was preallocated and never written is zero, and is no record.
                if bytes[at] != 0 {
                    bytes[at] ^= 0x10;
                    changed += 1;
                }
            }
            fs::write(path, bytes).expect("a file can be written");
        }
    }
    changed
}
