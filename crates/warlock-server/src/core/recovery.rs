//! Opens the data directory of the settings, and has the node recover from it.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use warlock_node::{Recovery, RecoveryOptions};
use warlock_paxos::Incarnation;
use warlock_wal::{FsDisk, Identity};

use super::RunError;
use crate::peer::IncarnationCheck;
use crate::settings::{Durability, Settings};

/// Threads that restore a snapshot at most; beyond this they wait for each other and the disk.
const CREW_MAX: usize = 8;

/// Reads the data directory of `settings`, and makes a new one if it is empty.
pub(super) fn run(settings: &Settings) -> Result<Recovery<FsDisk>, RunError> {
    read(settings).map_err(|reason| RunError::Data { path: settings.data_dir.clone(), reason })
}

/// Refuses a peer that comes with another data directory than before (P7).
pub(super) fn incarnation_check(identity: Identity<FsDisk>) -> IncarnationCheck {
    let identity = Mutex::new(identity);
    Arc::new(move |node, incarnation| {
        identity.lock().remember_peer(node, incarnation).map_err(|error| error.to_string())
    })
}

fn read(settings: &Settings) -> Result<Recovery<FsDisk>, String> {
    let disk = open_directory(&settings.data_dir, settings.durability)?;
    let options = RecoveryOptions {
        cluster: &settings.cluster.name,
        node: settings.node_id,
        segment_bytes: settings.wal.segment_bytes,
        incarnation: Incarnation::new(u128::from_le_bytes(random_bytes()?)),
        entropy: u64::from_le_bytes(random_bytes()?),
        crew,
    };
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
    let disk = FsDisk::open(path).map_err(|error| error.to_string())?;
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
