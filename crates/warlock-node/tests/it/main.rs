//! One whole node on a disk that can lose power: what its client was told must still be true.

mod cuts;
mod desk;
mod durable;
mod operations;
mod reset;
mod rig;
mod transfer;
