//! Recovery gives back what clients were told, and knows whose disk it is.

use warlock_node::{Recovery, RecoveryOptions};
use warlock_paxos::{Incarnation, NodeId};
use warlock_wal::{FaultyDisk, Outcome};

use crate::rig::Rig;

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
    let own = RecoveryOptions {
        cluster: "blue",
        node: NodeId::new(1),
        segment_bytes: 1024 * 1024,
        shards: 16,
        incarnation: Incarnation::new(7),
        entropy: 1,
        crew: |work| work(),
    };
    assert!(Recovery::run(disk.clone(), &own).is_ok());
    for other in [
        RecoveryOptions { cluster: "green", ..own.clone() },
        RecoveryOptions { node: NodeId::new(2), ..own.clone() },
    ] {
        assert!(Recovery::run(disk.clone(), &other).is_err(), "{other:?}");
    }
    assert!(Recovery::run(disk, &own).is_ok());
}
