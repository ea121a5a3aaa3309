//! Every state that a small world can reach, visited once, with the roles that ship.
//!
//! A world is three nodes, the packets under way between them, one time, and a budget of things
//! that may happen: elections, writes, reads, restarts, steps of time, hand-overs, a change of the
//! membership. In each state everything happens that may happen, and after each step every property
//! is checked: agreement, one membership for each view (M1), durability on a quorum, memory across
//! restarts (P1, P2), one master at a time (L1, L2, L5), reads that cover what was acknowledged
//! (L3, L4), fates, and what [`warlock_paxos::invariants`] and the assertions in the roles say.
//!
//! Covered, within the bounds of each [world](worlds::WORLDS):
//!
//! - any packet may arrive at any later moment, in any order, or never (it is just not delivered);
//! - what was written may become durable at any moment;
//! - a node that has heard of no master may stand for election at any moment: the other rules that
//!   hold it back serve liveness, and no safety may rest on them;
//! - a node may die at any moment, with or without what it has written last;
//! - reads under the lease happen in every state.
//!
//! Not covered here, but by the random simulation: messages of one step to one node are lost and
//! delayed together, so that who accepts for a new master also grants its lease (promises go apart
//! from the rest); a packet arrives once, but in the world `copies`; the roles of one node hear
//! each other in the order of telling; all that was written is synced at once; time only stops
//! where a lease or a silence ends, and in the world `renewal` also where a timer of the first node
//! does; in all worlds but `election`, `change` and `transition` the first two nodes hear nothing
//! of each other, so that the third is in every quorum; snapshots; unreadable slots; more than
//! three nodes. Nor can three nodes show grants of different rounds being summed: the master's own
//! acceptor answers every round at once, and one more answer is a quorum.
//!
//! How the states stay few, without leaving out behaviour: a packet that changes nothing stays
//! under way, as a state with more packets under way can do all that a state with fewer can; an
//! answer to a scout that is gone is dropped, as nobody will take it; of equal packets one is kept.
//! What one node does depends on its own state, its input and the time only, so that it is computed
//! once and looked up in every other state of the world (`nodes`). A state is recognised by
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

pub use bounds::{Bounds, First};
pub use explore::{Exploration, Violation, explore};
pub use worlds::explore_all;
