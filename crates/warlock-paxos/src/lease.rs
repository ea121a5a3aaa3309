//! The master's side of the lease (L1): which rounds of heartbeats a quorum granted.

use alloc::collections::VecDeque;

use crate::ids::NodeId;
use crate::membership::{Membership, Tally};
use crate::time::Instant;
use crate::timing::Timing;

/// Rounds that may still be answered; older ones are worth nothing, their lease would be over.
const ROUNDS_REMEMBERED: usize = 16;

#[derive(Clone, Debug, Hash)]
struct Round {
    number: u64,
    sent: Instant,
    grants: Tally,
}

/// The lease of one ballot, as far as its master can prove it.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct MasterLease {
    rounds: VecDeque<Round>,
    end: Option<Instant>,
}

impl MasterLease {
    /// Notes that round `number` asks for the lease at `sent`, before anything is sent.
    pub(crate) fn begin_round(&mut self, number: u64, sent: Instant) {
        if self.rounds.len() == ROUNDS_REMEMBERED {
            self.rounds.pop_front();
        }
        self.rounds.push_back(Round { number, sent, grants: Tally::default() });
    }

    /// Counts a grant for round `number`; says whether the lease got longer by it.
    ///
    /// Only grants of the same round are summed, and the lease runs from when that round was sent.
    pub(crate) fn grant(
        &mut self,
        number: u64,
        from: NodeId,
        now: Instant,
        membership: &Membership,
        timing: &Timing,
    ) -> bool {
        let number = match mutant!(GrantsOfRoundsSummed) {
            false => number,
            true => self.rounds.back().map_or(number, |newest| newest.number),
        };
        let Some(round) = self.rounds.iter_mut().find(|round| round.number == number) else {
            return false;
        };
        round.grants.add(membership, from);
        if !round.grants.is_quorum(membership) {
            return false;
        }
        let sent = if mutant!(LeaseFromReply) { now } else { round.sent };
        let end = match mutant!(LeaseWithoutMargin) {
            false => timing.lease_end(sent),
            true => sent.after(timing.lease()),
        };
        let longer = self.end.is_none_or(|known| known < end);
        if longer {
            self.end = Some(end);
        }
        longer
    }

    /// Whether round `number` is one of this ballot that may still be answered.
    pub(crate) fn has_round(&self, number: u64) -> bool {
        self.rounds.iter().any(|round| round.number == number)
    }

    /// Gives the lease up: no round that was sent counts any more (L5, M5).
    pub(crate) fn give_up(&mut self) {
        *self = Self::default();
    }

    /// When the lease ends; `None` before a quorum granted one round.
    pub(crate) const fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Whether the lease runs at `now`.
    pub(crate) fn is_held(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::View;
    use crate::time::Span;

    /// When answers come in the tests.
    const LATER: Instant = Instant::from_nanos(9_000_000);

    fn three() -> Membership {
        Membership::new(View::new(1), [1, 2, 3].map(NodeId::new))
    }

    #[test]
    fn grants_of_different_rounds_are_not_summed() {
        let mut lease = MasterLease::default();
        lease.begin_round(1, Instant::from_nanos(0));
        lease.begin_round(2, Instant::from_nanos(100));
        assert!(!lease.grant(1, NodeId::new(1), LATER, &three(), &Timing::DEFAULT));
        assert!(!lease.grant(2, NodeId::new(2), LATER, &three(), &Timing::DEFAULT));
        assert_eq!(lease.end(), None);
    }

    #[test]
    fn lease_runs_from_the_sending_and_is_shortened_by_the_clock_error() {
        let mut lease = MasterLease::default();
        let sent = Instant::from_nanos(1_000_000);
        lease.begin_round(1, sent);
        lease.grant(1, NodeId::new(1), LATER, &three(), &Timing::DEFAULT);
        assert!(lease.grant(1, NodeId::new(3), LATER, &three(), &Timing::DEFAULT));
        assert_eq!(lease.end(), Some(sent.after(Span::from_millis(475))));
        assert!(lease.is_held(sent.after(Span::from_nanos(474_999_999))));
        assert!(!lease.is_held(sent.after(Span::from_millis(475))));
    }

    #[test]
    fn a_node_without_a_vote_and_a_second_answer_do_not_count() {
        let mut lease = MasterLease::default();
        lease.begin_round(1, Instant::from_nanos(0));
        assert!(!lease.grant(1, NodeId::new(9), LATER, &three(), &Timing::DEFAULT));
        assert!(!lease.grant(1, NodeId::new(2), LATER, &three(), &Timing::DEFAULT));
        assert!(!lease.grant(1, NodeId::new(2), LATER, &three(), &Timing::DEFAULT));
    }
}
