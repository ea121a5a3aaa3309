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
//! What it must never do: reorder the replies of a connection, answer a read from local state
//! without a lease or a ticket that was asked for after the read arrived (L3), or hold more memory
//! for a client than [`limits`] allow.

mod accept;
mod answers;
mod client;
mod connection;
mod flow;
mod held;
mod info;
pub(crate) mod limits;
mod output;
mod parameters;
mod registry;
mod session;
mod topology;
mod turn;
mod worker;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use warlock_paxos::{Instant, Span};

use crate::clock;
use warlock_node::Shared;
use warlock_node::seam::Ask;

pub(crate) use answers::AnswerQueue;

use accept::Acceptor;
use limits::{FILES_RESERVED, Limits, REQUEST_LENGTH_MAX};
use registry::Registry;
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

/// What a node says of itself in `INFO`, `HELLO`, `CONFIG GET` and `WARLOCK`.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// Node id.
    pub(crate) node: u16,
    /// Version of `warlockd`.
    pub(crate) version: String,
    /// Data directory.
    pub(crate) data_dir: PathBuf,
    /// The settings file, if there is one.
    pub(crate) settings_file: Option<PathBuf>,
    /// 40 hexadecimal digits that differ from start to start.
    pub(crate) run_id: String,
    /// When the process started.
    pub(crate) started: Instant,
}

/// A running front end.
pub(crate) struct FrontHandle {
    /// The queue of answers to each worker, by worker index.
    pub(crate) queues: Vec<Arc<AnswerQueue>>,
    addresses: Vec<SocketAddr>,
    front: Arc<Front>,
    acceptor: Arc<mio::Waker>,
    threads: Vec<JoinHandle<()>>,
}

/// What acceptor, workers and connections share.
pub(in crate::front) struct Front {
    limits: Limits,
    identity: Identity,
    /// Port of the first listener.
    port: u16,
    workers: usize,
    registry: Registry,
    next_client: AtomicU64,
    /// Connections refused because of the limit.
    refused: AtomicU64,
    /// Connections in `WAIT`.
    blocked: AtomicU64,
    /// Bytes received from clients.
    input_total: AtomicU64,
    /// Bytes sent to clients.
    output_total: AtomicU64,
    /// Set once: no new connections, no new commands.
    stopping: AtomicBool,
    /// When connections are closed whether or not their replies have gone out.
    deadline: Mutex<Option<Instant>>,
}

impl Front {
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
    limits.request.request_length = limits.request.request_length.min(REQUEST_LENGTH_MAX);
    let front = Arc::new(Front {
        limits,
        identity,
        port: first.port(),
        workers: workers.max(1),
        registry: Registry::default(),
        next_client: AtomicU64::new(1),
        refused: AtomicU64::new(0),
        blocked: AtomicU64::new(0),
        input_total: AtomicU64::new(0),
        output_total: AtomicU64::new(0),
        stopping: AtomicBool::new(false),
        deadline: Mutex::new(None),
    });

    let mut inboxes = Vec::new();
    let mut prepared = Vec::new();
    for index in 0..front.workers {
        let worker = Worker::new(index, Arc::clone(&front), Arc::clone(&shared), asks.clone())?;
        inboxes.push(worker.inbox());
        prepared.push(worker);
    }
    let queues = inboxes.iter().map(|inbox| Arc::clone(inbox.queue())).collect();
    let acceptor = Acceptor::new(listeners, Arc::clone(&front), shared, inboxes)?;

    let mut handle =
        FrontHandle { queues, addresses, front, acceptor: acceptor.waker(), threads: Vec::new() };
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
        *self.front.deadline.lock() = Some(deadline);
        self.front.stopping.store(true, Ordering::Release);
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
