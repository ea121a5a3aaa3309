//! Frames: records gathered for one sync, and their bytes. FORMAT.md describes them.

use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes};
use warlock_paxos::{Ballot, Batch, NodeId, Slot, SlotRange, View};

use crate::limits::{PAGE_BYTES, SECTOR};
use crate::mark::{ENTRY_LENGTH, Kind, MARK_LENGTH, Mark, Summary};
use crate::zeros::{ZEROS, is_zero};

const ACCEPT: u8 = 1;
const LEARN: u8 = 2;

/// What a frame holds about one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) slot: Slot,
    /// `None` for a learned batch.
    pub(crate) ballot: Option<Ballot>,
    /// `None` if the bytes do not match their checksum.
    pub(crate) batch: Option<Batch>,
}

/// Records that wait for the next sync.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Room for the header, then the index.
    head: Vec<u8>,
    bodies: Vec<Bytes>,
    body_bytes: u64,
    slots: Option<SlotRange>,
}

impl Gathered {
    pub(crate) fn new() -> Self {
        Self { head: vec![0; MARK_LENGTH], bodies: Vec::new(), body_bytes: 0, slots: None }
    }

    /// Adds a batch to the frame; its bytes are shared, not copied.
    pub(crate) fn push(&mut self, slot: Slot, ballot: Option<Ballot>, batch: &Batch) {
        let body = batch.as_bytes();
        let kind = if ballot.is_some() { ACCEPT } else { LEARN };
        let ballot = ballot.unwrap_or(Ballot::ZERO);
        self.head.put_u8(kind);
        self.head.put_u8(0);
        self.head.put_u16_le(ballot.node.number());
        self.head.put_u32_le(crc32c::crc32c(body));
        self.head.put_u64_le(slot.position());
        self.head.put_u64_le(ballot.view.number());
        self.head.put_u64_le(ballot.round);
        self.head.put_u64_le(body.len() as u64);
        self.body_bytes += body.len() as u64;
        self.bodies.push(body.clone());
        let slots = self.slots.get_or_insert(SlotRange { first: slot, last: slot });
        slots.first = slots.first.min(slot);
        slots.last = slots.last.max(slot);
    }

    pub(crate) fn clear(&mut self) {
        self.head.truncate(MARK_LENGTH);
        self.bodies.clear();
        self.body_bytes = 0;
        self.slots = None;
    }

    /// The highest slot gathered.
    pub(crate) fn highest(&self) -> Option<Slot> {
        self.slots.map(|slots| slots.last)
    }

    /// Length of the frame in bytes.
    pub(crate) fn length(&self) -> u64 {
        (self.head.len() as u64 + self.body_bytes + MARK_LENGTH as u64).next_multiple_of(PAGE_BYTES)
    }

    /// The mark of the frame with this sequence, after which `summary` is true.
    pub(crate) fn mark(&self, sequence: u64, summary: Summary) -> Mark {
        let records = u32::try_from(self.bodies.len()).expect("a frame has below 2^32 records");
        Mark {
            sequence,
            length: self.length(),
            records,
            index_checksum: crc32c::crc32c(&self.head[MARK_LENGTH..]),
            zero_sectors: self.zero_sectors(),
            summary,
            slots: self.slots,
        }
    }

    /// Puts the header in its place and calls `write` with the whole frame and `zeros` zeros behind
    /// it.
    pub(crate) fn write<T>(
        &mut self,
        mark: &Mark,
        salt: u64,
        position: u64,
        mut zeros: u64,
        write: impl FnOnce(&mut [IoSlice<'_>]) -> T,
    ) -> T {
        let header = mark.encode(Kind::Header, salt, position);
        let footer = mark.encode(Kind::Footer, salt, position);
        self.head[..MARK_LENGTH].copy_from_slice(&header);
        let mut parts = Vec::with_capacity(self.bodies.len() + 3);
        parts.push(IoSlice::new(&self.head));
        parts.extend(self.bodies.iter().map(|body| IoSlice::new(body)));
        parts.push(IoSlice::new(self.padding()));
        parts.push(IoSlice::new(&footer));
        while zeros > 0 {
            let length = zeros.min(ZEROS.len() as u64);
            parts.push(IoSlice::new(&ZEROS[..usize::try_from(length).unwrap_or(ZEROS.len())]));
            zeros -= length;
        }
        write(&mut parts)
    }

    fn padding(&self) -> &'static [u8] {
        let used = self.head.len() as u64 + self.body_bytes + MARK_LENGTH as u64;
        let length = usize::try_from(self.length() - used).expect("padding is below a page");
        &ZEROS[..length]
    }

    fn zero_sectors(&self) -> u32 {
        let mut counter = ZeroSectors::new();
        // The marks are not encoded yet, but never zero.
        counter.feed(&[1; MARK_LENGTH]);
        counter.feed(&self.head[MARK_LENGTH..]);
        for body in &self.bodies {
            counter.feed(body);
        }
        counter.feed(self.padding());
        counter.feed(&[1; MARK_LENGTH]);
        counter.count
    }
}

/// Counts the sectors that consist of zeros.
///
/// A sector that was never written reads as zeros, so that a frame of which a part was not written
/// has more of them than its mark says, while one that was damaged later has not.
struct ZeroSectors {
    count: u32,
    filled: usize,
    is_zero: bool,
}

impl ZeroSectors {
    const fn new() -> Self {
        Self { count: 0, filled: 0, is_zero: true }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(SECTOR - self.filled));
            self.is_zero = self.is_zero && is_zero(part);
            self.filled += part.len();
            if self.filled == SECTOR {
                self.count += u32::from(self.is_zero);
                self.filled = 0;
                self.is_zero = true;
            }
            bytes = rest;
        }
    }
}

/// How many sectors of `frame` consist of zeros.
pub(crate) fn zero_sectors(frame: &[u8]) -> u32 {
    let mut counter = ZeroSectors::new();
    counter.feed(frame);
    counter.count
}

/// The records of a frame, or `None` if the index does not match its checksum.
pub(crate) fn entries(frame: &Bytes, mark: &Mark) -> Option<Vec<Entry>> {
    let start = usize::try_from(mark.bodies_start()).ok()?;
    let index = frame.get(MARK_LENGTH..start)?;
    if crc32c::crc32c(index) != mark.index_checksum {
        return None;
    }
    let mut body_start = start;
    let mut entries = Vec::with_capacity(index.len() / ENTRY_LENGTH);
    for mut entry in index.chunks_exact(ENTRY_LENGTH) {
        let kind = entry.get_u8();
        entry.advance(1);
        let node = NodeId::new(entry.get_u16_le());
        let checksum = entry.get_u32_le();
        let slot = Slot::new(entry.get_u64_le());
        let view = View::new(entry.get_u64_le());
        let round = entry.get_u64_le();
        let length = usize::try_from(entry.get_u64_le()).ok()?;
        let end = body_start.checked_add(length)?;
        let ballot = match kind {
            ACCEPT => Some(Ballot { view, round, node }),
            LEARN => None,
            _ => return None,
        };
        let batch = (end <= frame.len() && crc32c::crc32c(&frame[body_start..end]) == checksum)
            .then(|| Batch::from_bytes(frame.slice(body_start..end)).ok())
            .flatten();
        entries.push(Entry { slot, ballot, batch });
        body_start = end;
    }
    Some(entries)
}
