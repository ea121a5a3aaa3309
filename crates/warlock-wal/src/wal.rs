//! The write-ahead log.

use std::collections::VecDeque;
use std::io::IoSlice;

use warlock_paxos::{Ballot, Charter, Record, Slot, decode_charter, mutant};

use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError, WalError};
use crate::frame::Gathered;
use crate::limits::{PAGE_BYTES, PREPARE_BYTES, SECTOR, SEGMENT_BYTES, SEGMENT_BYTES_MIN};
use crate::mark::{Kind, MARK_LENGTH, Mark, Summary};
use crate::recovered::{Note, Recovered, Slots, Tail};
use crate::recovery::{self, Scan};
use crate::segment::{self, SegmentHeader, TEMPORARY_SUFFIX};
use crate::snapshot::{SnapshotMeta, Snapshots};
use crate::views::{self, Views};

/// How to keep the log.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Length of a segment in bytes, at least
    /// [`SEGMENT_BYTES_MIN`]; a larger frame makes a larger one.
    pub segment_bytes: u64,
    /// A number that clients cannot guess, the same for the life of a data directory, such as a
    /// part of its incarnation. It keeps values that look like a piece of a log from being taken
    /// for one when damage is searched through.
    pub salt: u64,
    /// Whether the directory may be new: its [`Identity`](crate::Identity) counts no start yet. If
    /// not, a missing log is an error, because its promises are missing with it (P7).
    pub may_create: bool,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, salt: 0, may_create: true }
    }
}

/// What the log did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Syncs that wrote something.
    pub syncs: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written, padding included.
    pub bytes_written: u64,
    /// Segments made.
    pub segments_created: u64,
    /// Segments dropped by truncation.
    pub segments_removed: u64,
}

/// The log of one node, open for writing.
///
/// After an error it refuses everything (P8): what is durable then is known only after opening it
/// again.
#[derive(Debug)]
pub struct Wal<D: Disk> {
    disk: D,
    options: WalOptions,
    /// All segments but the last, oldest first.
    closed: VecDeque<Closed>,
    active: Active<D::File>,
    /// Sequence of the next frame.
    sequence: u64,
    /// What is true after everything appended.
    summary: Summary,
    /// What is true after everything synced.
    synced: Summary,
    gathered: Gathered,
    /// The membership after everything appended, and whether it is news to the disk.
    views: Views,
    views_are_dirty: bool,
    /// Version of the format of new segments.
    version: u32,
    is_dirty: bool,
    is_poisoned: bool,
    stats: WalStats,
}

#[derive(Debug)]
struct Closed {
    first: u64,
    length: u64,
    highest: Option<Slot>,
}

#[derive(Debug)]
struct Active<F> {
    file: F,
    name: String,
    first: u64,
    length: u64,
    salt: u64,
    /// The last frame that counts before the next one.
    follows: u64,
    /// Where the next frame starts.
    position: u64,
    /// Behind `position`, everything below was written, if only with zeros.
    prepared: u64,
    highest: Option<Slot>,
}

impl<D: Disk> Wal<D> {
    /// Opens the log, and makes a new one if there is none. To be called after the identity was
    /// loaded and before any snapshot is begun, because it removes incomplete files.
    ///
    /// # Errors
    /// [`WalError`]; opening can be tried again after any of them.
    pub fn open(disk: D, options: WalOptions) -> Result<(Self, Recovered), WalError> {
        Self::open_without(disk, options, &[])
    }

    /// The same, but the snapshots of these slots count as damaged: their bytes are what was
    /// written, and yet no state could be made of them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_without(
        disk: D,
        options: WalOptions,
        distrusted: &[Slot],
    ) -> Result<(Self, Recovered), WalError> {
        let options = WalOptions {
            segment_bytes: options
                .segment_bytes
                .max(SEGMENT_BYTES_MIN)
                .next_multiple_of(PAGE_BYTES),
            ..options
        };
        // What a killed process made of the directory is acted upon, so it must be durable.
        disk.sync_directory().doing("sync", ".")?;
        let names = disk.list().doing("list", ".")?;
        let newest = Snapshots::new(disk.clone()).newest_without(distrusted)?;
        let firsts = segments_of(&names);
        if firsts.is_empty() {
            let is_new = newest.snapshot.is_none()
                && newest.damaged.is_empty()
                && !names.iter().any(|name| name == views::FILE);
            if !options.may_create || !is_new {
                return Err(WalError::LogMissing);
            }
            return Ok(Self::create(disk, options)?);
        }
        let base = newest.snapshot.as_ref().map_or(Slot::FIRST, |meta| meta.slot);
        let mut scan = recovery::scan(&disk, &firsts, options.salt, Slots::new(base))?;
        if let Some(meta) = newest.snapshot.as_ref().filter(|_| !mutant!(BallotLostByTruncation)) {
            scan.summary.ballot = scan.summary.ballot.max(meta.ballot);
        }
        remove_temporaries(&disk, &names)?;
        let views = Views::load(&disk)?;
        if views.edition < scan.summary.edition {
            return Err(WalError::MembershipLost);
        }
        if let Some(accepted) = &views.accepted {
            scan.summary.ballot = scan.summary.ballot.max(accepted.ballot);
        }
        let version = match views.edition {
            0 => scan.last.header.map_or(segment::VERSION_ALONE, |header| header.version),
            _ => segment::VERSION_WITH_VIEWS,
        };
        let (mut wal, mut recovered) = Self::resume(disk, options, scan, version)?;
        if !mutant!(MembershipForgotten) {
            recovered.membership = newest_membership(&views, newest.snapshot.as_ref());
            recovered.reconfiguration.clone_from(&views.accepted);
        }
        wal.views = views;
        let damaged = newest.damaged.into_iter();
        recovered.notes.extend(damaged.map(|file| Note::DamagedSnapshot { file }));
        recovered.snapshot = newest.snapshot;
        Ok((wal, recovered))
    }

    fn create(disk: D, options: WalOptions) -> Result<(Self, Recovered), IoError> {
        let header = SegmentHeader {
            version: segment::VERSION_ALONE,
            salt: options.salt,
            first: 1,
            follows: 0,
            length: options.segment_bytes,
            summary: Summary::EMPTY,
        };
        let active = Active::create(&disk, &header)?;
        let wal = Self::new(disk, options, VecDeque::new(), active, &header);
        let recovered = Slots::new(Slot::FIRST).finish(&wal.summary);
        Ok((wal, recovered))
    }

    /// Goes on behind the last frame or, if that is not in order, in a new segment, so that what is
    /// damaged stays where it is and is found damaged again.
    ///
    /// A segment without a frame is made anew: if a sync of the directory failed when it was made,
    /// nothing will ever write its name, and with the power would go all that was put there since.
    fn resume(
        disk: D,
        options: WalOptions,
        scan: Scan<D::File>,
        version: u32,
    ) -> Result<(Self, Recovered), IoError> {
        let Scan { slots, summary, tail, notes, segments, last, sequence } = scan;
        let mut closed: VecDeque<Closed> = segments
            .into_iter()
            .map(|segment| Closed {
                first: segment.first,
                length: segment.length,
                highest: segment.highest,
            })
            .collect();
        let (first, follows) = match tail {
            Tail::Clean | Tail::Damaged { .. } => (sequence + 1, sequence),
            Tail::Torn { sequence } => (sequence + 1, sequence - 1),
            Tail::Suspect { sequence } => (sequence + 1, sequence),
        };
        let unused = last.header.filter(|_| tail == Tail::Clean && last.end == PAGE_BYTES);
        let follows = unused.map_or(follows, |header| header.follows);
        let (active, header) = match last.header {
            Some(header) if tail == Tail::Clean && unused.is_none() => {
                // A power loss may have taken the seal, which is not synced. Without it, damage to
                // this frame would look like a write that was never finished.
                if let Some((mark, position)) = last.frame {
                    let name = segment::name(header.first);
                    write_seal(&last.file, &name, &mark, header.salt, position)?;
                    last.file.sync_data().doing("sync", &name)?;
                }
                let segment = closed.pop_back();
                let active = Active {
                    file: last.file,
                    name: segment::name(header.first),
                    first: header.first,
                    length: header.length,
                    salt: header.salt,
                    follows: sequence,
                    position: last.end,
                    prepared: last.end,
                    highest: segment.and_then(|segment| segment.highest),
                };
                (active, header)
            }
            _ => {
                let header = SegmentHeader {
                    version,
                    salt: options.salt,
                    first,
                    follows,
                    length: options.segment_bytes,
                    summary,
                };
                // A segment without a readable header or frame is replaced.
                closed.retain(|segment| segment.first != first);
                (Active::create(&disk, &header)?, header)
            }
        };
        let mut wal = Self::new(disk, options, closed, active, &header);
        wal.version = version;
        wal.sequence = first;
        wal.summary = summary;
        wal.synced = summary;
        let mut recovered = slots.finish(&summary);
        recovered.tail = tail;
        recovered.notes = notes;
        Ok((wal, recovered))
    }

    fn new(
        disk: D,
        options: WalOptions,
        closed: VecDeque<Closed>,
        active: Active<D::File>,
        header: &SegmentHeader,
    ) -> Self {
        Self {
            disk,
            options,
            closed,
            active,
            sequence: header.first,
            summary: header.summary,
            synced: header.summary,
            gathered: Gathered::new(),
            views: Views::default(),
            views_are_dirty: false,
            version: header.version,
            is_dirty: false,
            is_poisoned: false,
            stats: WalStats::default(),
        }
    }

    /// Gathers a record for the next [`sync`](Self::sync); does no I/O, and shares the batch.
    ///
    /// # Panics
    /// If a promise or an accept is below one that was appended or recovered before (P2).
    pub fn append(&mut self, record: &Record) {
        self.is_dirty = true;
        match record {
            Record::Promise { ballot } => {
                assert!(
                    *ballot >= self.summary.ballot,
                    "P2: promise {ballot} after {}",
                    self.summary.ballot
                );
                self.summary.ballot = *ballot;
            }
            Record::Accept(pvalue) => {
                assert!(
                    pvalue.ballot >= self.summary.ballot,
                    "P2: accept {} after {}",
                    pvalue.ballot,
                    self.summary.ballot
                );
                self.summary.ballot = pvalue.ballot;
                self.gathered.push(pvalue.slot, Some(pvalue.ballot), &pvalue.batch);
            }
            Record::Learn { slot, batch } => self.gathered.push(*slot, None, batch),
            Record::Decided { slot } => self.summary.decided = self.summary.decided.max(*slot),
            Record::AcceptView(accepted) => {
                assert!(
                    accepted.ballot >= self.summary.ballot,
                    "P2: accept {} after {}",
                    accepted.ballot,
                    self.summary.ballot
                );
                self.summary.ballot = accepted.ballot;
                self.views.accepted = Some(accepted.clone());
                self.views_are_dirty = true;
            }
            Record::InForce(charter) => {
                let known = self.views.in_force.as_ref().map(|known| known.view);
                assert!(known < Some(charter.view), "M4: {} after {known:?}", charter.view);
                self.views.in_force = Some(charter.clone());
                self.views.accepted = None;
                self.views_are_dirty = true;
            }
        }
        self.summary.highest = self.summary.highest.max(self.gathered.highest());
    }

    /// Makes everything appended durable: one write and one sync, whatever the number of records.
    /// Without anything appended it does nothing.
    ///
    /// # Errors
    /// [`WalError::Io`] if the disk failed, [`WalError::Poisoned`] if it did so earlier (P8).
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.guarded(|wal| {
            if wal.is_dirty {
                wal.write_frame()?;
            }
            Ok(())
        })
    }

    /// Says that a durable snapshot covers every slot below `slot`, so that records for them count
    /// no more, and drops segments that hold nothing else. Syncs whatever was appended before.
    ///
    /// What the dropped segments say about ballots and watermarks stays, because every later frame
    /// repeats it (P2). After the installation of a snapshot of another node this must be called
    /// before the next [`Record::Decided`] is appended: records below the snapshot may be of
    /// ballots that lost.
    ///
    /// # Errors
    /// [`WalError::Io`] if the disk failed, [`WalError::Poisoned`] if it did so earlier (P8).
    pub fn truncate_below(&mut self, slot: Slot) -> Result<(), WalError> {
        self.guarded(|wal| {
            if slot > wal.summary.floor {
                wal.summary.floor = slot;
                if mutant!(BallotLostByTruncation) {
                    wal.summary.ballot = Ballot::ZERO;
                }
                wal.write_frame()?;
            }
            while let Some(oldest) = wal.closed.front()
                && oldest.highest.is_none_or(|highest| highest < slot)
            {
                let name = segment::name(oldest.first);
                wal.disk.remove(&name).doing("remove", &name)?;
                // One by one: what is left must never have a hole.
                wal.disk.sync_directory().doing("sync", ".")?;
                wal.closed.pop_front();
                wal.stats.segments_removed += 1;
            }
            Ok(())
        })
    }

    /// Bytes that the log takes on disk, preallocated space included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|segment| segment.length).sum();
        closed + self.active.length
    }

    /// What the log did since it was opened.
    #[must_use]
    pub const fn stats(&self) -> WalStats {
        self.stats
    }

    fn guarded(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<(), IoError>,
    ) -> Result<(), WalError> {
        if self.is_poisoned {
            return Err(WalError::Poisoned);
        }
        let result = action(self);
        self.is_poisoned = result.is_err();
        Ok(result?)
    }

    /// A membership is durable before whatever was appended after it. Before there is the first,
    /// the log says that there is: an older program must not take the directory for one without.
    fn write_views(&mut self) -> Result<(), IoError> {
        if self.views_are_dirty {
            if self.version < segment::VERSION_WITH_VIEWS {
                self.version = segment::VERSION_WITH_VIEWS;
                self.rotate(0)?;
            }
            self.views.edition += 1;
            self.views.store(&self.disk)?;
            self.summary.edition = self.views.edition;
            self.views_are_dirty = false;
        }
        Ok(())
    }

    fn write_frame(&mut self) -> Result<(), IoError> {
        self.write_views()?;
        let mark = self.gathered.mark(self.sequence, self.summary);
        // Behind the frame there must be room for its seal.
        if self.active.position + mark.length + PAGE_BYTES > self.active.length {
            self.rotate(mark.length)?;
        }
        let end = self.active.position + mark.length;
        let zeros = self.active.zeros_behind(end);
        let Active { file, name, salt, position, .. } = &self.active;
        self.gathered
            .write(&mark, *salt, *position, zeros, |parts| file.write_at(parts, *position))
            .doing("write", name)?;
        let synced = match mutant!(LogNotSynced) {
            false => file.sync_data(),
            true => Ok(()),
        };
        let synced = match mutant!(SyncTriedAgain) && synced.is_err() {
            false => synced,
            true => file.sync_data(),
        };
        synced.doing("sync", name)?;
        write_seal(file, name, &mark, *salt, *position)?;
        self.active.position = end;
        self.active.prepared = self.active.prepared.max(end + zeros);
        self.active.follows = self.sequence;
        self.active.highest = self.active.highest.max(self.gathered.highest());
        self.synced = self.summary;
        self.sequence += 1;
        self.stats.syncs += 1;
        self.stats.records += u64::from(mark.records);
        self.stats.bytes_written += mark.length;
        self.gathered.clear();
        self.is_dirty = false;
        Ok(())
    }

    /// Goes on in a new segment that has room for a frame of `frame_length` bytes.
    fn rotate(&mut self, frame_length: u64) -> Result<(), IoError> {
        let header = SegmentHeader {
            version: self.version,
            salt: self.options.salt,
            first: self.sequence,
            follows: self.active.follows,
            length: self.options.segment_bytes.max(frame_length + 2 * PAGE_BYTES),
            summary: self.synced,
        };
        let active = Active::create(&self.disk, &header)?;
        let old = std::mem::replace(&mut self.active, active);
        // A segment without a frame has the same name and is replaced.
        if old.first < self.active.first {
            self.closed.push_back(Closed {
                first: old.first,
                length: old.length,
                highest: old.highest,
            });
        }
        self.stats.segments_created += 1;
        Ok(())
    }
}

impl<F: DiskFile> Active<F> {
    /// How many zeros to write behind the next frame, which ends at `end`; from time to time some.
    ///
    /// They change nothing that can be read. But a file system that only reserved the space must
    /// note in its journal whenever a part of it is written first, and a sync waits for that; one
    /// that wrote it before has nothing to note.
    fn zeros_behind(&self, end: u64) -> u64 {
        if end + PAGE_BYTES <= self.prepared {
            return 0;
        }
        let length = PREPARE_BYTES.min(self.length / 4).next_multiple_of(PAGE_BYTES);
        length.min(self.length - end)
    }

    fn create<D: Disk<File = F>>(disk: &D, header: &SegmentHeader) -> Result<Self, IoError> {
        Ok(Self {
            file: segment::create(disk, header)?,
            name: segment::name(header.first),
            first: header.first,
            length: header.length,
            salt: header.salt,
            follows: header.follows,
            position: PAGE_BYTES,
            prepared: PAGE_BYTES,
            highest: None,
        })
    }
}

/// Says behind the frame at `position` that it was synced.
fn write_seal<F: DiskFile>(
    file: &F,
    name: &str,
    mark: &Mark,
    salt: u64,
    position: u64,
) -> Result<(), IoError> {
    let seal = mark.encode(Kind::Seal, salt, position);
    let mut sector = [0; SECTOR];
    for copy in sector.chunks_exact_mut(MARK_LENGTH) {
        copy.copy_from_slice(&seal);
    }
    let end = position + mark.length;
    file.write_at(&mut [IoSlice::new(&sector)], end).doing("write", name)
}

fn newest_membership(views: &Views, snapshot: Option<&SnapshotMeta>) -> Option<Charter> {
    let snapshot = snapshot.filter(|_| !mutant!(SnapshotMembershipIgnored));
    let of_snapshot = snapshot.and_then(|meta| decode_charter(&meta.membership).ok());
    let known = views.in_force.iter().chain(&of_snapshot);
    known.max_by_key(|charter| charter.view).cloned()
}

/// First sequences of the segments among `names`, ascending.
fn segments_of(names: &[String]) -> Vec<u64> {
    let mut firsts: Vec<u64> =
        names.iter().filter_map(|name| segment::first_in_name(name)).collect();
    firsts.sort_unstable();
    firsts
}

/// Removes files that were not complete when an earlier process ended.
fn remove_temporaries<D: Disk>(disk: &D, names: &[String]) -> Result<(), IoError> {
    for name in names.iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX)) {
        disk.remove(name).doing("remove", name)?;
    }
    Ok(())
}
