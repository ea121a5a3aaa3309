//! What the applier and the readers share, and the order in which it is locked.
//!
//! Shards are locked in ascending order, all that a command needs before it looks at any. So every
//! command is atomic to every other, and nobody waits in a circle. Counters are published before
//! the locks of the command that changed them are released.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::accounts::Accounts;
use crate::limits::DATABASES;
use crate::map::{Hasher, Key, Shard};

/// Where a replica stands: what its state is a function of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The first slot that is not applied.
    pub next_slot: u64,
    /// Log time of the last applied batch, in microseconds since the Unix epoch; 0 before it.
    pub log_time_us: u64,
    /// Equal on two replicas with the same `next_slot` if and only if their states are equal, but
    /// for a chance of 2^-64.
    pub digest: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hasher: Hasher,
    shards: Box<[RwLock<Shard>]>,
    /// Of the batch being applied: readers must not see a key that the applier already ignores.
    log_time_us: AtomicU64,
    next_slot: AtomicU64,
    checkpoint: RwLock<Checkpoint>,
    counters: [Counters; DATABASES],
    item_bytes: AtomicU64,
}

/// A copy of a [`DatabaseAccount`](crate::accounts::DatabaseAccount) for readers.
#[derive(Debug, Default)]
struct Counters {
    keys: AtomicU64,
    volatile: AtomicU64,
    /// `u64::MAX` when no key of the database is volatile.
    first_deadline_ms: AtomicU64,
}

impl Shared {
    pub(crate) fn new(hasher: Hasher, checkpoint: Checkpoint) -> Self {
        let shards = (0..1usize << hasher.shard_bits).map(|_| RwLock::default());
        let shared = Self {
            hasher,
            shards: shards.collect(),
            log_time_us: AtomicU64::new(checkpoint.log_time_us),
            next_slot: AtomicU64::new(checkpoint.next_slot),
            checkpoint: RwLock::new(checkpoint),
            counters: Default::default(),
            item_bytes: AtomicU64::new(0),
        };
        for counters in &shared.counters {
            counters.first_deadline_ms.store(u64::MAX, Ordering::Relaxed);
        }
        shared
    }

    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].read()
    }

    /// For the applier, which writes nothing meanwhile: it may hold this lock already.
    pub(crate) fn read_again(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].read_recursive()
    }

    pub(crate) fn is_locked(&self, shard: usize) -> bool {
        self.shards[shard].is_locked()
    }

    pub(crate) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].write()
    }

    /// The shards of `keys`, each once, in the order in which they are locked.
    pub(crate) fn shards_of(&self, keys: &[Key<'_>]) -> Vec<usize> {
        let mut shards: Vec<usize> = keys.iter().map(|key| self.hasher.shard(key.hash)).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    pub(crate) fn log_time_us(&self) -> u64 {
        self.log_time_us.load(Ordering::Acquire)
    }

    pub(crate) fn next_slot(&self) -> u64 {
        self.next_slot.load(Ordering::Acquire)
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        *self.checkpoint.read()
    }

    pub(crate) fn keys(&self, db: usize) -> u64 {
        self.counters[db].keys.load(Ordering::Acquire)
    }

    pub(crate) fn volatile(&self, db: usize) -> u64 {
        self.counters[db].volatile.load(Ordering::Acquire)
    }

    pub(crate) fn first_deadline_ms(&self, db: usize) -> u64 {
        self.counters[db].first_deadline_ms.load(Ordering::Acquire)
    }

    pub(crate) fn item_bytes(&self) -> u64 {
        self.item_bytes.load(Ordering::Relaxed)
    }

    /// Lets readers know that log time has come this far, before anything is done at that time.
    pub(crate) fn publish_log_time(&self, log_time_us: u64) {
        self.log_time_us.store(log_time_us, Ordering::Release);
    }

    pub(crate) fn publish_checkpoint(&self, checkpoint: Checkpoint) {
        *self.checkpoint.write() = checkpoint;
        self.log_time_us.store(checkpoint.log_time_us, Ordering::Release);
        self.next_slot.store(checkpoint.next_slot, Ordering::Release);
    }

    pub(crate) fn publish_account(&self, db: usize, accounts: &Accounts) {
        let account = &accounts.databases[db];
        let counters = &self.counters[db];
        let first = account.deadlines.first().map_or(u64::MAX, |(ms, _)| *ms);
        counters.keys.store(account.keys, Ordering::Release);
        counters.volatile.store(account.volatile, Ordering::Release);
        counters.first_deadline_ms.store(first, Ordering::Release);
        self.item_bytes.store(accounts.item_bytes, Ordering::Relaxed);
    }
}
