//! The client against nodes that misbehave on purpose, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod failures;
mod locks;
mod node;
