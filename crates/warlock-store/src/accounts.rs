//! What must be known about the keys without looking at them: numbers, digest, deadlines.

use std::collections::BTreeSet;

use crate::item::Item;
use crate::limits::DATABASES;
use crate::map::{Hasher, Table};

/// Kept in step with the tables by whoever changes them.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) databases: [DatabaseAccount; DATABASES],
    /// Bytes of all items.
    pub(crate) item_bytes: u64,
}

/// The account of one database.
#[derive(Debug, Default)]
pub(crate) struct DatabaseAccount {
    pub(crate) keys: u64,
    pub(crate) volatile: u64,
    /// Sum of the items' digests: independent of their order, and kept without looking at others.
    pub(crate) digest: u64,
    /// Deadline in milliseconds and hash of each volatile key. Keys that share both share one
    /// element; [`Table::find_due`] finds them all.
    pub(crate) deadlines: BTreeSet<(u64, u64)>,
    /// Bytes of the items of this database.
    item_bytes: u64,
}

/// What an item contributes to the accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    digest: u64,
    bytes: u64,
    deadline_ms: Option<u64>,
}

impl Share {
    pub(crate) fn of(item: &Item, db: usize) -> Self {
        Self {
            digest: item.digest(db),
            bytes: item.bytes().len() as u64,
            deadline_ms: item.deadline_ms(),
        }
    }
}

impl DatabaseAccount {
    /// Of so many keys with this sum of digests and these bytes, of which so many have deadlines.
    pub(crate) fn of(keys: u64, digest: u64, item_bytes: u64, deadlines: Vec<(u64, u64)>) -> Self {
        let volatile = deadlines.len() as u64;
        Self { keys, volatile, digest, deadlines: deadlines.into_iter().collect(), item_bytes }
    }
}

impl Accounts {
    /// The accounts of all databases.
    pub(crate) fn of(databases: [DatabaseAccount; DATABASES]) -> Self {
        let item_bytes = databases.iter().map(|account| account.item_bytes).sum();
        Self { databases, item_bytes }
    }

    /// An item with key hash `hash` is now in database `db`.
    pub(crate) fn added(&mut self, db: usize, hash: u64, share: Share) {
        let account = &mut self.databases[db];
        account.keys += 1;
        account.digest = account.digest.wrapping_add(share.digest);
        account.item_bytes += share.bytes;
        self.item_bytes += share.bytes;
        if let Some(deadline_ms) = share.deadline_ms {
            account.volatile += 1;
            account.deadlines.insert((deadline_ms, hash));
        }
    }

    /// An item with key hash `hash` is no longer in `table` of database `db`, or no longer so.
    pub(crate) fn removed(
        &mut self,
        db: usize,
        hash: u64,
        share: Share,
        table: &Table,
        hasher: Hasher,
    ) {
        let account = &mut self.databases[db];
        account.keys -= 1;
        account.digest = account.digest.wrapping_sub(share.digest);
        account.item_bytes -= share.bytes;
        self.item_bytes -= share.bytes;
        if let Some(deadline_ms) = share.deadline_ms {
            account.volatile -= 1;
            if table.find_due(hasher, hash, deadline_ms).is_none() {
                account.deadlines.remove(&(deadline_ms, hash));
            }
        }
    }

    /// Every key of database `db` is gone.
    pub(crate) fn cleared(&mut self, db: usize) {
        let account = std::mem::take(&mut self.databases[db]);
        self.item_bytes -= account.item_bytes;
    }

    /// The sum over all databases; each item's digest already depends on its database.
    pub(crate) fn digest(&self) -> u64 {
        let digests = self.databases.iter().map(|account| account.digest);
        digests.fold(0, u64::wrapping_add)
    }

    /// Number of keys in all databases.
    pub(crate) fn keys(&self) -> u64 {
        self.databases.iter().map(|account| account.keys).sum()
    }

    /// The earliest deadline with the database and hash of its key.
    pub(crate) fn first_deadline(&self) -> Option<(u64, usize, u64)> {
        let firsts = self.databases.iter().enumerate().filter_map(|(db, account)| {
            let (deadline_ms, hash) = account.deadlines.first()?;
            Some((*deadline_ms, db, *hash))
        });
        firsts.min()
    }
}
