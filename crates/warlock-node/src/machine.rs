//! Applies decided batches to the state machine, and gathers each reply for the worker that waits
//! for it.

use std::collections::VecDeque;

use warlock_paxos::{Batch, LogTime, Slot, Stamp};
use warlock_resp::{ReplyWriter, RequestSpans};
use warlock_store::Applier;
use warlock_store::entry::Entries;

use crate::host::Effect;
use crate::seam::{Answer, Call, Chunk, ConnectionId};

/// Replies of one batch that are handed to a worker at once, in bytes; a batch with more is
/// answered in several parts, so that offsets fit.
const REPLIES_BYTES: usize = 4 * 1024 * 1024;

/// Replies to one worker.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<(ConnectionId, u32)>,
}

impl Outbox {
    fn note_reply(&mut self, connection: ConnectionId, worker: usize, out: &mut Vec<Effect>) {
        let end = u32::try_from(self.bytes.len()).expect("replies are handed over in parts");
        self.ends.push((connection, end));
        if self.bytes.len() >= REPLIES_BYTES {
            self.hand_over(worker, out);
        }
    }

    fn hand_over(&mut self, worker: usize, out: &mut Vec<Effect>) {
        if !self.ends.is_empty() {
            let Self { bytes, ends } = std::mem::take(self);
            out.push(Effect::Answer { worker, answer: Answer::Replies { bytes, ends } });
        }
    }
}

/// The state machine and the clients of this node that wait for it.
#[derive(Debug)]
pub struct Machine {
    applier: Applier,
    log_time: LogTime,
    outboxes: Vec<Outbox>,
    /// Chunks on their way through the log, by ticket.
    pending: VecDeque<(u64, usize, Chunk)>,
    pending_bytes: usize,
    next_ticket: u64,
    spans: RequestSpans,
    unheard: Vec<u8>,
}

impl Machine {
    /// The state at `log_time`, for the clients of `workers` I/O workers.
    #[must_use]
    pub fn new(applier: Applier, log_time: LogTime, workers: usize) -> Self {
        Self {
            applier,
            log_time,
            outboxes: (0..workers).map(|_| Outbox::default()).collect(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            next_ticket: 1,
            spans: RequestSpans::default(),
            unheard: Vec::new(),
        }
    }

    /// The state machine, to take a snapshot of or to restore one to.
    pub const fn applier(&mut self) -> &mut Applier {
        &mut self.applier
    }

    /// Keeps who waits for the commands of `chunk`; gives the commands and the ticket to submit.
    #[must_use]
    pub fn admit(&mut self, mut chunk: Chunk) -> (u64, Vec<u8>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let entries = std::mem::take(&mut chunk.entries);
        self.pending_bytes += entries.len();
        self.pending.push_back((ticket, entries.len(), chunk));
        (ticket, entries)
    }

    /// Applies a decided batch (P5), answers the clients of this node, and counts the commands.
    /// `tickets` says which proposals of the batch, by index, were admitted here, in order.
    ///
    /// # Panics
    /// If a proposal of this node was applied before, or tickets are resolved out of order (P5).
    pub fn apply(
        &mut self,
        slot: Slot,
        batch: &Batch,
        tickets: &[(usize, u64)],
        out: &mut Vec<Effect>,
    ) -> u64 {
        let Stamp { log_time, seed } = batch.stamp();
        // A gap filled later may carry a later stamp than the recovered slots behind it.
        self.log_time = self.log_time.max(log_time);
        self.applier.begin_batch(slot.position(), self.log_time.micros(), seed);
        let mut tickets = tickets.iter().peekable();
        let mut commands = 0;
        for (index, proposal) in batch.proposals().into_iter().enumerate() {
            let chunk = tickets
                .next_if(|(waiting, _)| *waiting == index)
                .map(|&(_, ticket)| self.take_pending(ticket));
            let origin = proposal.origin;
            let fresh = self.applier.admit(
                origin.node.number(),
                origin.incarnation.bits(),
                origin.sequence,
            );
            assert!(fresh || chunk.is_none(), "P5: {origin} was applied twice");
            if fresh {
                commands += self.apply_commands(&proposal.commands, chunk.as_ref(), out);
            }
        }
        self.applier.end_batch();
        self.hand_over(out);
        commands
    }

    /// Answers every command of a chunk with the same error.
    ///
    /// # Panics
    /// If tickets are resolved out of order (P5).
    pub fn fail(&mut self, ticket: u64, error: &str, out: &mut Vec<Effect>) {
        let chunk = self.take_pending(ticket);
        let outbox = &mut self.outboxes[chunk.worker];
        for call in &chunk.calls {
            ReplyWriter::new(&mut outbox.bytes, call.protocol).error(error);
            outbox.note_reply(call.connection, chunk.worker, out);
        }
        self.hand_over(out);
    }

    /// Commands of this node that wait for the log, in bytes.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Log time of the newest batch applied.
    #[must_use]
    pub const fn log_time(&self) -> LogTime {
        self.log_time
    }

    /// Takes the log time of a snapshot that replaced the state.
    pub fn restored(&mut self, log_time: LogTime) {
        self.log_time = self.log_time.max(log_time);
    }

    fn apply_commands(
        &mut self,
        commands: &[u8],
        chunk: Option<&Chunk>,
        out: &mut Vec<Effect>,
    ) -> u64 {
        let mut count = 0;
        self.applier.look_ahead(commands, &mut self.spans);
        let mut entries = Entries::new(commands);
        let mut calls = chunk.map(|chunk| (chunk.worker, chunk.calls.iter()));
        while let Some(entry) = entries.next(&mut self.spans) {
            count += 1;
            let (db, request) = entry.expect("commands in the log were encoded by a front end");
            match calls.as_mut().and_then(|(worker, calls)| Some((*worker, calls.next()?))) {
                Some((worker, &Call { connection, protocol })) => {
                    let outbox = &mut self.outboxes[worker];
                    let mut reply = ReplyWriter::new(&mut outbox.bytes, protocol);
                    self.applier.apply(db, &request, &mut reply);
                    outbox.note_reply(connection, worker, out);
                }
                None => {
                    self.unheard.clear();
                    let protocol = warlock_resp::Protocol::Resp2;
                    let mut reply = ReplyWriter::new(&mut self.unheard, protocol);
                    self.applier.apply(db, &request, &mut reply);
                }
            }
        }
        count
    }

    /// Tickets are resolved in their order.
    fn take_pending(&mut self, ticket: u64) -> Chunk {
        let (front, bytes, chunk) = self.pending.pop_front().expect("every ticket has a chunk");
        assert!(front == ticket, "P5: ticket {ticket} resolved before {front}");
        self.pending_bytes -= bytes;
        chunk
    }

    fn hand_over(&mut self, out: &mut Vec<Effect>) {
        for (worker, outbox) in self.outboxes.iter_mut().enumerate() {
            outbox.hand_over(worker, out);
        }
    }
}
