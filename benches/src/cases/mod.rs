//! The cases of the report, one module for each kind of figure.

pub mod allocations;
pub mod contests;
pub mod counters;
pub mod failover;
pub mod footprint;
pub mod membership;
pub mod snapshots;
