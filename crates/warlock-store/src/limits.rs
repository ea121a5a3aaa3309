//! Every limit of the store in one place. Each is the largest value that is still accepted.

/// Databases, numbered from 0, as `SELECT` counts them.
pub const DATABASES: usize = 16;

/// Shards when nothing else is asked for: enough that readers rarely meet the applier, few enough
/// that locking all of them takes microseconds.
pub const SHARDS: usize = 1024;

/// Bytes of the longest string value, as in Redis.
pub const STRING_LENGTH_MAX: usize = 512 * 1024 * 1024;

/// Due keys that one batch removes. More of them wait for the next batch, unseen by anybody, so
/// that a million keys with the same deadline do not stop the log for a second.
pub const EXPIRED_PER_BATCH: usize = 1000;

/// Origins (node and incarnation) whose last sequence is remembered. A cluster has at most a
/// dozen nodes; each restart with an empty disk makes a new origin.
pub const ORIGINS_MAX: usize = 1024;

/// Bytes at which a chunk of a snapshot is full. A larger entry makes a larger chunk.
pub const SNAPSHOT_CHUNK_LENGTH: usize = 128 * 1024;

/// Bytes that a snapshot copies in one step, under the lock of their shard; a larger item alone is
/// more. The applier may have to wait for one step.
pub const SNAPSHOT_STEP_LENGTH: usize = 128 * 1024;

/// Keys of a segment, on average over a table, at which its segments are split: bounds what one
/// `SCAN` looks at per page, and what one step of a snapshot sorts.
pub const SEGMENT_KEYS: usize = 800;

const _: () = assert!(SHARDS.is_power_of_two());
const _: () = assert!(DATABASES <= u8::MAX as usize);
