//! The order of one connection: commands come in, replies go out, and neither overtakes another.
//!
//! A command is in one of four places: answered, *in flight* (in the log), *held* (its turn has
//! not come), or not parsed yet. In flight come first, held after them. A connection that only
//! writes or, under a lease, only reads holds nothing: its commands pass straight through.

use std::mem;
use std::sync::Arc;

use warlock_paxos::{Span, mutant};
use warlock_resp::{ReplyWriter, Request, looks_like_http};
use warlock_store::{Class, CommandId, CommandSpec, ReadOutcome};

use crate::operations::Operation;
use crate::seam::ConnectionId;
use crate::shared::{LeaseHeld, Shared};

use super::Front;
use super::held::{Held, HeldKind};
use super::limits::READS_THROUGH_LOG;
use super::output::Output;
use super::registry::Client;
use super::session::{self, After, ReadLevel, Session};
use super::turn::Turn;

/// Commands and replies of one connection.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) session: Session,
    pub(super) output: Output,
    id: ConnectionId,
    in_flight: usize,
    /// Bytes of commands since the last time that none was in flight.
    in_flight_bytes: usize,
    /// Only connections that mix reads and writes, or read without a lease, have one.
    held: Option<Box<Held>>,
    right: Right,
    waiting: Waiting,
    /// What is wrong with the bytes of the client: the last reply, when its turn comes.
    fault: Option<String>,
    /// No more commands: close when all replies are out.
    closing: bool,
}

/// What the first held commands wait for, if they are reads without a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// Nothing was asked.
    None,
    /// A ticket is to be asked for.
    Wanted,
    /// The ticket was asked for, when this many held commands stood before any write.
    Asked { ticket: u64, covered: usize },
    /// The ticket was answered for the first `covered` held commands.
    Answered { covered: usize, allowed: bool },
}

/// Whether the core knows of the first held command: a `WAIT`, or an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    No,
    /// It ends by itself.
    Until,
    /// It has no deadline.
    ForEver,
}

/// Why a read of local state is linearizable.
enum Proof<'a> {
    /// This node held the master lease a moment ago.
    Lease(#[expect(dead_code, reason = "the token is the proof")] LeaseHeld<'a>),
    /// A master confirmed it after the read had arrived.
    Ticket,
}

/// Why a read may see local state.
enum Reason<'a> {
    /// It is linearizable.
    Proven(#[expect(dead_code, reason = "the token is the proof")] Proof<'a>),
    /// The client asked for no more than this.
    Waived,
}

/// Whether a read may run on local state.
enum Permission<'a> {
    Granted(Reason<'a>),
    /// Not now, or not at all.
    Withheld,
}

/// The only place that lets a read see local state (L3).
fn permit<'a>(right: Right, level: ReadLevel, front: &Front, shared: &'a Shared) -> Permission<'a> {
    let bound = front.limits.staleness;
    match right {
        Right::Answered { allowed: true, .. } => Permission::Granted(Reason::Proven(Proof::Ticket)),
        Right::None => match shared.lease.held(|| front.now()) {
            Some(lease) => Permission::Granted(Reason::Proven(Proof::Lease(lease))),
            None => match level {
                ReadLevel::Any => Permission::Granted(Reason::Waived),
                ReadLevel::Bounded if shared.freshness.within(bound, || front.now()) => {
                    Permission::Granted(Reason::Waived)
                }
                ReadLevel::Bounded | ReadLevel::Linearizable => Permission::Withheld,
            },
        },
        Right::Wanted | Right::Asked { .. } | Right::Answered { allowed: false, .. } => {
            Permission::Withheld
        }
    }
}

/// What became of a command whose turn may have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It was answered or sent to the log.
    Done,
    /// It was answered, and no other will be.
    Last,
    /// Its turn has not come.
    Blocked,
}

/// Who is to run a command.
#[derive(Clone, Copy)]
enum Kind {
    Write,
    Read,
    /// `WARLOCK READY`: a read that needs no store.
    Ready,
    Wait,
    /// A `WARLOCK` that only the core can answer.
    Operate,
    Local,
}

impl Kind {
    fn of(spec: &CommandSpec, request: Request<'_>) -> Self {
        match (spec.class, spec.id) {
            (Class::Write, _) => Self::Write,
            (Class::Read, _) => Self::Read,
            (Class::Connection, CommandId::Wait) => Self::Wait,
            (Class::Connection, CommandId::Warlock) if is_ready(request) => Self::Ready,
            (Class::Connection, CommandId::Warlock) if Operation::parse(request).is_some() => {
                Self::Operate
            }
            (Class::Connection, _) => Self::Local,
        }
    }

    fn when_held(self) -> HeldKind {
        match self {
            Self::Write | Self::Wait => HeldKind::Barrier,
            Self::Read => HeldKind::Read,
            Self::Ready | Self::Operate | Self::Local => HeldKind::Local,
        }
    }
}

impl Flow {
    pub(super) fn new(id: ConnectionId, client: Arc<Client>) -> Self {
        Self {
            session: Session::new(client),
            output: Output::default(),
            id,
            in_flight: 0,
            in_flight_bytes: 0,
            held: None,
            right: Right::None,
            waiting: Waiting::No,
            fault: None,
            closing: false,
        }
    }

    /// Takes the next command of the client.
    pub(super) fn accept(&mut self, request: Request<'_>, inline: bool, turn: &mut Turn) {
        turn.count_command();
        if looks_like_http(request.name()) || (inline && is_http_line(request)) {
            tracing::warn!(
                client = self.session.client.id(),
                "closing a connection that speaks HTTP: possibly a browser that was tricked"
            );
            self.forget_held();
            return self.close();
        }
        if self.held_len() == 0 {
            match self.step(request, turn) {
                Step::Done => {}
                Step::Last => self.close(),
                Step::Blocked => {
                    let kind = self.kind_when_held(request, turn);
                    self.hold(request, kind);
                }
            }
            return;
        }
        let kind = self.kind_when_held(request, turn);
        if kind == HeldKind::Barrier && self.held_may_pass() && is_write(request) {
            // Reads that wait, and then a write: all of them through the log, in order, cost one
            // round. Otherwise a pipeline of pairs would cost a round for each pair.
            self.submit_held(turn);
            self.submit(request, turn);
            return;
        }
        self.hold(request, kind);
    }

    /// Notes that the bytes of the client are no request: says so when it is their turn.
    pub(super) fn fail(&mut self, text: String) {
        self.fault = Some(text);
        self.settle();
    }

    /// Takes the reply to the first command in flight.
    ///
    /// # Panics
    /// If no command is in flight: the core answers each command once.
    pub(super) fn on_reply(&mut self, bytes: &[u8], turn: &mut Turn) {
        assert!(self.in_flight > 0, "a reply to a command that was not sent to the log");
        self.in_flight -= 1;
        if self.in_flight == 0 {
            turn.settle(mem::take(&mut self.in_flight_bytes));
        }
        self.output.buffer().extend_from_slice(bytes);
    }

    /// Takes the answer to `ticket`.
    pub(super) fn on_indexed(&mut self, ticket: u64, allowed: bool, turn: &mut Turn) {
        if let Right::Asked { ticket: asked, covered } = self.right
            && asked == ticket
        {
            let covered = match (mutant!(LaterReadsAbsorbed), &self.held) {
                (true, Some(held)) => held.before_barrier(),
                _ => covered,
            };
            self.right = Right::Answered { covered, allowed };
            self.advance(turn);
        }
    }

    /// Takes the answer to `WAIT`.
    pub(super) fn on_held(&mut self, replicas: u64, turn: &mut Turn) {
        let replicas = i64::try_from(replicas).unwrap_or(i64::MAX);
        self.end_waiting(turn, |reply| reply.integer(replicas));
    }

    /// Takes the answer to an operation.
    pub(super) fn on_operated(&mut self, outcome: Result<String, String>, turn: &mut Turn) {
        self.end_waiting(turn, |reply| match outcome {
            Ok(text) => reply.bulk(text.as_bytes()),
            Err(text) => reply.error(&text),
        });
    }

    /// Answers the first held command, if the core still knows of it.
    fn end_waiting(&mut self, turn: &mut Turn, answer: impl FnOnce(&mut ReplyWriter<'_>)) {
        if mem::replace(&mut self.waiting, Waiting::No) != Waiting::No {
            turn.end_wait();
            answer(&mut self.reply());
            if let Some(held) = &mut self.held {
                held.pop();
            }
            self.advance(turn);
        }
    }

    /// Tells that `ticket` is about to be asked for; answers whether a read here waits for it.
    pub(super) fn cover(&mut self, ticket: u64) -> bool {
        if self.right != Right::Wanted {
            return false;
        }
        let covered = self.held.as_ref().map_or(0, |held| held.before_barrier());
        assert!(covered > 0, "a ticket is wanted for no read");
        self.right = Right::Asked { ticket, covered };
        true
    }

    /// Runs the held commands whose turn has come.
    pub(super) fn advance(&mut self, turn: &mut Turn) {
        let Some(mut held) = self.held.take() else { return self.settle() };
        let mut spans = mem::take(&mut turn.held_spans);
        while let Some(request) = held.first(&mut spans) {
            match self.step(request, turn) {
                Step::Done => {
                    held.pop();
                    self.spend_right();
                }
                Step::Last => {
                    // What came behind it is not run, so what was wrong there is not told either.
                    held.clear();
                    self.fault = None;
                    self.close();
                }
                Step::Blocked => break,
            }
        }
        if held.len() == 0 {
            self.right = Right::None;
        }
        turn.held_spans = spans;
        self.held = Some(held);
        self.settle();
    }

    /// Drops commands that wait for their turn.
    fn forget_held(&mut self) {
        if let Some(held) = &mut self.held {
            held.clear();
        }
        self.right = Right::None;
    }

    /// Stops taking commands; what was taken is still answered.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Ends the connection: whatever was asked for it is for nobody.
    pub(super) fn abandon(&mut self, turn: &mut Turn) {
        if self.waiting != Waiting::No {
            turn.forget_wait(self.id);
        }
        turn.settle(mem::take(&mut self.in_flight_bytes));
    }

    /// Whether the next command must not be parsed now.
    pub(super) fn blocked(&self, turn: &Turn) -> bool {
        let limits = &turn.front.limits;
        self.closing
            || self.fault.is_some()
            || turn.stopping
            || turn.flooded()
            || self.unanswered() >= limits.pipeline_depth
            || self.in_flight_bytes + self.held_bytes() >= limits.pipeline_bytes
            || self.over_soft_limit(turn)
    }

    /// Whether unsent replies are the reason to read no further.
    pub(super) fn over_soft_limit(&self, turn: &Turn) -> bool {
        let soft = turn.front.limits.output_soft(self.session.authenticated, turn.crowded);
        self.output.pending() >= soft && !mutant!(OutputUnbounded)
    }

    /// Whether no reply is owed or unsent.
    pub(super) fn is_quiet(&self) -> bool {
        self.unanswered() == 0 && self.fault.is_none() && self.output.pending() == 0
    }

    /// Whether the last reply is out and no other will follow.
    pub(super) fn is_finished(&self) -> bool {
        self.closing && self.is_quiet()
    }

    /// Whether a `WAIT` is asked of the core.
    pub(super) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Commands without a reply.
    pub(super) fn unanswered(&self) -> usize {
        self.in_flight + self.held_len()
    }

    /// Runs a command, if its turn has come.
    fn step(&mut self, request: Request<'_>, turn: &mut Turn) -> Step {
        let spec = match session::check(&self.session, request, turn.loading) {
            Ok(spec) => spec,
            Err(text) if self.in_flight == 0 => {
                self.reply().error(&text);
                return Step::Done;
            }
            Err(_) => return Step::Blocked,
        };
        match Kind::of(spec, request) {
            Kind::Write => {
                self.session.note(spec, request);
                self.submit(request, turn);
                Step::Done
            }
            _ if self.in_flight > 0 && !mutant!(RepliesOutOfOrder) => Step::Blocked,
            Kind::Read => self.read(spec, request, turn),
            Kind::Ready => self.ready(turn),
            Kind::Wait => self.wait(request, turn),
            Kind::Operate => self.operate(request, turn),
            Kind::Local => {
                self.session.note(spec, request);
                match session::run(&mut self.session, turn, spec, request, &mut self.output) {
                    After::Continue => Step::Done,
                    After::Close => Step::Last,
                }
            }
        }
    }

    fn submit(&mut self, request: Request<'_>, turn: &mut Turn) {
        let Session { protocol, database, .. } = self.session;
        self.in_flight_bytes += turn.submit(self.id, protocol, database, &request);
        self.in_flight += 1;
        // A read behind this command has to see it: an earlier answer proves nothing for it.
        self.right = Right::None;
    }

    /// Sends all held commands, which are reads, to the log.
    fn submit_held(&mut self, turn: &mut Turn) {
        let Some(mut held) = self.held.take() else { return };
        let mut spans = mem::take(&mut turn.held_spans);
        while let Some(request) = held.first(&mut spans) {
            self.submit(request, turn);
            held.pop();
        }
        turn.held_spans = spans;
        self.held = Some(held);
    }

    fn read(&mut self, spec: &'static CommandSpec, request: Request<'_>, turn: &mut Turn) -> Step {
        let now_us = turn.log_time_us();
        let level = self.session.reads;
        let permission = permit(self.right, level, &turn.front, &turn.shared);
        let Permission::Granted(reason) = permission else {
            return self.read_later(turn);
        };
        self.session.note(spec, request);
        match self.read_local(reason, request, now_us, &turn.shared) {
            ReadOutcome::Done => {}
            // The key has expired by the clock and not yet in the log: only the log may say so.
            ReadOutcome::Limbo => self.submit(request, turn),
        }
        Step::Done
    }

    /// Reads the state that this node has applied.
    fn read_local(
        &mut self,
        _reason: Reason<'_>,
        request: Request<'_>,
        now_us: u64,
        shared: &Shared,
    ) -> ReadOutcome {
        let database = self.session.database;
        shared.store.read(database, &request, now_us, &mut self.reply())
    }

    /// Answers `WARLOCK READY`.
    fn ready(&mut self, turn: &mut Turn) -> Step {
        if turn.loading {
            self.reply().error(session::LOADING);
            return Step::Done;
        }
        let level = ReadLevel::Linearizable;
        let permission = permit(self.right, level, &turn.front, &turn.shared);
        let Permission::Granted(_) = permission else {
            return self.read_later(turn);
        };
        self.reply().simple("OK");
        Step::Done
    }

    /// Refuses a read that nobody could confirm, or waits for somebody who does.
    fn read_later(&mut self, turn: &mut Turn) -> Step {
        match self.right {
            Right::Answered { .. } => {
                self.reply().error(NO_MASTER);
                return Step::Done;
            }
            Right::None => {
                self.right = Right::Wanted;
                turn.want_ticket(self.id);
            }
            Right::Wanted | Right::Asked { .. } => {}
        }
        Step::Blocked
    }

    fn wait(&mut self, request: Request<'_>, turn: &mut Turn) -> Step {
        if self.waiting != Waiting::No {
            return Step::Blocked;
        }
        match session::parse_wait(request) {
            Ok((replicas, timeout)) => {
                let deadline = (timeout > Span::ZERO).then(|| turn.now.after(timeout));
                turn.ask_wait(self.id, replicas, deadline);
                self.waiting = if deadline.is_some() { Waiting::Until } else { Waiting::ForEver };
                Step::Blocked
            }
            Err(text) => {
                self.reply().error(text);
                Step::Done
            }
        }
    }

    /// Answers a `WARLOCK` that changes the cluster, or asks the core to.
    fn operate(&mut self, request: Request<'_>, turn: &mut Turn) -> Step {
        if self.waiting != Waiting::No {
            return Step::Blocked;
        }
        match Operation::parse(request) {
            Some(Ok(operation)) => {
                turn.ask_operation(self.id, operation);
                self.waiting = Waiting::Until;
                Step::Blocked
            }
            Some(Err(text)) => {
                self.reply().error(&text);
                Step::Done
            }
            None => Step::Done,
        }
    }

    fn hold(&mut self, request: Request<'_>, kind: HeldKind) {
        self.held.get_or_insert_default().push(request, kind);
    }

    /// What the commands behind `request` have to know of it.
    fn kind_when_held(&self, request: Request<'_>, turn: &Turn) -> HeldKind {
        match session::check(&self.session, request, turn.loading) {
            Ok(spec) => Kind::of(spec, request).when_held(),
            Err(_) => HeldKind::Local,
        }
    }

    /// Whether all held commands may go through the log.
    fn held_may_pass(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.only_reads() && held.len() <= READS_THROUGH_LOG)
    }

    /// One of the commands that a ticket was answered for has run.
    fn spend_right(&mut self) {
        if let Right::Answered { covered, allowed } = self.right {
            self.right = match covered.saturating_sub(1) {
                0 => Right::None,
                covered => Right::Answered { covered, allowed },
            };
        }
    }

    /// Says what is wrong with the client's bytes, once everything before is answered.
    fn settle(&mut self) {
        if self.unanswered() == 0
            && let Some(text) = self.fault.take()
        {
            self.reply().error(&text);
            self.close();
        }
    }

    fn reply(&mut self) -> ReplyWriter<'_> {
        ReplyWriter::new(self.output.buffer(), self.session.protocol)
    }

    fn held_len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }

    /// Bytes of commands that wait for their turn.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes())
    }
}

fn is_write(request: Request<'_>) -> bool {
    warlock_store::lookup(request.name()).is_some_and(|spec| spec.class == Class::Write)
}

fn is_ready(request: Request<'_>) -> bool {
    request.arg(1).is_some_and(|word| word.eq_ignore_ascii_case(b"READY"))
}

/// Whether an inline request is the first line of an HTTP request.
fn is_http_line(request: Request<'_>) -> bool {
    request.arg(2).is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// The reply to a read that nobody could confirm. Clients retry it by themselves: nothing ran.
const NO_MASTER: &str = "CLUSTERDOWN no master with a quorum can be reached";
