//! The store as its users see it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]

mod expiry;
mod model;
mod oracle;
mod readers;
mod scans;
mod snapshots;
mod transcripts;

use warlock_store::{Applier, Options, Reader, conformance};

/// Few shards, so that keys meet in them, but more than one.
fn small() -> (Applier, Reader) {
    warlock_store::new(Options { hash_seed: 42, shards: 4 })
}

#[test]
fn the_memory_back_end_conforms() {
    conformance::check_all(small);
}

#[test]
fn the_memory_back_end_conforms_with_one_shard_and_with_many() {
    conformance::check_all(|| warlock_store::new(Options { hash_seed: 1, shards: 1 }));
    conformance::check_all(|| warlock_store::new(Options { hash_seed: 1, shards: 64 }));
}
