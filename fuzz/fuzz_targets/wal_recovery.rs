//! A log that something wrote into: it opens or is refused, and never yields a value or a promise
//! that was not written.
//!
//! Each four bytes of the data are one change of the log's file: where (24 bits), and what is
//! combined with the byte there.
#![no_main]

use std::io::IoSlice;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use warlock_paxos::{
    Ballot, Batch, Incarnation, LogTime, NodeId, Origin, PValue, Proposal, Record, Slot, Stamp,
    View,
};
use warlock_wal::{Disk, DiskFile, FaultyDisk, Wal, WalOptions};

/// Slots written, each with a sync of its own.
const SLOTS: u64 = 5;

fuzz_target!(|data: &[u8]| {
    let disk = FaultyDisk::new(7);
    let options = WalOptions { segment_bytes: 64 * 1024, salt: 3, may_create: true };
    write(&disk, options);
    let segments = disk.list().expect("the double lists");
    let name = segments.iter().find(|name| name.starts_with("wal-")).expect("a log has a file");
    for change in data.chunks_exact(4) {
        damage(&disk, name, change);
    }
    let Ok((_, recovered)) = Wal::open(disk.clone(), options) else { return };
    assert!(recovered.ballot <= ballot(SLOTS), "a promise that nobody made");
    for pvalue in &recovered.pvalues {
        let position = pvalue.slot.position();
        assert!((1..=SLOTS).contains(&position), "a slot that nobody wrote");
        assert_eq!(pvalue.batch, batch(position), "a value that nobody wrote");
        assert_eq!(pvalue.ballot, ballot(position));
    }
});

fn write(disk: &FaultyDisk, options: WalOptions) {
    let (mut wal, _) = Wal::open(disk.clone(), options).expect("an empty disk opens");
    for position in 1..=SLOTS {
        let slot = Slot::new(position);
        wal.append(&Record::Accept(PValue {
            ballot: ballot(position),
            slot,
            batch: batch(position),
        }));
        wal.sync().expect("the double works");
    }
}

fn damage(disk: &FaultyDisk, name: &str, change: &[u8]) {
    let [low, middle, high, mask] = *change else { return };
    let file = disk.open(name).expect("the file is there");
    let length = file.length().expect("the double knows lengths");
    let offset = u64::from(u32::from_le_bytes([low, middle, high, 0])) % length;
    let mut byte = [0];
    file.read_at(&mut byte, offset).expect("the double reads");
    let damaged = [byte[0] ^ mask];
    file.write_at(&mut [IoSlice::new(&damaged)], offset).expect("the double writes");
    file.sync_data().expect("the double syncs");
}

fn ballot(position: u64) -> Ballot {
    Ballot { view: View::new(1), round: position, node: NodeId::new(2) }
}

fn batch(position: u64) -> Batch {
    let stamp = Stamp { log_time: LogTime::from_micros(position), seed: position };
    let origin =
        Origin { node: NodeId::new(1), incarnation: Incarnation::new(9), sequence: position };
    let commands = Bytes::from(vec![u8::try_from(position).unwrap_or(0); 300]);
    Batch::new(stamp, &[Proposal { origin, commands }])
}
