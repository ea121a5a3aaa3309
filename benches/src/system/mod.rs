//! The systems under measurement, each started on free loopback ports with its data below one
//! directory, and stopped when dropped.

pub mod etcd;
pub mod redis;
pub mod warlock;

use std::path::Path;

use tempfile::TempDir;

use crate::workload::{Load, Outcome, Stop, Workload};
use crate::{Error, Result, error::Context as _};

/// A running system that takes load.
pub trait System {
    /// Name, version, number of nodes and durability, as every row of the report shows it.
    fn description(&self) -> &str;

    /// The server processes whose processor time counts.
    fn pids(&self) -> Vec<u32>;

    /// Connects a client for `workload` to where this system answers it best.
    fn connect(&self, workload: &Workload) -> Result<Box<dyn Load>>;

    /// Writes the first `keys` keys of every workload.
    fn preload(&self, keys: u64, value_length: usize) -> Result<Outcome> {
        self.connect(&Workload::preload(keys, value_length))?.run(Stop::Operations(keys))
    }
}

/// A fresh directory below `root` that is removed when dropped.
fn data_directory(root: &Path, name: &str) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(root)
        .context(format_args!("cannot create a directory in {}", root.display()))
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::new(format!("{} is not UTF-8", path.display())))
}
