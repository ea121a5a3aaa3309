//! The double of a disk: in memory, deterministic, and as unreliable as it is told to be.

mod faults;
mod pages;
mod random;
mod state;

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};

pub use faults::{Failure, Outcome};

use random::Random;
use state::{FileId, State};

/// A disk in memory that loses power, tears and reorders writes, fails and rots on demand.
///
/// For tests and the simulator. Clones share the disk. Every operation that changes something is a
/// *step*, counted from 1 by [`steps`](Self::steps); faults are arranged for a step ahead. All
/// choices come from the seed. A handle that was opened before a [`restart`](Self::restart) fails
/// for ever, like the process that held it.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    shared: Arc<Mutex<State>>,
    /// The start of the machine that this handle belongs to.
    start: u64,
}

/// An open file of a [`FaultyDisk`].
#[derive(Debug)]
pub struct FaultyFile {
    disk: FaultyDisk,
    file: FileId,
    name: String,
}

/// Everything that a [`FaultyDisk`] holds at one time, synced or not.
#[derive(Clone, Debug)]
pub struct DiskImage(State);

impl FaultyDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { shared: Arc::new(Mutex::new(State::new(Random::new(seed)))), start: 0 }
    }

    /// How many steps there were.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Stops the machine in the middle of `step`: it and everything later fails until
    /// [`restart`](Self::restart), which decides what of it was done.
    pub fn crash_at(&self, step: u64) {
        self.state().crash_at = Some(step);
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.state().is_crashed
    }

    /// Starts the machine again, after a crash or without one, and returns a handle for the new
    /// process. What was not synced is left as `outcome` says. Arranged faults are forgotten.
    #[must_use]
    pub fn restart(&self, outcome: Outcome) -> Self {
        let mut state = self.state();
        state.restart(outcome);
        Self { shared: Arc::clone(&self.shared), start: state.start }
    }

    /// Makes `step` fail.
    pub fn fail_at(&self, step: u64, failure: Failure) {
        self.state().failures.insert(step, failure);
    }

    /// Forgets the failures that were arranged for steps to come.
    pub fn forget_failures(&self) {
        self.state().failures.clear();
    }

    /// Makes every step from the next one on fail that needs space, or stops doing so.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// Makes every read of the file called `name` fail, or stops doing so.
    pub fn set_unreadable(&self, name: &str, is_unreadable: bool) {
        let mut state = self.state();
        if is_unreadable {
            state.unreadable.insert(name.to_owned());
        } else {
            state.unreadable.remove(name);
        }
    }

    /// Makes syncs report success without doing anything, or stops doing so.
    pub fn set_lying(&self, is_lying: bool) {
        self.state().is_lying = is_lying;
    }

    /// Everything that the disk holds now.
    #[must_use]
    pub fn image(&self) -> DiskImage {
        DiskImage(self.state().clone())
    }

    /// A new disk that holds what `image` holds, without faults, for a process of its own.
    #[must_use]
    pub fn from_image(image: &DiskImage, seed: u64) -> Self {
        let mut state = image.0.clone();
        state.random = Random::new(seed);
        state.restart(Outcome::Kept);
        let start = state.start;
        Self { shared: Arc::new(Mutex::new(state)), start }
    }

    /// The content of a file, as a process sees it.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.entries.get(name)?;
        Some(state.files[file].seen.to_vec())
    }

    /// The content of a file on the medium, once what was not lost has reached it. Shorter than
    /// what a process sees if a failed sync dropped a part.
    #[must_use]
    pub fn medium(&self, name: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.entries.contains_key(name).then(|| state.at_rest(name))
    }

    /// Turns one bit of a file over, on the medium. Bit 0 is the lowest of the first byte.
    ///
    /// # Panics
    /// If there is no such bit.
    pub fn flip_bit(&self, name: &str, bit: u64) {
        self.state().damage(name, bit / 8, 1, |bytes| bytes[0] ^= 1 << (bit % 8));
    }

    /// Fills `length` bytes of a file from `offset` on with zeros, on the medium.
    ///
    /// # Panics
    /// If the file is not so long.
    pub fn zero(&self, name: &str, offset: u64, length: u64) {
        self.state().damage(name, offset, length, |bytes| bytes.fill(0));
    }

    /// Fills `length` bytes of a file from `offset` on with noise, on the medium.
    ///
    /// # Panics
    /// If the file is not so long.
    pub fn garble(&self, name: &str, offset: u64, length: u64) {
        let mut state = self.state();
        let mut random = state.random.fork();
        state.damage(name, offset, length, |bytes| {
            for byte in bytes {
                // Never zero, so that noise is told from what was never written.
                *byte = random.byte() | 1;
            }
        });
    }

    /// Cuts a file to `length` bytes, on the medium.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn cut(&self, name: &str, length: u64) {
        self.state().cut(name, length);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that fails while it holds the lock says so itself.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if the process of this handle still runs.
    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.is_crashed || state.start != self.start {
            return Err(io::Error::other("the machine has stopped"));
        }
        Ok(state)
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        let file = self.running()?.create(name)?;
        Ok(self.handle(name, file))
    }

    fn create_past_cache(&self, name: &str) -> io::Result<FaultyFile> {
        self.create(name)
    }

    fn open(&self, name: &str) -> io::Result<FaultyFile> {
        let file = self.running()?.open(name)?;
        Ok(self.handle(name, file))
    }

    fn open_for_parts(&self, name: &str) -> io::Result<FaultyFile> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.running()?.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.running()?.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.running()?.entries.keys().cloned().collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.running()?.sync_directory()
    }
}

impl FaultyDisk {
    fn handle(&self, name: &str, file: FileId) -> FaultyFile {
        FaultyFile { disk: self.clone(), file, name: name.to_owned() }
    }
}

impl DiskFile for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.running()?.files[&self.file].seen.len() as u64)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.running()?.allocate(self.file, length)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.disk.running()?.write(self.file, parts, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.running()?;
        if state.unreadable.contains(&self.name) {
            return Err(io::Error::other("cannot read the medium"));
        }
        Ok(state.read(self.file, buffer, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.running()?.sync_data(self.file)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.disk.running()?.drop_cache(self.file);
        Ok(())
    }
}
