//! Carries out what roles and host of a node want, until nothing is left to do at this moment.

use warlock_node::{Effect, Fatal};
use warlock_paxos::{Event as RoleEvent, Node, NodeEffect, NodeId, Notice, PValue, Record};

use super::super::World;
use super::super::queue::{Event, NodeIndex};
use super::log::LogOp;

/// Local deliveries at one moment, after which something is wrong.
const DELIVERIES_MAX: u32 = 100_000;

impl World {
    /// Delivers what waits in the mailboxes, in any order, and carries out all effects. Now and
    /// then the rest comes a bit later, as tasks on a busy machine.
    pub(in super::super) fn settle(&mut self, index: NodeIndex) {
        for _ in 0..DELIVERIES_MAX {
            self.carry_out(index);
            let step = self.weather.step;
            let late = step > 0 && self.random.chance(120);
            let now = self.now(index);
            let Some(process) = &mut self.sites[index].process else { return };
            if late && process.node.has_waiting() {
                if !process.has_work {
                    process.has_work = true;
                    let at = self.time + self.random.between(1, step);
                    let start = self.sites[index].start;
                    self.queue.push(at, Event::Work { node: index, start });
                }
                break;
            }
            let choice = self.random.index(16);
            if !process.node.deliver(now.boot, now.wall, choice) {
                break;
            }
        }
        self.check_node(index);
        self.arm_timer(index);
    }

    /// Goes on with what the mailboxes hold.
    pub(in super::super) fn work(&mut self, index: NodeIndex) {
        if let Some(process) = &mut self.sites[index].process {
            process.has_work = false;
        }
        self.settle(index);
    }

    /// Wakes the roles of which something is due.
    pub(in super::super) fn timer(&mut self, index: NodeIndex) {
        if self.sites[index].timer_at != self.time {
            return;
        }
        self.sites[index].timer_at = u64::MAX;
        let now = self.now(index);
        let Some(process) = &mut self.sites[index].process else { return };
        if process.node.next_timeout().is_some_and(|at| at <= now.boot) {
            process.node.handle_timeout(now.boot, now.wall);
            self.settle(index);
        } else {
            self.arm_timer(index);
        }
    }

    /// Sees to it that the node is woken when something is due next.
    pub(in super::super) fn arm_timer(&mut self, index: NodeIndex) {
        let time = self.time;
        let site = &mut self.sites[index];
        let Some(process) = &site.process else { return };
        let Some(due) = process.node.next_timeout() else { return };
        let at = site.clock.when(due).max(time).max(site.paused_until).max(site.timers_after);
        if at < site.timer_at {
            site.timer_at = at;
            self.queue.push(at, Event::Timer { node: index });
        }
    }

    fn carry_out(&mut self, index: NodeIndex) {
        loop {
            let Some(process) = &mut self.sites[index].process else { return };
            let effects = process.node.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    NodeEffect::Send { to, message } => self.send(index, to, &message),
                    NodeEffect::Persist { record, then } => {
                        self.write_log(index, LogOp::Persist { record, then });
                    }
                    NodeEffect::Notify(notice) => self.notice(index, notice),
                }
                if self.sites[index].process.is_none() {
                    return;
                }
            }
        }
    }

    fn notice(&mut self, index: NodeIndex, notice: Notice) {
        self.observe_notice(index, &notice);
        if let Notice::LogClock(time, at) = notice {
            self.observe_log_time(index, time, at);
        }
        if let Notice::ChangeAnswered { ticket, verdict } = &notice {
            self.change_answered(index, *ticket, verdict);
        }
        let is_retired = matches!(notice, Notice::Retired);
        let now = self.now(index);
        let Some(process) = &mut self.sites[index].process else { return };
        if let Notice::Serve(end) = &notice {
            process.serves = *end;
        }
        let began = matches!(notice, Notice::Log(RoleEvent::Scouting(_)));
        let leads = matches!(notice, Notice::Log(RoleEvent::LeaseHeld(_)));
        self.counters.elections += u64::from(began);
        self.counters.masterships += u64::from(leads);
        let applied = if let Notice::Apply { slot, .. } = &notice { Some(*slot) } else { None };
        let mut effects = Vec::new();
        process.host.handle_notice(now.boot, notice, &mut effects);
        if let Some(slot) = applied {
            self.observe_applied(index, slot);
        }
        self.carry_out_host(index, effects);
        if is_retired {
            self.retired(index);
        }
    }

    /// Carries out what the host wants done.
    pub(in super::super) fn carry_out_host(&mut self, index: NodeIndex, effects: Vec<Effect>) {
        for effect in effects {
            let now = self.now(index).boot;
            let Some(process) = &mut self.sites[index].process else { return };
            let node = &mut process.node;
            match effect {
                Effect::Answer { answer, .. } => self.answer(index, answer),
                Effect::Submit { ticket, commands, deadline } => node.with_replica(|it, out| {
                    it.handle_submit(now, ticket, commands, deadline, out);
                }),
                Effect::Read { ticket, deadline } => {
                    process.reads.insert(ticket, self.checks.acknowledged.end());
                    node.with_replica(|it, out| it.handle_read(now, ticket, deadline, out));
                }
                Effect::Expiry(deadline) => node.leader.note_deadline(deadline),
                Effect::Digest(slot, digest) => {
                    node.leader.note_digest(slot, digest);
                    node.replica.note_digest(slot, digest);
                }
                Effect::Snapshot(job) => self.order(index, job),
                Effect::Stored(slot) => {
                    self.counters.snapshots += 1;
                    node.replica.note_snapshot(slot);
                }
                Effect::Truncate(slot) => {
                    node.replica.note_log_start(slot);
                    self.write_log(index, LogOp::Truncate(slot));
                }
                Effect::Written(slot, end) => node.with_replica(|it, out| {
                    it.handle_snapshot_written(slot, end, out);
                }),
                Effect::LogRead { to, from, batches } => {
                    self.counters.log_reads += u64::from(!batches.is_empty());
                    node.with_replica(|it, out| it.handle_log_read(to, from, batches, out));
                }
                Effect::Installed { slot, log_time } => {
                    self.counters.snapshots_installed += 1;
                    node.with_replica(|it, out| {
                        it.handle_snapshot_installed(now, slot, log_time, out);
                    });
                    self.observe_installed(index, slot);
                }
                Effect::Refused => node.replica.handle_snapshot_refused(),
                Effect::SendChunk { to, chunk } => {
                    self.send(index, to, &warlock_paxos::Message::SnapshotChunk(chunk));
                }
                Effect::Fatal(Fatal::Diverged(slot)) => self.diverged(index, slot),
                Effect::Fatal(Fatal::Retired | Fatal::NotAdmitted(_) | Fatal::Reset(_)) => {}
                Effect::Fatal(Fatal::Disk(_)) => self.stop_by_disk(index),
                Effect::Reset(below) => self.reset_node(index, below),
                Effect::Members(_) => self.part_with_impostors(index),
                // Operators of simulated clusters speak with the leader itself.
                Effect::Change { .. }
                | Effect::Transfer(_)
                | Effect::Join { .. }
                | Effect::Joined(..)
                | Effect::Retired(_)
                | Effect::HandedOver => {}
            }
        }
    }

    /// Takes note of the ballot in a record that is about to be written.
    pub(super) fn note_ballot(&mut self, index: NodeIndex, record: &Record) {
        let Some(process) = &mut self.sites[index].process else { return };
        if let Record::Promise { ballot } | Record::Accept(PValue { ballot, .. }) = record {
            process.ballot = process.ballot.max(*ballot);
        }
    }

    /// Tells the roles that a connection with a peer is gone.
    pub(in super::super) fn peer_down(&mut self, index: NodeIndex, peer: NodeId) {
        let now = self.now(index).boot;
        if let Some(process) = &mut self.sites[index].process {
            process.host.note_peer(now, peer, None);
        }
        self.act(index, |node: &mut Node, now| {
            node.with_leader(now.boot, |leader, out| leader.handle_peer_down(now.boot, peer, out));
            node.replica.handle_peer_down(peer);
        });
    }
}
