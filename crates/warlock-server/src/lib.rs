//! The Warlock daemon: settings, role tasks, peers, front end, metrics.

mod clock;
mod core;
pub mod dev;
mod front;
mod http;
pub mod log;
mod metrics;
mod peer;
mod seam;
pub mod settings;
mod shutdown;
pub mod status;

pub use core::{RunError, run};
