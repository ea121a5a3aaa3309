//! An image of the state at one slot, written while later slots are applied.
//!
//! Taking one costs nothing: it draws a number. The stream then walks the shards under their read
//! locks and copies each segment that is not marked with the number. The applier, before it first
//! changes such a segment, copies it into the stream's queue and marks it. So every segment
//! reaches the stream once, as it was when the number was drawn. The price is memory for what the
//! applier overtakes: at worst the whole state, if the stream is not read.
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
//! on restore that all items came through.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use wincode::{SchemaRead, SchemaWrite};

use crate::item::Item;
use crate::limits::{DATABASES, SNAPSHOT_CHUNK_LENGTH};
use crate::map::Segment;
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

/// What the applier and the stream of one snapshot share.
#[derive(Debug)]
pub(crate) struct Image {
    number: u64,
    queue: Mutex<VecDeque<Saved>>,
    /// The stream is finished or was dropped: nobody needs old segments any more.
    closed: AtomicBool,
}

/// A segment as it was, saved by the applier.
#[derive(Debug)]
enum Saved {
    /// Copied, because it was about to change.
    Chunks(VecDeque<Vec<u8>>),
    /// Moved here whole, because the table was emptied.
    Taken(usize, Vec<Segment>),
}

impl Image {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, queue: Mutex::default(), closed: AtomicBool::new(false) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Copies `segment`, which the caller has locked for writing, and marks it.
    pub(crate) fn save(&self, db: usize, segment: &Segment) {
        let mut chunks = Chunks::default();
        chunks.push_segment(db, segment);
        segment.image.store(self.number, Ordering::Relaxed);
        self.queue.lock().push_back(Saved::Chunks(chunks.into_all()));
    }

    /// Keeps what a table held that was emptied under its lock.
    pub(crate) fn save_taken(&self, db: usize, mut segments: Vec<Segment>) {
        segments.retain(|segment| segment.image.load(Ordering::Relaxed) < self.number);
        if !segments.is_empty() && !self.is_closed() {
            self.queue.lock().push_back(Saved::Taken(db, segments));
        }
    }
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
    items: u64,
    next_slot: u64,
    /// The shard to walk next.
    shard: usize,
    /// Segments from an emptied table, not copied yet.
    taken: Option<(usize, Vec<Segment>)>,
    chunks: Chunks,
    finished: bool,
}

impl SnapshotStream {
    pub(crate) fn new(shared: Arc<Shared>, image: Arc<Image>, header: Header) -> Self {
        Self {
            shared,
            image,
            items: header.items,
            next_slot: header.next_slot,
            header: Some(header),
            shard: 0,
            taken: None,
            chunks: Chunks::default(),
            finished: false,
        }
    }

    /// The first slot that the snapshot does not cover.
    #[must_use]
    pub fn next_slot(&self) -> u64 {
        self.next_slot
    }

    /// The next chunk, about 1 MiB long; longer if it is the single item of a larger value.
    /// `None` after the last.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        if let Some(header) = self.header.take() {
            return Some(encode_header(&header));
        }
        loop {
            if let Some(chunk) = self.chunks.pop_full() {
                return Some(chunk);
            }
            let more = self.copy_taken() || self.copy_saved() || self.copy_shard();
            if more {
                continue;
            }
            if let Some(chunk) = self.chunks.pop() {
                return Some(chunk);
            }
            return self.finish();
        }
    }

    /// Copies one segment of an emptied table.
    fn copy_taken(&mut self) -> bool {
        let Some((db, segments)) = &mut self.taken else {
            return false;
        };
        match segments.pop() {
            Some(segment) => self.chunks.push_segment(*db, &segment),
            None => self.taken = None,
        }
        true
    }

    /// Takes the oldest thing that the applier saved, so that its memory is freed first.
    fn copy_saved(&mut self) -> bool {
        let saved = self.image.queue.lock().pop_front();
        match saved {
            Some(Saved::Chunks(chunks)) => self.chunks.append(chunks),
            Some(Saved::Taken(db, segments)) => self.taken = Some((db, segments)),
            None => return false,
        }
        true
    }

    /// Copies segments of the current shard until a chunk is full or all of them are marked.
    fn copy_shard(&mut self) -> bool {
        if self.shard == self.shared.shards() {
            // Every segment is marked, so the applier saves no more of them, and what it saved of
            // the last shard was in the queue before that shard could be walked.
            return false;
        }
        let shard = self.shared.read(self.shard);
        for db in 0..DATABASES {
            for segment in shard.tables[db].segments() {
                if segment.image.load(Ordering::Relaxed) >= self.image.number {
                    continue;
                }
                if self.chunks.has_full() {
                    return true;
                }
                self.chunks.push_segment(db, segment);
                segment.image.store(self.image.number, Ordering::Relaxed);
            }
        }
        self.shard += 1;
        true
    }

    fn finish(&mut self) -> Option<Vec<u8>> {
        self.image.closed.store(true, Ordering::Release);
        if std::mem::replace(&mut self.finished, true) {
            return None;
        }
        let mut chunk = vec![END];
        chunk.extend_from_slice(&self.items.to_le_bytes());
        Some(chunk)
    }
}

impl Iterator for SnapshotStream {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.next_chunk()
    }
}

impl Drop for SnapshotStream {
    fn drop(&mut self) {
        self.image.closed.store(true, Ordering::Release);
        self.image.queue.lock().clear();
    }
}

/// Collects items into chunks of bounded length.
#[derive(Debug, Default)]
struct Chunks {
    full: VecDeque<Vec<u8>>,
    open: Vec<u8>,
}

impl Chunks {
    fn push_segment(&mut self, db: usize, segment: &Segment) {
        for item in segment.items() {
            self.push(db, item);
        }
    }

    fn push(&mut self, db: usize, item: &Item) {
        let bytes = item.bytes();
        let length = RECORD_HEADER + bytes.len();
        if !self.open.is_empty() && self.open.len() + length > SNAPSHOT_CHUNK_LENGTH {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        if self.open.is_empty() {
            self.open.push(DATA);
        }
        self.open.push(u8::try_from(db).expect("databases are few"));
        let length = u32::try_from(bytes.len()).expect("limits keep items below 4 GiB");
        self.open.extend_from_slice(&length.to_le_bytes());
        self.open.extend_from_slice(bytes);
    }

    /// Adds chunks made elsewhere; the last of them may be small and takes more items.
    fn append(&mut self, mut chunks: VecDeque<Vec<u8>>) {
        if let Some(last) = chunks.pop_back() {
            if self.open.is_empty() {
                self.open = last;
            } else if self.open.len() + last.len() <= SNAPSHOT_CHUNK_LENGTH {
                self.open.extend_from_slice(&last[1..]);
            } else {
                self.full.push_back(last);
            }
        }
        self.full.append(&mut chunks);
    }

    fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    fn pop_full(&mut self) -> Option<Vec<u8>> {
        self.full.pop_front()
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        (!self.open.is_empty()).then(|| std::mem::take(&mut self.open))
    }

    fn into_all(mut self) -> VecDeque<Vec<u8>> {
        if !self.open.is_empty() {
            self.full.push_back(self.open);
        }
        self.full
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
