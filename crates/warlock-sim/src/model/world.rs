//! A small world: three nodes, every packet that was ever sent, the time, what was seen from
//! outside, and what may still happen.
//!
//! Packets are never taken away. So each may be lost (it is not delivered), late, doubled and
//! reordered without anything being counted for that, and a state is as large as what differs.

use core::fmt;
use std::rc::Rc;

use hashbrown::HashMap;
use warlock_paxos::{NodeId, Slot};

use super::bounds::{Bounds, First};
use super::fingerprint::{Through, fingerprint};
use super::host::Event;
use super::nodes::{Input, Nodes};
use super::truth::Truth;

/// One thing that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// Something happens to the node at this place.
    Node(u8, Input),
    /// Time passes until the next moment at which something ends.
    Pass,
}

/// A state of the world; nodes, packets and truths by their numbers.
#[derive(Clone, Debug, Hash)]
pub(super) struct State {
    nodes: [u32; 3],
    truth: u32,
    time: u64,
    left: Bounds,
    /// Packets under way, in the order of their numbers.
    flight: Rc<[u32]>,
}

/// What all states share.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) nodes: Nodes,
    truths: Vec<Truth>,
    truths_by_fingerprint: HashMap<u64, u32, Through>,
}

impl State {
    pub(super) fn fingerprint(&self) -> u64 {
        fingerprint(self)
    }
}

impl World {
    /// The state in which every history begins.
    pub(super) fn start(&mut self, bounds: Bounds) -> State {
        let nodes = self.nodes.start(&bounds);
        let truth = self.number(Truth::default());
        let nodes = [nodes[0], nodes[1], nodes[2]];
        let start = State { nodes, truth, time: 0, left: bounds, flight: Rc::from([]) };
        if bounds.settled { self.settle(start) } else { start }
    }

    /// Has the first node elected, with every packet arriving at once, until it serves, and may be
    /// asked for what it will be asked for; what is under way then gets lost, but in a transition
    /// that it has begun to end.
    fn settle(&mut self, start: State) -> State {
        let bounds = start.left;
        let Bounds { apart, view_max, .. } = bounds;
        let calm = Bounds { apart, view_max, elections: 1, rounds: 1, ..Bounds::NONE };
        let mut state = State { left: calm, ..start };
        let mut actions = vec![Action::Node(0, Input::Elect)];
        while !self.nodes.known(state.nodes[0]).is_settled(&bounds) {
            let next = actions.iter().find_map(|&action| self.step(&state, action).ok().flatten());
            state = next.expect("a calm election ends with a master");
            actions.clear();
            self.actions(&state, &mut actions);
            actions.sort_by_key(|action| matches!(action, Action::Node(_, Input::Packet(_))));
        }
        let flight = match bounds.first {
            First::InTransition => state.flight,
            First::Three | First::Observed => Rc::from([]),
        };
        State { left: bounds, flight, ..state }
    }

    /// Everything that may happen next, in a fixed order.
    pub(super) fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for &packet in &*state.flight {
            let to = place(self.nodes.packet(packet).to);
            actions.push(Action::Node(to, Input::Packet(packet)));
            if state.left.copies > 0 {
                actions.push(Action::Node(to, Input::Copy(packet)));
            }
        }
        for at in 0..3 {
            self.actions_of(state, at, actions);
        }
        if state.left.passes > 0 && self.next_moment(state).is_some() {
            actions.push(Action::Pass);
        }
    }

    fn actions_of(&self, state: &State, at: u8, actions: &mut Vec<Action>) {
        let (known, left) = (self.nodes.known(state.nodes[usize::from(at)]), &state.left);
        let mut offer = |may: bool, input: Input| {
            if may {
                actions.push(Action::Node(at, input));
            }
        };
        offer(known.may_sync, Input::Sync);
        offer(left.elections > 0 && at < left.candidates && known.may_scout, Input::Elect);
        offer(left.writes > 0 && at < left.served, Input::Write(left.next_write()));
        offer(left.reads > 0 && at < left.served, Input::Read(left.next_read()));
        offer(left.leaves > 0 && known.may_leave, Input::Leave);
        offer(left.changes > 0 && known.may_leave, Input::Change);
        let due = known.due.is_some_and(|due| due <= state.time);
        offer(left.timeouts > 0 && at < left.beating && due, Input::Timeout);
        offer(left.restarts > 0 && at < left.mortal, Input::Restart);
    }

    /// The next moment at which something ends.
    fn next_moment(&self, state: &State) -> Option<u64> {
        let left = &state.left;
        let beating = if left.timeouts > 0 { usize::from(left.beating) } else { 0 };
        let moments = state.nodes.iter().enumerate().flat_map(|(at, &node)| {
            let known = self.nodes.known(node);
            known.deadlines.iter().copied().chain(known.due.filter(|_| at < beating))
        });
        moments.filter(|&moment| moment > state.time).min()
    }

    /// The state after `action`, `None` if it changes nothing, or what is wrong with it.
    pub(super) fn step(&mut self, state: &State, action: Action) -> Result<Option<State>, String> {
        let Action::Node(at, input) = action else {
            let mut next = state.clone();
            next.left.passes -= 1;
            next.time = self.next_moment(state).unwrap_or(state.time);
            return self.check(&next).map(|()| Some(next));
        };
        let at = usize::from(at);
        let effect = self.nodes.effect(state.nodes[at], input, state.time);
        if let Some(text) = &effect.violation {
            return Err(text.clone());
        }
        let (known, left) = (self.nodes.known(effect.node), &state.left);
        if known.round > u64::from(left.rounds) || known.view > u64::from(left.view_max) {
            return Ok(None);
        }
        if effect.node == state.nodes[at] && effect.events.is_empty() && effect.sent.is_empty() {
            return Ok(None);
        }
        let mut next = state.clone();
        next.left.take(input);
        next.nodes[at] = effect.node;
        next.flight = self.fly(&next, at, input, &effect.sent);
        if let Input::Read(ticket) = input {
            next.truth = self.judge(next.truth, |truth| {
                truth.begin_read(ticket);
                Ok(())
            })?;
        }
        if !effect.events.is_empty() {
            self.witness(&mut next, at, &effect.events)?;
        }
        self.check(&next).map(|()| Some(next))
    }

    /// What is under way after a node took its input and sent packets. Promises to a scout that is
    /// gone reach nobody any more.
    fn fly(&self, state: &State, at: usize, input: Input, sent: &[u32]) -> Rc<[u32]> {
        let arrived = if let Input::Packet(packet) = input { Some(packet) } else { None };
        let left = state.flight.iter().copied().filter(|&packet| Some(packet) != arrived);
        let mut flight: Vec<u32> = left.chain(sent.iter().copied()).collect();
        flight.retain(|&packet| {
            let packet = self.nodes.packet(packet);
            if state.left.apart && packet.from.number() + packet.to.number() == 3 {
                return false;
            }
            usize::from(place(packet.to)) != at
                || packet.promises.is_none_or(|asked| {
                    self.nodes.known(state.nodes[at]).scouts_with == Some(asked)
                })
        });
        flight.sort_unstable();
        flight.dedup();
        Rc::from(flight)
    }

    /// Compares what a node did with what was seen before.
    fn witness(&mut self, state: &mut State, at: usize, events: &[Event]) -> Result<(), String> {
        let id = name(at);
        let mut truth = self.truths[state.truth as usize].clone();
        for event in events {
            match event {
                Event::Applied(slot, batch) => {
                    if truth.apply(id, *slot, batch)? {
                        self.check_durable(state, id, *slot, batch)?;
                    }
                }
                Event::Acknowledged(slot) => truth.acknowledge(*slot),
                Event::Failed(ticket, fate) => truth.fail(*ticket, *fate)?,
                Event::Entered(membership) => truth.enter(id, membership)?,
                Event::Read { ticket, allowed, applied } => {
                    truth.end_read(id, *ticket, *allowed, *applied)?;
                }
            }
        }
        state.truth = self.number(truth);
        Ok(())
    }

    fn judge(
        &mut self,
        truth: u32,
        act: impl FnOnce(&mut Truth) -> Result<(), String>,
    ) -> Result<u32, String> {
        let mut truth = self.truths[truth as usize].clone();
        act(&mut truth)?;
        Ok(self.number(truth))
    }

    fn number(&mut self, truth: Truth) -> u32 {
        let mark = fingerprint(&truth);
        let next = self.truths.len();
        let number = *self.truths_by_fingerprint.entry(mark).or_insert_with(|| {
            u32::try_from(next).expect("an exploration has less than 2^32 truths")
        });
        if number as usize == next {
            self.truths.push(truth);
        }
        number
    }

    fn check_durable(
        &self,
        state: &State,
        by: NodeId,
        slot: Slot,
        batch: &warlock_paxos::Batch,
    ) -> Result<(), String> {
        let known = state.nodes.iter().map(|&node| self.nodes.known(node));
        let holders = known.filter(|known| known.host.holds(slot, batch)).count();
        if holders > state.nodes.len() / 2 {
            return Ok(());
        }
        Err(format!("durability: {by} applies {slot}, which is durable on {holders} nodes only"))
    }

    /// What must hold between the nodes at any moment.
    fn check(&self, state: &State) -> Result<(), String> {
        let known = |at: &usize| self.nodes.known(state.nodes[*at]);
        let serves = |at: &usize| known(at).serves_until.is_some_and(|end| state.time < end);
        let mut serving = (0..3).filter(serves);
        let Some(at) = serving.next() else { return Ok(()) };
        if let Some(other) = serving.next() {
            let (one, other) = (name(at), name(other));
            return Err(format!("L1: {one} and {other} serve local reads at the same time"));
        }
        self.truths[state.truth as usize].serve(name(at), known(&at).applied)
    }

    /// One line that says what `action` is.
    pub(super) fn describe(&self, action: Action) -> String {
        let Action::Node(at, input) = action else { return String::from("time passes") };
        let id = name(usize::from(at));
        match input {
            Input::Packet(packet) | Input::Copy(packet) => {
                let packet = self.nodes.packet(packet);
                let texts: Vec<String> = packet.messages.iter().map(ToString::to_string).collect();
                format!("{}->{} {}", packet.from, packet.to, texts.join(" | "))
            }
            Input::Sync => format!("{id} syncs"),
            Input::Elect => format!("{id} stands for election"),
            Input::Write(ticket) => format!("{id} takes write {ticket}"),
            Input::Read(ticket) => format!("{id} takes read {ticket}"),
            Input::Leave => format!("{id} is asked to leave"),
            Input::Change => format!("{id} is asked to {}", Bounds::replacement()),
            Input::Timeout => format!("{id} does what is due"),
            Input::Restart => format!("{id} dies and starts again"),
        }
    }

    /// One line for each node.
    pub(super) fn describe_state(&self, state: &State) -> Vec<String> {
        let lines = state.nodes.iter().map(|&node| {
            let known = self.nodes.known(node);
            let node = &known.host.node;
            let leads = Shown(" leads ", node.leader.leads());
            let scouts = Shown(" scouts with ", node.leader.scouts_with());
            let serves = known.serves_until.is_some_and(|end| state.time < end);
            let serves = if serves { " serves" } else { "" };
            let unsynced = if known.may_sync { " has not synced" } else { "" };
            let (ballot, applied) = (node.acceptor.ballot(), known.applied);
            let id = node.id();
            let view = node.leader.membership();
            format!(
                "{id} in {view} acceptor {ballot} applied {applied}{leads}{scouts}{serves}\
                 {unsynced}"
            )
        });
        lines.chain([format!("at {} ms", state.time / 1_000_000)]).collect()
    }
}

/// Something that may be missing, with a word before it.
struct Shown<T>(&'static str, Option<T>);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1 {
            Some(value) => write!(f, "{}{value}", self.0),
            None => Ok(()),
        }
    }
}

fn name(at: usize) -> NodeId {
    NodeId::new(u16::try_from(at + 1).expect("three nodes"))
}

fn place(id: NodeId) -> u8 {
    u8::try_from(id.number() - 1).expect("three nodes")
}
