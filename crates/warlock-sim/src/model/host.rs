//! One node of a small world: the real roles, a disk, a clock, and what the node owes to others.

use std::collections::BTreeSet;

use warlock_paxos::{
    Acceptor, Ballot, Batch, Fate, Incarnation, Instant, Leader, LogTime, Membership, Message,
    Node, NodeEffect, NodeId, NodeState, Notice, P1b, P2b, Replica, Slot, Timing, invariants,
};

use super::disk::Disk;

const WALL: LogTime = LogTime::from_micros(1_000_000_000_000);
/// More local deliveries than any step needs.
const DELIVERIES_MAX: usize = 10_000;

/// A clock with its own origin, and a rate that is wrong by some thousandths.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Clock {
    /// What it shows when the history begins, in nanoseconds.
    pub(super) origin: u64,
    /// Thousandths of the true rate.
    pub(super) per_mille: u64,
}

impl Clock {
    pub(super) const fn at(self, truth: u64) -> Instant {
        Instant::from_nanos(self.origin + truth * self.per_mille / 1000)
    }

    /// The first moment at which this clock shows `local` or later; `None` for the far future.
    pub(super) fn when(self, local: Instant) -> Option<u64> {
        let since = local.nanos().checked_sub(self.origin)?;
        Some(since.checked_mul(1000)?.div_ceil(self.per_mille))
    }
}

/// One node.
#[derive(Clone, Debug, Hash)]
pub(super) struct Host {
    pub(super) node: Node,
    pub(super) clock: Clock,
    disk: Disk,
    /// What it starts with as long as its disk knows no other.
    membership: Membership,
    applied: Slot,
    /// Until when the leader said that clients may read here.
    serve: Option<Instant>,
    /// The highest ballot that it told others to have promised or accepted.
    promised: Ballot,
    /// What it told others to have accepted.
    accepted: BTreeSet<(Ballot, Slot)>,
}

/// What a step of one node did to the world.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Messages in the order of sending.
    pub(super) sent: Vec<(NodeId, Message)>,
    /// What clients and the state machine saw, in order.
    pub(super) events: Vec<Event>,
}

/// What a node did that somebody outside can see.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// It applied a batch.
    Applied(Slot, Batch),
    /// It acknowledged a write that is in the slot.
    Acknowledged(Slot),
    /// It told a client what became of a write that it gave up.
    Failed(u64, Fate),
    /// It answered a read on all below the slot, or refused it.
    Read { ticket: u64, allowed: bool, applied: Slot },
    /// It entered a view.
    Entered(Membership),
}

fn start(id: NodeId, first: &Membership, disk: &mut Disk, now: Instant) -> Node {
    let timing = Timing::DEFAULT;
    let recovered = disk.recover(id);
    let known = disk.in_force().cloned().map(Membership::from_charter);
    let membership = known.map_or_else(|| first.clone(), |known| known.expect("it was one"));
    let state = NodeState {
        acceptor: Acceptor::new(id, membership.clone(), timing, recovered.acceptor, now),
        leader: Leader::new(id, membership, timing, recovered.leader, now),
        replica: Replica::new(id, timing, recovered.replica),
    };
    let mut node = Node::new(id, state, now);
    for met in first.members() {
        let incarnation = Incarnation::new(u128::from(met.node.number()));
        node.leader.note_member(met.node, String::new(), Some(incarnation));
    }
    node
}

impl Host {
    pub(super) fn new(id: NodeId, membership: Membership, clock: Clock) -> Self {
        let mut disk = Disk::default();
        let node = start(id, &membership, &mut disk, clock.at(0));
        Self {
            node,
            clock,
            disk,
            membership,
            applied: Slot::FIRST,
            serve: None,
            promised: Ballot::ZERO,
            accepted: BTreeSet::new(),
        }
    }

    pub(super) const fn unsynced(&self) -> usize {
        self.disk.unsynced()
    }

    pub(super) fn holds(&self, slot: Slot, batch: &Batch) -> bool {
        self.disk.holds(slot, batch)
    }

    /// Until when clients may read here.
    pub(super) fn serves_until(&self) -> Option<u64> {
        self.clock.when(self.serve?)
    }

    pub(super) const fn applied(&self) -> Slot {
        self.applied
    }

    /// The moments at which something ends that other nodes rely on.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = u64> + '_ {
        let local = self.node.acceptor.refusals_end().chain(self.serve);
        local.filter_map(|instant| self.clock.when(instant))
    }

    /// When the node wants to do something.
    pub(super) fn due(&self) -> Option<u64> {
        self.clock.when(self.node.next_timeout()?)
    }

    /// Everything written becomes durable.
    pub(super) fn sync(&mut self, time: u64) {
        for then in self.disk.sync() {
            self.node.persisted(self.clock.at(time), then);
        }
    }

    /// The process dies, and a new one starts on what is durable.
    pub(super) fn restart(&mut self, time: u64) -> Result<(), String> {
        self.disk.crash();
        let (id, told) = (self.node.id(), self.promised);
        self.node = start(id, &self.membership, &mut self.disk, self.clock.at(time));
        self.applied = Slot::FIRST;
        self.serve = None;
        let remembered = self.node.acceptor.ballot();
        if remembered < told {
            return Err(format!("P1: {id} told {told} but remembers only {remembered}"));
        }
        for &(ballot, slot) in &self.accepted {
            if !self.disk.remembers(ballot, slot) {
                return Err(format!("P1: {id} told that it accepted {slot} under {ballot}"));
            }
        }
        Ok(())
    }

    /// Delivers what the roles of this node have for each other, in the order of sending, and
    /// carries out what they ask of their host.
    pub(super) fn settle(&mut self, time: u64) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let now = self.clock.at(time);
        for _ in 0..DELIVERIES_MAX {
            for effect in self.node.take_effects() {
                match effect {
                    NodeEffect::Send { to, message } => {
                        self.note_told(&message);
                        outcome.sent.push((to, message));
                    }
                    NodeEffect::Persist { record, then } => {
                        if !self.disk.write(record, then) {
                            self.node.acceptor.handle_synced(now, 1);
                        }
                    }
                    NodeEffect::Notify(notice) => self.notice(notice, &mut outcome)?,
                }
            }
            if !self.node.deliver(now, WALL, 0) {
                return match invariants::check(&self.node) {
                    Ok(()) => Ok(outcome),
                    Err(violation) => Err(format!("{}: {violation}", self.node.id())),
                };
            }
        }
        Err(format!("liveness: the roles of {} never come to rest", self.node.id()))
    }

    fn note_told(&mut self, message: &Message) {
        if let Message::P1b(P1b { asked, promised, .. }) = message
            && asked == promised
        {
            self.promised = self.promised.max(*promised);
        }
        if let Message::P2b(P2b { asked, promised, slot, .. }) = message
            && asked == promised
        {
            self.promised = self.promised.max(*promised);
            // Of a decided slot the content counts, under whatever ballot it is on record.
            if *slot >= self.node.acceptor.decided() {
                self.accepted.insert((*asked, *slot));
            }
        }
    }

    fn notice(&mut self, notice: Notice, outcome: &mut Outcome) -> Result<(), String> {
        let id = self.node.id();
        let events = &mut outcome.events;
        match notice {
            Notice::Apply { slot, batch, tickets } => {
                if slot != self.applied {
                    return Err(format!("P5: {id} applies {slot} at {}", self.applied));
                }
                self.applied = slot.next();
                events.push(Event::Applied(slot, batch));
                events.extend(tickets.iter().map(|_| Event::Acknowledged(slot)));
            }
            Notice::Failed { ticket, fate } => events.push(Event::Failed(ticket, fate)),
            Notice::ReadReady { ticket, allowed } => {
                events.push(Event::Read { ticket, allowed, applied: self.applied });
            }
            Notice::Diverged { slot } => return Err(format!("agreement: {id} differs at {slot}")),
            Notice::Serve(end) => self.serve = end,
            Notice::InForce(membership) => events.push(Event::Entered(membership)),
            Notice::Master(_)
            | Notice::Held(_)
            | Notice::LogClock(..)
            | Notice::SnapshotWanted
            | Notice::ReadLog { .. }
            | Notice::ReadSnapshot { .. }
            | Notice::WriteSnapshot { .. }
            | Notice::InstallSnapshot { .. }
            | Notice::HandedOver
            | Notice::ChangeAnswered { .. }
            | Notice::Retired
            | Notice::Log(_) => {}
        }
        Ok(())
    }

    pub(super) fn timeout(&mut self, time: u64) {
        self.node.handle_timeout(self.clock.at(time), WALL);
    }
}
