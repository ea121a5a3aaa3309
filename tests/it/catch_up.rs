//! Nodes that missed something, and logs that do not grow for ever.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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

/// Has nodes take snapshots of what they hold now, and waits until they have them.
fn take_snapshots(cluster: &Cluster, nodes: &[u16]) {
    // One may be under way that began earlier, so that only the second one counts.
    for id in nodes.iter().chain(nodes) {
        let before = cluster.node(*id).metric("warlock_snapshots_total").expect("it lives");
        cluster.node(*id).ask("SNAPSHOT").expect("the node lives");
        eventually("a snapshot is taken", || {
            let now = cluster.node(*id).metric("warlock_snapshots_total")?;
            if now > before { Ok(()) } else { Err(format!("n{id} has taken {now}")) }
        });
    }
}

#[test]
fn a_node_far_behind_gets_a_snapshot_under_load_also_when_it_is_killed_meanwhile() {
    const KEYS: usize = 40_000;
    let mut cluster = Cluster::builder()
        .set("wal.segment_bytes", &MIB.to_string())
        .set("wal.snapshot_after_bytes", &(8 * MIB).to_string())
        .start();
    let follower = cluster.follower();
    let master = cluster.master();
    cluster.node_mut(follower).kill();
    // 40 MiB of live values.
    fill(&cluster, master, KEYS, KEYS, 1000);
    let live: Vec<u16> = cluster.others(follower);
    take_snapshots(&cluster, &live);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (mut client, stop) = (cluster.node(master).connect(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut written = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.text(&["SET", "counter", &written.to_string()]), "OK");
                written += 1;
            }
            written
        })
    };
    cluster.node_mut(follower).start();
    let received = |cluster: &Cluster| {
        let bytes = cluster.node(follower).metric("warlock_snapshot_received_bytes_total")?;
        if bytes > 0.0 { Ok(bytes) } else { Err("nothing came".to_owned()) }
    };
    eventually("a part of a snapshot comes", || received(&cluster));
    cluster.node_mut(follower).kill();
    cluster.node_mut(follower).start();
    cluster.await_ready();
    eventually("the node is level", || {
        let lag = cluster.node(follower).metric("warlock_lag_slots")?;
        let applied = cluster.node(follower).metric("warlock_applied_slot")?;
        if lag < 100.0 && applied > 100.0 { Ok(()) } else { Err(format!("{lag} behind")) }
    });
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().expect("no write failed");
    cluster.await_agreement();
    let bytes = received(&cluster).unwrap();
    assert!(bytes > KEYS as f64 * 1000.0, "all of it came as a snapshot: {bytes} bytes");
    let sent = |id: u16| cluster.node(id).metric("warlock_snapshot_sent_bytes_total").unwrap();
    let other = live.iter().copied().find(|id| *id != master).expect("there are three nodes");
    assert!(sent(other) > 0.0, "the other follower sends");
    let mut client = cluster.node(follower).connect();
    assert_eq!(client.text(&["DBSIZE"]), (KEYS + 1).to_string());
    assert_eq!(client.text(&["GET", "counter"]), (written - 1).to_string());
}

#[test]
fn a_node_a_bit_behind_is_told_from_the_log_on_disk() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let master = cluster.master();
    cluster.node_mut(follower).kill();
    // More than is kept in memory, and less than makes a snapshot due.
    fill(&cluster, master, 100_000, 1000, 1000);
    cluster.node_mut(follower).start();
    cluster.await_ready();
    cluster.await_agreement();
    let live = cluster.others(follower);
    let metric = |id: u16, name: &str| cluster.node(id).metric(name).unwrap();
    let told: f64 = live.iter().map(|id| metric(*id, "warlock_log_sent_bytes_total")).sum();
    assert!(told > 10.0 * MIB as f64, "{told} bytes came from the log on disk");
    assert!(metric(follower, "warlock_snapshot_received_bytes_total") < 1.0);
}

#[test]
fn a_node_with_a_damaged_record_is_repaired_by_its_peers() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let master = cluster.master();
    fill(&cluster, master, 5000, 5000, 100);
    cluster.await_agreement();
    cluster.node_mut(follower).kill();
    flip_bits(&cluster.node(follower).data, |end| vec![end / 4, end / 2]);
    cluster.node_mut(follower).start();
    cluster.await_ready();
    cluster.await_agreement();
    assert_filled(&mut cluster);
    // It is repaired for good: with the other follower gone it is needed for every write.
    let other = cluster.others(master).into_iter().find(|id| *id != follower);
    cluster.node_mut(other.expect("there are two followers")).kill();
    assert_eq!(cluster.node(follower).connect().text(&["SET", "k", "v"]), "OK");
    assert_filled(&mut cluster);
}

#[test]
fn a_node_with_a_log_full_of_damage_serves_no_wrong_value() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let master = cluster.master();
    fill(&cluster, master, 5000, 5000, 100);
    cluster.await_agreement();
    cluster.node_mut(follower).kill();
    flip_bits(&cluster.node(follower).data, |end| (0..=end).step_by(4096).collect());
    cluster.node_mut(follower).start();
    let node = cluster.node_mut(follower);
    let repaired = eventually("the node is repaired or refuses to run", || {
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
        assert!(finished.log.contains("the log"), "it says why: {}", finished.log);
    }
    assert_filled(&mut cluster);
}

/// Checks what `fill` wrote as 5000 different keys on every live node.
#[track_caller]
fn assert_filled(cluster: &mut Cluster) {
    for (node, mut client) in cluster.clients() {
        for key in (0..5000).step_by(7) {
            let value = client.text(&["GET", &format!("k{key}")]);
            assert!(value.starts_with(&format!("{key}x")), "k{key} is {value} at n{node}");
        }
    }
}

/// Changes a bit at some places of every log file, chosen by where the written part of it ends.
fn flip_bits(directory: &Path, places: impl Fn(usize) -> Vec<usize>) {
    let entries = fs::read_dir(directory).expect("a directory can be read");
    let mut changed = 0;
    for entry in entries {
        let path = entry.expect("an entry can be read").path();
        let mut bytes = fs::read(&path).expect("a file can be read");
        // What was preallocated and never written is zero. Logs are the long files.
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        if written < 64 * 1024 {
            continue;
        }
        for at in places(written) {
            bytes[at] ^= 0x10;
            changed += 1;
        }
        fs::write(path, bytes).expect("a file can be written");
    }
    assert!(changed > 0, "{} holds a log", directory.display());
}
