//! Whole Warlock clusters on one thread and in virtual time, everything drawn from one seed, and
//! the checkers that judge what happened.

pub mod check;
pub mod history;
pub mod links;
pub mod model;
pub mod mutants;

mod judge;
mod random;
pub mod report;
mod run;
mod world;

pub use run::{Options, Outcome, Scene, Verdict, run_seed};
pub use world::Counters;
