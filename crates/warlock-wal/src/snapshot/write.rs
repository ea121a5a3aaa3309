//! Writing a snapshot: chunks of this node's state, or the file of a peer.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use warlock_paxos::{Slot, mutant};

use super::format::{self, Tally};
use super::verify::{Flaw, Verifier};
use super::{SnapshotError, SnapshotMeta, Snapshots};
use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError};
use crate::limits::{SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_SYNC_BYTES};
use crate::segment::TEMPORARY_SUFFIX;

/// A snapshot being written. Until [`finish`](Self::finish) returned it does not exist; dropping
/// the writer gives it up.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    temporary: Temporary<D>,
    slot: Slot,
    tally: Tally,
    /// How far it is synced, in bytes.
    synced: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    pub(super) fn begin(
        snapshots: Snapshots<D>,
        meta: &SnapshotMeta,
    ) -> Result<Self, SnapshotError> {
        let (header, tally) = format::encode_header(meta);
        let temporary = Temporary::create(snapshots, Origin::Own, meta.slot)?;
        temporary.write(&mut [IoSlice::new(&header)], 0)?;
        Ok(Self { temporary, slot: meta.slot, tally, synced: 0 })
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
        self.temporary.write(&mut [IoSlice::new(&footer)], start)?;
        self.temporary.install(self.slot)
    }

    fn write_with_head(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        let (head, next) = self.tally.chunk(chunk);
        let parts = &mut [IoSlice::new(&head), IoSlice::new(chunk)];
        self.temporary.write(parts, self.tally.length)?;
        self.tally = next;
        if next.length - self.synced >= SNAPSHOT_SYNC_BYTES {
            self.temporary.sync()?;
            self.synced = next.length;
        }
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
    verifier: Verifier,
    /// What is written and not verified.
    bytes: BytesMut,
}

impl<D: Disk> SnapshotReceiver<D> {
    pub(super) fn begin(
        snapshots: Snapshots<D>,
        slot: Slot,
        length: u64,
    ) -> Result<Self, SnapshotError> {
        let temporary = Temporary::create(snapshots, Origin::Peer, slot)?;
        temporary.file.allocate(length).doing("allocate", &temporary.name)?;
        let (verifier, bytes) = (Verifier::new(length), BytesMut::new());
        Ok(Self { temporary, slot, length, received: 0, verifier, bytes })
    }

    /// Takes bytes of the peer's file from `offset` on. What they hold is to be asked for with
    /// [`next_chunk`](Self::next_chunk) before more come, as it is kept until then.
    ///
    /// # Errors
    /// [`SnapshotError::OutOfOrder`] if they are not due or too many, and
    /// [`SnapshotError::Io`].
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), SnapshotError> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != self.received || end > self.length {
            return Err(SnapshotError::OutOfOrder { due: self.received, came: offset });
        }
        self.temporary.write(&mut [IoSlice::new(bytes)], offset)?;
        self.bytes.extend_from_slice(bytes);
        self.received = end;
        Ok(())
    }

    /// The next chunk, verified; `None` if it did not come whole yet, and after the last one.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if what came is not in order or not for the right slot,
    /// [`SnapshotError::NewerVersion`]; the snapshot is then to be given up.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        loop {
            let needed = self.verifier.needs();
            if needed == 0 || needed > self.bytes.len() {
                return Ok(None);
            }
            let taken = self.verifier.take(self.bytes.split_to(needed).freeze());
            let chunk = taken.map_err(|flaw| flaw.of(&self.temporary.name))?;
            if self.verifier.meta().is_some_and(|meta| meta.slot != self.slot) {
                return Err(self.damaged(0));
            }
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
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

    /// Makes the snapshot durable and visible, if all of it came and is in order.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] and [`SnapshotError::NewerVersion`]; the snapshot is then absent.
    /// [`SnapshotError::Io`]; then it is absent, or complete after all.
    pub fn finish(mut self) -> Result<SnapshotMeta, SnapshotError> {
        while self.next_chunk()?.is_some() {}
        let meta = self.verifier.meta().filter(|_| self.verifier.is_finished()).cloned();
        let meta = meta.ok_or_else(|| self.damaged(self.verifier.verified()))?;
        self.temporary.install(self.slot)?;
        Ok(meta)
    }

    fn damaged(&self, offset: u64) -> SnapshotError {
        Flaw::Damaged(offset).of(&self.temporary.name)
    }
}

/// Whose state a snapshot is written from.
#[derive(Clone, Copy)]
enum Origin {
    /// This node's, which serves meanwhile: its file is cached for those who are sent it.
    Own,
    /// A peer's: nobody will read the file soon, and it comes as fast as it can.
    Peer,
}

/// A file without its final name; removed when dropped without being installed.
#[derive(Debug)]
struct Temporary<D: Disk> {
    snapshots: Snapshots<D>,
    file: D::File,
    name: String,
    is_installed: bool,
}

impl<D: Disk> Temporary<D> {
    fn create(snapshots: Snapshots<D>, origin: Origin, slot: Slot) -> Result<Self, IoError> {
        let name = super::name(slot);
        let name = match origin {
            _ if mutant!(SnapshotWithoutRename) => name,
            Origin::Own => format!("{name}.own{TEMPORARY_SUFFIX}"),
            Origin::Peer => format!("{name}.peer{TEMPORARY_SUFFIX}"),
        };
        let created = match origin {
            Origin::Own => snapshots.disk.create(&name),
            Origin::Peer => snapshots.disk.create_past_cache(&name),
        };
        let file = created.doing("create", &name)?;
        Ok(Self { snapshots, file, name, is_installed: false })
    }

    fn write(&self, parts: &mut [IoSlice<'_>], start: u64) -> Result<(), IoError> {
        self.file.write_at(parts, start).doing("write", &self.name)
    }

    fn sync(&self) -> Result<(), IoError> {
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
