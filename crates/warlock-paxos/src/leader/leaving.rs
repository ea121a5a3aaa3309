//! Giving the mastership up in order (L5).

use alloc::vec::Vec;

use super::{Leader, Phase};
use crate::ids::{Ballot, NodeId};
use crate::lead::Leaving;
use crate::message::{Decision, Declined, HandOver, Message, Release};
use crate::output::{Notice, Output, Reason};
use crate::time::Instant;

impl Leader {
    /// Handles a leaving master's wish that this node lead next (L5).
    pub fn handle_hand_over(&mut self, now: Instant, ask: &HandOver, out: &mut Vec<Output>) {
        self.surroundings.note_released(ask.ballot);
        self.ballot_seen = self.ballot_seen.max(ask.ballot);
        let release = Release { ballot: ask.ballot };
        // Ahead of the scout's question on each connection, so that no acceptor still refuses it.
        let to = self.membership.electors().clone();
        out.push(Output::Broadcast { to, message: Message::Release(release) });
        self.tell_mastership(now, out);
        let superseded = self.surroundings.somebody_is_happy(now);
        let may = matches!(self.phase, Phase::Following) && self.may_stand();
        if may && !superseded {
            self.scout(now, out);
        }
    }

    /// Handles the host's wish to leave: a master stops serving, waits for what is in flight, gives
    /// its lease up and asks `to`, or of the nodes that may promise the one that holds most, to
    /// lead. Answers with [`Notice::HandedOver`] when that node leads, after a lease at most.
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
        if let Some(leaving) = lead.leaving.as_mut().filter(|leaving| leaving.retiring) {
            leaving.asked = true;
            return;
        }
        let deadline = now.after(self.timing.heartbeat());
        self.begin_leaving(Leaving { deadline, to, retiring: false, asked: true }, out);
        self.finish_leaving(now, out);
    }

    /// Stops serving, and taking what shall be proposed.
    pub(super) fn begin_leaving(&mut self, leaving: Leaving, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        lead.leaving = Some(leaving);
        let ballot = lead.ballot;
        let declined = lead.decline_queue();
        decline(ballot, declined, out);
        if !mutant!(HandOverWhileServing) {
            out.push(Output::Notify(Notice::Serve(None)));
        }
    }

    pub(super) fn finish_leaving(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        let Some(Leaving { deadline, to, retiring, .. }) = lead.leaving else {
            return;
        };
        if !lead.in_flight.is_empty() && now < deadline {
            return;
        }
        // A node that was reset meanwhile may hold less: then the successor ends the transition.
        let may_retire = match &lead.changing {
            Some(_) => now < deadline,
            None => self.is_secured(lead),
        };
        if retiring && may_retire {
            self.retire_from_mastership(now, out);
            return;
        }
        let ballot = lead.ballot;
        let decision = Decision { ballot, decided: self.decided() };
        let others = self.membership.others(self.node);
        let asked = lead.leaving.is_some_and(|leaving| leaving.asked);
        let successor = to.or_else(|| self.fittest_successor(now));
        out.push(Output::Broadcast { to: others, message: Message::Decision(decision) });
        self.step_down(now, Reason::HandedOver, out);
        let Some(to) = successor.filter(|&to| to != self.node) else {
            if asked {
                out.push(Output::Notify(Notice::HandedOver));
            }
            return;
        };
        out.push(Output::Send { to, message: Message::HandOver(HandOver { ballot }) });
        self.farewell = asked.then(|| (ballot, now.after(self.timing.lease())));
    }

    /// Goes once a successor leads, or when that takes too long. Its quorum may need the promise of
    /// this node: another one may just have started, and be silent (L2).
    pub(super) fn consider_farewell(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some((ballot, deadline)) = self.farewell else {
            return;
        };
        let succeeded = self.surroundings.master(now).is_some_and(|(known, _)| known > ballot);
        if succeeded || now >= deadline {
            self.farewell = None;
            out.push(Output::Notify(Notice::HandedOver));
        }
    }

    pub(super) fn fittest_successor(&self, now: Instant) -> Option<NodeId> {
        let Phase::Leading(lead) = &self.phase else {
            return None;
        };
        self.surroundings
            .connected(now)
            .filter(|&node| self.membership.is_voter(node))
            .max_by_key(|&node| (self.surroundings.may_promise(node), lead.held_by(node)))
    }
}

pub(super) fn decline(
    ballot: Ballot,
    declined: impl IntoIterator<Item = (NodeId, u64)>,
    out: &mut Vec<Output>,
) {
    for (to, from_sequence) in declined {
        let message = Message::Declined(Declined { ballot, from_sequence });
        out.push(Output::Send { to, message });
    }
}
