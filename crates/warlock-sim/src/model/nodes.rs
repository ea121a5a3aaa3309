//! Every state of one node that was ever seen, and what each input does to it.
//!
//! A node does not see the world: what an input does depends on the state of the node, the input
//! and the time. So each such step of the real roles is taken once and remembered, however many
//! states of the world it occurs in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use bytes::Bytes;
use hashbrown::HashMap;
use warlock_paxos::{Ballot, ChangeRequest, HandOver, Instant, Message, NodeId, Slot};

use super::bounds::Bounds;
use super::fingerprint::{Through, fingerprint};
use super::host::{Clock, Event, Host};

/// Everything that one node sent to another in one step. It arrives whole, at any time, as often
/// as it may, or never.
#[derive(Clone, Debug, Hash)]
pub(super) struct Packet {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) messages: Vec<Message>,
    /// The ballot whose scout it is for, if it holds nothing but promises.
    pub(super) promises: Option<Ballot>,
}

/// What may happen to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input {
    /// A packet arrives.
    Packet(u32),
    /// A packet arrives, and another copy of it is still under way.
    Copy(u32),
    /// Everything that it has written becomes durable.
    Sync,
    /// It stands for election.
    Elect,
    /// A client writes.
    Write(u64),
    /// A client asks for a read that covers what was acknowledged.
    Read(u64),
    /// It is asked to leave.
    Leave,
    /// It is asked for another membership.
    Change,
    /// It does what is due.
    Timeout,
    /// It dies and starts again.
    Restart,
}

/// A state of a node, and what the world asks of it all the time.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) host: Host,
    pub(super) deadlines: Vec<u64>,
    pub(super) due: Option<u64>,
    pub(super) serves_until: Option<u64>,
    pub(super) applied: Slot,
    pub(super) may_sync: bool,
    pub(super) may_scout: bool,
    pub(super) may_leave: bool,
    pub(super) scouts_with: Option<Ballot>,
    pub(super) round: u64,
    /// The number of the view that its acceptor is in.
    pub(super) view: u64,
}

impl Known {
    /// Whether the node serves, and would take the changes that it will be asked for.
    pub(super) fn is_settled(&self, bounds: &Bounds) -> bool {
        let leader = &self.host.node.leader;
        let (view, change) = (leader.membership().view(), Bounds::replacement());
        let request = ChangeRequest { view, change };
        let may_change = || leader.judge(self.host.clock.at(0), &request).is_ok();
        self.serves_until.is_some() && (bounds.changes == 0 || may_change())
    }
}

/// What an input did.
#[derive(Debug)]
pub(super) struct Effect {
    /// The state of the node afterwards.
    pub(super) node: u32,
    /// Packets sent.
    pub(super) sent: Vec<u32>,
    /// What was seen outside.
    pub(super) events: Vec<Event>,
    /// What is wrong with it.
    pub(super) violation: Option<String>,
}

type Numbers = HashMap<u64, u32, Through>;

/// All states of nodes, and all packets, by number.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: Vec<Known>,
    by_fingerprint: Numbers,
    packets: Vec<Packet>,
    packets_by_fingerprint: Numbers,
    effects: HashMap<u64, Rc<Effect>, Through>,
}

impl Nodes {
    /// The nodes of a new cluster.
    pub(super) fn start(&mut self, bounds: &Bounds) -> Vec<u32> {
        let membership = bounds.membership();
        let hosts = bounds.nodes().map(|id| {
            let origin = u64::from(id.number()) * 1_000_000_000_000;
            let clock = Clock { origin, per_mille: bounds.clock_per_mille(id) };
            Host::new(id, membership.clone(), clock)
        });
        hosts.map(|host| self.number(host)).collect()
    }

    pub(super) fn known(&self, node: u32) -> &Known {
        &self.known[node as usize]
    }

    pub(super) fn packet(&self, packet: u32) -> &Packet {
        &self.packets[packet as usize]
    }

    /// How many states of single nodes were seen.
    pub(super) fn count(&self) -> u64 {
        self.known.len() as u64
    }

    /// What `input` does to a node at a time.
    pub(super) fn effect(&mut self, node: u32, input: Input, time: u64) -> Rc<Effect> {
        let key = fingerprint(&(node, input, time));
        if let Some(effect) = self.effects.get(&key) {
            return Rc::clone(effect);
        }
        let mut host = self.known(node).host.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.act(&mut host, input, time)?;
            host.settle(time)
        }));
        let outcome = outcome.unwrap_or_else(|panic| Err(text_of(&*panic)));
        let effect = match outcome {
            Ok(outcome) => {
                let from = host.node.id();
                let sent = self.pack(from, outcome.sent);
                let node = self.number(host);
                Effect { node, sent, events: outcome.events, violation: None }
            }
            Err(text) => {
                Effect { node, sent: Vec::new(), events: Vec::new(), violation: Some(text) }
            }
        };
        let effect = Rc::new(effect);
        self.effects.insert(key, Rc::clone(&effect));
        effect
    }

    fn act(&self, host: &mut Host, input: Input, time: u64) -> Result<(), String> {
        let (now, far) = (host.clock.at(time), Instant::from_nanos(u64::MAX));
        let node = &mut host.node;
        match input {
            Input::Packet(packet) | Input::Copy(packet) => {
                let Packet { from, messages, .. } = self.packet(packet);
                messages.iter().for_each(|message| node.receive(*from, message.clone()));
            }
            Input::Sync => host.sync(time),
            Input::Elect => {
                let ask = HandOver { ballot: Ballot::ZERO };
                node.with_leader(now, |leader, out| leader.handle_hand_over(now, &ask, out));
            }
            Input::Write(ticket) => {
                let commands = Bytes::copy_from_slice(&ticket.to_le_bytes());
                node.with_replica(|replica, out| {
                    replica.handle_submit(now, ticket, commands, far, out);
                });
            }
            Input::Read(ticket) => {
                node.with_replica(|replica, out| replica.handle_read(now, ticket, far, out));
            }
            Input::Leave => {
                node.with_leader(now, |leader, out| leader.handle_leave(now, None, out));
            }
            Input::Change => node.with_leader(now, |leader, out| {
                let (view, change) = (leader.membership().view(), Bounds::replacement());
                leader.handle_change(now, 1, &ChangeRequest { view, change }, out);
            }),
            Input::Timeout => host.timeout(time),
            Input::Restart => host.restart(time)?,
        }
        Ok(())
    }

    fn pack(&mut self, from: NodeId, sent: Vec<(NodeId, Message)>) -> Vec<u32> {
        let mut packets: Vec<Packet> = Vec::new();
        for (to, message) in sent {
            let promises = if let Message::P1b(p1b) = &message { Some(p1b.asked) } else { None };
            let fits = |packet: &&mut Packet| packet.to == to && packet.promises == promises;
            match packets.iter_mut().find(fits) {
                Some(packet) => packet.messages.push(message),
                None => packets.push(Packet { from, to, messages: vec![message], promises }),
            }
        }
        packets.into_iter().map(|packet| self.number_of_packet(packet)).collect()
    }

    fn number_of_packet(&mut self, packet: Packet) -> u32 {
        let mark = fingerprint(&packet);
        if let Some(&number) = self.packets_by_fingerprint.get(&mark) {
            return number;
        }
        let number = number_after(self.packets.len());
        self.packets.push(packet);
        self.packets_by_fingerprint.insert(mark, number);
        number
    }

    fn number(&mut self, host: Host) -> u32 {
        let mark = fingerprint(&host);
        if let Some(&number) = self.by_fingerprint.get(&mark) {
            return number;
        }
        let number = number_after(self.known.len());
        let leader = &host.node.leader;
        let known = Known {
            deadlines: host.deadlines().collect(),
            due: host.due(),
            serves_until: host.serves_until(),
            applied: host.applied(),
            may_sync: host.unsynced() > 0,
            may_scout: leader.leads().is_none() && leader.scouts_with().is_none(),
            may_leave: leader.leads().is_some(),
            scouts_with: leader.scouts_with(),
            round: leader.scouts_with().map_or(0, |ballot| ballot.round),
            view: host.node.acceptor.membership().view().number(),
            host,
        };
        self.known.push(known);
        self.by_fingerprint.insert(mark, number);
        number
    }
}

fn number_after(length: usize) -> u32 {
    u32::try_from(length).expect("an exploration has less than 2^32 states of one node")
}

/// What a role said that stopped over an invariant of its own.
fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a role stopped").to_owned()
}
