//! What one turn of a worker's loop gathers: the chunk for the log, and the reads without a lease.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use warlock_paxos::Instant;
use warlock_resp::{Protocol, Request, RequestSpans};
use warlock_store::entry;

use crate::operations::Operation;
use crate::seam::{Ask, Call, Chunk, ConnectionId};
use crate::shared::Shared;

use super::Front;
use super::limits::{
    CHUNK_HELD_LENGTH, CHUNK_HELD_MAX, CHUNK_LENGTH, CHUNK_RESERVED, TICKETS_IN_FLIGHT,
};

/// The worker's side of everything that is not a connection.
#[derive(Debug)]
pub struct Turn {
    /// What all workers share.
    pub front: Arc<Front>,
    /// The facts of the node.
    pub shared: Arc<Shared>,
    /// When the turn began.
    pub now: Instant,
    /// The node recovers: commands on data are refused.
    pub(super) loading: bool,
    /// Clients that do not read hold much memory: be strict.
    pub(super) crowded: bool,
    /// The front end stops: take no more commands.
    pub stopping: bool,
    /// For a held command; the spans of arriving commands belong to the worker.
    pub(super) held_spans: RequestSpans,
    worker: usize,
    /// What is to be asked of the core, in order.
    asks: Vec<Ask>,
    entries: Vec<u8>,
    calls: Vec<Call>,
    /// Connections whose reads wait for a ticket that has not been asked for.
    unasked: Vec<ConnectionId>,
    tickets: Vec<Ticket>,
    next_ticket: u64,
    /// Estimate of the log time in microseconds, from the first read of the turn on.
    log_time_us: Option<u64>,
    /// Bytes of commands in the log, and of those in this turn's chunk.
    in_flight: usize,
    /// Commands in the log that the core has not answered.
    unanswered: usize,
    /// When the last chunk left.
    sent: Instant,
    commands: u64,
    input: u64,
    output: u64,
}

/// A question to the core on which reads wait.
#[derive(Debug)]
struct Ticket {
    number: u64,
    asked: Instant,
    connections: Vec<ConnectionId>,
}

impl Turn {
    /// The first turn of the worker with index `worker`.
    #[must_use]
    pub fn new(worker: usize, front: Arc<Front>, shared: Arc<Shared>) -> Self {
        Self {
            now: front.now(),
            front,
            shared,
            loading: true,
            crowded: false,
            stopping: false,
            held_spans: RequestSpans::default(),
            worker,
            asks: Vec::new(),
            entries: Vec::new(),
            calls: Vec::new(),
            unasked: Vec::new(),
            tickets: Vec::new(),
            next_ticket: 1,
            log_time_us: None,
            in_flight: 0,
            unanswered: 0,
            sent: Instant::from_nanos(0),
            commands: 0,
            input: 0,
            output: 0,
        }
    }

    /// Starts a turn. `unsent` is the memory that unsent replies of this worker's connections
    /// hold, in bytes.
    pub fn begin(&mut self, unsent: usize) {
        self.now = self.front.now();
        self.log_time_us = None;
        self.loading = !self.shared.recovered.load(Ordering::Acquire);
        self.crowded = unsent > self.front.limits.output_total / self.front.workers;
    }

    /// Counts a command.
    pub(super) fn count_command(&mut self) {
        self.commands += 1;
    }

    /// Counts bytes received from clients.
    pub(super) fn count_input(&mut self, bytes: usize) {
        self.input += bytes as u64;
    }

    /// Counts bytes sent to clients.
    pub(super) fn count_output(&mut self, bytes: usize) {
        self.output += bytes as u64;
    }

    /// Puts a command into this turn's chunk and gives its length there, in bytes.
    pub(super) fn submit(
        &mut self,
        connection: ConnectionId,
        protocol: Protocol,
        database: u8,
        request: &Request<'_>,
    ) -> usize {
        let before = self.entries.len();
        entry::encode(database, request, &mut self.entries);
        self.calls.push(Call { connection, protocol });
        let length = self.entries.len() - before;
        self.in_flight += length;
        if self.entries.len() >= CHUNK_LENGTH {
            self.send_chunk();
        }
        length
    }

    /// Notes that commands of `bytes` in all were answered, or have nobody left to answer.
    pub(super) fn settle(&mut self, bytes: usize) {
        self.in_flight -= bytes;
    }

    /// Whether commands for the log have gathered that leave with this turn.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        !self.calls.is_empty() && self.held_until().is_none()
    }

    /// Notes that the core answered this many commands of [`Ask::Write`], whoever is left to hear
    /// it.
    ///
    /// # Panics
    /// If it answered more than it was asked.
    pub fn answered(&mut self, commands: usize) {
        assert!(self.unanswered >= commands, "a command was answered twice");
        self.unanswered -= commands;
    }

    /// Until when the commands that gathered wait for the answers to those before; `None` if they
    /// leave with this turn, or if there are none.
    ///
    /// A slot costs the same for one command as for a hundred, and the clients that wait for its
    /// answers send their next commands together. Commands that left in between would found a
    /// second group of clients that never meets the first, and each would pay for slots of its
    /// own. What waits is bounded in bytes and in time, so that pipelines still overlap, and slow
    /// disks too.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        let until = self.sent.after(CHUNK_HELD_MAX);
        let holds = !self.calls.is_empty()
            && self.unanswered > 0
            && self.entries.len() < CHUNK_HELD_LENGTH
            && self.now < until;
        holds.then_some(until)
    }

    /// Whether the log has more to do than it is allowed to hold for this worker.
    #[must_use]
    pub fn flooded(&self) -> bool {
        self.in_flight >= self.front.limits.in_flight_total / self.front.workers
    }

    /// The estimate of the log time by which reads of this turn see keys expire, in microseconds.
    ///
    /// Read once per turn. It only makes expiry prompt: a read never relies on it to be current,
    /// and a TTL is a lower bound.
    pub(super) fn log_time_us(&mut self) -> u64 {
        let shared = &self.shared;
        *self.log_time_us.get_or_insert_with(|| match shared.log_clock.at(self.front.now()) {
            Some(time) => time.micros(),
            None => shared.store.log_time_us(),
        })
    }

    /// Asks for a ticket for the reads of `connection` at the end of this turn, or later if
    /// enough tickets are unanswered.
    pub(super) fn want_ticket(&mut self, connection: ConnectionId) {
        self.unasked.push(connection);
    }

    /// Asks the core how many followers hold what is applied.
    pub(super) fn ask_wait(
        &mut self,
        connection: ConnectionId,
        replicas: u64,
        deadline: Option<Instant>,
    ) {
        self.front.blocked.fetch_add(1, Ordering::Relaxed);
        self.ask(Ask::Wait { worker: self.worker, connection, replicas, deadline });
    }

    /// Asks the core to do what an operator wants.
    pub(super) fn ask_operation(&mut self, connection: ConnectionId, operation: Operation) {
        self.front.blocked.fetch_add(1, Ordering::Relaxed);
        self.ask(Ask::Operate { worker: self.worker, connection, operation });
    }

    /// Notes that [`Self::ask_wait`] or [`Self::ask_operation`] was answered.
    pub(super) fn end_wait(&self) {
        self.front.blocked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes back [`Self::ask_wait`] or [`Self::ask_operation`].
    pub(super) fn forget_wait(&mut self, connection: ConnectionId) {
        self.end_wait();
        self.ask(Ask::Forget { worker: self.worker, connection });
    }

    /// The connections whose reads wait for `ticket`, which was answered; if they are `allowed`,
    /// the state is as fresh as the question.
    #[must_use]
    pub fn redeem(&mut self, ticket: u64, allowed: bool) -> Vec<ConnectionId> {
        let Some(index) = self.tickets.iter().position(|open| open.number == ticket) else {
            return Vec::new();
        };
        let Ticket { asked, connections, .. } = self.tickets.swap_remove(index);
        if allowed {
            self.shared.freshness.note(asked);
        }
        connections
    }

    /// Ends the gathering: asks for the chunk to be written, if there is one that is not held, and
    /// for a ticket, if reads need one. `cover` tells a connection that all its reads of now wait
    /// for this ticket, and answers whether there are any.
    pub fn finish(&mut self, cover: impl FnMut(ConnectionId, u64) -> bool) {
        if self.has_commands() {
            self.send_chunk();
        }
        self.send_ticket(cover);
        let totals = [
            (&self.shared.commands_total, &mut self.commands),
            (&self.front.input_total, &mut self.input),
            (&self.front.output_total, &mut self.output),
        ];
        for (total, counted) in totals {
            if *counted > 0 {
                total.fetch_add(mem::take(counted), Ordering::Relaxed);
            }
        }
    }

    /// What the core is to be asked, in order. To be taken after [`Self::finish`] and after a
    /// connection closed; may be taken earlier.
    pub fn take_asks(&mut self) -> impl Iterator<Item = Ask> {
        self.asks.drain(..)
    }

    fn send_chunk(&mut self) {
        // As large as the last ones: two allocations per turn, however many commands.
        let entries = Vec::with_capacity(self.entries.len().min(CHUNK_RESERVED));
        let calls = Vec::with_capacity(self.calls.len());
        let chunk = Chunk {
            worker: self.worker,
            entries: mem::replace(&mut self.entries, entries),
            calls: mem::replace(&mut self.calls, calls),
        };
        self.unanswered += chunk.calls.len();
        self.sent = self.now;
        self.ask(Ask::Write(chunk));
    }

    /// A ticket is always a new one: an answer to an earlier question may have been computed
    /// before the reads of now arrived, and says nothing about them (etcd #20418).
    fn send_ticket(&mut self, mut cover: impl FnMut(ConnectionId, u64) -> bool) {
        if self.unasked.is_empty() || self.tickets.len() >= TICKETS_IN_FLIGHT {
            return;
        }
        let number = self.next_ticket;
        let mut connections = mem::take(&mut self.unasked);
        connections.retain(|&connection| cover(connection, number));
        if connections.is_empty() {
            return;
        }
        self.next_ticket += 1;
        self.tickets.push(Ticket { number, asked: self.now, connections });
        self.ask(Ask::Index { worker: self.worker, ticket: number });
    }

    fn ask(&mut self, ask: Ask) {
        self.asks.push(ask);
    }
}
