//! Every bound of this crate, with the reason for its value.

/// Slots of its own that a master may have proposed beyond what is decided, exclusive.
///
/// A new master decides this many slots beyond the last one that it recovered before it leads on
/// its own; the proof that an old proposal can never be executed later rests on it (PROTOCOL.md,
/// "Fate").
pub const WINDOW_MAX: u64 = 8;

/// Slots in flight where a round trip costs no more than a sync: one syncing, one on its way.
pub const WINDOW_MIN: u64 = 2;

/// Commands in one batch, in bytes; a single larger proposal still makes a batch of its own.
///
/// Larger batches do not make a sync cheaper, but hold up what comes behind them.
pub const BATCH_BYTES: usize = 1024 * 1024;

/// Commands that wait in a leader's queue, in bytes; beyond it proposals are not taken and come
/// again.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Commands in flight, in bytes, from which on a master proposes no further slot.
///
/// What an acceptor has not heard to be decided goes into one `P1b`; with the largest request in
/// each of two such flights it stays below the longest message.
pub const IN_FLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Decided batches that a replica keeps in memory when no node that it hears from lacks them, in
/// bytes.
pub const LOG_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// Decided batches that a replica keeps in memory for nodes that lag, in bytes; a node that lags
/// further is told from the log on disk, or gets a snapshot.
pub const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Decided batches in one `Learned`, in bytes; a single larger batch is sent alone.
pub const LEARNED_BYTES: usize = 1024 * 1024;

/// Part of a snapshot in one message, in bytes.
pub const SNAPSHOT_CHUNK_BYTES: u64 = 256 * 1024;

/// Parts of a snapshot that were asked for and are not written yet, in bytes: enough that neither
/// disk nor network waits for the other, and all that a slow disk makes a node hold.
pub const SNAPSHOT_WINDOW_BYTES: u64 = 8 * SNAPSHOT_CHUNK_BYTES;

/// Submissions that wait for their fate on one node, in bytes; beyond it new ones are refused.
pub const SUBMISSIONS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Questions for a read index that a new master keeps until it serves reads; those beyond it are
/// refused, and asked again.
pub const READS_ASKED_MAX: usize = 4096;

/// Slots whose state digests are remembered for comparison.
pub const DIGESTS_KEPT: usize = 16;

/// Voters of one membership; more make every quorum slower and none safer.
pub const VOTERS_MAX: usize = 7;

/// Observers of one membership: the master sends every batch to each.
pub const OBSERVERS_MAX: usize = 16;

/// Address of a member, in bytes: the longest host name with a port.
pub const ADDRESS_BYTES_MAX: usize = 255 + 6;

/// Slots that an observer may lack of what is decided when it gets a vote (M6): what is in flight
/// under load, and no more than a commander sends again soon.
pub const PROMOTION_LAG_MAX: u64 = 2 * WINDOW_MAX;

const _: () = assert!(WINDOW_MIN <= WINDOW_MAX && WINDOW_MIN > 0);
const _: () = assert!(LEARNED_BYTES < crate::codec::MESSAGE_LENGTH_MAX);
const _: () = assert!(LOG_BYTES_KEPT <= LOG_BYTES_MAX);
