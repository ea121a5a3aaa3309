//! Sessions of clients: bytes come in, commands are run or sent to the log, replies go out, in
//! order.
//!
//! A host owns sockets, or what it has instead, and gives each worker a [`Turn`] and its
//! [`Connection`]s. In a turn it hands over answers of the core and bytes of clients, then ends the
//! turn, takes the asks, and sends each connection's replies. So chunks are as large as a turn, and
//! what is paid per turn is not paid per command.
//!
//! What it must never do: reorder the replies of a connection, answer a read from local state
//! without a lease or a ticket that was asked for after the read arrived (L3), or hold more memory
//! for a client than [`limits`] allow.

mod client;
mod connection;
mod flow;
mod held;
mod info;
pub mod limits;
mod output;
mod parameters;
mod registry;
mod session;
mod topology;
mod turn;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use warlock_paxos::{Instant, LogTime};

pub use connection::Connection;
pub use registry::Client;
pub use turn::Turn;

use limits::{Limits, REQUEST_LENGTH_MAX};
use registry::Registry;

/// What only the host knows.
pub trait Surroundings: Debug + Send + Sync + 'static {
    /// The clock that leases are measured with (L1). Read anew at every read of local state (L3).
    fn now(&self) -> Instant;

    /// The wall clock, to be shown only.
    fn wall(&self) -> LogTime;

    /// What the operating system says of the process.
    fn process(&self) -> ProcessFacts;
}

/// What the operating system says of the process, for `INFO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Process id.
    pub id: u32,
    /// Path of the program; empty if unknown.
    pub executable: PathBuf,
    /// Memory that the kernel has given the process, in bytes; zero if unknown.
    pub resident_bytes: u64,
    /// Processor time in user mode, in hundredths of a second; zero if unknown.
    pub user_ticks: u64,
    /// Processor time in kernel mode, in hundredths of a second; zero if unknown.
    pub system_ticks: u64,
}

/// What a node says of itself in `INFO`, `HELLO`, `CONFIG GET` and `WARLOCK`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the cluster.
    pub cluster: String,
    /// Node id.
    pub node: u16,
    /// Version of `warlockd`.
    pub version: String,
    /// Data directory.
    pub data_dir: PathBuf,
    /// The settings file, if there is one.
    pub settings_file: Option<PathBuf>,
    /// 40 hexadecimal digits that differ from start to start.
    pub run_id: String,
    /// When the process started.
    pub started: Instant,
}

/// What the workers and connections of a node share.
#[derive(Debug)]
pub struct Front {
    /// What clients may cost.
    pub limits: Limits,
    /// What this node says of itself.
    pub identity: Identity,
    /// Port for clients.
    pub port: u16,
    /// I/O workers, from 1.
    pub workers: usize,
    /// Connections refused because of the limit.
    pub refused: AtomicU64,
    surroundings: Box<dyn Surroundings>,
    registry: Registry,
    next_client: AtomicU64,
    /// Connections in `WAIT`.
    blocked: AtomicU64,
    /// Bytes received from clients.
    input_total: AtomicU64,
    /// Bytes sent to clients.
    output_total: AtomicU64,
}

impl Front {
    /// A front end without clients; `port` is where they come. A request of more bytes than fit
    /// into a message between nodes is refused whatever `limits` say.
    #[must_use]
    pub fn new(
        mut limits: Limits,
        identity: Identity,
        port: u16,
        workers: usize,
        surroundings: Box<dyn Surroundings>,
    ) -> Self {
        limits.request.request_length = limits.request.request_length.min(REQUEST_LENGTH_MAX);
        Self {
            limits,
            identity,
            port,
            workers: workers.max(1),
            refused: AtomicU64::new(0),
            surroundings,
            registry: Registry::default(),
            next_client: AtomicU64::new(1),
            blocked: AtomicU64::new(0),
            input_total: AtomicU64::new(0),
            output_total: AtomicU64::new(0),
        }
    }

    /// Enters a client that connected from `peer` to `local` over the socket `file`.
    #[must_use]
    pub fn enter(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        file: i32,
        now: Instant,
    ) -> Arc<Client> {
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(number, peer, local, file, now));
        self.registry.open(Arc::clone(&client));
        client
    }

    /// Leaves a client out, whose connection closed.
    pub fn leave(&self, client: &Client) {
        self.registry.close(client.id());
    }

    /// What the clock says now.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.surroundings.now()
    }
}

#[cfg(test)]
mod tests;
