//! What the checkers of memberships are told.

use warlock_paxos::{Ballot, Incarnation, Membership, Record, View};

use super::World;
use super::queue::NodeIndex;
use crate::check::{grants_outlast_views, leaver_is_silent};

impl World {
    /// A node starts with a membership, or is told one that is in force.
    pub(super) fn observe_view(
        &mut self,
        index: NodeIndex,
        membership: &Membership,
        incarnation: Incarnation,
    ) {
        let id = self.sites[index].id;
        let admitted = membership.admits(id, incarnation);
        let known = self.checks.lower_views.observe_known(id, membership.view(), admitted);
        self.note(known);
        if membership.members().is_empty() {
            return;
        }
        let entered = self.checks.views.observe_in_force(id, membership);
        let is_new = entered == Ok(true);
        self.note(entered.map(|_| ()));
        if !is_new {
            return;
        }
        self.entered(membership);
        // Newcomers may not have heard of the log time, and may be a quorum together.
        if !self.is_time_known(None) {
            self.lose_time();
        }
    }

    pub(super) fn observe_in_force(&mut self, index: NodeIndex, membership: &Membership) {
        self.trace_site(index, || format!("is in {membership}"));
        let incarnation = self.sites[index].incarnation;
        self.observe_view(index, membership, incarnation);
        // Whoever enters a view goes on granting what it granted.
        self.observe_started(index);
    }

    /// The master proposes another membership.
    pub(super) fn observe_changing(&mut self, index: NodeIndex, next: &Membership) {
        let Some(process) = &self.sites[index].process else { return };
        let node = &process.node;
        let Some(ballot) = node.leader.leads() else { return };
        let decided = node.acceptor.decided().min(node.replica.applied());
        let present = node.leader.membership().clone();
        let is_first = self.checks.views.open().all(|charter| charter != next.charter());
        let lawful = self.checks.views.observe_proposed(ballot, next.charter());
        self.note(lawful);
        let secured = self.checks.held.observe_change(ballot, &present);
        self.note(secured);
        if is_first {
            let ready = self.checks.held.observe_promoted(ballot, decided, &present, next);
            self.note(ready);
        }
        let site = &self.sites[index];
        let serves = site.process.as_ref().and_then(|process| process.serves);
        if serves.is_some_and(|end| site.clock.at(self.time) < end) {
            let silent = leaver_is_silent(next, site.id);
            self.note(silent);
        }
    }

    /// A node promises, accepts or grants.
    pub(super) fn observe_acts(&mut self, index: NodeIndex, view: View, what: &'static str) {
        let acts = self.checks.lower_views.observe_acts(self.sites[index].id, view, what);
        self.note(acts);
    }

    /// A node says that it promised a ballot.
    pub(super) fn observe_promise(&mut self, index: NodeIndex, promised: Ballot) {
        self.observe_acts(index, promised.view, "promises");
        let now = self.now(index).boot;
        let site = &self.sites[index];
        let Some(process) = &site.process else { return };
        // Who leads already was elected by others: this promise adds nothing.
        let leads = self.checks.held.has_led(promised);
        let granted = process.node.acceptor.granted_to(now).filter(|_| !leads);
        let kept = grants_outlast_views(site.id, promised, granted);
        self.note(kept);
    }

    /// A record is on the disk of a node.
    pub(super) fn observe_durable(&mut self, index: NodeIndex, record: Option<&Record>) {
        let Some(record) = record else { return };
        let id = self.sites[index].id;
        self.checks.held.observe_record(id, record);
        if let Record::AcceptView(accepted) = record {
            let lawful = self.checks.views.observe_accepted(id, accepted);
            self.note(lawful);
        }
    }

    /// A node starts that was removed, and does not know.
    pub(super) fn observe_zombie(&mut self, index: NodeIndex, admitted: bool) {
        let is_gone = self.checks.views.is_gone(self.sites[index].id);
        self.counters.zombie += u64::from(is_gone && admitted);
    }
}
