//! Memberships beside the log: what damage to them costs.

use warlock_wal::{FaultyDisk, Outcome, Snapshots, WalError};

use crate::model::{
    Op, Run, accept_view, charter, in_force, load_or_create, open, promise, workload,
};

fn written(ops: &[Op]) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    assert!(Run::new().perform(&disk, ops).is_some());
    disk
}

fn changed() -> FaultyDisk {
    written(&[
        Op::CountStart,
        Op::Append(promise(1)),
        Op::Append(in_force(2)),
        Op::Append(accept_view(3, 4)),
        Op::Sync,
    ])
}

#[test]
fn one_damaged_copy_costs_nothing_and_is_repaired() {
    for copy in [0, 4096] {
        let disk = changed();
        disk.zero("membership", copy, 512);
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.membership, Some(charter(2)));
        assert_eq!(recovered.reconfiguration.unwrap().charter, charter(3));
        disk.zero("membership", 4096 - copy, 512);
        assert!(open(&disk).is_ok(), "the first start wrote both copies again");
    }
}

#[test]
fn a_membership_that_is_gone_or_damaged_is_not_taken_for_that_of_the_settings() {
    let disk = changed();
    disk.zero("membership", 0, 512);
    disk.zero("membership", 4096, 512);
    assert!(matches!(open(&disk), Err(WalError::MembershipLost)), "P6");
    let disk = changed();
    warlock_wal::Disk::remove(&disk, "membership").unwrap();
    assert!(matches!(open(&disk), Err(WalError::MembershipLost)), "P7");
}

#[test]
fn an_older_membership_under_a_newer_log_is_noticed() {
    let disk = changed();
    let older = disk.content("membership").unwrap();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&in_force(3));
    wal.sync().unwrap();
    drop(wal);
    warlock_wal::Disk::remove(&disk, "membership").unwrap();
    let file = warlock_wal::Disk::create(&disk, "membership").unwrap();
    warlock_wal::DiskFile::write_at(&file, &mut [std::io::IoSlice::new(&older)], 0).unwrap();
    assert!(matches!(open(&disk), Err(WalError::MembershipLost)), "P7");
}

#[test]
fn a_log_without_its_files_is_missed_if_there_is_a_membership() {
    let disk = changed();
    warlock_wal::Disk::remove(&disk, crate::model::FIRST_SEGMENT).unwrap();
    assert!(matches!(open(&disk), Err(WalError::LogMissing)), "P7");
    warlock_wal::Disk::remove(&disk, "identity").unwrap();
    assert!(load_or_create(&disk).is_none(), "the directory is in use");
}

#[test]
fn a_newer_membership_of_a_snapshot_counts() {
    let disk = changed();
    let mut meta = crate::model::meta(5, 4);
    meta.membership = warlock_paxos::encode_charter(&charter(6));
    Snapshots::new(disk.clone()).begin(&meta).unwrap().finish().unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.membership, Some(charter(6)));
}

#[test]
fn memberships_survive_truncation_and_restarts() {
    let disk = written(&workload(6)).restart(Outcome::Lost);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.membership, Some(charter(6)));
    assert_eq!(recovered.reconfiguration.unwrap().charter, charter(7));
    assert!(recovered.snapshot.is_some());
}

/// The version of the format that a segment says, by its first sequence.
fn version_of(disk: &FaultyDisk, first: u64) -> u8 {
    disk.content(&format!("wal-{first:016x}.log")).expect("a segment")[12]
}

#[test]
fn a_program_that_knows_no_memberships_refuses_the_log_from_the_first_on() {
    let ops = [Op::CountStart, Op::Append(promise(1)), Op::Sync];
    let disk = written(&ops);
    let (mut wal, _) = open(&disk).unwrap();
    assert_eq!(version_of(&disk, 1), 1, "until then the older program can read it");
    wal.append(&accept_view(2, 4));
    wal.sync().unwrap();
    assert_eq!(version_of(&disk, 1), 1);
    assert_eq!(version_of(&disk, 2), 2, "the log goes on in a new segment");
    drop(wal);
    let (mut wal, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.reconfiguration.unwrap().charter, charter(2));
    wal.append(&in_force(2));
    wal.sync().unwrap();
    assert_eq!(wal.stats().segments_created, 0, "once is enough");
}
