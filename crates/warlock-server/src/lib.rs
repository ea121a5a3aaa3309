//! The Warlock daemon: settings, role tasks, peers, front end, metrics.

mod clock;
mod core;
pub mod dev;
mod front;
mod http;
pub mod log;
mod metrics;
mod peer;
mod priority;
mod service;
pub mod settings;
mod shutdown;

pub use core::{RunError, Start, run};
pub use peer::frame;
pub use warlock_node::status;
