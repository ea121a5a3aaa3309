//! An image of the state at one slot, written while later slots are applied.
//!
//! Taking one costs nothing. The stream then walks the shards in small steps, each under the read
//! lock of its shard, and copies the items; what the applier changes before the stream has passed
//! it, the applier keeps for the stream as it was (`image.rs`). Items come in the order of shard,
//! database, hash and key. So two replicas write the same items in the same order for the same
//! slot, however their tables are laid out.
//!
//! A snapshot is a sequence of chunks. The first byte of a chunk is its kind:
//!
//! ```text
//! 'H' version (2 bytes) header      first; see `Header`
//! 'D' (database (1) length (4) item (length))*    any number, in any order
//! 'E' number of items (8)           last
//! ```
//!
//! Integers are little-endian; an item is laid out as in memory. The digest in the header proves
//! on restore that all items came through. The stream itself counts and sums what it gives, and
//! ends without a last chunk if that is not the state that it was asked for.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use wincode::{SchemaRead, SchemaWrite};

use crate::image::{Image, Part, Place};
use crate::item::Item;
use crate::limits::{DATABASES, SNAPSHOT_CHUNK_LENGTH, SNAPSHOT_STEP_LENGTH};
use crate::origins::Origin;
use crate::shared::Shared;

/// What a snapshot says about itself before its items.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(crate) struct Header {
    pub(crate) next_slot: u64,
    pub(crate) log_time_us: u64,
    pub(crate) digest: u64,
    pub(crate) items: u64,
    /// Seed and shards of the hash order. Replicas must agree on them: `SCAN` cursors and the
    /// order of expiry depend on both.
    pub(crate) hash_seed: u64,
    pub(crate) shard_bits: u32,
    pub(crate) origins: Vec<Origin>,
}

/// What one step of a [`SnapshotStream`] came to.
#[derive(Debug, PartialEq, Eq)]
pub enum SnapshotStep {
    /// The next chunk, about [`SNAPSHOT_CHUNK_LENGTH`] long; longer if it is the single item of
    /// a larger value.
    Chunk(Vec<u8>),
    /// Something was done, but no chunk is full yet.
    More,
    /// All chunks were given.
    End,
    /// What was given is not the state that the snapshot says it is: it must not be kept.
    Inexact,
}

/// The chunks of one snapshot. Independent of the applier; may be read on another thread.
///
/// Dropping it early abandons the snapshot, which then lacks its last chunk and cannot be
/// restored.
#[derive(Debug)]
pub struct SnapshotStream {
    shared: Arc<Shared>,
    image: Arc<Image>,
    header: Option<Header>,
    next_slot: u64,
    /// How many items the image has, and the sum of their digests.
    expected: (u64, u64),
    /// The same of the items given so far.
    given: (u64, u64),
    /// The shard to walk next.
    shard: usize,
    chunks: Chunks,
    is_finished: bool,
}

impl SnapshotStream {
    /// The image of a state that this header describes, with this sum of digests and so many bytes
    /// of items.
    pub(crate) fn new(
        shared: Arc<Shared>,
        image: Arc<Image>,
        header: Header,
        sum: u64,
        bytes: u64,
    ) -> Self {
        Self {
            shared,
            image,
            next_slot: header.next_slot,
            expected: (header.items, sum),
            given: (0, 0),
            chunks: Chunks::new(bytes.saturating_add(header.items * RECORD_HEADER as u64)),
            header: Some(header),
            shard: 0,
            is_finished: false,
        }
    }

    /// The first slot that the snapshot does not cover.
    #[must_use]
    pub fn next_slot(&self) -> u64 {
        self.next_slot
    }

    /// How many items were given so far, and how many there are.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.given.0, self.expected.0)
    }

    /// Does a little: holds no lock for longer than it takes to copy a few hundred items.
    pub fn step(&mut self) -> SnapshotStep {
        if let Some(header) = self.header.take() {
            return SnapshotStep::Chunk(encode_header(&header));
        }
        if let Some(chunk) = self.chunks.full.pop_front() {
            return SnapshotStep::Chunk(chunk);
        }
        if self.shard < self.shared.shards() {
            self.walk_some();
            return SnapshotStep::More;
        }
        if let Some(chunk) = self.chunks.take_open() {
            return SnapshotStep::Chunk(chunk);
        }
        self.image.close();
        if self.given != self.expected {
            return SnapshotStep::Inexact;
        }
        if std::mem::replace(&mut self.is_finished, true) {
            return SnapshotStep::End;
        }
        let mut chunk = vec![END];
        chunk.extend_from_slice(&self.given.0.to_le_bytes());
        SnapshotStep::Chunk(chunk)
    }

    /// The next chunk; `None` after the last.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.step() {
                SnapshotStep::Chunk(chunk) => return Some(chunk),
                SnapshotStep::More => {}
                SnapshotStep::End | SnapshotStep::Inexact => return None,
            }
        }
    }

    /// Goes on through the shards until enough is copied for one step.
    fn walk_some(&mut self) {
        let until = self.shared.shards().min(self.shard + SHARDS_PER_STEP);
        let mut bytes = 0;
        while self.shard < until && bytes < SNAPSHOT_STEP_LENGTH / 2 {
            bytes += self.walk();
        }
    }

    /// Copies some items of the current shard, or goes on to the next one; says how many bytes.
    fn walk(&mut self) -> usize {
        let shard = self.shared.read(self.shard);
        let mut part = self.image.part(self.shard);
        let Some(place) = part.next_filled(&shard) else {
            part.next = (DATABASES, 0);
            self.shard += 1;
            return 0;
        };
        let (db, _) = place;
        let table = part.taken(db).unwrap_or(&shard.tables[db]);
        let (items, next) = table.part(self.shared.hasher, self.shard, place.1);
        let next = next.map_or((db + 1, 0), |hash| (db, hash));
        let items = as_they_were(items, &part, place..next);
        let (mut bytes, mut last) = (0, place);
        let mut reached = next;
        for (hash, item) in items {
            // Items of one hash go together, because the place is a hash.
            if bytes >= SNAPSHOT_STEP_LENGTH && (db, hash) != last {
                reached = (db, hash);
                break;
            }
            last = (db, hash);
            bytes += item.bytes().len();
            self.given.0 += 1;
            self.given.1 = self.given.1.wrapping_add(item.digest(db));
            self.chunks.push(db, item);
        }
        part.next = reached;
        let behind = part.before.split_off(&reached);
        let passed = std::mem::replace(&mut part.before, behind);
        let emptied = part.pass_taken();
        drop(part);
        drop(shard);
        // Nobody needs to wait until this is freed.
        drop((passed, emptied));
        bytes
    }
}

/// Shards that one step goes through at most, if they hold little.
const SHARDS_PER_STEP: usize = 64;

/// The items of a range of places, those that changed as they were before; in the order of hash
/// and key.
fn as_they_were<'a>(
    mut items: Vec<(u64, &'a Item)>,
    part: &'a Part,
    range: Range<Place>,
) -> Vec<(u64, &'a Item)> {
    let (db, _) = range.start;
    let mut changed = part.before.range(range).peekable();
    if changed.peek().is_none() {
        return items;
    }
    items.retain(|(hash, item)| {
        let before = part.before.get(&(db, *hash));
        before.is_none_or(|before| before.iter().all(|before| before.key() != item.key()))
    });
    for ((_, hash), before) in changed {
        items.extend(before.iter().filter_map(|before| Some((*hash, before.item()?))));
    }
    items.sort_unstable_by(|(a, one), (b, two)| (a, one.key()).cmp(&(b, two.key())));
    items
}

impl Iterator for SnapshotStream {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.next_chunk()
    }
}

impl Drop for SnapshotStream {
    fn drop(&mut self) {
        self.image.close();
    }
}

/// Collects items into chunks of bounded length.
#[derive(Debug)]
struct Chunks {
    full: VecDeque<Vec<u8>>,
    open: Vec<u8>,
    /// What to reserve for a chunk.
    capacity: usize,
}

impl Chunks {
    /// For items of so many bytes in all.
    fn new(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(1);
        let capacity = bytes.min(SNAPSHOT_CHUNK_LENGTH);
        Self { full: VecDeque::new(), open: Vec::new(), capacity }
    }

    fn push(&mut self, db: usize, item: &Item) {
        let bytes = item.bytes();
        let length = RECORD_HEADER + bytes.len();
        if !self.open.is_empty() && self.open.len() + length > SNAPSHOT_CHUNK_LENGTH {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        if self.open.is_empty() {
            self.open.reserve(self.capacity);
            self.open.push(DATA);
        }
        self.open.push(u8::try_from(db).expect("databases are few"));
        let length = u32::try_from(bytes.len()).expect("limits keep items below 4 GiB");
        self.open.extend_from_slice(&length.to_le_bytes());
        self.open.extend_from_slice(bytes);
    }

    fn take_open(&mut self) -> Option<Vec<u8>> {
        (!self.open.is_empty()).then(|| std::mem::take(&mut self.open))
    }
}

fn encode_header(header: &Header) -> Vec<u8> {
    let mut chunk = vec![HEADER];
    chunk.extend_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
    chunk.extend(wincode::serialize(header).expect("every header has an encoding"));
    chunk
}

/// Version of the snapshot encoding, the layout of items included.
pub const SNAPSHOT_VERSION: u16 = 1;

pub(crate) const HEADER: u8 = b'H';
pub(crate) const DATA: u8 = b'D';
pub(crate) const END: u8 = b'E';
/// Database and length before an item.
pub(crate) const RECORD_HEADER: usize = 5;
