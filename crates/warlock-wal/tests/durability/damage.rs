//! The medium rots: whatever was acknowledged is there exactly, or unknown.

use warlock_paxos::{Slot, SlotRange};
use warlock_wal::{DiskImage, Failure, FaultyDisk, Note, Outcome, Recovered, Tail, Wal};

use crate::model::{
    FIRST_SEGMENT, OPTIONS, Op, Run, accept, ballot, decided, learn, open, promise, write_snapshot,
};

const PAGE: u64 = 4096;

/// Where the last frame of [`short_log`] ends.
const LOG_END: u64 = 6 * PAGE;

/// A short log in one segment with records of all kinds, and the last frame large.
fn short_log() -> Vec<Op> {
    vec![
        Op::Append(promise(1)),
        Op::Sync,
        Op::Append(accept(1, 1, 200)),
        Op::Append(accept(2, 1, 40)),
        Op::Append(decided(2)),
        Op::Sync,
        Op::Append(promise(2)),
        Op::Append(accept(2, 2, 40)),
        Op::Append(accept(3, 2, 300)),
        Op::Sync,
        Op::Append(learn(3, 3, 60)),
        Op::Append(decided(4)),
        Op::Append(accept(4, 2, 5000)),
        Op::Append(accept(5, 2, 30)),
        Op::Sync,
    ]
}

/// The disk after `ops`, with the last seal or, as after a power loss, without.
fn written(ops: &[Op], last: Outcome) -> (DiskImage, Run) {
    let disk = FaultyDisk::new(5);
    let mut run = Run::new();
    assert!(run.perform(&disk, ops).is_some());
    (disk.restart(last).image(), run)
}

fn damaged(image: &DiskImage, damage: impl FnOnce(&FaultyDisk)) -> (FaultyDisk, Recovered) {
    let disk = FaultyDisk::from_image(image, 9);
    damage(&disk);
    let (_, recovered) = open(&disk).unwrap();
    (disk, recovered)
}

fn bits(image: &DiskImage) -> u64 {
    FaultyDisk::from_image(image, 0).content(FIRST_SEGMENT).unwrap().len() as u64 * 8
}

fn unknown(first: u64, last: u64) -> SlotRange {
    SlotRange { first: Slot::new(first), last: Slot::new(last) }
}

fn flip_every_bit(last: Outcome) {
    let (image, run) = written(&short_log(), last);
    let (mut abstained, mut repaired) = (0, 0);
    for bit in 0..bits(&image) {
        let (_, recovered) = damaged(&image, |disk| disk.flip_bit(FIRST_SEGMENT, bit));
        run.check_damaged(&recovered, &format!("bit {bit}"));
        // A bit in space that was never written looks like a write that had just begun.
        let is_written = bit < LOG_END * 8;
        let is_torn = matches!(recovered.tail, Tail::Torn { .. });
        assert!(!(is_torn && is_written), "bit {bit}: nothing is unfinished");
        abstained += u64::from(!recovered.unknown.is_empty());
        repaired += recovered
            .notes
            .iter()
            .filter(|note| {
                matches!(note, Note::RepairedFrame { .. } | Note::DamagedHeader { lost: false, .. })
            })
            .count();
    }
    assert!(abstained > 40_000, "{abstained} flips hit a record or the end");
    assert!(repaired > 4_000, "{repaired} flips hit a header");
}

#[test]
fn every_flipped_bit_is_found() {
    flip_every_bit(Outcome::Kept);
}

#[test]
fn every_flipped_bit_is_found_after_a_power_loss() {
    flip_every_bit(Outcome::Lost);
}

#[test]
fn every_lost_sector_and_page_is_found() {
    let (image, run) = written(&short_log(), Outcome::Kept);
    let bytes = bits(&image) / 8;
    for (length, what) in [(512, "sector"), (PAGE, "page")] {
        for offset in (0..bytes).step_by(length as usize) {
            let (_, recovered) = damaged(&image, |disk| disk.zero(FIRST_SEGMENT, offset, length));
            run.check_damaged(&recovered, &format!("{what} of zeros at {offset}"));
            let (_, recovered) = damaged(&image, |disk| disk.garble(FIRST_SEGMENT, offset, length));
            run.check_damaged(&recovered, &format!("{what} of noise at {offset}"));
        }
    }
}

#[test]
fn every_cut_is_found() {
    let (image, run) = written(&short_log(), Outcome::Kept);
    for length in (0..bits(&image) / 8).step_by(512) {
        let disk = FaultyDisk::from_image(&image, 1);
        disk.cut(FIRST_SEGMENT, length);
        let (_, recovered) = open(&disk).unwrap();
        let story = format!("cut at {length}");
        assert!(recovered.tail != Tail::Clean || length < PAGE, "{story}");
        if length >= PAGE {
            // A promise that is gone without a trace is what the suspicion is about.
            let mut run = run.clone();
            run.acknowledged.ballot = run.acknowledged.ballot.min(recovered.ballot);
            run.check_damaged(&recovered, &story);
        }
    }
}

#[test]
fn damage_anywhere_before_the_last_frame_is_found() {
    let (image, run) = written(&short_log(), Outcome::Kept);
    // The last frame has two pages and starts behind header and three frames; its seal follows.
    let end = 4 * PAGE;
    for start in (PAGE..end).step_by(512) {
        for length in (512..=end - start).step_by(512) {
            let (_, recovered) = damaged(&image, |disk| disk.zero(FIRST_SEGMENT, start, length));
            run.check_damaged(&recovered, &format!("zeros {start} + {length}"));
            assert_eq!(recovered.tail, Tail::Clean);
        }
    }
}

#[test]
fn a_damaged_record_is_unknown_until_it_is_accepted_anew_or_decided() {
    let (image, _) = written(&short_log(), Outcome::Kept);
    // The body of slot 4 is in the second page of the last frame.
    let (disk, recovered) = damaged(&image, |disk| disk.flip_bit(FIRST_SEGMENT, 5 * PAGE * 8 + 99));
    assert_eq!(recovered.unknown, [unknown(4, 4)]);
    assert_eq!(recovered.tail, Tail::Damaged { sequence: 4 });
    assert_eq!(recovered.held, Slot::new(4));
    let five = recovered.undecided_pvalues();
    assert_eq!(five.len(), 1, "slot 5 of the same frame can be read");
    assert_eq!(five[0].slot, Slot::new(5));
    // Every later reading comes to the same result, however much was written since.
    for round in 3..6 {
        let disk = disk.restart(Outcome::Lost);
        let (mut wal, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.unknown, [unknown(4, 4)]);
        wal.append(&accept(5 + round, round, 100));
        wal.sync().unwrap();
    }
    let image = disk.restart(Outcome::Lost).image();

    let disk = FaultyDisk::from_image(&image, 1);
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&accept(4, 9, 100));
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.unknown, [], "accepted anew");

    let disk = FaultyDisk::from_image(&image, 1);
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&learn(6, 9, 100));
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.unknown, [unknown(4, 4)], "another slot proves nothing");

    let (mut wal, _) = open(&disk.restart(Outcome::Lost)).unwrap();
    wal.append(&learn(4, 9, 100));
    wal.append(&decided(5));
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.unknown, [], "decided and learned");
    assert_eq!(recovered.held, Slot::new(5));
    assert_eq!(recovered.decided_batches().len(), 4);
}

#[test]
fn a_learned_batch_alone_does_not_say_what_the_acceptor_had() {
    let disk = FaultyDisk::new(1);
    let ops = [
        Op::Append(accept(1, 1, 50)),
        Op::Append(accept(2, 1, 50)),
        Op::Sync,
        Op::Append(promise(1)),
        Op::Sync,
    ];
    assert!(Run::new().perform(&disk, &ops).is_some());
    let body_of_two = PAGE + 128 + 80 + 100 + 10;
    disk.flip_bit(FIRST_SEGMENT, body_of_two * 8);
    let disk = disk.restart(Outcome::Kept);
    let (mut wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.unknown, [unknown(2, 2)]);
    wal.append(&learn(2, 1, 50));
    wal.sync().unwrap();
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.learned.len(), 1);
    assert_eq!(recovered.unknown, [unknown(2, 2)]);
}

#[test]
fn truncation_forgets_damage_that_a_snapshot_covers() {
    let (image, _) = written(&short_log(), Outcome::Kept);
    let (disk, recovered) = damaged(&image, |disk| disk.garble(FIRST_SEGMENT, PAGE, 4 * PAGE));
    assert!(!recovered.unknown.is_empty());
    assert!(recovered.ballot >= ballot(2), "the footer of the last frame has it");
    let disk = disk.restart(Outcome::Lost);
    let (mut wal, _) = open(&disk).unwrap();
    let before = wal.bytes();
    write_snapshot(&disk, 6, 2).unwrap();
    wal.truncate_below(Slot::new(6)).unwrap();
    assert!(wal.bytes() < before, "the damaged segment is dropped");
    let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
    assert_eq!(recovered.unknown, []);
    assert_eq!(recovered.held, Slot::new(6));
    assert_eq!(recovered.ballot, ballot(2), "P2");
}

#[test]
fn an_unreadable_end_is_suspect_for_ever() {
    let (image, _) = written(&short_log(), Outcome::Lost);
    let (disk, recovered) = damaged(&image, |disk| disk.garble(FIRST_SEGMENT, 4 * PAGE, 2 * PAGE));
    assert_eq!(recovered.tail, Tail::Suspect { sequence: 4 });
    let range = recovered.unknown;
    assert_eq!(range.len(), 1);
    assert_eq!(range[0].first, Slot::new(2), "decided on record");
    assert!(range[0].last > Slot::new(1000));
    for _ in 0..3 {
        let (_, recovered) = open(&disk.restart(Outcome::Lost)).unwrap();
        assert_eq!(recovered.unknown, range, "a restart repairs nothing");
    }
}

#[test]
fn lost_and_misdirected_writes_are_found_once_something_follows() {
    for failure in [Failure::LostWrite, Failure::MisdirectedWrite(3 * PAGE)] {
        let disk = FaultyDisk::new(3);
        let mut run = Run::new();
        let ops = short_log();
        assert!(run.perform(&disk, &ops[..6]).is_some());
        let disk = disk.restart(Outcome::Lost);
        let steps = disk.steps();
        // Opening syncs twice, and seals and syncs the last frame; then come frame, sync and seal
        // of the third frame.
        disk.fail_at(steps + 5, failure);
        assert!(run.perform(&disk, &ops[6..]).is_some());
        let disk = disk.restart(Outcome::Lost);
        let (_, recovered) = open(&disk).unwrap();
        run.check_damaged(&recovered, &format!("{failure:?}"));
        let notes = &recovered.notes;
        assert!(!notes.is_empty(), "{failure:?} leaves a trace: {notes:?}");
    }
}

#[test]
fn a_missing_segment_is_not_an_empty_one() {
    let disk = FaultyDisk::new(1);
    let mut run = Run::new();
    let ops: Vec<Op> =
        (1..=30).flat_map(|slot| [Op::Append(accept(slot, 1, 3000)), Op::Sync]).collect();
    assert!(run.perform(&disk, &ops).is_some());
    let segments = segments(&disk);
    assert!(segments.len() >= 3, "{segments:?}");
    warlock_wal::Disk::remove(&disk, &segments[1]).unwrap();
    let (_, recovered) = open(&disk).unwrap();
    run.check_damaged(&recovered, "the second segment is gone");
    assert!(matches!(recovered.notes[..], [Note::LostFrames { .. }]), "{:?}", recovered.notes);
}

#[test]
fn a_value_that_looks_like_a_log_is_not_taken_for_one() {
    // An attacker with a node of his own has a perfect frame, for every sequence and place.
    let own = FaultyDisk::new(1);
    let options = warlock_wal::WalOptions { salt: 1, ..OPTIONS };
    let (mut wal, _) = Wal::open(own.clone(), options).unwrap();
    for round in 1..=5 {
        wal.append(&promise(round * 1000));
        wal.sync().unwrap();
    }
    let forged = own.content(FIRST_SEGMENT).unwrap();

    let disk = FaultyDisk::new(1);
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&promise(1));
    wal.sync().unwrap();
    // The value puts the forged pages at the same places of the segment.
    let start = 2 * PAGE as usize + 128 + 40 + 50;
    let commands = bytes::Bytes::copy_from_slice(&forged[start..5 * PAGE as usize]);
    let proposal = warlock_paxos::Proposal {
        origin: crate::model::batch(1, 1, 0).proposals()[0].origin,
        commands,
    };
    let stamp = crate::model::batch(1, 1, 0).stamp();
    wal.append(&warlock_paxos::Record::Accept(warlock_paxos::PValue {
        ballot: ballot(1),
        slot: Slot::new(1),
        batch: warlock_paxos::Batch::new(stamp, &[proposal]),
    }));
    wal.sync().unwrap();
    let content = disk.content(FIRST_SEGMENT).unwrap();
    let page = 3 * PAGE as usize;
    assert_eq!(content[page..page + 128], forged[page..page + 128], "the pages are in place");
    disk.garble(FIRST_SEGMENT, 2 * PAGE, 128);
    let (_, recovered) = open(&disk.restart(Outcome::Kept)).unwrap();
    assert_eq!(recovered.ballot, ballot(1), "no forged promise");
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    let names = warlock_wal::Disk::list(disk).unwrap();
    names.into_iter().filter(|name| name.starts_with("wal-")).collect()
}
