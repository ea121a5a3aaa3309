//! The acceptor's part in changes of the membership (M1, M4).

use alloc::vec;
use alloc::vec::Vec;

use super::Acceptor;
use crate::ids::{Ballot, NodeId, Slot, View};
use crate::membership::{Charter, Membership};
use crate::message::{InForce, Message, P2aView, P2bView, Reconfiguration};
use crate::output::{Notice, Output, Tell};
use crate::record::Record;
use crate::time::Instant;

impl Acceptor {
    /// Handles a request to accept a membership for the next reconfiguration slot.
    ///
    /// # Panics
    /// If the leader proposes two memberships under one ballot (M1).
    pub fn handle_p2a_view(
        &mut self,
        now: Instant,
        from: NodeId,
        p2a: P2aView,
        out: &mut Vec<Output>,
    ) {
        let P2aView { ballot, charter } = p2a;
        if ballot.node != from || self.answers_lower_view(from, ballot.view, out) {
            return;
        }
        let takes = ballot.view == self.membership.view()
            && charter.view == ballot.view.next()
            && self.membership.is_voter(self.node)
            && self.is_admitted();
        if !takes || !self.membership.is_elector(from) {
            return;
        }
        let view = charter.view;
        if ballot < self.ballot {
            let p2b = P2bView { asked: ballot, promised: self.ballot, view };
            out.push(Output::Send { to: from, message: Message::P2bView(p2b) });
            return;
        }
        if ballot > self.ballot {
            self.persist_decided(now, out);
            self.raise_ballot(ballot);
            out.push(Output::Tell(Tell::Promised(ballot)));
        }
        let accepted = self.reconfiguration.as_ref().filter(|known| known.ballot == ballot);
        let record = match accepted {
            Some(known) => {
                assert!(
                    known.charter == charter,
                    "M1: two memberships for {} under {ballot}",
                    view.slot()
                );
                None
            }
            None => {
                let accepted = Reconfiguration { ballot, charter };
                self.reconfiguration = Some(accepted.clone());
                Some(Record::AcceptView(accepted))
            }
        };
        let p2b = P2bView { asked: ballot, promised: ballot, view };
        let then = vec![Output::Send { to: from, message: Message::P2bView(p2b) }];
        self.persist(now, record, then, out);
    }

    /// Handles the word that a membership is decided: from now on lower views are refused.
    ///
    /// # Panics
    /// If another membership is known for the same view (M1).
    pub fn handle_in_force(&mut self, now: Instant, charter: Charter, out: &mut Vec<Output>) {
        if charter.view == self.membership.view() {
            let known = self.membership.charter();
            assert!(*known == charter, "M1: two memberships decided for {}", charter.view.slot());
        }
        if charter.view <= self.membership.view() {
            return;
        }
        let Ok(membership) = Membership::from_charter(charter.clone()) else {
            return;
        };
        self.membership = membership.clone();
        self.reconfiguration = None;
        if mutant!(ViewEndsGrants) {
            self.grant = None;
        }
        let admitted = self.is_admitted();
        // The others of this node act on it only once a restart would remember it.
        let mut then = vec![
            Output::Tell(Tell::InForce { membership: membership.clone(), admitted }),
            Output::Tell(Tell::Members { others: membership.others(self.node), admitted }),
            Output::Notify(Notice::InForce(membership)),
        ];
        if !admitted {
            then.push(Output::Notify(Notice::Retired));
        }
        self.persist(now, Some(Record::InForce(charter)), then, out);
    }

    /// The membership in force.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// What was accepted for the reconfiguration slot after the view in force.
    #[must_use]
    pub const fn reconfiguration(&self) -> Option<&Reconfiguration> {
        self.reconfiguration.as_ref()
    }

    /// Whether this node, with this data directory, is part of the view (M4, P7).
    pub(super) fn is_admitted(&self) -> bool {
        self.membership.admits(self.node, self.incarnation)
    }

    /// Tells whoever acts in a lower view which membership is in force; says whether it did (M4).
    pub(super) fn answers_lower_view(
        &self,
        from: NodeId,
        view: View,
        out: &mut Vec<Output>,
    ) -> bool {
        let lower = view < self.membership.view() && !mutant!(LowerViewAccepted);
        if lower {
            self.tell_in_force(from, out);
        }
        lower
    }

    /// Tells a node that is in a lower view, or not part of this one, which membership is in force;
    /// says whether it did. This node's own leader hears of a view a little later than the
    /// acceptor.
    pub(super) fn answers_stranger(&self, from: NodeId, view: View, out: &mut Vec<Output>) -> bool {
        let known = self.membership.view();
        let stranger = view < known || (view == known && !self.membership.is_member(from));
        if from == self.node || !stranger {
            return false;
        }
        self.tell_in_force(from, out);
        true
    }

    fn tell_in_force(&self, to: NodeId, out: &mut Vec<Output>) {
        if to == self.node || self.membership.members().is_empty() {
            return;
        }
        let charter = self.membership.charter().clone();
        out.push(Output::Send { to, message: Message::InForce(InForce { charter }) });
    }

    /// What is durable here for the leader of `ballot`.
    pub(super) fn held_under(&self, ballot: Ballot) -> Slot {
        let recorded = if self.persists_waiting == 0 { self.decided_recorded } else { Slot::FIRST };
        if ballot == self.ballot { self.held_durably.max(recorded) } else { recorded }
    }
}
