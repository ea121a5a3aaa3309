//! What the I/O workers of the front end and the core of a node say to each other, and the facts
//! that workers read without asking.
//!
//! A worker sends at most one [`Ask::Write`] and one [`Ask::Index`] per turn of its loop; the core
//! answers with at most one [`Answer`] of each kind per worker and batch. So wakes are paid per
//! batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use warlock_paxos::{Instant, LogTime, Span};
use warlock_resp::Protocol;

use crate::status::Status;

/// Names a client connection of one worker; never reused while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Who waits for the reply to one command of a [`Chunk`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The connection that sent the command.
    pub(crate) connection: ConnectionId,
    /// How the reply is to be encoded.
    pub(crate) protocol: Protocol,
}

/// Commands for the log that one worker parsed in one turn, of any number of connections.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Index of the worker that waits for the replies.
    pub(crate) worker: usize,
    /// Encoded with `warlock_store::entry`, in the order of `calls`.
    pub(crate) entries: Vec<u8>,
    /// One for each entry.
    pub(crate) calls: Vec<Call>,
}

/// What a worker asks of the core.
#[derive(Debug)]
pub(crate) enum Ask {
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
    /// Forget a [`Ask::Wait`] of this connection: it closed.
    Forget {
        /// Index of the asking worker.
        worker: usize,
        /// The connection that closed.
        connection: ConnectionId,
    },
}

/// What the core answers to a worker.
#[derive(Debug)]
pub(crate) enum Answer {
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
}

/// The queue of answers to one worker.
pub(crate) struct AnswerQueue {
    answers: Mutex<Vec<Answer>>,
    waker: mio::Waker,
}

impl AnswerQueue {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Self { answers: Mutex::new(Vec::new()), waker }
    }

    /// Queues `answer`, and wakes the worker if the queue was empty.
    pub(crate) fn push(&self, answer: Answer) {
        let mut answers = self.answers.lock();
        let was_empty = answers.is_empty();
        answers.push(answer);
        drop(answers);
        if was_empty {
            self.wake();
        }
    }

    /// Makes the worker look around: for new connections, or because the front end is stopping.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake an I/O worker");
        }
    }

    /// Moves all queued answers to `out`.
    pub(crate) fn drain_into(&self, out: &mut Vec<Answer>) {
        out.append(&mut self.answers.lock());
    }
}

/// The master lease as workers see it (L3).
///
/// The leader role stores the end of its lease here while its phase 1 is done and everything that
/// it recovered is applied, and zero otherwise; the comparison with the clock is made at each read.
#[derive(Debug, Default)]
pub(crate) struct LeaseCell {
    end: AtomicU64,
}

/// Proof that this node held the master lease when it was made; good for one read.
#[derive(Debug)]
pub(crate) struct LeaseHeld<'a> {
    _cell: &'a LeaseCell,
}

impl<'a> LeaseHeld<'a> {
    const fn assertion(cell: &'a LeaseCell) -> Self {
        Self { _cell: cell }
    }
}

impl LeaseCell {
    /// The only place where a lease proof is made: compares the clock with the end of the lease.
    pub(crate) fn held(&self) -> Option<LeaseHeld<'_>> {
        // The clock is read after the end: a lease that ran out in between is seen as run out.
        let end = self.end.load(Ordering::Acquire);
        (end != 0 && crate::clock::now().nanos() < end).then(|| LeaseHeld::assertion(self))
    }

    /// Publishes the end of the lease, or that there is none to serve reads under.
    pub(crate) fn publish(&self, end: Option<Instant>) {
        self.end.store(end.map_or(0, Instant::nanos), Ordering::Release);
    }
}

/// The log clock as workers see it: the last anchor, and how long ago that was.
#[derive(Debug, Default)]
pub(crate) struct LogClockCell {
    anchor: RwLock<Option<(LogTime, Instant)>>,
}

impl LogClockCell {
    /// The estimate of the log time now; `None` before this node has heard of any.
    pub(crate) fn now(&self) -> Option<LogTime> {
        let (time, at) = (*self.anchor.read())?;
        let elapsed: Span = crate::clock::now().since(at);
        Some(time.after(elapsed))
    }

    /// Moves the anchor.
    pub(crate) fn publish(&self, time: LogTime, at: Instant) {
        *self.anchor.write() = Some((time, at));
    }
}

/// Facts of this node that any thread may read.
pub(crate) struct Shared {
    /// Whether local reads are linearizable now.
    pub(crate) lease: LeaseCell,
    /// Estimate of the log time.
    pub(crate) log_clock: LogClockCell,
    /// State machine, for readers.
    pub(crate) store: warlock_store::Reader,
    /// What `status`, `INFO` and `ROLE` show; replaced by the core a few times per second.
    pub(crate) status: Mutex<Arc<Status>>,
    /// The node has recovered from disk; until then commands get `-LOADING`.
    pub(crate) recovered: AtomicBool,
    /// The node is stopping: no new connections, `/readyz` says no.
    pub(crate) stopping: AtomicBool,
    /// Commands answered by this node's front end since its start.
    pub(crate) commands_total: AtomicU64,
    /// Client connections accepted since the start.
    pub(crate) connections_total: AtomicU64,
    /// Client connections open now.
    pub(crate) connections: AtomicU64,
}
