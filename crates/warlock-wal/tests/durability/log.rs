//! What the log does when nothing fails.

use std::io::IoSlice;

use warlock_paxos::{Ballot, Slot};
use warlock_wal::{Disk, DiskFile, FaultyDisk, Outcome, Tail, Wal, WalError, WalOptions};

use crate::model::{
    FIRST_SEGMENT, OPTIONS, accept, ballot, batch, decided, learn, open, promise, write_snapshot,
};

#[test]
fn a_new_log_is_empty() {
    let (wal, recovered) = open(&FaultyDisk::new(1)).unwrap();
    assert_eq!(recovered.ballot, Ballot::ZERO);
    assert_eq!(recovered.decided, Slot::FIRST);
    assert_eq!(recovered.held, Slot::FIRST);
    assert_eq!(recovered.tail, Tail::Clean);
    assert!(recovered.pvalues.is_empty() && recovered.learned.is_empty());
    assert!(recovered.unknown.is_empty() && recovered.notes.is_empty());
    assert!(recovered.snapshot.is_none());
    assert_eq!(wal.bytes(), OPTIONS.segment_bytes);
}

#[test]
fn records_come_back_newest_for_each_slot() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    for record in [
        promise(1),
        accept(1, 1, 100),
        accept(2, 1, 100),
        accept(3, 1, 100),
        accept(2, 2, 200),
        learn(1, 7, 70),
        decided(3),
        learn(4, 7, 70),
    ] {
        wal.append(&record);
    }
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.ballot, ballot(2));
    assert_eq!(recovered.decided, Slot::new(3));
    assert_eq!(recovered.held, Slot::new(3), "slot 3 is accepted, not decided");
    let rounds: Vec<u64> = recovered.pvalues.iter().map(|it| it.ballot.round).collect();
    assert_eq!(rounds, [1, 2, 1]);
    assert_eq!(recovered.learned.len(), 2);
    assert_eq!(recovered.decided_batches(), [batch(1, 7, 70), batch(2, 2, 200)]);
    assert_eq!(recovered.undecided_pvalues().len(), 1);
}

#[test]
fn learned_batches_extend_what_is_held() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    for slot in 1..=3 {
        wal.append(&learn(slot, 1, 30));
    }
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.decided, Slot::FIRST, "no watermark was recorded");
    assert_eq!(recovered.held, Slot::new(4), "but what was learned is decided");
    assert_eq!(recovered.decided_batches().len(), 3);
}

#[test]
fn a_group_costs_one_write_and_one_sync_and_an_empty_one_nothing() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    let before = disk.steps();
    wal.sync().unwrap();
    assert_eq!(disk.steps(), before);
    for slot in 1..=20 {
        wal.append(&accept(slot, 1, 500));
    }
    assert_eq!(disk.steps(), before, "appending does no I/O");
    wal.sync().unwrap();
    assert_eq!(disk.steps() - before, 3, "write, sync, and the seal that is not synced");
    assert_eq!(wal.stats().syncs, 1);
    assert_eq!(wal.stats().records, 20);
}

#[test]
fn the_directory_stays_bounded_and_the_promise_survives() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    // The only promise record there will ever be.
    wal.append(&promise(42));
    wal.sync().unwrap();
    let mut most = 0;
    for slot in 1..=3000 {
        wal.append(&learn(slot, 1, 1000));
        wal.append(&decided(slot + 1));
        wal.sync().unwrap();
        if slot % 100 == 0 {
            write_snapshot(&disk, slot - 10, 1).unwrap();
            wal.truncate_below(Slot::new(slot - 10)).unwrap();
            let names = disk.list().unwrap();
            most = most.max(names.len());
            assert!(wal.bytes() <= 6 * OPTIONS.segment_bytes, "{} bytes", wal.bytes());
        }
    }
    assert!(most <= 10, "{most} files");
    assert!(wal.stats().segments_removed > 100);
    let disk = disk.restart(Outcome::Lost);
    let (mut wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.ballot, ballot(42), "P2");
    assert_eq!(recovered.held, Slot::new(3001));
    // Even with nothing left but the last segment.
    wal.truncate_below(Slot::new(9000)).unwrap();
    assert!(wal.bytes() >= OPTIONS.segment_bytes);
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.ballot, ballot(42), "P2");
}

#[test]
fn truncation_keeps_what_is_not_below() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    for slot in 1..=40 {
        wal.append(&accept(slot, 1, 3000));
        wal.sync().unwrap();
    }
    write_snapshot(&disk, 25, 1).unwrap();
    wal.truncate_below(Slot::new(25)).unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    let slots: Vec<u64> = recovered.pvalues.iter().map(|it| it.slot.position()).collect();
    assert_eq!(slots, (25..=40).collect::<Vec<u64>>());
    assert_eq!(recovered.snapshot.unwrap().slot, Slot::new(25));
}

#[test]
fn slots_that_only_a_lost_snapshot_covered_are_unknown() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    for slot in 1..=5 {
        wal.append(&accept(slot, 1, 100));
    }
    wal.sync().unwrap();
    // Accepted batches below the snapshot of a peer may be those of a ballot that lost.
    write_snapshot(&disk, 5, 1).unwrap();
    wal.truncate_below(Slot::new(5)).unwrap();
    wal.append(&accept(5, 2, 100));
    wal.append(&decided(6));
    wal.sync().unwrap();
    let snapshot = "snapshot-0000000000000005.snap";
    disk.flip_bit(snapshot, 1000);
    let (_, recovered) = open(&disk.restart(Outcome::Kept)).unwrap();
    assert!(recovered.snapshot.is_none());
    assert_eq!(recovered.held, Slot::FIRST);
    assert_eq!(recovered.unknown.len(), 1);
    assert_eq!(recovered.unknown[0].to_string(), "s1..s4");
    assert_eq!(recovered.decided_batches(), []);
    assert!(recovered.notes.iter().any(|note| note.to_string().contains(snapshot)));
}

/// A log that was truncated as if a snapshot covered all below slot 5, and nothing does.
fn forgotten() -> (FaultyDisk, Wal<FaultyDisk>) {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    for slot in 1..=6 {
        wal.append(&accept(slot, 1, 100));
    }
    wal.append(&decided(7));
    wal.sync().unwrap();
    wal.truncate_below(Slot::new(5)).unwrap();
    (disk, wal)
}

#[test]
fn what_is_learned_again_after_it_was_forgotten_is_there() {
    let (disk, _) = forgotten();
    let disk = disk.restart(Outcome::Lost);
    let (mut wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.held, Slot::FIRST);
    assert_eq!(recovered.unknown[0].to_string(), "s1..s4");
    for slot in 1..=4 {
        wal.append(&learn(slot, 2, 100));
    }
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!((recovered.held, recovered.unknown.len()), (Slot::new(7), 0));
    let learned = (1..=4).map(|slot| batch(slot, 2, 100));
    let kept = (5..=6).map(|slot| batch(slot, 1, 100));
    assert_eq!(recovered.decided_batches(), learned.chain(kept).collect::<Vec<_>>());
}

#[test]
fn what_is_accepted_below_the_watermark_is_accepted_and_not_decided() {
    let (disk, mut wal) = forgotten();
    // Of a ballot that lost, perhaps.
    for slot in [1, 2, 6] {
        wal.append(&accept(slot, 2, 100));
    }
    wal.sync().unwrap();
    let disk = disk.restart(Outcome::Lost);
    let (mut wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.held, Slot::FIRST);
    assert_eq!(recovered.unknown[0].to_string(), "s3..s4");
    let rounds = recovered.undecided_pvalues().into_iter().map(|it| it.ballot.round);
    assert_eq!(rounds.collect::<Vec<_>>(), [2, 2, 1, 2]);
    // The one that was decided is learned, before or after.
    for record in [learn(1, 3, 100), learn(2, 3, 100), accept(1, 4, 100)] {
        wal.append(&record);
        wal.sync().unwrap();
    }
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.held, Slot::new(3));
    assert_eq!(recovered.decided_batches(), [batch(1, 3, 100), batch(2, 3, 100)]);
}

#[test]
fn a_group_larger_than_a_segment_gets_one_of_its_size() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&accept(1, 1, 200_000));
    wal.sync().unwrap();
    wal.append(&accept(2, 1, 100));
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.pvalues.len(), 2);
    assert_eq!(recovered.pvalues[0].batch, batch(1, 1, 200_000));
}

#[test]
fn the_shortest_segment_works() {
    let disk = FaultyDisk::new(1);
    let options = WalOptions { segment_bytes: 1, ..OPTIONS };
    let (mut wal, _) = Wal::open(disk.clone(), options).unwrap();
    for slot in 1..=10 {
        wal.append(&accept(slot, 1, 100));
        wal.sync().unwrap();
    }
    let (_, recovered) = Wal::open(disk.restart(Outcome::Lost), options).unwrap();
    assert_eq!(recovered.pvalues.len(), 10);
}

#[test]
fn a_later_format_is_refused_by_name() {
    let disk = FaultyDisk::new(1);
    open(&disk).unwrap();
    let mut content = disk.content(FIRST_SEGMENT).unwrap();
    for copy in [0, 2048] {
        let copy = &mut content[copy..copy + 256];
        copy[12] = 9;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&copy[..8]), &copy[12..]);
        copy[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
    let file = disk.open(FIRST_SEGMENT).unwrap();
    file.write_at(&mut [IoSlice::new(&content)], 0).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, WalError::NewerVersion { version: 9, .. }));
    assert!(error.to_string().contains(FIRST_SEGMENT), "{error}");
}

#[test]
fn a_log_that_is_gone_is_not_a_new_one() {
    let disk = FaultyDisk::new(1);
    open(&disk).unwrap();
    write_snapshot(&disk, 5, 1).unwrap();
    disk.remove(FIRST_SEGMENT).unwrap();
    assert!(matches!(open(&disk), Err(WalError::LogMissing)));
    let options = WalOptions { may_create: false, ..OPTIONS };
    let result = Wal::open(FaultyDisk::new(1), options);
    assert!(matches!(result, Err(WalError::LogMissing)));
}

#[test]
#[should_panic(expected = "P2")]
fn a_lower_promise_is_a_fault_of_the_caller() {
    let (mut wal, _) = open(&FaultyDisk::new(1)).unwrap();
    wal.append(&promise(2));
    wal.append(&promise(1));
}

#[test]
#[should_panic(expected = "P2")]
fn a_lower_accept_is_a_fault_of_the_caller() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&promise(2));
    wal.sync().unwrap();
    let (mut wal, _) = open(&disk.restart(Outcome::Lost)).unwrap();
    wal.append(&accept(1, 1, 10));
}

/// A segment that was begun behind an unfinished frame, and is replaced by a larger one before it
/// has a frame, must hand on that the unfinished frame does not count.
#[test]
fn a_replaced_segment_still_says_what_was_never_written() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&accept(1, 1, 100));
    wal.sync().unwrap();
    wal.append(&accept(2, 1, 5000));
    disk.crash_at(disk.steps() + 2);
    assert!(wal.sync().is_err());
    let disk = disk.restart(Outcome::Reordered);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.tail, Tail::Torn { sequence: 2 });
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&accept(3, 1, 50_000));
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.unknown, []);
    assert_eq!(recovered.pvalues.len(), 2);
}
