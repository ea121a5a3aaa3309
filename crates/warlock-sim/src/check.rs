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
//! | [`Accepts`] | what was accepted is there after a restart, or missed | P1, P6 |
//! | [`Readers`] | a quorum could read every slot for a new leader | P4, P6 |
//! | [`Watermarks`] | a leader calls decided only what its own ballot chose | P4, W1, Fate |
//! | [`Declines`] | a leader proposes nothing that it declined | Fate |
//! | [`LeaseExclusion`] | at most one node may serve at a time | L1, L2, L3, L5 |
//! | [`lease_cover`] | a quorum refuses others for as long as a master may serve | L1, L2 |
//! | [`Digests`] | equal slots, equal states | P5 |
//! | [`AcknowledgedSlots`] | readers and survivors hold every acknowledged write | L3, L4, P1 |
//! | [`SingleApplication`] | a proposal is executed at most once, a refused one never | W1 |
//! | [`Views`] | one membership a view, chosen by the one before; ids are never reused | M1, P7 |
//! | [`Held`] | a view ends when its voters hold all before it; newcomers caught up | M3, M6 |
//! | [`LowerViews`] | nobody acts in a view that it knows to be over, or is no part of | M4 |
//! | [`leaver_is_silent`], [`grants_outlast_views`] | leases and views | M5, L1 |
//! | [`Liveness`] | after the faults the cluster serves and converges | election |
//!
//! The others read a [`History`](crate::history::History) and know nothing of what is inside, so
//! that they judge real processes as well:
//!
//! | checker | property |
//! |---|---|
//! | [`durability()`] | what every node holds in the end is the last acknowledged write or later |
//! | [`single_application`] | counters and lists hold each acknowledged write once |
//! | [`reply_class()`] | what was refused never appears |
//! | [`time_to_live`] | no key vanishes early, none comes back |
//! | [`strict_serializability`] | all keys together do, judged by versions in O(n log n) |
//! | [`linearizability`] | each key behaves as if one operation came after the other |
//!
//! [`judge_history`] asks them all.

mod accepts;
mod agreement;
mod all;
mod ballots;
mod cover;
mod declines;
mod digests;
mod durability;
mod exclusion;
mod growing;
mod held;
mod immutability;
mod leavers;
mod linearizable;
mod liveness;
mod lower_views;
mod majority;
mod model;
#[cfg(test)]
mod oracle;
mod outlook;
mod prefixes;
mod readers;
mod reply_class;
#[cfg(test)]
mod script;
mod search;
mod single;
mod ttl;
mod versions;
mod views;
mod violation;
mod watermarks;

use warlock_paxos::Slot;

pub use accepts::Accepts;
pub use agreement::Agreement;
pub use all::{Judgement, Rules, judge_history};
pub use ballots::Ballots;
pub use cover::{Refusal, lease_cover};
pub use declines::Declines;
pub use digests::Digests;
pub use durability::{AcknowledgedSlots, durability};
pub use exclusion::LeaseExclusion;
pub use held::Held;
pub use immutability::Immutability;
pub use leavers::{grants_outlast_views, leaver_is_silent};
pub use linearizable::{Budget, Verdict, linearizability, linearizability_in_order};
pub use liveness::{Liveness, LivenessBounds};
pub use lower_views::LowerViews;
pub(crate) use majority::may_elect;
pub use readers::Readers;
pub use reply_class::reply_class;
pub use single::{SingleApplication, single_application};
pub use ttl::{TtlBound, time_to_live};
pub use versions::{Versions, strict_serializability};
pub use views::Views;
pub use violation::{Severity, Violation};
pub use watermarks::Watermarks;

/// Where a table by slot keeps `slot`.
fn index_of(slot: Slot) -> usize {
    usize::try_from(slot.distance_from(Slot::FIRST)).expect("a simulated log fits in memory")
}
