//! Whole Warlock clusters on one thread and in virtual time, everything drawn from one seed, and
//! the checkers that judge what happened.

pub mod check;
pub mod history;
