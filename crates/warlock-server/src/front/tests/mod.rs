//! The front end over real sockets, with a core that applies every chunk at once.
//!
//! The core here is a driver of the seam for tests only: it applies to a real store, and a test
//! can make it hold answers back, refuse reads, or tell what it was asked.

mod commands;
mod hostile;
mod limits;
mod order;
mod reads;
mod stop;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Deadline};

use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use warlock_paxos::{LogTime, Span};
use warlock_resp::{ReplyWriter, RequestSpans};
use warlock_store::{Applier, Options, Reader, entry};

use crate::clock;
use crate::front::AnswerQueue;
use warlock_node::Shared;
use warlock_node::front::Identity;
use warlock_node::front::limits::Limits;
use warlock_node::seam::{Answer, Ask, Chunk};
use warlock_node::status::{NodeStatus, Role, State, Status};

use super::{FrontHandle, FrontOptions, start};

/// Longest wait for anything before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the core is to do, and what it was asked.
struct Core {
    applier: Applier,
    reader: Reader,
    /// Log time of the next batch, in microseconds.
    log_time_us: u64,
    queues: Vec<Arc<AnswerQueue>>,
    hold_writes: bool,
    hold_tickets: bool,
    hold_waits: bool,
    /// Answers to reads without a lease.
    allowed: bool,
    held: Vec<Ask>,
    chunks: usize,
    commands: usize,
    /// Worker and number of every ticket.
    tickets: Vec<(usize, u64)>,
    waits: usize,
    forgotten: usize,
}

impl Core {
    fn take(&mut self, ask: Ask) {
        match &ask {
            Ask::Write(chunk) => {
                self.chunks += 1;
                self.commands += chunk.calls.len();
            }
            &Ask::Index { worker, ticket } => {
                assert!(!self.tickets.contains(&(worker, ticket)), "a ticket was used twice");
                self.tickets.push((worker, ticket));
            }
            Ask::Wait { .. } => self.waits += 1,
            Ask::Operate { .. } => {}
            Ask::Forget { .. } => self.forgotten += 1,
        }
        let hold = match &ask {
            Ask::Write(_) => self.hold_writes,
            Ask::Index { .. } => self.hold_tickets,
            Ask::Wait { .. } => self.hold_waits,
            Ask::Operate { .. } | Ask::Forget { .. } => false,
        };
        if hold { self.held.push(ask) } else { self.answer(ask) }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Write(chunk) => self.apply(&chunk),
            Ask::Index { worker, ticket } => {
                let allowed = self.allowed;
                self.queues[worker].push(Answer::Indexed { ticket, allowed });
            }
            Ask::Wait { worker, connection, replicas, .. } => {
                let replicas = replicas.min(2);
                self.queues[worker].push(Answer::Held { connection, replicas });
            }
            Ask::Operate { worker, connection, operation } => {
                let outcome = Ok(format!("{operation:?}"));
                self.queues[worker].push(Answer::Operated { connection, outcome });
            }
            Ask::Forget { .. } => {}
        }
    }

    fn apply(&mut self, chunk: &Chunk) {
        let slot = self.reader.next_slot();
        self.applier.begin_batch(slot, self.log_time_us, slot);
        let mut entries = entry::Entries::new(&chunk.entries);
        let mut spans = RequestSpans::default();
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for call in &chunk.calls {
            let (db, request) = entries.next(&mut spans).unwrap().unwrap();
            let mut reply = ReplyWriter::new(&mut bytes, call.protocol);
            self.applier.apply(db, &request, &mut reply);
            ends.push((call.connection, u32::try_from(bytes.len()).unwrap()));
        }
        assert!(entries.next(&mut spans).is_none(), "an entry without a call");
        self.applier.end_batch();
        self.queues[chunk.worker].push(Answer::Replies { bytes, ends });
    }
}

/// A front end and a core.
struct Node {
    core: Arc<Mutex<Core>>,
    changed: Arc<Condvar>,
    shared: Arc<Shared>,
    front: Option<FrontHandle>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// A master with the default limits and two workers.
    fn master() -> Self {
        Self::with_limits(Limits::DEFAULT)
    }

    fn with_limits(limits: Limits) -> Self {
        Self::with_workers(limits, 2)
    }

    fn with_workers(limits: Limits, workers: usize) -> Self {
        let (applier, reader) = warlock_store::new(Options::default());
        let shared = Arc::new(Shared::new(reader, status(Some(1))));
        shared.recovered.store(true, Ordering::Relaxed);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let options = FrontOptions {
            listeners: vec![listener],
            workers,
            limits,
            identity: Identity {
                cluster: "test".to_owned(),
                node: 1,
                version: "0.0.1".to_owned(),
                data_dir: PathBuf::from("/var/lib/warlock"),
                settings_file: None,
                run_id: "0".repeat(40),
                started: clock::now(),
            },
        };
        let (asks, receiver) = unbounded_channel();
        let front = start(options, Arc::clone(&shared), asks).unwrap();
        let core = Arc::new(Mutex::new(Core {
            applier,
            reader: shared.store.clone(),
            log_time_us: 1_000_000,
            queues: front.queues.clone(),
            hold_writes: false,
            hold_tickets: false,
            hold_waits: false,
            allowed: true,
            held: Vec::new(),
            chunks: 0,
            commands: 0,
            tickets: Vec::new(),
            waits: 0,
            forgotten: 0,
        }));
        let changed = Arc::new(Condvar::new());
        let thread = std::thread::spawn({
            let (core, changed) = (Arc::clone(&core), Arc::clone(&changed));
            move || run_core(receiver, &core, &changed)
        });
        let address = front.local_addr();
        let node =
            Self { core, changed, shared, front: Some(front), address, thread: Some(thread) };
        node.hold_lease();
        node
    }

    /// A node without the master lease.
    fn follower() -> Self {
        let node = Self::master();
        node.drop_lease();
        *node.shared.status.lock() = Arc::new(status(Some(2)));
        node
    }

    fn hold_lease(&self) {
        self.shared.lease.publish(Some(clock::now().after(Span::from_millis(3_600_000))));
    }

    fn drop_lease(&self) {
        self.shared.lease.publish(None);
    }

    fn set_log_time(&self, microseconds: u64) {
        self.shared.log_clock.publish(LogTime::from_micros(microseconds), clock::now());
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    /// Changes the core's behaviour.
    fn core<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        change(&mut self.core.lock())
    }

    /// Answers what the core held back, and holds nothing back any more.
    fn release(&self) {
        let mut core = self.core.lock();
        core.hold_writes = false;
        core.hold_tickets = false;
        core.hold_waits = false;
        for ask in std::mem::take(&mut core.held) {
            core.answer(ask);
        }
    }

    /// Waits until the core has been asked what `condition` wants.
    fn wait_for(&self, what: &str, condition: impl Fn(&Core) -> bool) {
        let deadline = Deadline::now() + PATIENCE;
        let mut core = self.core.lock();
        while !condition(&core) {
            let late = self.changed.wait_until(&mut core, deadline).timed_out();
            assert!(
                !late,
                "never: {what}; chunks {}, commands {}, tickets {:?}, waits {}",
                core.chunks, core.commands, core.tickets, core.waits
            );
        }
    }

    /// Waits until `condition` holds; for facts that nobody signals.
    fn wait_until(&self, what: &str, condition: impl Fn(&Shared) -> bool) {
        let deadline = Deadline::now() + PATIENCE;
        while !condition(&self.shared) {
            assert!(Deadline::now() < deadline, "never: {what}");
            std::thread::yield_now();
        }
    }

    fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(front) = self.front.take() {
            front.stop(Span::ZERO);
        }
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().unwrap();
        }
    }
}

fn run_core(mut asks: UnboundedReceiver<Ask>, core: &Mutex<Core>, changed: &Condvar) {
    while let Some(ask) = asks.blocking_recv() {
        core.lock().take(ask);
        changed.notify_all();
    }
}

fn status(master: Option<u16>) -> Status {
    let node = |id: u16| NodeStatus {
        id,
        addr: format!("127.0.0.1:{}", 7000 + id),
        peer: format!("127.0.0.1:{}", 7100 + id),
        role: if Some(id) == master { Role::Master } else { Role::Follower },
        state: State::Up,
        applied: 17,
        lag: 0,
        lease_ms_left: (Some(id) == master).then_some(400),
        snapshot: None,
        version: "0.0.1".to_owned(),
    };
    Status {
        cluster: "test".to_owned(),
        view: 1,
        master,
        nodes: vec![node(1), node(2), node(3)],
        local: 1,
        ballot: "v1.b1.n1".to_owned(),
        at: clock::now(),
    }
}

/// A client that sends and expects bytes.
struct Client {
    stream: TcpStream,
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Reads as many bytes as `expected` has and compares.
    fn expect(&mut self, expected: impl AsRef<[u8]>) -> &mut Self {
        let expected = expected.as_ref();
        let mut got = vec![0; expected.len()];
        let mut length = 0;
        while length < got.len() {
            match self.stream.read(&mut got[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) => panic!(
                    "{error} after {:?}, expected {:?}",
                    String::from_utf8_lossy(&got[..length]),
                    String::from_utf8_lossy(expected)
                ),
            }
        }
        assert_eq!(String::from_utf8_lossy(&got[..length]), String::from_utf8_lossy(expected));
        self
    }

    /// Reads one line without its end.
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// Reads one bulk or verbatim string.
    fn text(&mut self) -> String {
        let head = self.line();
        assert!(head.starts_with(['$', '=']), "{head}");
        let mut bytes = vec![0; head[1..].parse::<usize>().unwrap() + 2];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        String::from_utf8(bytes).unwrap()
    }

    /// Expects the node to close the connection, after nothing else.
    fn expect_end(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => {
                panic!("expected the end, got {other:?} {:?}", byte.escape_ascii().to_string())
            }
        }
    }
}

/// `words` as a RESP array.
fn request(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    warlock_resp::encode_request(words.iter().map(|word| word.as_bytes()), &mut out);
    out
}

/// Inline commands are requests as well.
fn pipeline(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| request(&line.split(' ').collect::<Vec<_>>())).collect()
}
