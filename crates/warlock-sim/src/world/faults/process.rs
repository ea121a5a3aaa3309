//! Faults of processes, machines and clocks.

use warlock_paxos::{NodeId, mutant};

use super::super::World;
use super::super::clock::TRUE_RATE;
use super::super::queue::{Event, Mend, NodeIndex};
use super::super::weather::{MICROSECOND, MILLISECOND};

/// Ten years in microseconds.
const TEN_YEARS: u64 = 10 * 366 * 86_400 * 1_000_000;

impl World {
    pub(super) fn kill_process(&mut self, index: NodeIndex) {
        if self.sites[index].process.is_some() {
            self.counters.kill += 1;
            self.kill(index, false);
            // Often so soon that what it granted still runs (L2).
            let soon = self.random.pick(&[10, 50, 1500]);
            self.start_later(index, soon * MILLISECOND);
        }
    }

    pub(super) fn lose_power(&mut self, index: NodeIndex) {
        if self.sites[index].process.is_some() {
            self.counters.power_loss += 1;
            self.kill(index, true);
            let soon = self.random.pick(&[50, 400, 2500]);
            self.start_later(index, soon * MILLISECOND);
        }
    }

    pub(super) fn lose_power_everywhere(&mut self, _index: NodeIndex) {
        for index in 0..self.sites.len() {
            self.lose_power(index);
        }
    }

    /// Stops a process for up to ten leases, as SIGSTOP does.
    pub(super) fn pause(&mut self, index: NodeIndex) {
        if self.sites[index].process.is_none() {
            return;
        }
        self.counters.pause += 1;
        let leases = self.random.pick(&[1, 5, 9, 10, 11, 20, 100]);
        let lease = Self::TIMING.lease().nanos();
        let span = self.random.between(lease / 100, lease * leases / 10);
        self.pause_for(index, span);
    }

    /// Suspends a machine: as a pause, but its disk stops with it, and its wall clock may be wrong
    /// when it wakes.
    pub(super) fn suspend(&mut self, index: NodeIndex) {
        if self.sites[index].process.is_none() {
            return;
        }
        self.counters.suspend += 1;
        let span = self.random.between(100, 8000) * MILLISECOND;
        let site = &mut self.sites[index];
        site.stalled_until = site.stalled_until.max(self.time + span);
        self.pause_for(index, span);
        if mutant!(StopsInSuspend) {
            let time = self.time;
            self.sites[index].clock.freeze(time, span);
        }
        self.sites[index].clock.step_wall(-i64::try_from(span / 1000).expect("short"));
    }

    fn pause_for(&mut self, index: NodeIndex, span: u64) {
        self.trace_site(index, || format!("pauses for {} ms", span / MILLISECOND));
        let site = &mut self.sites[index];
        site.paused_until = site.paused_until.max(self.time + span);
        self.go_on_later(index);
    }

    /// Lets a paused process go on: what came meanwhile is there, in its order.
    pub(in super::super) fn go_on(&mut self, index: NodeIndex) {
        let late = self.random.pick(&[0, 1, 100, 3_000]) * MICROSECOND;
        let site = &mut self.sites[index];
        site.paused_until = site.paused_until.min(self.time);
        site.timer_at = u64::MAX;
        site.timers_after = self.time + late;
        if let Some(process) = &mut site.process {
            process.syncing_since = self.time;
            process.master.1 = self.time;
        }
        for event in std::mem::take(&mut site.deferred) {
            self.queue.push(self.time, event);
        }
        self.arm_timer(index);
    }

    /// Has a process go on when its pause ends.
    fn go_on_later(&mut self, index: NodeIndex) {
        let at = self.sites[index].paused_until;
        self.queue.push(at, Event::Mend(Mend::Wake(index)));
    }

    /// Freezes a machine so that no clock of it sees that: a hypervisor does this.
    ///
    /// No lease survives that without bound (DESIGN 4.2 assumes clocks right up to rho). The master
    /// counts L(1-rho) from before it asked, an acceptor L(1+rho) from after: exact clocks leave
    /// 2 rho L between the two. So a freeze is shorter than that where a lease is held or asked for
    /// and clocks are exact, and a longer one strikes only who neither leads nor stands for
    /// election; its grants only last longer then, which is safe.
    pub(super) fn freeze(&mut self, index: NodeIndex) {
        let exact = self.sites.iter().all(|site| site.clock.is_exact());
        let Some(process) = &self.sites[index].process else { return };
        let leader = &process.node.leader;
        let is_bystander = leader.leads().is_none() && leader.scouts_with().is_none();
        let lease = Self::TIMING.lease().nanos();
        let rho_twice = Self::TIMING.grant_end(warlock_paxos::Instant::from_nanos(0)).nanos()
            - Self::TIMING.lease_end(warlock_paxos::Instant::from_nanos(0)).nanos();
        let longest = match (is_bystander, exact) {
            (true, _) => lease * 8,
            (false, true) => rho_twice * 9 / 10,
            (false, false) => return,
        };
        // Two short freezes within one lease would be one long one.
        let recent = self.sites[index].frozen_at;
        if !is_bystander && recent.is_some_and(|at| at + 4 * lease > self.time) {
            return;
        }
        self.counters.freeze += 1;
        self.observe_freeze();
        let span = self.random.between(longest / 20, longest);
        self.sites[index].frozen_at = Some(self.time + span);
        self.trace_site(index, || format!("freezes for {} ms", span / MILLISECOND));
        let time = self.time;
        let site = &mut self.sites[index];
        site.paused_until = site.paused_until.max(time) + span;
        site.clock.freeze(time, span);
        self.observe_clock(index);
        self.go_on_later(index);
    }

    /// Asks a node to hand its mastership over.
    pub(super) fn leave(&mut self, index: NodeIndex) {
        if !self.sites[index].is_awake(self.time) {
            return;
        }
        self.counters.hand_over += 1;
        let serving = self.sites.iter().position(|site| {
            site.is_awake(self.time)
                && site.process.as_ref().is_some_and(|process| process.serves.is_some())
        });
        let index = serving.unwrap_or(index);
        let other = self.random.index(self.sites.len());
        let to: Option<NodeId> = self.random.chance(400).then(|| self.sites[other].id);
        self.act(index, |node, now| {
            node.with_leader(now.boot, |leader, out| leader.handle_leave(now.boot, to, out));
        });
    }

    /// Moves a wall clock by up to ten years.
    pub(super) fn step_wall(&mut self, index: NodeIndex) {
        self.counters.wall_step += 1;
        let step = self.random.pick(&[TEN_YEARS, 3_600_000_000, 1_000_000]);
        let step = i64::try_from(self.random.below(step)).expect("ten years fit");
        let forward = self.random.chance(500);
        let step = if forward { step } else { -step };
        self.trace_site(index, || format!("wall clock steps by {step} us"));
        self.sites[index].clock.step_wall(step);
    }

    /// Lets a clock run faster or slower, within the declared bound.
    pub(super) fn change_rate(&mut self, index: NodeIndex) {
        // While frozen machines are about, all of the bound is theirs.
        if self.sites.iter().any(|site| site.frozen_at.is_some()) {
            return;
        }
        self.counters.clock_rate += 1;
        let rho = Self::RHO_PER_MILLE * TRUE_RATE / 1000;
        let drawn = self.random.between(TRUE_RATE - rho, TRUE_RATE + rho);
        let rate = self.random.pick(&[TRUE_RATE - rho, TRUE_RATE + rho, drawn, drawn]);
        let time = self.time;
        self.sites[index].clock.set_rate(time, rate);
        self.observe_clock(index);
        self.sites[index].timer_at = u64::MAX;
        self.arm_timer(index);
    }
}
