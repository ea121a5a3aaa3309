//! What the protocol core alone costs: three nodes on one thread, with a network and disks that
//! take no time. `cargo bench -p warlock-paxos`.

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use warlock_paxos::{
    Acceptor, AcceptorState, Ballot, HandOver, Incarnation, Instant, Leader, LeaderState, LogTime,
    Membership, Node, NodeEffect, NodeId, NodeState, Notice, Replica, ReplicaState, Slot, Span,
    Timing, View,
};

/// Submissions that a node takes before the network moves.
const SUBMISSIONS: &[u64] = &[1, 16, 128];
/// About a `SET` with a short key and value.
const COMMANDS: &[u8] = &[b'x'; 48];
const ROUNDS: u64 = 100;

fn main() {
    divan::main();
}

struct Cluster {
    nodes: Vec<Node>,
    now: Instant,
    next_ticket: u64,
    answered: u64,
}

impl Cluster {
    /// Three nodes of which the first is master.
    fn elected() -> Self {
        let membership = Membership::new(View::new(1), (1..=3).map(NodeId::new));
        let now = Instant::from_nanos(1_000_000_000);
        let nodes = (1..=3).map(|number| new_node(NodeId::new(number), &membership, now)).collect();
        let mut cluster = Self { nodes, now, next_ticket: 0, answered: 0 };
        let ask = HandOver { ballot: Ballot::ZERO };
        cluster.nodes[0].with_leader(now, |leader, out| leader.handle_hand_over(now, &ask, out));
        cluster.settle();
        assert!(cluster.nodes[0].leader.serves_until().is_some(), "the first node is master");
        cluster
    }

    fn submit(&mut self, node: usize, count: u64) {
        let (now, first) = (self.now, self.next_ticket);
        self.next_ticket += count;
        let deadline = now.after(Span::from_millis(60_000));
        self.nodes[node].with_replica(|replica, out| {
            for ticket in first..first + count {
                let commands = Bytes::from_static(COMMANDS);
                replica.handle_submit(now, ticket, commands, deadline, out);
            }
        });
    }

    /// Carries out everything until nobody has anything left to do.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for index in 0..self.nodes.len() {
                while self.nodes[index].deliver(self.now, LogTime::ZERO, 0) {}
                for effect in self.nodes[index].take_effects() {
                    idle = false;
                    self.carry_out(index, effect);
                }
            }
            if idle && self.nodes.iter().all(|node| node.deliverable() == 0) {
                return;
            }
        }
    }

    fn carry_out(&mut self, index: usize, effect: NodeEffect) {
        match effect {
            NodeEffect::Send { to, message } => {
                let from = self.nodes[index].id();
                self.nodes[usize::from(to.number()) - 1].receive(from, message);
            }
            NodeEffect::Persist { then, .. } => self.nodes[index].persisted(self.now, then),
            NodeEffect::Notify(Notice::Apply { tickets, .. }) => {
                self.answered += tickets.len() as u64;
            }
            NodeEffect::Notify(_) => {}
        }
    }
}

fn new_node(id: NodeId, membership: &Membership, now: Instant) -> Node {
    let timing = Timing::DEFAULT;
    let acceptor = AcceptorState {
        ballot: Ballot::ZERO,
        pvalues: Vec::new(),
        decided: Slot::FIRST,
        unknown: Vec::new(),
        known: Slot::FIRST,
        restarted: false,
        incarnation: Incarnation::new(u128::from(id.number())),
        reconfiguration: None,
    };
    let leader = LeaderState {
        ballot: Ballot::ZERO,
        applied: Slot::FIRST,
        log_time: LogTime::ZERO,
        seed: u64::from(id.number()),
    };
    let replica = ReplicaState {
        incarnation: Incarnation::new(u128::from(id.number())),
        first_sequence: 1,
        snapshot: Slot::FIRST,
        log_time: LogTime::ZERO,
        decided: Vec::new(),
    };
    let state = NodeState {
        acceptor: Acceptor::new(id, membership.clone(), timing, acceptor, now),
        leader: Leader::new(id, membership.clone(), timing, leader, now),
        replica: Replica::new(id, timing, replica),
    };
    Node::new(id, state, now)
}

/// Submissions of the master's own clients: time for each, all three nodes together.
#[divan::bench(args = SUBMISSIONS)]
fn on_the_master(bencher: Bencher<'_, '_>, submissions: u64) {
    run(bencher, 0, submissions);
}

/// Submissions of a follower's clients, which it forwards.
#[divan::bench(args = SUBMISSIONS)]
fn on_a_follower(bencher: Bencher<'_, '_>, submissions: u64) {
    run(bencher, 1, submissions);
}

fn run(bencher: Bencher<'_, '_>, node: usize, submissions: u64) {
    bencher
        .counter(ItemsCount::new(ROUNDS * submissions))
        .with_inputs(Cluster::elected)
        .bench_local_values(|mut cluster| {
            for _ in 0..ROUNDS {
                cluster.submit(node, submissions);
                cluster.settle();
            }
            assert!(cluster.answered == ROUNDS * submissions, "every submission was answered");
            cluster
        });
}
