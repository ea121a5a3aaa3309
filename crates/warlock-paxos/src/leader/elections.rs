//! Standing for election, and giving way (PMMC 2.3, OmniPaxos' ballot leader election).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Leader, Phase};
use crate::ids::{Ballot, NodeId, Slot};
use crate::lead::Lead;
use crate::limits::WINDOW_MAX;
use crate::membership::{Charter, Membership};
use crate::message::{Ack, Heartbeat, Standing};
use crate::output::{Adopted, Event, Notice, Output, Reason, Tell};
use crate::scout::Scout;
use crate::time::{Instant, LogTime, Span};

impl Leader {
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
        let is_master = heartbeat.lease && heartbeat.ballot >= self.ballot_seen;
        if let (Some(time), true, None) = (heartbeat.log_time, is_master, self.leads()) {
            self.clock.follow(now, time);
        }
        if let Phase::Scouting { ballot, .. } = self.phase
            && let Standing::Master { ballot: master, .. } = heartbeat.standing
            && self.surroundings.master(now).is_some_and(|(known, _)| known == master)
        {
            out.push(Output::RetireScout(ballot));
            self.phase = Phase::Following;
        }
        if mutant!(YieldToAnyHigher) && self.leads().is_some_and(|own| own < heartbeat.ballot) {
            self.step_down(now, Reason::Preempted, out);
            self.hold_back(now);
        }
        if mutant!(OneWayIsAlive) {
            let (round, promised) = (self.round, self.ballot_seen);
            let (view, held) = (heartbeat.view, Slot::FIRST);
            let (granted, stalled, silent) = (true, false, false);
            let ack = Ack { round, view, promised, held, granted, stalled, silent };
            self.handle_ack(now, from, &ack, out);
        }
        self.tell_mastership(now, out);
        self.consider_farewell(now, out);
        self.consider_scouting(now, out);
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
            self.clock.adopt(now, time);
        }
        self.clock.start_if_stopped(now, wall);
        let from = adopted.decided;
        let recovered = adopted.pvalues.last().map_or(from, |pvalue| pvalue.slot.next()).max(from);
        let window = if mutant!(BarrierWithoutWindow) { 1 } else { WINDOW_MAX };
        let barrier = Slot::new(recovered.position() + window);
        let mut lead = Lead::new(ballot, now, from, barrier);
        lead.inherited = adopted.reconfiguration.clone().and_then(inherited);
        self.phase = Phase::Leading(Box::new(lead));
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

    /// Handles a closed connection: a hint that the node is gone.
    pub fn handle_peer_down(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        self.surroundings.note_down(node);
        self.forget_version(node);
        self.tell_mastership(now, out);
        self.announce_change(now, out);
        self.consider_scouting(now, out);
    }

    pub(super) fn consider_scouting(&mut self, now: Instant, out: &mut Vec<Output>) {
        let may = matches!(self.phase, Phase::Following)
            && self.may_stand()
            && now >= self.held_back_until
            && self.standing(now) == Standing::Unhappy
            && (mutant!(YieldToAnyHigher) || !self.surroundings.somebody_is_happy(now))
            && !(mutant!(OnlyWhenSilent) && self.surroundings.hears(now, self.ballot_seen.node))
            && self.surroundings.is_quorum_connected(now, &self.membership);
        if !may {
            self.scout_at = None;
            return;
        }
        match self.scout_at {
            Some(at) if now >= at => self.scout(now, out),
            Some(_) => {}
            None => {
                let most = if mutant!(NoBackOff) { Span::ZERO } else { self.timing.heartbeat() };
                let jitter = self.random.span_below(most);
                self.scout_at = Some(now.after(jitter));
            }
        }
    }

    /// Whether its promise counts in the newest view that it has heard of.
    pub(super) fn may_stand(&self) -> bool {
        !self.retired
            && self.membership.is_elector(self.node)
            && self.ballot_seen.view <= self.membership.view()
    }

    pub(super) fn scout(&mut self, now: Instant, out: &mut Vec<Output>) {
        assert!(self.may_stand(), "M4: {} scouts in {}", self.node, self.membership);
        self.scout_at = None;
        self.begin_hearing();
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
    pub(super) fn hold_back(&mut self, now: Instant) {
        if mutant!(NoBackOff) {
            return;
        }
        let jitter = self.random.span_below(self.timing.heartbeat());
        self.held_back_until =
            self.held_back_until.max(now.after(self.timing.patience()).after(jitter));
    }

    /// Gives way to a higher ballot; but a master whose lease still runs keeps everybody else out,
    /// so that nobody else can lead before: it raises its own ballot instead.
    pub(super) fn yield_to(&mut self, now: Instant, by: Ballot, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        let protected =
            lead.lease.is_held(now) && lead.leaving.is_none() && by.view == lead.ballot.view;
        self.step_down(now, Reason::Preempted, out);
        if protected && self.may_stand() {
            self.scout(now, out);
        } else {
            self.hold_back(now);
        }
    }
}

/// Acceptors took only what holds together.
fn inherited(charter: Charter) -> Option<Membership> {
    Membership::from_charter(charter).ok()
}
