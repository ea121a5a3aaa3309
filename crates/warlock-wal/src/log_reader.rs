//! Reads decided batches back out of the log while it is being written, for peers that lack them.
//!
//! It trusts nothing but checksums, and stops at the first thing that does not match: that is the
//! end of the log, a frame being written, or damage. What it gives is decided, because a frame
//! says how far the log was decided when it was written, and the newest record of a slot below is
//! the decided one.

use std::collections::BTreeMap;

use warlock_paxos::{Batch, Slot};

use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError};
use crate::frame::{self, Entry};
use crate::limits::{PAGE, PAGE_BYTES};
use crate::mark::{Kind, MARK_LENGTH, Mark};
use crate::segment::{self, HeaderPage, SegmentHeader};

/// A reader of the log of one data directory, which goes on where it stopped.
#[derive(Debug)]
pub struct LogReader<D: Disk> {
    disk: D,
    place: Option<Place<D::File>>,
    /// Read but not given yet, the newest record of each slot.
    held: BTreeMap<Slot, Batch>,
    /// Every slot below is decided.
    decided: Slot,
    /// The first slot not given yet.
    next: Slot,
}

/// Where to go on reading.
#[derive(Debug)]
struct Place<F> {
    file: F,
    name: String,
    header: SegmentHeader,
    position: u64,
    /// The last frame read.
    sequence: u64,
}

impl<D: Disk> LogReader<D> {
    /// A reader of the log on `disk`.
    #[must_use]
    pub const fn new(disk: D) -> Self {
        Self { disk, place: None, held: BTreeMap::new(), decided: Slot::FIRST, next: Slot::FIRST }
    }

    /// Decided batches of consecutive slots from `from` on, about `bytes` of them; at least one if
    /// the log holds it. The caller sees to it that the log still counts from there on.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn read(&mut self, from: Slot, bytes: usize) -> Result<Vec<Batch>, IoError> {
        if self.place.is_none() || from != self.next {
            self.seek(from)?;
        }
        while self.ready_bytes(from) < bytes && self.read_frame(from)? {}
        let mut batches = Vec::new();
        let (mut slot, mut taken) = (from, 0);
        while slot < self.decided
            && taken < bytes
            && let Some(batch) = self.held.remove(&slot)
        {
            taken += batch.as_bytes().len();
            batches.push(batch);
            slot = slot.next();
        }
        self.next = slot;
        self.held = self.held.split_off(&slot);
        Ok(batches)
    }

    /// Bytes that could be given now.
    fn ready_bytes(&self, from: Slot) -> usize {
        let ready = self.held.range(from..self.decided.max(from));
        let mut slot = from;
        let consecutive = ready.take_while(|(held, _)| {
            let follows = **held == slot;
            slot = slot.next();
            follows
        });
        consecutive.map(|(_, batch)| batch.as_bytes().len()).sum()
    }

    /// Goes to the last segment before which no record of `from` was written.
    fn seek(&mut self, from: Slot) -> Result<(), IoError> {
        self.place = None;
        self.held.clear();
        self.next = from;
        for first in self.segments()?.into_iter().rev() {
            let Some(place) = self.open(first)? else { return Ok(()) };
            if place.header.summary.highest.is_none_or(|highest| highest < from) {
                self.decided = place.header.summary.decided;
                self.place = Some(place);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes in the next frame; false if there is none that can be read, for now.
    fn read_frame(&mut self, from: Slot) -> Result<bool, IoError> {
        let Some(place) = &mut self.place else { return Ok(false) };
        let mut head = [0; MARK_LENGTH];
        let filled = place.file.read_at(&mut head, place.position).doing("read", &place.name)?;
        let mark = Mark::decode(&head[..filled], Kind::Header, place.header.salt, place.position)
            .map(|found| found.mark)
            .filter(|mark| mark.sequence == place.sequence + 1);
        let Some(mark) = mark else { return self.enter_next_segment() };
        let Ok(length) = usize::try_from(mark.length) else { return Ok(false) };
        let mut bytes = vec![0; length];
        let filled = place.file.read_at(&mut bytes, place.position).doing("read", &place.name)?;
        bytes.truncate(filled);
        let Some(entries) = frame::entries(&bytes.into(), &mark) else { return Ok(false) };
        if entries.iter().any(|entry| entry.batch.is_none()) {
            return Ok(false);
        }
        // What is accepted below the watermark on record need not be what was decided.
        let decided = self.decided;
        let counts = |entry: &Entry| entry.ballot.is_none() || entry.slot >= decided;
        for entry in entries.into_iter().filter(|entry| entry.slot >= from && counts(entry)) {
            self.held.extend(entry.batch.map(|batch| (entry.slot, batch)));
        }
        place.position += mark.length;
        place.sequence = mark.sequence;
        self.decided = self.decided.max(mark.summary.decided);
        Ok(true)
    }

    /// Goes on in the segment that follows the last frame, if there is one.
    fn enter_next_segment(&mut self) -> Result<bool, IoError> {
        let Some(place) = &self.place else { return Ok(false) };
        let (sequence, present) = (place.sequence, place.header.first);
        // A segment without a frame begins behind the last frame, too: it must not follow itself.
        let follows = |first: &u64| *first > sequence.max(present);
        let next = self.segments()?.into_iter().find(follows);
        let Some(next) = next else { return Ok(false) };
        match self.open(next)?.filter(|next| next.header.follows == sequence) {
            Some(place) => {
                self.decided = self.decided.max(place.header.summary.decided);
                self.place = Some(place);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn segments(&self) -> Result<Vec<u64>, IoError> {
        let names = self.disk.list().doing("list", ".")?;
        let mut firsts: Vec<u64> =
            names.iter().filter_map(|name| segment::first_in_name(name)).collect();
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// A segment at its first frame; `None` if its header cannot be read or it is just gone.
    fn open(&self, first: u64) -> Result<Option<Place<D::File>>, IoError> {
        let name = segment::name(first);
        let file = match self.disk.open(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.doing("open", &name)?,
        };
        let mut page = vec![0; PAGE];
        let filled = file.read_at(&mut page, 0).doing("read", &name)?;
        Ok(match HeaderPage::decode(&page[..filled]) {
            HeaderPage::Header { header, .. } if header.first == first => {
                Some(Place { file, name, header, position: PAGE_BYTES, sequence: first - 1 })
            }
            HeaderPage::Header { .. } | HeaderPage::Newer(_) | HeaderPage::Damaged => None,
        })
    }
}
