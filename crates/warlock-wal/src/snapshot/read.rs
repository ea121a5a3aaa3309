//! Reading a snapshot: verified chunks for a restore, raw bytes for a peer.

use super::format::{self, CHUNK_HEAD_LENGTH, FOOTER_LENGTH, HEADER_LENGTH, Header, Tally};
use super::{SnapshotError, SnapshotMeta};
use crate::disk::DiskFile;
use crate::error::Doing;
use crate::limits::SNAPSHOT_CHUNK_BYTES_MAX;

/// An open snapshot.
#[derive(Debug)]
pub struct SnapshotReader<F> {
    file: F,
    name: String,
    length: u64,
    meta: SnapshotMeta,
    tally: Tally,
    is_finished: bool,
}

impl<F: DiskFile> SnapshotReader<F> {
    /// Reads and checks the header.
    pub(super) fn open(file: F, name: &str) -> Result<Self, SnapshotError> {
        let length = file.length().doing("look at", name)?;
        let damaged = || SnapshotError::Damaged { file: name.to_owned(), offset: 0 };
        let mut header = vec![0; HEADER_LENGTH];
        let filled = file.read_at(&mut header, 0).doing("read", name)?;
        let header_length = format::header_length(&header[..filled]).ok_or_else(damaged)?;
        header.resize(header_length, 0);
        let filled = file.read_at(&mut header, 0).doing("read", name)?;
        if filled < header_length {
            return Err(damaged());
        }
        match format::decode_header(&header) {
            Header::Good(meta, tally) => {
                Ok(Self { file, name: name.to_owned(), length, meta, tally, is_finished: false })
            }
            Header::Newer(version) => {
                Err(SnapshotError::NewerVersion { file: name.to_owned(), version })
            }
            Header::Damaged => Err(damaged()),
        }
    }

    /// What the snapshot says about itself.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Whether every chunk was read, and the whole file is in order.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Length of the file in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The next chunk, verified; `None` after the last one, once the whole file is verified.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if the file is not what was written, [`SnapshotError::Io`].
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        if self.is_finished {
            return Ok(None);
        }
        let start = self.tally.length;
        let head: [u8; CHUNK_HEAD_LENGTH] = self.read_exactly(start)?;
        let [a, b, c, d, ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let end = start + CHUNK_HEAD_LENGTH as u64 + length as u64;
        if length > SNAPSHOT_CHUNK_BYTES_MAX || end > self.length {
            return Err(self.damaged(start));
        }
        let mut bytes = vec![0; length];
        let filled = self
            .file
            .read_at(&mut bytes, start + CHUNK_HEAD_LENGTH as u64)
            .doing("read", &self.name)?;
        let (expected, next) = self.tally.chunk(&bytes[..filled]);
        if head != expected {
            return Err(self.damaged(start));
        }
        self.tally = next;
        if length > 0 {
            return Ok(Some(bytes));
        }
        self.check_footer()?;
        self.is_finished = true;
        Ok(None)
    }

    /// Reads bytes of the file from `offset` on, for a peer, who verifies them; returns how many,
    /// fewer than asked for only at the end of the file.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SnapshotError> {
        Ok(self.file.read_at(buffer, offset).doing("read", &self.name)?)
    }

    fn check_footer(&self) -> Result<(), SnapshotError> {
        let start = self.tally.length;
        let footer: [u8; FOOTER_LENGTH] = self.read_exactly(start)?;
        if footer == self.tally.footer() && start + FOOTER_LENGTH as u64 == self.length {
            Ok(())
        } else {
            Err(self.damaged(start))
        }
    }

    fn read_exactly<const N: usize>(&self, offset: u64) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        let filled = self.file.read_at(&mut bytes, offset).doing("read", &self.name)?;
        if filled == N { Ok(bytes) } else { Err(self.damaged(offset)) }
    }

    fn damaged(&self, offset: u64) -> SnapshotError {
        SnapshotError::Damaged { file: self.name.clone(), offset }
    }
}
