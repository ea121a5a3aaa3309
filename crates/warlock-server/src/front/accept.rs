//! Accepts clients and deals them out to the workers in turn.
//!
//! No error ends the loop (CVE-2025-48367): one that concerns a single connection is dropped
//! with it, and any other, such as running out of file descriptors, makes the loop pause, so that
//! it neither spins nor forgets the clients in the queue of the kernel.

use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use rustix::net::sockopt;

use crate::front::AnswerQueue;
use warlock_node::Shared;

use warlock_node::front::Front;

use super::Halt;

/// How long to wait after an error that the next `accept` would meet again.
const PAUSE: Duration = Duration::from_millis(50);

/// Clients that may wait to be accepted; the kernel lowers it to its own limit.
const BACKLOG: i32 = 4096;

/// Silence of a connection after which the kernel asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(300);

const WAKE: Token = Token(usize::MAX);

/// New connections on their way to one worker.
pub(super) struct Inbox {
    streams: Mutex<Vec<(TcpStream, SocketAddr)>>,
    queue: Arc<AnswerQueue>,
}

impl Inbox {
    pub(super) fn new(queue: Arc<AnswerQueue>) -> Self {
        Self { streams: Mutex::default(), queue }
    }

    /// The answers to the same worker.
    pub(super) fn queue(&self) -> &Arc<AnswerQueue> {
        &self.queue
    }

    /// Takes what has arrived.
    pub(super) fn take(&self) -> Vec<(TcpStream, SocketAddr)> {
        std::mem::take(&mut *self.streams.lock())
    }

    fn push(&self, stream: TcpStream, peer: SocketAddr) {
        let mut streams = self.streams.lock();
        let was_empty = streams.is_empty();
        streams.push((stream, peer));
        drop(streams);
        if was_empty {
            self.queue.wake();
        }
    }
}

/// The thread that accepts.
pub(super) struct Acceptor {
    poll: Poll,
    waker: Arc<Waker>,
    listeners: Vec<TcpListener>,
    front: Arc<Front>,
    halt: Arc<Halt>,
    shared: Arc<Shared>,
    inboxes: Vec<Arc<Inbox>>,
    /// The worker that gets the next connection.
    next: usize,
}

impl Acceptor {
    pub(super) fn new(
        listeners: Vec<std::net::TcpListener>,
        front: Arc<Front>,
        halt: Arc<Halt>,
        shared: Arc<Shared>,
        inboxes: Vec<Arc<Inbox>>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut registered = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking(true)?;
            // The standard library's queue is short for clients that all reconnect at once.
            rustix::net::listen(&listener, BACKLOG)?;
            let mut listener = TcpListener::from_std(listener);
            poll.registry().register(&mut listener, Token(index), Interest::READABLE)?;
            registered.push(listener);
        }
        Ok(Self { poll, waker, listeners: registered, front, halt, shared, inboxes, next: 0 })
    }

    /// Wakes the thread, to see that the front end is stopping.
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Accepts until the front end stops.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(16);
        let mut pause = None;
        while !self.halt.stopping.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, pause) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    // An event queue that fails will not get better; without one nobody is served.
                    panic!("cannot wait for clients: {error}");
                }
                Ok(()) | Err(_) => {}
            }
            // Readiness is told once only, so each listener is emptied, whoever woke the loop.
            pause = None;
            for index in 0..self.listeners.len() {
                if self.accept_all(index).is_err() {
                    pause = Some(PAUSE);
                }
            }
        }
    }

    /// Accepts until nobody waits; fails if the loop must pause.
    fn accept_all(&mut self, index: usize) -> Result<(), ()> {
        loop {
            match self.listeners[index].accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if concerns_one_connection(&error) => {
                    tracing::debug!(%error, "a client was gone before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept clients; trying again");
                    return Err(());
                }
            }
        }
    }

    /// Hands a connection to a worker, or refuses it.
    fn admit(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let open = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if open >= self.front.limits.connections as u64 {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            self.front.refused.fetch_add(1, Ordering::Relaxed);
            // Best effort: a new socket has room for a line, and a client that is gone needs none.
            let _ = stream.write(b"-ERR max number of clients reached\r\n");
            return;
        }
        self.shared.connections_total.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, %peer, "cannot set up a client's socket");
        }
        self.inboxes[self.next].push(stream, peer);
        self.next = (self.next + 1) % self.inboxes.len();
    }
}

/// Replies leave at once, and a client whose machine died is noticed some day.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 3)?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

/// Whether the error is that of a connection which `accept` has taken off its queue.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::PermissionDenied
            | ErrorKind::NetworkDown
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::TimedOut
    ) || error.raw_os_error() == Some(rustix::io::Errno::PROTO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_files_is_no_fault_of_one_connection() {
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE] {
            assert!(!concerns_one_connection(&errno.into()));
        }
        for errno in [rustix::io::Errno::CONNABORTED, rustix::io::Errno::PROTO] {
            assert!(concerns_one_connection(&errno.into()));
        }
    }
}
