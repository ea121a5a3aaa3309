//! Snapshots are taken while writes go on, and travel from one data directory to another; the
//! power fails at every step of it.

use warlock_node::{SnapshotDesk, SnapshotEvent, SnapshotJob};
use warlock_paxos::{Ballot, LogTime, NodeId, Slot};
use warlock_store::conformance::Replica;
use warlock_store::{Applier, Checkpoint, Options};
use warlock_wal::{FaultyDisk, Outcome, SnapshotMeta, Snapshots};

const PEER: NodeId = NodeId::new(2);

fn options() -> Options {
    Options { hash_seed: 7, shards: 16 }
}

fn filled(keys: u32) -> Replica<Applier> {
    let mut replica = Replica::new(warlock_store::new(options()));
    for key in 0..keys {
        write(&mut replica, key, "before");
    }
    replica
}

fn write(replica: &mut Replica<Applier>, key: u32, word: &str) {
    let (key, value) = (format!("key:{key}"), word.repeat(40));
    replica.apply(&[b"SET", key.as_bytes(), value.as_bytes()]);
}

fn desk(disk: &FaultyDisk) -> SnapshotDesk<FaultyDisk> {
    SnapshotDesk::new(Snapshots::new(disk.clone()))
}

/// Begins a snapshot of a state; says what that is.
fn begin(desk: &mut SnapshotDesk<FaultyDisk>, replica: &mut Replica<Applier>) -> Checkpoint {
    let then = replica.reader.checkpoint();
    let meta = SnapshotMeta {
        slot: Slot::new(then.next_slot),
        ballot: Ballot::ZERO,
        log_time: LogTime::from_micros(then.log_time_us),
        membership: Vec::new(),
    };
    desk.give(SnapshotJob::Take { meta, stream: Box::new(replica.backend.snapshot()) });
    then
}

/// Does everything that a desk has to do; the last thing that it tells.
fn run(desk: &mut SnapshotDesk<FaultyDisk>) -> Option<SnapshotEvent> {
    let mut last = None;
    while !desk.is_idle() {
        last = desk.step().or(last);
    }
    last
}

/// A data directory with a snapshot of some keys, which changed while it was taken.
fn source(keys: u32) -> (SnapshotDesk<FaultyDisk>, Checkpoint) {
    let (mut desk, mut replica) = (desk(&FaultyDisk::new(1)), filled(keys));
    let then = begin(&mut desk, &mut replica);
    let mut steps = 0;
    let taken = loop {
        if let Some(event) = desk.step() {
            break event;
        }
        steps += 1;
        write(&mut replica, steps % keys, "during");
        write(&mut replica, keys + steps, "new");
    };
    assert!(steps > 3, "writes came between {steps} steps");
    assert!(matches!(taken, SnapshotEvent::Taken(slot) if slot.position() == then.next_slot));
    (desk, then)
}

/// Sends the newest snapshot of one desk to another, up to its end or the first failure.
fn send(
    from: &mut SnapshotDesk<FaultyDisk>,
    to: &mut SnapshotDesk<FaultyDisk>,
    applier: &Applier,
) -> Option<SnapshotEvent> {
    let mut offset = 0;
    loop {
        from.give(SnapshotJob::Read { to: PEER, slot: None, offset });
        let Some(SnapshotEvent::Read(PEER, chunk)) = run(from) else {
            panic!("the source works");
        };
        assert!(!chunk.bytes.is_empty());
        let (slot, total, bytes) = (chunk.slot, chunk.total, chunk.bytes);
        offset += bytes.len() as u64;
        let at = offset - bytes.len() as u64;
        if at == 0 {
            to.give(SnapshotJob::Begin { slot, total, restore: Box::new(applier.restore()) });
        }
        to.give(SnapshotJob::Receive { slot, offset: at, bytes });
        match run(to) {
            Some(SnapshotEvent::Written { end, .. }) if end == offset => {}
            other => return other,
        }
        if offset == total {
            to.give(SnapshotJob::Install);
            return run(to);
        }
    }
}

#[track_caller]
fn assert_arrived(event: Option<SnapshotEvent>, then: Checkpoint) {
    let Some(SnapshotEvent::Received { meta, restored }) = event else { panic!("{event:?}") };
    assert_eq!(restored.checkpoint(), then);
    assert_eq!(meta.slot.position(), then.next_slot);
    let mut replica = Replica::new(warlock_store::new(options()));
    drop(replica.backend.install(*restored));
    assert_eq!(replica.reader.checkpoint(), then);
}

#[test]
fn a_snapshot_travels_in_parts() {
    let (mut from, then) = source(5_000);
    let (applier, _) = warlock_store::new(options());
    let mut to = desk(&FaultyDisk::new(2));
    let arrived = send(&mut from, &mut to, &applier);
    assert_arrived(arrived, then);
}

#[test]
fn power_that_fails_while_a_snapshot_is_taken_leaves_all_or_nothing() {
    let (disk, mut replica) = (FaultyDisk::new(3), filled(500));
    let then = begin(&mut desk(&disk), &mut replica);
    let probe = FaultyDisk::new(3);
    let mut probing = desk(&probe);
    begin(&mut probing, &mut filled(500));
    assert!(matches!(run(&mut probing), Some(SnapshotEvent::Taken(_))));
    for step in 1..=probe.steps() {
        for outcome in Outcome::ALL {
            let disk = FaultyDisk::new(step);
            disk.crash_at(step);
            let mut taking = desk(&disk);
            begin(&mut taking, &mut filled(500));
            assert!(matches!(run(&mut taking), Some(SnapshotEvent::Failed(_))), "step {step}");
            let disk = disk.restart(outcome);
            let newest = Snapshots::new(disk.clone()).newest().unwrap();
            assert_eq!(newest.damaged, Vec::<String>::new(), "step {step} {outcome:?}");
            let found = newest.snapshot.map(|meta| meta.slot.position());
            assert!(found.is_none_or(|slot| slot == then.next_slot), "step {step} {outcome:?}");
            let mut again = desk(&disk);
            begin(&mut again, &mut filled(500));
            assert!(matches!(run(&mut again), Some(SnapshotEvent::Taken(_))));
        }
    }
}

#[test]
fn power_that_fails_while_a_snapshot_arrives_leaves_all_or_nothing() {
    let (mut from, then) = source(5_000);
    let (applier, _) = warlock_store::new(options());
    let probe = FaultyDisk::new(4);
    assert_arrived(send(&mut from, &mut desk(&probe), &applier), then);
    for step in 1..=probe.steps() {
        for outcome in Outcome::ALL {
            let disk = FaultyDisk::new(step);
            disk.crash_at(step);
            let refused = send(&mut from, &mut desk(&disk), &applier);
            assert!(matches!(refused, Some(SnapshotEvent::Refused(_))), "step {step}: {refused:?}");
            let disk = disk.restart(outcome);
            let newest = Snapshots::new(disk.clone()).newest().unwrap();
            assert_eq!(newest.damaged, Vec::<String>::new(), "step {step} {outcome:?}");
            let found = newest.snapshot.map(|meta| meta.slot.position());
            assert!(found.is_none_or(|slot| slot == then.next_slot), "step {step} {outcome:?}");
            assert_arrived(send(&mut from, &mut desk(&disk), &applier), then);
        }
    }
}

/// What a desk says to these jobs.
fn told(jobs: Vec<SnapshotJob>) -> Vec<SnapshotEvent> {
    let mut desk = desk(&FaultyDisk::new(2));
    let mut told = Vec::new();
    for job in jobs {
        desk.give(job);
        told.extend(run(&mut desk));
    }
    told
}

/// The jobs of a transfer that does not come to its end, of a snapshot with a `change`.
fn jobs(keys: u32, change: impl Fn(&mut Vec<u8>)) -> Vec<SnapshotJob> {
    let (mut from, then) = source(keys);
    from.give(SnapshotJob::Read { to: PEER, slot: None, offset: 0 });
    let Some(SnapshotEvent::Read(_, chunk)) = run(&mut from) else { panic!("the source works") };
    let slot = Slot::new(then.next_slot);
    let (applier, _) = warlock_store::new(options());
    let restore = Box::new(applier.restore());
    let mut bytes = chunk.bytes.to_vec();
    change(&mut bytes);
    let quarter = bytes.len() / 4;
    let mut jobs = vec![SnapshotJob::Begin { slot, total: chunk.total, restore }];
    jobs.extend(bytes.chunks(quarter).take(3).enumerate().map(|(number, part)| {
        let (offset, bytes) = ((number * quarter) as u64, part.to_vec().into());
        SnapshotJob::Receive { slot, offset, bytes }
    }));
    jobs
}

#[test]
fn a_damaged_snapshot_is_refused_as_it_comes_and_only_once() {
    let mut jobs = jobs(5_000, |bytes| bytes[0] ^= 1);
    jobs.push(SnapshotJob::Install);
    let told = told(jobs);
    assert!(matches!(told[..], [SnapshotEvent::Refused(_)]), "{told:?}");
}

#[test]
fn who_goes_on_with_a_transfer_that_was_given_up_is_told_once() {
    let mut jobs = jobs(5_000, |_| {});
    jobs.insert(2, SnapshotJob::GiveUp);
    let told = told(jobs);
    let [SnapshotEvent::Written { .. }, SnapshotEvent::Refused(reason)] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(reason.contains("given up"), "{reason}");
}

#[test]
fn short_jobs_are_done_between_the_steps_of_a_long_one() {
    let (mut desk, _) = source(5_000);
    let mut replica = filled(20_000);
    begin(&mut desk, &mut replica);
    assert!(desk.step().is_none());
    let mut served = 0;
    while !desk.is_idle() {
        if served < 20 {
            desk.give(SnapshotJob::Read { to: PEER, slot: None, offset: 0 });
        }
        match desk.step() {
            Some(SnapshotEvent::Read(..)) => served += 1,
            Some(SnapshotEvent::Taken(_)) => assert!(served >= 20, "{served} served meanwhile"),
            None => {}
            other => panic!("{other:?}"),
        }
    }
}
