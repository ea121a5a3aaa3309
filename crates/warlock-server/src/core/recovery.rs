//! From the data directory to the states that the roles start from.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use warlock_paxos::{AcceptorState, Incarnation, LeaderState, LogTime, ReplicaState, Slot};
use warlock_store::{Applier, Options, Reader};
use warlock_wal::{FsDisk, Identity, Recovered, SnapshotMeta, Snapshots, Tail, Wal, WalOptions};

use super::RunError;
use crate::clock;
use crate::peer::IncarnationCheck;
use crate::settings::{Durability, Settings};

/// Sequences of one start: far more than a process can propose in its life.
const SEQUENCE_BITS: u32 = 40;

/// What the roles start from.
pub(super) struct RoleStates {
    pub(super) acceptor: AcceptorState,
    pub(super) leader: LeaderState,
    pub(super) replica: ReplicaState,
}

impl RoleStates {
    /// What the log holds above the snapshot, in bytes.
    pub(super) fn log_bytes(&self) -> u64 {
        self.replica.decided.iter().map(|batch| batch.as_bytes().len() as u64).sum()
    }
}

/// A data directory that was read and is ready to be written.
pub(super) struct Recovery {
    pub(super) wal: Wal<FsDisk>,
    pub(super) snapshots: Snapshots<FsDisk>,
    pub(super) applier: Applier,
    pub(super) reader: Reader,
    pub(super) roles: RoleStates,
    pub(super) log_time: LogTime,
    pub(super) incarnation: Incarnation,
    identity: Arc<Mutex<Identity<FsDisk>>>,
}

impl Recovery {
    /// Reads the data directory of `settings`, and makes a new one if it is empty.
    pub(super) fn run(settings: &Settings) -> Result<Self, RunError> {
        Self::read(settings)
            .map_err(|reason| RunError::Data { path: settings.data_dir.clone(), reason })
    }

    fn read(settings: &Settings) -> Result<Self, String> {
        let disk = open_directory(&settings.data_dir, settings.durability)?;
        let mut identity = own_identity(&disk, settings)?;
        let incarnation = identity.incarnation();
        let options = WalOptions {
            segment_bytes: settings.wal.segment_bytes,
            salt: salt(incarnation),
            may_create: identity.starts() == 0,
        };
        let (wal, recovered) =
            Wal::open(disk.clone(), options).map_err(|error| error.to_string())?;
        // Only now: a first start that ends before it has a log may make one the next time.
        let starts = identity.count_start().map_err(|error| error.to_string())?;
        report(&recovered)?;
        let snapshots = Snapshots::new(disk);
        let hash_seed = u64::from(crc32c::crc32c(settings.cluster.name.as_bytes()));
        let (mut applier, reader) = warlock_store::new(Options { hash_seed, ..Options::default() });
        if let Some(meta) = &recovered.snapshot {
            restore(&snapshots, meta, &mut applier)?;
        }
        let log_time = recovered.snapshot.as_ref().map_or(LogTime::ZERO, |meta| meta.log_time);
        let roles = role_states(&recovered, incarnation, starts, log_time);
        let identity = Arc::new(Mutex::new(identity));
        Ok(Self { wal, snapshots, applier, reader, roles, log_time, incarnation, identity })
    }

    /// Refuses a peer that comes with another data directory than before (P7).
    pub(super) fn incarnation_check(&self) -> IncarnationCheck {
        let identity = Arc::clone(&self.identity);
        Arc::new(move |node, incarnation| {
            identity.lock().remember_peer(node, incarnation).map_err(|error| error.to_string())
        })
    }
}

fn open_directory(path: &Path, durability: Durability) -> Result<FsDisk, String> {
    std::fs::create_dir_all(path).map_err(|error| format!("cannot create it: {error}"))?;
    let disk = FsDisk::open(path).map_err(|error| error.to_string())?;
    Ok(match durability {
        Durability::Fsync => disk,
        Durability::Os | Durability::Memory => disk.without_sync(),
    })
}

fn own_identity(disk: &FsDisk, settings: &Settings) -> Result<Identity<FsDisk>, String> {
    let (cluster, node) = (&settings.cluster.name, settings.node_id);
    let found = Identity::load(disk.clone()).map_err(|error| error.to_string())?;
    match found {
        Some(identity) => {
            identity.expect(cluster, node).map_err(|error| error.to_string())?;
            Ok(identity)
        }
        None => {
            let incarnation = random_incarnation()?;
            Identity::create(disk.clone(), cluster, node, incarnation)
                .map_err(|error| error.to_string())
        }
    }
}

fn random_incarnation() -> Result<Incarnation, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(Incarnation::new(u128::from_le_bytes(bytes)))
}

/// A part of the incarnation that no client can guess.
const fn salt(incarnation: Incarnation) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = incarnation.bits().to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Logs what an operator should know; refuses a log that may have lost a promise (P2, P7).
fn report(recovered: &Recovered) -> Result<(), String> {
    for note in &recovered.notes {
        tracing::warn!(%note, "found while reading the log");
    }
    match recovered.tail {
        Tail::Suspect { sequence } => Err(format!(
            "the log ends with something unreadable at frame {sequence}, so a promise to other \
             nodes may be lost; the node must not vote with it. Restore the directory's newest \
             state, or replace the node"
        )),
        Tail::Clean | Tail::Torn { .. } | Tail::Damaged { .. } => Ok(()),
    }
}

fn restore(
    snapshots: &Snapshots<FsDisk>,
    meta: &SnapshotMeta,
    applier: &mut Applier,
) -> Result<(), String> {
    let mut reader = snapshots.open(meta.slot).map_err(|error| error.to_string())?;
    applier.begin_restore();
    while let Some(chunk) = reader.next_chunk().map_err(|error| error.to_string())? {
        applier.restore_chunk(&chunk).map_err(|error| error.to_string())?;
    }
    applier.finish_restore().map_err(|error| error.to_string())
}

fn role_states(
    recovered: &Recovered,
    incarnation: Incarnation,
    starts: u64,
    log_time: LogTime,
) -> RoleStates {
    let snapshot = recovered.snapshot.as_ref().map_or(Slot::FIRST, |meta| meta.slot);
    RoleStates {
        acceptor: AcceptorState {
            ballot: recovered.ballot,
            pvalues: recovered.undecided_pvalues(),
            decided: recovered.held,
            unknown: recovered.unknown.clone(),
            restarted: starts > 1,
        },
        leader: LeaderState {
            ballot: recovered.ballot,
            applied: snapshot,
            log_time,
            seed: salt(incarnation) ^ starts ^ clock::now().nanos(),
        },
        replica: ReplicaState {
            incarnation,
            first_sequence: (starts << SEQUENCE_BITS) + 1,
            snapshot,
            log_time,
            decided: recovered.decided_batches(),
        },
    }
}
