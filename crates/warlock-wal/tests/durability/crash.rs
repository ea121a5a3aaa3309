//! Power and process are lost at every step.

use std::io::IoSlice;

use warlock_wal::{Disk, DiskFile, FaultyDisk, Outcome, Tail};

use crate::model::{FIRST_SEGMENT, Op, Run, accept, promise, start, workload};

const SEEDS: u64 = 3;

fn steps_of(ops: &[Op]) -> u64 {
    let disk = FaultyDisk::new(0);
    let recovered = Run::new().perform(&disk, ops);
    assert!(recovered.is_some(), "without faults the workload runs to its end");
    disk.steps()
}

/// The disk after the machine stopped at `step` of the workload.
fn crashed(ops: &[Op], step: u64, seed: u64) -> (FaultyDisk, Run) {
    let disk = FaultyDisk::new(seed);
    let mut run = Run::new();
    disk.crash_at(step);
    assert!(run.perform(&disk, ops).is_none(), "the crash is noticed");
    (disk, run)
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_step() {
    let ops = workload(4);
    let (mut torn, mut cases) = (0, 0);
    for step in 1..=steps_of(&ops) {
        for outcome in Outcome::ALL {
            for seed in 0..SEEDS {
                let (disk, mut run) = crashed(&ops, step, seed);
                let disk = disk.restart(outcome);
                let story = format!("step {step} {outcome:?} seed {seed}");
                let (_, recovered) = start(&disk).unwrap();
                assert!(
                    matches!(recovered.tail, Tail::Clean | Tail::Torn { .. }),
                    "{story}: {:?}",
                    recovered.tail
                );
                torn += u64::from(recovered.tail != Tail::Clean);
                cases += 1;
                // What the first opening decided must hold for ever, and the log must go on.
                let disk = disk.restart(Outcome::Lost);
                let mut wal = run.reopen(&disk, &story);
                let record = accept(1000, 50, 300);
                run.tried.record(&record);
                wal.append(&record);
                wal.sync().unwrap();
                run.acknowledged = run.tried.clone();
                let disk = disk.restart(Outcome::Lost);
                run.reopen(&disk, &format!("{story}, second life"));
            }
        }
    }
    assert!(torn > 50 && cases > 1000, "{torn} torn tails in {cases} cases prove little");
}

#[test]
fn a_crash_during_recovery_changes_nothing() {
    let ops = workload(3);
    for step in (1..=steps_of(&ops)).step_by(2) {
        for outcome in Outcome::ALL {
            let (disk, run) = crashed(&ops, step, step);
            let image = disk.restart(outcome).image();
            let steps = {
                let disk = FaultyDisk::from_image(&image, 0);
                let before = disk.steps();
                start(&disk).unwrap();
                disk.steps() - before
            };
            for again in 1..=steps {
                for second in Outcome::ALL {
                    let disk = FaultyDisk::from_image(&image, again);
                    disk.crash_at(disk.steps() + again);
                    assert!(start(&disk).is_none());
                    let disk = disk.restart(second);
                    let story = format!("step {step} {outcome:?}, then {again} {second:?}");
                    run.clone().reopen(&disk, &story);
                }
            }
        }
    }
}

/// What is left of the log must never have a hole, or it looks as if something was lost.
#[test]
fn a_crash_while_many_segments_are_dropped_leaves_the_newer_ones() {
    let mut ops: Vec<Op> =
        (1..=40).flat_map(|slot| [Op::Append(accept(slot, 1, 3000)), Op::Sync]).collect();
    let before = steps_of(&ops);
    ops.push(Op::Snapshot(38));
    for step in before + 1..=steps_of(&ops) {
        for outcome in Outcome::ALL {
            for seed in 0..SEEDS {
                let (disk, mut run) = crashed(&ops, step, seed);
                let disk = disk.restart(outcome);
                run.reopen(&disk, &format!("step {step} {outcome:?} seed {seed}"));
            }
        }
    }
}

#[test]
fn parts_of_a_frame_without_its_marks_are_unfinished() {
    let disk = FaultyDisk::new(1);
    let mut run = Run::new();
    let ops = [Op::Append(promise(1)), Op::Append(accept(1, 1, 100)), Op::Sync];
    assert!(run.perform(&disk, &ops).is_some());
    // Of a long frame only something in its middle reached the medium.
    let file = disk.open(FIRST_SEGMENT).unwrap();
    file.write_at(&mut [IoSlice::new(&[7; 512])], 4 * 4096).unwrap();
    file.sync_data().unwrap();
    let disk = disk.restart(Outcome::Lost);
    let (_, recovered) = start(&disk).unwrap();
    assert_eq!(recovered.tail, Tail::Torn { sequence: 2 });
    run.reopen(&disk.restart(Outcome::Lost), "after that");
}

#[test]
fn what_only_the_cache_held_is_durable_once_it_was_recovered() {
    let disk = FaultyDisk::new(1);
    let mut run = Run::new();
    let ops = [Op::Append(promise(1)), Op::Sync];
    assert!(run.perform(&disk, &ops).is_some());
    let before = disk.steps();
    // The sync of the next frame never happens, but the frame is in the cache.
    let ops = [Op::Append(promise(2)), Op::Append(accept(1, 2, 500)), Op::Sync];
    disk.crash_at(before + 5);
    assert!(run.perform(&disk, &ops).is_none());
    let disk = disk.restart(Outcome::Kept);
    let (_, recovered) = start(&disk).unwrap();
    assert_eq!(recovered.ballot, crate::model::ballot(2));
    let disk = disk.restart(Outcome::Lost);
    let (_, recovered) = start(&disk).unwrap();
    assert_eq!(recovered.ballot, crate::model::ballot(2), "recovered, so it may be answered with");
    assert_eq!(recovered.pvalues.len(), 1);
}

#[test]
fn a_frame_that_was_recovered_is_sealed_again() {
    let disk = FaultyDisk::new(1);
    let mut run = Run::new();
    let ops = [Op::Append(promise(1)), Op::Append(accept(1, 1, 100)), Op::Sync];
    assert!(run.perform(&disk, &ops).is_some());
    // The seal is not synced: the power loss takes it, and the next start sets it again for good.
    let disk = disk.restart(Outcome::Lost);
    let (_, recovered) = start(&disk).unwrap();
    assert_eq!(recovered.tail, Tail::Clean);
    let disk = disk.restart(Outcome::Lost);
    disk.zero(FIRST_SEGMENT, 4096, 4096);
    let (_, recovered) = start(&disk).unwrap();
    assert_eq!(recovered.ballot, crate::model::ballot(1), "the seal knows what was promised");
    assert!(matches!(recovered.tail, Tail::Damaged { .. }), "{:?}", recovered.tail);
}
