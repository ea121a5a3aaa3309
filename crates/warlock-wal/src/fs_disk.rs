//! A real directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::disk::{Disk, DiskFile};
use crate::freeing::{Freed, Freeing, LARGE_BYTES, User};
use crate::past_cache::{Part, is_misaligned, is_past_cache, use_cache};

const LOCK_FILE: &str = "lock";

/// The most slices that one system call takes on every system.
const SLICES_MAX: usize = 1024;

/// A directory of a file system, locked against other processes while any handle lives.
#[derive(Clone, Debug)]
pub struct FsDisk {
    directory: Arc<Directory>,
    bytes_read: Arc<AtomicU64>,
    freeing: Arc<Mutex<Freeing>>,
    syncs: bool,
    frees_slowly: bool,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    handle: File,
    _lock: File,
}

/// An open file of a [`FsDisk`].
#[derive(Debug)]
pub struct FsFile {
    file: File,
    /// Only of a file that is written past the cache.
    part: Option<Mutex<Part>>,
    bytes_read: Arc<AtomicU64>,
    freeing: Arc<Mutex<Freeing>>,
    syncs: bool,
    _user: User,
}

impl FsDisk {
    /// Opens the directory at `path`, creating it if its parent exists, and locks it.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it open; otherwise what the file system reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::create_dir(path) {
            Ok(()) => sync_parent(path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| {
            match errno {
                Errno::WOULDBLOCK => io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!("{} is in use by another process", path.display()),
                ),
                other => io::Error::from(other),
            }
        })?;
        let directory = Directory { path: path.to_owned(), handle: File::open(path)?, _lock: lock };
        Ok(Self {
            directory: Arc::new(directory),
            bytes_read: Arc::default(),
            freeing: Arc::default(),
            syncs: true,
            frees_slowly: false,
        })
    }

    /// The same directory, but the space of large files that are removed is given back only by
    /// [`free_some`](Self::free_some), and when the process ends.
    #[must_use]
    pub fn freeing_slowly(mut self) -> Self {
        self.frees_slowly = true;
        self
    }

    /// Gives a little of the space of removed files back. To be called again and again, with
    /// pauses in which the disk has time for others.
    #[must_use]
    pub fn free_some(&self) -> Freed {
        locked(&self.freeing).step()
    }

    /// The same directory, but syncing does nothing: what is written survives the process, and not
    /// the machine.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.syncs = false;
        self
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory.path
    }

    /// Bytes read from all files so far, by every handle: the progress of a recovery.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    fn file(&self, file: File, part: Option<Mutex<Part>>) -> io::Result<FsFile> {
        Ok(FsFile {
            _user: locked(&self.freeing).open(&file)?,
            file,
            part,
            bytes_read: Arc::clone(&self.bytes_read),
            freeing: Arc::clone(&self.freeing),
            syncs: self.syncs,
        })
    }

    fn file_path(&self, name: &str) -> PathBuf {
        self.directory.path.join(name)
    }
}

impl Disk for FsDisk {
    type File = FsFile;

    fn create(&self, name: &str) -> io::Result<FsFile> {
        self.file(creating().open(self.file_path(name))?, None)
    }

    fn create_past_cache(&self, name: &str) -> io::Result<FsFile> {
        let (path, direct) = (self.file_path(name), OFlags::DIRECT.bits().cast_signed());
        let file = match creating().custom_flags(direct).open(&path) {
            Err(error) if is_misaligned(&error) => creating().open(&path),
            other => other,
        };
        self.file(file?, Some(Mutex::new(Part::new())))
    }

    fn open(&self, name: &str) -> io::Result<FsFile> {
        self.file(OpenOptions::new().read(true).write(true).open(self.file_path(name))?, None)
    }

    fn open_for_parts(&self, name: &str) -> io::Result<FsFile> {
        let file = OpenOptions::new().read(true).open(self.file_path(name))?;
        // A hint: without it, reading is only less kind to others.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Random);
        self.file(file, None)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file_path(from), self.file_path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.file_path(name);
        if !self.frees_slowly || fs::metadata(&path)?.len() < LARGE_BYTES {
            return fs::remove_file(path);
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        fs::remove_file(path)?;
        locked(&self.freeing).take(file)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory.path)? {
            // What is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK_FILE
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_directory(&self) -> io::Result<()> {
        if self.syncs { self.directory.handle.sync_all() } else { Ok(()) }
    }
}

impl DiskFile for FsFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let allocate = || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length);
        match self.with_space(allocate) {
            // Without support by the file system the space is not reserved, but the rest holds.
            Err(Errno::OPNOTSUPP) if self.length()? < length => self.file.set_len(length),
            Err(Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        match &self.part {
            Some(part) => locked(part).take(parts, offset, |part, at| self.write_part(part, at)),
            None => self.write_all(parts, offset),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes_read.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(part) = &self.part {
            // What is left ends anywhere.
            use_cache(&self.file)?;
            locked(part).write_out(|part, at| self.write_all(&mut [IoSlice::new(part)], at))?;
        }
        self.sync()
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }
}

impl FsFile {
    /// Does `step`; when the disk is full, once more with the space of removed files.
    fn with_space<T>(&self, step: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        match retry_on_intr(&step) {
            Err(Errno::NOSPC) if locked(&self.freeing).all() => retry_on_intr(step),
            other => other,
        }
    }

    fn write_all(&self, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        // Drops leading empty slices: a call that writes nothing means a full disk.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let some = &parts[..parts.len().min(SLICES_MAX)];
            let written = self.with_space(|| rustix::io::pwritev(&self.file, some, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut parts, written);
        }
        Ok(())
    }

    /// Writes a part of a file past the cache; if the file system has no way past it, then so that
    /// the cache has nothing left to write.
    fn write_part(&self, part: &[u8], offset: u64) -> io::Result<()> {
        match self.write_all(&mut [IoSlice::new(part)], offset) {
            Err(error) if is_misaligned(&error) && is_past_cache(&self.file)? => {
                use_cache(&self.file)?;
                self.write_all(&mut [IoSlice::new(part)], offset)?;
            }
            other => other?,
        }
        if is_past_cache(&self.file)? { Ok(()) } else { self.sync() }
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs { self.file.sync_data() } else { Ok(()) }
    }
}

fn creating() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    options
}

/// Nothing that holds one of these locks can panic and leave it half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a new directory itself durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_past_the_cache_is_written_by_way_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let disk = FsDisk::open(directory.path()).unwrap();
        let file = disk.create_past_cache("file").unwrap();
        let content: Vec<u8> = (0..=250).cycle().take(10_000).collect();
        // As on a disk of which the blocks are larger than the alignment.
        file.write_part(&content[1..], 0).unwrap();
        assert!(!is_past_cache(&file.file).unwrap());
        let mut read = vec![0; content.len()];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), content.len() - 1);
        assert_eq!(read[..content.len() - 1], content[1..]);
    }
}
