//! The same on a real file system.

use std::io::{ErrorKind, IoSlice};

use warlock_paxos::Slot;
use warlock_wal::{Disk, DiskFile, Freed, FsDisk, Tail, Wal, WalOptions};

use crate::model::{OPTIONS, Run, accept, chunks, read_snapshot, workload, write_snapshot};

#[test]
fn a_workload_survives_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = Run::new();
    {
        let disk = FsDisk::open(directory.path()).unwrap();
        assert!(run.perform(&disk, &workload(5)).is_some());
    }
    let disk = FsDisk::open(directory.path()).unwrap();
    let (_, recovered) = Wal::open(disk.clone(), OPTIONS).unwrap();
    run.check_damaged(&recovered, "nothing is damaged");
    assert_eq!(recovered.unknown, []);
    assert_eq!(recovered.tail, Tail::Clean);
    assert_eq!(recovered.decided, run.acknowledged.decided);
    let snapshot = recovered.snapshot.unwrap().slot;
    assert_eq!(read_snapshot(&disk, snapshot), Some(chunks(snapshot.position())));
}

#[test]
fn groups_of_more_slices_than_a_system_call_takes_are_written_whole() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(directory.path()).unwrap();
    let options = WalOptions { segment_bytes: 1024 * 1024, ..OPTIONS };
    let (mut wal, _) = Wal::open(disk.clone(), options).unwrap();
    for slot in 1..=5000 {
        wal.append(&accept(slot, 1, 100));
    }
    wal.sync().unwrap();
    drop(wal);
    let (_, recovered) = Wal::open(disk, options).unwrap();
    assert_eq!(recovered.pvalues.len(), 5000);
}

#[test]
fn truncation_frees_space() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(directory.path()).unwrap();
    let (mut wal, _) = Wal::open(disk.clone(), OPTIONS).unwrap();
    for slot in 1..=40 {
        wal.append(&accept(slot, 1, 3000));
        wal.sync().unwrap();
    }
    let files = disk.list().unwrap().len();
    write_snapshot(&disk, 40, 1).unwrap();
    wal.truncate_below(Slot::new(40)).unwrap();
    assert!(disk.list().unwrap().len() < files);
}

#[test]
fn a_directory_serves_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let disk = FsDisk::open(&path).unwrap();
    assert_eq!(disk.path(), path);
    let error = FsDisk::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(error.to_string().contains("in use"), "{error}");
    let handle = disk.clone();
    drop(disk);
    assert!(FsDisk::open(&path).is_err(), "a handle still lives");
    drop(handle);
    assert!(FsDisk::open(&path).is_ok());
}

#[test]
fn a_directory_without_parent_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let error = FsDisk::open(&directory.path().join("a/b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn files_do_what_the_trait_says() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(directory.path()).unwrap();
    disk_contract(&disk);
    disk_contract(&warlock_wal::FaultyDisk::new(1));
}

#[test]
fn a_large_file_is_freed_bit_by_bit_once_nobody_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(directory.path()).unwrap().freeing_slowly();
    const LENGTH: u64 = 20 * 1024 * 1024 + 1;
    let small = disk.create("small").unwrap();
    small.write_at(&mut [IoSlice::new(b"small")], 0).unwrap();
    disk.create("large").unwrap().allocate(LENGTH).unwrap();
    let reader = disk.open("large").unwrap();
    disk.remove("small").unwrap();
    assert_eq!(disk.free_some(), Freed::Nothing, "it is gone already");
    disk.remove("large").unwrap();
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    assert_eq!(disk.free_some(), Freed::InUse);
    let mut end = [9; 2];
    assert_eq!(reader.read_at(&mut end, LENGTH - 1).unwrap(), 1, "a reader notices nothing");
    // A new file of the name is another one.
    let other = disk.create("large").unwrap();
    other.allocate(10).unwrap();
    drop(reader);
    for _ in 0..21 {
        assert_eq!(disk.free_some(), Freed::Some);
    }
    assert_eq!(disk.free_some(), Freed::Nothing);
    assert_eq!(other.length().unwrap(), 10);
}

/// The double and the real disk agree on everything that does not involve failure.
fn disk_contract<D: Disk>(disk: &D) {
    assert_eq!(disk.open("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.open_for_parts("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    let file = disk.create("a").unwrap();
    file.allocate(5000).unwrap();
    assert_eq!(file.length().unwrap(), 5000);
    file.allocate(100).unwrap();
    assert_eq!(file.length().unwrap(), 5000, "it never shrinks");
    let parts = &mut [IoSlice::new(b""), IoSlice::new(b"one"), IoSlice::new(b"two")];
    file.write_at(parts, 4998).unwrap();
    file.write_at(&mut [], 0).unwrap();
    assert_eq!(file.length().unwrap(), 5004);
    file.sync_data().unwrap();
    file.drop_cache().unwrap();
    let mut buffer = [9; 10];
    assert_eq!(file.read_at(&mut buffer, 4996).unwrap(), 8);
    assert_eq!(&buffer, b"\0\0onetwo\x09\x09");
    let mut part = [9; 4];
    assert_eq!(disk.open_for_parts("a").unwrap().read_at(&mut part, 4999).unwrap(), 4);
    assert_eq!(&part, b"netw");
    assert_eq!(file.read_at(&mut buffer, 9000).unwrap(), 0);
    past_cache_contract(disk);
    disk.create("c").unwrap();
    disk.rename("a", "b").unwrap();
    disk.sync_directory().unwrap();
    assert_eq!(disk.list().unwrap(), ["b", "c"]);
    assert_eq!(disk.open("b").unwrap().length().unwrap(), 5004);
    disk.rename("c", "b").unwrap();
    assert_eq!(disk.open("b").unwrap().length().unwrap(), 0, "the old file is replaced");
    disk.remove("b").unwrap();
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
}

/// What is written past the cache is all there once it is synced, however it was cut.
fn past_cache_contract<D: Disk>(disk: &D) {
    let content: Vec<u8> = (0..=250).cycle().take(700_000).collect();
    for step in [999, 4096, 262_144, 300_000, 700_000] {
        let file = disk.create_past_cache("p").unwrap();
        file.allocate(content.len() as u64).unwrap();
        let mut offset = 0;
        for part in content.chunks(step) {
            let (one, two) = part.split_at(part.len() / 3);
            file.write_at(&mut [IoSlice::new(one), IoSlice::new(two)], offset).unwrap();
            offset += part.len() as u64;
        }
        file.sync_data().unwrap();
        file.sync_data().unwrap();
        let (file, mut read) = (disk.open("p").unwrap(), vec![0; content.len() + 1]);
        assert_eq!(file.read_at(&mut read, 0).unwrap(), content.len(), "in steps of {step}");
        assert!(read[..content.len()] == content, "in steps of {step}");
    }
    disk.remove("p").unwrap();
}
