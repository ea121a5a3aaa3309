//! What can go wrong, and what to do then.

use std::error::Error;
use std::fmt;
use std::io;

use crate::snapshot::SnapshotError;

/// An operation of the disk failed.
#[derive(Debug)]
pub struct IoError {
    /// What was to be done, as a verb: "write", "sync".
    pub doing: &'static str,
    /// The file, or "." for the directory.
    pub file: String,
    /// What the disk said.
    pub source: io::Error,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.file, self.source)
    }
}

impl Error for IoError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Adds to a disk error what was to be done with which file.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, file: &str) -> Result<T, IoError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, file: &str) -> Result<T, IoError> {
        self.map_err(|source| IoError { doing, file: file.to_owned(), source })
    }
}

/// Why the log cannot be opened or go on. All of them stop the node.
#[derive(Debug)]
#[non_exhaustive]
pub enum WalError {
    /// The disk failed. The log takes nothing any more (P8).
    Io(IoError),
    /// An earlier call failed; only a restart, which reads everything again, can go on (P8).
    Poisoned,
    /// A later version of the program wrote this file.
    NewerVersion {
        /// The file.
        file: String,
        /// Its format version.
        version: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The snapshots cannot be looked through.
    Snapshot(SnapshotError),
    /// There is no log, but this data directory has been in use: its promises are lost (P7).
    LogMissing,
    /// The membership is gone, or older than the log says: what was accepted or decided of it is
    /// lost (P6, P7).
    MembershipLost,
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Poisoned => f.write_str("the log stopped after an earlier disk error: restart"),
            Self::Snapshot(error) => error.fmt(f),
            Self::NewerVersion { file, version, known } => write!(
                f,
                "{file} has format version {version}, this program knows up to {known}: upgrade it"
            ),
            Self::LogMissing => f.write_str(
                "the log files of this data directory are gone: the node must join anew (reset)",
            ),
            Self::MembershipLost => f.write_str(
                "the membership of this data directory is gone or damaged: the node must join \
                 anew (reset)",
            ),
        }
    }
}

impl Error for WalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(&error.source),
            Self::Snapshot(error) => error.source(),
            Self::Poisoned
            | Self::NewerVersion { .. }
            | Self::LogMissing
            | Self::MembershipLost => None,
        }
    }
}

impl From<SnapshotError> for WalError {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(error)
    }
}

impl From<IoError> for WalError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}
