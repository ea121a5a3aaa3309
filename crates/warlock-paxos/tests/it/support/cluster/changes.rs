//! Nodes that come and go, and what is checked of it.

use warlock_paxos::limits::PROMOTION_LAG_MAX;
use warlock_paxos::{
    Change, ChangeRequest, Incarnation, Membership, Message, NodeId, P1b, P2b, P2bView, Seat, Slot,
    View,
};

use super::{Cluster, Event, Host, MILLISECOND};
use crate::support::disk::{Disk, incarnation};
use crate::support::node;

/// Nodes that there are at most, those that went included.
const HOSTS_MAX: usize = 10;

impl Cluster {
    pub(super) fn change(&mut self) {
        if self.calm {
            return;
        }
        let delay = self.random.between(1, 300) * MILLISECOND;
        self.schedule(delay, Event::Change);
        let masters: Vec<usize> =
            (0..self.hosts.len()).filter(|&index| self.hosts[index].serves(self.time)).collect();
        let index = match masters.first() {
            Some(&master) if self.random.chance(850) => master,
            _ => self.random.index(self.hosts.len()),
        };
        let paused = self.time < self.hosts[index].paused_until;
        let Some(known) = self.hosts[index].node.as_ref().filter(|_| !paused) else { return };
        let membership = known.leader.membership().clone();
        if membership.members().is_empty() {
            return;
        }
        let Some(change) = self.draw_change(&membership) else { return };
        let view = match self.random.chance(950) {
            true => membership.view(),
            false => View::new(self.random.between(1, membership.view().number())),
        };
        let another = self.random.chance(300).then(|| self.draw_change(&membership)).flatten();
        let id = self.hosts[index].id;
        for change in [change].into_iter().chain(another) {
            let request = ChangeRequest { view, change };
            self.note(|| format!("{id} is asked in {view} to {}", request.change));
            self.with(index, |node, now, _| {
                node.with_leader(now, |leader, out| leader.handle_change(now, 1, &request, out));
            });
        }
    }

    fn draw_change(&mut self, membership: &Membership) -> Option<Change> {
        let members = membership.members();
        let any = members[self.random.index(members.len())].node;
        let observers: Vec<NodeId> = members
            .iter()
            .filter(|member| member.seat == Seat::Observer)
            .map(|member| member.node)
            .collect();
        Some(match self.random.below(10) {
            0..=2 => return self.draw_newcomer(membership),
            3..=5 => {
                let index = self.random.index(observers.len().max(1));
                Change::Promote { node: *observers.get(index)? }
            }
            6 => Change::Remove { node: any },
            _ => {
                let count = self.random.between(1, 5);
                let draw = (0..count).map(|_| members[self.random.index(members.len())].node);
                Change::SetVoters { voters: draw.collect() }
            }
        })
    }

    /// A node that nobody knows yet, or one that comes back under an old name with an empty disk.
    fn draw_newcomer(&mut self, membership: &Membership) -> Option<Change> {
        let gone = (0..self.hosts.len()).find(|&index| {
            self.hosts[index].retired && !membership.is_member(self.hosts[index].id)
        });
        if let Some(index) = gone.filter(|_| self.random.chance(300)) {
            let (id, bits) = (self.hosts[index].id, self.random.bits());
            let incarnation = Incarnation::new(u128::from(bits) | 1 << 100);
            return Some(Change::AddObserver { node: id, address: String::new(), incarnation });
        }
        let unused = self.hosts.iter().find(|host| host.id > membership.highest());
        let id = match unused {
            Some(host) => host.id,
            None if self.hosts.len() < HOSTS_MAX => {
                let id = node(u16::try_from(self.hosts.len()).expect("few") + 1);
                let start = self.time + self.random.between(1, 400) * MILLISECOND;
                let (weather, random) = (self.weather, &mut self.random);
                self.hosts.push(Host::new(id, &weather, random, start));
                id
            }
            None => return None,
        };
        let incarnation = incarnation(id);
        Some(Change::AddObserver { node: id, address: String::new(), incarnation })
    }

    /// The hosts that are part of the newest membership.
    pub(super) fn members(&self) -> Vec<&Host> {
        self.member_indices().into_iter().map(|index| &self.hosts[index]).collect()
    }

    pub(super) fn member_indices(&self) -> Vec<usize> {
        let newest = self.checker.newest();
        let is_member = |id| newest.members.iter().any(|member| member.node == id);
        (0..self.hosts.len()).filter(|&index| is_member(self.hosts[index].id)).collect()
    }

    /// M4: a node that would remember a view acts in no lower one, and in none without it.
    pub(super) fn check_view_of(&self, index: usize, message: &Message) {
        let acts = if let Message::P1b(P1b { asked, promised, .. })
        | Message::P2b(P2b { asked, promised, .. })
        | Message::P2bView(P2bView { asked, promised, .. }) = message
            && asked == promised
        {
            asked.view
        } else if let Message::Ack(ack) = message
            && ack.granted
        {
            ack.view
        } else {
            return;
        };
        let host = &self.hosts[index];
        let Some(known) = host.disk.in_force() else { return };
        assert!(acts >= known.view, "M4: {} acts in {acts} but knows {}", host.id, known.view);
        let part = known.members.iter().any(|member| member.node == host.id);
        assert!(part || acts > known.view, "M4: {} is not part of {acts}", host.id);
    }

    /// M5: nobody serves who is not part of a view that another node has entered.
    pub(super) fn check_lease_of_those_that_go(&self, membership: &Membership) {
        let newest = membership.view() == self.checker.newest().view;
        for host in self.hosts.iter().filter(|host| newest && host.serves(self.time)) {
            let part = membership.is_elector(host.id);
            assert!(part, "M5: {} serves, though {membership} is in force", host.id);
        }
    }

    /// M6: who gets a vote holds, durably, almost all that the master knows to be decided.
    pub(super) fn check_newcomers(&self, index: usize, next: &Membership) {
        let host = &self.hosts[index];
        let Some(master) = &host.node else { return };
        let decided = master.acceptor.decided().position().min(master.replica.applied().position());
        let present = master.leader.membership();
        for id in next.voters().iter().filter(|&&id| !present.is_voter(id)) {
            let Some(newcomer) = self.hosts.iter().find(|host| host.id == *id) else { continue };
            let needed = decided.saturating_sub(PROMOTION_LAG_MAX + 1);
            for slot in (needed.saturating_sub(3).max(1)..needed).map(Slot::new) {
                let held = Disk::content(&newcomer.disk, slot).is_some();
                assert!(held, "M6: {id} gets a vote at s{decided} but lacks {slot}");
            }
        }
    }
}
