//! Giving the space of large files back bit by bit.
//!
//! A file system that discards what it frees keeps the disk busy with it: 350 MiB at once hold the
//! syncs of the log up for 25 ms. A file that is removed while it is open keeps its space, and is
//! made shorter step by step; should the process end, the system frees all of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Weak};

/// Bytes given back in one step.
const STEP_BYTES: u64 = 1024 * 1024;

/// From which length on a file is not freed at once, in bytes.
pub(crate) const LARGE_BYTES: u64 = 8 * STEP_BYTES;

/// What a step towards freeing removed files came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freed {
    /// Something was freed, and there may be more.
    Some,
    /// What is left is still being read.
    InUse,
    /// There is nothing to free.
    Nothing,
}

/// Whoever has one file open shares one of these.
pub(crate) type User = Arc<()>;

/// The files of a directory that are open or removed.
#[derive(Debug, Default)]
pub(crate) struct Freeing {
    /// By inode.
    users: BTreeMap<u64, Weak<()>>,
    removed: Vec<Removed>,
}

#[derive(Debug)]
struct Removed {
    file: File,
    length: u64,
    users: Weak<()>,
}

impl Freeing {
    /// Notes that a file was opened.
    pub(crate) fn open(&mut self, file: &File) -> io::Result<User> {
        let inode = file.metadata()?.ino();
        let user = self.users.get(&inode).and_then(Weak::upgrade).unwrap_or_default();
        self.users.retain(|_, users| users.strong_count() > 0);
        self.users.insert(inode, Arc::downgrade(&user));
        Ok(user)
    }

    /// Takes over a file that has no name any more.
    pub(crate) fn take(&mut self, file: File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let users = self.users.remove(&metadata.ino()).unwrap_or_default();
        self.removed.push(Removed { file, length: metadata.len(), users });
        Ok(())
    }

    /// Makes one file a step shorter that nobody reads.
    pub(crate) fn step(&mut self) -> Freed {
        let Some(at) = self.removed.iter().position(|file| file.users.strong_count() == 0) else {
            return if self.removed.is_empty() { Freed::Nothing } else { Freed::InUse };
        };
        let removed = &mut self.removed[at];
        removed.length = removed.length.saturating_sub(STEP_BYTES);
        // If this fails, the system frees the rest of it at once.
        if removed.file.set_len(removed.length).is_err() || removed.length == 0 {
            self.removed.swap_remove(at);
        }
        Freed::Some
    }

    /// Lets go of all files that were removed; says whether there were any.
    pub(crate) fn all(&mut self) -> bool {
        !core::mem::take(&mut self.removed).is_empty()
    }
}
