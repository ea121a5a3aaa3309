//! Being master: heartbeats, the lease (L1), reads (L3), stepping down.

use alloc::vec::Vec;

use super::leaving::decline;
use super::{Leader, Phase};
use crate::change::Verdict;
use crate::ids::{Ballot, NodeId, Slot};
use crate::lead::Lead;
use crate::message::{
    Ack, Decision, Heartbeat, InForce, Message, ReadIndex, ReadIndexed, Release, Standing,
};
use crate::output::{Event, Notice, Output, Reason, Tell};
use crate::time::Instant;

impl Leader {
    /// Handles the answer to a heartbeat, of another node or of this node's acceptor.
    pub fn handle_ack(&mut self, now: Instant, from: NodeId, ack: &Ack, out: &mut Vec<Output>) {
        self.ballot_seen = self.ballot_seen.max(ack.promised);
        self.surroundings.note_ack(from, ack.round);
        self.surroundings.note_silent(from, ack.silent);
        if ack.view < self.membership.view() && from != self.node {
            let charter = self.membership.charter().clone();
            out.push(Output::Send { to: from, message: Message::InForce(InForce { charter }) });
        }
        let Phase::Leading(lead) = &mut self.phase else {
            self.tell_mastership(now, out);
            self.consider_scouting(now, out);
            return;
        };
        if from == self.node && ack.stalled && !mutant!(LeadsWithStuckDisk) {
            self.step_down(now, Reason::DiskStalled, out);
            return;
        }
        if lead.lease.has_round(ack.round) {
            if ack.silent {
                lead.note_held_at_start(from, ack.held);
            } else {
                lead.note_held(from, ack.held);
            }
        }
        if ack.granted && lead.lease.grant(ack.round, from, now, &self.membership, &self.timing) {
            let first = !core::mem::replace(&mut lead.lease_reported, true);
            if first {
                out.push(Output::Notify(Notice::Log(Event::LeaseHeld(lead.ballot))));
                self.tell_mastership(now, out);
                self.send_heartbeats(now, out);
            }
            self.publish_lease(out);
            self.answer_asked(now, out);
        }
        self.consider_changing(now, out);
    }

    /// Handles a follower's question for a slot at which its reads are linearizable (L3).
    ///
    /// Followers know a new master before it serves reads, and ask at once: it keeps the question
    /// until it can answer, for they would ask again only when the answer counts as lost.
    pub fn handle_read_index(
        &mut self,
        now: Instant,
        from: NodeId,
        ask: &ReadIndex,
        out: &mut Vec<Output>,
    ) {
        let id = ask.id;
        let vouches = self.vouches_for_reads(now);
        let answer = match &mut self.phase {
            Phase::Leading(lead) if vouches && self.membership.is_member(from) => {
                let decision = Decision { ballot: lead.ballot, decided: self.decided() };
                Some(Output::Tell(Tell::Vouched { to: from, id, decision }))
            }
            Phase::Leading(lead) if !vouches && lead.leaving.is_none() => {
                let kept = lead.keep_asked(from, id);
                (!kept).then(|| self.refuse_read_index(from, id))
            }
            Phase::Following | Phase::Scouting { .. } | Phase::Leading(_) => {
                Some(self.refuse_read_index(from, id))
            }
        };
        out.extend(answer);
    }

    const fn refuse_read_index(&self, to: NodeId, id: u64) -> Output {
        let answer = ReadIndexed { id, index: None, applied: self.applied };
        Output::Send { to, message: Message::ReadIndexed(answer) }
    }

    /// Answers the questions for a read index that came before this node served reads.
    pub(super) fn answer_asked(&mut self, now: Instant, out: &mut Vec<Output>) {
        if !self.vouches_for_reads(now) {
            return;
        }
        if let Phase::Leading(lead) = &mut self.phase {
            for (from, id) in lead.take_asked() {
                self.handle_read_index(now, from, &ReadIndex { id }, out);
            }
        }
    }

    /// Whether this node may say at which slot reads are linearizable (L3).
    fn vouches_for_reads(&self, now: Instant) -> bool {
        self.lead().is_some_and(|lead| {
            self.serves_reads(lead) && (lead.lease.is_held(now) || mutant!(ExpiryByTimer))
        })
    }

    /// Until when local reads are linearizable; `None` if they are not (L3).
    #[must_use]
    pub fn serves_until(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Leading(lead) if self.serves_reads(lead) => lead.lease.end(),
            Phase::Following | Phase::Scouting { .. } | Phase::Leading(_) => None,
        }
    }

    pub(super) fn serves_reads(&self, lead: &Lead) -> bool {
        lead.leaving.is_none() && (self.applied >= lead.barrier || mutant!(ServeBeforeRecovered))
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
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

    pub(super) fn mastership(&self, now: Instant) -> Option<(Ballot, Slot)> {
        match self.standing(now) {
            Standing::Master { ballot, barrier } => Some((ballot, barrier)),
            // A master that does not hear this node can do nothing for its clients; they must be
            // told so, and not that the outcome is unknown.
            Standing::Follower { .. } => self
                .surroundings
                .master(now)
                .filter(|(ballot, _)| !self.surroundings.is_deaf(now, ballot.node)),
            Standing::Unhappy => None,
        }
    }

    pub(super) fn tell_mastership(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mastership = self.mastership(now);
        if mastership == self.mastership_told {
            return;
        }
        self.mastership_told = mastership;
        out.push(Output::Tell(Tell::Mastership(mastership)));
        out.push(Output::Notify(Notice::Master(mastership.map(|(ballot, _)| ballot))));
    }

    pub(super) fn publish_lease(&self, out: &mut Vec<Output>) {
        if let Phase::Leading(lead) = &self.phase
            && self.serves_reads(lead)
        {
            assert!(self.applied >= lead.barrier, "L3: serving before {} is applied", lead.barrier);
            out.push(Output::Notify(Notice::Serve(lead.lease.end())));
        }
    }

    pub(super) fn send_heartbeats(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.heartbeat_at = now.after(self.timing.heartbeat());
        if self.retired {
            return;
        }
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
            view: self.membership.view(),
            ballot,
            lease,
            standing,
            applied: self.applied,
            decided: self.decided(),
            held,
            log_time,
            digest: self.digest,
        };
        let to = self.membership.everyone().clone();
        out.push(Output::Broadcast { to, message: Message::Heartbeat(heartbeat) });
    }

    /// Tells the others at once when this node becomes happy or unhappy: they wait for it.
    pub(super) fn announce_change(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.standing(now) != self.standing_told {
            self.send_heartbeats(now, out);
        }
    }

    pub(super) fn check_mastership(&mut self, now: Instant, out: &mut Vec<Output>) {
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
                let retiring = lead.leaving.is_some_and(|leaving| leaving.retiring);
                if !retiring && lead.lease.end().unwrap_or(trusted) <= now {
                    self.step_down(now, Reason::LeaseLost, out);
                } else if self.applied < lead.barrier && now >= recovery_end {
                    self.step_down(now, Reason::RecoveryStalled, out);
                }
            }
            Phase::Following | Phase::Scouting { .. } => {}
        }
    }

    pub(super) fn step_down(&mut self, now: Instant, reason: Reason, out: &mut Vec<Output>) {
        let Phase::Leading(mut lead) = core::mem::replace(&mut self.phase, Phase::Following) else {
            return;
        };
        if !(mutant!(HandOverWhileServing) && reason == Reason::HandedOver) {
            out.push(Output::Notify(Notice::Serve(None)));
        }
        out.push(Output::Notify(Notice::Log(Event::SteppedDown(lead.ballot, reason))));
        decline(lead.ballot, lead.decline_queue(), out);
        out.extend(lead.in_flight.keys().map(|&slot| Output::RetireCommander(lead.ballot, slot)));
        // Who goes on as master, in the next view or with a higher ballot, keeps everybody else
        // out meanwhile (M5).
        let goes_on = matches!(reason, Reason::ViewChanged | Reason::Upgraded);
        if !goes_on || lead.leaving.is_some() {
            let release = Release { ballot: lead.ballot };
            let to = self.membership.everyone().clone();
            out.push(Output::Broadcast { to, message: Message::Release(release) });
        }
        if let Some(ticket) = lead.changing.take().and_then(|changing| changing.ticket) {
            let verdict = Verdict::Unknown;
            out.push(Output::Notify(Notice::ChangeAnswered { ticket, verdict }));
        }
        self.surroundings.note_released(lead.ballot);
        if reason == Reason::RecoveryStalled || reason == Reason::DiskStalled {
            self.held_back_until = now.after(self.timing.lease()).after(self.timing.lease());
        }
        self.tell_mastership(now, out);
        self.send_heartbeats(now, out);
        if lead.leaving.is_some_and(|leaving| leaving.asked) && reason != Reason::HandedOver {
            out.push(Output::Notify(Notice::HandedOver));
        }
    }
}
