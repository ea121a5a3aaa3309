//! Reads the log back, and tells what was never written from what was damaged (P6).
//!
//! The argument is in FORMAT.md; in short: a frame is written only after the one before was synced.
//! So whatever is unreadable before a readable frame or seal was once durable, and its slots are
//! unknown. Only the very last frame may be unfinished, and then sectors of it are still zero.

use bytes::Bytes;
use warlock_paxos::{Slot, SlotRange, mutant};

use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError, WalError};
use crate::frame::{self, Entry};
use crate::limits::{PAGE, PAGE_BYTES, SCAN_BYTES, SECTOR, SUSPECT_WINDOW};
use crate::mark::{Found, Kind, MARK_LENGTH, Mark, Summary};
use crate::recovered::{Note, Slots, Tail};
use crate::segment::{self, HeaderPage, SegmentHeader};
use crate::zeros::is_zero;

/// What was read from all segments.
pub(crate) struct Scan<F> {
    pub(crate) slots: Slots,
    pub(crate) summary: Summary,
    pub(crate) tail: Tail,
    pub(crate) notes: Vec<Note>,
    pub(crate) segments: Vec<ScannedSegment>,
    /// The last segment, still open.
    pub(crate) last: LastSegment<F>,
    /// The last frame that counts.
    pub(crate) sequence: u64,
}

/// One segment as far as truncation needs to know it.
pub(crate) struct ScannedSegment {
    pub(crate) first: u64,
    pub(crate) length: u64,
    /// No slot above is held, or may have been held, by this segment.
    pub(crate) highest: Option<Slot>,
}

/// Where the log may go on.
pub(crate) struct LastSegment<F> {
    pub(crate) file: F,
    /// `None` if it is damaged.
    pub(crate) header: Option<SegmentHeader>,
    /// Behind the last frame.
    pub(crate) end: u64,
    /// The last frame of the segment, and where it stands.
    pub(crate) frame: Option<(Mark, u64)>,
}

/// Lost frames of which nobody knows yet which slots they may have held.
struct Gap {
    /// They held no slot below: those were decided and recorded before.
    first: Slot,
    segment: usize,
}

struct OpenSegment<F> {
    name: String,
    first: u64,
    length: u64,
    header: Option<SegmentHeader>,
    intact: bool,
    file: F,
}

/// Reads the segments with these first sequences, of which there is at least one.
pub(crate) fn scan<D: Disk>(
    disk: &D,
    firsts: &[u64],
    salt: u64,
    slots: Slots,
) -> Result<Scan<D::File>, WalError> {
    let mut opened = Vec::with_capacity(firsts.len());
    for (index, first) in firsts.iter().enumerate() {
        opened.push(open_segment(disk, *first, index + 1 == firsts.len())?);
    }
    let limits: Vec<Option<u64>> = opened
        .iter()
        .skip(1)
        .map(|next| Some(next.header.map_or(next.first - 1, |header| header.follows)))
        .chain([None])
        .collect();
    let mut reading = Reading::new(slots, opened[0].first - 1);
    let mut last = None;
    for (index, (segment, limit)) in opened.into_iter().zip(limits).enumerate() {
        let end = reading.segment(index, &segment, limit, salt)?;
        let frame = reading.frame;
        last = Some(LastSegment { file: segment.file, header: segment.header, end, frame });
    }
    let last = last.expect("there is at least one segment");
    Ok(reading.finish(last))
}

fn open_segment<D: Disk>(
    disk: &D,
    first: u64,
    is_last: bool,
) -> Result<OpenSegment<D::File>, WalError> {
    let name = segment::name(first);
    let file = disk.open(&name).doing("open", &name)?;
    if is_last {
        // A process that was killed may have left content that only the cache holds. What is read
        // from here on is acted upon, so it must be durable, and be read from where it is durable.
        file.sync_data().doing("sync", &name)?;
        file.drop_cache().doing("drop the cache of", &name)?;
    }
    let length = file.length().doing("look at", &name)?;
    let mut page = vec![0; PAGE];
    let filled = file.read_at(&mut page, 0).doing("read", &name)?;
    let (header, intact) = match HeaderPage::decode(&page[..filled]) {
        HeaderPage::Header { header, intact } if header.first == first => (Some(header), intact),
        HeaderPage::Header { .. } | HeaderPage::Damaged => (None, false),
        HeaderPage::Newer(version) => {
            return Err(WalError::NewerVersion { file: name, version, known: segment::VERSION });
        }
    };
    Ok(OpenSegment { name, first, length, header, intact, file })
}

/// What is known after the part of the log read so far.
struct Reading {
    slots: Slots,
    summary: Summary,
    tail: Tail,
    notes: Vec<Note>,
    segments: Vec<ScannedSegment>,
    sequence: u64,
    /// The last frame of the segment read last, and where it stands.
    frame: Option<(Mark, u64)>,
    gap: Option<Gap>,
}

impl Reading {
    fn new(slots: Slots, sequence: u64) -> Self {
        Self {
            slots,
            summary: Summary::EMPTY,
            tail: Tail::Clean,
            notes: Vec::new(),
            segments: Vec::new(),
            sequence,
            frame: None,
            gap: None,
        }
    }

    /// Reads one segment, and returns where its last frame ends. `limit` is the last frame before
    /// the next segment; the last segment has none.
    fn segment<F: DiskFile>(
        &mut self,
        index: usize,
        segment: &OpenSegment<F>,
        limit: Option<u64>,
        salt: u64,
    ) -> Result<u64, IoError> {
        self.segments.push(ScannedSegment {
            first: segment.first,
            length: segment.length,
            highest: None,
        });
        self.frame = None;
        self.header(segment);
        let mut reader = Reader {
            file: &segment.file,
            name: &segment.name,
            length: segment.length,
            salt: segment.header.map_or(salt, |header| header.salt),
            window: Vec::new(),
            window_start: 0,
        };
        let mut position = PAGE_BYTES;
        let counts = |sequence: u64| limit.is_none_or(|limit| sequence <= limit);
        while counts(self.sequence + 1) {
            let found = reader.find_mark(position, self.sequence + 1)?;
            let Some(found) = found.filter(|found| counts(found.mark.sequence)) else {
                break;
            };
            if found.mark.sequence > self.sequence + 1 {
                self.lose_frames(index, &segment.name, self.sequence + 1);
            }
            if !self.frame(index, &mut reader, &found, limit.is_some())? {
                return Ok(position);
            }
            self.sequence = found.mark.sequence;
            self.frame = Some((found.mark, found.position));
            position = found.end();
        }
        match limit {
            Some(limit) if self.sequence < limit => {
                self.lose_frames(index, &segment.name, self.sequence + 1);
                self.sequence = limit;
            }
            Some(_) => {}
            None => {
                let is_cut = segment.header.is_some_and(|header| segment.length < header.length);
                self.end(index, &mut reader, is_cut, position)?;
            }
        }
        Ok(position)
    }

    fn header<F>(&mut self, segment: &OpenSegment<F>) {
        let Some(header) = segment.header else {
            self.notes.push(Note::DamagedHeader { segment: segment.name.clone(), lost: true });
            self.sequence = self.sequence.max(segment.first - 1);
            return;
        };
        if !segment.intact {
            self.notes.push(Note::DamagedHeader { segment: segment.name.clone(), lost: false });
        }
        // Frames between were declared never written.
        self.sequence = segment.first - 1;
        self.observe(&header.summary);
    }

    /// Takes over one frame; false if it is torn, and with it the log at its end.
    fn frame<F: DiskFile>(
        &mut self,
        index: usize,
        reader: &mut Reader<'_, F>,
        found: &Found,
        is_followed: bool,
    ) -> Result<bool, IoError> {
        let mark = &found.mark;
        let segment = || reader.name.to_owned();
        let sequence = mark.sequence;
        let bytes = reader.frame(found)?;
        let entries = frame::entries(&bytes, mark);
        let is_complete = entries
            .as_ref()
            .is_some_and(|entries| entries.iter().all(|entry| entry.batch.is_some()));
        let note = if !is_complete {
            // Where the header was not written stands the seal of the frame before, or zeros.
            let is_unfinished = frame::zero_sectors(&bytes) > mark.zero_sectors
                || reader.is_sealed(found.position, sequence - 1)?;
            let is_torn = is_unfinished && !is_followed && !reader.is_proven(found)?;
            if is_torn || mutant!(TruncatedAtDamage) {
                self.notes.push(Note::TornTail { segment: reader.name.to_owned(), sequence });
                self.tail = Tail::Torn { sequence };
                // It promises nothing that was acknowledged, but going up is always safe.
                self.summary.ballot = self.summary.ballot.max(mark.summary.ballot);
                return Ok(false);
            }
            Some(Note::DamagedFrame { segment: segment(), sequence })
        } else if found.kind == Kind::Header {
            None
        } else {
            Some(Note::RepairedFrame { segment: segment(), sequence })
        };
        self.notes.extend(note);
        self.tail = if is_complete { Tail::Clean } else { Tail::Damaged { sequence } };
        let Summary { decided, floor, .. } = self.summary;
        self.observe(&mark.summary);
        self.hold(index, mark.slots);
        match entries {
            None => mark.slots.into_iter().for_each(|range| self.slots.damage(range)),
            Some(entries) => entries.into_iter().for_each(|entry| self.take(entry, decided)),
        }
        if self.summary.floor > floor {
            // What it holds was written before it rose.
            self.slots.drop_below(self.summary.floor);
        }
        Ok(true)
    }

    /// `decided` is the watermark on record before.
    fn take(&mut self, entry: Entry, decided: Slot) {
        let Entry { slot, ballot, batch } = entry;
        match (batch, ballot) {
            (Some(batch), Some(ballot)) => self.slots.accept(slot, ballot, batch, decided),
            (Some(batch), None) => self.slots.learn(slot, batch),
            (None, _) => self.slots.damage(SlotRange { first: slot, last: slot }),
        }
    }

    /// Judges what stands behind the last readable frame of the log.
    fn end<F: DiskFile>(
        &mut self,
        index: usize,
        reader: &mut Reader<'_, F>,
        is_cut: bool,
        position: u64,
    ) -> Result<(), IoError> {
        let sequence = self.sequence + 1;
        let segment = reader.name.to_owned();
        let rest = match is_cut {
            true => Rest::Unreadable,
            false => reader.rest(position, self.sequence)?,
        };
        match rest {
            Rest::Untouched => {}
            Rest::Unfinished => {
                self.notes.push(Note::TornTail { segment, sequence });
                self.tail = Tail::Torn { sequence };
            }
            Rest::Unreadable => {
                self.notes.push(Note::SuspectTail { segment, sequence });
                self.tail = Tail::Suspect { sequence };
                self.open_gap(index);
            }
        }
        Ok(())
    }

    fn lose_frames(&mut self, index: usize, segment: &str, sequence: u64) {
        self.notes.push(Note::LostFrames { segment: segment.to_owned(), sequence });
        self.open_gap(index);
    }

    fn open_gap(&mut self, segment: usize) {
        let first = self.summary.decided.max(self.summary.floor);
        self.gap.get_or_insert(Gap { first, segment });
    }

    /// Takes over what a readable mark or header says about everything before it.
    fn observe(&mut self, summary: &Summary) {
        if let Some(Gap { first, segment }) = self.gap.take()
            && let Some(last) = summary.highest.filter(|last| *last >= first)
        {
            let range = SlotRange { first, last };
            self.slots.damage(range);
            self.hold(segment, Some(range));
        }
        // A record below the floor may be one of a ballot that lost: the replica had no need to
        // learn what the snapshot brought.
        if summary.floor > self.summary.floor {
            self.slots.drop_below(summary.floor);
        }
        self.summary.merge(summary);
    }

    fn hold(&mut self, segment: usize, slots: Option<SlotRange>) {
        let highest = &mut self.segments[segment].highest;
        *highest = (*highest).max(slots.map(|slots| slots.last));
    }

    fn finish<F>(mut self, last: LastSegment<F>) -> Scan<F> {
        if self.gap.is_some() {
            let highest = self.summary.highest.unwrap_or(Slot::FIRST).max(self.summary.decided);
            let beyond = highest.position().saturating_add(SUSPECT_WINDOW);
            let mut summary = self.summary;
            summary.highest = Some(Slot::new(beyond));
            self.observe(&summary);
        }
        Scan {
            slots: self.slots,
            summary: self.summary,
            tail: self.tail,
            notes: self.notes,
            segments: self.segments,
            last,
            sequence: self.sequence,
        }
    }
}

/// What stands behind the last readable frame.
enum Rest {
    /// Nothing but the seal of that frame.
    Untouched,
    /// Parts of a frame whose header was never written.
    Unfinished,
    /// Where a header belongs stands something else.
    Unreadable,
}

/// Reads one segment by pages.
struct Reader<'a, F> {
    file: &'a F,
    name: &'a str,
    length: u64,
    salt: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<F: DiskFile> Reader<'_, F> {
    /// The page at `offset`; shorter if the file ends in it.
    fn page(&mut self, offset: u64) -> Result<&[u8], IoError> {
        let window_end = self.window_start + self.window.len() as u64;
        let wanted = (offset + PAGE_BYTES).min(self.length);
        if offset < self.window_start || window_end < wanted {
            let bytes = SCAN_BYTES.min(self.length.saturating_sub(offset));
            self.window.resize(to_index(bytes), 0);
            self.window_start = offset;
            let filled = self.file.read_at(&mut self.window, offset).doing("read", self.name)?;
            self.window.truncate(filled);
        }
        let start = to_index(offset - self.window_start).min(self.window.len());
        let end = self.window.len().min(start + PAGE);
        Ok(&self.window[start..end])
    }

    /// The whole frame; shorter if the file ends in it.
    fn frame(&self, found: &Found) -> Result<Bytes, IoError> {
        let end = found.end().min(self.length);
        let mut bytes = vec![0; to_index(end.saturating_sub(found.position))];
        let filled = self.file.read_at(&mut bytes, found.position).doing("read", self.name)?;
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    /// The first readable mark of a frame at or behind `position` with `sequence` or a later one.
    fn find_mark(&mut self, position: u64, sequence: u64) -> Result<Option<Found>, IoError> {
        let salt = self.salt;
        let mut offset = position;
        while offset < self.length {
            let page = self.page(offset)?;
            let found = marks(page, salt, offset)
                .find(|found| found.position >= position && found.mark.sequence >= sequence);
            if found.is_some() {
                return Ok(found);
            }
            offset += PAGE_BYTES;
        }
        Ok(None)
    }

    /// Whether something that is only written after a frame was synced proves that it was.
    fn is_proven(&mut self, found: &Found) -> Result<bool, IoError> {
        if found.kind == Kind::Seal || self.is_sealed(found.end(), found.mark.sequence)? {
            return Ok(true);
        }
        let later = self.find_mark(found.end(), found.mark.sequence + 1)?;
        Ok(later.is_some())
    }

    /// Whether the seal of the frame with `sequence`, which ends at `end`, can be read.
    fn is_sealed(&mut self, end: u64, sequence: u64) -> Result<bool, IoError> {
        let salt = self.salt;
        let page = self.page(end)?;
        let sealed = seals(page, salt, end).any(|found| found.mark.sequence == sequence);
        Ok(sealed)
    }

    /// What stands behind the frame with `sequence`, which is the last one readable.
    fn rest(&mut self, end: u64, sequence: u64) -> Result<Rest, IoError> {
        let is_sealed = self.is_sealed(end, sequence)?;
        let page = self.page(end)?;
        let sector = page.len().min(SECTOR);
        if !is_sealed && !is_zero(&page[..sector]) {
            return Ok(Rest::Unreadable);
        }
        if !is_zero(&page[sector..]) {
            return Ok(Rest::Unfinished);
        }
        let mut offset = end + PAGE_BYTES;
        while offset < self.length {
            if !is_zero(self.page(offset)?) {
                return Ok(Rest::Unfinished);
            }
            offset += PAGE_BYTES;
        }
        Ok(Rest::Untouched)
    }
}

/// All marks of the page at `offset`, in the order of their frames.
fn marks(page: &[u8], salt: u64, offset: u64) -> impl Iterator<Item = Found> {
    let header = Mark::decode(page, Kind::Header, salt, offset);
    let footer_start = PAGE - MARK_LENGTH;
    let footer = page
        .get(footer_start..)
        .and_then(|bytes| Mark::decode(bytes, Kind::Footer, salt, offset + footer_start as u64));
    seals(page, salt, offset).chain(header).chain(footer)
}

/// The readable copies of the seal of a frame that ends at `offset`, where `page` starts.
fn seals(page: &[u8], salt: u64, offset: u64) -> impl Iterator<Item = Found> {
    let sector = &page[..page.len().min(SECTOR)];
    let copies = sector.chunks_exact(MARK_LENGTH);
    copies.filter_map(move |copy| Mark::decode(copy, Kind::Seal, salt, offset))
}

fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a file that is read into memory fits into it")
}
