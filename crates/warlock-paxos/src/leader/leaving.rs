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
        let to = self.membership.voters().clone();
        out.push(Output::Broadcast { to, message: Message::Release(release) });
        self.tell_mastership(now, out);
        let superseded = self.surroundings.somebody_is_happy(now);
        let may = matches!(self.phase, Phase::Following) && self.membership.is_voter(self.node);
        if may && !superseded {
            self.scout(now, out);
        }
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
        if !mutant!(HandOverWhileServing) {
            out.push(Output::Notify(Notice::Serve(None)));
        }
        self.finish_leaving(now, out);
    }

    pub(super) fn finish_leaving(&mut self, now: Instant, out: &mut Vec<Output>) {
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

    pub(super) fn fittest_successor(&self, now: Instant) -> Option<NodeId> {
        let Phase::Leading(lead) = &self.phase else {
            return None;
        };
        self.surroundings
            .connected(now)
            .filter(|&node| self.membership.is_voter(node))
            .max_by_key(|&node| lead.held_by(node))
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
