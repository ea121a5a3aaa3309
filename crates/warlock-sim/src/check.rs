//! What must hold, whatever the network, the disks, the clocks and the processes do: one checker a
//! file.
//!
//! Observers stand inside the simulator and are told each event; they cost a look-up or two:
//!
//! | checker | property | PROTOCOL.md |
//! |---|---|---|
//! | [`Agreement`] | every node decides the same batch for a slot | P3, P4 |
//! | [`Immutability`] | a node applies in order and never decides anew | P5, P6 |
//! | [`Ballots`] | ballots never fall, also across restarts | P1, P2, P3 |
//! | [`LeaseExclusion`] | at most one node may serve at a time | L1, L2, L3, L5 |
//! | [`Digests`] | equal slots, equal states | P5 |
//! | [`Liveness`] | after the faults the cluster serves and converges | election |

mod agreement;
mod ballots;
mod digests;
mod exclusion;
mod immutability;
mod liveness;
mod violation;

use warlock_paxos::Slot;

pub use agreement::Agreement;
pub use ballots::Ballots;
pub use digests::Digests;
pub use exclusion::LeaseExclusion;
pub use immutability::Immutability;
pub use liveness::{Liveness, LivenessBounds};
pub use violation::{Severity, Violation};

/// Where a table by slot keeps `slot`.
fn index_of(slot: Slot) -> usize {
    usize::try_from(slot.distance_from(Slot::FIRST)).expect("a simulated log fits in memory")
}
