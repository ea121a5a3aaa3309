//! Reading a snapshot: verified chunks for a restore, raw bytes for a peer.

use bytes::Bytes;

use super::verify::{Flaw, Verifier};
use super::{SnapshotError, SnapshotMeta};
use crate::disk::DiskFile;
use crate::error::Doing;

/// An open snapshot.
#[derive(Debug)]
pub struct SnapshotReader<F> {
    file: F,
    name: String,
    length: u64,
    meta: SnapshotMeta,
    verifier: Verifier,
    /// How much the verifier was given, in bytes.
    read: u64,
}

impl<F: DiskFile> SnapshotReader<F> {
    /// Reads and checks the header.
    pub(super) fn open(file: F, name: &str) -> Result<Self, SnapshotError> {
        let length = file.length().doing("look at", name)?;
        let (mut verifier, mut read) = (Verifier::new(length), 0);
        let meta = loop {
            if let Some(meta) = verifier.meta() {
                break meta.clone();
            }
            go_on(&file, name, &mut verifier, &mut read)?;
        };
        Ok(Self { file, name: name.to_owned(), length, meta, verifier, read })
    }

    /// What the snapshot says about itself.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.meta
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
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        while !self.verifier.is_finished() {
            let chunk = go_on(&self.file, &self.name, &mut self.verifier, &mut self.read)?;
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
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
}

/// Reads what `verifier` needs next, which was given the bytes before `read`; gives back a chunk.
fn go_on<F: DiskFile>(
    file: &F,
    name: &str,
    verifier: &mut Verifier,
    read: &mut u64,
) -> Result<Option<Bytes>, SnapshotError> {
    let mut bytes = vec![0; verifier.needs()];
    let filled = file.read_at(&mut bytes, *read).doing("read", name)?;
    if filled < bytes.len() {
        return Err(Flaw::Damaged(verifier.verified()).of(name));
    }
    *read += filled as u64;
    verifier.take(bytes.into()).map_err(|flaw| flaw.of(name))
}
