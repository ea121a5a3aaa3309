//! What is acknowledged survives: crashes at every step, damage at every bit, failing disks.

mod crash;
mod damage;
mod failure;
mod format;
mod identity;
mod log;
mod model;
mod properties;
mod real_disk;
mod snapshot;
