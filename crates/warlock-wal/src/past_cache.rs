//! Reading a file from the disk and not from the cache, one part after the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Bytes read at once. While one part is read nothing else is asked of the disk, so that the log's
/// writes wait for one part at most; a kernel that reads ahead has dozens queued before them.
const PART_BYTES: usize = 256 * 1024;

/// What direct reads are aligned to, in memory and in the file; hardly a disk has larger blocks.
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
                // Blocks larger than that: then by way of the cache.
                Err(error) if is_misaligned(&error) && is_direct(file)? => {
                    rustix::fs::fcntl_setfl(file, OFlags::empty())?;
                }
                other => break other?,
            }
        };
        Ok(())
    }
}

fn is_misaligned(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

fn is_direct(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fcntl_getfl(file)?.contains(OFlags::DIRECT))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn what_cannot_be_read_directly_is_read_by_way_of_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..=250).cycle().take(3 * PART_BYTES + 77).collect();
        std::fs::write(&path, &content).unwrap();
        let mut options = OpenOptions::new();
        let direct = OFlags::DIRECT.bits().cast_signed();
        let file = options.read(true).custom_flags(direct).open(&path).unwrap();
        let mut part = Part::new();
        // As on a disk of which the blocks are larger than the alignment.
        part.first += 1;
        let mut read = vec![0; content.len() + 10];
        assert_eq!(part.read(&file, &mut read, 0).unwrap(), content.len());
        assert_eq!(read[..content.len()], content);
    }
}
