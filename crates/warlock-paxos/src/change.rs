//! Changes of the membership that a host may ask for, and the answers.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::{Incarnation, NodeId, Slot, View};
use crate::limits::{ADDRESS_BYTES_MAX, OBSERVERS_MAX, VOTERS_MAX};
use crate::membership::{Charter, Member, Membership, Seat};

/// What shall become of the membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A new node learns and applies everything, without a vote (M6).
    AddObserver {
        /// Its id, higher than any that was ever used (P7).
        node: NodeId,
        /// Where others reach it.
        address: String,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// An observer that is caught up and running gets a vote (M6).
    Promote {
        /// The observer.
        node: NodeId,
    },
    /// A node goes for ever, be it voter or observer. A master may be asked to remove itself.
    Remove {
        /// The node.
        node: NodeId,
    },
    /// The voters shall be exactly these: observers among them are promoted, voters that are not
    /// among them go. Several at once, in one transition.
    SetVoters {
        /// The new voters, in any order.
        voters: Vec<NodeId>,
    },
    /// A node is reached at another address from now on.
    Readdress {
        /// The node.
        node: NodeId,
        /// Where others reach it.
        address: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddObserver { node, .. } => write!(f, "add {node} as observer"),
            Self::Promote { node } => write!(f, "promote {node}"),
            Self::Remove { node } => write!(f, "remove {node}"),
            Self::SetVoters { voters } => {
                f.write_str("let")?;
                voters.iter().try_for_each(|node| write!(f, " {node}"))?;
                f.write_str(" vote")
            }
            Self::Readdress { node, address } => write!(f, "reach {node} at {address}"),
        }
    }
}

/// A change with the view that the asker saw: it is refused if that is not in force (M1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChangeRequest {
    /// The view in force, as the asker knows it.
    pub view: View,
    /// What shall be.
    pub change: Change,
}

/// What became of a [`ChangeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is decided, and in force from this view on. If that view is transitional, the master
    /// makes it stable by itself in the view after it.
    Decided(View),
    /// It was not proposed and never will be.
    Refused(Refusal),
    /// It was proposed, but this node stopped being master: it may or may not come into force.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided(view) => write!(f, "decided in {view}"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Unknown => f.write_str("unknown: the master changed meanwhile"),
        }
    }
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// This node is not master; ask the one named.
    NotMaster {
        /// The master, as far as this node sees one.
        master: Option<NodeId>,
    },
    /// The master has not yet secured what earlier masters decided (M3): ask again at once.
    NotSettled,
    /// Another change is in flight (M1), or the membership is still transitional: ask again soon.
    ChangeInFlight,
    /// The membership has changed since the asker looked at it (M1).
    WrongView {
        /// The view in force.
        in_force: View,
    },
    /// Of the new voters fewer are reachable than would be a quorum.
    WouldLoseQuorum {
        /// New voters that can be reached now.
        reachable: usize,
        /// How many a quorum needs.
        quorum: usize,
    },
    /// A node with this or a higher id was a member before (P7).
    IdReused {
        /// The lowest id that a newcomer may have.
        lowest: NodeId,
    },
    /// The node is no member.
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// Nothing would change.
    NoChange,
    /// The node has not caught up (M6): ask again when it has.
    NotCaughtUp {
        /// The node.
        node: NodeId,
        /// Every slot below is durable there, as far as the master knows.
        held: Slot,
        /// Every slot below is decided.
        decided: Slot,
    },
    /// A member runs a version that knows no changes of the membership: it must be upgraded first.
    OldVersion {
        /// The member.
        node: NodeId,
        /// The version of the peer messages that it speaks.
        version: u8,
    },
    /// The node does not answer (M6).
    NotRunning {
        /// The node.
        node: NodeId,
    },
    /// A newcomer shall vote beside a founder whose data directory is not on record, as the master
    /// never met it (P7): the newcomer could not tell it from one that lost its disk.
    NeverMet {
        /// The founder.
        node: NodeId,
    },
    /// There would be no voter left.
    NoVoters,
    /// There would be more voters than [`VOTERS_MAX`].
    TooManyVoters,
    /// There would be more observers than [`OBSERVERS_MAX`].
    TooManyObservers,
    /// The address is longer than [`ADDRESS_BYTES_MAX`].
    AddressTooLong,
}

impl Refusal {
    /// Whether the same change may be granted a little later, or to somebody who looked again.
    #[must_use]
    pub const fn passes(&self) -> bool {
        match self {
            Self::NotMaster { .. }
            | Self::NotSettled
            | Self::ChangeInFlight
            | Self::WrongView { .. }
            | Self::WouldLoseQuorum { .. }
            | Self::OldVersion { .. }
            | Self::NotCaughtUp { .. }
            | Self::NotRunning { .. }
            | Self::NeverMet { .. } => true,
            Self::IdReused { .. }
            | Self::UnknownNode { .. }
            | Self::NoChange
            | Self::NoVoters
            | Self::TooManyVoters
            | Self::TooManyObservers
            | Self::AddressTooLong => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMaster { master: Some(node) } => write!(f, "{node} is the master, ask it"),
            Self::NotMaster { master: None } => f.write_str("there is no master in sight"),
            Self::NotSettled => f.write_str("the master has just started, ask again"),
            Self::ChangeInFlight => f.write_str("another change is in flight, ask again"),
            Self::WrongView { in_force } => write!(f, "{in_force} is in force, look again"),
            Self::WouldLoseQuorum { reachable, quorum } => {
                write!(f, "of the new voters only {reachable} can be reached, {quorum} are needed")
            }
            Self::IdReused { lowest } => {
                write!(f, "newcomers have ever higher ids: take {lowest} or a higher one")
            }
            Self::UnknownNode { node } => write!(f, "{node} is no member"),
            Self::NoChange => f.write_str("nothing would change"),
            Self::NotCaughtUp { node, held, decided } => {
                write!(f, "{node} holds what is below {held}, the log is decided below {decided}")
            }
            Self::OldVersion { node, version } => write!(
                f,
                "{node} must be upgraded first: it speaks version {version} of the peer protocol"
            ),
            Self::NotRunning { node } => write!(f, "{node} does not answer"),
            Self::NeverMet { node } => write!(
                f,
                "{node} has never been met, and a newcomer could not tell it from one that lost \
                 its disk: start it, or remove it first"
            ),
            Self::NoVoters => f.write_str("there would be no voter left"),
            Self::TooManyVoters => write!(f, "more than {VOTERS_MAX} voters"),
            Self::TooManyObservers => write!(f, "more than {OBSERVERS_MAX} observers"),
            Self::AddressTooLong => {
                write!(f, "the address has more than {ADDRESS_BYTES_MAX} bytes")
            }
        }
    }
}

impl Membership {
    /// The membership that would follow this one by `change`, as far as the membership alone can
    /// tell: for a `--dry-run`, and as the first step of the master.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn changed(&self, change: &Change) -> Result<Self, Refusal> {
        if self.is_transitional() {
            return Err(Refusal::ChangeInFlight);
        }
        let mut members = self.members().to_vec();
        let mut highest = self.highest();
        match change {
            Change::AddObserver { node, address, incarnation } => {
                if *node <= highest && !mutant!(NodeIdReused) {
                    let lowest = NodeId::new(highest.number().saturating_add(1));
                    return Err(Refusal::IdReused { lowest });
                }
                highest = highest.max(*node);
                members.retain(|member| member.node != *node);
                members.push(Member {
                    node: *node,
                    seat: Seat::Observer,
                    voted: false,
                    address: address.clone(),
                    incarnation: Some(*incarnation),
                });
                members.sort_unstable_by_key(|member| member.node);
            }
            Change::Promote { node } => find(&mut members, *node)?.seat = Seat::Voter,
            Change::Remove { node } => find(&mut members, *node)?.seat = Seat::Leaving,
            Change::SetVoters { voters } => set_voters(&mut members, voters)?,
            Change::Readdress { node, address } => {
                find(&mut members, *node)?.address.clone_from(address);
            }
        }
        self.followed_by(members, highest)
    }

    /// Makes a transition of it if the voters differ.
    fn followed_by(&self, mut members: Vec<Member>, highest: NodeId) -> Result<Self, Refusal> {
        let count = |seat| members.iter().filter(|member| member.seat == seat).count();
        let voters = count(Seat::Voter);
        if members == *self.members() {
            return Err(Refusal::NoChange);
        } else if voters == 0 {
            return Err(Refusal::NoVoters);
        } else if voters > VOTERS_MAX {
            return Err(Refusal::TooManyVoters);
        } else if count(Seat::Observer) > OBSERVERS_MAX {
            return Err(Refusal::TooManyObservers);
        } else if members.iter().any(|member| member.address.len() > ADDRESS_BYTES_MAX) {
            return Err(Refusal::AddressTooLong);
        }
        let votes = |member: &Member| member.seat == Seat::Voter;
        let transitional = members.iter().any(|member| votes(member) != self.is_voter(member.node));
        // An observer that goes has no vote that anybody would have to remember.
        members.retain(|member| member.seat != Seat::Leaving || self.is_voter(member.node));
        for member in &mut members {
            member.voted = transitional && self.is_voter(member.node);
        }
        let view = self.view().next();
        let charter = Charter { view, transitional, highest, members };
        Ok(Self::checked(charter))
    }
}

fn find(members: &mut [Member], node: NodeId) -> Result<&mut Member, Refusal> {
    let found = members.iter_mut().find(|member| member.node == node);
    found.ok_or(Refusal::UnknownNode { node })
}

fn set_voters(members: &mut [Member], voters: &[NodeId]) -> Result<(), Refusal> {
    for member in members.iter_mut().filter(|member| member.seat == Seat::Voter) {
        member.seat = Seat::Leaving;
    }
    for &node in voters {
        find(members, node)?.seat = Seat::Voter;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number)
    }

    fn three() -> Membership {
        Membership::new(View::new(1), (1..=3).map(node))
    }

    fn add(number: u16) -> Change {
        let incarnation = Incarnation::new(u128::from(number));
        Change::AddObserver { node: node(number), address: "a:1".into(), incarnation }
    }

    fn after(changes: &[Change]) -> Result<Membership, Refusal> {
        let mut membership = three();
        for change in changes {
            membership = membership.changed(change)?;
            if membership.is_transitional() {
                membership = membership.stabilised();
            }
        }
        Ok(membership)
    }

    #[test]
    fn a_newcomer_observes_votes_in_a_transition_and_then_for_good() {
        let observed = three().changed(&add(4)).unwrap();
        assert_eq!(observed.to_string(), "v2[n1 n2 n3, n4 observes]");
        let promoted = observed.changed(&Change::Promote { node: node(4) }).unwrap();
        assert_eq!(promoted.to_string(), "v3[n1 n2 n3 n4 from n1 n2 n3]");
        assert_eq!(promoted.changed(&add(5)), Err(Refusal::ChangeInFlight));
        assert_eq!(promoted.stabilised().to_string(), "v4[n1 n2 n3 n4]");
        assert!(observed.may_be_followed_by(&promoted));
        assert!(promoted.may_be_followed_by(&promoted.stabilised()));
        assert!(!three().may_be_followed_by(&promoted));
    }

    #[test]
    fn voters_that_go_count_until_the_transition_ends() {
        let next = three().changed(&Change::Remove { node: node(1) }).unwrap();
        assert_eq!(next.to_string(), "v2[n2 n3 from n1 n2 n3]");
        assert!(next.is_elector(node(1)) && !next.is_voter(node(1)));
        let of = |nodes: &'static [u16]| move |id: NodeId| nodes.contains(&id.number());
        assert!(!next.is_election_quorum(of(&[2])));
        assert!(!next.is_quorum(of(&[1, 2])), "a majority of the old voters chooses nothing");
        assert!(next.is_election_quorum(of(&[2, 3])));
        let stable = next.stabilised();
        assert!(!stable.is_member(node(1)));
        assert_eq!(stable.changed(&Change::Promote { node: node(1) }).ok(), None);
    }

    #[test]
    fn an_election_in_a_transition_needs_both_majorities() {
        let changes = [add(4), add(5), add(6)];
        let swap = Change::SetVoters { voters: vec![node(4), node(5), node(6)] };
        let next = after(&changes).unwrap().changed(&swap).unwrap();
        let of = |nodes: &'static [u16]| move |id: NodeId| nodes.contains(&id.number());
        assert!(next.is_quorum(of(&[4, 5])));
        assert!(!next.is_election_quorum(of(&[4, 5, 6])));
        assert!(!next.is_election_quorum(of(&[1, 2, 4])));
        assert!(next.is_election_quorum(of(&[1, 3, 5, 6])));
    }

    #[test]
    fn an_id_is_never_used_again() {
        let gone = after(&[add(4), Change::Remove { node: node(4) }]).unwrap();
        assert_eq!(gone.to_string(), "v3[n1 n2 n3]");
        for number in 1..=4 {
            let refused = gone.changed(&add(number));
            assert_eq!(refused, Err(Refusal::IdReused { lowest: node(5) }));
        }
        assert!(gone.changed(&add(5)).is_ok());
    }

    #[test]
    fn a_data_directory_is_recorded_once() {
        let directory = |bits| Some((String::from("a:1"), Some(Incarnation::new(bits))));
        let meets_first = |bits| move |met| if met == node(1) { directory(bits) } else { None };
        let known = three().completed(meets_first(7));
        assert!(known.admits(node(1), Incarnation::new(7)));
        assert!(!known.admits(node(1), Incarnation::new(8)), "P7");
        assert!(known.admits(node(2), Incarnation::new(8)), "not recorded yet");
        assert_eq!(known.completed(meets_first(8)), known);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refusal = |change| three().changed(&change).unwrap_err();
        let unknown = Refusal::UnknownNode { node: node(9) };
        assert_eq!(refusal(Change::Promote { node: node(9) }), unknown);
        assert_eq!(refusal(Change::Remove { node: node(9) }), unknown);
        assert_eq!(refusal(Change::SetVoters { voters: vec![node(1), node(9)] }), unknown);
        assert_eq!(refusal(Change::SetVoters { voters: vec![] }), Refusal::NoVoters);
        assert_eq!(refusal(Change::Promote { node: node(1) }), Refusal::NoChange);
        let same = Change::SetVoters { voters: vec![node(3), node(2), node(1)] };
        assert_eq!(refusal(same), Refusal::NoChange);
    }

    #[test]
    fn there_are_bounds_for_voters_observers_and_addresses() {
        let observers = u16::try_from(OBSERVERS_MAX).unwrap();
        let adds: Vec<Change> = (4..4 + observers).map(add).collect();
        let full = after(&adds).unwrap();
        assert_eq!(full.changed(&add(99)), Err(Refusal::TooManyObservers));
        let voters = u16::try_from(VOTERS_MAX).unwrap();
        let most = Change::SetVoters { voters: (1..=voters).map(node).collect() };
        assert!(full.changed(&most).is_ok());
        let more = Change::SetVoters { voters: (1..=voters + 1).map(node).collect() };
        assert_eq!(full.changed(&more), Err(Refusal::TooManyVoters));
        let readdress = |length| Change::Readdress { node: node(1), address: "a".repeat(length) };
        assert!(three().changed(&readdress(ADDRESS_BYTES_MAX)).is_ok());
        let long = three().changed(&readdress(ADDRESS_BYTES_MAX + 1));
        assert_eq!(long, Err(Refusal::AddressTooLong));
    }
}
