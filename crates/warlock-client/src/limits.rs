//! What the client takes at most. Replies are bounded by
//! [`ReplyLimits`](warlock_resp::ReplyLimits).

/// Calls that wait for their turn to be written to one connection; more wait in their callers.
pub const QUEUED_CALLS_MAX: usize = 1024;

/// Bytes of encoded commands that wait for the socket before no further call is taken. One call
/// alone may be longer.
pub const OUTPUT_BYTES_SOFT_MAX: usize = 256 * 1024;

/// Bytes by which the buffer of replies grows when it is full.
pub const INPUT_BYTES_STEP: usize = 16 * 1024;
