//! The client connections of all workers, for `CLIENT LIST` and `CLIENT INFO`.
//!
//! A connection is entered when it opens and left out when it closes; in between its worker only
//! stores to atomics of the connection's own record, once per turn, so nobody waits for anybody.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use warlock_paxos::Instant;
use warlock_resp::Protocol;

/// What others may know of one connection.
#[derive(Debug)]
pub struct Client {
    /// Number of the connection, from 1, unique while the process runs.
    id: u64,
    /// Address of the client.
    peer: SocketAddr,
    /// Address that the client connected to.
    local: SocketAddr,
    /// File descriptor of the socket.
    file: i32,
    opened: Instant,
    names: Mutex<Names>,
    /// When the last request came, in nanoseconds of the clock.
    seen: AtomicU64,
    database: AtomicU8,
    protocol: AtomicU8,
    command: Mutex<&'static str>,
    input: AtomicUsize,
    output: AtomicUsize,
    waiting: AtomicUsize,
}

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// `CLIENT SETNAME`.
    pub(super) name: String,
    /// `CLIENT SETINFO LIB-NAME`.
    pub(super) library: String,
    /// `CLIENT SETINFO LIB-VER`.
    pub(super) library_version: String,
}

/// The changing facts of a connection, in bytes and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// Last command, as the command table spells it; empty before the first.
    pub(super) command: &'static str,
    /// Selected database.
    pub(super) database: u8,
    /// Protocol of replies.
    pub(super) protocol: Protocol,
    /// Bytes of an incomplete request.
    pub(super) input: usize,
    /// Bytes of unsent replies.
    pub(super) output: usize,
    /// Commands without a reply.
    pub(super) waiting: usize,
}

impl Client {
    pub(super) fn new(
        id: u64,
        peer: SocketAddr,
        local: SocketAddr,
        file: i32,
        now: Instant,
    ) -> Self {
        Self {
            id,
            peer,
            local,
            file,
            opened: now,
            names: Mutex::default(),
            seen: AtomicU64::new(now.nanos()),
            database: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            command: Mutex::new(""),
            input: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Number of the connection, from 1, unique while the process runs.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Notes that the client sent something at `now`.
    pub(super) fn touch(&self, now: Instant) {
        self.seen.store(now.nanos(), Ordering::Relaxed);
    }

    /// When the client last sent something.
    pub(super) fn seen(&self) -> Instant {
        Instant::from_nanos(self.seen.load(Ordering::Relaxed))
    }

    /// Publishes what the connection is set to.
    pub(super) fn publish_session(&self, command: &'static str, database: u8, protocol: Protocol) {
        *self.command.lock() = command;
        self.database.store(database, Ordering::Relaxed);
        let protocol = match protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        self.protocol.store(protocol, Ordering::Relaxed);
    }

    /// Publishes `usage`.
    pub(super) fn publish(&self, usage: Usage) {
        self.publish_session(usage.command, usage.database, usage.protocol);
        self.input.store(usage.input, Ordering::Relaxed);
        self.output.store(usage.output, Ordering::Relaxed);
        self.waiting.store(usage.waiting, Ordering::Relaxed);
    }

    /// What the client says of itself.
    pub(super) fn names(&self) -> Names {
        self.names.lock().clone()
    }

    /// Changes what the client says of itself.
    pub(super) fn rename(&self, change: impl FnOnce(&mut Names)) {
        change(&mut self.names.lock());
    }

    /// Appends the line of this connection in `CLIENT LIST`.
    pub(super) fn describe(&self, now: Instant, out: &mut String) {
        let names = self.names();
        let seconds = |since: Instant| now.since(since).millis() / 1000;
        let output = self.output.load(Ordering::Relaxed);
        let input = self.input.load(Ordering::Relaxed);
        let command = match *self.command.lock() {
            "" => "NULL",
            command => command,
        };
        writeln!(
            out,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags=N db={} sub=0 psub=0 ssub=0 \
             multi=-1 qbuf={input} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} \
             oll={} omem={output} tot-mem={} events=r cmd={command} user=default redir=-1 resp={} \
             lib-name={} lib-ver={}",
            self.id,
            self.peer,
            self.local,
            self.file,
            names.name,
            seconds(self.opened),
            seconds(self.seen()),
            self.database.load(Ordering::Relaxed),
            self.waiting.load(Ordering::Relaxed),
            size_of::<Self>() + input + output,
            self.protocol.load(Ordering::Relaxed),
            names.library,
            names.library_version,
        )
        .expect("writing to a string does not fail");
    }
}

/// All open connections, by number.
#[derive(Debug, Default)]
pub(super) struct Registry {
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Registry {
    /// Enters a connection.
    pub(super) fn open(&self, client: Arc<Client>) {
        self.clients.lock().insert(client.id, client);
    }

    /// Leaves a connection out.
    pub(super) fn close(&self, id: u64) {
        self.clients.lock().remove(&id);
    }

    /// The lines of all connections that `wanted` accepts, in the order in which they opened.
    pub(super) fn describe(&self, now: Instant, wanted: impl Fn(u64) -> bool) -> String {
        // The lock is held for a copy of pointers only: opening and closing need it.
        let clients: Vec<_> = self.clients.lock().values().cloned().collect();
        let mut out = String::new();
        for client in clients.iter().filter(|client| wanted(client.id)) {
            client.describe(now, &mut out);
        }
        out
    }
}
