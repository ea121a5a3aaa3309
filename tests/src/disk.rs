//! A disk of its own, which can stall and lose power.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process;

use tempfile::TempDir;

use crate::machine::{require_root, run, run_ok};

/// How the names of directories with disks begin; the process that made them follows.
const PREFIX: &str = "warlock-disk-";

/// A mounted file system on a disk that is a file. Unmounted when dropped.
///
/// What was written and not synced is in the memory of the operating system alone, so the file
/// holds what the disk of a machine would hold after a power failure.
#[derive(Debug)]
pub struct Disk {
    directory: TempDir,
}

/// A disk that answers nothing until this is dropped.
#[derive(Debug)]
pub struct Stalled<'a>(&'a Disk);

impl Disk {
    /// Makes and mounts an empty disk of `bytes`.
    ///
    /// # Panics
    /// If the test does not run as root.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        require_root("mounting a disk");
        remove_leftovers();
        let prefix = format!("{PREFIX}{}-", process::id());
        let directory = TempDir::with_prefix(prefix).expect("a directory can be made");
        let disk = Self { directory };
        let image = File::create(disk.image()).expect("a file can be made");
        image.set_len(bytes).expect("a file can be long");
        run_ok("mkfs.ext4", &["-q", &disk.image()]);
        fs::create_dir(disk.path()).expect("a directory can be made");
        disk.mount();
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// Lets every write and every sync wait until the answer is dropped.
    #[must_use]
    pub fn stall(&self) -> Stalled<'_> {
        self.freeze();
        Stalled(self)
    }

    /// As [`Disk::stall`], until [`Disk::thaw`].
    pub(crate) fn freeze(&self) {
        run_ok("fsfreeze", &["--freeze", &self.place()]);
    }

    /// Ends [`Disk::freeze`]; does nothing to a disk that is not frozen.
    pub(crate) fn thaw(&self) {
        // A process that waits for the disk cannot even be killed, so this must not panic.
        let _ = run("fsfreeze", &["--unfreeze", &self.place()]);
    }

    /// Takes all space that is left.
    ///
    /// # Panics
    /// If the disk fails otherwise than for want of space.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file can be made");
        // Ever smaller pieces, so that also the last block is taken.
        for bytes in [1 << 20, 64 << 10, 4096] {
            let piece = vec![0x5a; bytes];
            let full = iter::repeat_with(|| ballast.write_all(&piece)).find_map(Result::err);
            let full = full.expect("every disk is full at last");
            assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        }
    }

    /// Gives the space back that [`Disk::fill`] took.
    pub fn empty(&self) {
        // It is not there if the disk was never filled, or lost power since.
        if fs::remove_file(self.ballast()).is_ok() {
            // Blocks can be used again only once the journal has the removal.
            run_ok("sync", &["--file-system", &self.place()]);
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Loses everything that was written and not synced. No process may use the disk.
    pub fn lose_power(&self) {
        let after = format!("{}.after", self.image());
        run_ok("cp", &["--sparse=always", &self.image(), &after]);
        // This writes what the copy lacks.
        run_ok("umount", &[&self.place()]);
        fs::rename(after, self.image()).expect("files in one directory can be renamed");
        self.mount();
    }

    fn mount(&self) {
        // The file system is not to write by itself what nobody has asked it to sync.
        run_ok("mount", &["-t", "ext4", "-o", "loop,commit=600", &self.image(), &self.place()]);
    }

    fn image(&self) -> String {
        let image = self.directory.path().join("image");
        image.into_os_string().into_string().expect("paths of tests are UTF-8")
    }

    fn place(&self) -> String {
        self.path().into_os_string().into_string().expect("paths of tests are UTF-8")
    }
}

/// Removes disks of tests that were killed.
fn remove_leftovers() {
    let entries = fs::read_dir(env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_leftover)) {
        let mounted = entry.path().join("mounted");
        let _ = run("fsfreeze", &["--unfreeze".as_ref(), mounted.as_os_str()]);
        let _ = run("umount", &["--lazy".as_ref(), mounted.as_os_str()]);
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Whether this is the name of something of a test whose process is gone.
fn is_leftover(name: &str) -> bool {
    let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    let owner = owner.map(|(owner, _)| owner).filter(|owner| owner.parse::<u32>().is_ok());
    owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists())
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.thaw();
        // Lazily: a process of a failed test may still be about to end.
        let _ = run("umount", &["--lazy", &self.place()]);
    }
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

#[cfg(test)]
mod tests {
    use super::is_leftover;

    #[test]
    fn only_disks_of_dead_tests_are_leftovers() {
        assert!(is_leftover("warlock-disk-4194305-x7Yz12"));
        assert!(!is_leftover("warlock-disk-1-x7Yz12"), "process 1 lives");
        assert!(!is_leftover("warlock-disk-x7Yz12"));
        assert!(!is_leftover("warlock-4194305-x7Yz12"));
    }
}
