//! A client that asks for many things at once and notes what becomes of each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use warlock_resp::Value;

use super::keys::Keys;
use super::meter::Meter;
use super::random::Random;
use super::record::{Ask, Record};
use crate::client::{Client, Fate};

/// Most commands in one pipeline.
const DEPTH_MAX: u64 = 24;
/// A client gives a node this long, which is longer than the node gives itself.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Pause after a refusal, so that clients do not take the processor from an election.
const PAUSE: Duration = Duration::from_millis(20);
/// In so many of a hundred cases a client goes to another node though it need not.
const MOVE_PERCENT: u64 = 2;

/// A connection to some node, and to another one when that fails.
#[derive(Debug)]
pub(super) struct Caller {
    number: u32,
    nodes: Vec<SocketAddr>,
    position: usize,
    client: Option<Client>,
    meter: Arc<Meter>,
}

/// One client of the load.
#[derive(Debug)]
pub(super) struct Worker {
    caller: Caller,
    keys: Arc<Keys>,
    random: Random,
    written: u64,
    /// Operations in a second.
    rate: u64,
}

impl Caller {
    /// Client `number`, which begins with the node that comes at that position.
    pub(super) fn new(number: u32, nodes: Vec<SocketAddr>, meter: Arc<Meter>) -> Self {
        let position = usize::try_from(number).expect("few clients");
        Self { number, nodes, position, client: None, meter }
    }

    /// Asks for all of this in one pipeline, each of a key with its name. Nothing if no node
    /// accepts a connection.
    pub(super) fn ask(&mut self, asks: Vec<(usize, String, Ask)>) -> Option<Vec<Record>> {
        let mut connection = self.connect()?;
        let commands: Vec<Vec<String>> = asks.iter().map(|(_, key, ask)| ask.words(key)).collect();
        let node = u16::try_from(self.position % self.nodes.len() + 1).expect("at most 7 nodes");
        let invoked_ns = self.meter.now_ns();
        let fates = connection.fates(&commands, || self.meter.now_ns());
        let client = self.number;
        let records = asks.into_iter().zip(fates).map(|((key, _, ask), (fate, responded_ns))| {
            Record { client, node, invoked_ns, responded_ns, key, ask, fate }
        });
        let records: Vec<Record> = records.collect();
        if records.iter().any(|record| !matches!(record.fate, Fate::Done(_))) {
            // A late reply to one command must never be taken for that to another.
            self.leave();
            thread::park_timeout(PAUSE);
        } else {
            self.client = Some(connection);
        }
        self.meter.note(&records);
        Some(records)
    }

    /// Goes on with another node.
    pub(super) fn leave(&mut self) {
        self.client = None;
        self.position += 1;
    }

    /// Connects if there is no connection, and makes sure that the node answers at all, so that
    /// few operations are lost to one that stands still.
    fn connect(&mut self) -> Option<Client> {
        let client = self.client.take().or_else(|| self.greet());
        if client.is_none() {
            self.leave();
            thread::park_timeout(PAUSE);
        }
        client
    }

    /// Every other client speaks RESP3.
    fn greet(&self) -> Option<Client> {
        let mut client = Client::connect(self.nodes[self.position % self.nodes.len()]).ok()?;
        client.set_timeout(PATIENCE);
        let greeting: &[&str] = if self.number % 2 == 1 { &["HELLO", "3"] } else { &["PING"] };
        match client.call(greeting) {
            Ok(Value::Error(_)) | Err(_) => None,
            Ok(_) => Some(client),
        }
    }
}

impl Worker {
    /// Client `number` of a run.
    pub(super) fn new(caller: Caller, keys: Arc<Keys>, seed: u64, rate: u64) -> Self {
        let random = Random::new(seed, 1000 + u64::from(caller.number));
        Self { caller, keys, random, written: 0, rate }
    }

    /// Asks until the run is over.
    pub(super) fn run(mut self) {
        let mut due = Instant::now();
        while !self.caller.meter.is_over() {
            let asked = self.step();
            // A client that was held up does not make up for it.
            due = (due + Duration::from_secs(asked) / u32::try_from(self.rate).unwrap_or(u32::MAX))
                .max(Instant::now() - PAUSE);
            thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
    }

    /// One pipeline; how many operations it had.
    fn step(&mut self) -> u64 {
        let generation = self.keys.current();
        let depth = self.random.within(1, DEPTH_MAX);
        let asks = (0..depth).map(|_| {
            self.written += 1;
            let value = format!("v{}.{}", self.caller.number, self.written);
            let (key, ask) = generation.draw(&mut self.random, value);
            (key, generation.name(key), ask)
        });
        if let Some(records) = self.caller.ask(asks.collect()) {
            generation.note(records);
        }
        if self.random.percent(MOVE_PERCENT) {
            self.caller.leave();
        }
        depth
    }
}
