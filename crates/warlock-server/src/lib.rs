//! The Warlock daemon: settings, role tasks, peers, front end, metrics.

mod clock;
mod front;
mod metrics;
mod peer;
mod seam;
pub mod settings;
pub mod status;
