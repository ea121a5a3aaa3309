//! The mark of a frame: what it is and what it holds, in 128 bytes. FORMAT.md describes the bytes.

use bytes::{Buf, BufMut};
use warlock_paxos::{Ballot, NodeId, Slot, SlotRange, View, mutant};

use crate::limits::PAGE_BYTES;

/// Length of an encoded mark in bytes.
pub(crate) const MARK_LENGTH: usize = 128;

/// Length of one entry of a frame's index in bytes.
pub(crate) const ENTRY_LENGTH: usize = 40;

/// What is true of the log after everything up to some point of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The highest ballot ever promised or accepted.
    pub(crate) ballot: Ballot,
    /// The highest watermark of decided slots ever recorded.
    pub(crate) decided: Slot,
    /// No record for a slot above was ever written.
    pub(crate) highest: Option<Slot>,
    /// Every slot below is decided, and records for them count no more: a snapshot has them.
    pub(crate) floor: Slot,
    /// How often the file of the membership was written.
    pub(crate) edition: u32,
}

impl Summary {
    pub(crate) const EMPTY: Self = Self {
        ballot: Ballot::ZERO,
        decided: Slot::FIRST,
        highest: None,
        floor: Slot::FIRST,
        edition: 0,
    };

    pub(crate) fn merge(&mut self, other: &Self) {
        let anew = mutant!(BallotLostByTruncation) && other.floor > self.floor;
        self.ballot = if anew { other.ballot } else { self.ballot.max(other.ballot) };
        self.decided = self.decided.max(other.decided);
        self.highest = self.highest.max(other.highest);
        self.floor = self.floor.max(other.floor);
        self.edition = self.edition.max(other.edition);
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.ballot.view.number());
        out.put_u64_le(self.ballot.round);
        out.put_u16_le(self.ballot.node.number());
        out.put_u16_le(0);
        out.put_u32_le(self.edition);
        out.put_u64_le(self.decided.position());
        out.put_u64_le(self.highest.map_or(0, Slot::position));
        out.put_u64_le(self.floor.position());
    }

    pub(crate) fn decode(from: &mut impl Buf) -> Self {
        let ballot = Ballot {
            view: View::new(from.get_u64_le()),
            round: from.get_u64_le(),
            node: NodeId::new(from.get_u16_le()),
        };
        from.advance(2);
        let edition = from.get_u32_le();
        Self {
            ballot,
            edition,
            decided: Slot::new(from.get_u64_le()),
            highest: some_slot(from.get_u64_le()),
            floor: Slot::new(from.get_u64_le()),
        }
    }
}

/// Zero stands for no slot: slots begin at one.
fn some_slot(position: u64) -> Option<Slot> {
    (position != 0).then(|| Slot::new(position))
}

/// Where a mark stands relative to its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first bytes of the frame.
    Header,
    /// The last bytes of the frame.
    Footer,
    /// The first bytes behind the frame; written once the frame was synced, and itself not synced.
    Seal,
}

impl Kind {
    const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Header => b"WLKframe",
            Self::Footer => b"WLKfoot\0",
            Self::Seal => b"WLKseal\0",
        }
    }
}

/// Identity and content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Position among all frames ever written here, from 1.
    pub(crate) sequence: u64,
    /// Length of the frame in bytes, from header to footer.
    pub(crate) length: u64,
    /// Number of records.
    pub(crate) records: u32,
    /// Checksum of the index of records.
    pub(crate) index_checksum: u32,
    /// Sectors of the frame that consist of zeros although they are written.
    pub(crate) zero_sectors: u32,
    /// What is true after this frame.
    pub(crate) summary: Summary,
    /// Lowest and highest slot of the records.
    pub(crate) slots: Option<SlotRange>,
}

/// A mark found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    /// Where the marked frame starts.
    pub(crate) position: u64,
    pub(crate) mark: Mark,
}

impl Found {
    /// Where the marked frame ends.
    pub(crate) const fn end(&self) -> u64 {
        self.position + self.mark.length
    }
}

impl Mark {
    /// Encodes the mark of a frame at `position` of a segment.
    pub(crate) fn encode(&self, kind: Kind, salt: u64, position: u64) -> [u8; MARK_LENGTH] {
        let mut bytes = [0; MARK_LENGTH];
        let mut out = &mut bytes[..];
        out.put_slice(kind.magic());
        out.put_u32_le(0);
        out.put_u32_le(self.records);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.length);
        out.put_u32_le(self.index_checksum);
        out.put_u32_le(self.zero_sectors);
        self.summary.encode(&mut out);
        out.put_u64_le(self.slots.map_or(0, |slots| slots.first.position()));
        out.put_u64_le(self.slots.map_or(0, |slots| slots.last.position()));
        let checksum = checksum(&bytes, salt, position);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes the mark of `kind` in the first bytes of `bytes`, which stand at `offset` of a
    /// segment. A mark that was written for another place is none.
    pub(crate) fn decode(bytes: &[u8], kind: Kind, salt: u64, offset: u64) -> Option<Found> {
        let bytes = bytes.get(..MARK_LENGTH)?;
        if bytes[..8] != kind.magic()[..] {
            return None;
        }
        let mut from = &bytes[8..];
        let stored = from.get_u32_le();
        let records = from.get_u32_le();
        let sequence = from.get_u64_le();
        let length = from.get_u64_le();
        let position = match kind {
            Kind::Header => offset,
            Kind::Footer => (offset + MARK_LENGTH as u64).checked_sub(length)?,
            Kind::Seal => offset.checked_sub(length)?,
        };
        if stored != checksum(bytes, salt, position) {
            return None;
        }
        let index_checksum = from.get_u32_le();
        let zero_sectors = from.get_u32_le();
        let summary = Summary::decode(&mut from);
        let (first, last) = (from.get_u64_le(), from.get_u64_le());
        let slots = some_slot(first).map(|first| SlotRange { first, last: Slot::new(last) });
        let mark = Self { sequence, length, records, index_checksum, zero_sectors, summary, slots };
        let fits = mark.bodies_start() + MARK_LENGTH as u64 <= length
            && length.is_multiple_of(PAGE_BYTES)
            && position.is_multiple_of(PAGE_BYTES)
            && position.checked_add(length).is_some();
        fits.then_some(Found { kind, position, mark })
    }

    /// Where the index ends and the bodies of the records start, from the start of the frame.
    pub(crate) const fn bodies_start(&self) -> u64 {
        MARK_LENGTH as u64 + self.records as u64 * ENTRY_LENGTH as u64
    }
}

/// Covers salt, place and all bytes but the checksum itself.
fn checksum(bytes: &[u8], salt: u64, position: u64) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&salt.to_le_bytes());
    place[8..].copy_from_slice(&position.to_le_bytes());
    let checksum = crc32c::crc32c(&place);
    let checksum = crc32c::crc32c_append(checksum, &bytes[..8]);
    crc32c::crc32c_append(checksum, &bytes[12..])
}
