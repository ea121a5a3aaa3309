//! Load generator and side-by-side measurements.
//!
//! [`workload`] says what is sent, [`resp`] and [`etcd_load`] send it to the two kinds of server,
//! [`system`] starts those servers, [`pairs`] alternates between two of them, and `cases` holds
//! one module for each figure of the report. `benches/README.md` explains how to read it.

mod error;

pub mod cases;
pub mod client;
pub mod environment;
pub mod etcd_load;
pub mod pairs;
pub mod process;
pub mod reply;
pub mod report;
pub mod resp;
pub mod suite;
pub mod system;
pub mod trace;
pub mod workload;

pub use error::{Context, Error, Result};
