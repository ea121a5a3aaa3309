//! What the crate needs of a disk: one flat directory of files, and explicit durability.

use std::fmt::Debug;
use std::io::{self, IoSlice};

/// A directory on a disk. Clones are handles of the same directory for other threads.
///
/// Nothing that is done to a file or to the directory is durable before
/// [`sync_data`](DiskFile::sync_data) or [`sync_directory`](Self::sync_directory) returned success.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    /// An open file of this disk.
    type File: DiskFile;

    /// Creates an empty file, in the place of an old one of that name.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Creates a file like [`create`](Self::create) that is written once from its start to its end,
    /// without gaps, and read by nobody before it is synced. What is written goes to the disk and
    /// not to the cache, so that writes and syncs of others need not wait long; it is as little
    /// durable as any other.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn create_past_cache(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if there is none, and whatever the disk reports.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file to be read in parts, each of which asks the disk for no more than itself, so
    /// that writes of others need not wait for what a system reads ahead.
    ///
    /// # Errors
    /// `NotFound` if there is none, and whatever the disk reports.
    fn open_for_parts(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in the place of an old file of that name.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` if there is none, and whatever the disk reports.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, in ascending order.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals up to now durable.
    ///
    /// # Errors
    /// Whatever the disk reports; then nothing is known about what is durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Debug + Send + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn length(&self) -> io::Result<u64>;

    /// Reserves space up to `length` bytes and makes the file so long; new bytes read as zero.
    ///
    /// # Errors
    /// `StorageFull` if there is no such space, and whatever else the disk reports.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Writes all `parts`, one behind the other, from `offset` on. The slices are used up.
    ///
    /// # Errors
    /// Whatever the disk reports; then any part of it may be written.
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Reads from `offset` on until `buffer` is full or the file ends; returns how many bytes.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// Whatever the disk reports; then nothing is known about the content, and calling again
    /// proves nothing, because the kernel marks pages clean whose writing failed.
    fn sync_data(&self) -> io::Result<()>;

    /// Forgets cached content, as far as it is written, so that reads show what the disk holds.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn drop_cache(&self) -> io::Result<()>;
}
