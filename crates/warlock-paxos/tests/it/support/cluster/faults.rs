//! What goes wrong in a run.

use warlock_paxos::NodeId;

use super::{Cluster, Event, MILLISECOND, next_slot};
use crate::support::disk::Image;

impl Cluster {
    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let every = self.weather.fault_every;
        let delay = self.random.between(1, 2 * every);
        self.schedule(delay, Event::Fault);
        let index = self.random.index(self.hosts.len());
        match self.random.below(16) {
            0..=3 => self.crash(index, true),
            4 => (0..self.hosts.len()).for_each(|index| self.crash(index, false)),
            5 | 6 => {
                let pause = self.random.between(1, 1500) * MILLISECOND;
                self.hosts[index].paused_until = self.time + pause;
            }
            7 => self.hosts[index].sync_max = self.random.between(1, 900) * MILLISECOND,
            8 => self.partition_halves(),
            9 => self.partition_links(),
            10..=12 => self.blocked.clear(),
            13 => self.image(index),
            14 => self.leave(index),
            _ => {
                let choice = self.random.index(self.hosts.len());
                self.peer_down(index, self.hosts[choice].id);
            }
        }
    }

    pub(super) fn partition_halves(&mut self) {
        let mask = self.random.bits();
        for a in &self.hosts {
            for b in &self.hosts {
                let cut = (mask >> a.id.number()) & 1 != (mask >> b.id.number()) & 1;
                if cut && a.id != b.id {
                    self.blocked.insert((a.id, b.id));
                }
            }
        }
    }

    pub(super) fn partition_links(&mut self) {
        for _ in 0..self.random.between(1, 6) {
            let (a, b) = (self.any_host(), self.any_host());
            if a != b {
                self.blocked.insert((a, b));
                if self.random.chance(600) {
                    self.blocked.insert((b, a));
                }
            }
        }
    }

    pub(super) fn crash(&mut self, index: usize, noticed: bool) {
        let unsynced = self.hosts[index].disk.unsynced() as u64;
        let kept = self.random.between(0, unsynced);
        let restart = self.time + self.random.between(1, 1500) * MILLISECOND;
        let host = &mut self.hosts[index];
        if host.node.take().is_none() {
            return;
        }
        let kept = if kept * 3 < unsynced { 0 } else { kept };
        host.disk.crash(usize::try_from(kept).expect("short"));
        host.syncing = false;
        host.serve = None;
        host.submitted.clear();
        host.reads.clear();
        host.leaving = false;
        host.installing = None;
        host.receiving.clear();
        host.paused_until = 0;
        host.restart_at = Some(restart);
        let id = host.id;
        self.note(|| format!("{id} crashes, {kept} of {unsynced} unsynced writes kept"));
        self.events.retain(|_, event| !matches!(event, Event::Sync(of) if *of == id));
        if id == self.victim && !self.weather.changes && self.random.chance(300) {
            let slot = self.hosts[index].disk.corrupt(&mut self.random);
            self.note(|| format!("{id} can no longer read {slot:?}"));
        }
        for other in 0..self.hosts.len() {
            if noticed && other != index && self.random.chance(500) {
                self.peer_down(other, id);
            }
        }
    }

    pub(super) fn peer_down(&mut self, index: usize, gone: NodeId) {
        if self.hosts[index].node.is_some() && self.hosts[index].id != gone {
            self.with(index, |node, now, _| {
                node.with_leader(now, |leader, out| leader.handle_peer_down(now, gone, out));
                node.replica.handle_peer_down(gone);
            });
        }
    }

    pub(super) fn leave(&mut self, index: usize) {
        if self.hosts[index].node.is_none() || self.time < self.hosts[index].paused_until {
            return;
        }
        let to = self.random.chance(300).then(|| self.any_host());
        self.hosts[index].leaving = true;
        self.with(index, |node, now, _| {
            node.with_leader(now, |leader, out| leader.handle_leave(now, to, out));
        });
    }

    pub(super) fn image(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let Some(node) = &mut host.node else { return };
        let image = Image { slot: next_slot(&host.machine), batches: host.machine.clone() };
        if image.slot > host.disk.image().slot {
            node.replica.note_snapshot(image.slot);
            host.disk.keep_image(image);
        }
    }
}
