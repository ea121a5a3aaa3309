//! The Warlock daemon: settings, role tasks, peers, front end, metrics.

pub mod settings;
pub mod status;
