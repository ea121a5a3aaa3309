//! Damage to the files of nodes that are down: whatever one copy is left of comes back.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use warlock_tests::{Cluster, Ledger, Traffic, eventually};

const MIB: u64 = 1024 * 1024;

/// Writes before and after snapshots.
const SOME: u64 = 600;

/// Where a page of a log, the only unit that frames begin at, says what (FORMAT.md).
const PAGE: usize = 4096;
const FRAME: &[u8; 8] = b"WLKframe";
const LOWEST: usize = 88;
const HIGHEST: usize = 96;
/// Where the first body is behind a mark of 128 bytes and so many index entries of 40.
const MARK_LENGTH: usize = 128;
const ENTRY_LENGTH: usize = 40;

fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a data directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    files.sort();
    files
}

/// The slots below which the newest snapshot has everything.
fn covered(directory: &Path) -> u64 {
    let snapshots = files(directory, ".snap");
    let name = snapshots.last().and_then(|path| path.file_stem()?.to_str());
    let digits = name.and_then(|name| name.strip_prefix("snapshot-"));
    u64::from_str_radix(digits.expect("a snapshot"), 16).expect("a slot")
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Turns a bit over in the first record of the frame that has the slot; says which slots the frame
/// has.
fn damage_log(directory: &Path, slot: u64) -> RangeInclusive<u64> {
    for path in files(directory, ".log").into_iter().rev() {
        let mut bytes = fs::read(&path).expect("a readable file");
        let has = |page: &&[u8]| {
            page.starts_with(FRAME)
                && (number(page, LOWEST)..=number(page, HIGHEST)).contains(&slot)
        };
        let Some(index) = bytes.chunks(PAGE).position(|page| has(&page)) else { continue };
        let start = index * PAGE;
        let slots = number(&bytes[start..], LOWEST)..=number(&bytes[start..], HIGHEST);
        let records = u32::from_le_bytes(bytes[start + 12..start + 16].try_into().expect("four"));
        let entries = usize::try_from(records).expect("a frame is in memory") * ENTRY_LENGTH;
        bytes[start + MARK_LENGTH + entries] ^= 1;
        fs::write(&path, bytes).expect("a writable file");
        return slots;
    }
    panic!("slot {slot} is in no log of {}", directory.display());
}

fn damage_snapshots(directory: &Path) {
    for path in files(directory, ".snap") {
        let mut bytes = fs::read(&path).expect("a readable file");
        let middle = bytes.len() / 2;
        let end = bytes.len().min(middle + PAGE);
        bytes[middle..end].iter_mut().for_each(|byte| *byte = !*byte);
        fs::write(&path, bytes).expect("a writable file");
    }
}

/// Writes large values until every node has a snapshot.
fn fill_until_snapshots(cluster: &Cluster) {
    let large = "x".repeat(64 * 1024);
    let mut client = cluster.node(1).connect();
    eventually("every node takes a snapshot", || {
        client.fate(&["SET", "large", &large]).done()?;
        let lacking = cluster.nodes.iter().find(|node| files(&node.data, ".snap").is_empty());
        lacking.map_or(Ok(()), |node| Err(format!("n{} has none", node.id)))
    });
}

/// Writes on until the logs of n2 and n3 have slots that no snapshot covers, from the first number
/// to below the second, and neither is about to take the next one.
fn write_behind_snapshots(cluster: &mut Cluster, ledger: &mut Ledger) -> (u64, u64) {
    eventually("there is a log behind the snapshots", || {
        let traffic = Traffic::start(3, &cluster.addresses());
        traffic.await_acknowledged(40);
        ledger.merge(traffic.stop());
        cluster.await_agreement();
        let (applied, _) = cluster.node(1).digest()?;
        let end = u64::try_from(applied).expect("a slot");
        let start = [2, 3].map(|id| covered(&cluster.node(id).data)).into_iter().max();
        let start = start.expect("two numbers");
        match (60..150).contains(&end.saturating_sub(start)) {
            true => Ok((start, end)),
            false => Err(format!("from {start} to {end}")),
        }
    })
}

fn await_line(cluster: &Cluster, id: u16, words: &str) {
    eventually("the node says what it found", || {
        let found = cluster.node(id).log_text().lines().any(|line| line.contains(words));
        if found { Ok(()) } else { Err(format!("n{id}: nothing of {words:?}")) }
    });
}

#[test]
fn damage_to_all_nodes_in_different_places_loses_nothing() {
    let mut cluster = Cluster::builder()
        .set("wal.segment_bytes", &MIB.to_string())
        .set("wal.snapshot_after_bytes", &MIB.to_string())
        .start();
    let traffic = Traffic::start(3, &cluster.addresses());
    traffic.await_acknowledged(SOME);
    let before = traffic.stop();
    fill_until_snapshots(&cluster);
    let mut ledger = before;
    let (start, end) = write_behind_snapshots(&mut cluster, &mut ledger);
    for node in &mut cluster.nodes {
        node.kill();
    }
    // n1 loses all that is old, n2 and n3 something of what is new.
    damage_snapshots(&cluster.node(1).data);
    let second = damage_log(&cluster.node(2).data, start + (end - start) / 3);
    let third = damage_log(&cluster.node(3).data, start + (end - start) * 2 / 3);
    assert!(second.end() < third.start(), "one copy is damaged of each slot");
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_ready();
    await_line(&cluster, 1, ".snap is damaged and not used");
    for id in [2, 3] {
        await_line(&cluster, id, "is damaged, abstaining for its slots");
    }
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
    // And they stay whole.
    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    cluster.await_ready();
    ledger.check(&mut cluster.clients());
}
