//! Every limit of the front end: what clients may make this node hold, and why that much.
//!
//! A limit is the largest value that is still accepted. Lengths are in bytes. The limits of a
//! single request are those of [`warlock_resp::limits`].

use warlock_paxos::{MESSAGE_LENGTH_MAX, Span};
use warlock_resp::RequestLimits;
use warlock_resp::limits::UNAUTHENTICATED_MEMORY;

/// What clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections, from 1. One more gets `-ERR max number of clients reached`.
    /// Lowered at start to what the limit of open files leaves.
    pub connections: usize,
    /// What one request of an authenticated connection may be.
    pub request: RequestLimits,
    /// Commands of one connection that have no reply yet, from 1. At the limit its socket is not
    /// read, so a longer pipeline waits in the kernel and then in the client.
    pub pipeline_depth: usize,
    /// Bytes of commands of one connection that have no reply yet, in bytes. Checked before a
    /// command is taken, so that a single one of any permitted length always fits.
    pub pipeline_bytes: usize,
    /// Bytes of commands of all connections that the log has not answered, in bytes. At the limit
    /// no socket is read, so that a slow disk or a lost quorum costs no more memory than this.
    pub in_flight_total: usize,
    /// Unsent replies of one connection, in bytes, from which on its socket is not read.
    /// High, because a client that sends its whole pipeline before it reads would otherwise wait
    /// for the node while the node waits for it.
    pub output_soft: usize,
    /// Unsent replies of one connection, in bytes, past which it is closed.
    pub output_hard: usize,
    /// Unsent replies of all connections, in bytes, past which [`Limits::output_crowded`] takes
    /// the place of [`Limits::output_soft`].
    pub output_total: usize,
    /// The stricter soft limit, in bytes, while clients that do not read hold much memory.
    pub output_crowded: usize,
    /// A connection at its soft limit that takes no byte for this long is closed.
    pub output_stall: Span,
    /// A connection that sends nothing for this long while it waits for no reply is closed;
    /// `None` (the default, as in Redis) never does.
    pub idle: Option<Span>,
    /// Longest client or library name, in bytes.
    pub name_length: usize,
    /// Reads of a connection in `READONLY` mode show a state no older than this.
    pub staleness: Span,
}

impl Limits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        connections: 10_000,
        request: RequestLimits::AUTHENTICATED,
        pipeline_depth: 16_384,
        pipeline_bytes: 64 * MIB,
        in_flight_total: 512 * MIB,
        output_soft: 64 * MIB,
        output_hard: 256 * MIB,
        output_total: 1024 * MIB,
        output_crowded: MIB,
        output_stall: Span::from_millis(60_000),
        idle: None,
        name_length: 256,
        staleness: Span::from_millis(500),
    };

    /// Unsent replies past which a connection is not read, in bytes.
    #[must_use]
    pub fn output_soft(&self, authenticated: bool, crowded: bool) -> usize {
        match (authenticated, crowded) {
            (false, _) => UNAUTHENTICATED_OUTPUT,
            (true, true) => self.output_crowded.min(self.output_soft),
            (true, false) => self.output_soft,
        }
    }

    /// What a request may be.
    #[must_use]
    pub fn request(&self, authenticated: bool) -> RequestLimits {
        if authenticated { self.request } else { RequestLimits::UNAUTHENTICATED }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Unsent replies of a connection that is not authenticated, in bytes: what is left of
/// [`UNAUTHENTICATED_MEMORY`] beside a request, less one reply.
pub const UNAUTHENTICATED_OUTPUT: usize =
    UNAUTHENTICATED_MEMORY - RequestLimits::UNAUTHENTICATED.request_length - 4 * 1024;

/// Capacity of an input or output buffer, in bytes, that an idle connection keeps.
pub const BUFFER_RETAINED: usize = 16 * 1024;

/// Length of a chunk, in bytes, from which it is sent before the turn ends. With the longest
/// request on top it stays within what a message between nodes may be.
pub const CHUNK_LENGTH: usize = 1024 * 1024;

/// Longest request that still fits into a message between nodes, in bytes, behind a chunk that
/// was about to be sent and with the heads of both.
pub const REQUEST_LENGTH_MAX: usize = MESSAGE_LENGTH_MAX - CHUNK_LENGTH - MIB;

/// Length of a chunk, in bytes, from which it does not wait for the answers to the chunk before:
/// it pays for a slot of its own.
pub const CHUNK_HELD_LENGTH: usize = 16 * 1024;

/// How long a chunk waits at most for the answers to the chunk before: longer than a round of a
/// local network with a fast disk, and short beside a slow disk or an election.
pub const CHUNK_HELD_MAX: Span = Span::from_millis(2);

/// Memory that is set aside for the next chunk at most, in bytes, judging by the last one.
pub const CHUNK_RESERVED: usize = 64 * 1024;

/// Reads of one connection that go through the log so that a write behind them need not wait for
/// their turn. A longer run of reads waits, because the log costs every node.
pub const READS_THROUGH_LOG: usize = 128;

/// Read tickets of one worker that are unanswered. Reads that arrive meanwhile share the next one.
pub const TICKETS_IN_FLIGHT: usize = 2;

const MIB: usize = 1024 * 1024;

const _: () = {
    let limits = Limits::DEFAULT;
    assert!(limits.output_crowded < limits.output_soft);
    assert!(limits.output_soft < limits.output_hard);
    assert!(limits.output_hard < limits.output_total);
    assert!(limits.request.request_length <= limits.pipeline_bytes);
    assert!(limits.pipeline_bytes <= limits.in_flight_total);
    assert!(limits.request.request_length <= REQUEST_LENGTH_MAX);
};
