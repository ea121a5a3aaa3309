//! One node between its roles, its disk, its state machine and its clients, as plain data in and
//! plain data out.
//!
//! The daemon gives it sockets, threads and clocks; the simulator gives it virtual ones. Both run
//! this very code, so what a simulated cluster proves holds for a real one. The crate never reads
//! a clock, draws a random number, opens a socket or starts a thread: time and entropy are inputs,
//! and what is to be done is returned.

pub mod front;
mod host;
pub mod limits;
mod machine;
mod newcomers;
pub mod operations;
mod overview;
mod recovery;
pub mod seam;
mod shared;
mod snapshots;
pub mod status;
mod transfers;

pub use host::{Effect, Fatal, Host, HostOptions, JoinReply, JoinWish, LogUse, TICK};
pub use machine::Machine;
pub use overview::{Overview, PeerFacts};
pub use recovery::{Recovery, RecoveryOptions, RoleStates};
pub use shared::{Counters, Freshness, LeaseCell, LeaseHeld, LogClockCell, Shared};
pub use snapshots::{SnapshotDesk, SnapshotEvent, SnapshotJob};
