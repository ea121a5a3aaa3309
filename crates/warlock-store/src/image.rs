//! What the applier keeps for a snapshot under way: how things were before they changed.
//!
//! The stream walks each shard in the order of its keys and says how far it is. The applier,
//! before it first changes a key that the stream has still to pass, puts a copy of the old item
//! aside; the stream takes that in its turn, and frees it. So the price of a snapshot is memory
//! for the keys that change before the stream passes them, each once, and never a pause.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::item::Item;
use crate::limits::DATABASES;
use crate::map::{Key, Shard, Table};

/// A place in the order of the keys of one shard: the database, then the hash.
pub(crate) type Place = (usize, u64);

/// What the applier and the stream of one snapshot share.
#[derive(Debug)]
pub(crate) struct Image {
    /// By shard. Each is locked by who holds the lock of the shard itself, so nobody ever waits.
    parts: Box<[Mutex<Part>]>,
    /// The stream is finished or was dropped: nobody needs what was any more.
    closed: AtomicBool,
}

/// One shard of an image.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The stream has passed everything before.
    pub(crate) next: Place,
    /// What keys that changed at or behind `next` were before.
    pub(crate) before: BTreeMap<Place, Vec<Before>>,
    /// Tables that were emptied as a whole, by database: the image is theirs.
    pub(crate) taken: Vec<(usize, Table)>,
}

/// A key as it was.
#[derive(Debug)]
pub(crate) struct Before {
    /// The item; only its key counts if the key was not there.
    item: Item,
    was_there: bool,
}

impl Before {
    pub(crate) fn key(&self) -> &[u8] {
        self.item.key()
    }

    /// The item, if there was one.
    pub(crate) fn item(&self) -> Option<&Item> {
        self.was_there.then_some(&self.item)
    }
}

impl Image {
    pub(crate) fn new(shards: usize) -> Self {
        let parts = (0..shards).map(|_| Mutex::default());
        Self { parts: parts.collect(), closed: AtomicBool::new(false) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// One shard; to be called by who holds its lock.
    pub(crate) fn part(&self, shard: usize) -> MutexGuard<'_, Part> {
        self.parts[shard].lock()
    }

    /// Keeps what `key` of database `db` is before it changes, unless the stream has passed it or
    /// it was kept before. The caller has locked `shard` for writing.
    pub(crate) fn keep(&self, shard: usize, db: usize, key: Key<'_>, item: Option<&Item>) {
        let mut part = self.part(shard);
        let place = (db, key.hash);
        if place < part.next || part.is_taken(db) {
            return;
        }
        // Two keys of one hash are rare.
        let known = part.before.entry(place).or_insert_with(|| Vec::with_capacity(1));
        if known.iter().all(|before| before.key() != key.bytes) {
            known.push(Before {
                item: item.map_or_else(|| Item::new(key.bytes, b"", None), Item::copy),
                was_there: item.is_some(),
            });
        }
    }

    /// Keeps a table of `shard` that was emptied under the shard's lock; gives it back if the
    /// stream does not need it.
    pub(crate) fn keep_table(&self, shard: usize, db: usize, table: Table) -> Option<Table> {
        let mut part = self.part(shard);
        if self.is_closed() || part.next.0 > db || part.is_taken(db) {
            return Some(table);
        }
        part.taken.push((db, table));
        None
    }
}

impl Part {
    fn is_taken(&self, db: usize) -> bool {
        self.taken.iter().any(|(taken, _)| *taken == db)
    }

    /// Where the next items of the image can be, in `shard`, whose part this is.
    pub(crate) fn next_filled(&self, shard: &Shard) -> Option<Place> {
        let (first, from) = self.next;
        let is_filled = |db: &usize| {
            let table = self.taken(*db).unwrap_or(&shard.tables[*db]);
            let changed = self.before.range((*db, 0)..(*db + 1, 0)).next();
            !table.segments().is_empty() || changed.is_some()
        };
        let db = (first..DATABASES).find(is_filled)?;
        Some((db, if db == first { from } else { 0 }))
    }

    /// Takes the emptied tables out that the stream has passed.
    pub(crate) fn pass_taken(&mut self) -> Vec<(usize, Table)> {
        let passed = self.next.0;
        self.taken.extract_if(.., |(db, _)| *db < passed).collect()
    }

    /// What the image has of a database, if that is no longer what the shard has.
    pub(crate) fn taken(&self, db: usize) -> Option<&Table> {
        self.taken.iter().find(|(taken, _)| *taken == db).map(|(_, table)| table)
    }
}
