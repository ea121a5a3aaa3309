//! What is acknowledged survives: crashes at every step, damage at every bit, failing disks.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests: a panic is a failure, and numbers are small"
)]

mod crash;
mod damage;
mod failure;
mod format;
mod identity;
mod log;
mod log_reader;
mod messages;
mod model;
mod properties;
mod real_disk;
mod snapshot;
mod views;
