//! What goes wrong, one thing after the other, as the weights of the run have it.
//!
//! Guarantees hold only within the fault model, so faults keep to it:
//!
//! - Crashes, pauses, partitions, slow or full disks, failing writes and clocks within their bound
//!   may strike every node, all at once.
//! - Disks that break promises (rot, lies, misdirected writes, lost directories) are confined to
//!   a minority, chosen when the run begins.
//! - A clock that is wrong beyond its bound, such as that of a frozen machine, may strike only a
//!   node that holds no lease and asks for none: see `freeze`.

mod disk;
mod network;
mod process;

use super::World;
use super::queue::{Event, Mend, NodeIndex};
use super::site::Site;

/// Lets something go wrong on a node, or near it.
type Strike = fn(&mut World, NodeIndex);

impl World {
    /// Has the next fault come after a while.
    pub(super) fn fault_later(&mut self) {
        let every = self.weather.fault_every;
        let at = self.time + self.random.around(every) + 1;
        self.queue.push(at, Event::Fault);
    }

    /// Something goes wrong.
    pub(super) fn fault(&mut self) {
        if self.is_calm {
            return;
        }
        self.fault_later();
        let index = self.random.index(self.sites.len());
        let weights = self.weather.weights;
        let faults: [(u64, Strike); 22] = [
            (weights.kill, Self::kill_process),
            (weights.power_loss, Self::lose_power),
            (weights.power_loss_of_all, Self::lose_power_everywhere),
            (weights.pause, Self::pause),
            (weights.freeze, Self::freeze),
            (weights.suspend, Self::suspend),
            (weights.leave, Self::leave),
            (weights.wipe, Self::wipe_unreliable),
            (weights.old_image, Self::restore_old_image),
            (weights.partition, Self::partition),
            (weights.clog, Self::clog),
            (weights.swizzle, Self::swizzle),
            (weights.one_way, Self::cut_one_way),
            (weights.reset, Self::reset_some),
            (weights.disk_error, Self::fail_disk),
            (weights.disk_full, Self::fill_disk),
            (weights.disk_stall, Self::stall_disk),
            (weights.disk_lie, Self::let_disk_lie),
            (weights.misdirect, Self::misdirect),
            (weights.rot, Self::rot),
            (weights.wall_step, Self::step_wall),
            (weights.clock_rate, Self::change_rate),
        ];
        let mut choice = self.random.below(faults.iter().map(|(weight, _)| weight).sum());
        for (weight, strike) in faults {
            if choice < weight {
                return strike(self, index);
            }
            choice -= weight;
        }
    }

    /// A node that may serve reads, if there is one.
    fn serving(&self) -> Option<NodeIndex> {
        let serves =
            |site: &Site| site.process.as_ref().is_some_and(|process| process.serves.is_some());
        self.sites.iter().position(serves)
    }

    /// A fault ends.
    pub(super) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Partition(number) if number == self.network.partition => self.end_partition(),
            Mend::Partition(_) => {}
            Mend::Wake(node) if self.sites[node].paused_until <= self.time => self.go_on(node),
            Mend::Wake(_) => {}
            Mend::Link(link) => self.unclog(link),
            Mend::ClogNode(node) => self.clog_node(node),
            Mend::UnclogNode(node) => self.unclog_node(node),
            Mend::Disk(node) => self.sites[node].disk.set_full(false),
            Mend::Honest(node) => self.end_lie(node),
        }
    }

    /// Ends every fault at once.
    pub(super) fn end_faults(&mut self) {
        self.end_partition();
        for link in 0..self.network.links.len() {
            self.network.links[link].clogs = 0;
            self.release(link);
        }
        for index in 0..self.sites.len() {
            self.end_lie(index);
            let (calm, time) = (super::weather::MILLISECOND, self.time);
            let site = &mut self.sites[index];
            site.disk.set_full(false);
            site.disk.forget_failures();
            site.sync = calm;
            site.stalled_until = site.stalled_until.min(time);
            self.sites[index].clock.thaw(time);
            self.go_on(index);
            self.finish_io(index);
        }
    }
}
