//! What holds of every node between two steps, as a predicate. PROTOCOL.md says why.
//!
//! Tests ask after each step; the roles assert what they can see of it themselves.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::limits::WINDOW_MAX;
use crate::node::Node;

/// An invariant that a node breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in PROTOCOL.md.
    pub invariant: &'static str,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

impl core::error::Error for Violation {}

/// Checks everything that one node alone can break.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check(node: &Node) -> Result<(), Violation> {
    ballots_are_promised_before_use(node)?;
    applied_is_ahead_of_what_was_told_of_it(node)?;
    unknown_slots_are_not_held(node)?;
    the_window_is_kept(node)?;
    helpers_work_for_the_present_ballot(node)?;
    reads_are_served_only_by_a_recovered_master(node)?;
    submissions_are_in_order(node)?;
    only_the_next_membership_is_accepted(node)?;
    only_electors_lead_and_in_their_view(node)?;
    a_change_follows_what_is_secured(node)
}

/// P2: nothing is accepted above the acceptor's ballot, and nobody leads with a ballot that the own
/// acceptor has not promised.
fn ballots_are_promised_before_use(node: &Node) -> Result<(), Violation> {
    let promised = node.acceptor.ballot();
    for (slot, ballot) in node.acceptor.accepted() {
        require(ballot <= promised, "P2", || {
            format!("{slot} accepted under {ballot}, but the acceptor is at {promised}")
        })?;
    }
    let Some(lead) = node.leader.lead() else { return Ok(()) };
    require(lead.ballot <= promised, "P2", || {
        format!("leads with {}, but its acceptor is at {promised}", lead.ballot)
    })
}

/// P5: the replica applies first, and then tells the other roles.
fn applied_is_ahead_of_what_was_told_of_it(node: &Node) -> Result<(), Violation> {
    let applied = node.replica.applied();
    let (acceptor, leader) = (node.acceptor.decided(), node.leader.applied());
    require(acceptor <= applied, "P5", || format!("acceptor at {acceptor}, applied {applied}"))?;
    require(leader <= applied, "P5", || format!("leader at {leader}, applied {applied}"))
}

/// P6: a slot is either readable or unknown.
fn unknown_slots_are_not_held(node: &Node) -> Result<(), Violation> {
    for (slot, _) in node.acceptor.accepted() {
        let unknown = node.acceptor.unknown().iter().any(|range| range.contains(slot));
        require(!unknown, "P6", || format!("{slot} is held and unknown"))?;
    }
    Ok(())
}

/// W1: a leader's own slots are less than a window beyond what its ballot decided.
fn the_window_is_kept(node: &Node) -> Result<(), Violation> {
    let Some(lead) = node.leader.lead() else { return Ok(()) };
    let (decided, next) = (lead.decided(), lead.next_slot);
    let recovering = next <= lead.barrier;
    require(recovering || next.distance_from(decided) <= WINDOW_MAX, "W1", || {
        format!("the next slot is {next}, but only {decided} is decided")
    })
}

/// P4: scouts and commanders work for the ballot of their leader, and for no other.
fn helpers_work_for_the_present_ballot(node: &Node) -> Result<(), Violation> {
    for ballot in node.scouting() {
        let present = node.leader.scouts_with() == Some(ballot);
        require(present, "P4", || format!("a scout for {ballot}, which nobody asked for"))?;
    }
    for (ballot, slot) in node.commanding() {
        let present = node.leader.leads() == Some(ballot);
        require(present, "P4", || format!("a commander of {ballot} for {slot} without leader"))?;
    }
    Ok(())
}

/// L3: who serves local reads leads, has applied what it recovered, and is not leaving.
fn reads_are_served_only_by_a_recovered_master(node: &Node) -> Result<(), Violation> {
    if node.leader.serves_until().is_none() {
        return Ok(());
    }
    let lead = node.leader.lead().filter(|lead| lead.leaving.is_none());
    let applied = node.replica.applied();
    let barrier = lead.map(|lead| lead.barrier);
    require(barrier.is_some_and(|barrier| applied >= barrier), "L3", || {
        format!("serves reads at {applied} with barrier {barrier:?}")
    })
}

/// Fate: submissions are proposed in their order, under increasing sequences.
fn submissions_are_in_order(node: &Node) -> Result<(), Violation> {
    let in_order = node.replica.submissions_are_in_order();
    require(in_order, "Fate", || String::from("submissions were proposed out of order"))
}

/// M1: an acceptor holds at most the membership after its own, accepted under a ballot of that.
fn only_the_next_membership_is_accepted(node: &Node) -> Result<(), Violation> {
    let Some(accepted) = node.acceptor.reconfiguration() else { return Ok(()) };
    let present = node.acceptor.membership();
    let (ballot, charter) = (accepted.ballot, &accepted.charter);
    let is_next = charter.view == present.view().next() && ballot.view == present.view();
    require(is_next && ballot <= node.acceptor.ballot(), "M1", || {
        format!("{charter} is accepted under {ballot} in {present}")
    })
}

/// M4: the acceptor is told of a view first; whoever leads or stands does so in the view that the
/// leader knows, and has part in its elections.
fn only_electors_lead_and_in_their_view(node: &Node) -> Result<(), Violation> {
    let (leader, acceptor) = (&node.leader, &node.acceptor);
    let (known, recorded) = (leader.membership(), acceptor.membership());
    require(known.view() <= recorded.view(), "M4", || {
        format!("the leader is in {known}, but the acceptor in {recorded}")
    })?;
    for ballot in [leader.leads(), leader.scouts_with()].into_iter().flatten() {
        let may = ballot.view == known.view() && known.is_elector(node.id());
        require(may, "M4", || format!("leads or stands with {ballot} in {known}"))?;
    }
    Ok(())
}

/// M1, M3, M5: what a leader proposes follows its membership, comes after all that earlier ones
/// left is held, and finds no lease if the leader has no part in it.
fn a_change_follows_what_is_secured(node: &Node) -> Result<(), Violation> {
    let leader = &node.leader;
    let Some(lead) = leader.lead() else { return Ok(()) };
    let Some(changing) = &lead.changing else { return Ok(()) };
    let (present, next) = (leader.membership(), &changing.next);
    let follows = present.may_be_followed_by(next) && lead.inherited.is_none();
    require(follows, "M1", || format!("{next} is proposed in {present}"))?;
    // That it was held is asserted when it is proposed; a node may be reset afterwards.
    let applied = leader.applied() >= lead.barrier;
    require(applied, "M3", || format!("{next} is proposed before {} is applied", lead.barrier))?;
    let silent = next.is_elector(node.id()) || lead.lease.end().is_none();
    require(silent, "M5", || format!("{next} is proposed under the lease of {}", lead.ballot))
}

fn require(
    holds: bool,
    invariant: &'static str,
    found: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, found: found() }) }
}
