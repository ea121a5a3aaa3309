//! Who votes, who watches, and what a quorum is (P4, M2).
//!
//! A membership is the content of one reconfiguration slot and never changes. In a *transitional*
//! one the voters differ from those before, whom it names: an election needs a majority of both,
//! everything else a majority of the new ones (M2).

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use wincode::{SchemaRead, SchemaWrite};

use crate::ids::{Incarnation, NodeId, View};
use crate::limits::{ADDRESS_BYTES_MAX, OBSERVERS_MAX, VOTERS_MAX};

/// What a node is in a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite)]
pub enum Seat {
    /// It has a vote.
    Voter,
    /// It learns and applies everything and never counts (M6).
    Observer,
    /// It had a vote in the view before and is on its way out.
    Leaving,
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Voter => "voter",
            Self::Observer => "observer",
            Self::Leaving => "leaving",
        })
    }
}

/// One node of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Member {
    /// Its name, never given twice (P7).
    pub node: NodeId,
    /// What it is.
    pub seat: Seat,
    /// Whether it had a vote in the view before; set in transitional memberships only (M2).
    pub voted: bool,
    /// Where other nodes reach it, `host:port`; empty if the membership does not say.
    pub address: String,
    /// Its data directory (P7); `None` for a founder of which it is not recorded yet.
    pub incarnation: Option<Incarnation>,
}

/// The plain content of a membership, as it stands in messages and records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Charter {
    /// Number of the view, equal to the reconfiguration slot that decides it.
    pub view: View,
    /// The voters differ from those of the view before, which the members name (M2).
    pub transitional: bool,
    /// The highest id that any node ever had: a newcomer must have a higher one (P7).
    pub highest: NodeId,
    /// The nodes by id.
    pub members: Vec<Member>,
}

/// Why a charter is no membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MalformedMembership(&'static str);

impl fmt::Display for MalformedMembership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a membership: {}", self.0)
    }
}

impl core::error::Error for MalformedMembership {}

impl Charter {
    fn nodes(&self, belongs: impl Fn(&Member) -> bool) -> Arc<[NodeId]> {
        self.members.iter().filter(|member| belongs(member)).map(|member| member.node).collect()
    }

    fn check(&self) -> Result<(), MalformedMembership> {
        let members = &self.members;
        let require = |holds: bool, why| holds.then_some(()).ok_or(MalformedMembership(why));
        let count = |seat: Seat| members.iter().filter(|member| member.seat == seat).count();
        let voted = members.iter().filter(|member| member.voted).count();
        let none = NodeId::new(0);
        require(self.view > View::new(0), "it has no view")?;
        require(
            members.windows(2).all(|pair| pair[0].node < pair[1].node),
            "a node is named twice, or out of order",
        )?;
        require(
            members.iter().all(|member| none < member.node && member.node <= self.highest),
            "a node id is beyond the highest",
        )?;
        require(count(Seat::Voter) > 0, "it has no voter")?;
        require(count(Seat::Voter) <= VOTERS_MAX && voted <= VOTERS_MAX, "too many voters")?;
        require(count(Seat::Observer) <= OBSERVERS_MAX, "too many observers")?;
        require(
            members.iter().all(|member| member.address.len() <= ADDRESS_BYTES_MAX),
            "an address is too long",
        )?;
        let changed = members.iter().any(|member| member.voted != (member.seat == Seat::Voter));
        let left_voted = members.iter().all(|member| member.seat != Seat::Leaving || member.voted);
        let sound = match self.transitional {
            true => voted > 0 && changed && left_voted,
            false => voted == 0 && count(Seat::Leaving) == 0,
        };
        require(sound, "its previous voters do not fit")
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Body {
    charter: Charter,
    voters: Arc<[NodeId]>,
    /// The voters of the view before, in a transitional membership.
    previous: Option<Arc<[NodeId]>>,
    /// Whose promises count: all voters, new and previous.
    electors: Arc<[NodeId]>,
    everyone: Arc<[NodeId]>,
}

/// The content of one view; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Membership(Arc<Body>);

impl Membership {
    /// The stable membership of `view` with these voters, in any order, of whom neither address nor
    /// data directory is known.
    ///
    /// # Panics
    /// Without a single voter.
    #[must_use]
    pub fn new(view: View, voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self::founded(view, voters.into_iter().map(|node| (node, String::new())))
    }

    /// The stable membership of `view` with these voters, in any order, and their addresses: what
    /// the settings of a new cluster say. Their data directories are recorded later.
    ///
    /// # Panics
    /// Without a single voter, or with a node named twice.
    #[must_use]
    pub fn founded(view: View, voters: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        let mut members: Vec<Member> = voters
            .into_iter()
            .map(|(node, address)| Member {
                node,
                seat: Seat::Voter,
                voted: false,
                address,
                incarnation: None,
            })
            .collect();
        members.sort_unstable_by_key(|member| member.node);
        let highest = members.last().map(|member| member.node);
        let highest = highest.expect("P4: a membership without voters has no quorum");
        let charter = Charter { view, transitional: false, highest, members };
        Self::checked(charter)
    }

    /// What a node starts from that was told of no membership yet: it votes for nobody, asks
    /// nobody, and waits until a member tells it the one in force.
    #[must_use]
    pub fn unknown() -> Self {
        let nobody: Arc<[NodeId]> = Arc::new([]);
        let charter = Charter {
            view: View::new(0),
            transitional: false,
            highest: NodeId::new(0),
            members: Vec::new(),
        };
        Self(Arc::new(Body {
            charter,
            voters: nobody.clone(),
            previous: None,
            electors: nobody.clone(),
            everyone: nobody,
        }))
    }

    /// Takes a charter if it holds together.
    ///
    /// # Errors
    /// [`MalformedMembership`] if not.
    pub fn from_charter(charter: Charter) -> Result<Self, MalformedMembership> {
        charter.check()?;
        let voters = charter.nodes(|member| member.seat == Seat::Voter);
        let previous = charter.transitional.then(|| charter.nodes(|member| member.voted));
        let electors = charter.nodes(|member| member.seat == Seat::Voter || member.voted);
        let everyone = charter.nodes(|_| true);
        Ok(Self(Arc::new(Body { charter, voters, previous, electors, everyone })))
    }

    /// What the protocol itself makes of a membership is one.
    pub(crate) fn checked(charter: Charter) -> Self {
        Self::from_charter(charter).unwrap_or_else(|error| panic!("M1: {error}"))
    }

    /// The plain content.
    #[must_use]
    pub fn charter(&self) -> &Charter {
        &self.0.charter
    }

    /// Number of the view.
    #[must_use]
    pub fn view(&self) -> View {
        self.0.charter.view
    }

    /// The voters by node id.
    #[must_use]
    pub fn voters(&self) -> &Arc<[NodeId]> {
        &self.0.voters
    }

    /// The voters of the view before, if this one is transitional (M2).
    #[must_use]
    pub fn previous(&self) -> Option<&Arc<[NodeId]>> {
        self.0.previous.as_ref()
    }

    /// Whether the voters differ from those of the view before, so that the next change must be the
    /// one that makes the membership stable (M3).
    #[must_use]
    pub fn is_transitional(&self) -> bool {
        self.0.charter.transitional
    }

    /// Whose promises count: the voters, and those of the view before while that counts too.
    #[must_use]
    pub fn electors(&self) -> &Arc<[NodeId]> {
        &self.0.electors
    }

    /// Voters, observers, and those that are leaving.
    #[must_use]
    pub fn everyone(&self) -> &Arc<[NodeId]> {
        &self.0.everyone
    }

    /// Everyone but `node`.
    #[must_use]
    pub fn others(&self, node: NodeId) -> Arc<[NodeId]> {
        self.everyone().iter().copied().filter(|&other| other != node).collect()
    }

    /// The nodes with all that is known of them, by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.0.charter.members
    }

    /// What is known of `node`, if it is a member.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        let members = self.members();
        let index = members.binary_search_by_key(&node, |member| member.node).ok()?;
        Some(&members[index])
    }

    /// The highest id that any node ever had (P7).
    #[must_use]
    pub fn highest(&self) -> NodeId {
        self.0.charter.highest
    }

    /// Whether `node` has a vote.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.0.voters.binary_search(&node).is_ok()
    }

    /// Whether the promise of `node` counts, and so whether it may stand for election.
    #[must_use]
    pub fn is_elector(&self, node: NodeId) -> bool {
        self.0.electors.binary_search(&node).is_ok()
    }

    /// Whether `node` is part of the view, with a vote or without.
    #[must_use]
    pub fn is_member(&self, node: NodeId) -> bool {
        self.0.everyone.binary_search(&node).is_ok()
    }

    /// Whether the node with this data directory is part of the view (P7): one that came back with
    /// another directory is not the member of its name.
    #[must_use]
    pub fn admits(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let known = self.member(node).map(|member| member.incarnation);
        known.is_some_and(|known| known.is_none_or(|known| known == incarnation))
    }

    /// How many voters are a majority.
    #[must_use]
    pub fn quorum(&self) -> usize {
        majority_of(self.0.voters.len())
    }

    /// Whether those of whom `belongs` is true are a majority of the voters: enough to choose (P4).
    pub fn is_quorum(&self, belongs: impl Fn(NodeId) -> bool) -> bool {
        has_majority(&self.0.voters, belongs)
    }

    /// Whether those of whom `belongs` is true are enough to promise a ballot: a majority of the
    /// voters, and of the previous voters too while those count (M2).
    pub fn is_election_quorum(&self, belongs: impl Fn(NodeId) -> bool) -> bool {
        let previous = self.0.previous.as_ref().filter(|_| !mutant!(NoOldMajority));
        self.is_quorum(&belongs) && previous.is_none_or(|nodes| has_majority(nodes, &belongs))
    }

    /// The stable membership that follows this transitional one: the previous voters are dropped.
    ///
    /// # Panics
    /// If this one is stable already.
    #[must_use]
    pub fn stabilised(&self) -> Self {
        assert!(self.is_transitional(), "M3: {self} is stable already");
        let members = self.members().iter().filter(|member| member.seat != Seat::Leaving);
        let members = members.map(|member| Member { voted: false, ..member.clone() }).collect();
        let charter = Charter {
            view: self.view().next(),
            transitional: false,
            highest: self.highest(),
            members,
        };
        Self::checked(charter)
    }

    /// This membership with what `known` says of addresses and data directories that it lacks:
    /// those of its founders, which their settings named and no change ever did.
    #[must_use]
    pub fn completed(
        &self,
        known: impl Fn(NodeId) -> Option<(String, Option<Incarnation>)>,
    ) -> Self {
        let mut charter = self.charter().clone();
        for member in &mut charter.members {
            if member.incarnation.is_some() && !member.address.is_empty() {
                continue;
            }
            let Some((address, incarnation)) = known(member.node) else { continue };
            member.incarnation = member.incarnation.or(incarnation);
            if member.address.is_empty() && address.len() <= ADDRESS_BYTES_MAX {
                member.address = address;
            }
        }
        Self::checked(charter)
    }

    /// Whether `next` may follow this one: the view after it, no id lost from memory, and, if the
    /// voters change, a transition that names them (M1, M2, M3, P7).
    #[must_use]
    pub fn may_be_followed_by(&self, next: &Self) -> bool {
        let named = match (self.is_transitional(), next.previous()) {
            (true, Some(_)) => false,
            (true, None) | (false, None) => next.voters() == self.voters(),
            (false, Some(previous)) => previous == self.voters(),
        };
        named && next.view() == self.view().next() && next.highest() >= self.highest()
    }
}

fn majority_of(nodes: usize) -> usize {
    nodes / 2 + usize::from(!mutant!(QuorumIsHalf))
}

fn has_majority(nodes: &[NodeId], belongs: impl Fn(NodeId) -> bool) -> bool {
    nodes.iter().filter(|node| belongs(**node)).count() >= majority_of(nodes.len())
}

/// `v4[n1 n2 n3]`, `v5[n1 n2 n4 from n1 n2 n3]` while transitional, `v2[n1 n2 n3, n4 observes]`.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.view())?;
        write_nodes(f, self.voters())?;
        if let Some(previous) = self.previous() {
            f.write_str(" from ")?;
            write_nodes(f, previous)?;
        }
        let observers = self.charter().nodes(|member| member.seat == Seat::Observer);
        if !observers.is_empty() {
            f.write_str(", ")?;
            write_nodes(f, &observers)?;
            f.write_str(if observers.len() == 1 { " observes" } else { " observe" })?;
        }
        f.write_str("]")
    }
}

fn write_nodes(f: &mut fmt::Formatter<'_>, nodes: &[NodeId]) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        write!(f, "{}{node}", if index == 0 { "" } else { " " })?;
    }
    Ok(())
}

impl fmt::Display for Charter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Membership::from_charter(self.clone()) {
            Ok(membership) => membership.fmt(f),
            Err(_) => write!(f, "{}[?]", self.view),
        }
    }
}

/// Which voters answered one question. Answers of others, and second answers, never count (P4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    answered: BTreeSet<NodeId>,
}

impl Tally {
    /// Counts `node` if its answer counts and it has not answered yet; says whether it counted.
    pub fn add(&mut self, membership: &Membership, node: NodeId) -> bool {
        let counted = match mutant!(DuplicateAnswersCount) && self.contains(node) {
            false => node,
            true => self.missing(membership).first().copied().unwrap_or(node),
        };
        let counts = membership.is_elector(node) || mutant!(ObserverCounts);
        counts && self.answered.insert(counted)
    }

    /// Whether a majority of the voters answered: enough to choose, and for the lease.
    #[must_use]
    pub fn is_quorum(&self, membership: &Membership) -> bool {
        if mutant!(ObserverCounts) {
            return self.answered.len() >= membership.quorum();
        }
        membership.is_quorum(|node| self.contains(node))
    }

    /// Whether enough answered for an election: in a transitional view also a majority of the
    /// previous voters (M2).
    #[must_use]
    pub fn is_election_quorum(&self, membership: &Membership) -> bool {
        self.is_quorum(membership) && membership.is_election_quorum(|node| self.contains(node))
    }

    /// Whether `node` was counted.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.answered.contains(&node)
    }

    /// Whether everybody whose promise counts answered.
    #[must_use]
    pub fn is_complete(&self, membership: &Membership) -> bool {
        membership.electors().iter().all(|&elector| self.contains(elector))
    }

    /// Those whose promise counts and that have not answered.
    #[must_use]
    pub fn missing(&self, membership: &Membership) -> Vec<NodeId> {
        membership.electors().iter().copied().filter(|&node| !self.contains(node)).collect()
    }

    /// The voters that have not answered.
    #[must_use]
    pub fn missing_voters(&self, membership: &Membership) -> Vec<NodeId> {
        membership.voters().iter().copied().filter(|&voter| !self.contains(voter)).collect()
    }
}
