//! Every state that a small world can reach, visited once, with the roles that ship.
//!
//! A world is three nodes, the packets under way between them, one time, and a budget of things
//! that may happen: elections, writes, reads, restarts, steps of time, hand-overs. In each state
//! everything happens that may happen, and after each step every property of
//! [`truth`](self) is checked: agreement, durability on a quorum, memory across restarts (P1, P2),
//! one master at a time (L1, L2, L5), reads that cover what was acknowledged (L3, L4), fates, and
//! what [`warlock_paxos::invariants`] and the assertions in the roles say.
//!
//! Covered, within the bounds of each [world](worlds::WORLDS):
//!
//! - any packet may arrive at any later moment, in any order, or never (it is just not delivered);
//! - what was written may become durable at any moment;
//! - a node may stand for election at any moment, whatever it sees: the rules that hold it back
//!   serve liveness, and no safety may rest on them;
//! - a node may die at any moment, with or without what it has written last;
//! - reads under the lease happen in every state.
//!
//! Not covered here, but by the random simulation: messages of one step to one node are lost and
//! delayed together (promises apart from the rest); the roles of one node hear each other in the
//! order of telling; all that was written is synced at once; time only stops where a lease, a
//! silence or (if timers run) a timer ends; snapshots; unreadable slots; more than three nodes.
//!
//! How the states stay few, without leaving out behaviour: a packet that changes nothing stays
//! under way, as a state with more packets under way can do all that a state with fewer can; an
//! answer to a scout that is gone is dropped, as nobody will take it; of equal packets one is kept.
//! What one node does depends on its own state, its input and the time only, so that it is computed
//! once and looked up in every other state of the world ([`nodes`](self)). A state is recognised by
//! 64 bits: among ten million states two different ones are taken for the same with a probability
//! of about one in 370,000.

mod bounds;
mod disk;
mod explore;
mod fingerprint;
mod host;
mod nodes;
mod truth;
mod world;
pub mod worlds;

pub use bounds::Bounds;
pub use explore::{Exploration, Violation, explore};
pub use worlds::explore_all;
