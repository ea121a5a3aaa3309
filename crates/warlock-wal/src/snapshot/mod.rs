//! Snapshots of the state machine: complete or absent. FORMAT.md describes the bytes.

mod format;
mod read;
mod verify;
mod write;

use std::error::Error;
use std::fmt;
use std::io;

use warlock_paxos::{Ballot, LogTime, Slot, mutant};

use crate::disk::Disk;
use crate::error::{Doing, IoError};
use crate::limits::SNAPSHOTS_KEPT;

pub use read::SnapshotReader;
pub use write::{SnapshotReceiver, SnapshotWriter};

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// Every slot below is in the snapshot.
    pub slot: Slot,
    /// The acceptor's ballot of the node that wrote it, when it was begun (P2).
    pub ballot: Ballot,
    /// Log time of the newest batch in it.
    pub log_time: LogTime,
    /// The membership in force, encoded by the host, or nothing while that is the one of the
    /// settings, so that programs can read the snapshot that know no other; at most
    /// [`MEMBERSHIP_BYTES_MAX`](crate::limits::MEMBERSHIP_BYTES_MAX) long.
    pub membership: Vec<u8>,
}

/// What [`Snapshots::newest`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewestSnapshot {
    /// The newest undamaged snapshot.
    pub snapshot: Option<SnapshotMeta>,
    /// Files of newer ones that are damaged.
    pub damaged: Vec<String>,
}

/// The snapshots of a data directory. Clones serve other threads.
#[derive(Clone, Debug)]
pub struct Snapshots<D: Disk> {
    disk: D,
}

impl<D: Disk> Snapshots<D> {
    /// The snapshots on `disk`.
    #[must_use]
    pub const fn new(disk: D) -> Self {
        Self { disk }
    }

    /// Begins a snapshot of this node's state.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    ///
    /// # Panics
    /// If the membership is too long.
    pub fn begin(&self, meta: &SnapshotMeta) -> Result<SnapshotWriter<D>, SnapshotError> {
        SnapshotWriter::begin(self.clone(), meta)
    }

    /// Begins to receive the file of a peer's snapshot, which is `length` bytes long.
    ///
    /// # Errors
    /// [`SnapshotError::Io`], also if there is no space for it.
    pub fn receive(&self, slot: Slot, length: u64) -> Result<SnapshotReceiver<D>, SnapshotError> {
        SnapshotReceiver::begin(self.clone(), slot, length)
    }

    /// The disk that they are on.
    #[must_use]
    pub const fn disk(&self) -> &D {
        &self.disk
    }

    /// Removes every snapshot, durably; the log must not count on any of them.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn remove_all(&self) -> Result<(), SnapshotError> {
        for slot in self.slots()? {
            let file = name(slot);
            self.disk.remove(&file).doing("remove", &file)?;
        }
        self.disk.sync_directory().doing("sync", ".")?;
        Ok(())
    }

    /// Opens the snapshot of the slots below `slot`.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open(&self, slot: Slot) -> Result<SnapshotReader<D::File>, SnapshotError> {
        self.open_file(&name(slot))
    }

    /// The same, to be read for a peer part by part, which hardly delays the log.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open_for_peer(&self, slot: Slot) -> Result<SnapshotReader<D::File>, SnapshotError> {
        let name = name(slot);
        Self::reader(self.disk.open_for_parts(&name), &name)
    }

    /// Finds the newest snapshot of which every byte is in order.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] or [`SnapshotError::NewerVersion`]; damage is not an error here.
    pub fn newest(&self) -> Result<NewestSnapshot, SnapshotError> {
        self.newest_without(&[])
    }

    /// The same, but the snapshots of these slots count as damaged.
    pub(crate) fn newest_without(
        &self,
        distrusted: &[Slot],
    ) -> Result<NewestSnapshot, SnapshotError> {
        let mut newest = NewestSnapshot::default();
        for slot in self.slots()?.into_iter().rev() {
            let file = name(slot);
            match self.verify(&file) {
                Ok(meta) if meta.slot == slot && !distrusted.contains(&slot) => {
                    newest.snapshot = Some(meta);
                    break;
                }
                Ok(_) | Err(SnapshotError::Damaged { .. }) => newest.damaged.push(file),
                Err(error) => return Err(error),
            }
        }
        Ok(newest)
    }

    /// The slots of all snapshot files, ascending, damaged ones included.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn slots(&self) -> Result<Vec<Slot>, SnapshotError> {
        let names = self.disk.list().doing("list", ".")?;
        let mut slots: Vec<Slot> = names.iter().filter_map(|name| slot_in_name(name)).collect();
        slots.sort_unstable();
        Ok(slots)
    }

    fn open_file(&self, name: &str) -> Result<SnapshotReader<D::File>, SnapshotError> {
        Self::reader(self.disk.open(name), name)
    }

    fn reader(
        opened: io::Result<D::File>,
        name: &str,
    ) -> Result<SnapshotReader<D::File>, SnapshotError> {
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SnapshotError::Absent { file: name.to_owned() })
            }
            other => SnapshotReader::open(other.doing("open", name)?, name),
        }
    }

    /// Reads a file to its end.
    fn verify(&self, name: &str) -> Result<SnapshotMeta, SnapshotError> {
        let mut reader = self.open_file(name)?;
        if mutant!(SnapshotWithoutRename) {
            return Ok(reader.meta().clone());
        }
        while reader.next_chunk()?.is_some() {}
        Ok(reader.meta().clone())
    }

    /// Gives a complete, synced file its name, and drops what is no longer worth its space.
    ///
    /// It takes the place even of an undamaged file of the same name: that one may have come there
    /// by a rename whose sync failed, and a second sync of the same rename proves nothing. A peer
    /// that is being sent the old one finds a wrong checksum at worst, and asks anew.
    fn install(&self, temporary: &str, slot: Slot) -> Result<(), SnapshotError> {
        let name = name(slot);
        if mutant!(SnapshotWithoutRename) && temporary == name {
            return Ok(());
        }
        self.disk.rename(temporary, &name).doing("rename", temporary)?;
        self.disk.sync_directory().doing("sync", ".")?;
        let slots = self.slots()?;
        let excess = slots.len().saturating_sub(SNAPSHOTS_KEPT);
        for slot in &slots[..excess] {
            let name = self::name(*slot);
            match self.disk.remove(&name) {
                // Another thread was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.doing("remove", &name)?,
            }
        }
        Ok(())
    }
}

/// Why a snapshot cannot be written, read or received.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The disk failed. The snapshot is absent; the log is not affected.
    Io(IoError),
    /// The file is not what was written.
    Damaged {
        /// The file.
        file: String,
        /// Where it stops making sense, in bytes from its start.
        offset: u64,
    },
    /// A later version of the program wrote the file.
    NewerVersion {
        /// The file.
        file: String,
        /// Its format version.
        version: u32,
    },
    /// There is no such snapshot, any more or yet.
    Absent {
        /// The file that it would be in.
        file: String,
    },
    /// A received part does not follow the one before.
    OutOfOrder {
        /// The position of the part that is due.
        due: u64,
        /// The position of the part that came.
        came: u64,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Damaged { file, offset } => write!(f, "{file} is damaged at byte {offset}"),
            Self::NewerVersion { file, version } => write!(
                f,
                "{file} has format version {version}, this program knows up to {}: upgrade it",
                format::VERSION
            ),
            Self::Absent { file } => write!(f, "there is no {file}"),
            Self::OutOfOrder { due, came } => {
                write!(f, "snapshot part at byte {came} came, {due} is due")
            }
        }
    }
}

impl Error for SnapshotError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(&error.source),
            Self::Damaged { .. }
            | Self::NewerVersion { .. }
            | Self::Absent { .. }
            | Self::OutOfOrder { .. } => None,
        }
    }
}

impl From<IoError> for SnapshotError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

/// The file of the snapshot of the slots below `slot`.
fn name(slot: Slot) -> String {
    format!("snapshot-{:016x}.snap", slot.position())
}

/// The slot, if `file` is the name of a snapshot.
pub(crate) fn slot_in_name(file: &str) -> Option<Slot> {
    let digits = file.strip_prefix("snapshot-")?.strip_suffix(".snap")?;
    let slot = Slot::new(u64::from_str_radix(digits, 16).ok()?);
    (name(slot) == file).then_some(slot)
}
