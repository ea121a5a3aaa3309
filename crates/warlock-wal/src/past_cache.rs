//! Writing a file to the disk and not to the cache, one part after the other.

use std::fs::File;
use std::io::{self, IoSlice};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Bytes written at once. While one part is written nothing else is asked of the disk, so that the
/// log's writes wait for one part at most; a kernel that writes behind has dozens queued before
/// them.
const PART_BYTES: usize = 256 * 1024;

/// What direct writes are aligned to, in memory and in the file; hardly a disk has larger blocks.
const ALIGNMENT: usize = 4096;

/// What is written next of a file that is written from its start to its end.
#[derive(Debug)]
pub(crate) struct Part {
    memory: Vec<u8>,
    /// Where the aligned bytes begin in `memory`.
    first: usize,
    /// Where in the file they go: what is before is written.
    start: u64,
    filled: usize,
}

impl Part {
    pub(crate) fn new() -> Self {
        let memory = vec![0; PART_BYTES + ALIGNMENT];
        let first = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, first, start: 0, filled: 0 }
    }

    /// Takes all `slices`, one behind the other, and has `write` write each part that is full.
    ///
    /// # Errors
    /// `InvalidInput` if they do not follow what was taken before; whatever `write` returns.
    pub(crate) fn take(
        &mut self,
        slices: &[IoSlice<'_>],
        offset: u64,
        write: impl Fn(&[u8], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let due = self.start + self.filled as u64;
        if offset != due {
            let text = format!("bytes from {offset} on are to be written where {due} is due");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        for slice in slices {
            let mut bytes = &slice[..];
            while !bytes.is_empty() {
                let room = &mut self.memory[self.first..][self.filled..PART_BYTES];
                let (some, rest) = bytes.split_at(room.len().min(bytes.len()));
                room[..some.len()].copy_from_slice(some);
                self.filled += some.len();
                bytes = rest;
                if self.filled == PART_BYTES {
                    self.write_out(&write)?;
                }
            }
        }
        Ok(())
    }

    /// Has `write` write what was taken and is not written.
    ///
    /// # Errors
    /// Whatever `write` returns.
    pub(crate) fn write_out(
        &mut self,
        write: impl Fn(&[u8], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.filled > 0 {
            write(&self.memory[self.first..][..self.filled], self.start)?;
            self.start += std::mem::take(&mut self.filled) as u64;
        }
        Ok(())
    }
}

/// Whether a file system has no way past the cache, or larger blocks.
pub(crate) fn is_misaligned(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

pub(crate) fn is_past_cache(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fcntl_getfl(file)?.contains(OFlags::DIRECT))
}

/// Has a file be written by way of the cache from now on.
pub(crate) fn use_cache(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_setfl(file, OFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_follow_is_refused() {
        let mut part = Part::new();
        let write = |_: &[u8], _| panic!("nothing is full");
        part.take(&[IoSlice::new(b"one"), IoSlice::new(b"two")], 0, write).unwrap();
        for offset in [0, 5, 7] {
            let error = part.take(&[IoSlice::new(b"three")], offset, write).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{offset}");
        }
        part.take(&[IoSlice::new(b"three")], 6, write).unwrap();
        part.write_out(|bytes, at| {
            assert_eq!((bytes, at), (&b"onetwothree"[..], 0));
            Ok(())
        })
        .unwrap();
        part.write_out(write).unwrap();
    }
}
