//! What the I/O workers of the front end and the core of a node say to each other.
//!
//! A worker sends at most one [`Ask::Write`] and one [`Ask::Index`] per turn of its loop; the core
//! answers with at most one [`Answer`] of each kind per worker and batch. So wakes are paid per
//! batch.

use warlock_paxos::Instant;
use warlock_resp::Protocol;

use crate::operations::Operation;

/// Names a client connection of one worker; never reused while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Who waits for the reply to one command of a [`Chunk`].
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The connection that sent the command.
    pub connection: ConnectionId,
    /// How the reply is to be encoded.
    pub protocol: Protocol,
}

/// Commands for the log that one worker parsed in one turn, of any number of connections.
#[derive(Debug)]
pub struct Chunk {
    /// Index of the worker that waits for the replies.
    pub worker: usize,
    /// Encoded with `warlock_store::entry`, in the order of `calls`.
    pub entries: Vec<u8>,
    /// One for each entry.
    pub calls: Vec<Call>,
}

/// What a worker asks of the core.
#[derive(Debug)]
pub enum Ask {
    /// Put these commands into the log, apply them, and answer each with its reply.
    Write(Chunk),
    /// Find a slot at which reads that the worker holds back are linearizable. The ticket is never
    /// used twice.
    Index {
        /// Index of the asking worker.
        worker: usize,
        /// Repeated in the answer.
        ticket: u64,
    },
    /// Say how many followers hold everything that this node has applied so far (`WAIT`).
    Wait {
        /// Index of the asking worker.
        worker: usize,
        /// The connection that waits.
        connection: ConnectionId,
        /// Answer as soon as this many hold it ...
        replicas: u64,
        /// ... or when this instant has passed; `None` waits for ever.
        deadline: Option<Instant>,
    },
    /// Do what an operator wants, and say what came of it.
    Operate {
        /// Index of the asking worker.
        worker: usize,
        /// The connection that waits.
        connection: ConnectionId,
        /// What to do.
        operation: Operation,
    },
    /// Forget a [`Ask::Wait`] or [`Ask::Operate`] of this connection: it closed.
    Forget {
        /// Index of the asking worker.
        worker: usize,
        /// The connection that closed.
        connection: ConnectionId,
    },
}

/// What the core answers to a worker.
#[derive(Debug)]
pub enum Answer {
    /// Replies to commands of [`Ask::Write`]; for one connection in the order of its commands.
    Replies {
        /// Encoded replies, one after the other.
        bytes: Vec<u8>,
        /// For each reply its connection and where it ends in `bytes`.
        ends: Vec<(ConnectionId, u32)>,
    },
    /// Answers [`Ask::Index`]. If `allowed`, the reads held back under the ticket may run now on
    /// the state that this node has applied; if not, they get `-CLUSTERDOWN`.
    Indexed {
        /// The ticket asked with.
        ticket: u64,
        /// Whether a master confirmed the read.
        allowed: bool,
    },
    /// Answers [`Ask::Wait`].
    Held {
        /// The connection that waits.
        connection: ConnectionId,
        /// How many followers hold it.
        replicas: u64,
    },
    /// Answers [`Ask::Operate`].
    Operated {
        /// The connection that waits.
        connection: ConnectionId,
        /// JSON that says what is done, or the error reply.
        outcome: Result<String, String>,
    },
}
