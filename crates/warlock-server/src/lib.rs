//! The Warlock daemon: settings, role tasks, peers, front end, metrics.

mod metrics;
mod peer;
pub mod settings;
pub mod status;
