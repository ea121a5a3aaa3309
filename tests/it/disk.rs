//! Disks that are full, read-only, taken, or somebody else's.

use std::fs;
use std::io::IoSlice;

use warlock_tests::{Cluster, Traffic, Volume, eventually};
use warlock_wal::{Disk, DiskFile, FsDisk};

const MIB: u64 = 1024 * 1024;

/// What one of three nodes writes to its disk in these tests is more than the disk holds.
const DISK_BYTES: u64 = 6 * MIB;

#[test]
fn a_node_with_a_full_disk_stops_and_the_others_go_on() {
    for victim_is_master in [false, true] {
        let volume = Volume::new(DISK_BYTES);
        let mut cluster = Cluster::builder()
            .data(1, volume.path().join("data"))
            .set("wal.segment_bytes", &MIB.to_string())
            .start();
        while (cluster.master() == 1) != victim_is_master {
            let master = cluster.master();
            cluster.node_mut(master).terminate();
            cluster.node_mut(master).start();
            cluster.await_ready();
        }
        let traffic = Traffic::start(4, &cluster.addresses());
        fill_until_stopped(&mut cluster, 1);
        let finished = cluster.node_mut(1).finish();
        assert_eq!(finished.code, Some(1), "{}", finished.log);
        assert!(finished.log.contains("No space left on device"), "{}", finished.log);
        traffic.await_acknowledged(200);
        // With more room it comes back as the member that it was.
        volume.resize(64 * MIB);
        cluster.node_mut(1).start();
        cluster.await_ready();
        let ledger = traffic.stop();
        ledger.check(&mut cluster.clients());
        cluster.await_agreement();
    }
}

/// Ports that nobody of the cluster has, so that only the data directory is in common.
const ELSEWHERE: [&str; 6] = [
    "--client.listen",
    "127.0.0.1:6990",
    "--peer.listen",
    "127.0.0.1:6991",
    "--http.listen",
    "127.0.0.1:6992",
];

/// Writes large values through the other nodes until this one has ended.
fn fill_until_stopped(cluster: &mut Cluster, victim: u16) {
    let other = cluster.others(victim)[0];
    let large = "x".repeat(64 * 1024);
    let mut client = cluster.node(other).connect();
    eventually("the node stops", || {
        for key in ["large 1", "large 2", "large 3"] {
            // A change of master in between may refuse it.
            client.call(&["SET", key, &large]).map_err(|lost| lost.to_string())?;
        }
        if cluster.node_mut(victim).is_live() { Err("it runs".to_owned()) } else { Ok(()) }
    });
}

#[test]
fn a_node_whose_disk_is_full_at_start_says_so() {
    let volume = Volume::new(64 * 1024);
    let mut cluster = Cluster::builder().data(1, volume.path().join("data")).prepare();
    let finished = cluster.node_mut(1).start_and_fail();
    assert_eq!(finished.code, Some(1), "{}", finished.log);
    assert!(finished.log.contains("No space left on device"), "{}", finished.log);
    let directory = volume.path().display().to_string();
    assert!(finished.log.contains(&directory), "it names the place: {}", finished.log);
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let volume = Volume::new(MIB);
    volume.make_read_only();
    let mut cluster = Cluster::builder().data(1, volume.path().join("data")).prepare();
    let finished = cluster.node_mut(1).start_and_fail();
    assert_eq!(finished.code, Some(1), "{}", finished.log);
    assert!(finished.log.contains("Read-only file system"), "{}", finished.log);
    let directory = volume.path().display().to_string();
    assert!(finished.log.contains(&directory), "it names the place: {}", finished.log);
}

#[test]
fn a_file_in_place_of_the_data_directory_is_named() {
    let mut cluster = Cluster::builder().prepare();
    let node = cluster.node_mut(1);
    fs::write(&node.data, "not a directory").unwrap();
    let finished = node.start_and_fail();
    assert_eq!(finished.code, Some(1), "{}", finished.log);
    assert!(finished.log.contains(&node.data.display().to_string()), "{}", finished.log);
    assert_eq!(fs::read_to_string(&node.data).unwrap(), "not a directory");
}

#[test]
fn a_second_process_on_a_data_directory_is_refused() {
    let mut cluster = Cluster::start();
    let node = cluster.node(1);
    let finished = node.run_another(&ELSEWHERE);
    assert_eq!(finished.code, Some(1), "{}", finished.log);
    assert!(finished.log.contains(&node.data.display().to_string()), "{}", finished.log);
    assert!(finished.log.contains("in use by another process"), "{}", finished.log);
    // The first one did not notice.
    cluster.await_ready();
    assert_eq!(cluster.node(1).connect().text(&["SET", "k", "v"]), "OK");
}

#[test]
fn a_data_directory_of_another_node_or_cluster_is_refused() {
    let mut cluster = Cluster::start();
    for (flags, word) in [(["--node_id", "2"], "n1"), (["--cluster.name", "other"], "other")] {
        cluster.node_mut(1).kill();
        let node = cluster.node(1);
        let finished = node.run_another(&[flags.as_slice(), &ELSEWHERE].concat());
        assert_eq!(finished.code, Some(1), "{}", finished.log);
        let data = node.data.display().to_string();
        for expected in [data.as_str(), word] {
            assert!(finished.log.contains(expected), "{expected} in {}", finished.log);
        }
        cluster.node_mut(1).start();
        cluster.await_ready();
    }
}

#[test]
fn a_node_that_lost_its_disk_is_not_taken_for_the_old_one() {
    let mut cluster = Cluster::start();
    let traffic = Traffic::start(2, &cluster.addresses());
    traffic.await_acknowledged(200);
    let ledger = traffic.stop();
    let follower = cluster.follower();
    cluster.node_mut(follower).kill();
    fs::remove_dir_all(&cluster.node(follower).data).unwrap();
    cluster.node_mut(follower).start();
    // Its promises are gone with its disk, so it must not vote: with one more node down, the
    // last one and it are no quorum.
    let refusal = format!("n{follower} has data directory ");
    for node in &cluster.nodes {
        eventually("it is refused, and knows why", || {
            let log = node.log_text();
            let told =
                log.lines().any(|line| line.contains(&refusal) && line.contains("join anew"));
            if told { Ok(()) } else { Err(format!("n{} does not say so", node.id)) }
        });
    }
    let others = cluster.others(follower);
    let mut client = cluster.node(others[0]).connect();
    assert_eq!(client.text(&["SET", "k", "v"]), "OK");
    cluster.node_mut(others[1]).kill();
    eventually("the rest is no quorum", || match client.call(&["SET", "k", "w"]) {
        Ok(warlock_resp::Value::Error(text)) if text.starts_with("CLUSTERDOWN ") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.node_mut(others[1]).start();
    eventually("the old members serve again", || client.fate(&["SET", "k", "x"]).done());
    let mut clients: Vec<_> = others.iter().map(|id| (*id, cluster.node(*id).connect())).collect();
    ledger.check(&mut clients);
}

#[test]
fn files_that_were_removed_make_room_on_a_full_disk() {
    const LARGE: u64 = 20 * MIB;
    let volume = Volume::new(24 * MIB);
    let disk = FsDisk::open(&volume.path().join("data")).unwrap().freeing_slowly();
    // Their space is given back a little at a time, and nobody asks for that here.
    disk.create("first").unwrap().allocate(LARGE).unwrap();
    disk.remove("first").unwrap();
    disk.create("reserved").unwrap().allocate(LARGE).unwrap();
    disk.remove("reserved").unwrap();
    let written = disk.create("written").unwrap();
    let bytes = vec![1; usize::try_from(LARGE).unwrap()];
    written.write_at(&mut [IoSlice::new(&bytes)], 0).unwrap();
    assert_eq!(written.length().unwrap(), LARGE);
}
