//! What must hold, whatever the network, the disks, the clocks and the processes do: one checker a
//! file.
//!
//! Observers stand inside the simulator and are told each event; they cost a look-up or two:
//!
//! | checker | property | PROTOCOL.md |
//! |---|---|---|
//! | [`Agreement`] | every node decides the same batch for a slot | P3, P4 |
//!
//! The others read a [`History`](crate::history::History) and know nothing of what is inside, so
//! that they judge real processes as well.

mod agreement;
mod violation;

pub use agreement::Agreement;
pub use violation::{Severity, Violation};
