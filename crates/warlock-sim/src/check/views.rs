//! There is one membership for each view; it follows the one before and was accepted by a majority
//! of the voters there, one change at a time (M1). A node id belongs to one data directory and
//! never comes back (P7).

use std::collections::{BTreeMap, BTreeSet};

use warlock_paxos::{Ballot, Charter, Incarnation, Membership, NodeId, Reconfiguration, View};

use super::Violation;
use super::majority::is_majority;

const PROPERTY: &str = "one membership a view";
const IDENTITY: &str = "node identities";

/// Every membership that came into force, and what was proposed on the way.
#[derive(Clone, Debug)]
pub struct Views {
    in_force: BTreeMap<View, Membership>,
    newest: Membership,
    proposed: BTreeMap<Ballot, Charter>,
    /// On whose disks what a ballot proposed is.
    accepted: BTreeMap<Ballot, BTreeSet<NodeId>>,
    gone: BTreeSet<NodeId>,
    directories: BTreeMap<NodeId, Incarnation>,
}

impl Views {
    /// For a cluster that begins with the membership `first`.
    #[must_use]
    pub fn new(first: Membership) -> Self {
        Self {
            in_force: BTreeMap::from([(first.view(), first.clone())]),
            newest: first,
            proposed: BTreeMap::new(),
            accepted: BTreeMap::new(),
            gone: BTreeSet::new(),
            directories: BTreeMap::new(),
        }
    }

    /// The leader of `ballot` proposes a membership for the view after its own.
    ///
    /// # Errors
    /// When it does not follow the one of that view, or is the second under this ballot.
    pub fn observe_proposed(&mut self, ballot: Ballot, charter: &Charter) -> Result<(), Violation> {
        let known = self.proposed.entry(ballot).or_insert_with(|| charter.clone());
        if known != charter {
            let sentence = format!("{ballot} proposes {charter} after it proposed {known}");
            return Err(Violation::safety(PROPERTY, &[ballot.node], sentence));
        }
        let before = self.in_force.get(&ballot.view);
        let next = Membership::from_charter(charter.clone()).ok();
        let follows =
            before.zip(next.as_ref()).is_some_and(|(before, next)| before.may_be_followed_by(next));
        if follows {
            return Ok(());
        }
        let before =
            before.map_or_else(|| String::from("a view nobody knows"), ToString::to_string);
        let sentence = format!("{ballot} proposes {charter}, which cannot follow {before}");
        Err(Violation::safety(PROPERTY, &[ballot.node], sentence))
    }

    /// The disk of `node` holds what it accepted.
    ///
    /// # Errors
    /// Those of [`observe_proposed`](Self::observe_proposed).
    pub fn observe_accepted(
        &mut self,
        node: NodeId,
        accepted: &Reconfiguration,
    ) -> Result<(), Violation> {
        self.accepted.entry(accepted.ballot).or_default().insert(node);
        self.observe_proposed(accepted.ballot, &accepted.charter)
    }

    /// `node` is in the view of `membership`. Says whether it is the first.
    ///
    /// # Errors
    /// When another membership is known for the view, or it does not follow the newest one, or no
    /// majority accepted it, or it gives a node id to somebody else.
    pub fn observe_in_force(
        &mut self,
        node: NodeId,
        membership: &Membership,
    ) -> Result<bool, Violation> {
        let view = membership.view();
        if let Some(known) = self.in_force.get(&view) {
            if known == membership {
                return Ok(false);
            }
            let sentence = format!("{node} is in {membership}, but {known} is in force");
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        if !self.newest.may_be_followed_by(membership) {
            let sentence =
                format!("{node} is in {membership}, which cannot follow {}", self.newest);
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        if !self.is_chosen(membership.charter()) {
            let sentence =
                format!("{node} is in {membership}, which no majority of {} accepted", self.newest);
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        self.identify(membership)?;
        let gone = self.newest.everyone().iter().filter(|&&node| !membership.is_member(node));
        self.gone.extend(gone);
        self.in_force.insert(view, membership.clone());
        self.newest = membership.clone();
        Ok(true)
    }

    fn is_chosen(&self, charter: &Charter) -> bool {
        let asked = self.proposed.iter().filter(|(_, proposed)| *proposed == charter);
        asked
            .filter_map(|(ballot, _)| self.accepted.get(ballot))
            .any(|acceptors| is_majority(self.newest.voters(), |node| acceptors.contains(&node)))
    }

    fn identify(&mut self, membership: &Membership) -> Result<(), Violation> {
        for member in membership.members() {
            let node = member.node;
            if self.gone.contains(&node) {
                let sentence = format!("{node} went for ever, but is part of {membership}");
                return Err(Violation::safety(IDENTITY, &[node], sentence));
            }
            let Some(found) = member.incarnation else { continue };
            let known = *self.directories.entry(node).or_insert(found);
            if known != found {
                let sentence =
                    format!("{node} has data directory {known}, but {found} in {membership}");
                return Err(Violation::safety(IDENTITY, &[node], sentence));
            }
        }
        Ok(())
    }

    /// The membership that is in force.
    #[must_use]
    pub const fn newest(&self) -> &Membership {
        &self.newest
    }

    /// The membership of a view.
    #[must_use]
    pub fn of(&self, view: View) -> Option<&Membership> {
        self.in_force.get(&view)
    }

    /// What may still come into force after the newest membership.
    pub fn open(&self) -> impl Iterator<Item = &Charter> {
        let view = self.newest.view().next();
        self.proposed.values().filter(move |charter| charter.view == view)
    }

    /// Whether this node was a member once and is none any more.
    #[must_use]
    pub fn is_gone(&self, node: NodeId) -> bool {
        self.gone.contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::Change;

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);
    const N4: NodeId = NodeId::new(4);

    fn three() -> Membership {
        Membership::new(View::new(1), [N1, N2, N3])
    }

    fn ballot(view: u64, round: u64) -> Ballot {
        Ballot { view: View::new(view), round, node: N1 }
    }

    fn add(node: NodeId, directory: u128) -> Change {
        let incarnation = Incarnation::new(directory);
        Change::AddObserver { node, address: String::new(), incarnation }
    }

    fn accept(checker: &mut Views, nodes: &[NodeId], ballot: Ballot, next: &Membership) {
        for &node in nodes {
            let accepted = Reconfiguration { ballot, charter: next.charter().clone() };
            checker.observe_accepted(node, &accepted).expect("a lawful proposal");
        }
    }

    /// Puts `next` into force as a good cluster does.
    fn enter(checker: &mut Views, next: &Membership) -> Result<bool, Violation> {
        let before = checker.newest().clone();
        accept(checker, before.voters(), ballot(before.view().number(), 1), next);
        checker.observe_in_force(N1, next)
    }

    #[test]
    fn one_after_the_other_is_right() {
        let mut checker = Views::new(three());
        let four = three().changed(&add(N4, 4)).unwrap();
        assert_eq!(enter(&mut checker, &four), Ok(true));
        let voting = four.changed(&Change::Promote { node: N4 }).unwrap();
        assert_eq!(enter(&mut checker, &voting), Ok(true));
        assert_eq!(checker.observe_in_force(N4, &four), Ok(false), "who comes later is told both");
        assert_eq!(enter(&mut checker, &voting.stabilised()), Ok(true));
        assert_eq!(checker.newest().view(), View::new(4));
        assert_eq!(checker.of(View::new(2)), Some(&four));
    }

    #[test]
    fn two_memberships_of_a_view_are_found() {
        let mut checker = Views::new(three());
        let (one, other) = (three().changed(&add(N4, 4)), three().changed(&add(N4, 5)));
        enter(&mut checker, &one.unwrap()).unwrap();
        let found = checker.observe_in_force(N2, &other.unwrap()).unwrap_err();
        assert_eq!(found.nodes, [N2]);
    }

    #[test]
    fn a_second_proposal_of_a_ballot_is_found() {
        let mut checker = Views::new(three());
        let (one, other) = (three().changed(&add(N4, 4)), three().changed(&add(N4, 5)));
        checker.observe_proposed(ballot(1, 1), one.unwrap().charter()).unwrap();
        let other = other.unwrap();
        checker.observe_proposed(ballot(1, 2), other.charter()).expect("another ballot may");
        let found = checker.observe_proposed(ballot(1, 1), other.charter()).unwrap_err();
        assert_eq!(
            found.to_string(),
            "one membership a view: v1.b1.n1 proposes v2[n1 n2 n3, n4 observes] \
             after it proposed v2[n1 n2 n3, n4 observes]"
        );
        assert_eq!(checker.open().count(), 2);
    }

    #[test]
    fn what_does_not_follow_is_found() {
        let mut checker = Views::new(three());
        let four = three().changed(&add(N4, 4)).unwrap();
        let later = four.changed(&Change::Remove { node: N1 }).unwrap();
        assert!(checker.observe_proposed(ballot(1, 1), later.charter()).is_err());
        assert!(checker.observe_proposed(ballot(2, 1), later.charter()).is_err());
        assert!(checker.observe_in_force(N1, &later).is_err());
        let abrupt = Membership::new(View::new(2), [N1, N2]);
        assert!(checker.observe_proposed(ballot(1, 3), abrupt.charter()).is_err());
    }

    #[test]
    fn a_membership_that_no_majority_accepted_is_found() {
        let mut checker = Views::new(three());
        let four = three().changed(&add(N4, 4)).unwrap();
        accept(&mut checker, &[N1, N4], ballot(1, 1), &four);
        accept(&mut checker, &[N2], ballot(1, 2), &four);
        let found = checker.observe_in_force(N1, &four).unwrap_err();
        assert_eq!(
            found.to_string(),
            "one membership a view: n1 is in v2[n1 n2 n3, n4 observes], \
             which no majority of v1[n1 n2 n3] accepted"
        );
    }

    #[test]
    fn a_node_id_that_comes_back_is_found() {
        let mut checker = Views::new(three());
        let four = three().changed(&add(N4, 4)).unwrap();
        enter(&mut checker, &four).unwrap();
        let without = four.changed(&Change::Remove { node: N4 }).unwrap();
        enter(&mut checker, &without).unwrap();
        assert!(checker.is_gone(N4));
        let mut charter = without.charter().clone();
        charter.view = charter.view.next();
        charter.members.push(four.member(N4).unwrap().clone());
        let again = Membership::from_charter(charter).unwrap();
        let found = enter(&mut checker, &again).unwrap_err();
        assert_eq!(found.property, "node identities");
    }

    #[test]
    fn another_data_directory_is_found() {
        let mut checker = Views::new(three());
        let four = three().changed(&add(N4, 4)).unwrap();
        enter(&mut checker, &four).unwrap();
        let mut charter = four.charter().clone();
        charter.view = charter.view.next();
        charter.members[3].incarnation = Some(Incarnation::new(5));
        let other = Membership::from_charter(charter).unwrap();
        assert_eq!(enter(&mut checker, &other).unwrap_err().nodes, [N4]);
    }
}
