//! From the data directory to the states that the roles start from.

use parking_lot::Mutex;
use warlock_paxos::{
    AcceptorState, Incarnation, LeaderState, LogTime, Membership, NodeId, ReplicaState, Slot,
    mutant,
};
use warlock_store::{Applier, Options, Reader, RestoreError};
use warlock_wal::{
    Disk, Identity, Recovered, SnapshotError, SnapshotMeta, Snapshots, Tail, Wal, WalOptions,
};

/// Sequences of one start: far more than a process can propose in its life.
const SEQUENCE_BITS: u32 = 40;

/// What a data directory is opened with.
#[derive(Clone, Debug)]
pub struct RecoveryOptions<'a> {
    /// Name of the cluster; another one on disk is refused.
    pub cluster: &'a str,
    /// The node; another one on disk is refused.
    pub node: NodeId,
    /// Length of a log file, in bytes.
    pub segment_bytes: u64,
    /// Parts of the state machine that are locked alone; a power of two, the same on all nodes.
    pub shards: usize,
    /// Becomes the incarnation of a directory that is new (P7): random, never given twice.
    pub incarnation: Incarnation,
    /// Random bits that differ from start to start.
    pub entropy: u64,
    /// Calls what it is given on as many threads as may help, at least once, and returns when all
    /// calls have: a large snapshot is restored by all of them.
    pub crew: fn(&(dyn Fn() + Sync)),
}

/// What the roles start from.
#[derive(Debug)]
pub struct RoleStates {
    /// What the acceptor starts from.
    pub acceptor: AcceptorState,
    /// What the leader starts from.
    pub leader: LeaderState,
    /// What the replica starts from.
    pub replica: ReplicaState,
}

impl RoleStates {
    /// What the log holds above the snapshot, in bytes.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.replica.decided.iter().map(|batch| batch.as_bytes().len() as u64).sum()
    }
}

/// A data directory that was read and is ready to be written.
#[derive(Debug)]
pub struct Recovery<D: Disk> {
    /// The log, open for appending.
    pub wal: Wal<D>,
    /// The snapshot files.
    pub snapshots: Snapshots<D>,
    /// The state machine, at the newest snapshot: the roles hand it the batches of the log.
    pub applier: Applier,
    /// The same state machine, for readers.
    pub reader: Reader,
    /// What the roles start from.
    pub roles: RoleStates,
    /// Log time of the newest snapshot.
    pub log_time: LogTime,
    /// Every slot below is on disk, decided or not.
    pub recorded: Slot,
    /// The log on disk counts from here on. If the snapshot that covers what is below cannot be
    /// read this is above what is applied.
    pub log_start: Slot,
    /// The newest membership that this node knows to be in force; `None` if it never changed, so
    /// that the one of the settings holds.
    pub membership: Option<Membership>,
    /// Which data directory this is (P7).
    pub incarnation: Incarnation,
    /// The identity file, which also remembers the data directories of peers.
    pub identity: Identity<D>,
}

impl<D: Disk> Recovery<D> {
    /// Has the data directory on `disk` forget the state of the node, so that its peers have to
    /// tell it all of it; says whether it did. What it promised and accepted stays: it goes on
    /// voting under its name (P7). What is decided `below` must be durable with so many others that
    /// nobody needs this node for it; what comes after that stays in the log. If a snapshot took
    /// the place of some of that meanwhile, everything stays.
    ///
    /// A failure in between leaves a state that is a part of what it was.
    ///
    /// # Errors
    /// What is wrong with the directory and what to do, for the operator.
    pub fn forget(disk: D, options: &RecoveryOptions<'_>, below: Slot) -> Result<bool, String> {
        let identity = own_identity(&disk, options)?;
        let wal_options = WalOptions {
            segment_bytes: options.segment_bytes,
            salt: salt(identity.incarnation()),
            may_create: identity.starts() == 0,
        };
        let (mut wal, recovered) =
            Wal::open(disk.clone(), wal_options).map_err(|error| error.to_string())?;
        report(&recovered)?;
        if below < recovered.floor {
            return Ok(false);
        }
        // In this order: what no snapshot covers is unknown then, and never taken for empty.
        let below = below.min(recovered.decided);
        wal.truncate_below(below).map_err(|error| error.to_string())?;
        wal.sync().map_err(|error| error.to_string())?;
        Snapshots::new(disk).remove_all().map_err(|error| error.to_string())?;
        Ok(true)
    }

    /// Reads the data directory on `disk`, and makes a new one if it is empty.
    ///
    /// # Errors
    /// What is wrong with the directory and what to do, for the operator.
    pub fn run(disk: D, options: &RecoveryOptions<'_>) -> Result<Self, String> {
        let mut identity = own_identity(&disk, options)?;
        let incarnation = identity.incarnation();
        let wal_options = WalOptions {
            segment_bytes: options.segment_bytes,
            salt: salt(incarnation),
            may_create: identity.starts() == 0,
        };
        let snapshots = Snapshots::new(disk.clone());
        let own_order = if mutant!(HashOrderOfNode) { salt(incarnation) } else { 0 };
        let hash_seed = u64::from(crc32c::crc32c(options.cluster.as_bytes())) ^ own_order;
        let (mut applier, reader) =
            warlock_store::new(Options { hash_seed, shards: options.shards });
        let mut distrusted = Vec::new();
        let (wal, recovered) = loop {
            let (wal, recovered) = Wal::open_without(disk.clone(), wal_options, &distrusted)
                .map_err(|error| error.to_string())?;
            let Some(meta) = &recovered.snapshot else { break (wal, recovered) };
            match restore(&snapshots, meta, &mut applier, options.crew) {
                Ok(()) => break (wal, recovered),
                Err(Unrestored::Refused(error)) => return Err(error),
                // An older one is as good, with the log or what peers tell.
                Err(Unrestored::Damaged(error)) => {
                    tracing::error!(slot = %meta.slot, %error, "the snapshot cannot be restored");
                    distrusted.push(meta.slot);
                }
            }
        };
        // Only now: a first start that ends before it has a log may make one the next time.
        let starts = identity.count_start().map_err(|error| error.to_string())?;
        report(&recovered)?;
        let log_time = recovered.snapshot.as_ref().map_or(LogTime::ZERO, |meta| meta.log_time);
        let seed = salt(incarnation) ^ starts ^ options.entropy;
        let roles = role_states(&recovered, incarnation, starts, seed, log_time);
        let (recorded, log_start) = (recovered.recorded(), recovered.floor);
        let membership = recovered.membership.map(Membership::from_charter).transpose();
        let membership = membership.map_err(|error| error.to_string())?;
        Ok(Self {
            wal,
            snapshots,
            applier,
            reader,
            roles,
            log_time,
            recorded,
            log_start,
            membership,
            incarnation,
            identity,
        })
    }
}

fn own_identity<D: Disk>(disk: &D, options: &RecoveryOptions<'_>) -> Result<Identity<D>, String> {
    let found = Identity::load(disk.clone()).map_err(|error| error.to_string())?;
    match found {
        Some(identity) => {
            identity.expect(options.cluster, options.node).map_err(|error| error.to_string())?;
            Ok(identity)
        }
        None => Identity::create(disk.clone(), options.cluster, options.node, options.incarnation)
            .map_err(|error| error.to_string()),
    }
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

/// Why there is no state of a snapshot.
#[derive(Debug)]
enum Unrestored {
    /// It holds together, or nobody knows, and is not for this node: the node must not start.
    Refused(String),
    /// It is not what was written: as good as absent.
    Damaged(String),
}

impl From<SnapshotError> for Unrestored {
    fn from(error: SnapshotError) -> Self {
        let text = error.to_string();
        match matches!(error, SnapshotError::Damaged { .. } | SnapshotError::Absent { .. }) {
            true => Self::Damaged(text),
            false => Self::Refused(text),
        }
    }
}

impl From<RestoreError> for Unrestored {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Version(_) | RestoreError::Foreign => Self::Refused(error.to_string()),
            RestoreError::Malformed(_) | RestoreError::Incomplete | RestoreError::Digest => {
                Self::Damaged(error.to_string())
            }
        }
    }
}

/// Restores a snapshot: chunks are read and verified in order by whoever is free, and taken in by
/// all at the same time.
fn restore<D: Disk>(
    snapshots: &Snapshots<D>,
    meta: &SnapshotMeta,
    applier: &mut Applier,
    crew: fn(&(dyn Fn() + Sync)),
) -> Result<(), Unrestored> {
    let mut reader = snapshots.open(meta.slot)?;
    let restore = applier.restore();
    // The first chunk says what the others belong to.
    if let Some(chunk) = reader.next_chunk()? {
        restore.chunk(&chunk)?;
    }
    let reader = Mutex::new(reader);
    let problem = Mutex::new(None);
    crew(&|| {
        while problem.lock().is_none() {
            let chunk = reader.lock().next_chunk();
            let taken = match chunk {
                Ok(Some(chunk)) => restore.chunk(&chunk).map_err(Unrestored::from),
                Ok(None) => return,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = taken {
                *problem.lock() = Some(error);
            }
        }
    });
    match problem.into_inner() {
        Some(error) => Err(error),
        None => {
            let restored = restore.finish()?;
            drop(applier.install(restored));
            Ok(())
        }
    }
}

fn role_states(
    recovered: &Recovered,
    incarnation: Incarnation,
    starts: u64,
    seed: u64,
    log_time: LogTime,
) -> RoleStates {
    let snapshot = recovered.snapshot.as_ref().map_or(Slot::FIRST, |meta| meta.slot);
    RoleStates {
        acceptor: AcceptorState {
            ballot: recovered.ballot,
            pvalues: recovered.undecided_pvalues(),
            decided: recovered.held,
            unknown: recovered.unknown.clone(),
            known: recovered.decided,
            restarted: starts > 1,
            incarnation,
            reconfiguration: recovered.reconfiguration.clone(),
        },
        leader: LeaderState { ballot: recovered.ballot, applied: snapshot, log_time, seed },
        replica: ReplicaState {
            incarnation,
            first_sequence: (starts << SEQUENCE_BITS) + 1,
            snapshot,
            log_time,
            decided: recovered.decided_batches(),
        },
    }
}
