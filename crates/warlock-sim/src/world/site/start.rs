//! How processes begin and end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use warlock_node::{
    Host, HostOptions, LogUse, Machine, Overview, PeerFacts, Recovery, RecoveryOptions, Shared,
    SnapshotDesk,
};
use warlock_paxos::{
    Acceptor, Incarnation, Leader, Membership, Node, NodeId, NodeState, Replica, Span, Timing,
};
use warlock_wal::{FaultyDisk, Outcome};

use super::super::World;
use super::super::queue::{Event, NodeIndex};
use super::super::weather::MILLISECOND;
use super::Process;
use super::front::Front;

/// Parts of a simulated state machine: several, so that commands touch more than one of them, and
/// no more, because a process begins with making them.
const SHARDS: usize = 16;

/// The name of every simulated cluster.
const CLUSTER: &str = "sim";

impl World {
    /// The spans of the protocol: the defaults, which is what runs.
    pub(in super::super) const TIMING: Timing = Timing::DEFAULT;

    /// Starts the process of a node: it recovers what its disk holds.
    pub(in super::super) fn start(&mut self, index: NodeIndex) {
        let (time, node) = (self.time, self.sites[index].id);
        self.sites[index].is_starting = false;
        if self.sites[index].process.is_some() || self.sites[index].lost.is_some() {
            return;
        }
        self.counters.starts += 1;
        let crash = !self.is_calm && self.random.rarely(self.weather.crash_in_recovery);
        let (entropy, steps) = (self.random.bits(), self.random.between(1, 24));
        let incarnation = self.new_incarnation();
        let site = &mut self.sites[index];
        if crash {
            site.disk.crash_at(site.disk.steps() + steps);
        }
        let options = RecoveryOptions {
            cluster: CLUSTER,
            node,
            segment_bytes: self.weather.segment_bytes,
            shards: SHARDS,
            incarnation,
            entropy,
            crew: |work| work(),
        };
        let forgets = site.forgets.take();
        let forget = |below| Recovery::forget(site.disk.clone(), &options, below);
        let forgotten = forgets.map_or(Ok(false), forget);
        let recovered = forgotten.and_then(|_| Recovery::run(site.disk.clone(), &options));
        if forgets.is_some() {
            let id = site.id;
            self.checks.immutability.observe_forgotten(id);
        }
        let site = &mut self.sites[index];
        if site.disk.is_crashed() {
            self.counters.crash_in_recovery += 1;
            self.trace_site(index, || String::from("loses power while it recovers"));
            self.reboot(index, true);
            self.start_later(index, 200 * MILLISECOND);
            return;
        }
        site.disk.crash_at(u64::MAX);
        match recovered {
            Ok(recovery) => {
                site.start += 1;
                site.timer_at = u64::MAX;
                site.paused_until = time;
                self.run_process(index, recovery);
            }
            Err(reason) => self.refused_to_start(index, &reason),
        }
    }

    fn run_process(&mut self, index: NodeIndex, recovery: Recovery<FaultyDisk>) {
        let now = self.now(index).boot;
        let node = self.sites[index].id;
        let membership = self.first_membership(index, recovery.membership.as_ref());
        self.observe_restart(index, &recovery.roles, recovery.recorded);
        self.observe_view(index, &membership, recovery.incarnation);
        let admitted = membership.admits(node, recovery.incarnation);
        self.counters.retired_start += u64::from(recovery.membership.is_some() && !admitted);
        let members = self.members();
        let overview = overview(node, &membership, members);
        let Recovery {
            wal, snapshots, applier, reader, roles, log_time, log_start, identity, ..
        } = recovery;
        self.sites[index].incarnation = identity.incarnation();
        self.sites[index].trust.lost_power = false;
        let shared = Arc::new(Shared::new(reader, overview.status(now, roles.leader.applied)));
        let options = HostOptions {
            node,
            request_timeout: Span::from_nanos(self.weather.request_timeout),
            snapshot_after_bytes: self.weather.snapshot_after,
            log_start,
            overview,
        };
        let machine = Machine::new(applier, log_time, 1);
        let (applied, log_bytes) = (roles.leader.applied, roles.log_bytes());
        let host = Host::new(options, Arc::clone(&shared), machine, applied, log_bytes);
        let ballot = roles.leader.ballot;
        let mut replica = Replica::new(node, Self::TIMING, roles.replica);
        replica.note_log_start(log_start);
        replica.limit_log(self.weather.log_kept, 16 * self.weather.log_kept);
        let state = NodeState {
            acceptor: Acceptor::new(node, membership.clone(), Self::TIMING, roles.acceptor, now),
            leader: Leader::new(node, membership, Self::TIMING, roles.leader, now),
            replica,
        };
        let mut started = Node::new(node, state, now);
        for (met, incarnation) in identity.peers().chain([(node, identity.incarnation())]) {
            started.leader.note_member(met, String::new(), Some(incarnation));
        }
        self.sites[index].process = Some(Box::new(Process {
            node: started,
            front: Front::new(Arc::clone(&shared), node.number(), now),
            host,
            shared,
            wal,
            desk: SnapshotDesk::new(snapshots),
            identity,
            log: VecDeque::new(),
            syncing: Vec::new(),
            syncing_since: self.time,
            master: (None, self.time),
            desk_at: None,
            ballot,
            has_work: false,
            log_clock: None,
            reads: BTreeMap::new(),
            serves: None,
        }));
        self.trace_site(index, || String::from("starts"));
        self.observe_zombie(index, admitted);
        self.observe_started(index);
        self.settle(index);
        if let Some(process) = &mut self.sites[index].process {
            process.host.handle_recovered(now);
        }
        self.connect_all(index);
    }

    /// What a node starts from: what its disk knows, else the settings of a founder, else nothing.
    fn first_membership(&self, index: NodeIndex, known: Option<&Membership>) -> Membership {
        let settings = || match index < self.weather.nodes {
            true => Self::founded(self.weather.nodes),
            false => Membership::unknown(),
        };
        known.cloned().unwrap_or_else(settings)
    }

    /// A node that runs dials all others, and does what it does every tenth of a second.
    fn connect_all(&mut self, index: NodeIndex) {
        let start = self.sites[index].start;
        for other in 0..self.sites.len() {
            if other != index {
                let link = self.network.link(index, other);
                self.network.links[link].close();
                self.network.links[link].retry = 0;
                let at = self.time + self.random.below(5 * MILLISECOND);
                self.queue.push(at, Event::Dial { link, start });
            }
        }
        self.queue.push(self.time, Event::Tick { node: index, start });
    }

    /// What a node does every tenth of a second.
    pub(in super::super) fn tick(&mut self, index: NodeIndex) {
        let now = self.now(index).boot;
        let start = self.sites[index].start;
        let Some(process) = &mut self.sites[index].process else { return };
        let log = LogUse { written: process.wal.stats().bytes_written, held: process.wal.bytes() };
        let mut effects = Vec::new();
        process.host.handle_tick(now, log, process.ballot, &mut effects);
        self.carry_out_host(index, effects);
        self.settle(index);
        let at = self.time + warlock_node::TICK.nanos();
        self.queue.push(at, Event::Tick { node: index, start });
    }

    /// Starts a node within `span` nanoseconds.
    pub(in super::super) fn start_later(&mut self, index: NodeIndex, span: u64) {
        let at = self.time + self.random.between(MILLISECOND, span.max(2 * MILLISECOND));
        let site = &mut self.sites[index];
        if !site.is_starting && site.lost.is_none() {
            site.is_starting = true;
            self.queue.push(at, Event::Start { node: index });
        }
    }

    /// Ends a process at once, between two steps of its disk if it is at work. With `power`, the
    /// machine loses power with it; what was not synced may be lost.
    pub(in super::super) fn kill(&mut self, index: NodeIndex, power: bool) {
        if self.sites[index].process.is_none() {
            return;
        }
        if self.random.chance(700) && self.crash_in_io(index) {
            self.counters.crash_in_io += 1;
        }
        self.end(index, power);
        self.reboot(index, power);
    }

    /// The process is gone: its connections break, and nobody remembers what it had in memory.
    pub(super) fn end(&mut self, index: NodeIndex, power: bool) {
        self.observe_end(index);
        self.trace_site(index, || String::from(if power { "loses power" } else { "ends" }));
        let Some(process) = self.sites[index].process.take() else { return };
        let clients = process.front.clients();
        drop(process);
        let site = &mut self.sites[index];
        site.start += 1;
        site.timer_at = u64::MAX;
        site.paused_until = self.time;
        site.stalled_until = self.time;
        site.clock.thaw(self.time);
        for event in std::mem::take(&mut site.deferred) {
            self.queue.push(self.time, event);
        }
        for other in 0..self.sites.len() {
            if other == index {
                continue;
            }
            let own = self.network.link(index, other);
            self.network.links[own].close();
            // A killed process says goodbye through its system, a machine without power does not.
            let silence = if power { self.random.between(1, 2000) } else { 1 };
            let theirs = self.network.link(other, index);
            self.break_at(theirs, self.time + silence * MILLISECOND);
        }
        for (client, connection) in clients {
            let silence = if power { self.random.between(1, 500) } else { 1 };
            let at = self.time + silence * MILLISECOND;
            self.queue.push(at, Event::ClientClosed { client, connection });
        }
    }

    /// What the disk holds after a process or its machine went down.
    fn reboot(&mut self, index: NodeIndex, power: bool) {
        let outcome = match power {
            true => self.random.pick(&[Outcome::Lost, Outcome::Torn, Outcome::Reordered]),
            false => Outcome::Kept,
        };
        let site = &mut self.sites[index];
        let amnesia = power && (site.trust.is_lying || site.trust.lied);
        let outcome = if site.is_hurt_at_the_end() && power { Outcome::Kept } else { outcome };
        match outcome {
            Outcome::Kept => {}
            Outcome::Lost => self.counters.disk_lost += 1,
            Outcome::Torn | Outcome::Reordered => self.counters.disk_torn += 1,
        }
        site.disk = site.disk.restart(outcome);
        site.trust.is_lying = false;
        site.trust.lost_power |= outcome != Outcome::Kept;
        if power {
            site.clock.reboot(self.time, &mut self.random);
        }
        if amnesia {
            // The disk said "synced" and forgot: no reader can tell (the log ends cleanly, only
            // earlier), and a promise may be gone. The rule for such a node is P7, a new member
            // in its place; here it stays down.
            self.lose(index, "its disk lied about a sync and then lost power");
        }
    }

    /// A node that may never vote again.
    pub(in super::super) fn lose(&mut self, index: NodeIndex, reason: &'static str) {
        self.trace_site(index, || format!("is lost: {reason}"));
        self.sites[index].lost = Some(reason);
    }

    /// The log could not be written: the node stops itself (P8), and is started again later.
    pub(in super::super) fn stop_by_disk(&mut self, index: NodeIndex) {
        self.counters.stopped_by_disk += 1;
        self.trace_site(index, || String::from("stops: its log cannot be written"));
        self.end(index, false);
        // What a failed sync left in caches would pretend to be durable: its machine is rebooted.
        self.reboot(index, true);
        self.start_later(index, 500 * MILLISECOND);
    }

    fn refused_to_start(&mut self, index: NodeIndex, reason: &str) {
        self.counters.refused_start += 1;
        self.trace_site(index, || format!("refuses to start: {reason}"));
        if self.sites[index].is_unreliable {
            self.lose(index, "it found its disk damaged");
        } else if self.is_calm {
            self.refusal_without_reason(index, reason);
        } else {
            // A full or failing disk: it works again after a while.
            self.reboot(index, true);
            self.start_later(index, 500 * MILLISECOND);
        }
    }

    /// All nodes with addresses, which nothing uses.
    fn members(&self) -> BTreeMap<NodeId, String> {
        self.sites.iter().map(|site| (site.id, site.name.clone())).collect()
    }

    /// A number that no other data directory has.
    pub(in super::super) fn new_incarnation(&mut self) -> Incarnation {
        let (high, low) = (self.random.bits(), self.random.bits());
        Incarnation::new(u128::from(high) << 64 | u128::from(low))
    }
}

fn overview(
    node: NodeId,
    membership: &Membership,
    addresses: BTreeMap<NodeId, String>,
) -> Overview {
    let own = PeerFacts { version: String::from("sim"), client_addr: String::new() };
    let patience = World::TIMING.patience();
    Overview::new(node, CLUSTER.to_owned(), membership, addresses, own, patience)
}
