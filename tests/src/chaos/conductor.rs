//! Carries out the plan: lets faults happen, heals them, and waits for the cluster to recover.

use std::thread;
use std::time::{Duration, Instant};

use super::arena::{Arena, InForce, RECOVERY_MAX};
use super::meter::Meter;
use super::plan::{Episode, Timed};

/// Pause between two looks at the clock.
const TICK: Duration = Duration::from_millis(5);

/// Who does to the cluster what the plan says.
#[derive(Debug)]
pub(super) struct Conductor<'a> {
    arena: &'a mut Arena,
    meter: &'a Meter,
    /// Whether somebody wants the run to end now.
    interrupted: &'a dyn Interrupt,
    in_force: Vec<(Instant, InForce)>,
}

/// Says whether somebody wants the run to end now.
pub(super) trait Interrupt: std::fmt::Debug {
    /// Whether somebody does.
    fn is_raised(&self) -> bool;
}

impl<'a> Conductor<'a> {
    /// One for this cluster.
    pub(super) const fn new(
        arena: &'a mut Arena,
        meter: &'a Meter,
        interrupted: &'a dyn Interrupt,
    ) -> Self {
        Self { arena, meter, interrupted, in_force: Vec::new() }
    }

    /// Carries out episodes until `end`, and waits for the cluster to recover from the last one.
    ///
    /// # Errors
    /// The cluster did what no fault excuses.
    pub(super) fn run(
        &mut self,
        plan: impl Iterator<Item = Episode>,
        end: Instant,
    ) -> Result<(), String> {
        for episode in plan {
            let quiet = Instant::now() + Duration::from_millis(episode.quiet_ms);
            while Instant::now() < quiet.min(end) && !self.is_over() {
                thread::park_timeout(TICK);
                self.arena.look_for_deaths(&[])?;
            }
            if Instant::now() >= end || self.is_over() {
                return self.arena.await_ready();
            }
            self.meter.tell(&format!("episode: {episode}"));
            self.perform(episode)?;
        }
        Ok(())
    }

    /// One episode from its first fault to the recovery from the last.
    fn perform(&mut self, episode: Episode) -> Result<(), String> {
        self.meter.disturb();
        let began = Instant::now();
        let mut pending = episode.faults;
        pending.sort_by_key(|timed| timed.at_ms);
        while !self.is_over() {
            if pending.is_empty() && self.in_force.is_empty() {
                break;
            }
            let is_due = |timed: &Timed| began.elapsed() >= Duration::from_millis(timed.at_ms);
            while pending.first().is_some_and(is_due) {
                self.begin(pending.remove(0))?;
            }
            self.heal_due()?;
            let excused: Vec<u16> =
                self.in_force.iter().flat_map(|(_, it)| it.excuses().to_vec()).collect();
            self.arena.look_for_deaths(&excused)?;
            thread::park_timeout(TICK);
        }
        while let Some((_, in_force)) = self.in_force.pop() {
            self.heal(in_force)?;
        }
        self.meter.heal();
        self.meter.show("recovery".to_owned());
        self.await_recovery()?;
        if episode.settle {
            self.arena.await_ready()?;
        }
        self.meter.calm();
        self.meter.show(String::new());
        Ok(())
    }

    fn begin(&mut self, timed: Timed) -> Result<(), String> {
        let kind = timed.fault.kind();
        self.meter.show(self.shown(&timed.fault.to_string()));
        let in_force = self.arena.apply(timed.fault)?;
        self.meter.note_outages(&self.arena.take_outages());
        self.meter.count(kind);
        self.meter.tell(&format!("begins: {} on {:?}", in_force.fault, in_force.nodes));
        self.in_force.push((Instant::now() + Duration::from_millis(timed.for_ms), in_force));
        Ok(())
    }

    fn heal_due(&mut self) -> Result<(), String> {
        while let Some(index) = self.in_force.iter().position(|(end, _)| Instant::now() >= *end) {
            let (_, in_force) = self.in_force.remove(index);
            self.heal(in_force)?;
            self.meter.show(self.shown("-"));
        }
        Ok(())
    }

    fn heal(&mut self, in_force: InForce) -> Result<(), String> {
        self.meter.tell(&format!("ends: {} on {:?}", in_force.fault, in_force.nodes));
        self.arena.heal(in_force)?;
        self.meter.note_outages(&self.arena.take_outages());
        Ok(())
    }

    /// The faults in force and this one, in a few words.
    fn shown(&self, next: &str) -> String {
        let mut words: Vec<String> =
            self.in_force.iter().map(|(_, in_force)| in_force.fault.to_string()).collect();
        words.extend((next != "-").then(|| next.to_owned()));
        words.join(" + ")
    }

    fn await_recovery(&mut self) -> Result<(), String> {
        let healed = Instant::now();
        while !self.meter.has_recovered() && !self.is_over() {
            self.arena.look_for_deaths(&[])?;
            if healed.elapsed() > RECOVERY_MAX {
                return Err(format!(
                    "no write was acknowledged in the {RECOVERY_MAX:?} after the last fault"
                ));
            }
            thread::park_timeout(TICK);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.meter.is_over() || self.interrupted.is_raised()
    }
}
