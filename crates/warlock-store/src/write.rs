//! How commands change keys: under the locks of all their shards, with the accounts kept.

use std::sync::Arc;

use parking_lot::RwLockWriteGuard;

use crate::accounts::{Accounts, Share};
use crate::image::Image;
use crate::item::Item;
use crate::map::{Key, Shard};
use crate::shared::Shared;

/// The applier's own part of the state: what readers never look at.
#[derive(Debug, Default)]
pub(crate) struct Core {
    pub(crate) accounts: Accounts,
    /// Log time of the batch being applied.
    pub(crate) log_time_us: u64,
    /// The snapshot under way.
    pub(crate) image: Option<Arc<Image>>,
}

impl Core {
    /// Lets the snapshot under way keep what `key` is, which is about to change. The caller has
    /// locked `shard` for writing.
    fn keep(&mut self, shard: usize, db: usize, key: Key<'_>, item: Option<&Item>) {
        let Some(image) = &self.image else { return };
        if image.is_closed() {
            self.image = None;
        } else {
            image.keep(shard, db, key, item);
        }
    }
}

/// What a write command works with: one database at one log time.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) core: &'a mut Core,
    pub(crate) db: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.shared.hasher.key(bytes)
    }

    /// Log time in milliseconds, rounded up: what a relative time to live starts from, so that
    /// no key expires early.
    pub(crate) fn now_ms(&self) -> u64 {
        self.core.log_time_us.div_ceil(MICROSECONDS)
    }

    /// Whether a key with this deadline is absent now.
    pub(crate) fn is_due(&self, deadline_ms: u64) -> bool {
        is_due(deadline_ms, self.core.log_time_us)
    }

    pub(crate) fn lock_one(&mut self, key: Key<'_>) -> Locked<'_, 'a> {
        let shard = self.shared.hasher.shard(key.hash);
        let guards = Guards::One(self.shared.write(shard));
        Locked { writer: self, guards }
    }

    pub(crate) fn lock_many(&mut self, keys: &[Key<'_>]) -> Locked<'_, 'a> {
        if let [key] = keys {
            return self.lock_one(*key);
        }
        let shards = self.shared.shards_of(keys);
        let guards = shards.into_iter().map(|shard| (shard, self.shared.write(shard)));
        let guards = Guards::Many(guards.collect());
        Locked { writer: self, guards }
    }

    /// Removes every key of the databases from `first` to `last`, in one atomic step.
    pub(crate) fn clear(&mut self, first: usize, last: usize) {
        let shards = 0..self.shared.shards();
        let mut guards: Vec<_> = shards.map(|shard| self.shared.write(shard)).collect();
        let mut garbage = Vec::new();
        for db in first..=last {
            for (index, shard) in guards.iter_mut().enumerate() {
                let table = std::mem::take(&mut shard.tables[db]);
                garbage.extend(match &self.core.image {
                    Some(image) => image.keep_table(index, db, table),
                    None => Some(table),
                });
            }
            self.core.accounts.cleared(db);
            self.shared.publish_account(db, &self.core.accounts);
        }
        // Readers need not wait until a million allocations are freed.
        drop(guards);
        drop(garbage);
    }

    /// Removes the keys of database `self.db` with this hash and deadline.
    pub(crate) fn expire(&mut self, hash: u64, deadline_ms: u64) {
        let hasher = self.shared.hasher;
        let db = self.db;
        let nobody = Key { bytes: &[], hash };
        let mut locked = self.lock_one(nobody);
        loop {
            let table = &locked.shard(hash).tables[db];
            let Some(item) = table.find_due(hasher, hash, deadline_ms) else {
                return;
            };
            let bytes = item.key().to_vec();
            locked.remove_present(Key { bytes: &bytes, hash });
        }
    }
}

/// The shards of a command's keys, locked until it is done.
#[derive(Debug)]
pub(crate) struct Locked<'w, 'a> {
    writer: &'w mut Writer<'a>,
    guards: Guards<'a>,
}

#[derive(Debug)]
enum Guards<'a> {
    One(RwLockWriteGuard<'a, Shard>),
    Many(Vec<(usize, RwLockWriteGuard<'a, Shard>)>),
}

impl Locked<'_, '_> {
    /// The item of `key`, unless it is due; then it is removed first.
    pub(crate) fn live(&mut self, key: Key<'_>) -> Option<&Item> {
        let log_time_us = self.writer.core.log_time_us;
        let volatile = self.writer.core.accounts.databases[self.writer.db].volatile;
        if volatile > 0 {
            let deadline = self.find(key).and_then(Item::deadline_ms);
            if deadline.is_some_and(|deadline_ms| is_due(deadline_ms, log_time_us)) {
                self.remove_present(key);
                return None;
            }
        }
        self.find(key)
    }

    /// Gives `key` this value, and this deadline or none.
    pub(crate) fn store(&mut self, key: Key<'_>, value: &[u8], deadline_ms: Option<u64>) {
        self.change(key, |old| {
            if let Some(item) = old
                && item.overwrite(value, deadline_ms)
            {
                return None;
            }
            Some(Item::new(key.bytes, value, deadline_ms))
        });
    }

    /// Adds `tail` to the value of `key`, which must be present.
    pub(crate) fn append(&mut self, key: Key<'_>, tail: &[u8]) {
        self.change(key, |old| {
            old.expect(SEEN).append(tail);
            None
        });
    }

    /// Gives `key`, which must be present, this deadline or none.
    pub(crate) fn set_deadline(&mut self, key: Key<'_>, deadline_ms: Option<u64>) {
        self.change(key, |old| {
            old.expect(SEEN).set_deadline(deadline_ms);
            None
        });
    }

    /// Removes `key`, and says whether it was there and not due.
    pub(crate) fn remove(&mut self, key: Key<'_>) -> bool {
        let present = self.live(key).is_some();
        if present {
            self.remove_present(key);
        }
        present
    }

    /// Changes the item of `key` in place, or puts what `edit` returns instead.
    fn change(&mut self, key: Key<'_>, edit: impl FnOnce(Option<&mut Item>) -> Option<Item>) {
        let db = self.writer.db;
        let hasher = self.writer.shared.hasher;
        let (shard, core) = self.parts(key.hash);
        let table = &mut shard.tables[db];
        let mut present = table.find_mut(hasher, key);
        core.keep(hasher.shard(key.hash), db, key, present.as_deref());
        let before = present.as_deref().map(|item| Share::of(item, db));
        let after = match (edit(present.as_deref_mut()), present) {
            (None, present) => present.map(|item| Share::of(item, db)),
            (Some(new), present) => {
                let share = Share::of(&new, db);
                match present {
                    Some(item) => *item = new,
                    None => {
                        table.put(hasher, key.hash, new);
                    }
                }
                Some(share)
            }
        };
        if let Some(before) = before {
            core.accounts.removed(db, key.hash, before, table, hasher);
        }
        if let Some(after) = after {
            core.accounts.added(db, key.hash, after);
        }
    }

    fn remove_present(&mut self, key: Key<'_>) {
        let db = self.writer.db;
        let hasher = self.writer.shared.hasher;
        let (shard, core) = self.parts(key.hash);
        let table = &mut shard.tables[db];
        if core.image.is_some() {
            core.keep(hasher.shard(key.hash), db, key, table.find(hasher, key));
        }
        if let Some(item) = table.remove(hasher, key) {
            let share = Share::of(&item, db);
            core.accounts.removed(db, key.hash, share, table, hasher);
        }
    }

    fn find(&self, key: Key<'_>) -> Option<&Item> {
        let table = &self.shard(key.hash).tables[self.writer.db];
        table.find(self.writer.shared.hasher, key)
    }

    fn shard(&self, hash: u64) -> &Shard {
        match &self.guards {
            Guards::One(shard) => shard,
            Guards::Many(guards) => {
                let wanted = self.writer.shared.hasher.shard(hash);
                let found = guards.binary_search_by_key(&wanted, |(shard, _)| *shard);
                &guards[found.expect("the shards of all keys are locked")].1
            }
        }
    }

    fn parts(&mut self, hash: u64) -> (&mut Shard, &mut Core) {
        let core = &mut *self.writer.core;
        let shard = match &mut self.guards {
            Guards::One(shard) => &mut **shard,
            Guards::Many(guards) => {
                let wanted = self.writer.shared.hasher.shard(hash);
                let found = guards.binary_search_by_key(&wanted, |(shard, _)| *shard);
                &mut *guards[found.expect("the shards of all keys are locked")].1
            }
        };
        (shard, core)
    }
}

impl Drop for Locked<'_, '_> {
    /// Publishes the counters; the guards are dropped after this, as fields are.
    fn drop(&mut self) {
        let writer = &self.writer;
        writer.shared.publish_account(writer.db, &writer.core.accounts);
    }
}

/// Whether a key with this deadline is absent at `log_time_us`, for everybody.
pub(crate) fn is_due(deadline_ms: u64, log_time_us: u64) -> bool {
    deadline_ms <= log_time_us / MICROSECONDS
}

const SEEN: &str = "the command saw the key under this lock";

/// In a millisecond.
pub(crate) const MICROSECONDS: u64 = 1000;
