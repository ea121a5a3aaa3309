//! Rivals in many views: nodes stand for election whenever they like, messages take any time, and
//! the voters change by many at once. Time stands still and leases are talked away, so that nothing
//! but M1 to M3 keeps what is decided. Each run is short, and there are very many.
//!
//! `WARLOCK_RUNS=1000000 cargo test -p warlock-paxos --test it rivals` looks further, and
//! `WARLOCK_SEED=17` repeats one run.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use warlock_paxos::{
    Acceptor, Change, ChangeRequest, Charter, HandOver, Instant, Leader, Member, Membership,
    Message, Node, NodeEffect, NodeId, NodeState, Notice, Release, Replica, Seat, Span, Timing,
    View,
};

use crate::exploration::number;
use crate::support::checker::Checker;
use crate::support::disk::{Disk, incarnation};
use crate::support::random::Random;
use crate::support::{WALL_START, node};

const RUNS: u64 = 1000;
const STEPS: u64 = 1500;
const NODES: u16 = 6;
const NOW: Instant = Instant::from_nanos(1_000_000_000);

struct Rivals {
    random: Random,
    nodes: BTreeMap<NodeId, Node>,
    network: VecDeque<(NodeId, NodeId, Message)>,
    /// How many of a thousand messages come out of turn.
    disorder: u64,
    checker: Checker,
    next_id: u64,
}

/// Three voters, and three observers that hold everything, which is nothing.
fn first() -> Membership {
    let member = |number| Member {
        node: node(number),
        seat: if number <= 3 { Seat::Voter } else { Seat::Observer },
        voted: false,
        address: String::new(),
        incarnation: None,
    };
    let members = (1..=NODES).map(member).collect();
    let highest = node(NODES);
    let charter = Charter { view: View::new(1), transitional: false, highest, members };
    Membership::from_charter(charter).expect("a membership")
}

impl Rivals {
    fn new(seed: u64) -> Self {
        let membership = first();
        let start = |id: NodeId| {
            let recovered = Disk::default().recover(id, seed + u64::from(id.number()));
            let timing = Timing::DEFAULT;
            let state = NodeState {
                acceptor: Acceptor::new(id, membership.clone(), timing, recovered.acceptor, NOW),
                leader: Leader::new(id, membership.clone(), timing, recovered.leader, NOW),
                replica: Replica::new(id, timing, recovered.replica),
            };
            let mut started = Node::new(id, state, NOW);
            for met in (1..=NODES).map(node) {
                started.leader.note_member(met, String::new(), Some(incarnation(met)));
            }
            (id, started)
        };
        let nodes = (1..=NODES).map(|number| start(node(number))).collect();
        let mut checker = Checker::default();
        checker.enter(membership.charter());
        let mut random = Random::new(seed);
        let disorder = random.between(10, 300);
        Self { random, nodes, network: VecDeque::new(), disorder, checker, next_id: 1 }
    }

    fn step(&mut self) {
        let id = node(u16::try_from(self.random.between(1, u64::from(NODES))).expect("few"));
        match self.random.below(1000) {
            0..=7 => self.elect(id),
            8..=19 => self.propose(id),
            20..=59 => self.change(),
            60..=62 => self.lose(),
            _ => self.deliver(),
        }
    }

    /// Delivers mostly the oldest message, and sometimes any, so that some come very early.
    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let any = self.random.chance(self.disorder);
        let index = if any { self.random.index(self.network.len()) } else { 0 };
        let (from, to, message) = self.network.remove(index).expect("it is there");
        self.with(to, |node| node.receive(from, message));
    }

    /// Loses what one node said to another.
    fn lose(&mut self) {
        let Some(&(from, to, _)) = self.network.front() else { return };
        self.network.retain(|(sender, receiver, _)| (*sender, *receiver) != (from, to));
    }

    /// Has a node stand for election, once every lease was talked away.
    fn elect(&mut self, id: NodeId) {
        let led: Vec<_> = self.nodes.values().filter_map(|node| node.leader.leads()).collect();
        let known: Vec<_> = self.nodes.values().map(|node| node.acceptor.ballot()).collect();
        for ballot in led.into_iter().chain(known) {
            for to in (1..=NODES).map(node) {
                let release = Message::Release(Release { ballot });
                self.with(to, |node| node.receive(ballot.node, release));
            }
        }
        let ballot = self.nodes[&id].acceptor.ballot();
        let ask = HandOver { ballot };
        self.with(id, |node| {
            node.with_leader(NOW, |leader, out| leader.handle_hand_over(NOW, &ask, out));
        });
    }

    fn propose(&mut self, id: NodeId) {
        let ticket = self.next_id;
        self.next_id += 1;
        let commands = Bytes::copy_from_slice(&ticket.to_le_bytes());
        let deadline = NOW.after(Span::from_millis(60_000));
        self.with(id, |node| {
            node.with_replica(|replica, out| {
                replica.handle_submit(NOW, ticket, commands, deadline, out);
            });
        });
    }

    /// Asks one that leads for other voters: any of the members.
    fn change(&mut self) {
        let led = self.nodes.values().filter(|node| node.leader.leads().is_some());
        let led: Vec<NodeId> = led.map(Node::id).collect();
        if led.is_empty() {
            return;
        }
        let id = led[self.random.index(led.len())];
        let membership = self.nodes[&id].leader.membership().clone();
        let everyone = membership.everyone();
        let count = self.random.between(1, 3);
        let drawn = (0..count).map(|_| everyone[self.random.index(everyone.len())]).collect();
        let change = Change::SetVoters { voters: drawn };
        let request = ChangeRequest { view: membership.view(), change };
        self.with(id, |node| {
            node.with_leader(NOW, |leader, out| leader.handle_change(NOW, 1, &request, out));
        });
    }

    fn with(&mut self, id: NodeId, act: impl FnOnce(&mut Node)) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        act(node);
        loop {
            let mut effects = node.take_effects();
            while node.deliver(NOW, WALL_START, self.random.index(4)) {
                effects.append(&mut node.take_effects());
            }
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    NodeEffect::Send { to, message } => self.network.push_back((id, to, message)),
                    NodeEffect::Persist { then, .. } => node.persisted(NOW, then),
                    NodeEffect::Notify(Notice::Apply { slot, batch, .. }) => {
                        self.checker.apply(id, slot, &batch);
                    }
                    NodeEffect::Notify(Notice::InForce(membership)) => {
                        self.checker.enter(membership.charter());
                    }
                    NodeEffect::Notify(Notice::Failed { ticket, fate }) => {
                        self.checker.fail(ticket, fate);
                    }
                    NodeEffect::Notify(_) => {}
                }
            }
        }
    }
}

/// One run: views that were entered and slots that were decided, or what went wrong.
fn run(seed: u64) -> Result<(u64, u64), String> {
    let mut rivals = Rivals::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        (0..STEPS).for_each(|_| rivals.step());
    }));
    let text = |panic: Box<dyn std::any::Any + Send>| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        format!("WARLOCK_SEED={seed}: {text}")
    };
    outcome.map_err(text)?;
    let views = rivals.checker.newest().view.number();
    Ok((views, rivals.checker.decided().position()))
}

#[test]
fn nothing_decided_is_lost_while_everybody_wants_to_lead_in_every_view() {
    let only = number("WARLOCK_SEED");
    let runs = number("WARLOCK_RUNS").unwrap_or(RUNS);
    let seeds = only.map_or(1..=runs, |seed| seed..=seed);
    let (mut views, mut slots) = (0, 0);
    for seed in seeds {
        let (entered, decided) = run(seed).unwrap_or_else(|failure| panic!("{failure}"));
        views += entered - 1;
        slots += decided - 1;
    }
    assert!(only.is_some() || views > runs, "only {views} views and {slots} slots in {runs} runs");
}
