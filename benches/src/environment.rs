//! The machine that a report speaks of.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// What a reader must know to compare the report with another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Model of the processor.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// Kind of file system below the data directories.
    pub filesystem: String,
    /// Revision of the source, with `-dirty` if it had changes; empty outside a repository.
    pub revision: String,
}

impl Environment {
    /// Asks the kernel. What it does not say is left empty.
    pub fn look(data_root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            processor: labelled(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: labelled(&read("/proc/meminfo"), "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap_or(0)
                / 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: filesystem(&read("/proc/self/mounts"), data_root),
            revision: revision(),
        }
    }

    /// The machine in a line, and a warning if its figures for durable writes are worthless.
    pub fn sentence(&self) -> String {
        let mut text = format!(
            "{} processors ({}), {} MiB, kernel {}, data on {}, revision {}.\n",
            self.processors,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.filesystem,
            self.revision
        );
        if matches!(self.filesystem.as_str(), "tmpfs" | "ramfs") {
            text += "WARNING: the data is on no disk, so durable writes cost nothing here.\n";
        }
        text
    }
}

fn labelled(text: &str, label: &str) -> String {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == label)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

/// Type of the mount with the longest path above `directory`; of equals, the last one mounted.
fn filesystem(mounts: &str, directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (fields.next()?, fields.next()?);
            directory.starts_with(point).then_some((point.len(), kind))
        })
        .max_by_key(|&(length, _)| length)
        .map(|(_, kind)| kind.to_owned())
        .unwrap_or_default()
}

fn revision() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude", "*"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_decides_the_file_system() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /scratch tmpfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/scratch/run")), "tmpfs");
        assert_eq!(filesystem(mounts, Path::new("/scratches")), "ext4");
    }

    #[test]
    fn a_label_is_matched_whole() {
        let text = "model\t: 1\nmodel name\t: Some Processor\n";
        assert_eq!(labelled(text, "model name"), "Some Processor");
        assert_eq!(labelled(text, "name"), "");
    }
}
