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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sent {
    ballot: Ballot,
    sequence: u64,
}

#[derive(Clone, Debug, Hash)]
struct Submission {
    ticket: u64,
    commands: Bytes,
    deadline: Instant,
    sent: Option<Sent>,
}

/// The submissions of one node in the order in which clients must see their replies.
#[derive(Clone, Debug, Hash)]
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
        // What is proposed stands in front, and all of it under one ballot.
        let proven = match mutant!(NoReproposal) {
            false => applied >= barrier || mutant!(WriteRetried),
            true => false,
        };
        if proven && self.proposed_to().is_some_and(|earlier| earlier < ballot) {
            self.waiting.iter_mut().for_each(|waiting| waiting.sent = None);
        }
        if self.proposed_to().is_some_and(|other| other != ballot) {
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

    /// Gives up all that was proposed, because slots were skipped: a snapshot stands for them, and
    /// it does not say what of this was in them. So neither does a later slot prove that something
    /// earlier never came, nor may it be proposed again.
    pub(crate) fn handle_skipped(&mut self, out: &mut Vec<Output>) {
        while self.proposed_to().is_some() {
            let Some(Submission { ticket, .. }) = self.pop() else { break };
            let fate = Fate::Unknown;
            out.push(Output::Notify(Notice::Failed { ticket, fate }));
        }
    }

    /// Gives up everything: this node will not hear of it any more.
    pub(crate) fn give_up(&mut self, out: &mut Vec<Output>) {
        self.handle_skipped(out);
        while let Some(Submission { ticket, .. }) = self.pop() {
            let fate = Fate::NotExecuted;
            out.push(Output::Notify(Notice::Failed { ticket, fate }));
        }
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
            let open = overdue.sent.is_some() && !mutant!(NotExecutedForUnknown);
            let fate = if open { Fate::Unknown } else { Fate::NotExecuted };
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

    /// Those proposed come first and under one ballot, each with a higher sequence than the one
    /// before.
    pub(crate) fn are_in_order(&self) -> bool {
        let sequences: Vec<u64> = self
            .waiting
            .iter()
            .map(|waiting| waiting.sent.map_or(u64::MAX, |sent| sent.sequence))
            .collect();
        let front = self.proposed_to();
        let mut ballots = self.waiting.iter().filter_map(|waiting| Some(waiting.sent?.ballot));
        let ordered = sequences.windows(2).all(|pair| pair[0] < pair[1] || pair == [u64::MAX; 2]);
        ordered && ballots.all(|ballot| Some(ballot) == front)
    }

    /// The ballot whose master has the proposals that wait.
    fn proposed_to(&self) -> Option<Ballot> {
        Some(self.waiting.front()?.sent?.ballot)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::View;

    const NODE: NodeId = NodeId::new(2);
    const INCARNATION: Incarnation = Incarnation::new(7);

    fn ballot(round: u64) -> Ballot {
        Ballot { view: View::new(1), round, node: NodeId::new(1) }
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(0).after(Span::from_millis(milliseconds))
    }

    fn submissions(tickets: u64) -> Submissions {
        let mut submissions = Submissions::new(NODE, INCARNATION, 100, Span::from_millis(500));
        for ticket in 1..=tickets {
            assert!(submissions.submit(ticket, Bytes::from_static(b"x"), at(1000 + ticket)));
        }
        submissions
    }

    fn origin(sequence: u64) -> Origin {
        Origin { node: NODE, incarnation: INCARNATION, sequence }
    }

    /// What was proposed: round, sequence and what must come before.
    fn proposed(out: &mut Vec<Output>) -> Vec<(u64, u64, Option<u64>)> {
        let mut proposed = Vec::new();
        for output in out.drain(..) {
            if let Output::Send { message: Message::Propose(m), .. } = output {
                proposed.push((m.ballot.round, m.origin.sequence, m.previous));
            }
        }
        proposed
    }

    fn failed(out: &mut Vec<Output>) -> Vec<(u64, Fate)> {
        let mut failed = Vec::new();
        for output in out.drain(..) {
            if let Output::Notify(Notice::Failed { ticket, fate }) = output {
                failed.push((ticket, fate));
            }
        }
        failed
    }

    #[test]
    fn they_wait_for_a_master_and_then_go_in_order() {
        let (mut submissions, mut out) = (submissions(2), Vec::new());
        submissions.flush(at(0), None, Slot::FIRST, &mut out);
        assert_eq!(proposed(&mut out), []);
        submissions.flush(at(0), Some((ballot(1), Slot::FIRST)), Slot::FIRST, &mut out);
        assert_eq!(proposed(&mut out), [(1, 100, None), (1, 101, Some(100))]);
        assert_eq!(submissions.applied(at(0), origin(100), &mut out), Some(1));
        assert_eq!(submissions.applied(at(0), origin(100), &mut out), None);
        assert_eq!(submissions.applied(at(0), origin(101), &mut out), Some(2));
    }

    #[test]
    fn a_new_master_gets_them_only_after_its_barrier() {
        let (mut submissions, mut out) = (submissions(1), Vec::new());
        submissions.flush(at(0), Some((ballot(1), Slot::FIRST)), Slot::FIRST, &mut out);
        out.clear();
        let next = Some((ballot(2), Slot::new(9)));
        submissions.flush(at(0), next, Slot::new(8), &mut out);
        assert_eq!(proposed(&mut out), []);
        submissions.flush(at(0), next, Slot::new(9), &mut out);
        assert_eq!(proposed(&mut out), [(2, 101, None)]);
    }

    #[test]
    fn one_that_is_passed_over_was_not_executed() {
        let (mut submissions, mut out) = (submissions(3), Vec::new());
        submissions.flush(at(0), Some((ballot(1), Slot::FIRST)), Slot::FIRST, &mut out);
        out.clear();
        assert_eq!(submissions.applied(at(0), origin(102), &mut out), Some(3));
        assert_eq!(failed(&mut out), [(1, Fate::NotExecuted), (2, Fate::NotExecuted)]);
    }

    #[test]
    fn proposals_of_others_and_of_other_incarnations_are_none_of_ours() {
        let (mut submissions, mut out) = (submissions(1), Vec::new());
        submissions.flush(at(0), Some((ballot(1), Slot::FIRST)), Slot::FIRST, &mut out);
        let stranger = Origin { node: NodeId::new(3), ..origin(100) };
        let earlier = Origin { incarnation: Incarnation::new(8), ..origin(100) };
        assert_eq!(submissions.applied(at(0), stranger, &mut out), None);
        assert_eq!(submissions.applied(at(0), earlier, &mut out), None);
        assert_eq!(submissions.applied(at(0), origin(99), &mut out), None);
        assert_eq!(submissions.applied(at(0), origin(100), &mut out), Some(1));
    }

    #[test]
    fn deadlines_tell_unknown_if_proposed_and_not_executed_if_not() {
        let (mut submissions, mut out) = (submissions(1), Vec::new());
        let master = Some((ballot(1), Slot::FIRST));
        submissions.flush(at(0), master, Slot::FIRST, &mut out);
        assert!(submissions.submit(9, Bytes::from_static(b"y"), at(1001)));
        out.clear();
        submissions.handle_timeout(at(1000), None, &mut out);
        assert_eq!(failed(&mut out), []);
        submissions.handle_timeout(at(1001), None, &mut out);
        assert_eq!(failed(&mut out), [(1, Fate::Unknown), (9, Fate::NotExecuted)]);
    }

    #[test]
    fn what_was_proposed_before_slots_were_skipped_is_unknown() {
        let (mut submissions, mut out) = (submissions(2), Vec::new());
        submissions.flush(at(0), Some((ballot(1), Slot::FIRST)), Slot::FIRST, &mut out);
        assert!(submissions.submit(9, Bytes::from_static(b"y"), at(1001)));
        out.clear();
        submissions.handle_skipped(&mut out);
        assert_eq!(failed(&mut out), [(1, Fate::Unknown), (2, Fate::Unknown)]);
        let next = Some((ballot(2), Slot::new(9)));
        submissions.flush(at(0), next, Slot::new(9), &mut out);
        assert_eq!(proposed(&mut out), [(2, 102, None)], "only what was never proposed");
        assert_eq!(submissions.applied(at(0), origin(101), &mut out), None);
        assert_eq!(submissions.applied(at(0), origin(102), &mut out), Some(9));
        assert_eq!(failed(&mut out), []);
    }

    #[test]
    fn what_is_sent_again_waits_only_for_what_still_waits() {
        let (mut submissions, mut out) = (submissions(3), Vec::new());
        let master = Some((ballot(1), Slot::FIRST));
        submissions.flush(at(0), master, Slot::FIRST, &mut out);
        out.clear();
        submissions.handle_timeout(at(1001), master, &mut out);
        assert_eq!(proposed(&mut out), [(1, 101, None), (1, 102, Some(101))]);
    }

    #[test]
    fn declined_ones_go_to_the_next_master_under_new_sequences() {
        let (mut submissions, mut out) = (submissions(3), Vec::new());
        submissions.flush(at(0), Some((ballot(1), Slot::FIRST)), Slot::FIRST, &mut out);
        out.clear();
        submissions.decline(&Declined { ballot: ballot(1), from_sequence: 101 });
        let next = Some((ballot(2), Slot::new(9)));
        submissions.flush(at(0), next, Slot::FIRST, &mut out);
        assert_eq!(proposed(&mut out), [], "the first may still be in the log");
        assert_eq!(submissions.applied(at(0), origin(100), &mut out), Some(1));
        submissions.flush(at(0), next, Slot::FIRST, &mut out);
        assert_eq!(proposed(&mut out), [(2, 103, None), (2, 104, Some(103))]);
        assert!(submissions.are_in_order());
    }

    #[test]
    fn too_much_is_refused_but_one_alone_never() {
        let mut submissions = submissions(0);
        let all = Bytes::from(alloc::vec![0; SUBMISSIONS_BYTES_MAX]);
        assert!(submissions.submit(1, all, at(1)));
        assert!(!submissions.submit(2, Bytes::from_static(b"x"), at(1)));
        submissions.handle_timeout(at(1), None, &mut Vec::new());
        let one_more = Bytes::from(alloc::vec![0; SUBMISSIONS_BYTES_MAX + 1]);
        assert!(submissions.submit(3, one_more, at(2)));
    }
}
