//! Clients: each speaks bytes of the Redis protocol to one node at a time, some commands at once,
//! and takes note of what it asked and what it was told.

mod replies;
mod workload;

use std::collections::VecDeque;

use bytes::Bytes;
use warlock_resp::{ReplyLimits, ReplyParser};

use super::World;
use super::queue::{Event, NodeIndex};
use super::weather::{MICROSECOND, MILLISECOND};
use crate::history::{ClientId, Key, OpId, Outcome};
use workload::{Asked, Shape, get};

/// How long a client waits beyond the time that a node takes to give up itself.
const PATIENCE: u64 = 1500 * MILLISECOND;

/// A client that waits for so many replies asks nothing more.
const PIPELINE_MAX: usize = 12;

/// A client and its connection.
pub(super) struct Client {
    id: ClientId,
    /// The node that it is connected with.
    node: NodeIndex,
    /// The process that the connection is with.
    node_start: u32,
    is_connected: bool,
    /// Counts connections.
    connection: u32,
    /// Counts things to wake up for; an older one is over.
    serial: u32,
    parser: ReplyParser,
    /// Bytes received and not understood yet.
    input: Vec<u8>,
    /// What was asked and not answered, in order.
    outstanding: VecDeque<Expected>,
    /// When the latest bytes arrive at the node, and at the client.
    last_to_node: u64,
    last_to_client: u64,
    /// Counts values, so that none is written twice.
    values: u64,
    /// The locks that it believes to hold.
    locks: Vec<u64>,
    /// It wakes up to ask more while it waits, and not to give up.
    asks_more: bool,
    /// What it looks at when it acts next, because somebody is writing it, and how often.
    looks_at: Option<(Key, u64)>,
    /// Who looks at what it is writing, and will look again.
    watched_by: Option<usize>,
}

/// A reply that is to come.
#[derive(Debug)]
struct Expected {
    /// The operation; none for what only concerns the connection.
    op: Option<OpId>,
    shape: Shape,
}

impl Client {
    pub(super) fn new(number: u32) -> Self {
        Self {
            id: ClientId::new(number),
            node: 0,
            node_start: 0,
            is_connected: false,
            connection: 0,
            serial: 0,
            parser: ReplyParser::new(ReplyLimits::DEFAULT),
            input: Vec::new(),
            outstanding: VecDeque::new(),
            last_to_node: 0,
            last_to_client: 0,
            values: 0,
            locks: Vec::new(),
            asks_more: false,
            looks_at: None,
            watched_by: None,
        }
    }

    /// Whether everything asked was answered or given up.
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }
}

impl World {
    /// A client acts: it connects, asks the next things, or gives up on what it asked.
    pub(super) fn client(&mut self, index: usize, serial: u32) {
        if self.clients[index].serial != serial {
            return;
        }
        let asks_more = std::mem::take(&mut self.clients[index].asks_more);
        if !self.clients[index].outstanding.is_empty() && !asks_more {
            self.give_up(index);
        }
        if self.is_closing {
            if asks_more {
                self.wake_client(index, self.weather.request_timeout + PATIENCE);
            }
            return;
        }
        if !self.clients[index].is_connected && !self.connect(index) {
            let pause = self.random.between(5, 60) * MILLISECOND;
            self.wake_client(index, pause);
            return;
        }
        if let Some((key, times)) = self.clients[index].looks_at.take() {
            let asked = self.look_at(key);
            self.ask(index, vec![asked]);
            return self.look_soon(index, key, times - 1);
        }
        let count = self.random.between(1, self.weather.pipeline);
        let asked: Vec<Asked> = (0..count).map(|_| self.draw_command(index)).collect();
        let written = asked.iter().find_map(|asked| asked.command.as_ref()?.writes());
        self.ask(index, asked);
        if let Some(key) = written {
            self.be_watched(index, key);
        }
        if !self.is_calm && self.random.rarely(self.hang_up_chance()) {
            self.counters.client_reset += 1;
            let pause = self.random.around(3 * MILLISECOND);
            self.wake_client(index, pause);
        } else if self.clients[index].outstanding.len() < PIPELINE_MAX && self.random.chance(200) {
            self.clients[index].asks_more = true;
            let pause = self.random.around(5 * MILLISECOND);
            self.wake_client(index, pause);
        }
    }

    /// Sends commands, and waits for their replies.
    pub(super) fn ask(&mut self, index: usize, asked: Vec<Asked>) {
        let node = self.sites[self.clients[index].node].id;
        let mut bytes = Vec::new();
        for Asked { command, shape, request } in asked {
            let client = self.clients[index].id;
            let time = self.time;
            let op = command.map(|command| self.history.invoke(client, node, time, command));
            self.trace_asked(index, op, &request);
            bytes.extend_from_slice(&request);
            self.clients[index].outstanding.push_back(Expected { op, shape });
        }
        self.send_to_node(index, &bytes);
        let patience = self.weather.request_timeout + PATIENCE;
        self.wake_client(index, patience);
    }

    /// While a client writes, another one may look, at a moment when the write may be under way.
    fn be_watched(&mut self, index: usize, key: Key) {
        if self.is_calm || !self.random.chance(self.weather.gossip) {
            return;
        }
        let other = self.random.index(self.clients.len());
        if self.clients[other].node == self.clients[index].node || !self.may_ask_more(other) {
            return;
        }
        self.clients[index].watched_by = Some(other);
        let times = self.random.between(1, 3);
        self.look_soon(other, key, times);
    }

    /// A client is about to look at a key, so many times.
    fn look_soon(&mut self, index: usize, key: Key, times: u64) {
        if times == 0 || !self.may_ask_more(index) {
            return;
        }
        self.clients[index].looks_at = Some((key, times));
        self.clients[index].asks_more = true;
        let span = 2 * self.weather.latency + self.weather.sync;
        let pause = self.random.below(span);
        self.wake_client(index, pause);
    }

    /// Whoever learns that something is written may tell somebody else, best who looked before. The
    /// read must see it, whatever node it is asked of and whatever else waits there.
    fn spread(&mut self, index: usize, key: Key) {
        if self.is_closing || !self.random.chance(self.weather.gossip) {
            return;
        }
        let watcher = self.clients[index].watched_by.take();
        let other = watcher.unwrap_or_else(|| self.random.index(self.clients.len()));
        if other == index || !self.may_ask_more(other) {
            return;
        }
        self.clients[other].asks_more = false;
        let asked = self.look_at(key);
        self.ask(other, vec![asked]);
    }

    fn may_ask_more(&self, index: usize) -> bool {
        let client = &self.clients[index];
        client.is_connected && client.outstanding.len() < PIPELINE_MAX
    }

    fn look_at(&self, key: Key) -> Asked {
        get(key, &String::from_utf8_lossy(self.history.key_bytes(key)))
    }

    /// Opens a connection with any node that runs. Says whether there is one.
    pub(super) fn connect(&mut self, index: usize) -> bool {
        let mut node = self.random.index(self.sites.len());
        // Clients know where the members are, more or less.
        for _ in 0..4 {
            if self.is_member(node) || self.random.chance(50) {
                break;
            }
            node = self.random.index(self.sites.len());
        }
        self.connect_with(index, node)
    }

    /// Opens a connection with `node`, if it runs.
    pub(super) fn connect_with(&mut self, index: usize, node: NodeIndex) -> bool {
        if self.sites[node].process.is_none() {
            return false;
        }
        let client = &mut self.clients[index];
        client.node = node;
        client.node_start = self.sites[node].start;
        client.is_connected = true;
        client.connection += 1;
        client.parser = ReplyParser::new(ReplyLimits::DEFAULT);
        client.input.clear();
        client.last_to_node = self.time;
        client.last_to_client = self.time;
        if self.random.chance(400) {
            let hello = Asked {
                command: None,
                shape: Shape::Hello,
                request: b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n".to_vec(),
            };
            self.clients[index].outstanding.push_back(Expected { op: None, shape: hello.shape });
            self.send_to_node(index, &hello.request);
        }
        true
    }

    /// Has the client act after `span` nanoseconds, and not before.
    pub(super) fn wake_client(&mut self, index: usize, span: u64) {
        let client = &mut self.clients[index];
        client.serial = client.serial.wrapping_add(1);
        let serial = client.serial;
        self.queue.push(self.time + span, Event::Client { client: index, serial });
    }

    /// Nobody knows what became of what was asked. The connection is of no use any more.
    pub(super) fn give_up(&mut self, index: usize) {
        let (time, client) = (self.time, &mut self.clients[index]);
        let outstanding = std::mem::take(&mut client.outstanding);
        client.locks.clear();
        for op in outstanding.into_iter().filter_map(|expected| expected.op) {
            self.counters.unknown += 1;
            self.history.respond(op, time, Outcome::Unknown);
        }
        self.hang_up(index);
    }

    /// The client closes its connection.
    pub(super) fn hang_up(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !client.is_connected {
            return;
        }
        client.is_connected = false;
        let connection = client.connection;
        let at = client.last_to_node.max(self.time) + 200 * MICROSECOND;
        self.queue.push(at, Event::NodeClosed { client: index, connection });
    }

    /// The client notices that the node closed its connection.
    pub(super) fn client_closed(&mut self, index: usize, connection: u32) {
        let client = &self.clients[index];
        if client.connection != connection || !client.is_connected {
            return;
        }
        self.clients[index].is_connected = false;
        self.give_up(index);
        let pause = self.random.between(1, 40) * MILLISECOND;
        self.wake_client(index, pause);
    }

    /// Sends bytes in pieces, cut anywhere.
    fn send_to_node(&mut self, index: usize, bytes: &[u8]) {
        for piece in self.cut(bytes) {
            let span = self.client_latency();
            let client = &mut self.clients[index];
            let at = (self.time + span).max(client.last_to_node + 1);
            client.last_to_node = at;
            let connection = client.connection;
            self.queue.push(at, Event::ToNode { client: index, connection, bytes: piece });
        }
    }

    /// Sends bytes to a client in pieces, cut anywhere.
    pub(super) fn send_to_client(&mut self, index: usize, connection: u32, bytes: &[u8]) {
        if self.clients[index].connection != connection {
            return;
        }
        for piece in self.cut(bytes) {
            let span = self.client_latency();
            let client = &mut self.clients[index];
            let at = (self.time + span).max(client.last_to_client + 1);
            client.last_to_client = at;
            self.queue.push(at, Event::ToClient { client: index, connection, bytes: piece });
        }
    }

    /// The process that a connection is with, if it is still the one that it was opened with.
    pub(super) fn connected_site(&self, index: usize, connection: u32) -> Option<NodeIndex> {
        let client = &self.clients[index];
        let current = client.connection == connection;
        (current && self.sites[client.node].start == client.node_start).then_some(client.node)
    }

    fn cut(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        let mut rest = Bytes::copy_from_slice(bytes);
        let mut pieces = Vec::new();
        let every_byte = self.random.chance(4);
        while every_byte && !rest.is_empty() && pieces.len() < 200 {
            pieces.push(rest.split_to(1));
        }
        while rest.len() > 1 && self.random.chance(150) {
            let at = 1 + self.random.index(rest.len() - 1);
            pieces.push(rest.split_to(at));
        }
        if !rest.is_empty() {
            pieces.push(rest);
        }
        pieces
    }

    fn client_latency(&mut self) -> u64 {
        100 * MICROSECOND + self.random.around(200 * MICROSECOND)
    }

    /// In parts of a million.
    const fn hang_up_chance(&self) -> u64 {
        self.weather.weights.client_reset * 2_000
    }
}
