//! What the tests of whole clusters share: disks that lose what is not synced, clocks that err,
//! a network that misbehaves, and checks after each event.

pub(crate) mod checker;
pub(crate) mod cluster;
pub(crate) mod disk;
pub(crate) mod random;
pub(crate) mod scene;

use warlock_paxos::{LogTime, NodeId};

/// Node `number`.
pub(crate) fn node(number: u16) -> NodeId {
    NodeId::new(number)
}

/// Where wall clocks of tests start, in microseconds since the Unix epoch.
pub(crate) const WALL_START: LogTime = LogTime::from_micros(1_000_000_000_000);
