//! Operators: they add nodes, remove, replace and promote them while everything else goes wrong.
//!
//! They know what nodes tell them. What they may not do is what no cluster survives: to have a
//! membership in which those that never come back are no minority. So directories are lost only
//! while every membership that may come into force tolerates it.

use warlock_node::Effect;
use warlock_node::operations::Operation;
use warlock_node::seam::ConnectionId;
use warlock_paxos::{
    Change, ChangeRequest, Charter, Incarnation, Membership, NodeId, Refusal, Seat, Slot, Verdict,
    View,
};

use super::World;
use super::network::Cut;
use super::queue::{Event, NodeIndex};
use super::weather::MILLISECOND;
use crate::check::may_elect;
use crate::random::Random;
use crate::run::Options;

/// Machines that there are at most in one run, those that went included.
pub(super) const SITES_MAX: usize = 20;
/// Voters that operators want at most.
const VOTERS_WANTED_MAX: usize = 7;
/// Nanoseconds between two nodes that forget their state: the master hears of the first before.
const RESETS_APART: u64 = 2000 * MILLISECOND;
/// What tells the choices about memberships from all others of a seed.
const SALT: u64 = 0x006d_656d_6265_7273;

/// How the membership changes in a run: how often operators look, in nanoseconds, 0 for never, and
/// what they do, each with its weight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    pub(super) every: u64,
    resize: u64,
    replace: u64,
    replace_two: u64,
    set_voters: u64,
    remove: u64,
    readdress: u64,
    transfer: u64,
    lose_directory: u64,
    reset: u64,
    island: u64,
    zombie: u64,
    reuse: u64,
    /// In parts of a thousand: a second operator at the same moment, a request that is too old,
    /// one that goes to any node instead of the master.
    rival: u64,
    late: u64,
    astray: u64,
    /// In parts of a thousand: how often the process of a removed node ends.
    exits: u64,
    /// In parts of a thousand: how often a node is killed before it is removed.
    mortal: u64,
}

/// What an operator wants to be told of.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    ticket: u64,
    change: Change,
    /// Something else was asked for at the same moment, before.
    is_rival: bool,
}

/// What operators remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Operators {
    asked: Vec<Asked>,
    tickets: u64,
    /// How many voters they want.
    wanted: usize,
    /// How many voters they are about to replace at once, when there are as many observers.
    replacing: usize,
    /// When they had a node forget its state.
    reset_at: u64,
}

impl Changes {
    /// Draws what becomes of the membership, from a source of its own: in runs without changes
    /// everything else is as if there were none at all.
    pub(super) fn drawn(seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed ^ SALT);
        let drawn = random.chance(600);
        if !options.changes.unwrap_or(drawn) {
            return Self::default();
        }
        let every = random.pick(&[60, 150, 150, 400, 1_000]) * MILLISECOND;
        let mut weight = |often: u64| match random.chance(550) {
            true => random.between(1, often),
            false => 0,
        };
        let mut changes = Self {
            every,
            resize: 6 + weight(12),
            replace: weight(10),
            replace_two: weight(10),
            set_voters: weight(6),
            remove: weight(6),
            readdress: weight(2),
            transfer: weight(6),
            lose_directory: weight(4),
            reset: weight(20),
            island: weight(5),
            zombie: weight(6),
            reuse: weight(5),
            ..Self::default()
        };
        changes.rival = random.pick(&[0, 100, 400]);
        changes.late = random.pick(&[0, 20, 200]);
        changes.astray = random.pick(&[0, 50, 300]);
        changes.exits = random.pick(&[0, 500, 1000]);
        changes.mortal = random.pick(&[0, 200, 600]);
        changes
    }
}

/// What an operator does when it looks.
type Deed = fn(&mut World, NodeIndex, &Membership) -> Option<Change>;

impl World {
    /// Has operators look after a while.
    pub(super) fn operate_later(&mut self) {
        let every = self.weather.changes.every;
        if every > 0 {
            let at = self.time + self.random.around(every) + 1;
            self.queue.push(at, Event::Operate);
        }
    }

    /// An operator looks, and does something.
    pub(super) fn operate(&mut self) {
        if self.is_calm {
            return;
        }
        self.operate_later();
        let Some((index, membership)) = self.node_to_ask() else { return };
        if self.is_far_out(&membership) {
            return;
        }
        let Some(change) = self.wish(index, &membership) else { return };
        let view = match self.random.chance(self.weather.changes.late) {
            true => View::new(self.random.between(1, membership.view().number())),
            false => membership.view(),
        };
        self.ask_change(index, view, change, false);
        if self.random.chance(self.weather.changes.rival)
            && let Some(change) = self.wish(index, &membership)
        {
            self.ask_change(index, view, change, true);
        }
    }

    /// The node that an operator asks, and the membership that it shows: the master, if one can be
    /// found.
    fn node_to_ask(&mut self) -> Option<(NodeIndex, Membership)> {
        let serving = self.sites.iter().position(|site| {
            site.is_awake(self.time)
                && site.process.as_ref().is_some_and(|process| process.serves.is_some())
        });
        let astray = self.random.chance(self.weather.changes.astray);
        let index = match serving {
            Some(index) if !astray => index,
            None if !self.random.chance(100) => return None,
            Some(_) | None => self.random.index(self.sites.len()),
        };
        let site = &self.sites[index];
        let process = site.process.as_ref().filter(|_| site.is_awake(self.time))?;
        let membership = process.node.leader.membership();
        (!membership.members().is_empty()).then(|| (index, membership.clone()))
    }

    /// There is no room for further machines, and too few are left to do anything with.
    fn is_far_out(&self, membership: &Membership) -> bool {
        self.sites.len() >= SITES_MAX && membership.members().len() < 2
    }

    fn wish(&mut self, index: NodeIndex, membership: &Membership) -> Option<Change> {
        let changes = self.weather.changes;
        if self.operators.replacing > 0 && self.random.chance(700) {
            return self.replace(membership, self.operators.replacing);
        }
        let deeds: [(u64, Deed); 12] = [
            (changes.resize, Self::resize),
            (changes.replace, |world, _, membership| world.replace(membership, 1)),
            (changes.replace_two, |world, _, membership| world.replace(membership, 2)),
            (changes.set_voters, |world, _, membership| Some(world.any_voters(membership))),
            (changes.remove, |world, _, membership| world.remove(membership)),
            (changes.readdress, |world, _, membership| Some(world.readdress(membership))),
            (changes.transfer, |world, index, membership| world.transfer(index, membership)),
            (changes.lose_directory, |world, _, membership| world.lose_directory(membership)),
            (changes.reset, |world, _, membership| world.ask_reset(membership)),
            (changes.island, |world, index, membership| world.maroon(index, membership)),
            (changes.zombie, |world, _, _| world.raise_zombie()),
            (changes.reuse, |world, _, membership| world.reuse_id(membership)),
        ];
        let mut choice = self.random.below(deeds.iter().map(|(weight, _)| weight).sum());
        for (weight, deed) in deeds {
            if choice < weight {
                return deed(self, index, membership);
            }
            choice -= weight;
        }
        None
    }

    /// Goes one step towards as many voters as are wanted; then others are wanted.
    fn resize(&mut self, _index: NodeIndex, membership: &Membership) -> Option<Change> {
        let voters = membership.voters().len();
        if self.operators.wanted == 0 || self.operators.wanted == voters {
            self.operators.wanted = 1 + self.random.index(VOTERS_WANTED_MAX);
        }
        if voters < self.operators.wanted {
            if let Some(node) = self.observer_of(membership) {
                return Some(Change::Promote { node });
            }
            return self.add(membership);
        }
        self.remove(membership)
    }

    fn observer_of(&mut self, membership: &Membership) -> Option<NodeId> {
        let members = membership.members().iter();
        let observers: Vec<NodeId> =
            members.filter(|it| it.seat == Seat::Observer).map(|it| it.node).collect();
        (!observers.is_empty()).then(|| self.random.pick(&observers))
    }

    /// Adds a node that runs and is no member, or has a new one start for later.
    fn add(&mut self, membership: &Membership) -> Option<Change> {
        let ready = self.sites.iter().find(|site| {
            site.id > membership.highest() && site.process.is_some() && !site.is_replaced
        });
        if let Some(site) = ready {
            return Some(Change::AddObserver {
                node: site.id,
                address: site.name.clone(),
                incarnation: site.incarnation,
            });
        }
        let is_coming = self.sites.iter().any(|site| site.id > membership.highest());
        let count = if is_coming { 0 } else { 1 + self.random.index(2) };
        for _ in 0..count.min(SITES_MAX - self.sites.len()) {
            self.new_machine();
        }
        None
    }

    /// A new machine with an empty disk.
    fn new_machine(&mut self) {
        let index = self.sites.len();
        let site = self.new_site(index, false);
        self.sites.push(site);
        self.network.grow();
        for other in 0..index {
            let (link, start) = (self.network.link(other, index), self.sites[other].start);
            self.queue.push(self.time, Event::Dial { link, start });
        }
        self.start_later(index, 300 * MILLISECOND);
    }

    /// Removes any node, rather one that is down or lost.
    fn remove(&mut self, membership: &Membership) -> Option<Change> {
        let node = self.expendable(membership);
        let index = Self::index_of(node);
        if self.random.chance(self.weather.changes.mortal) {
            self.kill(index, false);
            self.start_later(index, 3000 * MILLISECOND);
        }
        Some(Change::Remove { node })
    }

    fn expendable(&mut self, membership: &Membership) -> NodeId {
        let nodes = membership.everyone();
        let lost: Vec<NodeId> =
            nodes.iter().copied().filter(|&node| self.is_lost_for_ever(node)).collect();
        let down = nodes
            .iter()
            .copied()
            .filter(|&node| self.sites[Self::index_of(node)].process.is_none());
        let down: Vec<NodeId> = down.collect();
        if !lost.is_empty() {
            self.random.pick(&lost)
        } else if !down.is_empty() && self.random.chance(500) {
            self.random.pick(&down)
        } else {
            self.random.pick(nodes)
        }
    }

    /// Lets observers vote in the place of so many voters, all at once.
    fn replace(&mut self, membership: &Membership, count: usize) -> Option<Change> {
        let members = membership.members().iter();
        let observers: Vec<NodeId> =
            members.filter(|it| it.seat == Seat::Observer).map(|it| it.node).collect();
        let count = count.min(membership.voters().len());
        self.operators.replacing = count;
        if observers.len() < count {
            return self.add(membership);
        }
        // They are not caught up at once.
        if self.random.chance(200) {
            self.operators.replacing = 0;
        }
        let mut voters = membership.voters().to_vec();
        self.random.shuffle(&mut voters);
        // Whoever never comes back goes first.
        voters.sort_by_key(|&node| self.is_lost_for_ever(node));
        voters.truncate(voters.len() - count);
        voters.extend(&observers[..count]);
        Some(Change::SetVoters { voters })
    }

    /// Any members shall vote.
    fn any_voters(&mut self, membership: &Membership) -> Change {
        let mut voters = membership.everyone().to_vec();
        self.random.shuffle(&mut voters);
        voters.truncate(1 + self.random.index(voters.len().min(VOTERS_WANTED_MAX)));
        Change::SetVoters { voters }
    }

    /// A machine gets another address. Where the network leads does not depend on it here.
    fn readdress(&mut self, membership: &Membership) -> Change {
        let node = self.random.pick(membership.everyone());
        Change::Readdress { node, address: format!("{node}:{}", self.random.index(9)) }
    }

    /// Asks the master to hand over to another voter.
    fn transfer(&mut self, index: NodeIndex, membership: &Membership) -> Option<Change> {
        let to = self.random.pick(membership.voters());
        self.counters.transfer += 1;
        self.act(index, |node, now| {
            node.with_leader(now.boot, |leader, out| leader.handle_leave(now.boot, Some(to), out));
        });
        None
    }

    /// A node loses its directory for good. Operators will find it down, and replace it; or it is
    /// started as if it were the old one.
    fn lose_directory(&mut self, membership: &Membership) -> Option<Change> {
        let node = self.random.pick(membership.everyone());
        if !self.may_be_lost(node) {
            return None;
        }
        self.counters.directory_lost += 1;
        let index = Self::index_of(node);
        if self.random.chance(500) && self.would_be_found_wiped(index) {
            self.wipe(index);
        } else {
            self.kill(index, false);
            self.lose(index, "its data directory is gone");
        }
        Some(Change::Remove { node })
    }

    /// Has a node forget its state, if it thinks that the others hold it. Operators wait for one
    /// node before they do that to another.
    fn ask_reset(&mut self, membership: &Membership) -> Option<Change> {
        let node = self.random.pick(membership.everyone());
        let index = Self::index_of(node);
        let site = &self.sites[index];
        if self.time < self.operators.reset_at + RESETS_APART || !site.is_awake(self.time) {
            return None;
        }
        let now = self.now(index).boot;
        let process = self.sites[index].process.as_mut()?;
        let mut effects = Vec::new();
        let nobody = (0, ConnectionId(u64::MAX));
        process.host.operate(now, nobody, Operation::Reset, &mut effects);
        effects.retain(|effect| matches!(effect, Effect::Reset(_)));
        self.carry_out_host(index, effects);
        None
    }

    /// A process ends, and the next one forgets what was decided below a slot.
    pub(super) fn reset_node(&mut self, index: NodeIndex, below: Slot) {
        self.counters.reset += 1;
        self.operators.reset_at = self.time;
        self.trace_site(index, || format!("is reset below {below}"));
        self.kill(index, false);
        self.sites[index].forgets = Some(below);
        self.start_later(index, 50 * MILLISECOND);
    }

    /// Cuts the master off, and asks it to remove everybody else.
    fn maroon(&mut self, index: NodeIndex, membership: &Membership) -> Option<Change> {
        let alone = self.sites[index].id;
        if membership.voters().len() < 2 || !membership.is_voter(alone) {
            return None;
        }
        self.counters.island += 1;
        let cut = self.random.pick(&[Cut::Drop, Cut::Hold]);
        self.isolate(index, cut);
        Some(Change::SetVoters { voters: vec![alone] })
    }

    /// Starts a removed node with the disk that it had.
    fn raise_zombie(&mut self) -> Option<Change> {
        let gone: Vec<NodeIndex> = (0..self.sites.len())
            .filter(|&index| self.checks.views.is_gone(self.sites[index].id))
            .collect();
        let &index = gone.get(self.random.index(gone.len()))?;
        self.start_later(index, 100 * MILLISECOND);
        None
    }

    /// A machine with an empty disk is given a name that was used before.
    fn reuse_id(&mut self, membership: &Membership) -> Option<Change> {
        let highest = u64::from(membership.highest().number());
        let number = u16::try_from(self.random.between(1, highest)).expect("few nodes");
        let incarnation = self.new_incarnation();
        let (node, address) = (NodeId::new(number), String::from("again"));
        Some(Change::AddObserver { node, address, incarnation })
    }

    fn ask_change(&mut self, index: NodeIndex, view: View, change: Change, is_rival: bool) {
        let Some(process) = &self.sites[index].process else { return };
        let present = process.node.leader.membership().clone();
        if present.changed(&change).is_ok_and(|next| !self.is_tolerable(next.charter(), None)) {
            return;
        }
        self.counters.changes_asked += 1;
        self.operators.tickets += 1;
        let ticket = self.operators.tickets;
        self.operators.asked.push(Asked { ticket, change: change.clone(), is_rival });
        self.trace_site(index, || format!("is asked in {view} to {change}"));
        let request = ChangeRequest { view, change };
        self.act(index, |node, now| {
            node.with_leader(now.boot, |leader, out| {
                leader.handle_change(now.boot, ticket, &request, out);
            });
        });
    }

    /// An operator is told what became of what it asked for.
    pub(super) fn change_answered(&mut self, index: NodeIndex, ticket: u64, verdict: &Verdict) {
        self.trace_site(index, || format!("change {ticket}: {verdict}"));
        let asked = self.operators.asked.iter().position(|asked| asked.ticket == ticket);
        let Some(asked) = asked.map(|position| self.operators.asked.swap_remove(position)) else {
            let id = self.sites[index].id;
            let sentence = format!("{id} answers change {ticket}, which nobody waits for");
            return self.violate("one answer", &[id], sentence);
        };
        match verdict {
            Verdict::Decided(view) => self.change_decided(index, *view, &asked.change),
            Verdict::Unknown => self.counters.changes_unknown += 1,
            Verdict::Refused(refusal) => {
                self.counters.changes_refused += 1;
                let in_flight = matches!(refusal, Refusal::ChangeInFlight);
                self.counters.rival_refused += u64::from(asked.is_rival && in_flight);
                let reused = matches!(refusal, Refusal::IdReused { .. });
                self.counters.id_reuse_refused += u64::from(reused);
                let never_met = matches!(refusal, Refusal::NeverMet { .. });
                self.counters.never_met_refused += u64::from(never_met);
            }
        }
    }

    fn change_decided(&mut self, index: NodeIndex, _view: View, change: &Change) {
        let membership = self.checks.views.newest().clone();
        let asked = self.sites[index].id;
        match change {
            Change::AddObserver { .. } => self.counters.node_added += 1,
            Change::Promote { .. } => self.counters.node_promoted += 1,
            Change::Readdress { .. } => self.counters.readdressed += 1,
            Change::Remove { node } => {
                let is_down = self.sites[Self::index_of(*node)].process.is_none();
                self.counters.node_removed += 1;
                self.counters.removed_dead += u64::from(is_down);
                self.counters.removed_master += u64::from(*node == asked);
            }
            Change::SetVoters { voters } => {
                let new = voters.iter().filter(|&&node| !membership.is_voter(node)).count();
                self.operators.replacing = 0;
                self.counters.replaced_one += u64::from(new == 1);
                self.counters.replaced_two += u64::from(new > 1);
            }
        }
    }

    /// A new membership came into force.
    pub(super) fn entered(&mut self, membership: &Membership) {
        self.counters.membership_steps += 1;
        if !membership.is_transitional() {
            let voters = membership.voters().len();
            self.counters.grown_to_seven += u64::from(voters == VOTERS_WANTED_MAX);
            self.counters.shrunk_to_one += u64::from(voters == 1);
        }
    }

    /// A node is told that it was removed. It goes on answering peers, who may know of it only from
    /// there; once they do its machine may go.
    pub(super) fn retired(&mut self, index: NodeIndex) {
        self.counters.retired += 1;
        self.trace_site(index, || String::from("is retired"));
        if !self.random.chance(self.weather.changes.exits) {
            return;
        }
        self.kill(index, false);
        if self.is_known_to_majority() {
            self.lose(index, "it was removed");
        } else {
            self.start_later(index, 1000 * MILLISECOND);
        }
    }

    /// Whether those who know the newest membership can go on without anybody else.
    fn is_known_to_majority(&self) -> bool {
        let newest = self.checks.views.newest();
        let knows = |node: NodeId| self.checks.lower_views.view_of(node) == Some(newest.view());
        may_elect(newest, knows)
    }

    /// Whether a node never comes back, or only as somebody else.
    fn is_lost_for_ever(&self, node: NodeId) -> bool {
        let site = &self.sites[Self::index_of(node)];
        site.lost.is_some() || site.is_replaced
    }

    /// Whether everybody may go on without this node: in the membership in force and in each that
    /// may follow it those that never come back stay a minority.
    fn may_be_lost(&self, node: NodeId) -> bool {
        let views = &self.checks.views;
        !self.is_lost_for_ever(node)
            && self.is_known_to_majority()
            && self.is_tolerable(views.newest().charter(), Some(node))
            && views.open().all(|charter| self.is_tolerable(charter, Some(node)))
    }

    fn is_tolerable(&self, charter: &Charter, besides: Option<NodeId>) -> bool {
        let tolerates = |nodes: Vec<NodeId>| {
            let lost = |node: &NodeId| Some(*node) == besides || self.is_lost_for_ever(*node);
            2 * nodes.iter().filter(|node| lost(node)).count() < nodes.len()
        };
        let members = charter.members.iter();
        let voters = members.clone().filter(|it| it.seat == Seat::Voter).map(|it| it.node);
        let before: Vec<NodeId> = members.filter(|it| it.voted).map(|it| it.node).collect();
        tolerates(voters.collect()) && (before.is_empty() || tolerates(before))
    }

    /// Whether a node is part of the membership in force.
    pub(super) fn is_member(&self, index: NodeIndex) -> bool {
        self.checks.views.newest().is_member(self.sites[index].id)
    }

    /// The incarnation under which the members know a node, if one is on record.
    pub(super) fn recorded_incarnation(&self, index: NodeIndex, of: NodeId) -> Option<Incarnation> {
        let process = self.sites[index].process.as_ref()?;
        process.node.acceptor.membership().member(of)?.incarnation
    }
}
