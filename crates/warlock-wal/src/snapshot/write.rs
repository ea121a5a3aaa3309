//! Writing a snapshot: chunks of this node's state, or the file of a peer.

use std::io::IoSlice;

use warlock_paxos::{Slot, mutant};

use super::format::{self, Tally};
use super::{SnapshotError, SnapshotMeta, SnapshotReader, Snapshots};
use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError};
use crate::limits::{SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_RECEIVED_SYNC_BYTES, SNAPSHOT_SYNC_BYTES};
use crate::segment::TEMPORARY_SUFFIX;

/// A snapshot being written. Until [`finish`](Self::finish) returned it does not exist; dropping
/// the writer gives it up.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    temporary: Temporary<D>,
    slot: Slot,
    tally: Tally,
}

impl<D: Disk> SnapshotWriter<D> {
    pub(super) fn begin(
        snapshots: Snapshots<D>,
        meta: &SnapshotMeta,
    ) -> Result<Self, SnapshotError> {
        let (header, tally) = format::encode_header(meta);
        let mut temporary = Temporary::create(snapshots, "own", meta.slot, SNAPSHOT_SYNC_BYTES)?;
        temporary.write(&mut [IoSlice::new(&header)], 0, tally.length)?;
        Ok(Self { temporary, slot: meta.slot, tally })
    }

    /// Adds a part of the state; an empty one adds nothing.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the snapshot is then to be given up.
    ///
    /// # Panics
    /// If the chunk is longer than
    /// [`SNAPSHOT_CHUNK_BYTES_MAX`].
    pub fn write_chunk(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        assert!(
            chunk.len() <= SNAPSHOT_CHUNK_BYTES_MAX,
            "a chunk has at most {SNAPSHOT_CHUNK_BYTES_MAX} bytes"
        );
        if chunk.is_empty() {
            return Ok(());
        }
        self.write_with_head(chunk)
    }

    /// Makes the snapshot durable and visible.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the snapshot is then absent, or complete after all.
    pub fn finish(mut self) -> Result<(), SnapshotError> {
        self.write_with_head(&[])?;
        let start = self.tally.length;
        let footer = self.tally.footer();
        let end = start + footer.len() as u64;
        self.temporary.write(&mut [IoSlice::new(&footer)], start, end)?;
        self.temporary.install(self.slot)
    }

    fn write_with_head(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        let (head, next) = self.tally.chunk(chunk);
        let parts = &mut [IoSlice::new(&head), IoSlice::new(chunk)];
        self.temporary.write(parts, self.tally.length, next.length)?;
        self.tally = next;
        Ok(())
    }
}

/// A snapshot of a peer being received. Until [`finish`](Self::finish) returned it does not exist;
/// dropping the receiver gives it up.
#[derive(Debug)]
pub struct SnapshotReceiver<D: Disk> {
    temporary: Temporary<D>,
    slot: Slot,
    length: u64,
    received: u64,
}

impl<D: Disk> SnapshotReceiver<D> {
    pub(super) fn begin(
        snapshots: Snapshots<D>,
        slot: Slot,
        length: u64,
    ) -> Result<Self, SnapshotError> {
        let temporary = Temporary::create(snapshots, "peer", slot, SNAPSHOT_RECEIVED_SYNC_BYTES)?;
        temporary.file.allocate(length).doing("allocate", &temporary.name)?;
        Ok(Self { temporary, slot, length, received: 0 })
    }

    /// Takes bytes of the peer's file from `offset` on.
    ///
    /// # Errors
    /// [`SnapshotError::OutOfOrder`] if they are not due or too many, and
    /// [`SnapshotError::Io`].
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), SnapshotError> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != self.received || end > self.length {
            return Err(SnapshotError::OutOfOrder { due: self.received, came: offset });
        }
        self.temporary.write(&mut [IoSlice::new(bytes)], offset, end)?;
        self.received = end;
        Ok(())
    }

    /// Which slots the snapshot covers: those below.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Position of the bytes that are due; the length of the file once all came.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Whether all bytes came.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.received == self.length
    }

    /// Makes durable what came, and opens it to be verified.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if it is not complete or not for the right slot; it is then
    /// absent. [`SnapshotError::Io`].
    pub fn seal(mut self) -> Result<SealedSnapshot<D>, SnapshotError> {
        self.temporary.sync()?;
        // What the disk holds is verified, not what the cache remembers; and what it remembers is
        // not needed any more.
        let Temporary { file, name, snapshots, .. } = &self.temporary;
        file.drop_cache().doing("drop the cache of", name)?;
        let reader = Snapshots::<D>::reader(snapshots.disk.open_past_cache(name), name)?;
        if !self.is_complete() || reader.meta().slot != self.slot {
            return Err(SnapshotError::Damaged { file: name.clone(), offset: 0 });
        }
        Ok(SealedSnapshot { temporary: self.temporary, reader })
    }

    /// Verifies every byte, and makes the snapshot visible.
    ///
    /// # Errors
    /// As [`seal`](Self::seal), and [`SnapshotError::Damaged`] if it is not in order.
    pub fn finish(self) -> Result<SnapshotMeta, SnapshotError> {
        let mut sealed = self.seal()?;
        while sealed.next_chunk()?.is_some() {}
        sealed.install()
    }
}

/// A snapshot of a peer that came as a whole, and is being verified. Until
/// [`install`](Self::install) returned it does not exist; dropping it gives it up.
#[derive(Debug)]
pub struct SealedSnapshot<D: Disk> {
    temporary: Temporary<D>,
    reader: SnapshotReader<D::File>,
}

impl<D: Disk> SealedSnapshot<D> {
    /// The next chunk, verified; `None` after the last one, once the whole file is verified.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if the file is not what was written, [`SnapshotError::Io`].
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        self.reader.next_chunk()
    }

    /// Makes the snapshot visible.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the snapshot is then absent, or complete after all.
    ///
    /// # Panics
    /// If not all chunks were read, so that nobody knows whether it is in order.
    pub fn install(mut self) -> Result<SnapshotMeta, SnapshotError> {
        assert!(self.reader.is_finished(), "a snapshot is verified before it is installed");
        let meta = self.reader.meta().clone();
        self.temporary.install(meta.slot)?;
        Ok(meta)
    }
}

/// A file without its final name; removed when dropped without being installed.
#[derive(Debug)]
struct Temporary<D: Disk> {
    snapshots: Snapshots<D>,
    file: D::File,
    name: String,
    unsynced: u64,
    /// It is synced when so much is not.
    sync_bytes: u64,
    is_installed: bool,
}

impl<D: Disk> Temporary<D> {
    fn create(
        snapshots: Snapshots<D>,
        origin: &str,
        slot: Slot,
        sync_bytes: u64,
    ) -> Result<Self, IoError> {
        let name = match mutant!(SnapshotWithoutRename) {
            false => format!("{}.{origin}{TEMPORARY_SUFFIX}", super::name(slot)),
            true => super::name(slot),
        };
        let file = snapshots.disk.create(&name).doing("create", &name)?;
        Ok(Self { snapshots, file, name, unsynced: 0, sync_bytes, is_installed: false })
    }

    fn write(&mut self, parts: &mut [IoSlice<'_>], start: u64, end: u64) -> Result<(), IoError> {
        self.file.write_at(parts, start).doing("write", &self.name)?;
        self.unsynced += end - start;
        if self.unsynced >= self.sync_bytes {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.unsynced = 0;
        self.file.sync_data().doing("sync", &self.name)
    }

    fn install(&mut self, slot: Slot) -> Result<(), SnapshotError> {
        self.sync()?;
        self.snapshots.install(&self.name, slot)?;
        self.is_installed = true;
        Ok(())
    }
}

impl<D: Disk> Drop for Temporary<D> {
    fn drop(&mut self) {
        if !self.is_installed {
            // If this fails, the file is removed when the log is opened the next time.
            let _ = self.snapshots.disk.remove(&self.name);
        }
    }
}
