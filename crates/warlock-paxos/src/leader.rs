//! The leader: becomes master by an election, proposes batches, keeps the lease (PMMC 2.3, L1-L5).
//!
//! It decides who may lead and what is proposed for which slot. It must never propose for a slot
//! anything but the pvalue of the highest ballot that its quorum reported (P3), and never let a
//! local read pass unless its lease runs and what it recovered is applied (L3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::batch::{Batch, Stamp};
use crate::commander::Commander;
use crate::election::Surroundings;
use crate::ids::{Ballot, NodeId, Slot};
use crate::lead::{InFlight, Lead, Leaving};
use crate::limits::WINDOW_MAX;
use crate::log_clock::LogClock;
use crate::membership::Membership;
use crate::message::{
    Ack, Decision, Declined, HandOver, Heartbeat, Message, P2b, Propose, ReadIndex, ReadIndexed,
    Release, Standing,
};
use crate::output::{Adopted, Event, Notice, Output, Reason, Tell};
use crate::random::Random;
use crate::record::PValue;
use crate::route::Input;
use crate::scout::Scout;
use crate::time::{Instant, LogTime};
use crate::timing::Timing;

#[derive(Clone, Debug)]
enum Phase {
    Following,
    Scouting { ballot: Ballot, give_up: Instant },
    Leading(Box<Lead>),
}

/// What a leader starts from.
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Debug)]
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
    mastership_told: Option<(Ballot, Slot)>,
    standing_told: Standing,
    deadline: Option<LogTime>,
    digest: Option<(Slot, u64)>,
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
        let round = random.next() >> 1;
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
            mastership_told: None,
            standing_told: Standing::Unhappy,
            deadline: None,
            digest: None,
        }
    }

    /// Handles whatever is routed to the leader; `wall` is the wall clock.
    #[expect(clippy::wildcard_enum_match_arm, reason = "routing sends nothing else here")]
    pub fn handle(&mut self, now: Instant, wall: LogTime, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Peer { from, message } => match message {
                Message::Propose(propose) => self.handle_propose(now, propose, out),
                Message::Ack(ack) => self.handle_ack(now, from, &ack, out),
                Message::ReadIndex(ask) => self.handle_read_index(now, from, &ask, out),
                Message::HandOver(ask) => self.handle_hand_over(now, &ask, out),
                Message::P2b(p2b) => self.handle_late_p2b(now, from, &p2b, out),
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
                other => panic!("routing brought {other:?} to the leader"),
            },
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let leaving = match &self.phase {
            Phase::Leading(lead) => lead.leaving.map(|leaving| leaving.deadline),
            Phase::Following | Phase::Scouting { .. } => None,
        };
        [Some(self.heartbeat_at), self.scout_at, leaving].into_iter().flatten().min()
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
        self.finish_leaving(now, out);
        self.consider_scouting(now, out);
    }

    /// Handles a heartbeat of another node.
    pub fn handle_heard(
        &mut self,
        now: Instant,
        from: NodeId,
        heartbeat: &Heartbeat,
        out: &mut Vec<Output>,
    ) {
        if from == self.node {
            return;
        }
        self.ballot_seen = self.ballot_seen.max(heartbeat.ballot);
        self.surroundings.note_heard(now, from, heartbeat.standing);
        if let Some(time) = heartbeat.log_time {
            self.clock.observe(now, time);
        }
        if let Phase::Scouting { ballot, .. } = self.phase
            && let Standing::Master { ballot: master, .. } = heartbeat.standing
            && self.surroundings.master(now).is_some_and(|(known, _)| known == master)
        {
            out.push(Output::RetireScout(ballot));
            self.phase = Phase::Following;
        }
        self.tell_mastership(now, out);
        self.consider_scouting(now, out);
    }

    /// Handles the answer to a heartbeat, of another node or of this node's acceptor.
    pub fn handle_ack(&mut self, now: Instant, from: NodeId, ack: &Ack, out: &mut Vec<Output>) {
        self.ballot_seen = self.ballot_seen.max(ack.promised);
        self.surroundings.note_ack(from, ack.round);
        let Phase::Leading(lead) = &mut self.phase else {
            self.consider_scouting(now, out);
            return;
        };
        if from == self.node && ack.stalled {
            self.step_down(now, Reason::DiskStalled, out);
            return;
        }
        if ack.granted && lead.lease.grant(ack.round, from, &self.membership, &self.timing) {
            let first = !core::mem::replace(&mut lead.lease_reported, true);
            if first {
                out.push(Output::Notify(Notice::Log(Event::LeaseHeld(lead.ballot))));
                self.tell_mastership(now, out);
                self.send_heartbeats(now, out);
            }
            self.publish_lease(out);
        }
    }

    /// Handles commands for the log.
    pub fn handle_propose(&mut self, now: Instant, propose: Propose, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        if propose.ballot != lead.ballot {
            return;
        }
        if lead.leaving.is_some() {
            if !lead.has_taken(propose.origin) {
                decline(lead.ballot, [(propose.origin.node, propose.origin.sequence)], out);
            }
            return;
        }
        lead.enqueue(propose);
        self.try_propose(now, out);
    }

    /// Handles what the replica has applied.
    pub fn handle_applied(
        &mut self,
        now: Instant,
        slot: Slot,
        log_time: LogTime,
        out: &mut Vec<Output>,
    ) {
        assert!(slot >= self.applied, "P5: applied falls from {} to {slot}", self.applied);
        self.applied = slot;
        self.applied_log_time = self.applied_log_time.max(log_time);
        self.clock.raise_floor(log_time);
        self.publish_lease(out);
        self.settle(now, out);
    }

    /// Lets go of what this ballot decided and this node applied, and proposes what comes next.
    fn settle(&mut self, now: Instant, out: &mut Vec<Output>) {
        let applied = self.applied;
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        let done = lead.settle(applied);
        if !done.is_empty() {
            out.push(Output::Notify(Notice::Held(lead.held())));
        }
        let ballot = lead.ballot;
        let mut waiting: alloc::collections::BTreeSet<NodeId> =
            done.values().flat_map(|flight| flight.waiting.iter().copied()).collect();
        // Nodes with proposals to an earlier master wait for the barrier.
        if done.keys().next_back().is_some_and(|last| last.next() == lead.barrier) {
            waiting.extend(self.membership.others(self.node).iter());
        }
        out.extend(done.into_keys().map(|slot| Output::RetireCommander(ballot, slot)));
        // A proposal carries the watermark to everybody; without one, those whose clients wait must
        // hear it.
        if !self.try_propose(now, out) {
            let decided = self.decided();
            for to in waiting {
                let decision = Decision { ballot, decided };
                out.push(Output::Send { to, message: Message::Decision(decision) });
            }
        }
        self.finish_leaving(now, out);
    }

    /// Handles the word of this node's acceptor that it promised, or accepted under, a ballot.
    pub fn handle_promised(&mut self, now: Instant, ballot: Ballot, out: &mut Vec<Output>) {
        self.ballot_seen = self.ballot_seen.max(ballot);
        if ballot.node == self.node {
            return;
        }
        self.hold_back(now);
        match &self.phase {
            Phase::Scouting { ballot: own, .. } if *own < ballot => {
                out.push(Output::RetireScout(*own));
                self.phase = Phase::Following;
            }
            Phase::Leading(lead) if lead.ballot < ballot => self.yield_to(now, ballot, out),
            Phase::Following | Phase::Scouting { .. } | Phase::Leading(_) => {}
        }
    }

    /// Handles the end of phase 1: proposes again what was recovered, and fills the gaps (P3).
    pub fn handle_adopted(
        &mut self,
        now: Instant,
        wall: LogTime,
        adopted: Adopted,
        out: &mut Vec<Output>,
    ) {
        let Phase::Scouting { ballot, .. } = self.phase else {
            return;
        };
        if adopted.ballot != ballot {
            return;
        }
        out.push(Output::RetireScout(ballot));
        if let Some(time) = adopted.log_time {
            self.clock.observe(now, time);
        }
        self.clock.start_if_stopped(now, wall);
        let from = adopted.decided;
        let recovered = adopted.pvalues.last().map_or(from, |pvalue| pvalue.slot.next()).max(from);
        let barrier = Slot::new(recovered.position() + WINDOW_MAX);
        self.phase = Phase::Leading(Box::new(Lead::new(ballot, now, from, barrier)));
        out.push(Output::Notify(Notice::Log(Event::Leading { ballot, from, barrier })));
        out.push(Output::Tell(Tell::Ahead { node: adopted.informant, decided: from }));
        out.push(Output::Tell(Tell::Watermark { ballot, decided: from }));
        self.propose_recovered(now, &adopted, barrier, out);
        self.send_heartbeats(now, out);
    }

    /// Handles a higher ballot that a scout or commander of this node met.
    pub fn handle_preempted(
        &mut self,
        now: Instant,
        ballot: Ballot,
        by: Ballot,
        out: &mut Vec<Output>,
    ) {
        assert!(by > ballot, "P2: {ballot} preempted by the lower {by}");
        self.ballot_seen = self.ballot_seen.max(by);
        match &self.phase {
            Phase::Scouting { ballot: own, .. } if *own == ballot => {
                out.push(Output::RetireScout(ballot));
                self.phase = Phase::Following;
                self.hold_back(now);
            }
            Phase::Leading(lead) if lead.ballot == ballot => self.yield_to(now, by, out),
            Phase::Following | Phase::Scouting { .. } | Phase::Leading(_) => {}
        }
    }

    /// Handles a commander's word that a quorum accepted the slot.
    pub fn handle_accomplished(
        &mut self,
        now: Instant,
        ballot: Ballot,
        slot: Slot,
        out: &mut Vec<Output>,
    ) {
        if let Phase::Leading(lead) = &mut self.phase
            && lead.ballot == ballot
        {
            lead.note_chosen(now, slot);
            self.settle(now, out);
        }
    }

    /// Handles how far the log is durable on a node.
    pub fn handle_held(
        &mut self,
        now: Instant,
        node: NodeId,
        ballot: Ballot,
        held: Slot,
        out: &mut Vec<Output>,
    ) {
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        if lead.ballot != ballot {
            return;
        }
        if node == self.node {
            lead.note_own_sync(now, held);
        }
        if lead.note_held(node, held) {
            out.push(Output::Notify(Notice::Held(lead.held())));
        }
    }

    /// Handles an answer that came after its commander had gone.
    pub fn handle_late_p2b(
        &mut self,
        now: Instant,
        from: NodeId,
        p2b: &P2b,
        out: &mut Vec<Output>,
    ) {
        if p2b.promised > p2b.asked {
            // A quorum did without this acceptor, but it will refuse whatever comes next as well.
            self.handle_preempted(now, p2b.asked, p2b.promised, out);
        } else if p2b.promised == p2b.asked {
            self.handle_held(now, from, p2b.asked, p2b.held, out);
        }
    }

    /// Handles a follower's question for a slot at which its reads are linearizable (L3).
    pub fn handle_read_index(
        &mut self,
        now: Instant,
        from: NodeId,
        ask: &ReadIndex,
        out: &mut Vec<Output>,
    ) {
        let id = ask.id;
        match &self.phase {
            Phase::Leading(lead) if self.serves_reads(lead) && lead.lease.is_held(now) => {
                let decision = Decision { ballot: lead.ballot, decided: self.decided() };
                out.push(Output::Tell(Tell::Vouched { to: from, id, decision }));
            }
            Phase::Following | Phase::Scouting { .. } | Phase::Leading(_) => {
                let answer = ReadIndexed { id, index: None, applied: self.applied };
                out.push(Output::Send { to: from, message: Message::ReadIndexed(answer) });
            }
        }
    }

    /// Handles a leaving master's wish that this node lead next (L5).
    pub fn handle_hand_over(&mut self, now: Instant, ask: &HandOver, out: &mut Vec<Output>) {
        self.surroundings.note_released(ask.ballot);
        self.ballot_seen = self.ballot_seen.max(ask.ballot);
        let release = Release { ballot: ask.ballot };
        // Ahead of the scout's question on each connection, so that no acceptor still refuses it.
        let to = self.membership.voters().clone();
        out.push(Output::Broadcast { to, message: Message::Release(release) });
        self.tell_mastership(now, out);
        let superseded = self.surroundings.somebody_is_happy(now);
        let may = matches!(self.phase, Phase::Following) && self.membership.is_voter(self.node);
        if may && !superseded {
            self.scout(now, out);
        }
    }

    /// Handles a closed connection: a hint that the node is gone.
    pub fn handle_peer_down(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        self.surroundings.note_down(node);
        self.tell_mastership(now, out);
        self.announce_change(now, out);
        self.consider_scouting(now, out);
    }

    /// Handles the host's wish to leave: a master stops serving, waits for what is in flight, gives
    /// its lease up and asks `to`, or the node that holds most, to lead. Answers with
    /// [`Notice::HandedOver`].
    pub fn handle_leave(&mut self, now: Instant, to: Option<NodeId>, out: &mut Vec<Output>) {
        self.held_back_until = now.after(self.timing.lease()).after(self.timing.lease());
        let Phase::Leading(lead) = &mut self.phase else {
            if let Phase::Scouting { ballot, .. } = self.phase {
                out.push(Output::RetireScout(ballot));
                self.phase = Phase::Following;
            }
            out.push(Output::Notify(Notice::HandedOver));
            return;
        };
        let deadline = now.after(self.timing.heartbeat());
        lead.leaving = Some(Leaving { deadline, to });
        let ballot = lead.ballot;
        let declined = lead.decline_queue();
        decline(ballot, declined, out);
        out.push(Output::Notify(Notice::Serve(None)));
        self.finish_leaving(now, out);
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

    /// Until when local reads are linearizable; `None` if they are not (L3).
    #[must_use]
    pub fn serves_until(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Leading(lead) if self.serves_reads(lead) => lead.lease.end(),
            Phase::Following | Phase::Scouting { .. } | Phase::Leading(_) => None,
        }
    }

    /// The nodes with which heartbeats make the round trip.
    #[must_use]
    pub fn connected(&self, now: Instant) -> Vec<NodeId> {
        self.surroundings.connected(now).collect()
    }

    /// The master that this node believes in.
    #[must_use]
    pub fn master(&self, now: Instant) -> Option<Ballot> {
        self.mastership(now).map(|(ballot, _)| ballot)
    }

    fn serves_reads(&self, lead: &Lead) -> bool {
        lead.leaving.is_none() && self.applied >= lead.barrier
    }

    /// What this node may say to be decided: as a leader only what it applied and its own ballot
    /// chose, because others take what they accepted under that ballot for the decided content.
    fn decided(&self) -> Slot {
        match &self.phase {
            Phase::Leading(lead) => self.applied.min(lead.decided()),
            Phase::Following | Phase::Scouting { .. } => self.applied,
        }
    }

    fn standing(&self, now: Instant) -> Standing {
        if let Phase::Leading(lead) = &self.phase
            && lead.leaving.is_none()
            && lead.lease.is_held(now)
        {
            return Standing::Master { ballot: lead.ballot, barrier: lead.barrier };
        }
        match self.surroundings.master(now) {
            Some((ballot, _)) => Standing::Follower { ballot },
            None => Standing::Unhappy,
        }
    }

    fn mastership(&self, now: Instant) -> Option<(Ballot, Slot)> {
        match self.standing(now) {
            Standing::Master { ballot, barrier } => Some((ballot, barrier)),
            Standing::Follower { .. } => self.surroundings.master(now),
            Standing::Unhappy => None,
        }
    }

    fn tell_mastership(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mastership = self.mastership(now);
        if mastership == self.mastership_told {
            return;
        }
        self.mastership_told = mastership;
        out.push(Output::Tell(Tell::Mastership(mastership)));
        out.push(Output::Notify(Notice::Master(mastership.map(|(ballot, _)| ballot))));
    }

    fn publish_lease(&self, out: &mut Vec<Output>) {
        if let Phase::Leading(lead) = &self.phase
            && self.serves_reads(lead)
        {
            assert!(self.applied >= lead.barrier, "L3: serving before {} is applied", lead.barrier);
            out.push(Output::Notify(Notice::Serve(lead.lease.end())));
        }
    }

    fn send_heartbeats(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.heartbeat_at = now.after(self.timing.heartbeat());
        self.round += 1;
        self.surroundings.note_round(self.round, now);
        let standing = self.standing(now);
        self.standing_told = standing;
        let mut ballot = self.ballot_seen;
        let mut lease = false;
        let mut held = Vec::new();
        if let Phase::Leading(lead) = &mut self.phase {
            ballot = lead.ballot;
            lease = lead.leaving.is_none();
            if lease {
                lead.lease.begin_round(self.round, now);
            }
            held = lead.held();
        }
        let log_time = self.clock.now(now);
        if let Some(time) = log_time {
            out.push(Output::Notify(Notice::LogClock(time, now)));
        }
        let heartbeat = Heartbeat {
            round: self.round,
            ballot,
            lease,
            standing,
            applied: self.applied,
            decided: self.decided(),
            held,
            log_time,
            digest: self.digest,
        };
        let to = self.membership.voters().clone();
        out.push(Output::Broadcast { to, message: Message::Heartbeat(heartbeat) });
    }

    /// Tells the others at once when this node becomes happy or unhappy: they wait for it.
    fn announce_change(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.standing(now) != self.standing_told {
            self.send_heartbeats(now, out);
        }
    }

    fn check_mastership(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.tell_mastership(now, out);
        match &self.phase {
            Phase::Scouting { ballot, give_up } if now >= *give_up => {
                out.push(Output::RetireScout(*ballot));
                self.phase = Phase::Following;
                self.hold_back(now);
            }
            Phase::Leading(lead) => {
                let trusted = lead.adopted.after(self.timing.lease());
                let recovery_end = trusted.after(self.timing.lease()).after(self.timing.lease());
                if lead.lease.end().unwrap_or(trusted) <= now {
                    self.step_down(now, Reason::LeaseLost, out);
                } else if self.applied < lead.barrier && now >= recovery_end {
                    self.step_down(now, Reason::RecoveryStalled, out);
                }
            }
            Phase::Following | Phase::Scouting { .. } => {}
        }
    }

    fn consider_scouting(&mut self, now: Instant, out: &mut Vec<Output>) {
        let may = matches!(self.phase, Phase::Following)
            && self.membership.is_voter(self.node)
            && now >= self.held_back_until
            && self.standing(now) == Standing::Unhappy
            && !self.surroundings.somebody_is_happy(now)
            && self.surroundings.is_quorum_connected(now, &self.membership);
        if !may {
            self.scout_at = None;
            return;
        }
        match self.scout_at {
            Some(at) if now >= at => self.scout(now, out),
            Some(_) => {}
            None => {
                let jitter = self.random.span_below(self.timing.heartbeat());
                self.scout_at = Some(now.after(jitter));
            }
        }
    }

    fn scout(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.scout_at = None;
        let ballot = self.ballot_seen.next_for(self.membership.view(), self.node);
        assert!(ballot > self.ballot_seen, "P2: scouting with {ballot} below {}", self.ballot_seen);
        self.ballot_seen = ballot;
        let jitter = self.random.span_below(self.timing.lease());
        let give_up = now.after(self.timing.lease()).after(self.timing.lease()).after(jitter);
        self.phase = Phase::Scouting { ballot, give_up };
        out.push(Output::Notify(Notice::Log(Event::Scouting(ballot))));
        let retry = self.timing.retry();
        let membership = self.membership.clone();
        out.push(Output::SpawnScout(Scout::new(ballot, membership, self.applied, retry)));
    }

    /// A preempted leader waits, by a random time, for whoever preempted it.
    fn hold_back(&mut self, now: Instant) {
        let jitter = self.random.span_below(self.timing.heartbeat());
        self.held_back_until =
            self.held_back_until.max(now.after(self.timing.patience()).after(jitter));
    }

    /// Gives way to a higher ballot; but a master whose lease still runs keeps everybody else out,
    /// so that nobody else can lead before: it raises its own ballot instead.
    fn yield_to(&mut self, now: Instant, by: Ballot, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        let protected =
            lead.lease.is_held(now) && lead.leaving.is_none() && by.view == lead.ballot.view;
        self.step_down(now, Reason::Preempted, out);
        if protected {
            self.scout(now, out);
        } else {
            self.hold_back(now);
        }
    }

    fn step_down(&mut self, now: Instant, reason: Reason, out: &mut Vec<Output>) {
        let Phase::Leading(mut lead) = core::mem::replace(&mut self.phase, Phase::Following) else {
            return;
        };
        out.push(Output::Notify(Notice::Serve(None)));
        out.push(Output::Notify(Notice::Log(Event::SteppedDown(lead.ballot, reason))));
        decline(lead.ballot, lead.decline_queue(), out);
        out.extend(lead.in_flight.keys().map(|&slot| Output::RetireCommander(lead.ballot, slot)));
        let release = Release { ballot: lead.ballot };
        let to = self.membership.voters().clone();
        out.push(Output::Broadcast { to, message: Message::Release(release) });
        self.surroundings.note_released(lead.ballot);
        if reason == Reason::RecoveryStalled || reason == Reason::DiskStalled {
            self.held_back_until = now.after(self.timing.lease()).after(self.timing.lease());
        }
        self.tell_mastership(now, out);
        self.send_heartbeats(now, out);
        if lead.leaving.is_some() && reason != Reason::HandedOver {
            out.push(Output::Notify(Notice::HandedOver));
        }
    }

    fn finish_leaving(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        let Some(Leaving { deadline, to }) = lead.leaving else {
            return;
        };
        if !lead.in_flight.is_empty() && now < deadline {
            return;
        }
        let ballot = lead.ballot;
        let decision = Decision { ballot, decided: self.decided() };
        let others = self.membership.others(self.node);
        let successor = to.or_else(|| self.fittest_successor(now));
        out.push(Output::Broadcast { to: others, message: Message::Decision(decision) });
        self.step_down(now, Reason::HandedOver, out);
        if let Some(to) = successor.filter(|&to| to != self.node) {
            out.push(Output::Send { to, message: Message::HandOver(HandOver { ballot }) });
        }
        out.push(Output::Notify(Notice::HandedOver));
    }

    fn fittest_successor(&self, now: Instant) -> Option<NodeId> {
        let Phase::Leading(lead) = &self.phase else {
            return None;
        };
        self.surroundings
            .connected(now)
            .filter(|&node| self.membership.is_voter(node))
            .max_by_key(|&node| lead.held_by(node))
    }

    fn want_tick(&mut self, now: Instant) {
        let due = match (self.clock.now(now), self.deadline) {
            (Some(time), Some(deadline)) => deadline <= time && self.applied_log_time < deadline,
            _ => false,
        };
        if let Phase::Leading(lead) = &mut self.phase {
            lead.tick_wanted |= due;
        }
    }

    fn propose_recovered(
        &mut self,
        now: Instant,
        adopted: &Adopted,
        barrier: Slot,
        out: &mut Vec<Output>,
    ) {
        let mut recovered = adopted.pvalues.iter().peekable();
        let mut slot = adopted.decided;
        while slot < barrier {
            let found = recovered.next_if(|pvalue| pvalue.slot == slot);
            let batch = match found {
                Some(pvalue) => pvalue.batch.clone(),
                None => Batch::no_op(self.stamp(now)),
            };
            self.propose(now, slot, batch, out);
            slot = slot.next();
        }
        assert!(recovered.peek().is_none(), "P3: a recovered pvalue was not proposed again");
    }

    /// Proposes what queued, as far as the window allows; says whether it proposed anything.
    fn try_propose(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let mut proposed = false;
        loop {
            let Phase::Leading(lead) = &mut self.phase else {
                return proposed;
            };
            if !lead.may_propose() {
                return proposed;
            }
            let (slot, decided) = (lead.next_slot, lead.decided());
            assert!(
                slot.distance_from(decided) < WINDOW_MAX && slot >= lead.barrier,
                "W1: {slot} is beyond the window of {decided}"
            );
            let proposals = lead.take_batch();
            let batch = Batch::new(self.stamp(now), &proposals);
            self.propose(now, slot, batch, out);
            proposed = true;
        }
    }

    fn propose(&mut self, now: Instant, slot: Slot, batch: Batch, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        assert!(slot == lead.next_slot, "P3: {slot} proposed out of order");
        lead.next_slot = slot.next();
        let waiting = batch.proposals().into_iter().map(|proposal| proposal.origin.node);
        let waiting = waiting.filter(|&node| node != self.node).collect();
        let bytes = batch.as_bytes().len();
        lead.in_flight.insert(slot, InFlight { bytes, proposed: now, chosen: false, waiting });
        let pvalue = PValue { ballot: lead.ballot, slot, batch };
        let (membership, retry) = (self.membership.clone(), self.timing.lease());
        let decided = self.decided();
        out.push(Output::SpawnCommander(Commander::new(pvalue, decided, membership, retry)));
    }

    fn stamp(&mut self, now: Instant) -> Stamp {
        let seed = self.random.next();
        let time = self.clock.now(now).unwrap_or(self.applied_log_time);
        let Phase::Leading(lead) = &mut self.phase else {
            return Stamp { log_time: time, seed };
        };
        lead.last_stamp = lead.last_stamp.max(time);
        Stamp { log_time: lead.last_stamp, seed }
    }
}

fn decline(
    ballot: Ballot,
    declined: impl IntoIterator<Item = (NodeId, u64)>,
    out: &mut Vec<Output>,
) {
    for (to, from_sequence) in declined {
        let message = Message::Declined(Declined { ballot, from_sequence });
        out.push(Output::Send { to, message });
    }
}
