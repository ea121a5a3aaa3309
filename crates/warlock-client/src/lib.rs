//! Client for Warlock: any node, honest outcomes, locks that expire.
//!
//! ```no_run
//! use std::time::Duration;
//! use warlock_client::{Client, Command, Lock, Options};
//!
//! # async fn example() -> Result<(), warlock_client::Error> {
//! let client = Client::new(Options::new(["10.0.0.1:6379", "10.0.0.2:6379"]));
//! client.call(&Command::new("SET").arg("k").arg("v")).await?;
//!
//! if let Some(lock) = Lock::acquire(&client, "jobs:nightly", Duration::from_secs(30)).await? {
//!     // Work for less than `lock.remaining()`, then:
//!     lock.release().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is a cheap handle: clone it and call it from many tasks, their commands share
//! one connection and wait for each other as little as the wire allows.
//!
//! # What an error says about the command
//!
//! | [`Error`] | the command |
//! |---|---|
//! | `Connect`, `Refused`, `Server`, `Usage` | was definitely not executed |
//! | `Unknown`, `Protocol` | may have been executed, or may still be |
//!
//! A command that was definitely not executed for want of a node or of a master is repeated on
//! the next node until its deadline. A command whose outcome is unknown is never repeated: only
//! the caller knows whether that is safe.

mod client;
mod clock;
mod command;
mod connection;
mod error;
pub mod limits;
mod link;
mod lock;
mod options;

pub use client::Client;
pub use command::Command;
pub use error::{ConnectFailure, Error};
pub use lock::Lock;
pub use options::Options;
pub use warlock_resp::Value;
