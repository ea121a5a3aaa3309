//! The one writer of the state: applies decided batches in the order of their slots.

use std::sync::Arc;

use warlock_resp::{ReplyWriter, Request, RequestSpans, mutant};

use crate::accounts::Accounts;
use crate::commands;
use crate::foresight::look_ahead;
use crate::image::Image;
use crate::limits::{DATABASES, EXPIRED_PER_BATCH, SHARDS};
use crate::map::{Hasher, Shard};
use crate::origins::{Origin, Origins};
use crate::reader::{ReadOutcome, ReadView, Reader};
use crate::restore::{Restore, RestoreError, Restored, checkpoint};
use crate::shared::{Checkpoint, Shared};
use crate::snapshot::{Header, SnapshotStream};
use crate::table::{Class, check};
use crate::write::{Core, MICROSECONDS, Writer, is_due};

/// How the state is laid out. All replicas of a cluster must use the same options.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of the hash that places keys. Random for each cluster, so that nobody outside can
    /// choose keys that fall into the same place; equal on all its nodes, because the order of
    /// `SCAN` depends on it.
    pub hash_seed: u64,
    /// Number of shards: a power of two, from 1 to 65536.
    pub shards: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { hash_seed: 0, shards: SHARDS }
    }
}

/// Makes an empty state: the half that writes it and the half that reads it.
///
/// # Panics
/// If the number of shards is not a power of two up to 65536.
#[must_use]
pub fn new(options: Options) -> (Applier, Reader) {
    assert!(options.shards.is_power_of_two(), "shards: a power of two");
    assert!(options.shards <= SHARDS_MAX, "shards: at most {SHARDS_MAX}");
    let hasher = Hasher { seed: options.hash_seed, shard_bits: options.shards.trailing_zeros() };
    let core = Core::default();
    let origins = Origins::default();
    let empty = checkpoint(FIRST_SLOT, 0, &core.accounts, &origins);
    let shared = Arc::new(Shared::new(hasher, empty));
    let reader = Reader::new(Arc::clone(&shared));
    let applier =
        Applier { shared, core, origins, next_slot: FIRST_SLOT, batch: None, restore: None };
    (applier, reader)
}

/// Applies batches. There is exactly one for each state; readers may run beside it.
#[derive(Debug)]
pub struct Applier {
    shared: Arc<Shared>,
    core: Core,
    origins: Origins,
    next_slot: u64,
    batch: Option<Batch>,
    restore: Option<Box<Restore>>,
}

/// A state that a snapshot has replaced. To drop it frees every item, so that is best done where
/// nobody waits.
#[derive(Debug)]
pub struct Replaced {
    _shards: Vec<Shard>,
    _accounts: Accounts,
}

/// The batch between `begin_batch` and `end_batch`.
#[derive(Debug)]
struct Batch {
    slot: u64,
    seed: u64,
    /// Commands applied so far, so that each draws another random number.
    commands: u64,
}

impl Applier {
    /// Starts the batch of `slot` at `log_time_us`, in microseconds since the Unix epoch. Keys
    /// whose deadline is not after that are absent from here on, and some of them are removed.
    /// `seed` is where random choices of the batch come from.
    ///
    /// # Panics
    /// P5: if `slot` is not [`next_slot`](Reader::next_slot), if another batch was not ended, or
    /// if log time went back.
    pub fn begin_batch(&mut self, slot: u64, log_time_us: u64, seed: u64) {
        assert!(self.batch.is_none(), "P5: s{slot} begins inside a batch");
        assert!(
            slot == self.next_slot,
            "P5: s{slot} cannot be applied, s{} is next",
            self.next_slot
        );
        assert!(
            log_time_us >= self.core.log_time_us,
            "log time goes back from {} to {log_time_us} in s{slot}",
            self.core.log_time_us
        );
        self.batch = Some(Batch { slot, seed, commands: 0 });
        self.core.log_time_us = log_time_us;
        self.shared.publish_log_time(log_time_us);
        self.expire();
    }

    /// Whether the batch with this sequence from this origin is new; if not, none of its commands
    /// may be applied. The caller asks once for each batch that has an origin.
    ///
    /// # Panics
    /// P5: outside a batch.
    pub fn admit(&mut self, node: u16, incarnation: u128, sequence: u64) -> bool {
        let slot = self.batch.as_ref().expect("P5: admit inside a batch").slot;
        let origin = Origin { node, incarnation, sequence, slot };
        self.origins.admit(origin) || mutant!(NoDedup, SnapshotSlotBehind)
    }

    /// Gets the memory that `commands` will need on its way to the processor. They were encoded
    /// with [`entry`](crate::entry) and are about to be applied one by one; nothing changes.
    pub fn look_ahead(&self, commands: &[u8], spans: &mut RequestSpans) {
        look_ahead(&self.shared, commands, spans);
    }

    /// Executes one command in database `db` at the log time of the batch, and writes exactly one
    /// reply. A command that does not exist, or that only the front end knows, gets an error.
    ///
    /// # Panics
    /// P5: outside a batch.
    pub fn apply(&mut self, db: u8, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
        let batch = self.batch.as_mut().expect("P5: apply inside a batch");
        batch.commands = batch.commands.wrapping_add(1);
        let seed = batch.seed ^ batch.commands.wrapping_mul(ODD);
        let db = usize::from(db);
        if db >= DATABASES {
            return reply.error("ERR DB index is out of range");
        }
        let spec = match check(request) {
            Ok(spec) => spec,
            Err(text) => return reply.error(&text),
        };
        match spec.class {
            Class::Write => {
                let mut writer = Writer { shared: &self.shared, core: &mut self.core, db };
                commands::write(spec, &mut writer, request, reply);
            }
            Class::Read => {
                let view = ReadView::at_log_time(&self.shared, db, &self.core, seed);
                let outcome = commands::read(spec, &view, request, reply);
                assert!(outcome == ReadOutcome::Done, "now is log time");
            }
            Class::Connection => {
                let name = spec.name;
                reply.error(&format!("ERR command '{name}' is not allowed in the log"));
            }
        }
    }

    /// Ends the batch: from here on its slot counts as applied.
    ///
    /// # Panics
    /// P5: outside a batch.
    pub fn end_batch(&mut self) {
        let batch = self.batch.take().expect("P5: a batch ends that began");
        self.next_slot = batch.slot.checked_add(1).expect("fewer than 2^64 slots");
        self.shared.publish_checkpoint(self.checkpoint());
    }

    /// When the next key expires, in microseconds since the Unix epoch; in the past while due keys
    /// wait for their removal. A batch at or after this time makes the expiry happen.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        let (deadline_ms, _, _) = self.core.accounts.first_deadline()?;
        Some(deadline_ms.saturating_mul(MICROSECONDS))
    }

    /// Takes an image of the state as it is now. The stream may be read on another thread while
    /// batches go on.
    ///
    /// # Panics
    /// Inside a batch, or while the stream of another snapshot is neither finished nor dropped.
    #[must_use]
    pub fn snapshot(&mut self) -> SnapshotStream {
        assert!(self.batch.is_none(), "a snapshot is taken between batches");
        assert!(!self.is_snapshotting(), "one snapshot at a time");
        let image = Arc::new(Image::new(self.shared.shards()));
        self.core.image = Some(Arc::clone(&image));
        if mutant!(DedupExpiresLocally) {
            self.origins = Origins::default();
        }
        let covered = self.next_slot + u64::from(mutant!(SnapshotSlotAhead))
            - u64::from(mutant!(SnapshotSlotBehind));
        let Core { accounts, log_time_us, .. } = &self.core;
        let checkpoint = checkpoint(covered, *log_time_us, accounts, &self.origins);
        let header = Header {
            next_slot: checkpoint.next_slot,
            log_time_us: checkpoint.log_time_us,
            digest: checkpoint.digest,
            items: self.core.accounts.keys(),
            hash_seed: self.shared.hasher.seed,
            shard_bits: self.shared.hasher.shard_bits,
            origins: if mutant!(DedupNotInSnapshot) { Vec::new() } else { self.origins.to_list() },
        };
        let (sum, bytes) = (self.core.accounts.digest(), self.core.accounts.item_bytes);
        SnapshotStream::new(Arc::clone(&self.shared), image, header, sum, bytes)
    }

    /// Whether the stream of a snapshot is neither finished nor dropped.
    #[must_use]
    pub fn is_snapshotting(&self) -> bool {
        let image = self.core.image.as_ref();
        image.is_some_and(|image| !image.is_closed())
    }

    /// Makes an empty state beside this one, to take a snapshot in. Independent of the applier; may
    /// be filled on other threads.
    #[must_use]
    pub fn restore(&self) -> Restore {
        Restore::new(self.shared.hasher)
    }

    /// Replaces the state by a snapshot, in one step for every reader. The old state is returned,
    /// because to drop it takes long.
    ///
    /// # Panics
    /// Inside a batch, or if the snapshot was restored for another cluster.
    #[must_use]
    pub fn install(&mut self, restored: Restored) -> Replaced {
        assert!(self.batch.is_none(), "a snapshot is installed between batches");
        let Restored { hasher, mut shards, accounts, origins, checkpoint } = restored;
        assert!(hasher == self.shared.hasher, "a snapshot of this cluster");
        let indices = 0..self.shared.shards();
        let mut guards: Vec<_> = indices.map(|shard| self.shared.write(shard)).collect();
        for (index, (guard, new)) in guards.iter_mut().zip(&mut shards).enumerate() {
            std::mem::swap(&mut **guard, new);
            let Some(image) = &self.core.image else { continue };
            for (db, table) in new.tables.iter_mut().enumerate() {
                let unneeded = image.keep_table(index, db, std::mem::take(table));
                *table = unneeded.unwrap_or_default();
            }
        }
        let old = std::mem::replace(&mut self.core.accounts, accounts);
        self.core.log_time_us = checkpoint.log_time_us;
        self.origins = origins;
        if !mutant!(AppliedSlotApart) {
            self.next_slot = checkpoint.next_slot;
        }
        for db in 0..DATABASES {
            self.shared.publish_account(db, &self.core.accounts);
        }
        self.shared.publish_checkpoint(checkpoint);
        Replaced { _shards: shards, _accounts: old }
    }

    /// Starts to take in a snapshot; forgets one that was not finished. The state stays as it is,
    /// and batches may be applied, until [`finish_restore`](Self::finish_restore).
    pub fn begin_restore(&mut self) {
        self.restore = Some(Box::new(self.restore()));
    }

    /// Takes in the next chunk, in the order in which the stream gave them.
    ///
    /// # Errors
    /// The chunk does not belong to a snapshot, or not here. The restore is over then.
    ///
    /// # Panics
    /// Without [`begin_restore`](Self::begin_restore), or after an error.
    pub fn restore_chunk(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        let restore = self.restore.as_ref().expect("a restore began");
        let taken = restore.chunk(chunk);
        if taken.is_err() {
            self.restore = None;
        }
        taken
    }

    /// Replaces the state by the snapshot, in one step for every reader.
    ///
    /// # Errors
    /// The snapshot is not complete or not what its header says. The state is unchanged then.
    ///
    /// # Panics
    /// Inside a batch, or without [`begin_restore`](Self::begin_restore).
    pub fn finish_restore(&mut self) -> Result<(), RestoreError> {
        let restore = self.restore.take().expect("a restore began");
        let restored = restore.finish()?;
        drop(self.install(restored));
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        checkpoint(self.next_slot, self.core.log_time_us, &self.core.accounts, &self.origins)
    }

    /// Removes due keys in the order of their deadlines, up to the limit.
    fn expire(&mut self) {
        for _ in 0..EXPIRED_PER_BATCH {
            let Some((deadline_ms, db, hash)) = self.core.accounts.first_deadline() else {
                return;
            };
            if !is_due(deadline_ms, self.core.log_time_us) {
                return;
            }
            let mut writer = Writer { shared: &self.shared, core: &mut self.core, db };
            writer.expire(hash, deadline_ms);
        }
    }
}

const FIRST_SLOT: u64 = 1;
const SHARDS_MAX: usize = 1 << 16;
/// 2^64 divided by the golden ratio: multiples of it are far apart.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
