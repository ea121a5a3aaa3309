//! Disks that lose what was not synced, and disks that stall.

use warlock_tests::{Builder, Cluster, Disk, Fate, Traffic, eventually};

const MIB: u64 = 1024 * 1024;

/// Writes that are acknowledged before, between and after faults.
const SOME: u64 = 300;

fn disks() -> Vec<Disk> {
    (0..3).map(|_| Disk::new(64 * MIB)).collect()
}

/// A cluster with one of the disks for each node.
fn on(disks: &[Disk]) -> Builder {
    let builder = Cluster::builder().set("wal.segment_bytes", &MIB.to_string());
    (1..)
        .zip(disks)
        .fold(builder, |builder, (node, disk)| builder.data(node, disk.path().join("data")))
}

#[test]
fn a_power_failure_of_all_nodes_loses_nothing_acknowledged() {
    let disks = disks();
    let mut cluster = on(&disks).start();
    let traffic = Traffic::start(4, &cluster.addresses());
    for _ in 0..3 {
        traffic.await_acknowledged(SOME);
        for node in &mut cluster.nodes {
            node.kill();
        }
        for disk in &disks {
            disk.lose_power();
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.await_ready();
    }
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn a_power_failure_in_the_middle_of_snapshots_loses_nothing_acknowledged() {
    let disks = disks();
    let mut cluster = on(&disks).set("wal.snapshot_after_bytes", &MIB.to_string()).start();
    let traffic = Traffic::start(2, &cluster.addresses());
    let large = "x".repeat(32 * 1024);
    for round in 0..3 {
        let mut client = cluster.node(1).connect();
        for number in 0..100 {
            client.ok(&["SET", &format!("large {}", number % 20), &format!("{round}{large}")]);
        }
        for node in &mut cluster.nodes {
            node.kill();
        }
        for disk in &disks {
            disk.lose_power();
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.await_ready();
        for (node, mut client) in cluster.clients() {
            let value = client.text(&["GET", "large 19"]);
            assert!(value == format!("{round}{large}"), "n{node} has an older value");
        }
    }
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn a_master_whose_disk_stalls_hands_over_and_comes_back() {
    let disks = disks();
    let mut cluster = on(&disks).start();
    let traffic = Traffic::start(4, &cluster.addresses());
    traffic.await_acknowledged(SOME);
    let old = cluster.master();
    let stalled = disks[usize::from(old) - 1].stall();
    let new = eventually("another node is master", || {
        let other = cluster.others(old)[0];
        let master = cluster.node(other).known_master()?;
        if master == old { Err(format!("n{old} is still master")) } else { Ok(master) }
    });
    traffic.await_acknowledged(SOME);
    drop(stalled);
    cluster.await_ready();
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
    assert!(matches!(cluster.node(new).connect().fate(&["SET", "k", "v"]), Fate::Done(_)));
    let reason = "its own log has not synced for a whole lease";
    assert!(cluster.node(old).log_text().contains(reason), "n{old} says why it stepped down");
}

#[test]
fn a_follower_whose_disk_stalls_holds_nobody_up() {
    let disks = disks();
    let mut cluster = on(&disks).start();
    let master = cluster.master();
    let follower = cluster.follower();
    let others = cluster.others(follower);
    let addresses: Vec<_> = others.iter().map(|id| cluster.node(*id).client).collect();
    let traffic = Traffic::start(4, &addresses);
    traffic.await_acknowledged(SOME);
    let stalled = disks[usize::from(follower) - 1].stall();
    traffic.await_acknowledged(10 * SOME);
    drop(stalled);
    cluster.await_ready();
    assert_eq!(cluster.master(), master, "there was no reason to change it");
    let ledger = traffic.stop();
    ledger.expect_all_acknowledged();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}
