//! What a node that is reset forgets: no more than the others hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use warlock_node::operations::Operation;
use warlock_node::seam::{Answer, ConnectionId};
use warlock_node::{Effect, Host, HostOptions, Machine, Overview, PeerFacts, Recovery, Shared};
use warlock_paxos::{
    Ballot, Heartbeat, Instant, Membership, NodeId, Notice, Slot, Span, Standing, Timing, View,
};
use warlock_wal::{FaultyDisk, Outcome};

use crate::rig::{Rig, options};

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const MASTER: u16 = 2;

/// The host of n1, which has applied all below slot 900, in a cluster of which n2 is the master.
struct Follower(Host);

impl Follower {
    fn new(nodes: u16, log_start: u64) -> Self {
        let recovery = Recovery::run(FaultyDisk::new(1), &options(7)).expect("the disk works");
        let facts = || PeerFacts { version: String::new(), client_addr: String::new() };
        let node = NodeId::new(1);
        let membership = Membership::new(View::new(1), (1..=nodes).map(NodeId::new));
        let patience = Timing::DEFAULT.patience();
        let overview = || {
            let name = "test".to_owned();
            Overview::new(node, name, &membership, BTreeMap::new(), facts(), patience)
        };
        let applied = Slot::new(900);
        let shared = Arc::new(Shared::new(recovery.reader, overview().status(NOW, applied)));
        let options = HostOptions {
            node,
            request_timeout: Span::from_millis(10_000),
            snapshot_after_bytes: u64::MAX,
            log_start: Slot::new(log_start),
            overview: overview(),
        };
        let machine = Machine::new(recovery.applier, recovery.log_time, 1);
        let mut follower = Self(Host::new(options, shared, machine, applied, 0));
        let node = NodeId::new(MASTER);
        let ballot = Ballot { view: View::new(1), round: 1, node };
        follower.notice(Notice::Master(Some(ballot)));
        for id in 2..=nodes {
            follower.0.note_peer(NOW, NodeId::new(id), Some(facts()));
        }
        follower
    }

    fn notice(&mut self, notice: Notice) {
        self.0.handle_notice(NOW, notice, &mut Vec::new());
    }

    /// The node says itself what it applied.
    fn hear(&mut self, from: u16, applied: u64) {
        let heartbeat = Heartbeat {
            round: 1,
            view: View::new(1),
            ballot: Ballot::ZERO,
            lease: false,
            standing: Standing::Unhappy,
            applied: Slot::new(applied),
            decided: Slot::FIRST,
            held: Vec::new(),
            log_time: None,
            digest: None,
        };
        self.0.note_heartbeat(NOW, NodeId::new(from), &heartbeat);
    }

    /// The master says what is durable where.
    fn told(&mut self, held: &[(u16, u64)]) {
        let held = held.iter().map(|&(node, slot)| (NodeId::new(node), Slot::new(slot)));
        self.notice(Notice::Held(held.collect()));
    }

    /// The slot below which it is to forget, or why it refuses.
    fn reset(&mut self) -> Result<u64, String> {
        let mut out = Vec::new();
        self.0.operate(NOW, (0, ConnectionId(1)), Operation::Reset, &mut out);
        let (mut below, mut answer) = (None, None);
        for effect in out {
            if let Effect::Reset(slot) = effect {
                below = Some(slot.position());
            } else if let Effect::Answer { answer: Answer::Operated { outcome, .. }, .. } = effect {
                answer = Some(outcome);
            }
        }
        answer.expect("an answer")?;
        Ok(below.expect("a reset"))
    }
}

#[test]
fn no_more_is_forgotten_than_so_many_others_hold_as_are_a_quorum() {
    let mut three = Follower::new(3, 1);
    three.hear(2, 900);
    three.hear(3, 890);
    three.told(&[(1, 900), (2, 900), (3, 500)]);
    assert_eq!(three.reset(), Ok(500));
    three.told(&[(1, 900), (2, 2000), (3, 2000)]);
    assert_eq!(three.reset(), Ok(890));

    let mut five = Follower::new(5, 1);
    (2..=5).for_each(|id| five.hear(id, 900));
    five.told(&[(2, 900), (3, 100), (4, 700), (5, 800)]);
    assert_eq!(five.reset(), Ok(700), "n2, n4 and n5 are a quorum");
    five.told(&[(2, 2000), (3, 2000), (4, 2000), (5, 2000)]);
    (2..=5).for_each(|id| five.hear(id, 2000));
    assert_eq!(five.reset(), Ok(900), "what it has not applied stays in its log");
}

#[test]
fn a_node_whose_snapshot_covers_what_others_lack_is_not_reset() {
    let mut node = Follower::new(3, 600);
    node.hear(2, 900);
    node.hear(3, 900);
    node.told(&[(2, 900), (3, 599)]);
    assert_eq!(node.reset(), Err("TRYAGAIN the other voters have not caught up".to_owned()));
    node.told(&[(2, 900), (3, 600)]);
    assert_eq!(node.reset(), Ok(600));
}

#[test]
fn a_node_that_was_just_reset_holds_nothing_whatever_the_master_says() {
    let mut node = Follower::new(3, 1);
    node.hear(2, 900);
    node.hear(3, 900);
    node.told(&[(2, 900), (3, 900)]);
    node.0.note_peer(NOW, NodeId::new(3), None);
    let refused = node.reset().expect_err("n2 alone is no quorum");
    assert!(refused.starts_with("REFUSED of the other voters fewer answer"), "{refused}");
    let facts = PeerFacts { version: String::new(), client_addr: String::new() };
    node.0.note_peer(NOW, NodeId::new(3), Some(facts));
    node.hear(3, 1);
    assert_eq!(node.reset(), Err("TRYAGAIN the other voters have not caught up".to_owned()));
}

/// A directory with a snapshot and a log behind it, and what a node starts from with it.
fn written() -> (FaultyDisk, Recovery<FaultyDisk>) {
    let mut rig = Rig::start(FaultyDisk::new(1), 7, 1);
    for number in 0..30 {
        rig.expect(&format!("SET key{number} {number}\r\n"), "+OK\r\n");
    }
    rig.tick();
    for number in 0..10 {
        rig.expect(&format!("SET key{number} {number}\r\n"), "+OK\r\n");
    }
    let disk = rig.disk.restart(Outcome::Lost);
    let found = Recovery::run(disk.clone(), &options(7)).expect("nothing is damaged");
    (disk, found)
}

#[test]
fn whatever_interrupts_it_nothing_is_taken_for_empty_and_no_promise_is_forgotten() {
    for step in 1.. {
        let (disk, found) = written();
        let (before, floor) = (found.roles.acceptor, found.log_start);
        assert!(floor > Slot::FIRST && before.known.distance_from(floor) > 4, "there are both");
        let below = Slot::new(floor.position() + 3);
        disk.crash_at(disk.steps() + step);
        let forgot = Recovery::forget(disk.clone(), &options(7), below);
        let is_complete = !disk.is_crashed();
        let disk = disk.restart(Outcome::Lost);
        let after = Recovery::run(disk, &options(7)).expect("nothing is damaged").roles.acceptor;
        assert_eq!((after.ballot, after.known), (before.ballot, before.known), "step {step}");
        let mut slot = after.decided;
        while slot < before.known {
            let is_unknown = after.unknown.iter().any(|range| range.contains(slot));
            let is_held = after.pvalues.iter().any(|pvalue| pvalue.slot == slot);
            assert!(is_unknown != is_held, "{slot} at step {step}");
            assert!(is_unknown || slot >= below, "{slot} at step {step}");
            slot = slot.next();
        }
        if is_complete {
            assert_eq!((forgot, after.decided), (Ok(true), Slot::FIRST));
            return;
        }
    }
}

#[test]
fn a_snapshot_taken_meanwhile_stays() {
    let (disk, found) = written();
    let below = Slot::new(found.log_start.position() - 1);
    assert_eq!(Recovery::forget(disk.clone(), &options(7), below), Ok(false));
    let again = Recovery::run(disk, &options(7)).expect("nothing is damaged");
    assert_eq!(again.roles.acceptor.decided, found.roles.acceptor.decided);
}
