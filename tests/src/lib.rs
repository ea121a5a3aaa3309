//! Harness for tests with real processes: programs, clusters, networks, disks, clients.
//!
//! Nothing here knows how `warlockd` works inside. It starts the programs as a person would, does
//! to them what the world does (kills, pauses, cuts cables, fills disks), and asks over the public
//! protocol what became of it. Tests wait for conditions with [`eventually`] and never for time.
//!
//! A test owns the machine while it owns a [`Cluster`] or a [`DevCluster`]: clusters that run at
//! the same time would wait for each other's processors, and elections depend on those.

pub mod chaos;
mod client;
mod cluster;
mod dev;
mod disk;
mod history;
mod hold;
mod http;
mod machine;
mod manager;
mod network;
mod node;
mod operator;
mod process;
mod programs;
mod volume;
mod wait;

pub use client::{Client, Fate, Lost, text};
pub use cluster::{Builder, Cluster};
pub use dev::{DevCluster, Ready};
pub use disk::{Disk, Stalled};
pub use history::{Ledger, Register, Traffic};
pub use hold::HeldThread;
pub use http::{Page, get};
pub use machine::{Machine, run, run_ok};
pub use manager::ServiceManager;
pub use network::Network;
pub use node::Node;
pub use operator::{done, operate, refused};
pub use process::{Finished, Process};
pub use programs::{admin, clients_directory, use_programs, warlockd};
pub use volume::Volume;
pub use wait::{PATIENCE, eventually, within};
