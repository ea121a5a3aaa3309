//! Gets what a batch is about to look up on its way from memory.
//!
//! A key is found through a chain of places that are seldom in a cache: shard, segment, hash
//! table, item. A command waits for each of them in turn, and the next command begins only then.
//! But the chains of different keys do not depend on each other: walked side by side, a step for
//! all before the next step for any, a processor waits for many of them at once. So before a batch
//! is applied its keys are looked up in groups, and nothing is done with what is found.

use std::hint::black_box;

use parking_lot::RwLockReadGuard;
use warlock_resp::RequestSpans;

use crate::entry::Entries;
use crate::limits::DATABASES;
use crate::map::Shard;
use crate::shared::Shared;

/// Keys that are looked up side by side: about as many reads of memory as a processor has under
/// way at once.
const GROUP: usize = 16;

/// Of fewer keys the waits would not add up to more than the looking ahead costs.
const GROUP_MIN: usize = 4;

/// Where a command will look.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    db: usize,
    hash: u64,
}

/// Looks up the first key of each command in `commands`, which were encoded with [`crate::entry`].
pub(crate) fn look_ahead(shared: &Shared, commands: &[u8], spans: &mut RequestSpans) {
    let mut entries = Entries::new(commands);
    loop {
        let mut places = [Place::default(); GROUP];
        let mut count = 0;
        while count < GROUP
            && let Some(Ok((db, request))) = entries.next(spans)
        {
            let db = usize::from(db);
            if let Some(key) = request.arg(1).filter(|_| db < DATABASES) {
                places[count] = Place { db, hash: shared.hasher.hash(key) };
                count += 1;
            }
        }
        if count < GROUP_MIN {
            return;
        }
        walk(shared, &places[..count]);
    }
}

/// Walks to all places at once.
fn walk(shared: &Shared, places: &[Place]) {
    let hasher = shared.hasher;
    for place in places {
        black_box(shared.is_locked(hasher.shard(place.hash)));
    }
    // All locks first: to take one waits for every read of memory before it.
    let mut shards: [Option<RwLockReadGuard<'_, Shard>>; GROUP] = Default::default();
    for (shard, place) in shards.iter_mut().zip(places) {
        *shard = Some(shared.read_again(hasher.shard(place.hash)));
    }
    let tables = || {
        let shards = shards.iter().flatten();
        shards.zip(places).map(|(shard, place)| (&shard.tables[place.db], place.hash))
    };
    for (table, hash) in tables() {
        black_box(table.segment(hasher, hash).map(|segment| segment.keys()));
    }
    for (table, hash) in tables() {
        black_box(table.segment(hasher, hash).map(|segment| segment.touch(hash)));
    }
}
