//! Multi-Paxos as pure state machines: the roles of *Paxos Made Moderately Complex* (PMMC), one
//! batch of commands per slot, a master lease, and the codec of the messages between nodes.
//!
//! The crate has no clock, socket, file, thread or source of randomness, and does not link `std`:
//! every entry point is a function of state, `now` and input.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod batch;
mod codec;
mod ids;
mod message;
mod record;
mod time;

pub use batch::{Batch, MalformedBatch, Proposal, Stamp};
pub use codec::{DecodeError, MESSAGE_LENGTH_MAX, MESSAGE_VERSION, decode, encode};
pub use ids::{Ballot, Incarnation, NodeId, Origin, Slot, SlotRange, View};
pub use message::{
    Ack, Decision, HandOver, Heartbeat, Learn, Learned, Message, P1a, P1b, P2a, P2b, Propose,
    ReadIndex, ReadIndexed, Release, SnapshotChunk, SnapshotFetch, Standing,
};
pub use record::{PValue, Record};
pub use time::{Instant, LogTime, Span};
