//! Changes of the membership: at most one in flight, each only once what was decided before is safe
//! in the view (M1, M3, M5, M6).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Leader, Phase};
use crate::change::{Change, ChangeRequest, Refusal, Verdict};
use crate::ids::NodeId;
use crate::lead::{Changing, Lead, Leaving};
use crate::limits::PROMOTION_LAG_MAX;
use crate::membership::{Membership, Seat, Tally};
use crate::message::{Decision, HandOver, InForce, Message, P2aView, P2bView, Release};
use crate::output::{Event, Notice, Output, Reason};
use crate::time::Instant;

impl Leader {
    /// Handles the host's wish for another membership; answers with [`Notice::ChangeAnswered`].
    pub fn handle_change(
        &mut self,
        now: Instant,
        ticket: u64,
        request: &ChangeRequest,
        out: &mut Vec<Output>,
    ) {
        match self.judge(now, request) {
            Ok(next) => self.begin_change(now, Some(ticket), next, out),
            Err(refusal) => {
                if refusal == Refusal::NotSettled {
                    self.settle_after_upgrade(now, out);
                }
                let verdict = Verdict::Refused(refusal);
                out.push(Output::Notify(Notice::ChangeAnswered { ticket, verdict }));
            }
        }
    }

    /// What would become of `request` if it were asked for now: the membership that would be
    /// proposed. For a `--dry-run`.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn judge(&self, now: Instant, request: &ChangeRequest) -> Result<Membership, Refusal> {
        let lead = match &self.phase {
            Phase::Leading(lead) if lead.leaving.is_none() && lead.lease.is_held(now) => lead,
            Phase::Following | Phase::Scouting { .. } | Phase::Leading(_) => {
                let master = self.master(now).map(|ballot| ballot.node);
                return Err(Refusal::NotMaster {
                    master: master.filter(|&node| node != self.node),
                });
            }
        };
        let in_flight = lead.changing.is_some() && !mutant!(TwoChangesInFlight);
        if in_flight || lead.inherited.is_some() {
            return Err(Refusal::ChangeInFlight);
        }
        let in_force = self.membership.view();
        if request.view != in_force {
            return Err(Refusal::WrongView { in_force });
        }
        let next = self.membership.changed(&request.change)?;
        self.knows_changes(&next)?;
        if !self.is_secured(lead) {
            return Err(Refusal::NotSettled);
        }
        let mut newcomers = self.newcomers(&next);
        newcomers.try_for_each(|node| self.is_ready(now, lead, node))?;
        let moved = self.moved(&request.change);
        let reaches = |node| moved != Some(node) && self.surroundings.reaches(now, node);
        if !next.is_quorum(reaches) {
            let reachable = next.voters().iter().filter(|&&node| reaches(node)).count();
            return Err(Refusal::WouldLoseQuorum { reachable, quorum: next.quorum() });
        }
        let next = next.completed(|node| self.known.get(&node).cloned());
        self.stranger(&next).map_or(Ok(next), |node| Err(Refusal::NeverMet { node }))
    }

    /// A voter that may be out of reach afterwards, as nobody knows whether it is at its new
    /// address: the others must do without it, to be able to correct that.
    fn moved(&self, change: &Change) -> Option<NodeId> {
        let Change::Readdress { node, .. } = change else { return None };
        Some(*node).filter(|_| self.membership.voters().len() > 1)
    }

    /// Those that get a vote with `next`.
    fn newcomers(&self, next: &Membership) -> impl Iterator<Item = NodeId> {
        next.voters().iter().copied().filter(|&node| !self.membership.is_voter(node))
    }

    /// P7: a founder whose data directory is not on record, beside a voter that never met it.
    fn stranger(&self, next: &Membership) -> Option<NodeId> {
        self.newcomers(next).next().filter(|_| !mutant!(FounderNeverMet))?;
        let mut voters = next.members().iter().filter(|member| member.seat == Seat::Voter);
        voters.find(|member| member.incarnation.is_none()).map(|member| member.node)
    }

    /// M6: an observer gets a vote only when it holds what is decided, durably, and answers.
    fn is_ready(&self, now: Instant, lead: &Lead, node: NodeId) -> Result<(), Refusal> {
        if !self.surroundings.reaches(now, node) {
            return Err(Refusal::NotRunning { node });
        }
        let held = lead.held_by(node).unwrap_or(crate::ids::Slot::FIRST);
        let decided = lead.decided();
        let lacks = decided.distance_from(held);
        if lacks > PROMOTION_LAG_MAX && !mutant!(PromotedBehind) {
            return Err(Refusal::NotCaughtUp { node, held, decided });
        }
        Ok(())
    }

    /// M3: what phase 1 found is applied here, and held by a majority of the voters.
    pub(super) fn is_secured(&self, lead: &Lead) -> bool {
        (self.applied >= lead.barrier || mutant!(ChangeBeforeHeld))
            && lead.is_secured(&self.membership)
    }

    /// Proposes what must come next of itself: what an earlier leader of the view left undecided,
    /// or the end of a transition. A master that is not part of it gives its lease up first (M5).
    pub(super) fn consider_changing(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        if lead.changing.is_some() || lead.leaving.is_some() || !self.is_secured(lead) {
            return;
        }
        let Some(next) = self.due_change(lead) else {
            return;
        };
        if next.is_elector(self.node) || mutant!(RetiredKeepsLease) {
            self.begin_change(now, None, next, out);
            return;
        }
        let deadline = now.after(self.timing.heartbeat());
        self.begin_leaving(Leaving { deadline, to: None, retiring: true, asked: false }, out);
        self.finish_leaving(now, out);
    }

    fn due_change(&self, lead: &Lead) -> Option<Membership> {
        let end = || self.membership.is_transitional().then(|| self.membership.stabilised());
        lead.inherited.clone().or_else(end)
    }

    /// Ends the lease, and then proposes the membership without this node (M5).
    pub(super) fn retire_from_mastership(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        if lead.changing.is_some() {
            return;
        }
        lead.lease.give_up();
        let ballot = lead.ballot;
        if let Some(leaving) = &mut lead.leaving {
            leaving.deadline = now.after(self.timing.lease());
        }
        let decision = Decision { ballot, decided: self.decided() };
        let to = self.membership.others(self.node);
        out.push(Output::Broadcast { to, message: Message::Decision(decision) });
        let to = self.membership.everyone().clone();
        let release = Release { ballot };
        out.push(Output::Broadcast { to, message: Message::Release(release) });
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        if let Some(next) = self.due_change(lead) {
            self.begin_change(now, None, next, out);
        }
    }

    fn begin_change(
        &mut self,
        now: Instant,
        ticket: Option<u64>,
        next: Membership,
        out: &mut Vec<Output>,
    ) {
        let secured = self.lead().is_some_and(|lead| self.is_secured(lead));
        // What a leader of an older version left behind goes on as it is.
        let stranger = ticket.and_then(|_| self.stranger(&next));
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        let may = self.membership.may_be_followed_by(&next);
        assert!(may, "M1: {next} does not follow {}", self.membership);
        assert!(secured, "M3: {next} before what {} recovered is held", lead.ballot);
        let others = lead.changing.is_some() && !mutant!(TwoChangesInFlight);
        assert!(!others, "M1: {next} beside another change");
        let stays = next.is_elector(self.node);
        let leased = lead.lease.end().is_some() && !mutant!(RetiredKeepsLease);
        assert!(stays || !leased, "M5: {next} while {} holds the lease", self.node);
        assert_eq!(stranger, None, "P7: {next} with a founder that newcomers never met");
        let ask_again_at = now.after(self.timing.retry());
        out.push(Output::Notify(Notice::Log(Event::Changing(next.clone()))));
        let accepts = Tally::default();
        lead.inherited = None;
        lead.changing = Some(Changing { ticket, next, accepts, ask_again_at, decided: false });
        self.ask_for_change(out);
    }

    /// Asks the voters that have not accepted.
    fn ask_for_change(&self, out: &mut Vec<Output>) {
        for &to in self.membership.voters().iter().filter(|&&to| to != self.node) {
            self.ask_one_for_change(to, out);
        }
        self.ask_self_for_change(out);
    }

    /// This node accepts last, when that makes a quorum: a master that is cut off leaves no trace
    /// of what it was asked for, which would come into force when nobody thinks of it any more.
    fn ask_self_for_change(&self, out: &mut Vec<Output>) {
        let accepted = |changing: &Changing, node| changing.accepts.contains(node);
        let last = self.lead().and_then(|lead| lead.changing.as_ref()).is_some_and(|changing| {
            self.membership.is_quorum(|node| node == self.node || accepted(changing, node))
        });
        if last && self.membership.is_voter(self.node) {
            self.ask_one_for_change(self.node, out);
        }
    }

    fn ask_one_for_change(&self, to: NodeId, out: &mut Vec<Output>) {
        let Some(lead) = self.lead() else {
            return;
        };
        let Some(changing) = lead.changing.as_ref().filter(|changing| !changing.decided) else {
            return;
        };
        if !changing.accepts.contains(to) {
            let charter = changing.next.charter().clone();
            let message = Message::P2aView(P2aView { ballot: lead.ballot, charter });
            out.push(Output::Send { to, message });
        }
    }

    /// Handles the answer of an acceptor to the membership proposed (M1).
    pub fn handle_p2b_view(
        &mut self,
        now: Instant,
        from: NodeId,
        p2b: &P2bView,
        out: &mut Vec<Output>,
    ) {
        if p2b.promised > p2b.asked {
            self.handle_preempted(now, p2b.asked, p2b.promised, out);
            return;
        }
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        let asked = p2b.asked == lead.ballot && p2b.promised == p2b.asked;
        let Some(changing) = lead
            .changing
            .as_mut()
            .filter(|changing| asked && changing.next.view() == p2b.view && !changing.decided)
        else {
            return;
        };
        changing.accepts.add(&self.membership, from);
        if !changing.accepts.is_quorum(&self.membership) {
            if from != self.node {
                self.ask_self_for_change(out);
            }
            return;
        }
        changing.decided = true;
        let charter = changing.next.charter().clone();
        if let Some(ticket) = changing.ticket.take() {
            let verdict = Verdict::Decided(changing.next.view());
            out.push(Output::Notify(Notice::ChangeAnswered { ticket, verdict }));
        }
        // Those that go are told too, and this node's acceptor, which tells this role when it is
        // durable.
        let all = self.membership.everyone().iter().chain(changing.next.everyone().iter());
        let all: BTreeSet<NodeId> = all.copied().collect();
        let to: Arc<[NodeId]> = all.into_iter().collect();
        out.push(Output::Broadcast { to, message: Message::InForce(InForce { charter }) });
    }

    pub(super) fn ask_again_for_change(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &mut self.phase else {
            return;
        };
        let Some(changing) = lead.changing.as_mut().filter(|change| change.ask_again_at <= now)
        else {
            return;
        };
        changing.ask_again_at = now.after(self.timing.lease());
        self.ask_for_change(out);
    }

    /// Handles a membership that came into force. A master that is part of it goes on at once, with
    /// a ballot of the new view; one that is not hands over.
    pub fn handle_in_force(
        &mut self,
        now: Instant,
        membership: Membership,
        admitted: bool,
        out: &mut Vec<Output>,
    ) {
        let known = self.membership.view();
        assert!(membership.view() > known, "M4: {membership} comes after {known}");
        self.surroundings.enter(&membership);
        self.membership = membership;
        let before = core::mem::replace(&mut self.retired, !admitted);
        let elector = self.may_stand();
        match &self.phase {
            Phase::Following => {}
            Phase::Scouting { ballot, .. } => {
                out.push(Output::RetireScout(*ballot));
                self.phase = Phase::Following;
                if elector && now >= self.held_back_until {
                    self.scout(now, out);
                }
            }
            Phase::Leading(lead) => {
                let stays = elector && lead.leaving.is_none();
                if stays {
                    self.step_down(now, Reason::ViewChanged, out);
                    self.scout(now, out);
                } else {
                    self.hand_over_to_view(now, out);
                }
            }
        }
        if self.retired && !before {
            self.held_back_until = now;
            self.scout_at = None;
        }
        self.tell_mastership(now, out);
        self.consider_scouting(now, out);
    }

    /// A master that has no part in the new view asks the fittest of its voters to lead.
    fn hand_over_to_view(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        let (ballot, to) = (lead.ballot, lead.leaving.and_then(|leaving| leaving.to));
        let named = to.filter(|&node| self.membership.is_voter(node));
        let successor = named.or_else(|| self.fittest_successor(now));
        let reason = if self.retired { Reason::Retired } else { Reason::ViewChanged };
        self.step_down(now, reason, out);
        if let Some(to) = successor.filter(|&to| to != self.node) {
            out.push(Output::Send { to, message: Message::HandOver(HandOver { ballot }) });
        }
    }
}
