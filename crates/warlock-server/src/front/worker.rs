//! The event loop of one I/O worker.
//!
//! A turn: answers of the core, new connections, ready sockets; then every connection with replies
//! gets one `write`; then, if there are commands for the log, those that come meanwhile; then the
//! chunk and the ticket of all of them leave.

use std::io::{self, ErrorKind};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::mpsc::UnboundedSender;
use warlock_node::front::{Connection, Turn};
use warlock_node::seam::{Answer, Ask, ConnectionId};
use warlock_paxos::{Instant, Span};
use warlock_resp::RequestSpans;

use super::Halt;
use super::accept::Inbox;
use super::answers::AnswerQueue;
use super::limits::{GATHERINGS_MAX, READ_LENGTH};
use super::socket::{Served, Socket};

const WAKE: Token = Token(usize::MAX);

/// How often connections are looked at for being idle or stalled, while any can be.
const SWEEP: Span = Span::from_millis(1000);

/// Bits of a [`ConnectionId`] that say where the connection is; the others count connections.
const PLACE_BITS: u32 = 24;

/// One I/O worker.
pub(super) struct Worker {
    poll: Poll,
    inbox: Arc<Inbox>,
    halt: Arc<Halt>,
    asks: UnboundedSender<Ask>,
    sockets: Vec<Option<Box<Socket>>>,
    /// Free places in `sockets`.
    free: Vec<usize>,
    turn: Turn,
    /// Places of connections to serve in this turn or, at its end, in the next.
    ready: Vec<usize>,
    /// The list of connections that is being served; kept for its memory.
    serving: Vec<usize>,
    /// The log had too much to do: connections may have stalled for that reason alone.
    was_flooded: bool,
    /// Places of connections to flush at the end of this turn.
    dirty: Vec<usize>,
    answers: Vec<Answer>,
    scratch: Vec<u8>,
    spans: RequestSpans,
    /// Bytes that all connections have not sent.
    unsent: usize,
    /// When to look for stalled and idle connections, if there can be any.
    next_sweep: Option<Instant>,
    /// The core or the accepting thread woke the worker while it gathered.
    woken: bool,
}

impl Worker {
    pub(super) fn new(turn: Turn, halt: Arc<Halt>, asks: UnboundedSender<Ask>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        Ok(Self {
            poll,
            inbox: Arc::new(Inbox::new(Arc::new(AnswerQueue::new(waker)))),
            halt,
            asks,
            sockets: Vec::new(),
            free: Vec::new(),
            turn,
            ready: Vec::new(),
            serving: Vec::new(),
            was_flooded: false,
            dirty: Vec::new(),
            answers: Vec::new(),
            scratch: vec![0; READ_LENGTH],
            spans: RequestSpans::default(),
            unsent: 0,
            next_sweep: None,
            woken: false,
        })
    }

    /// Where new connections and answers for this worker go.
    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Serves connections until the front end stops.
    ///
    /// # Panics
    /// If the event queue fails: nobody would be served any more, and saying nothing is worse.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let patience = self.patience();
            self.poll(&mut events, patience);
            self.note_events(&events);
            // Whatever it was woken for is looked at now.
            self.woken = false;
            self.turn.begin(self.unsent);
            self.take_answers();
            self.drain_flood();
            self.adopt();
            self.serve_ready();
            self.flush_dirty();
            self.gather(&mut events);
            self.send();
            self.sweep();
            if self.is_stopped() {
                return;
            }
        }
    }

    fn poll(&mut self, events: &mut Events, patience: Option<Duration>) {
        match self.poll.poll(events, patience) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            Err(error) => panic!("cannot wait for clients: {error}"),
        }
    }

    /// Takes in what other clients send while this turn's commands for the log would leave: the
    /// slot that they go into costs the same for one command as for a hundred.
    ///
    /// Clients that wait for each other's slots answer in bursts, so that the rest of a burst is
    /// a moment behind its beginning. Nothing is waited for: the thread lets others run that want
    /// to, and looks again only as long as it finds something.
    fn gather(&mut self, events: &mut Events) {
        for _ in 0..GATHERINGS_MAX {
            if !self.turn.has_commands() {
                return;
            }
            thread::yield_now();
            self.poll(events, Some(Duration::ZERO));
            self.note_events(events);
            if self.ready.is_empty() {
                return;
            }
            self.serve_ready();
            self.flush_dirty();
        }
    }

    /// How long the thread may sleep; `None` until something happens.
    fn patience(&self) -> Option<Duration> {
        if self.woken || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadline = self.halt.deadline();
        let held = self.turn.held_until();
        let wake = [deadline, self.next_sweep, held].into_iter().flatten().min()?;
        // Rounded up: waking a moment before the deadline would only mean to sleep again.
        Some(
            Duration::from_nanos(wake.since(crate::clock::now()).nanos())
                + Duration::from_millis(1),
        )
    }

    fn note_events(&mut self, events: &Events) {
        for event in events {
            if event.token() == WAKE {
                self.woken = true;
            } else {
                self.note_event(event);
            }
        }
    }

    fn note_event(&mut self, event: &mio::event::Event) {
        let place = event.token().0;
        let Some(socket) = self.sockets.get_mut(place).and_then(Option::as_mut) else { return };
        socket.note_event(event.is_readable(), event.is_read_closed() || event.is_error());
        if event.is_writable() && socket.connection.unsent() > 0 {
            mark(&mut socket.dirty, &mut self.dirty, place);
        }
        mark(&mut socket.queued, &mut self.ready, place);
    }

    /// Takes over connections that were accepted for this worker.
    fn adopt(&mut self) {
        for (stream, peer) in self.inbox.take() {
            if let Err(error) = self.open(stream, peer) {
                tracing::warn!(%error, %peer, "cannot serve a client");
                self.turn.shared.connections.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn open(&mut self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let place = self.free.pop().unwrap_or(self.sockets.len());
        assert!(place < 1 << PLACE_BITS, "the limit of connections is far below");
        // Both for good: readiness is told on change only, so the second costs nothing.
        let interests = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(place), interests) {
            if place < self.sockets.len() {
                self.free.push(place);
            }
            return Err(error);
        }
        let front = &self.turn.front;
        // A client that is already gone has no local address; the first read will tell.
        let local = stream.local_addr().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let client = front.enter(peer, local, stream.as_raw_fd(), self.turn.now);
        let id = ConnectionId(client.id() << PLACE_BITS | place as u64);
        let connection = Connection::new(id, client, &self.turn);
        let mut socket = Box::new(Socket::new(stream, connection));
        mark(&mut socket.queued, &mut self.ready, place);
        if place == self.sockets.len() {
            self.sockets.push(None);
        }
        self.sockets[place] = Some(socket);
        if front.limits.idle.is_some() {
            self.plan_sweep();
        }
        Ok(())
    }

    /// Hands the answers of the core to their connections.
    fn take_answers(&mut self) {
        let mut answers = mem::take(&mut self.answers);
        self.inbox.queue().drain_into(&mut answers);
        for answer in answers.drain(..) {
            match answer {
                Answer::Replies { bytes, ends } => {
                    self.turn.answered(ends.len());
                    self.take_replies(&bytes, &ends);
                }
                Answer::Indexed { ticket, allowed } => {
                    for id in self.turn.redeem(ticket, allowed) {
                        self.with(id, |it, turn| it.on_indexed(ticket, allowed, turn));
                    }
                }
                Answer::Held { connection, replicas } => {
                    self.with(connection, |it, turn| it.on_held(replicas, turn));
                }
                Answer::Operated { connection, outcome } => {
                    self.with(connection, |it, turn| it.on_operated(outcome, turn));
                }
            }
        }
        self.answers = answers;
        // Only now, with all replies in: a held read may need the last of them.
        for &place in &self.dirty {
            if let Some(socket) = self.sockets[place].as_mut() {
                socket.connection.advance(&mut self.turn);
                if socket.connection.may_resume(&self.turn) {
                    mark(&mut socket.queued, &mut self.ready, place);
                }
            }
        }
    }

    fn take_replies(&mut self, bytes: &[u8], ends: &[(ConnectionId, u32)]) {
        let mut start = 0;
        for &(id, end) in ends {
            let end = end as usize;
            self.with(id, |it, turn| it.on_reply(&bytes[start..end], turn));
            start = end;
        }
    }

    /// Lets a connection have an answer, if it is still open.
    fn with(&mut self, id: ConnectionId, take: impl FnOnce(&mut Connection, &mut Turn)) {
        let place = place(id);
        let Some(socket) = self.sockets.get_mut(place).and_then(Option::as_mut) else { return };
        if socket.connection.id() == id {
            take(&mut socket.connection, &mut self.turn);
            mark(&mut socket.dirty, &mut self.dirty, place);
        }
    }

    /// Reads and parses for every connection that has something to read.
    fn serve_ready(&mut self) {
        let mut serving = mem::replace(&mut self.ready, mem::take(&mut self.serving));
        for place in serving.drain(..) {
            let Some(socket) = self.sockets[place].as_mut() else { continue };
            socket.queued = false;
            match socket.serve(&mut self.scratch, &mut self.spans, &mut self.turn) {
                Served::Idle => {}
                Served::More => mark(&mut socket.queued, &mut self.ready, place),
                Served::Broken => {
                    self.close(place, None);
                    continue;
                }
            }
            mark(&mut socket.dirty, &mut self.dirty, place);
            // A full chunk need not wait for the other connections.
            self.send_asks();
        }
        self.serving = serving;
        self.was_flooded |= self.turn.flooded();
    }

    /// Goes on with the connections that stalled because the log had too much to do.
    fn drain_flood(&mut self) {
        if !self.was_flooded || self.turn.flooded() {
            return;
        }
        self.was_flooded = false;
        for (place, socket) in self.sockets.iter_mut().enumerate() {
            if let Some(socket) = socket
                && socket.connection.may_resume(&self.turn)
            {
                mark(&mut socket.queued, &mut self.ready, place);
            }
        }
    }

    /// Sends what this turn has gathered to the core.
    fn send(&mut self) {
        let sockets = &mut self.sockets;
        self.turn.finish(|id, ticket| {
            let socket = sockets.get_mut(place(id)).and_then(Option::as_mut);
            socket.is_some_and(|it| it.connection.id() == id && it.connection.cover(ticket))
        });
        self.send_asks();
    }

    fn send_asks(&mut self) {
        for ask in self.turn.take_asks() {
            if self.asks.send(ask).is_err() {
                // Only when the process is ending. Clients see their connection close without a
                // reply, which is what "unknown" looks like to them.
                tracing::debug!("the core has stopped: a command gets no reply");
            }
        }
    }

    /// Sends replies, one call per connection, and closes connections that are done.
    fn flush_dirty(&mut self) {
        let mut dirty = mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            let Some(socket) = self.sockets[place].as_mut() else { continue };
            socket.dirty = false;
            if socket.flush(&mut self.turn).is_err() || socket.connection.is_done(&self.turn) {
                self.close(place, None);
                continue;
            }
            let unsent = socket.connection.unsent();
            self.unsent = self.unsent - socket.counted_output + unsent;
            socket.counted_output = unsent;
            socket.connection.publish();
            if socket.connection.may_resume(&self.turn) {
                mark(&mut socket.queued, &mut self.ready, place);
            }
            if unsent > 0 {
                let excess = socket.connection.excess(&self.turn);
                self.plan_sweep();
                if excess.is_some() {
                    self.close(place, excess);
                }
            }
        }
        self.dirty = dirty;
    }

    fn plan_sweep(&mut self) {
        self.next_sweep.get_or_insert(self.turn.now.after(SWEEP));
    }

    /// Closes connections that were idle or stalled for too long, and all of them at the end.
    fn sweep(&mut self) {
        if self.halt.deadline().is_some() {
            return self.wind_up();
        }
        if self.next_sweep.is_none_or(|at| at > self.turn.now) {
            return;
        }
        self.next_sweep = None;
        let mut watch = self.turn.front.limits.idle.is_some();
        for place in 0..self.sockets.len() {
            let Some(socket) = &self.sockets[place] else { continue };
            let excess = socket.connection.excess(&self.turn);
            watch |= socket.connection.unsent() > 0;
            if excess.is_some() {
                self.close(place, excess);
            }
        }
        if watch {
            self.plan_sweep();
        }
    }

    /// The front end stops: closes what is quiet, and everything once the deadline has passed.
    fn wind_up(&mut self) {
        self.turn.stopping = true;
        let late = self.halt.deadline().is_some_and(|deadline| self.turn.now >= deadline);
        for place in 0..self.sockets.len() {
            let Some(socket) = &self.sockets[place] else { continue };
            if late || socket.connection.is_done(&self.turn) {
                self.close(place, None);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.turn.stopping && self.sockets.iter().all(Option::is_none)
    }

    /// Closes a connection; `excess` says why, if it is not the client's own wish.
    fn close(&mut self, place: usize, excess: Option<&'static str>) {
        let Some(mut socket) = self.sockets[place].take() else { return };
        if let Some(reason) = excess {
            let client = socket.connection.client().id();
            tracing::warn!(client, reason, "closing a client connection");
        }
        socket.connection.abandon(&mut self.turn);
        self.send_asks();
        if let Err(error) = self.poll.registry().deregister(&mut socket.stream) {
            tracing::debug!(%error, "cannot deregister a socket that is being closed");
        }
        self.unsent -= socket.counted_output;
        self.turn.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.free.push(place);
    }
}

/// Puts `place` into `list`, unless `flag` says that it is there.
fn mark(flag: &mut bool, list: &mut Vec<usize>, place: usize) {
    if !mem::replace(flag, true) {
        list.push(place);
    }
}

/// Where the connection with `id` is, or was.
fn place(id: ConnectionId) -> usize {
    usize::try_from(id.0 & ((1 << PLACE_BITS) - 1)).expect("a place fits a usize")
}
