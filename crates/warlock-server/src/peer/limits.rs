//! Every limit of the peer transport, and why that much.

use std::time::Duration;

use warlock_paxos::{MESSAGE_LENGTH_MAX, MESSAGE_VERSION, MESSAGE_VERSION_MIN};

/// Oldest protocol version that this build speaks.
pub(super) const VERSION_MIN: u16 = MESSAGE_VERSION_MIN as u16;

/// Newest protocol version that this build speaks; it is that of the encoding of messages.
pub(super) const VERSION_MAX: u16 = MESSAGE_VERSION as u16;

const _: () = assert!(VERSION_MIN <= VERSION_MAX);

/// Longest string of a handshake in bytes: host names have at most 253.
pub(super) const STRING_LENGTH_MAX: usize = 300;

/// Longest body of a handshake in bytes: a membership of the most nodes with the longest addresses
/// fits. All that a stranger can make this node hold.
pub(super) const HANDSHAKE_LENGTH_MAX: usize = 16 * 1024;

/// A handshake that takes longer is broken off; so is an attempt to connect.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(2);

/// A node that wants to join waits for the answer no longer: the member asked has to ask others.
pub(super) const JOIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A node that is no member any more has so long to learn it on the connections that it has.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// Most connections in the handshake at a time; one more ends the oldest of them, because a member
/// needs milliseconds for its handshake and a stranger may never finish.
pub(super) const STRANGERS_MAX: usize = 64;

/// Most frames that wait for one peer, in each of the two lanes.
pub(super) const QUEUE_FRAMES_MAX: usize = 8192;

/// Most bytes that wait for one peer in the bulk lane: any one message fits an empty lane.
pub(super) const QUEUE_BYTES_MAX: usize = 2 * MESSAGE_LENGTH_MAX;

/// With more bulk bytes waiting than this, urgent frames overtake: about 2 ms at 1 Gbit/s.
pub(super) const OVERTAKE_BYTES: usize = 256 * 1024;

/// Bytes and frames of one vectored write; an urgent frame waits for at most one such write.
pub(super) const WRITE_BYTES_MAX: usize = 1024 * 1024;
/// See [`WRITE_BYTES_MAX`].
pub(super) const WRITE_FRAMES_MAX: usize = 64;

/// A peer that takes no byte for so long although some wait is given up.
pub(super) const WRITE_STALL_MAX: Duration = Duration::from_secs(10);

/// Bytes that the peer's system does not acknowledge for so long end the connection: after a
/// partition a new one is made sooner than the old one would send again.
pub(super) const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);

/// The receive buffer of an idle connection in bytes; it grows with the frames that arrive.
pub(super) const READ_BUFFER_LENGTH: usize = 64 * 1024;

/// A receive buffer larger than this is given back once it is empty.
pub(super) const READ_BUFFER_KEPT_MAX: usize = 1024 * 1024;

/// First wait before dialling again.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(10);

/// Longest wait before dialling again.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(1);

/// An unreachable peer is noticed after this time even if nothing is sent to it.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(5);
