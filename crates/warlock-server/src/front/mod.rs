//! The RESP front end: sockets of clients on one side, the seam to the core on the other.
//!
//! One thread accepts, and `workers` threads each run an event loop over their share of the
//! connections. A turn of a loop reads every ready socket once, parses all complete commands,
//! answers reads and connection commands on the spot, sends all writes of all connections as one
//! chunk to the core, and ends with one `write` per connection that has replies.
//!
//! The loops are on `mio` and not tasks of an async runtime, because the turn *is* the batch: one
//! chunk per turn and one write per connection per batch come for free, and the thread sleeps
//! once per turn. A task per connection would pay a wake, a channel send and a separate
//! proposal for each command.
//!
//! What clients say and hear is the business of [`warlock_node::front`]; here are its sockets and
//! threads.

mod accept;
mod answers;
mod limits;
mod process;
mod socket;
mod worker;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use warlock_node::Shared;
use warlock_node::front::limits::Limits;
use warlock_node::front::{Front, Identity, Turn};
use warlock_node::seam::Ask;
use warlock_paxos::{Instant, Span};

use crate::clock;

pub(crate) use answers::AnswerQueue;

use accept::Acceptor;
use limits::FILES_RESERVED;
use process::Process;
use worker::Worker;

/// What the front end is started with.
#[derive(Debug)]
pub(crate) struct FrontOptions {
    /// Bound sockets to accept clients on; at least one.
    pub(crate) listeners: Vec<TcpListener>,
    /// I/O workers, from 1.
    pub(crate) workers: usize,
    /// What clients may cost.
    pub(crate) limits: Limits,
    /// What this node says of itself.
    pub(crate) identity: Identity,
}

/// A running front end.
pub(crate) struct FrontHandle {
    /// The queue of answers to each worker, by worker index.
    pub(crate) queues: Vec<Arc<AnswerQueue>>,
    addresses: Vec<SocketAddr>,
    halt: Arc<Halt>,
    acceptor: Arc<mio::Waker>,
    threads: Vec<JoinHandle<()>>,
}

/// How the front end is told to stop.
#[derive(Debug, Default)]
struct Halt {
    /// Set once: no new connections, no new commands.
    stopping: AtomicBool,
    /// When connections are closed whether or not their replies have gone out.
    deadline: Mutex<Option<Instant>>,
}

impl Halt {
    /// How long replies may still go out; `None` while the front end is not stopping.
    fn deadline(&self) -> Option<Instant> {
        self.stopping.load(Ordering::Acquire).then(|| *self.deadline.lock()).flatten()
    }
}

/// Starts the front end on `options.listeners`.
///
/// # Errors
/// The system gives no more threads, file descriptors or event queues, or there is no listener.
pub(crate) fn start(
    options: FrontOptions,
    shared: Arc<Shared>,
    asks: UnboundedSender<Ask>,
) -> io::Result<FrontHandle> {
    let FrontOptions { listeners, workers, mut limits, identity } = options;
    let addresses: Vec<_> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let Some(first) = addresses.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no listener for clients"));
    };
    limits.connections = affordable_connections(limits.connections);
    let surroundings = Box::new(Process);
    let front = Arc::new(Front::new(limits, identity, first.port(), workers, surroundings));
    let halt = Arc::new(Halt::default());

    let mut inboxes = Vec::new();
    let mut prepared = Vec::new();
    for index in 0..front.workers {
        let turn = Turn::new(index, Arc::clone(&front), Arc::clone(&shared));
        let worker = Worker::new(turn, Arc::clone(&halt), asks.clone())?;
        inboxes.push(worker.inbox());
        prepared.push(worker);
    }
    let queues = inboxes.iter().map(|inbox| Arc::clone(inbox.queue())).collect();
    let acceptor = Acceptor::new(listeners, front, Arc::clone(&halt), shared, inboxes)?;

    let mut handle =
        FrontHandle { queues, addresses, halt, acceptor: acceptor.waker(), threads: Vec::new() };
    for (index, worker) in prepared.into_iter().enumerate() {
        handle.spawn(format!("client-io-{index}"), move || worker.run())?;
    }
    handle.spawn("client-accept".to_owned(), move || acceptor.run())?;
    Ok(handle)
}

impl FrontHandle {
    /// Where clients connect to, first listener first.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Stops accepting connections and commands, lets replies of commands that were taken go out
    /// for at most `patience`, then closes all connections and waits for the threads to end.
    pub(crate) fn stop(mut self, patience: Span) {
        self.signal(clock::now().after(patience));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the front end panicked");
            }
        }
    }

    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(body)?);
        Ok(())
    }

    fn signal(&self, deadline: Instant) {
        *self.halt.deadline.lock() = Some(deadline);
        self.halt.stopping.store(true, Ordering::Release);
        if let Err(error) = self.acceptor.wake() {
            tracing::error!(%error, "cannot wake the accepting thread");
        }
        for queue in &self.queues {
            queue.wake();
        }
    }
}

impl Drop for FrontHandle {
    /// Threads that are not waited for still end.
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.signal(clock::now());
        }
    }
}

/// The connections that the limit of open files of this process leaves room for.
fn affordable_connections(wanted: usize) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = files.map_or(usize::MAX, |files| {
        usize::try_from(files.saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX).max(1)
    });
    if room < wanted {
        tracing::warn!(wanted, room, "the limit of open files leaves room for fewer clients");
    }
    wanted.min(room)
}
