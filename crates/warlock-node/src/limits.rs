//! Every bound of what a node keeps for others, with the reason for its value. The limits of its
//! clients are in [`front::limits`](crate::front::limits).

use warlock_paxos::Span;

/// Peers that are sent a snapshot at a time. More would only share the same disk, and each holds
/// an open file; who comes too many asks another node, or later.
pub const SNAPSHOT_STREAMS_MAX: usize = 2;

/// A transfer that nobody goes on with for so long is forgotten: a connection that broke is back
/// sooner, and a node that restarts begins anew.
pub const SNAPSHOT_STREAM_IDLE: Span = Span::from_millis(10_000);

/// A peer that is being sent a snapshot and has asked for nothing for so long takes no room any
/// more: it is gone, or has all of it.
pub const SNAPSHOT_STREAM_PAUSE: Span = Span::from_millis(1_000);

/// What came of a snapshot is thrown away if nothing more comes of it for so long: somebody else
/// had what was missing.
pub const SNAPSHOT_RECEIVING_IDLE: Span = Span::from_millis(60_000);

/// How long a new node waits for ones with lower ids that may have been started with it, and for
/// ones that asked and may ask again. Nodes ask ten times as often.
pub const NEWCOMER_PATIENCE: Span = Span::from_millis(1_000);

/// New nodes that are remembered to have asked; a cluster has room for fewer.
pub const NEWCOMERS_MAX: usize = 32;

/// How much more log may be kept than would make a snapshot due, while a node that answers needs
/// it: beyond this the log is dropped, and the node gets a newer snapshot.
pub const LOG_KEPT_FACTOR: u64 = 4;
