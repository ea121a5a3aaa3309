//! Commands of this node's clients on their way into the log, and what is known of their fate.
//!
//! Each submission is proposed to one master at a time. It is proposed again only when it is proven
//! that the first proposal never took and never will take effect: the master declined it before it
//! had a slot, or a later master leads alone (applied its barrier) and it was not among what it
//! recovered.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Ballot, Incarnation, NodeId, Origin, Slot};
use crate::limits::SUBMISSIONS_BYTES_MAX;
use crate::message::{Declined, Message, Propose};
use crate::output::{Fate, Notice, Output};
use crate::time::{Instant, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    ballot: Ballot,
    sequence: u64,
}

#[derive(Clone, Debug)]
struct Submission {
    ticket: u64,
    commands: Bytes,
    deadline: Instant,
    sent: Option<Sent>,
}

/// The submissions of one node in the order in which clients must see their replies.
#[derive(Clone, Debug)]
pub(crate) struct Submissions {
    node: NodeId,
    incarnation: Incarnation,
    next_sequence: u64,
    waiting: VecDeque<Submission>,
    bytes: usize,
    resend_at: Option<Instant>,
    resend_after: Span,
}

impl Submissions {
    pub(crate) const fn new(
        node: NodeId,
        incarnation: Incarnation,
        first_sequence: u64,
        resend_after: Span,
    ) -> Self {
        Self {
            node,
            incarnation,
            next_sequence: first_sequence,
            waiting: VecDeque::new(),
            bytes: 0,
            resend_at: None,
            resend_after,
        }
    }

    /// Takes commands; false, and nothing done, if too much waits already.
    pub(crate) fn submit(&mut self, ticket: u64, commands: Bytes, deadline: Instant) -> bool {
        if self.bytes > 0 && self.bytes + commands.len() > SUBMISSIONS_BYTES_MAX {
            return false;
        }
        self.bytes += commands.len();
        self.waiting.push_back(Submission { ticket, commands, deadline, sent: None });
        true
    }

    /// Proposes to the master what it has not been proposed, once everything proposed to earlier
    /// masters is known to be in the log or never to come.
    pub(crate) fn flush(
        &mut self,
        now: Instant,
        mastership: Option<(Ballot, Slot)>,
        applied: Slot,
        out: &mut Vec<Output>,
    ) {
        let Some((ballot, barrier)) = mastership else {
            return;
        };
        if applied >= barrier {
            self.forget_proposed_before(ballot);
        }
        let elsewhere = |sent: Sent| sent.ballot != ballot;
        if self.waiting.iter().any(|waiting| waiting.sent.is_some_and(elsewhere)) {
            return;
        }
        let first_unsent = self.waiting.partition_point(|waiting| waiting.sent.is_some());
        for index in first_unsent..self.waiting.len() {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            self.waiting[index].sent = Some(Sent { ballot, sequence });
            self.send(index, out);
        }
        if self.resend_at.is_none() && !self.waiting.is_empty() {
            self.resend_at = Some(now.after(self.resend_after));
        }
    }

    /// Takes note of what the master declined.
    pub(crate) fn decline(&mut self, declined: &Declined) {
        for waiting in &mut self.waiting {
            let refused = |sent: Sent| {
                sent.ballot == declined.ballot && sent.sequence >= declined.from_sequence
            };
            if waiting.sent.is_some_and(refused) {
                waiting.sent = None;
            }
        }
    }

    /// The ticket of a proposal that is being applied, unless it was given up.
    ///
    /// One master puts proposals of one node into the log in their order. So those before this one
    /// that have not come will never come: a later master filled their slot with something else.
    pub(crate) fn applied(
        &mut self,
        now: Instant,
        origin: Origin,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        if (origin.node, origin.incarnation) != (self.node, self.incarnation) {
            return None;
        }
        let next = |waiting: &VecDeque<Submission>| Some(waiting.front()?.sent?.sequence);
        while next(&self.waiting).is_some_and(|sequence| sequence < origin.sequence) {
            let Some(Submission { ticket, .. }) = self.pop() else { break };
            let fate = Fate::NotExecuted;
            out.push(Output::Notify(Notice::Failed { ticket, fate }));
        }
        if next(&self.waiting)? > origin.sequence {
            return None;
        }
        self.resend_at = (self.waiting.len() > 1).then(|| now.after(self.resend_after));
        self.pop().map(|submission| submission.ticket)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let deadline = self.waiting.front().map(|front| front.deadline);
        deadline.into_iter().chain(self.resend_at).min()
    }

    /// Gives up what is overdue, and sends again what may have got lost.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        mastership: Option<(Ballot, Slot)>,
        out: &mut Vec<Output>,
    ) {
        while self.waiting.front().is_some_and(|front| front.deadline <= now) {
            let Some(overdue) = self.pop() else { break };
            let fate = if overdue.sent.is_some() { Fate::Unknown } else { Fate::NotExecuted };
            out.push(Output::Notify(Notice::Failed { ticket: overdue.ticket, fate }));
        }
        if self.resend_at.is_none_or(|at| now < at) {
            return;
        }
        self.resend_at = (!self.waiting.is_empty()).then(|| now.after(self.resend_after));
        let Some((ballot, _)) = mastership else {
            return;
        };
        for index in 0..self.waiting.len() {
            if self.waiting[index].sent.is_some_and(|sent| sent.ballot == ballot) {
                self.send(index, out);
            }
        }
    }

    /// Those proposed come first, each with a higher sequence than the one before.
    pub(crate) fn are_in_order(&self) -> bool {
        let sequences: Vec<u64> = self
            .waiting
            .iter()
            .map(|waiting| waiting.sent.map_or(u64::MAX, |sent| sent.sequence))
            .collect();
        sequences.windows(2).all(|pair| pair[0] < pair[1] || pair == [u64::MAX; 2])
    }

    fn forget_proposed_before(&mut self, ballot: Ballot) {
        for waiting in &mut self.waiting {
            if waiting.sent.is_some_and(|sent| sent.ballot < ballot) {
                waiting.sent = None;
            }
        }
    }

    fn send(&self, index: usize, out: &mut Vec<Output>) {
        let Submission { commands, sent, .. } = &self.waiting[index];
        let Some(Sent { ballot, sequence }) = *sent else {
            return;
        };
        // What was given up or applied needs not come first, whether the master took it or not.
        let before = index.checked_sub(1).and_then(|before| self.waiting[before].sent);
        let previous = before.filter(|sent| sent.ballot == ballot).map(|sent| sent.sequence);
        let origin = Origin { node: self.node, incarnation: self.incarnation, sequence };
        let propose = Propose { ballot, origin, previous, commands: commands.clone() };
        out.push(Output::Send { to: ballot.node, message: Message::Propose(propose) });
    }

    fn pop(&mut self) -> Option<Submission> {
        let submission = self.waiting.pop_front()?;
        self.bytes -= submission.commands.len();
        Some(submission)
    }
}
