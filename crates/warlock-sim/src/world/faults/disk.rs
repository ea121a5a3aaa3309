//! Faults of disks.
//!
//! Those that any disk may have stop the node or slow it down: errors, no space, stalls. Those that
//! break promises strike only the minority of nodes that are unreliable in this run, because what
//! such a disk acknowledged may be gone. Even there some would be invisible to any program that
//! reads the disk, and then nothing but another member in the place of the node helps (P7), which
//! needs changes of membership. These cases are kept out as follows:
//!
//! - A lie about a sync is found only if something behind it is there. So a machine that lied and
//!   lost power stays down; one that lied and went on is tested.
//! - One damaged place is always seen, because the mark of a frame and its seal are on different
//!   pages. Damage to both could look like a clean, earlier end, and so could damage to a frame
//!   whose seal a power loss took. So a disk is damaged in one place at a time, and syncs again
//!   before it is damaged anew or loses power; after a power loss it starts before it is damaged.
//! - An older copy of the *same* directory has the incarnation that peers know. So the older image
//!   that is restored is one of an earlier life of the node, under another incarnation.
//! - Peers refuse another incarnation only if they met the first or it is on record. So a directory
//!   is lost only after all founders met it; newcomers vote only beside nodes that are on record.

use warlock_wal::{Disk, Failure, FaultyDisk, Identity, Wal, WalOptions};

use super::super::World;
use super::super::queue::{Event, Mend, NodeIndex};
use super::super::weather::MILLISECOND;

/// Written sectors at the end of a file that are its newest: some frames of a log.
const SECTORS_RECENT: usize = 40;

impl World {
    /// Makes one of the next steps fail.
    pub(super) fn fail_disk(&mut self, index: NodeIndex) {
        let ahead = self.random.between(1, 12);
        // A sync that fails loses the seal of the frame before too.
        if self.sites[index].is_hurt_at_the_end() {
            return;
        }
        self.counters.disk_error += 1;
        let disk = &self.sites[index].disk;
        disk.fail_at(disk.steps() + ahead, Failure::Io);
    }

    /// Leaves no space for a while.
    pub(super) fn fill_disk(&mut self, index: NodeIndex) {
        self.counters.disk_full += 1;
        self.sites[index].disk.set_full(true);
        let at = self.time + self.random.between(10, 3000) * MILLISECOND;
        self.queue.push(at, Event::Mend(Mend::Disk(index)));
    }

    /// Lets nothing become durable for up to half a minute.
    pub(super) fn stall_disk(&mut self, index: NodeIndex) {
        self.counters.disk_stall += 1;
        // More often than not that of the master, whose clients wait for it.
        let serving = self.serving().filter(|_| self.random.chance(600));
        let index = serving.unwrap_or(index);
        let longest = self.random.pick(&[100, 1_000, 5_000, 30_000]);
        let span = self.random.between(10, longest) * MILLISECOND;
        self.trace_site(index, || format!("has a disk that stalls {} ms", span / MILLISECOND));
        let site = &mut self.sites[index];
        site.stalled_until = site.stalled_until.max(self.time + span);
    }

    /// Lets a disk say "synced" without doing it, for a while.
    pub(super) fn let_disk_lie(&mut self, index: NodeIndex) {
        let site = &mut self.sites[index];
        if !site.is_unreliable || site.process.is_none() {
            return;
        }
        self.counters.disk_lie += 1;
        site.disk.set_lying(true);
        site.trust.is_lying = true;
        site.trust.lied = true;
        let at = self.time + self.random.between(10, 2000) * MILLISECOND;
        self.queue.push(at, Event::Mend(Mend::Honest(index)));
    }

    /// A disk keeps its word again. What it has only in its cache stays there until the process
    /// that wrote it is gone: nobody asks for it a second time.
    pub(super) fn end_lie(&mut self, index: NodeIndex) {
        let site = &mut self.sites[index];
        site.disk.set_lying(false);
        site.trust.is_lying = false;
    }

    /// Has one of the next writes reach another place of its file, or none.
    pub(super) fn misdirect(&mut self, index: NodeIndex) {
        let index = self.unreliable(index);
        if !self.may_damage(index) || self.sites[index].process.is_none() {
            return;
        }
        self.counters.disk_misdirected += 1;
        let pages = self.random.between(1, 6);
        let failure = match self.random.chance(700) {
            true => Failure::MisdirectedWrite(pages * 4096),
            false => Failure::LostWrite,
        };
        let ahead = self.random.between(1, 6);
        let site = &mut self.sites[index];
        // An error that was to come could hide this, as one that is drawn later.
        site.disk.forget_failures();
        site.disk.fail_at(site.disk.steps() + ahead, failure);
        site.trust.syncs_since_damage = 0;
    }

    /// Damages one place of one file while the process is down: a bit, a sector or a page.
    pub(super) fn rot(&mut self, index: NodeIndex) {
        let index = self.unreliable(index);
        if !self.may_damage(index) || self.sites[index].lost.is_some() {
            return;
        }
        self.kill(index, false);
        let names = self.sites[index].disk.list().unwrap_or_default();
        if !names.is_empty() {
            // The newest segment of the log has the last name.
            let newest = self.random.chance(400);
            let chosen = if newest { names.len() - 1 } else { self.random.index(names.len()) };
            let name = names[chosen].clone();
            self.damage(index, &name);
        }
        self.start_later(index, 800 * MILLISECOND);
    }

    fn damage(&mut self, index: NodeIndex, name: &str) {
        let content = self.sites[index].disk.medium(name).unwrap_or_default();
        let length = content.len() as u64;
        if length == 0 {
            return;
        }
        let (at, kind) = (self.place_in(&content), self.random.below(3));
        let site = &mut self.sites[index];
        site.trust.syncs_since_damage = 0;
        if kind == 0 {
            self.counters.disk_rot += 1;
            site.disk.flip_bit(name, at * 8 + at % 8);
        } else {
            let unit = if kind == 1 { 512 } else { 4096 };
            let start = at / unit * unit;
            let count = unit.min(length - start);
            self.counters.disk_zeroed += 1;
            site.disk.zero(name, start, count);
        }
        let name = name.to_owned();
        self.trace_site(index, || format!("has damage in {name} at {at} of {length}"));
    }

    /// A node whose disk may break its promises, if there is one: `index` or another.
    fn unreliable(&mut self, index: NodeIndex) -> NodeIndex {
        let sites = self.sites.iter().enumerate();
        let unreliable: Vec<NodeIndex> =
            sites.filter(|(_, site)| site.is_unreliable).map(|(index, _)| index).collect();
        match self.sites[index].is_unreliable || unreliable.is_empty() {
            true => index,
            false => self.random.pick(&unreliable),
        }
    }

    /// A place in a file that is not empty: mostly where something is written, as most of a log is
    /// room for what is to come, and often where it was written last, as older slots are decided
    /// everywhere.
    fn place_in(&mut self, content: &[u8]) -> u64 {
        let sectors = content.chunks(512).enumerate();
        let written: Vec<u64> = sectors
            .filter(|(_, sector)| sector.iter().any(|byte| *byte != 0))
            .map(|(number, _)| number as u64)
            .collect();
        let length = content.len() as u64;
        if written.is_empty() || self.random.chance(200) {
            return self.random.below(length);
        }
        let recent = match self.random.chance(500) {
            true => &written[written.len().saturating_sub(SECTORS_RECENT)..],
            false => &written[..],
        };
        let sector = recent[self.random.index(recent.len())];
        (sector * 512 + self.random.below(512)).min(length - 1)
    }

    /// Takes the data directory of an unreliable disk away, if that is noticed.
    pub(super) fn wipe_unreliable(&mut self, index: NodeIndex) {
        if self.sites[index].is_unreliable && self.would_be_found_wiped(index) {
            self.wipe(index);
        }
    }

    /// Takes a data directory away: the node comes back under another incarnation.
    pub(in super::super) fn wipe(&mut self, index: NodeIndex) {
        self.counters.disk_wiped += 1;
        self.trace_site(index, || String::from("has lost its data directory"));
        self.replace_disk(index, FaultyDisk::new);
    }

    /// Puts an older data directory in the place of the present one.
    pub(super) fn restore_old_image(&mut self, index: NodeIndex) {
        if !self.sites[index].is_unreliable || !self.would_be_found_wiped(index) {
            return;
        }
        self.counters.disk_old_image += 1;
        let (id, incarnation) = (self.sites[index].id, self.new_incarnation());
        let old = FaultyDisk::new(self.random.bits());
        let made =
            Identity::create(old.clone(), "sim", id, incarnation).and_then(|mut identity| {
                let options = WalOptions::default();
                let opened = Wal::open(old.clone(), options).is_ok();
                assert!(opened, "a sound and empty disk takes a log");
                identity.count_start()
            });
        assert!(made.is_ok(), "a sound and empty disk takes an identity");
        self.trace_site(index, || String::from("gets the data directory of an earlier life"));
        let image = old.image();
        self.replace_disk(index, |seed| FaultyDisk::from_image(&image, seed));
    }

    fn replace_disk(&mut self, index: NodeIndex, disk: impl FnOnce(u64) -> FaultyDisk) {
        self.kill(index, false);
        let seed = self.random.bits();
        let site = &mut self.sites[index];
        site.disk = disk(seed);
        site.is_replaced = true;
        let id = site.id;
        self.checks.ballots.observe_wiped(id);
        self.checks.accepts.observe_wiped(id);
        self.checks.immutability.observe_wiped(id);
        self.checks.lower_views.observe_wiped(id);
        self.checks.held.observe_wiped(id);
        self.start_later(index, 800 * MILLISECOND);
    }

    /// Whether losing the directory is noticed: the other founders have met its incarnation, and
    /// those that would take any are not enough to found the cluster anew.
    pub(in super::super) fn would_be_found_wiped(&self, index: NodeIndex) -> bool {
        let site = &self.sites[index];
        let Some(own) = site.process.as_ref().map(|process| process.identity.incarnation()) else {
            return false;
        };
        let founders = &self.sites[..self.weather.nodes];
        let met = founders.iter().filter(|other| other.id != site.id).all(|other| {
            other.process.as_ref().is_some_and(|it| it.identity.peer(site.id) == Some(own))
        });
        let wiped = founders.iter().filter(|founder| founder.is_replaced).count();
        !site.is_replaced && met && 2 * (wiped + 1) <= founders.len()
    }

    /// Whether damage would be the only one near the end of the log.
    fn may_damage(&self, index: NodeIndex) -> bool {
        let site = &self.sites[index];
        let trust = &site.trust;
        site.is_unreliable && !trust.lost_power && !site.is_hurt_at_the_end()
    }
}
