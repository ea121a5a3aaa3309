//! Random exploration of clusters whose nodes come and go.
//!
//! `WARLOCK_SEEDS=100000 cargo test -p warlock-paxos --test it membership` looks further, and
//! `WARLOCK_SEED=17` repeats one run and prints its end, the last `WARLOCK_LINES` lines of it.

use crate::exploration::{explore, number};
use crate::support::cluster::Cluster;

const SEEDS: u64 = 100;

#[test]
fn agreement_leases_and_fates_hold_while_nodes_come_and_go() {
    let seeds = number("WARLOCK_SEEDS").unwrap_or(SEEDS);
    let (acknowledged, changes) = explore(seeds, Cluster::changing);
    assert!(acknowledged > 0 && changes > 0, "the weather was too bad to prove anything");
}
