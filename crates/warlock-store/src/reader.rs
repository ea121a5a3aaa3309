//! Reads beside the applier, on any thread.

use std::sync::Arc;

use warlock_resp::{ReplyWriter, Request};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::commands;
use crate::item::Item;
use crate::limits::DATABASES;
use crate::map::Key;
use crate::shared::{Checkpoint, Shared};
use crate::table::{Class, check};
use crate::write::{Core, MICROSECONDS, is_due};

/// What came of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum ReadOutcome {
    /// The reply is written.
    Done,
    /// Nothing is written: a key should have expired by the caller's clock, but log time has not
    /// come that far, so whether it is there is not decided. The caller sends the command through
    /// the log.
    Limbo,
}

/// A handle to read the state. Cheap to clone; every command is atomic.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Executes a command of [`Class::Read`] in database `db`. `now_us` is what log time would be
    /// if a batch were made now; remaining times to live count from it. A command of another class
    /// gets an error.
    pub fn read(
        &self,
        db: u8,
        request: &Request<'_>,
        now_us: u64,
        reply: &mut ReplyWriter<'_>,
    ) -> ReadOutcome {
        let db = usize::from(db);
        if db >= DATABASES {
            reply.error("ERR DB index is out of range");
            return ReadOutcome::Done;
        }
        match check(request) {
            Ok(spec) if spec.class == Class::Read => {
                let view = ReadView::at(&self.shared, db, now_us);
                return commands::read(spec, &view, request, reply);
            }
            Ok(spec) => {
                let name = spec.name;
                reply.error(&format!("ERR command '{name}' is not a read"));
            }
            Err(text) => reply.error(&text),
        }
        ReadOutcome::Done
    }

    /// The first slot that is not applied: 1 on an empty state.
    #[must_use]
    pub fn next_slot(&self) -> u64 {
        self.shared.next_slot()
    }

    /// Log time of the newest batch, in microseconds since the Unix epoch; 0 before the first.
    #[must_use]
    pub fn log_time_us(&self) -> u64 {
        self.shared.log_time_us()
    }

    /// Digest of the state after the last applied slot; to compare it with another replica's, take
    /// [`checkpoint`](Self::checkpoint).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.checkpoint().digest
    }

    /// Next slot, log time and digest that belong together.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.checkpoint()
    }

    /// Number of keys in database `db`, with those that are due but not removed yet; 0 for a
    /// database that does not exist.
    #[must_use]
    pub fn keys(&self, db: u8) -> u64 {
        let db = usize::from(db);
        if db < DATABASES { self.shared.keys(db) } else { 0 }
    }

    /// How many of these keys have a deadline.
    #[must_use]
    pub fn keys_with_expiry(&self, db: u8) -> u64 {
        let db = usize::from(db);
        if db < DATABASES { self.shared.volatile(db) } else { 0 }
    }

    /// Bytes of keys, values and tables, without the allocator's rounding. Looks at each shard, so
    /// it is for people and metrics.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let shards = 0..self.shared.shards();
        let tables = shards.map(|shard| {
            let shard = self.shared.read(shard);
            shard.tables.iter().map(|table| table.table_bytes() as u64).sum::<u64>()
        });
        tables.sum::<u64>() + self.shared.item_bytes()
    }
}

/// What a read command works with.
#[derive(Debug)]
pub(crate) struct ReadView<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) db: usize,
    now_us: u64,
    /// Seed of the batch; a reader has none.
    seed: Option<u64>,
    /// What only the applier may look at.
    core: Option<&'a Core>,
}

/// What a read command sees of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sight<'a> {
    Absent,
    Present(&'a Item),
    Limbo,
}

/// The time at which a command looks at keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    log_time_us: u64,
    now_us: u64,
}

impl Moment {
    /// Now in microseconds since the Unix epoch; never before log time.
    pub(crate) fn now_us(self) -> u64 {
        self.now_us.max(self.log_time_us)
    }

    /// What is to be seen of `item`.
    pub(crate) fn sight(self, item: Option<&Item>) -> Sight<'_> {
        match item {
            None => Sight::Absent,
            Some(item) => match self.presence(item.deadline_ms()) {
                Presence::Absent => Sight::Absent,
                Presence::Present => Sight::Present(item),
                Presence::Limbo => Sight::Limbo,
            },
        }
    }

    /// Whether a key with this deadline is there.
    pub(crate) fn presence(self, deadline_ms: Option<u64>) -> Presence {
        match deadline_ms {
            None => Presence::Present,
            Some(deadline_ms) if is_due(deadline_ms, self.log_time_us) => Presence::Absent,
            Some(deadline_ms) if is_due(deadline_ms, self.now_us) => Presence::Limbo,
            Some(_) => Presence::Present,
        }
    }

    /// Milliseconds from now until `deadline_ms`, as a client is told.
    pub(crate) fn remaining_ms(self, deadline_ms: u64) -> u64 {
        deadline_ms.saturating_sub(self.now_us().div_ceil(MICROSECONDS))
    }
}

/// [`Sight`] without the item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    Absent,
    Present,
    Limbo,
}

impl<'a> ReadView<'a> {
    fn at(shared: &'a Shared, db: usize, now_us: u64) -> Self {
        Self { shared, db, now_us, seed: None, core: None }
    }

    /// The view of the applier: nothing is in limbo, because now is log time.
    pub(crate) fn at_log_time(shared: &'a Shared, db: usize, core: &'a Core, seed: u64) -> Self {
        Self { shared, db, now_us: core.log_time_us, seed: Some(seed), core: Some(core) }
    }

    /// Number of keys; `None` if a reader cannot tell, because some may be due.
    pub(crate) fn keys(&self) -> Option<u64> {
        if let Some(core) = self.core {
            let account = &core.accounts.databases[self.db];
            let deadlines = account.deadlines.iter();
            let due = deadlines.take_while(|(ms, _)| is_due(*ms, core.log_time_us));
            return Some(account.keys - due.count() as u64);
        }
        let keys = self.shared.keys(self.db);
        let all_live = !is_due(self.shared.first_deadline_ms(self.db), self.moment().now_us());
        all_live.then_some(keys)
    }

    pub(crate) fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.shared.hasher.key(bytes)
    }

    /// A number for random choices of this command: from the batch, or from the caller's time.
    pub(crate) fn seed(&self) -> u64 {
        let of_time = || xxh3_64_with_seed(&self.now_us.to_le_bytes(), self.shared.next_slot());
        self.seed.unwrap_or_else(of_time)
    }

    /// The time of this command. Taken once, under all of its locks: log time does not wait for
    /// readers, and two keys must not be looked at in two different times.
    pub(crate) fn moment(&self) -> Moment {
        Moment { log_time_us: self.shared.log_time_us(), now_us: self.now_us }
    }
}
