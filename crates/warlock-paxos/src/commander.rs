//! The commander: phase 2 for one slot under one ballot (PMMC 2.3).
//!
//! It must never count an answer to another ballot or slot, an answer twice, or the answer of a
//! node without a vote (P4).

use alloc::vec::Vec;

use crate::batch::Batch;
use crate::ids::{Ballot, NodeId, Slot};
use crate::membership::{Membership, Tally};
use crate::message::{Message, P2a, P2b};
use crate::output::{Output, Tell};
use crate::record::PValue;
use crate::time::{Instant, Span};

/// How many times longer than at first a commander waits at most before it asks again.
const RETRY_GROWTH_MAX: u64 = 4;

/// Phase 2 of one slot.
#[derive(Clone, Debug, Hash)]
pub struct Commander {
    ballot: Ballot,
    slot: Slot,
    batch: Batch,
    decided: Slot,
    membership: Membership,
    retry: Span,
    retry_max: Span,
    retry_at: Option<Instant>,
    accepts: Tally,
    done: bool,
}

impl Commander {
    /// A commander that has `batch` accepted for `slot` under `ballot`, while the master has
    /// decided and applied every slot below `decided`.
    #[must_use]
    pub fn new(pvalue: PValue, decided: Slot, membership: Membership, retry: Span) -> Self {
        let PValue { ballot, slot, batch } = pvalue;
        assert!(ballot.view == membership.view(), "P4: {ballot} proposes in {membership}");
        Self {
            ballot,
            slot,
            batch,
            decided,
            membership,
            retry,
            retry_max: retry.per_mille(1000 * RETRY_GROWTH_MAX),
            retry_at: None,
            accepts: Tally::default(),
            done: false,
        }
    }

    /// The ballot that it proposes under.
    #[must_use]
    pub const fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// The slot that it proposes for.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Asks every voter, and tells those that only follow; to be called once, by the host that
    /// started the commander.
    pub fn start(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.retry_at = Some(now.after(self.retry));
        let to = self.membership.everyone().clone();
        out.push(Output::Broadcast { to, message: self.question() });
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Asks those again that have not accepted: the question or the answer may be lost.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.done || self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        // Each time waits longer, so that a slow disk is not given more work than it can do; but
        // not for long, as clients wait for what was lost.
        self.retry_at = Some(now.after(self.retry));
        self.retry = self.retry.plus(self.retry).min(self.retry_max);
        for to in self.accepts.missing_voters(&self.membership) {
            out.push(Output::Send { to, message: self.question() });
        }
    }

    /// Handles the answer of an acceptor.
    pub fn handle_p2b(&mut self, from: NodeId, p2b: &P2b, out: &mut Vec<Output>) {
        let other = p2b.asked != self.ballot && !mutant!(OldBallotAnswersCount);
        if other || p2b.slot != self.slot {
            return;
        }
        if p2b.promised > self.ballot && !mutant!(OldBallotAnswersCount) {
            if !self.done {
                self.finish();
                out.push(Output::Tell(Tell::Preempted { ballot: self.ballot, by: p2b.promised }));
            }
            return;
        }
        let lower = p2b.promised < self.ballot && !mutant!(OldBallotAnswersCount);
        if lower {
            return;
        }
        let counted = self.accepts.add(&self.membership, from);
        if !counted && self.membership.is_elector(from) {
            return;
        }
        out.push(Output::Tell(Tell::Held { node: from, ballot: self.ballot, held: p2b.held }));
        if !self.done && self.accepts.is_quorum(&self.membership) {
            self.finish();
            let Self { ballot, slot, .. } = *self;
            let batch = self.batch.clone();
            out.push(Output::Tell(Tell::Chosen(PValue { ballot, slot, batch })));
            out.push(Output::Tell(Tell::Accomplished { ballot, slot }));
        }
    }

    fn question(&self) -> Message {
        Message::P2a(P2a {
            ballot: self.ballot,
            slot: self.slot,
            batch: self.batch.clone(),
            decided: self.decided,
        })
    }

    fn finish(&mut self) {
        self.done = true;
        self.retry_at = None;
    }
}
