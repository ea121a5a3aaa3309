//! Cost of making a batch durable: processor alone, and with a real disk.

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use warlock_paxos::{
    Ballot, Batch, Incarnation, LogTime, NodeId, Origin, PValue, Proposal, Record, Slot, Stamp,
    View,
};
use warlock_wal::{Disk, FaultyDisk, FsDisk, Wal, WalOptions};

const BATCH_BYTES: usize = 4096;

/// Syncs between truncations.
const SLOTS_KEPT: u64 = 1024;

fn main() {
    divan::main();
}

fn accept(slot: u64) -> Record {
    let stamp = Stamp { log_time: LogTime::from_micros(slot), seed: slot };
    let node = NodeId::new(1);
    let proposal = Proposal {
        origin: Origin { node, incarnation: Incarnation::new(1), sequence: slot },
        commands: Bytes::from(vec![7; BATCH_BYTES]),
    };
    let ballot = Ballot { view: View::new(1), round: 1, node };
    Record::Accept(PValue { ballot, slot: Slot::new(slot), batch: Batch::new(stamp, &[proposal]) })
}

fn bench<D: Disk>(bencher: Bencher<'_, '_>, disk: D, batches: u64) {
    let options = WalOptions { segment_bytes: 8 * 1024 * 1024, ..WalOptions::default() };
    let (mut wal, _) = Wal::open(disk, options).expect("the log opens");
    let mut slot = 0;
    let mut appended = 0;
    bencher
        .counter(BytesCount::new(batches * BATCH_BYTES as u64))
        .with_inputs(|| {
            let records: Vec<Record> = (slot + 1..=slot + batches).map(accept).collect();
            slot += batches;
            records
        })
        .bench_local_values(|records| {
            for record in &records {
                wal.append(record);
            }
            wal.sync().expect("the disk works");
            appended += batches;
            if appended.is_multiple_of(SLOTS_KEPT) {
                wal.truncate_below(Slot::new(appended)).expect("the disk works");
            }
        });
}

#[divan::bench(args = [1, 16])]
fn append_and_sync_in_memory(bencher: Bencher<'_, '_>, batches: u64) {
    bench(bencher, FaultyDisk::new(1), batches);
}

#[divan::bench(args = [1, 16])]
fn append_and_sync_on_disk(bencher: Bencher<'_, '_>, batches: u64) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let disk = FsDisk::open(directory.path()).expect("the directory is free");
    bench(bencher, disk, batches);
}

#[divan::bench]
fn append_without_sync(bencher: Bencher<'_, '_>) {
    let (mut wal, _) = Wal::open(FaultyDisk::new(1), WalOptions::default()).expect("the log opens");
    let record = accept(1);
    let mut appended = 0_u64;
    bencher.bench_local(|| {
        wal.append(&record);
        appended += 1;
        if appended.is_multiple_of(SLOTS_KEPT) {
            wal.sync().expect("the disk works");
        }
    });
}
