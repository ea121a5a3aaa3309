//! The hash map of one shard: segments of bounded size, in the order of their keys' hashes.
//!
//! The highest bits of a key's hash choose its shard, the next ones its segment in the table of
//! its database. So ascending hash is an order of all keys that does not change when tables grow,
//! and that every replica shares; `SCAN` walks in this order.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::item::Item;
use crate::limits::{DATABASES, SEGMENT_KEYS};

/// A key with its hash, computed once per command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: u64,
}

/// Places keys: equal on all replicas, because seed and number of shards are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hasher {
    pub(crate) seed: u64,
    pub(crate) shard_bits: u32,
}

impl Hasher {
    pub(crate) fn key(self, bytes: &[u8]) -> Key<'_> {
        let hash = self.hash(bytes);
        Key { bytes, hash }
    }

    pub(crate) fn hash(self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most 16 bits remain")]
    pub(crate) fn shard(self, hash: u64) -> usize {
        hash.checked_shr(u64::BITS - self.shard_bits).unwrap_or(0) as usize
    }

    /// The lowest hash of a segment of a shard; none behind the last.
    fn segment_start(self, shard: usize, index: usize, segments: usize) -> Option<u64> {
        if index == segments {
            return None;
        }
        let shift = u64::BITS - self.shard_bits - segments.trailing_zeros();
        let shard = (shard as u64).checked_shl(u64::BITS - self.shard_bits).unwrap_or(0);
        Some(shard | (index as u64).checked_shl(shift).unwrap_or(0))
    }

    fn segment(self, hash: u64, segments: usize) -> usize {
        debug_assert!(segments.is_power_of_two());
        let within_shard = hash.checked_shl(self.shard_bits).unwrap_or(0);
        let shift = u64::BITS - segments.trailing_zeros();
        usize::try_from(within_shard.checked_shr(shift).unwrap_or(0))
            .expect("an index below the number of segments")
    }
}

/// Everything that one lock guards.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) tables: [Table; DATABASES],
}

/// The keys of one database in one shard.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// None while there is no key, else a power of two.
    segments: Vec<Segment>,
    keys: usize,
}

impl Table {
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Makes room for so many further keys at once.
    pub(crate) fn reserve(&mut self, hasher: Hasher, keys: usize) {
        let wanted = (self.keys + keys).div_ceil(SEGMENT_KEYS).next_power_of_two();
        if self.segments.is_empty() && keys > 0 {
            let share = keys / wanted + 1;
            self.segments = (0..wanted).map(|_| Segment::with_capacity(share)).collect();
        }
        while self.segments.len() < wanted {
            self.split(hasher);
        }
    }

    pub(crate) fn find(&self, hasher: Hasher, key: Key<'_>) -> Option<&Item> {
        let segment = self.segment(hasher, key.hash)?;
        let spread = spread(key.hash);
        segment.items.find(spread, |item| item.key() == key.bytes)
    }

    pub(crate) fn find_mut(&mut self, hasher: Hasher, key: Key<'_>) -> Option<&mut Item> {
        let index = self.segment_index(hasher, key.hash)?;
        self.segments[index].items.find_mut(spread(key.hash), |item| item.key() == key.bytes)
    }

    /// An item with this hash and deadline. Several keys may share both.
    pub(crate) fn find_due(&self, hasher: Hasher, hash: u64, deadline_ms: u64) -> Option<&Item> {
        self.segment(hasher, hash)?
            .items
            .iter_hash(spread(hash))
            .find(|item| item.deadline_ms() == Some(deadline_ms) && hasher.hash(item.key()) == hash)
    }

    /// Puts `item` in; returns the item of the same key that it replaces.
    pub(crate) fn put(&mut self, hasher: Hasher, hash: u64, item: Item) -> Option<Item> {
        if self.segments.is_empty() {
            self.segments.push(Segment::with_capacity(0));
        } else if self.keys >= self.segments.len() * SEGMENT_KEYS {
            self.split(hasher);
        }
        let index = hasher.segment(hash, self.segments.len());
        let entry = self.segments[index].items.entry(
            spread(hash),
            |present| present.key() == item.key(),
            |present| spread(hasher.hash(present.key())),
        );
        match entry {
            Entry::Occupied(mut occupied) => Some(std::mem::replace(occupied.get_mut(), item)),
            Entry::Vacant(vacant) => {
                vacant.insert(item);
                self.keys += 1;
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, hasher: Hasher, key: Key<'_>) -> Option<Item> {
        let index = self.segment_index(hasher, key.hash)?;
        let items = &mut self.segments[index].items;
        let entry = items.find_entry(spread(key.hash), |item| item.key() == key.bytes).ok()?;
        let (item, _) = entry.remove();
        if items.capacity() > SHRINK_FACTOR * items.len().max(SHRUNK_MIN) {
            items.shrink_to(2 * items.len(), |item| spread(hasher.hash(item.key())));
        }
        self.keys -= 1;
        if self.keys == 0 {
            self.segments = Vec::new();
        }
        Some(item)
    }

    /// The first keys with a hash of at least `from`, in ascending order of hash, then key, and the
    /// hash at which the next ones begin, if there can be any. The table belongs to `shard`.
    pub(crate) fn part(
        &self,
        hasher: Hasher,
        shard: usize,
        from: u64,
    ) -> (Vec<(u64, &Item)>, Option<u64>) {
        match self.segment_index(hasher, from) {
            Some(index) => {
                let next = hasher.segment_start(shard, index + 1, self.segments.len());
                (self.segments[index].sorted(hasher, from), next)
            }
            None => (Vec::new(), None),
        }
    }

    /// Keys with a hash of at least `from`, segment by segment in ascending order of hash.
    pub(crate) fn segments_from(&self, hasher: Hasher, from: u64) -> &[Segment] {
        match self.segment_index(hasher, from) {
            Some(index) => &self.segments[index..],
            None => &[],
        }
    }

    /// The segment that holds keys of this hash, if the table has any.
    pub(crate) fn segment(&self, hasher: Hasher, hash: u64) -> Option<&Segment> {
        self.segment_index(hasher, hash).map(|index| &self.segments[index])
    }

    /// Bytes that the table takes beside its items.
    pub(crate) fn table_bytes(&self) -> usize {
        let tables = self.segments.iter().map(|segment| segment.items.allocation_size());
        tables.sum::<usize>() + self.segments.capacity() * size_of::<Segment>()
    }

    fn segment_index(&self, hasher: Hasher, hash: u64) -> Option<usize> {
        (!self.segments.is_empty()).then(|| hasher.segment(hash, self.segments.len()))
    }

    /// Doubles the number of segments.
    fn split(&mut self, hasher: Hasher) {
        let count = 2 * self.segments.len();
        let mut segments = Vec::with_capacity(count);
        for mut segment in self.segments.drain(..) {
            let half = segment.items.len() / 2 + 1;
            let first = segments.len();
            for _ in 0..2 {
                segments.push(Segment::with_capacity(half));
            }
            for item in segment.items.drain() {
                let hash = hasher.hash(item.key());
                let index = hasher.segment(hash, count);
                debug_assert!(index - first < 2);
                segments[index].items.insert_unique(spread(hash), item, |present| {
                    spread(hasher.hash(present.key()))
                });
            }
        }
        self.segments = segments;
    }
}

/// A part of a table that is small enough to be copied or sorted at once.
#[derive(Debug)]
pub(crate) struct Segment {
    items: HashTable<Item>,
}

impl Segment {
    fn with_capacity(keys: usize) -> Self {
        Self { items: HashTable::with_capacity(keys) }
    }

    /// How many keys it holds.
    pub(crate) fn keys(&self) -> usize {
        self.items.len()
    }

    /// Reads a little of what stands at `hash`, whatever its key.
    pub(crate) fn touch(&self, hash: u64) -> Option<u8> {
        let item = self.items.find(spread(hash), |_| true)?;
        let bytes = item.bytes();
        Some(bytes.first()? ^ bytes.last()?)
    }

    /// The items whose hash is at least `from`, in ascending order of hash, then key.
    pub(crate) fn sorted(&self, hasher: Hasher, from: u64) -> Vec<(u64, &Item)> {
        let hashed = self.items.iter().map(|item| (hasher.hash(item.key()), item));
        let mut sorted: Vec<_> = hashed.filter(|(hash, _)| *hash >= from).collect();
        sorted.sort_unstable_by(|(a, one), (b, two)| (a, one.key()).cmp(&(b, two.key())));
        sorted
    }
}

/// What the hash table sees. It takes buckets from the low and tags from the high bits, while the
/// high bits of a hash are the same in a whole segment.
fn spread(hash: u64) -> u64 {
    hash.rotate_left(u64::BITS / 2)
}

/// A segment whose table could hold this many times its keys is made smaller.
const SHRINK_FACTOR: usize = 8;
const SHRUNK_MIN: usize = 8;
