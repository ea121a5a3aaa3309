//! The leader: becomes master by an election, proposes batches, keeps the lease (PMMC 2.3, L1-L5).
//!
//! It decides who may lead and what is proposed for which slot. It must never propose for a slot
//! anything but the pvalue of the highest ballot that its quorum reported (P3), and never let a
//! local read pass unless its lease runs and what it recovered is applied (L3).

mod changing;
mod elections;
mod leaving;
mod mastership;
mod proposing;
mod versions;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::election::Surroundings;
use crate::ids::{Ballot, Incarnation, NodeId, Slot};
use crate::lead::Lead;
use crate::log_clock::LogClock;
use crate::membership::Membership;
use crate::message::{Message, Standing};
use crate::output::{Output, Tell};
use crate::random::Random;
use crate::route::Input;
use crate::time::{Instant, LogTime};
use crate::timing::Timing;

#[derive(Clone, Debug, Hash)]
enum Phase {
    Following,
    Scouting { ballot: Ballot, give_up: Instant },
    Leading(Box<Lead>),
}

/// What a leader starts from.
#[derive(Clone, Copy, Debug, Hash)]
pub struct LeaderState {
    /// The highest ballot that the node's disk holds.
    pub ballot: Ballot,
    /// Every slot below is applied.
    pub applied: Slot,
    /// Log time of the newest batch applied.
    pub log_time: LogTime,
    /// Seed for jitter and batch seeds.
    pub seed: u64,
}

/// The leader role of one node.
#[derive(Clone, Debug, Hash)]
pub struct Leader {
    node: NodeId,
    membership: Membership,
    timing: Timing,
    phase: Phase,
    ballot_seen: Ballot,
    surroundings: Surroundings,
    clock: LogClock,
    random: Random,
    applied: Slot,
    applied_log_time: LogTime,
    round: u64,
    heartbeat_at: Instant,
    /// When to scout, drawn when the conditions for it began to hold.
    scout_at: Option<Instant>,
    /// Somebody else is being elected, or this node has just left: do not scout before.
    held_back_until: Instant,
    /// The mastership given up last, and how long to stay for the election of a successor.
    farewell: Option<(Ballot, Instant)>,
    mastership_told: Option<(Ballot, Slot)>,
    standing_told: Standing,
    deadline: Option<LogTime>,
    digest: Option<(Slot, u64)>,
    /// This node is not part of the membership in force, and takes part in nothing (M4).
    retired: bool,
    /// What the host knows of nodes and the membership may lack.
    known: BTreeMap<NodeId, (String, Option<Incarnation>)>,
    /// The version of the messages agreed on with each node that is connected.
    versions: BTreeMap<NodeId, u8>,
    /// Since this node asked for its ballot, nodes were connected that know no changes of the
    /// membership.
    heard_old: bool,
}

impl Leader {
    /// The leader of `node`, started at `now`.
    #[must_use]
    pub fn new(
        node: NodeId,
        membership: Membership,
        timing: Timing,
        state: LeaderState,
        now: Instant,
    ) -> Self {
        let surroundings = Surroundings::new(node, &membership, timing.patience());
        let mut random = Random::new(state.seed);
        // An answer to an earlier process of this node must not pass for one to a round of this
        // process.
        let round = if mutant!(RoundsStartAtZero) { 0 } else { random.next() >> 1 };
        let retired = membership != Membership::unknown() && !membership.is_member(node);
        Self {
            node,
            membership,
            timing,
            phase: Phase::Following,
            ballot_seen: state.ballot,
            surroundings,
            clock: LogClock::new(state.log_time),
            random,
            applied: state.applied,
            applied_log_time: state.log_time,
            round,
            heartbeat_at: now,
            scout_at: None,
            held_back_until: now,
            farewell: None,
            mastership_told: None,
            standing_told: Standing::Unhappy,
            deadline: None,
            digest: None,
            retired,
            known: BTreeMap::new(),
            versions: BTreeMap::new(),
            heard_old: false,
        }
    }

    /// Takes note of address and data directory of a node, for the next membership to record them
    /// if none did (P7).
    pub fn note_member(&mut self, node: NodeId, address: String, incarnation: Option<Incarnation>) {
        self.known.insert(node, (address, incarnation));
    }

    /// Handles whatever is routed to the leader; `wall` is the wall clock.
    #[expect(clippy::wildcard_enum_match_arm, reason = "routing sends nothing else here")]
    pub fn handle(&mut self, now: Instant, wall: LogTime, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Peer { from, message } => match message {
                Message::Propose(propose) => self.handle_propose(now, from, propose, out),
                Message::Ack(ack) => self.handle_ack(now, from, &ack, out),
                Message::ReadIndex(ask) => self.handle_read_index(now, from, &ask, out),
                Message::HandOver(ask) => self.handle_hand_over(now, &ask, out),
                Message::P2b(p2b) => self.handle_late_p2b(now, from, &p2b, out),
                Message::P2bView(p2b) => self.handle_p2b_view(now, from, &p2b, out),
                other => panic!("routing brought {other:?} to the leader"),
            },
            Input::Tell(tell) => match tell {
                Tell::Applied { slot, log_time } => self.handle_applied(now, slot, log_time, out),
                Tell::Promised(ballot) => self.handle_promised(now, ballot, out),
                Tell::Adopted(adopted) => self.handle_adopted(now, wall, adopted, out),
                Tell::Preempted { ballot, by } => self.handle_preempted(now, ballot, by, out),
                Tell::Accomplished { ballot, slot } => {
                    self.handle_accomplished(now, ballot, slot, out);
                }
                Tell::Held { node, ballot, held } => {
                    self.handle_held(now, node, ballot, held, out);
                }
                Tell::Heard { from, heartbeat } => self.handle_heard(now, from, &heartbeat, out),
                Tell::InForce { membership, admitted } => {
                    self.handle_in_force(now, membership, admitted, out);
                }
                other => panic!("routing brought {other:?} to the leader"),
            },
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let (leaving, changing) = match &self.phase {
            Phase::Leading(lead) => (
                lead.leaving.map(|leaving| leaving.deadline),
                lead.changing.as_ref().map(|changing| changing.ask_again_at),
            ),
            Phase::Following | Phase::Scouting { .. } => (None, None),
        };
        let farewell = self.farewell.map(|(_, deadline)| deadline);
        let timeouts = [Some(self.heartbeat_at), self.scout_at, leaving, changing, farewell];
        timeouts.into_iter().flatten().min()
    }

    /// Does what is due: heartbeats, elections, stepping down.
    ///
    /// `wall` is the wall clock, towards which the log clock slews.
    pub fn handle_timeout(&mut self, now: Instant, wall: LogTime, out: &mut Vec<Output>) {
        if now >= self.heartbeat_at {
            self.clock.slew(now, wall);
            self.check_mastership(now, out);
            self.want_tick(now);
            self.try_propose(now, out);
            self.send_heartbeats(now, out);
        }
        self.ask_again_for_change(now, out);
        self.consider_changing(now, out);
        self.finish_leaving(now, out);
        self.consider_farewell(now, out);
        self.consider_scouting(now, out);
    }

    /// Takes note of the earliest log time at which a key expires, so that an idle log moves on.
    pub const fn note_deadline(&mut self, deadline: Option<LogTime>) {
        self.deadline = deadline;
    }

    /// Takes note of the state digest before a slot, to be told with heartbeats.
    pub const fn note_digest(&mut self, slot: Slot, digest: u64) {
        self.digest = Some((slot, digest));
    }

    /// The ballot that this node leads with, if phase 1 is done.
    #[must_use]
    pub fn leads(&self) -> Option<Ballot> {
        match &self.phase {
            Phase::Leading(lead) => Some(lead.ballot),
            Phase::Following | Phase::Scouting { .. } => None,
        }
    }

    /// The ballot that this node tries to get promised.
    #[must_use]
    pub fn scouts_with(&self) -> Option<Ballot> {
        match &self.phase {
            Phase::Scouting { ballot, .. } => Some(*ballot),
            Phase::Following | Phase::Leading(_) => None,
        }
    }

    pub(crate) fn lead(&self) -> Option<&Lead> {
        match &self.phase {
            Phase::Leading(lead) => Some(lead),
            Phase::Following | Phase::Scouting { .. } => None,
        }
    }

    pub(crate) const fn applied(&self) -> Slot {
        self.applied
    }

    /// The nodes with which heartbeats make the round trip.
    #[must_use]
    pub fn connected(&self, now: Instant) -> Vec<NodeId> {
        self.surroundings.connected(now).collect()
    }

    /// The membership in force, as far as the leader has been told.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The master that this node believes in.
    #[must_use]
    pub fn master(&self, now: Instant) -> Option<Ballot> {
        self.mastership(now).map(|(ballot, _)| ballot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::View;

    fn first_round(seed: u64) -> u64 {
        let membership = Membership::new(View::new(1), (1..=3).map(NodeId::new));
        let state = LeaderState {
            ballot: Ballot::ZERO,
            applied: Slot::FIRST,
            log_time: LogTime::ZERO,
            seed,
        };
        let now = Instant::from_nanos(0);
        let mut leader = Leader::new(NodeId::new(1), membership, Timing::DEFAULT, state, now);
        let mut out = Vec::new();
        leader.handle_timeout(now, LogTime::ZERO, &mut out);
        for output in out {
            if let Output::Broadcast { message: Message::Heartbeat(heartbeat), .. } = output {
                return heartbeat.round;
            }
        }
        panic!("a leader starts with a heartbeat");
    }

    #[test]
    fn rounds_of_two_processes_of_a_node_never_meet() {
        let century = 100 * 366 * 24 * 3600 * 10;
        assert!(first_round(1).abs_diff(first_round(2)) > century);
    }
}
