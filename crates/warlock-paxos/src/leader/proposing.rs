//! What the leader proposes for which slot (P3), and how far it may go ahead (W1).

use alloc::vec::Vec;

use super::leaving::decline;
use super::{Leader, Phase};
use crate::batch::{Batch, Stamp};
use crate::commander::Commander;
use crate::ids::{Ballot, NodeId, Slot};
use crate::lead::InFlight;
use crate::limits::WINDOW_MAX;
use crate::message::{Decision, Message, P2b, Propose};
use crate::output::{Adopted, Notice, Output, Tell};
use crate::record::PValue;
use crate::time::{Instant, LogTime};

impl Leader {
    /// Handles commands for the log.
    pub fn handle_propose(
        &mut self,
        now: Instant,
        from: NodeId,
        propose: Propose,
        out: &mut Vec<Output>,
    ) {
        let stranger = !self.membership.is_member(from);
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        if propose.ballot != lead.ballot {
            return;
        }
        // A node that was removed serves no clients (M4).
        if lead.leaving.is_some() || stranger {
            if !lead.has_taken(propose.origin) || mutant!(DeclinedAfterTaken) {
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
        self.clock.raise_floor(now, log_time);
        self.publish_lease(out);
        self.settle(now, out);
        self.answer_asked(now, out);
    }

    /// Lets go of what this ballot decided and this node applied, and proposes what comes next.
    pub(super) fn settle(&mut self, now: Instant, out: &mut Vec<Output>) {
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
        self.consider_changing(now, out);
        self.finish_leaving(now, out);
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
        self.consider_changing(now, out);
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

    /// What this node may say to be decided: as a leader only what it applied and its own ballot
    /// chose, because others take what they accepted under that ballot for the decided content.
    pub(super) fn decided(&self) -> Slot {
        match &self.phase {
            Phase::Leading(lead) if mutant!(DecidedBeyondGap) => lead.past_last_chosen(),
            Phase::Leading(lead) => self.applied.min(lead.decided()),
            Phase::Following | Phase::Scouting { .. } => self.applied,
        }
    }

    pub(super) fn want_tick(&mut self, now: Instant) {
        let due = match (self.clock.now(now), self.deadline) {
            (Some(time), Some(deadline)) => deadline <= time && self.applied_log_time < deadline,
            _ => false,
        };
        if let Phase::Leading(lead) = &mut self.phase {
            lead.tick_wanted |= due;
        }
    }

    pub(super) fn propose_recovered(
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
                Some(pvalue) if !mutant!(OwnValueOverAccepted) => pvalue.batch.clone(),
                _ => Batch::no_op(self.stamp(now)),
            };
            if mutant!(GapsAssumed) && found.is_none() {
                let pvalue = PValue { ballot: adopted.ballot, slot, batch: batch.clone() };
                out.push(Output::Tell(Tell::Chosen(pvalue)));
            }
            self.propose(now, slot, batch, out);
            slot = slot.next();
        }
        assert!(recovered.peek().is_none(), "P3: a recovered pvalue was not proposed again");
    }

    /// Proposes what queued, as far as the window allows; says whether it proposed anything.
    pub(super) fn try_propose(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
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

    pub(super) fn propose(
        &mut self,
        now: Instant,
        slot: Slot,
        batch: Batch,
        out: &mut Vec<Output>,
    ) {
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

    pub(super) fn stamp(&mut self, now: Instant) -> Stamp {
        let seed = self.random.next();
        let time = self.clock.now(now).unwrap_or(self.applied_log_time);
        let Phase::Leading(lead) = &mut self.phase else {
            return Stamp { log_time: time, seed };
        };
        lead.last_stamp = lead.last_stamp.max(time);
        Stamp { log_time: lead.last_stamp, seed }
    }
}
