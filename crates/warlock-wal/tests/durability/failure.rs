//! The disk reports errors: the log stops, and nothing acknowledged is lost (P8).

use warlock_paxos::Slot;
use warlock_wal::{Failure, FaultyDisk, Outcome, WalError};

use crate::model::{Op, Run, accept, load_or_create, open, promise, start, workload};

#[test]
fn an_error_at_any_step_loses_nothing_acknowledged() {
    let ops = workload(4);
    let steps = {
        let disk = FaultyDisk::new(0);
        assert!(Run::new().perform(&disk, &ops).is_some());
        disk.steps()
    };
    let mut noticed = 0;
    for step in 1..=steps {
        for failure in [Failure::Io, Failure::Full] {
            for outcome in Outcome::ALL {
                let disk = FaultyDisk::new(step);
                disk.fail_at(step, failure);
                let mut run = Run::new();
                noticed += u64::from(run.perform(&disk, &ops).is_none());
                let disk = disk.restart(outcome);
                run.reopen(&disk, &format!("{failure:?} at {step}, then {outcome:?}"));
            }
        }
    }
    // Only the removal of a superseded file may fail without stopping anything.
    assert_eq!(noticed, steps * 2 * 4, "no error is passed over");
}

#[test]
fn the_log_refuses_everything_after_an_error() {
    for step in 1..=3 {
        let disk = FaultyDisk::new(1);
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&promise(1));
        wal.sync().unwrap();
        disk.fail_at(disk.steps() + step, Failure::Io);
        wal.append(&accept(1, 1, 100));
        assert!(matches!(wal.sync(), Err(WalError::Io(_))));
        let steps = disk.steps();
        // The disk is fine again; that proves nothing about what was being written.
        for _ in 0..2 {
            assert!(matches!(wal.sync(), Err(WalError::Poisoned)));
            assert!(matches!(wal.truncate_below(Slot::new(1)), Err(WalError::Poisoned)));
        }
        assert_eq!(disk.steps(), steps, "nothing is tried again");
    }
}

#[test]
fn a_sync_that_failed_once_and_then_succeeds_is_not_believed() {
    let disk = FaultyDisk::new(1);
    let mut run = Run::new();
    let ops = [Op::Append(promise(1)), Op::Append(accept(1, 1, 9000)), Op::Sync];
    assert!(run.perform(&disk, &ops).is_some());
    let disk = disk.restart(Outcome::Lost);
    // Opening syncs directory and segment; the write is third, its sync fourth.
    disk.fail_at(disk.steps() + 4, Failure::Io);
    let ops = [Op::Append(accept(2, 1, 9000)), Op::Sync];
    assert!(run.perform(&disk, &ops).is_none());
    // The process starts again at once. The cache still shows the frame, the disk lacks it, and
    // the sync when the log is opened reports success.
    let disk = disk.restart(Outcome::Kept);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.pvalues.len(), 1, "what the cache shows is not durable");
    let disk = disk.restart(Outcome::Lost);
    run.reopen(&disk, "after the power loss");
}

#[test]
fn what_a_start_behind_an_error_writes_outlives_the_power() {
    let ops = workload(4);
    let steps = {
        let disk = FaultyDisk::new(0);
        assert!(Run::new().perform(&disk, &ops).is_some());
        disk.steps()
    };
    for step in 1..=steps {
        let disk = FaultyDisk::new(step);
        disk.fail_at(step, Failure::Io);
        let mut run = Run::new();
        run.perform(&disk, &ops);
        let disk = disk.restart(Outcome::Kept);
        let mut wal = run.reopen(&disk, &format!("an error at {step}, then a start"));
        wal.append(&promise(99));
        wal.sync().unwrap();
        drop(wal);
        let disk = disk.restart(Outcome::Lost);
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.ballot.round, 99, "an error at {step}, a start, then no power");
    }
}

#[test]
fn a_full_disk_stops_the_log_before_it_is_written_to() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = start(&disk).unwrap();
    disk.set_full(true);
    let mut acknowledged = 0;
    let error = loop {
        wal.append(&accept(acknowledged + 1, 1, 3000));
        match wal.sync() {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(acknowledged >= 5, "the space of the segment is reserved");
    let text = error.to_string();
    assert!(text.contains("allocate") || text.contains("create"), "{text}");
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.pvalues.len() as u64, acknowledged);
}

#[test]
fn a_read_error_stops_the_start() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&promise(1));
    wal.sync().unwrap();
    let disk = disk.restart(Outcome::Kept);
    disk.set_unreadable(crate::model::FIRST_SEGMENT, true);
    assert!(matches!(open(&disk), Err(WalError::Io(_))));
    disk.set_unreadable(crate::model::FIRST_SEGMENT, false);
    assert!(open(&disk).is_ok(), "opening can be tried again");
}

#[test]
fn the_machine_that_stopped_answers_nobody() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    let again = disk.restart(Outcome::Kept);
    wal.append(&promise(1));
    assert!(wal.sync().is_err(), "the old process is gone");
    assert!(load_or_create(&disk).is_none());
    assert!(open(&again).is_ok());
}
