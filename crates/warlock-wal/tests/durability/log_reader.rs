//! What is decided can be read back while the log goes on.

use warlock_paxos::{Batch, Slot};
use warlock_wal::{Disk, FaultyDisk, LogReader, Outcome, Wal};

use crate::model::{accept, batch, decided, learn, open};

/// Appends slots, each decided by the watermark that the next one carries.
fn write(wal: &mut Wal<FaultyDisk>, slots: std::ops::Range<u64>) {
    for slot in slots {
        wal.append(&decided(slot));
        wal.append(&accept(slot, 1, 3000));
        wal.sync().unwrap();
    }
}

fn expected(slots: std::ops::Range<u64>) -> Vec<Batch> {
    slots.map(|slot| batch(slot, 1, 3000)).collect()
}

#[test]
fn decided_slots_are_read_from_anywhere_over_many_segments() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    write(&mut wal, 1..60);
    assert!(disk.list().unwrap().len() > 5);
    for from in [1, 2, 17, 30, 58] {
        let mut reader = LogReader::new(disk.clone());
        let read = reader.read(Slot::new(from), usize::MAX).unwrap();
        assert_eq!(read, expected(from..59), "from s{from}; s59 is not decided");
    }
}

#[test]
fn a_reader_goes_on_where_it_stopped_and_follows_the_log() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    let mut reader = LogReader::new(disk);
    let mut all = Vec::new();
    for round in 0..20 {
        write(&mut wal, 1 + round * 4..5 + round * 4);
        loop {
            let from = Slot::new(all.len() as u64 + 1);
            let read = reader.read(from, 5000).unwrap();
            assert!(read.len() <= 2, "about as much as was asked for");
            if read.is_empty() {
                break;
            }
            all.extend(read);
        }
    }
    assert_eq!(all, expected(1..80));
}

#[test]
fn the_newest_record_of_a_slot_counts() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    for record in [
        accept(1, 1, 3000),
        accept(2, 1, 3000),
        accept(3, 1, 3000),
        accept(1, 2, 300),
        learn(2, 3, 30),
        decided(3),
    ] {
        wal.append(&record);
        wal.sync().unwrap();
    }
    let mut reader = LogReader::new(disk);
    let read = reader.read(Slot::FIRST, usize::MAX).unwrap();
    assert_eq!(read, [batch(1, 2, 300), batch(2, 3, 30)]);
}

#[test]
fn what_is_accepted_below_the_watermark_is_not_taken_for_decided() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    for records in [vec![accept(1, 2, 300), accept(2, 2, 300), decided(3)], vec![accept(2, 3, 30)]]
    {
        records.iter().for_each(|record| wal.append(record));
        wal.sync().unwrap();
    }
    let mut reader = LogReader::new(disk);
    let read = reader.read(Slot::FIRST, usize::MAX).unwrap();
    assert_eq!(read, [batch(1, 2, 300), batch(2, 2, 300)]);
}

#[test]
fn what_was_dropped_or_damaged_is_not_read() {
    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    write(&mut wal, 1..60);
    wal.truncate_below(Slot::new(30)).unwrap();
    let mut reader = LogReader::new(disk.clone());
    assert_eq!(reader.read(Slot::FIRST, usize::MAX).unwrap(), []);
    assert_eq!(reader.read(Slot::new(30), usize::MAX).unwrap(), expected(30..59));
    let names = disk.list().unwrap();
    disk.flip_bit(&names[1], 8 * 6000);
    let read = LogReader::new(disk).read(Slot::new(30), usize::MAX).unwrap();
    assert!(read.len() < 29, "it ends at the damage");
    assert_eq!(read, expected(30..30 + read.len() as u64));
}

#[test]
fn a_segment_without_a_frame_ends_the_log_wherever_a_crash_left_it() {
    let mut empty = 0;
    for step in 1..80 {
        let disk = FaultyDisk::new(step);
        let (mut wal, _) = open(&disk).unwrap();
        write(&mut wal, 1..4);
        disk.crash_at(disk.steps() + step);
        for slot in 4..12 {
            wal.append(&decided(slot));
            wal.append(&accept(slot, 1, 3000));
            if wal.sync().is_err() {
                break;
            }
        }
        let disk = disk.restart(Outcome::Kept);
        let newest = disk.list().unwrap().pop().unwrap();
        let content = disk.medium(&newest).unwrap();
        empty += u32::from(content.iter().skip(4096).all(|byte| *byte == 0));
        let read = LogReader::new(disk).read(Slot::FIRST, usize::MAX).unwrap();
        assert!(read.len() >= 2, "what was decided before the crash is there");
        assert_eq!(read, expected(1..1 + read.len() as u64), "after step {step}");
    }
    assert!(empty > 0, "no crash left a segment without a frame");
}
