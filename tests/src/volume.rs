//! A small disk of its own, to be filled.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::machine::{require_root, run, run_ok};

/// A mounted file system of fixed size. Unmounted when dropped.
#[derive(Debug)]
pub struct Volume {
    directory: TempDir,
}

impl Volume {
    /// Mounts an empty file system of `bytes`.
    ///
    /// # Panics
    /// If the test does not run as root.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        require_root("mounting a file system");
        let directory = TempDir::with_prefix("warlock-disk-").expect("a directory can be made");
        let options = format!("size={bytes},mode=0700");
        let place = directory.path().to_str().expect("paths of tests are UTF-8");
        run_ok("mount", &["-t", "tmpfs", "-o", &options, "warlock-test", place]);
        Self { directory }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Changes its size.
    pub fn resize(&self, bytes: u64) {
        self.remount(&format!("size={bytes}"));
    }

    /// Refuses every change from now on.
    pub fn make_read_only(&self) {
        self.remount("ro");
    }

    fn remount(&self, options: &str) {
        let place = self.directory.path().to_str().expect("paths of tests are UTF-8");
        run_ok("mount", &["-o", &format!("remount,{options}"), place]);
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process of a failed test may still be about to end.
        let place: &Path = self.directory.path();
        let _ = run("umount", &[Path::new("--lazy"), place]);
    }
}
