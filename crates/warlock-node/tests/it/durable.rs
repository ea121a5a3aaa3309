//! Recovery gives back what clients were told, and knows whose disk it is.

use warlock_node::{Recovery, RecoveryOptions};
use warlock_paxos::{Incarnation, NodeId, Slot};
use warlock_wal::{FaultyDisk, Outcome, Snapshots};

use crate::rig::{Rig, options};

const NEVER: u64 = u64::MAX;

#[test]
fn acknowledged_writes_survive_the_loss_of_power() {
    for outcome in Outcome::ALL {
        let mut rig = Rig::start(FaultyDisk::new(1), 7, NEVER);
        rig.expect("SET k v\r\nINCR n\r\nGET k\r\nINCR n\r\n", "+OK\r\n:1\r\n$1\r\nv\r\n:2\r\n");
        let disk = rig.disk.restart(outcome);
        let mut rig = Rig::start(disk, 8, NEVER);
        assert_eq!(rig.incarnation, Incarnation::new(7), "the directory is the same (P7)");
        rig.expect("GET k\r\nINCR n\r\n", "$1\r\nv\r\n:3\r\n");
    }
}

#[test]
fn a_snapshot_takes_the_place_of_the_log() {
    let mut rig = Rig::start(FaultyDisk::new(2), 7, 1);
    for number in 0..50 {
        rig.expect(&format!("SET key{number} {number}\r\n"), "+OK\r\n");
    }
    rig.tick();
    assert_eq!(rig.snapshots, 1);
    rig.expect("SET last 1\r\n", "+OK\r\n");
    let disk = rig.disk.restart(Outcome::Lost);
    let mut rig = Rig::start(disk, 8, NEVER);
    rig.expect("DBSIZE\r\nGET key49\r\nGET last\r\n", ":51\r\n$2\r\n49\r\n$1\r\n1\r\n");
}

#[test]
fn a_directory_of_another_node_or_cluster_is_refused() {
    let disk = FaultyDisk::new(3);
    let own = RecoveryOptions { cluster: "blue", ..options(7) };
    assert!(Recovery::run(disk.clone(), &own).is_ok());
    for other in [
        RecoveryOptions { cluster: "green", ..own.clone() },
        RecoveryOptions { node: NodeId::new(2), ..own.clone() },
    ] {
        assert!(Recovery::run(disk.clone(), &other).is_err(), "{other:?}");
    }
    assert!(Recovery::run(disk, &own).is_ok());
}

fn recover(disk: &FaultyDisk) -> Recovery<FaultyDisk> {
    Recovery::run(disk.clone(), &options(7)).expect("damage to a snapshot stops no node")
}

/// A node that took two snapshots and wrote on; the slots that they cover.
fn with_two_snapshots() -> (FaultyDisk, Slot, Slot) {
    let mut rig = Rig::start(FaultyDisk::new(4), 7, 1);
    for round in 0..2 {
        for number in 0..20 {
            rig.expect(&format!("SET key{number} {round}\r\n"), "+OK\r\n");
        }
        rig.tick();
    }
    assert_eq!(rig.snapshots, 2);
    rig.expect("SET last 1\r\n", "+OK\r\n");
    let disk = rig.disk.restart(Outcome::Kept);
    let slots = Snapshots::new(disk.clone()).slots().expect("the disk works");
    (disk, slots[0], slots[1])
}

/// Writes the snapshot anew, in order as a file, but without what its last chunk says.
fn spoil(disk: &FaultyDisk, slot: Slot) {
    let snapshots = Snapshots::new(disk.clone());
    let mut reader = snapshots.open(slot).expect("the disk works");
    let meta = reader.meta().clone();
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk().expect("the disk works") {
        chunks.push(chunk);
    }
    chunks.pop();
    let mut writer = snapshots.begin(&meta).expect("the disk works");
    chunks.iter().for_each(|chunk| writer.write_chunk(chunk).expect("the disk works"));
    writer.finish().expect("the disk works");
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_an_older_one_and_its_slots_are_unknown() {
    let damages: [fn(&FaultyDisk, Slot); 2] =
        [|disk, slot| disk.zero(&format!("snapshot-{:016x}.snap", slot.position()), 60, 64), spoil];
    for damage in damages {
        let (disk, older, newer) = with_two_snapshots();
        let sound = recover(&disk);
        assert_eq!(sound.roles.replica.snapshot, newer);
        damage(&disk, newer);
        let recovery = recover(&disk);
        assert_eq!(recovery.roles.replica.snapshot, older, "P6: the older one is used");
        let acceptor = &recovery.roles.acceptor;
        assert_eq!(acceptor.ballot, sound.roles.acceptor.ballot, "P2: no promise is lost");
        assert_eq!(acceptor.decided, older);
        assert!(acceptor.known >= newer, "what it cannot read is decided all the same");
        assert!(acceptor.unknown.iter().any(|range| range.contains(older)), "P6");
        assert_eq!(recovery.log_start, newer, "what the log has below counts no more");
    }
}

#[test]
fn a_node_alone_whose_snapshots_are_damaged_does_not_start_empty() {
    let (disk, older, newer) = with_two_snapshots();
    spoil(&disk, older);
    spoil(&disk, newer);
    let recovery = recover(&disk);
    assert_eq!(recovery.roles.replica.snapshot, Slot::FIRST);
    assert!(recovery.roles.acceptor.known >= newer);
    let mut rig = Rig::start(disk, 8, NEVER);
    let refused = "-CLUSTERDOWN no master with a quorum could be reached in time; the command was \
                   not executed\r\n";
    rig.expect("SET key1 2\r\n", refused);
    rig.expect("GET key1\r\n", "-CLUSTERDOWN no master with a quorum can be reached\r\n");
}
