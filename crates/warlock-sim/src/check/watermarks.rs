//! A leader calls decided only what its own ballot chose, and proposes commands only below the
//! barrier of every later ballot (P4, W1; PROTOCOL.md, "Fate").
//!
//! A node takes what it accepted under a ballot for decided as far as the watermark of that ballot
//! goes. It calls a command that an earlier leader was told not executed once the barrier of a
//! later one is applied. Neither may rest on what only others decided. The harm of either mistake
//! shows in the log only after two further elections; what leads to it shows at once.

use std::collections::BTreeMap;
use std::ops::Bound;

use warlock_paxos::{Ballot, Membership, NodeId, Slot};

use super::Violation;
use super::majority::is_majority;

const WATERMARK: &str = "honest watermarks";
const BARRIER: &str = "barriers";

/// What each ballot has chosen, as far as answers to it say so.
#[derive(Clone, Debug, Default)]
pub struct Watermarks {
    ballots: BTreeMap<Ballot, Chosen>,
    /// Answers to ballots that do not lead yet: an acceptor that promised and learns a slot says
    /// that it holds it, and what a leader is told before it leads counts when it does.
    early: Vec<(NodeId, Ballot, Slot)>,
}

#[derive(Clone, Debug)]
struct Chosen {
    /// Whose voters choose.
    membership: Membership,
    /// Every slot below was decided before this ballot, or chosen under it.
    end: Slot,
    /// The first slot that it fills on its own account.
    barrier: Slot,
    /// The last slot for which it proposed commands.
    last: Option<Slot>,
    /// Who accepted slots from there on.
    accepts: BTreeMap<Slot, Vec<NodeId>>,
}

impl Watermarks {
    /// `ballot`, of the view of `membership`, leads; every slot below `from` is decided, and its
    /// barrier is `barrier`.
    ///
    /// # Errors
    /// When an earlier ballot proposed commands for a slot that is not below the barrier.
    pub fn observe_leading(
        &mut self,
        ballot: Ballot,
        from: Slot,
        barrier: Slot,
        membership: &Membership,
    ) -> Result<(), Violation> {
        let membership = membership.clone();
        let chosen =
            Chosen { membership, end: from, barrier, last: None, accepts: BTreeMap::new() };
        self.ballots.insert(ballot, chosen);
        let mut early = std::mem::take(&mut self.early);
        early.retain(|(_, of, _)| *of >= ballot);
        for (node, ballot, slot) in early {
            self.observe_accepted(node, ballot, slot);
        }
        let earlier = self.ballots.range(..ballot);
        let furthest = earlier.filter_map(|(earlier, it)| Some((it.last?, *earlier))).max();
        furthest.map_or(Ok(()), |(slot, earlier)| below(earlier, slot, ballot, barrier))
    }

    /// The leader of `ballot` proposes commands for `slot`.
    ///
    /// # Errors
    /// When a later ballot has a barrier that is not above it.
    pub fn observe_proposed(&mut self, ballot: Ballot, slot: Slot) -> Result<(), Violation> {
        let Some(chosen) = self.ballots.get_mut(&ballot) else { return Ok(()) };
        chosen.last = chosen.last.max(Some(slot));
        let later = self.ballots.range((Bound::Excluded(ballot), Bound::Unbounded));
        let lowest = later.map(|(later, it)| (it.barrier, *later)).min();
        lowest.map_or(Ok(()), |(barrier, later)| below(ballot, slot, later, barrier))
    }

    /// `node` tells the leader of `ballot` that it accepted `slot`.
    pub fn observe_accepted(&mut self, node: NodeId, ballot: Ballot, slot: Slot) {
        let Some(chosen) = self.ballots.get_mut(&ballot) else {
            return self.early.push((node, ballot, slot));
        };
        if node == ballot.node || slot < chosen.end {
            return;
        }
        let accepts = chosen.accepts.entry(slot).or_default();
        if !accepts.contains(&node) {
            accepts.push(node);
        }
        while chosen.accepts.get(&chosen.end).is_some_and(|it| chosen.is_quorum(ballot, it)) {
            chosen.accepts.remove(&chosen.end);
            chosen.end = chosen.end.next();
        }
    }

    /// The leader of `ballot` says that every slot below `decided` is decided.
    ///
    /// # Errors
    /// When no quorum accepted all of them under this ballot.
    pub fn observe_watermark(&mut self, ballot: Ballot, decided: Slot) -> Result<(), Violation> {
        let Some(chosen) = self.ballots.get(&ballot) else { return Ok(()) };
        if decided <= chosen.end || chosen.is_quorum(ballot, &[]) {
            return Ok(());
        }
        let sentence = format!(
            "{ballot} calls all below {decided} decided, but has not chosen {} itself",
            chosen.end
        );
        Err(Violation::safety(WATERMARK, &[ballot.node], sentence))
    }
}

impl Chosen {
    /// Whether these nodes are a majority of the voters, together with the leader of `ballot`.
    fn is_quorum(&self, ballot: Ballot, others: &[NodeId]) -> bool {
        is_majority(self.membership.voters(), |node| node == ballot.node || others.contains(&node))
    }
}

/// What `earlier` proposed for `slot` is below the `barrier` of `later`.
fn below(earlier: Ballot, slot: Slot, later: Ballot, barrier: Slot) -> Result<(), Violation> {
    if slot < barrier {
        return Ok(());
    }
    let sentence = format!(
        "{earlier} proposes commands for {slot}, but {later} takes all that earlier ballots \
         proposed to be below {barrier}"
    );
    Err(Violation::safety(BARRIER, &[earlier.node, later.node], sentence))
}

#[cfg(test)]
mod tests {
    use warlock_paxos::View;

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);

    fn ballot(round: u64) -> Ballot {
        Ballot { view: View::new(1), round, node: N1 }
    }

    #[test]
    fn what_was_accepted_before_a_ballot_leads_counts() {
        let mut checker = Watermarks::default();
        checker.observe_accepted(N2, ballot(2), Slot::new(5));
        let (from, barrier) = (Slot::new(5), Slot::new(13));
        checker.observe_leading(ballot(2), from, barrier, &of(3)).expect("the first");
        assert!(checker.observe_watermark(ballot(2), Slot::new(6)).is_ok());
        assert!(checker.observe_watermark(ballot(2), Slot::new(7)).is_err());
    }

    fn of(voters: u16) -> Membership {
        Membership::new(View::new(1), (1..=voters).map(NodeId::new))
    }

    fn leading(voters: u16, accepts: &[(NodeId, u64, u64)]) -> Watermarks {
        let mut checker = Watermarks::default();
        let (from, barrier) = (Slot::new(5), Slot::new(13));
        checker.observe_leading(ballot(2), from, barrier, &of(voters)).expect("the first");
        for &(node, round, slot) in accepts {
            checker.observe_accepted(node, ballot(round), Slot::new(slot));
        }
        checker
    }

    fn highest(voters: u16, accepts: &[(NodeId, u64, u64)]) -> u64 {
        let mut checker = leading(voters, accepts);
        let may = |slot: &u64| checker.observe_watermark(ballot(2), Slot::new(*slot)).is_ok();
        (5..20).take_while(may).last().unwrap_or(0)
    }

    #[test]
    fn a_quorum_without_gaps_is_decided() {
        assert_eq!(highest(3, &[]), 5);
        assert_eq!(highest(3, &[(N2, 2, 5), (N3, 2, 6)]), 7);
        assert_eq!(highest(3, &[(N2, 2, 6), (N3, 2, 7)]), 5);
        assert_eq!(highest(3, &[(N2, 2, 6), (N3, 2, 5)]), 7);
        assert_eq!(highest(1, &[]), 19);
    }

    #[test]
    fn second_answers_own_ones_and_those_to_other_ballots_do_not_count() {
        assert_eq!(highest(5, &[(N2, 2, 5), (N2, 2, 5)]), 5);
        assert_eq!(highest(5, &[(N2, 2, 5), (N3, 2, 5)]), 6);
        assert_eq!(highest(3, &[(N1, 2, 5)]), 5);
        assert_eq!(highest(3, &[(N2, 1, 5), (N3, 3, 5)]), 5);
        assert_eq!(highest(2, &[(N3, 2, 5)]), 5, "an observer decides nothing");
    }

    #[test]
    fn what_only_others_decided_is_not_the_leaders_to_tell() {
        let mut checker = leading(3, &[(N2, 2, 5)]);
        let found = checker.observe_watermark(ballot(2), Slot::new(7)).unwrap_err();
        assert_eq!(
            found.to_string(),
            format!(
                "honest watermarks: {} calls all below s7 decided, but has not chosen s6 itself",
                ballot(2)
            )
        );
    }

    /// Ballot 2 starts at slot 5; then it proposes, or a later one leads with a barrier.
    fn barriers(events: &[(u64, u64)]) -> Result<(), Violation> {
        let mut checker = leading(3, &[]);
        for &(round, slot) in events {
            match round {
                2 => checker.observe_proposed(ballot(2), Slot::new(slot))?,
                later => {
                    let (from, barrier) = (Slot::new(5), Slot::new(slot));
                    checker.observe_leading(ballot(later), from, barrier, &of(3))?;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn commands_of_earlier_ballots_lie_below_every_later_barrier() {
        assert_eq!(barriers(&[(2, 13), (2, 14), (3, 15), (2, 14)]), Ok(()));
        assert_eq!(barriers(&[(3, 15), (4, 16), (2, 14)]), Ok(()));
        assert_eq!(barriers(&[(1, 13), (2, 14)]), Ok(()));
        assert!(barriers(&[(2, 13), (2, 15), (3, 15)]).is_err());
        assert!(barriers(&[(3, 15), (4, 17), (2, 16)]).is_err());
        let found = barriers(&[(2, 16), (2, 14), (3, 15)]).unwrap_err();
        assert_eq!(
            found.to_string(),
            format!(
                "barriers: {} proposes commands for s16, but {} takes all that earlier ballots \
                 proposed to be below s15",
                ballot(2),
                ballot(3)
            )
        );
    }
}
