//! Reading a file from the disk and not from the cache, one part after the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once. While one part is read nothing else is asked of the disk, so that the log's
/// writes wait for one part at most; a kernel that reads ahead has dozens queued before them.
const PART_BYTES: usize = 256 * 1024;

/// What direct reads must be aligned to, in memory and in the file: no disk has larger blocks.
const ALIGNMENT: usize = 4096;

/// The part of a file that was read last.
#[derive(Debug)]
pub(crate) struct Part {
    memory: Vec<u8>,
    /// Where the aligned bytes begin in `memory`.
    first: usize,
    /// Where in the file they are from.
    start: u64,
    filled: usize,
}

impl Part {
    pub(crate) fn new() -> Self {
        let memory = vec![0; PART_BYTES + ALIGNMENT];
        let first = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, first, start: 0, filled: 0 }
    }

    /// Reads from `offset` on until `buffer` is full or the file ends; returns how many bytes.
    pub(crate) fn read(
        &mut self,
        file: &File,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            if self.at(at).is_empty() {
                self.load(file, at - at % ALIGNMENT as u64)?;
            }
            let known = self.at(at);
            if known.is_empty() {
                break;
            }
            let count = known.len().min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&known[..count]);
            done += count;
        }
        Ok(done)
    }

    /// What is known from the position `at` of the file on.
    fn at(&self, at: u64) -> &[u8] {
        let known = &self.memory[self.first..self.first + self.filled];
        let skipped = at.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| known.get(skipped..)).unwrap_or_default()
    }

    fn load(&mut self, file: &File, start: u64) -> io::Result<()> {
        self.filled = 0;
        self.start = start;
        let memory = &mut self.memory[self.first..self.first + PART_BYTES];
        self.filled = loop {
            match file.read_at(memory, start) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        Ok(())
    }
}
