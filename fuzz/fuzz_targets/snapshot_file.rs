//! A snapshot that something wrote into, or that a hostile peer sent: it is refused, or yields
//! exactly the chunks that were written.
//!
//! The first byte of the data chooses: changes of a good file (four bytes each: where, in 24 bits,
//! and what is combined with the byte there), or the bytes of a file that a peer sends, as they
//! are or behind a header with a true checksum.
#![no_main]

use std::io::IoSlice;

use libfuzzer_sys::fuzz_target;
use warlock_paxos::{Ballot, LogTime, NodeId, Slot, View};
use warlock_wal::{
    Disk, DiskFile, FaultyDisk, SnapshotError, SnapshotMeta, SnapshotReader, Snapshots,
};

const FILE: &str = "snapshot-000000000000002a.snap";
const CHUNKS: [&[u8]; 3] = [b"one chunk", &[0; 300], b"the last"];
const SLOT: Slot = Slot::new(42);
/// Length of a header without a membership, in bytes (FORMAT.md).
const HEADER_LENGTH: usize = 60;

fuzz_target!(|data: &[u8]| {
    let [selector, input @ ..] = data else { return };
    let disk = FaultyDisk::new(7);
    let snapshots = Snapshots::new(disk.clone());
    match selector % 3 {
        0 => read_damaged(&disk, &snapshots, input),
        1 => receive(&snapshots, input),
        _ => receive(&snapshots, &with_header(input)),
    }
    let temporary = disk.list().expect("the double lists").into_iter().find(|name| name != FILE);
    assert_eq!(temporary, None, "a file was left behind");
});

fn read_damaged(disk: &FaultyDisk, snapshots: &Snapshots<FaultyDisk>, changes: &[u8]) {
    let mut writer = snapshots.begin(&meta()).expect("the double works");
    for chunk in CHUNKS {
        writer.write_chunk(chunk).expect("the double works");
    }
    writer.finish().expect("the double works");
    let before = disk.content(FILE).expect("it was written");
    for change in changes.chunks_exact(4) {
        damage(disk, change);
    }
    let is_whole = disk.content(FILE).expect("it was written") == before;
    let newest = snapshots.newest();
    match snapshots.open(SLOT).and_then(read) {
        Ok(chunks) => {
            assert!(is_whole, "a change that nobody noticed");
            assert_eq!(chunks, CHUNKS);
            assert_eq!(newest.expect("it is whole").snapshot, Some(meta()));
        }
        Err(SnapshotError::Damaged { .. }) => {
            assert!(!is_whole);
            let newest = newest.expect("damage is no error");
            assert_eq!((newest.snapshot, newest.damaged.len()), (None, 1));
        }
        Err(error) => panic!("{error}"),
    }
}

/// Takes `content` from a peer in parts, and reads it if it was accepted.
fn receive(snapshots: &Snapshots<FaultyDisk>, content: &[u8]) {
    let mut receiver =
        snapshots.receive(SLOT, content.len() as u64).expect("there is space for it");
    for part in content.chunks(100) {
        receiver.write_at(part, receiver.received()).expect("it is due");
    }
    let refused = receiver.write_at(b"more", receiver.received());
    assert!(matches!(refused, Err(SnapshotError::OutOfOrder { .. })), "{refused:?}");
    let Ok(meta) = receiver.finish() else {
        assert!(matches!(snapshots.open(SLOT), Err(SnapshotError::Absent { .. })));
        return;
    };
    let reader = snapshots.open(SLOT).expect("it was accepted");
    assert_eq!((reader.meta(), reader.length()), (&meta, content.len() as u64));
    read(reader).expect("it was verified");
}

fn read<F: DiskFile>(mut reader: SnapshotReader<F>) -> Result<Vec<Vec<u8>>, SnapshotError> {
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        assert!(!chunk.is_empty());
        chunks.push(chunk.to_vec());
    }
    assert!(reader.next_chunk().is_ok_and(|chunk| chunk.is_none()));
    Ok(chunks)
}

fn damage(disk: &FaultyDisk, change: &[u8]) {
    let [low, middle, high, mask] = *change else { return };
    let file = disk.open(FILE).expect("the file is there");
    let length = file.length().expect("the double knows lengths");
    let offset = u64::from(u32::from_le_bytes([low, middle, high, 0])) % length;
    let mut byte = [0];
    file.read_at(&mut byte, offset).expect("the double reads");
    file.write_at(&mut [IoSlice::new(&[byte[0] ^ mask])], offset).expect("the double writes");
}

/// The content with magic, version and checksum of a header without a membership.
fn with_header(input: &[u8]) -> Vec<u8> {
    let mut content = input.to_vec();
    content.resize(content.len().max(HEADER_LENGTH), 0);
    content[..8].copy_from_slice(b"WLKsnaps");
    content[12..16].copy_from_slice(&1u32.to_le_bytes());
    content[HEADER_LENGTH - 4..HEADER_LENGTH].fill(0);
    let checksum =
        crc32c::crc32c_append(crc32c::crc32c(&content[..8]), &content[12..HEADER_LENGTH]);
    content[8..12].copy_from_slice(&checksum.to_le_bytes());
    content
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        slot: SLOT,
        ballot: Ballot { view: View::new(1), round: 3, node: NodeId::new(2) },
        log_time: LogTime::from_micros(77),
        membership: b"1=a,2=b".to_vec(),
    }
}
