//! Snapshots are complete or absent.

use warlock_paxos::{Ballot, Slot};
use warlock_wal::{
    DiskImage, Failure, FaultyDisk, Outcome, SnapshotError, Snapshots, Wal, WalError, limits,
};

use crate::model::{OPTIONS, chunks, meta, read_snapshot, write_snapshot};

/// Length of a header without its membership, in bytes (FORMAT.md).
const HEADER_LENGTH: usize = 60;

fn slot(position: u64) -> Slot {
    Slot::new(position)
}

/// A snapshot of slots below `position`, and its file.
fn peer(position: u64) -> (DiskImage, Vec<u8>) {
    let disk = FaultyDisk::new(1);
    write_snapshot(&disk, position, 3).unwrap();
    let file = disk.content(&name(position)).unwrap();
    (disk.image(), file)
}

fn name(position: u64) -> String {
    format!("snapshot-{position:016x}.snap")
}

#[test]
fn a_snapshot_comes_back_with_everything_in_it() {
    let disk = FaultyDisk::new(1);
    assert!(Snapshots::new(disk.clone()).newest().unwrap().snapshot.is_none());
    write_snapshot(&disk, 9, 3).unwrap();
    let disk = disk.restart(Outcome::Lost);
    let snapshots = Snapshots::new(disk.clone());
    let newest = snapshots.newest().unwrap();
    assert_eq!(newest.snapshot, Some(meta(9, 3)));
    assert_eq!(read_snapshot(&disk, slot(9)), Some(chunks(9)));
    let error = snapshots.open(slot(8)).unwrap_err();
    assert!(matches!(error, SnapshotError::Absent { .. }), "{error}");
}

#[test]
fn a_snapshot_that_is_written_again_after_a_failed_sync_is_durable() {
    let probe = FaultyDisk::new(1);
    write_snapshot(&probe, 9, 3).unwrap();
    let mut failures = 0;
    for step in 1..=probe.steps() {
        let disk = FaultyDisk::new(1);
        disk.fail_at(step, Failure::Io);
        failures += usize::from(write_snapshot(&disk, 9, 3).is_err());
        write_snapshot(&disk, 9, 3).unwrap();
        let disk = disk.restart(Outcome::Lost);
        let newest = Snapshots::new(disk).newest().unwrap();
        assert_eq!(newest.snapshot, Some(meta(9, 3)), "after a failure of step {step}");
    }
    assert!(failures > 3, "{failures} failures");
}

#[test]
fn a_snapshot_given_up_leaves_nothing() {
    let disk = FaultyDisk::new(1);
    let mut writer = Snapshots::new(disk.clone()).begin(&meta(9, 3)).unwrap();
    writer.write_chunk(&[1; 10_000]).unwrap();
    drop(writer);
    assert_eq!(warlock_wal::Disk::list(&disk).unwrap(), Vec::<String>::new());
}

#[test]
fn chunks_are_limited_and_empty_ones_are_nothing() {
    let disk = FaultyDisk::new(1);
    let snapshots = Snapshots::new(disk.clone());
    let mut writer = snapshots.begin(&meta(9, 3)).unwrap();
    let longest = vec![5; limits::SNAPSHOT_CHUNK_BYTES_MAX];
    writer.write_chunk(&longest).unwrap();
    writer.write_chunk(&[]).unwrap();
    writer.write_chunk(&[6]).unwrap();
    writer.finish().unwrap();
    let found = read_snapshot(&disk, slot(9)).unwrap();
    assert!(found == [longest.clone(), vec![6]], "the empty chunk is not one");
    let mut writer = snapshots.begin(&meta(10, 3)).unwrap();
    let longer = [longest, vec![5]].concat();
    let write = std::panic::AssertUnwindSafe(|| writer.write_chunk(&longer));
    assert!(std::panic::catch_unwind(write).is_err());
}

#[test]
fn the_membership_is_limited() {
    let snapshots = Snapshots::new(FaultyDisk::new(1));
    let mut meta = meta(9, 3);
    meta.membership = vec![1; limits::MEMBERSHIP_BYTES_MAX];
    snapshots.begin(&meta).unwrap().finish().unwrap();
    assert_eq!(snapshots.newest().unwrap().snapshot, Some(meta.clone()));
    meta.membership.push(1);
    let begin = std::panic::AssertUnwindSafe(|| snapshots.begin(&meta));
    assert!(std::panic::catch_unwind(begin).is_err());
}

#[test]
fn every_flipped_bit_is_found() {
    let (image, file) = peer(9);
    for bit in 0..file.len() as u64 * 8 {
        let disk = FaultyDisk::from_image(&image, 1);
        disk.flip_bit(&name(9), bit);
        let newest = Snapshots::new(disk).newest().unwrap();
        assert_eq!(newest.snapshot, None, "bit {bit}");
        assert_eq!(newest.damaged, [name(9)], "bit {bit}");
    }
}

#[test]
fn every_cut_is_found() {
    let (image, file) = peer(9);
    for length in 0..file.len() as u64 {
        let disk = FaultyDisk::from_image(&image, 1);
        disk.cut(&name(9), length);
        let newest = Snapshots::new(disk).newest().unwrap();
        assert_eq!(newest.snapshot, None, "{length} of {} bytes", file.len());
    }
}

#[test]
fn an_older_snapshot_serves_when_the_newest_is_damaged() {
    let disk = FaultyDisk::new(1);
    for position in [5, 9] {
        write_snapshot(&disk, position, 3).unwrap();
    }
    disk.zero(&name(9), 100, 50);
    let newest = Snapshots::new(disk.restart(Outcome::Kept)).newest().unwrap();
    assert_eq!(newest.snapshot, Some(meta(5, 3)));
    assert_eq!(newest.damaged, [name(9)]);
}

#[test]
fn a_snapshot_of_a_later_version_is_not_passed_over_for_an_older_one() {
    let disk = FaultyDisk::new(1);
    for position in [5, 9] {
        write_snapshot(&disk, position, 3).unwrap();
    }
    let mut header = disk.content(&name(9)).unwrap();
    header.truncate(HEADER_LENGTH + meta(9, 3).membership.len());
    header[12] = 9;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..8]), &header[12..]);
    header[8..12].copy_from_slice(&checksum.to_le_bytes());
    let file = warlock_wal::Disk::open(&disk, &name(9)).unwrap();
    warlock_wal::DiskFile::write_at(&file, &mut [std::io::IoSlice::new(&header)], 0).unwrap();
    let snapshots = Snapshots::new(disk.clone());
    for error in [snapshots.newest().unwrap_err(), snapshots.open(slot(9)).unwrap_err()] {
        assert!(matches!(error, SnapshotError::NewerVersion { version: 9, .. }), "{error}");
    }
    let error = Wal::open(disk, OPTIONS).unwrap_err();
    let later = matches!(&error, WalError::Snapshot(SnapshotError::NewerVersion { .. }));
    assert!(later, "the node must not go back to an older state: {error}");
}

#[test]
fn a_snapshot_under_the_name_of_another_does_not_count() {
    let disk = FaultyDisk::new(1);
    write_snapshot(&disk, 5, 3).unwrap();
    warlock_wal::Disk::rename(&disk, &name(5), &name(9)).unwrap();
    let newest = Snapshots::new(disk).newest().unwrap();
    assert_eq!(newest.snapshot, None);
}

#[test]
fn the_newest_are_kept_and_an_older_one_never_replaces_them() {
    let disk = FaultyDisk::new(1);
    let snapshots = Snapshots::new(disk.clone());
    for position in [3, 5, 9] {
        write_snapshot(&disk, position, 3).unwrap();
    }
    assert_eq!(snapshots.slots().unwrap(), [slot(5), slot(9)]);
    write_snapshot(&disk, 2, 3).unwrap();
    assert_eq!(snapshots.slots().unwrap(), [slot(5), slot(9)]);
    assert_eq!(snapshots.newest().unwrap().snapshot, Some(meta(9, 3)));
}

#[test]
fn two_in_flight_do_not_disturb_each_other() {
    let (_, file) = peer(9);
    let disk = FaultyDisk::new(1);
    let snapshots = Snapshots::new(disk);
    let mut own = snapshots.begin(&meta(9, 3)).unwrap();
    let mut received = snapshots.receive(slot(9), file.len() as u64).unwrap();
    received.write_at(&file[..50], 0).unwrap();
    for chunk in chunks(9) {
        own.write_chunk(&chunk).unwrap();
    }
    own.finish().unwrap();
    let mut reader = snapshots.open(slot(9)).unwrap();
    received.write_at(&file[50..], 50).unwrap();
    received.finish().unwrap();
    let mut found = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        found.push(chunk);
    }
    assert_eq!(found, chunks(9), "a transfer from the first one goes on");
    assert_eq!(snapshots.slots().unwrap(), [slot(9)]);
}

#[test]
fn a_snapshot_travels_to_a_peer() {
    let (image, file) = peer(9);
    let source = Snapshots::new(FaultyDisk::from_image(&image, 1)).open(slot(9)).unwrap();
    assert_eq!(source.length(), file.len() as u64);
    assert_eq!(source.meta().ballot, meta(9, 3).ballot);
    let disk = FaultyDisk::new(2);
    let snapshots = Snapshots::new(disk.clone());
    let mut target = snapshots.receive(slot(9), source.length()).unwrap();
    let mut buffer = [0; 1000];
    while target.received() < source.length() {
        let count = source.read_at(&mut buffer, target.received()).unwrap();
        assert!(count > 0);
        target.write_at(&buffer[..count], target.received()).unwrap();
    }
    assert_eq!(target.finish().unwrap(), meta(9, 3));
    let disk = disk.restart(Outcome::Lost);
    assert_eq!(read_snapshot(&disk, slot(9)), Some(chunks(9)));
}

#[test]
fn parts_out_of_order_or_beyond_the_end_are_refused() {
    let (_, file) = peer(9);
    let snapshots = Snapshots::new(FaultyDisk::new(1));
    let mut target = snapshots.receive(slot(9), file.len() as u64).unwrap();
    target.write_at(&file[..100], 0).unwrap();
    for (start, end) in [(0, 100), (200, 300)] {
        let error = target.write_at(&file[start..end], start as u64).unwrap_err();
        assert!(matches!(error, SnapshotError::OutOfOrder { due: 100, .. }), "{error}");
    }
    let longer = [&file[100..], b"x"].concat();
    assert!(target.write_at(&longer, 100).is_err(), "one past the end");
    target.write_at(&file[100..], 100).unwrap();
    assert_eq!(target.received(), file.len() as u64);
    target.finish().unwrap();
}

#[test]
fn a_received_snapshot_that_is_not_in_order_is_absent() {
    let (_, file) = peer(9);
    let disk = FaultyDisk::new(1);
    let snapshots = Snapshots::new(disk.clone());
    let receive = |position: u64, bytes: &[u8], length: usize| {
        let mut target = snapshots.receive(slot(position), length as u64).unwrap();
        target.write_at(bytes, 0).unwrap();
        target.finish()
    };
    let mut damaged = file.clone();
    damaged[200] ^= 1;
    for (what, result) in [
        ("damaged", receive(9, &damaged, file.len())),
        ("cut", receive(9, &file[..300], file.len())),
        ("shorter", receive(9, &file[..300], 300)),
        ("of another slot", receive(8, &file, file.len())),
        ("not a snapshot", receive(9, &[7; 5000], 5000)),
    ] {
        assert!(matches!(result, Err(SnapshotError::Damaged { .. })), "{what}: {result:?}");
    }
    assert_eq!(snapshots.slots().unwrap(), []);
    assert_eq!(warlock_wal::Disk::list(&disk).unwrap(), Vec::<String>::new(), "all given up");
}

#[test]
fn a_crash_while_receiving_leaves_all_or_nothing() {
    let (_, file) = peer(9);
    let receive = |disk: &FaultyDisk| -> Result<(), SnapshotError> {
        let mut target = Snapshots::new(disk.clone()).receive(slot(9), file.len() as u64)?;
        for part in file.chunks(1000) {
            target.write_at(part, target.received())?;
        }
        target.finish().map(|_| ())
    };
    let disk = FaultyDisk::new(1);
    write_snapshot(&disk, 5, 3).unwrap();
    let image = disk.image();
    let before = FaultyDisk::from_image(&image, 1).steps();
    let disk = FaultyDisk::from_image(&image, 1);
    receive(&disk).unwrap();
    for step in before + 1..=disk.steps() {
        for outcome in Outcome::ALL {
            for seed in 0..5 {
                let disk = FaultyDisk::from_image(&image, seed);
                disk.crash_at(step);
                assert!(receive(&disk).is_err());
                let disk = disk.restart(outcome);
                let newest = Snapshots::new(disk.clone()).newest().unwrap();
                assert_eq!(newest.damaged, Vec::<String>::new(), "{step} {outcome:?} {seed}");
                let found = newest.snapshot.unwrap().slot;
                assert!([slot(5), slot(9)].contains(&found), "{step} {outcome:?} {seed}");
                receive(&disk).unwrap();
                assert_eq!(read_snapshot(&disk, slot(9)), Some(chunks(9)));
            }
        }
    }
}

#[test]
fn the_ballot_of_a_snapshot_is_never_undercut() {
    let disk = FaultyDisk::new(1);
    crate::model::open(&disk).unwrap();
    write_snapshot(&disk, 5, 30).unwrap();
    let (mut wal, recovered) = crate::model::open(&disk).unwrap();
    assert!(recovered.ballot > Ballot::ZERO);
    assert_eq!(recovered.ballot, crate::model::ballot(30), "P2");
    wal.append(&crate::model::promise(31));
    wal.sync().unwrap();
}
