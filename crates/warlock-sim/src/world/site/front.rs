//! The I/O worker of a node without its sockets: bytes of clients in, replies out, in turns as the
//! daemon's worker takes them. What a command means is decided by the sessions of `warlock-node`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use warlock_node::Shared;
use warlock_node::front::limits::Limits;
use warlock_node::front::{
    Connection, Front as Sessions, Identity, ProcessFacts, Surroundings, Turn,
};
use warlock_node::seam::{Answer, Ask, ConnectionId};
use warlock_paxos::{Instant, LogTime};
use warlock_resp::RequestSpans;

use super::super::World;
use super::super::queue::{Event, NodeIndex};
use super::super::weather::MICROSECOND;

/// The clock that sessions read anew at each read of local state.
#[derive(Clone, Debug, Default)]
struct Watch(Arc<AtomicU64>);

impl Surroundings for Watch {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> LogTime {
        LogTime::ZERO
    }

    fn process(&self) -> ProcessFacts {
        ProcessFacts::default()
    }
}

/// A connection of a client, as the client names it.
type Name = (usize, u32);

/// What has come from a client since the last turn.
enum Arrived {
    Bytes(Bytes),
    /// The client closed.
    End,
}

/// The worker.
pub(in super::super) struct Front {
    watch: Watch,
    turn: Turn,
    spans: RequestSpans,
    connections: BTreeMap<ConnectionId, (Name, Connection)>,
    ids: BTreeMap<Name, ConnectionId>,
    arrived: Vec<(Name, Arrived)>,
    answers: Vec<Answer>,
    next: u64,
    has_turn: bool,
}

/// What a turn led to.
#[derive(Default)]
struct Done {
    asks: Vec<Ask>,
    replies: Vec<(Name, Vec<u8>)>,
    /// Connections that the node closes.
    closed: Vec<Name>,
}

impl Front {
    /// A worker without connections.
    pub(super) fn new(shared: Arc<Shared>, node: u16, now: Instant) -> Self {
        let watch = Watch::default();
        watch.0.store(now.nanos(), Ordering::Relaxed);
        let identity = Identity {
            cluster: String::from("sim"),
            node,
            version: String::from("sim"),
            data_dir: PathBuf::new(),
            settings_file: None,
            run_id: "0".repeat(40),
            started: now,
        };
        let surroundings = Box::new(watch.clone());
        let sessions = Sessions::new(Limits::DEFAULT, identity, 0, 1, surroundings);
        Self {
            watch,
            turn: Turn::new(0, Arc::new(sessions), shared),
            spans: RequestSpans::default(),
            connections: BTreeMap::new(),
            ids: BTreeMap::new(),
            arrived: Vec::new(),
            answers: Vec::new(),
            next: 1,
            has_turn: false,
        }
    }

    /// The open connections.
    pub(super) fn clients(&self) -> Vec<Name> {
        self.ids.keys().copied().collect()
    }

    /// One turn: answers of the core first, then what clients sent, then what follows from both.
    fn turn(&mut self, now: Instant) -> Done {
        self.watch.0.store(now.nanos(), Ordering::Relaxed);
        self.has_turn = false;
        self.turn.begin(0);
        let mut touched = self.take_answers();
        for id in &touched {
            if let Some((_, connection)) = self.connections.get_mut(id) {
                connection.advance(&mut self.turn);
            }
        }
        for (name, arrived) in std::mem::take(&mut self.arrived) {
            let id = self.connection_of(name);
            touched.push(id);
            let (turn, spans) = (&mut self.turn, &mut self.spans);
            let Some((_, connection)) = self.connections.get_mut(&id) else { continue };
            match arrived {
                Arrived::Bytes(bytes) => {
                    connection.resume(spans, turn);
                    connection.receive(&bytes, spans, turn);
                }
                Arrived::End => connection.end(),
            }
        }
        let connections = &mut self.connections;
        self.turn.finish(|id, ticket| {
            connections.get_mut(&id).is_some_and(|(_, connection)| connection.cover(ticket))
        });
        self.finish(touched)
    }

    fn take_answers(&mut self) -> Vec<ConnectionId> {
        let mut touched = Vec::new();
        for answer in std::mem::take(&mut self.answers) {
            let (connections, turn) = (&mut self.connections, &mut self.turn);
            match answer {
                Answer::Replies { bytes, ends } => {
                    turn.answered(ends.len());
                    let mut start = 0;
                    for (id, end) in ends {
                        let end = end as usize;
                        if let Some((_, connection)) = connections.get_mut(&id) {
                            connection.on_reply(&bytes[start..end], turn);
                        }
                        touched.push(id);
                        start = end;
                    }
                }
                Answer::Indexed { ticket, allowed } => {
                    for id in turn.redeem(ticket, allowed) {
                        if let Some((_, connection)) = connections.get_mut(&id) {
                            connection.on_indexed(ticket, allowed, turn);
                        }
                        touched.push(id);
                    }
                }
                Answer::Held { connection: id, replicas } => {
                    if let Some((_, connection)) = connections.get_mut(&id) {
                        connection.on_held(replicas, turn);
                    }
                    touched.push(id);
                }
                Answer::Operated { connection: id, outcome } => {
                    if let Some((_, connection)) = connections.get_mut(&id) {
                        connection.on_operated(outcome, turn);
                    }
                    touched.push(id);
                }
            }
        }
        touched
    }

    /// Gathers replies, and closes connections that are done.
    fn finish(&mut self, mut touched: Vec<ConnectionId>) -> Done {
        touched.sort_unstable();
        touched.dedup();
        let mut done = Done::default();
        for id in touched {
            let Some((name, connection)) = self.connections.get_mut(&id) else { continue };
            let name = *name;
            let mut bytes = Vec::new();
            while connection.unsent() > 0 {
                let sent = connection.flush(&mut bytes, &mut self.turn);
                assert!(sent.is_ok(), "memory takes every byte");
            }
            if !bytes.is_empty() {
                done.replies.push((name, bytes));
            }
            let Some((_, connection)) = self.connections.get_mut(&id) else { continue };
            // A client that closed is not waited for: nobody would read the replies.
            if !connection.wants_input(&self.turn) && !connection.may_resume(&self.turn)
                || connection.is_done(&self.turn)
            {
                connection.abandon(&mut self.turn);
                self.connections.remove(&id);
                self.ids.remove(&name);
                done.closed.push(name);
            }
        }
        done.asks = self.turn.take_asks().collect();
        done
    }

    fn connection_of(&mut self, name: Name) -> ConnectionId {
        if let Some(id) = self.ids.get(&name) {
            return *id;
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let client = self.turn.front.enter(address, address, 0, self.turn.now);
        self.connections.insert(id, (name, Connection::new(id, client, &self.turn)));
        self.ids.insert(name, id);
        id
    }
}

impl World {
    /// Bytes of a client reach its node.
    pub(in super::super) fn reach_node(&mut self, client: usize, connection: u32, bytes: Bytes) {
        self.arrive(client, connection, Arrived::Bytes(bytes));
    }

    /// A node notices that a client closed its connection.
    pub(in super::super) fn node_closed(&mut self, client: usize, connection: u32) {
        self.arrive(client, connection, Arrived::End);
    }

    fn arrive(&mut self, client: usize, connection: u32, arrived: Arrived) {
        let Some(index) = self.connected_site(client, connection) else { return };
        let Some(process) = &mut self.sites[index].process else { return };
        process.front.arrived.push(((client, connection), arrived));
        self.turn_soon(index);
    }

    /// The core answers the worker.
    pub(super) fn answer(&mut self, index: NodeIndex, answer: Answer) {
        let Some(process) = &mut self.sites[index].process else { return };
        process.front.answers.push(answer);
        self.turn_soon(index);
    }

    fn turn_soon(&mut self, index: NodeIndex) {
        let span =
            self.random.between(1, 20) * MICROSECOND + self.random.below(self.weather.step + 1);
        let Some(process) = &mut self.sites[index].process else { return };
        if !process.front.has_turn {
            process.front.has_turn = true;
            self.turn_at(index, self.time + span);
        }
    }

    /// Plans a turn, beside those that are planned.
    fn turn_at(&mut self, index: NodeIndex, at: u64) {
        let start = self.sites[index].start;
        self.queue.push(at.max(self.time), Event::Turn { node: index, start });
    }

    /// The worker of a node takes its turn.
    pub(in super::super) fn turn(&mut self, index: NodeIndex) {
        self.observe_turn(index);
        let now = self.now(index).boot;
        let Some(process) = &mut self.sites[index].process else { return };
        let Done { asks, replies, closed } = process.front.turn(now);
        if let Some(until) = process.front.turn.held_until() {
            self.turn_at(index, self.sites[index].clock.when(until));
        }
        for ((client, connection), bytes) in replies {
            self.send_to_client(client, connection, &bytes);
        }
        for (client, connection) in closed {
            let at = self.time + 300 * MICROSECOND;
            self.queue.push(at, Event::ClientClosed { client, connection });
        }
        for ask in asks {
            let Some(process) = &mut self.sites[index].process else { return };
            let mut effects = Vec::new();
            process.host.handle_ask(now, ask, &mut effects);
            self.carry_out_host(index, effects);
        }
        self.settle(index);
    }
}
