//! Everything of a node that must survive power loss: the write-ahead log of acceptor and replica,
//! snapshots of the state machine, and the identity of the data directory.
//!
//! The crate never decides what to write, only when it is durable. It has no threads, no clocks and
//! no network; every call blocks, so the host calls it from threads of its own: one for the
//! [`Wal`], others for [`SnapshotWriter`] and [`SnapshotReceiver`].
//!
//! All access goes through the [`Disk`] trait: [`FsDisk`] is a real directory, [`FaultyDisk`] the
//! double in memory that loses power, tears and reorders writes, and fails on demand.
#![doc = include_str!("../FORMAT.md")]

mod block;
mod disk;
mod error;
mod faulty_disk;
mod frame;
mod freeing;
mod fs_disk;
mod identity;
pub mod limits;
mod log_reader;
mod mark;
mod past_cache;
mod recovered;
mod recovery;
mod segment;
mod snapshot;
mod views;
mod wal;
mod zeros;

pub use disk::{Disk, DiskFile};
pub use error::{IoError, WalError};
pub use faulty_disk::{DiskImage, Failure, FaultyDisk, FaultyFile, Outcome};
pub use freeing::Freed;
pub use fs_disk::{FsDisk, FsFile};
pub use identity::{Identity, IdentityError};
pub use log_reader::LogReader;
pub use recovered::{Note, Recovered, Tail};
pub use snapshot::{
    NewestSnapshot, SnapshotError, SnapshotMeta, SnapshotReader, SnapshotReceiver, SnapshotWriter,
    Snapshots,
};
pub use views::holds_membership;
pub use wal::{Wal, WalOptions, WalStats};
