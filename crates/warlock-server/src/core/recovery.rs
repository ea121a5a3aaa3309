//! Opens the data directory of the settings, and has the node recover from it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use warlock_node::{Recovery, RecoveryOptions, Shared};
use warlock_paxos::Incarnation;
use warlock_store::limits::SHARDS;
use warlock_wal::{FsDisk, Identity};

use super::{RunError, Start};
use crate::peer::IncarnationCheck;
use crate::service::{Manager, Progress, StartWatch};
use crate::settings::{Durability, Settings};

/// Threads that restore a snapshot at most; beyond this they wait for each other and the disk.
const CREW_MAX: usize = 8;

/// Reads the data directory of `settings`, and makes a new one if it is empty.
pub(super) fn run(
    settings: &Settings,
    start: Start,
    manager: &Manager,
) -> Result<Recovery<FsDisk>, RunError> {
    let refuse = |reason| RunError::Data { path: settings.data_dir.clone(), reason };
    let disk = open_directory(&settings.data_dir, settings.durability).map_err(refuse)?;
    let _watch = watch_reading(manager, &disk).map_err(RunError::System)?;
    read(settings, start, disk).map_err(refuse)
}

/// Tells the service manager how much is read, for as long as the answer is kept.
fn watch_reading(manager: &Manager, disk: &FsDisk) -> io::Result<StartWatch> {
    let disk = disk.clone();
    StartWatch::start(manager, move || {
        let count = disk.bytes_read();
        let text = format!("recovering: {} MiB read from disk", count >> 20);
        Some(Progress { count, text })
    })
}

/// Tells the service manager how much is applied, until that is everything on disk.
pub(super) fn watch_applying(manager: &Manager, shared: &Arc<Shared>) -> io::Result<StartWatch> {
    let shared = Arc::clone(shared);
    StartWatch::start(manager, move || {
        let count = shared.counters.commands_applied.load(Ordering::Relaxed);
        let text = format!("recovering: {count} commands applied");
        let recovers = !shared.recovered.load(Ordering::Acquire);
        recovers.then_some(Progress { count, text })
    })
}

/// Refuses a peer that comes with another data directory than before (P7).
pub(super) fn incarnation_check(identity: Identity<FsDisk>) -> IncarnationCheck {
    let identity = Mutex::new(identity);
    Arc::new(move |node, incarnation, is_on_record| {
        let mut identity = identity.lock();
        let known = match is_on_record {
            true => identity.remember_member(node, incarnation),
            false => identity.remember_peer(node, incarnation),
        };
        known.map_err(|error| error.to_string())
    })
}

fn read(settings: &Settings, start: Start, disk: FsDisk) -> Result<Recovery<FsDisk>, String> {
    let options = RecoveryOptions {
        cluster: &settings.cluster.name,
        node: settings.node_id,
        segment_bytes: settings.wal.segment_bytes,
        shards: SHARDS,
        incarnation: Incarnation::new(u128::from_le_bytes(random_bytes()?)),
        entropy: u64::from_le_bytes(random_bytes()?),
        crew,
    };
    if let Start::Forgotten(below) = start {
        tracing::warn!("forgetting the state of this node: its peers have to tell it");
        if !Recovery::forget(disk.clone(), &options, below)? {
            tracing::warn!(%below, "a snapshot covers more than that: nothing is forgotten");
        }
    }
    Recovery::run(disk, &options)
}

/// Calls `work` on as many threads as there are processors.
fn crew(work: &(dyn Fn() + Sync)) {
    let others = std::thread::available_parallelism().map_or(1, usize::from).min(CREW_MAX) - 1;
    std::thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(work);
        }
        work();
    });
}

fn open_directory(path: &Path, durability: Durability) -> Result<FsDisk, String> {
    std::fs::create_dir_all(path).map_err(|error| format!("cannot create it: {error}"))?;
    let disk = FsDisk::open(path).map_err(|error| error.to_string())?.freeing_slowly();
    Ok(match durability {
        Durability::Fsync => disk,
        Durability::Os | Durability::Memory => disk.without_sync(),
    })
}

fn random_bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], String> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(bytes)
}
