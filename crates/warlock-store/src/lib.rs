//! The deterministic state machine behind the log: keys with values and deadlines.
//!
//! Every replica applies the same batches in the same order with one [`Applier`] and comes to the
//! same state; any number of [`Reader`]s look at it from other threads, and see each command
//! whole or not at all. The crate has no clock, no random source, no thread and no file: time and
//! seeds come with each batch, snapshots leave and enter as chunks of bytes.
//!
//! *Expiry.* A key with a deadline is absent, for everybody, from the moment that log time
//! reaches the deadline. Nothing else makes it expire: a reader whose own clock is past the
//! deadline gets [`ReadOutcome::Limbo`] and asks through the log.
//!
//! *Atomicity.* A command locks the shards of all its keys before it looks at any, in ascending
//! order. `KEYS`, `FLUSHDB` and `FLUSHALL` lock every shard; a page of `SCAN` keeps the shards it
//! went through locked to its end; `DBSIZE` reads a counter that a command changes once, before
//! it unlocks. So each of them is one point in time for every other.

mod accounts;
mod applier;
pub mod backend;
mod commands;
pub mod conformance;
pub mod entry;
mod foresight;
mod image;
mod item;
pub mod limits;
mod map;
mod number;
mod origins;
mod pattern;
mod reader;
mod restore;
mod shared;
mod snapshot;
mod table;
mod write;

pub use applier::{Applier, Options, Replaced, new};
pub use backend::{Backend, BackendReader};
pub use reader::{ReadOutcome, Reader};
pub use restore::{Restore, RestoreError, Restored};
pub use shared::Checkpoint;
pub use snapshot::{SNAPSHOT_VERSION, SnapshotStep, SnapshotStream};
pub use table::{
    ArgumentSpec, COMMANDS, Class, CommandId, CommandSpec, KeySpec, check, command_reply,
    help_reply, lookup,
};
