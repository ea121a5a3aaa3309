//! Multi-Paxos as pure state machines: the roles of *Paxos Made Moderately Complex* (PMMC), one
//! batch of commands per slot, a master lease, and the codec of the messages between nodes.
//!
//! The crate has no clock, socket, file, thread or source of randomness, and does not link `std`:
//! every entry point is a function of state, `now` and input.
#![doc = include_str!("../PROTOCOL.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[doc(hidden)]
#[macro_use]
pub mod mutants;

mod acceptor;
mod batch;
mod catchup;
mod change;
mod codec;
mod commander;
mod display;
mod election;
mod ids;
pub mod invariants;
mod lead;
mod leader;
mod lease;
pub mod limits;
mod log_clock;
mod membership;
mod message;
mod node;
mod output;
mod random;
mod reads;
mod record;
mod replica;
mod route;
mod scout;
mod submissions;
mod time;
mod timing;

pub use acceptor::{Acceptor, AcceptorState};

pub use batch::{Batch, MalformedBatch, Proposal, Stamp};
pub use change::{Change, ChangeRequest, Refusal, Verdict};
pub use codec::{
    CHANGES_VERSION, DecodeError, MESSAGE_LENGTH_MAX, MESSAGE_VERSION, MESSAGE_VERSION_MIN, decode,
    decode_charter, encode, encode_charter, encode_in,
};
pub use commander::Commander;
pub use ids::{Ballot, Incarnation, NodeId, Origin, ReconfigurationSlot, Slot, SlotRange, View};
pub use leader::{Leader, LeaderState};
pub use membership::{Charter, MalformedMembership, Member, Membership, Seat, Tally};
pub use message::{
    Ack, Decision, Declined, HandOver, Heartbeat, InForce, Learn, Learned, Message, P1a, P1b, P2a,
    P2aView, P2b, P2bView, Propose, ReadIndex, ReadIndexed, Reconfiguration, Release,
    SnapshotChunk, SnapshotFetch, Standing,
};
pub use node::{Node, NodeEffect, NodeState};
pub use output::{Adopted, Event, Fate, Notice, Output, Reason, Tell};
pub use record::{PValue, Record};
pub use replica::{Replica, ReplicaState};
pub use route::{Input, RoleName, addressee, route_message};
pub use scout::Scout;
pub use time::{Instant, LogTime, Span};
pub use timing::{Timing, TimingError};
