//! Limits of the front end that concern sockets; those of clients are in
//! [`warlock_node::front::limits`].

/// Bytes that one read of a socket asks for. Long enough for a pipeline of a thousand small
/// commands, short enough that the buffer, which connections share, stays in the cache.
pub(super) const READ_LENGTH: usize = 64 * 1024;

/// Reads of one connection per turn of the loop; a connection that has more waits for its
/// neighbours.
pub(super) const READS_PER_TURN: usize = 4;

/// How often a worker looks for further commands before those that it has leave for the log. Each
/// look costs two system calls, and the next finds less.
pub(super) const GATHERINGS_MAX: usize = 4;

/// Open files that are not client connections: log, snapshots, peers, HTTP, runtime.
pub(super) const FILES_RESERVED: u64 = 128;
