//! The clocks of one node: readings that relate to true time only within the bounds that the
//! protocol assumes (DESIGN 4.2).

use warlock_paxos::{Instant, LogTime, mutant};

use crate::random::Random;

/// Rates are given in millionths of the true rate.
pub(super) const TRUE_RATE: u64 = 1_000_000;

/// Microseconds between 1970 and the start of a run, by true time.
const EPOCH_MICROS: u64 = 1_800_000_000_000_000;

/// CLOCK_BOOTTIME and the wall clock of one machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The reading at `since`.
    base: u64,
    /// From this true time on the reading grows; before, it stands still.
    since: u64,
    /// Millionths of the true rate.
    rate: u64,
    /// What the wall clock shows beyond true time, in microseconds.
    wall_offset: i64,
}

impl Clock {
    /// A clock with its own origin at the true time 0.
    pub(super) fn new(random: &mut Random, rate: u64) -> Self {
        Self { base: random.below(1 << 44), since: 0, rate, wall_offset: 0 }
    }

    /// What CLOCK_BOOTTIME shows at the true time `truth`.
    pub(super) fn at(&self, truth: u64) -> Instant {
        let span = truth.saturating_sub(self.since);
        let grown = span.checked_mul(self.rate).expect("runs are short") / TRUE_RATE;
        let reading = self.base + grown;
        Instant::from_nanos(reading.saturating_add_signed(self.misread()))
    }

    /// The first true time at which CLOCK_BOOTTIME shows `local` or more.
    pub(super) fn when(&self, local: Instant) -> u64 {
        let local = local.nanos().saturating_sub_signed(self.misread());
        let missing = local.saturating_sub(self.base);
        let span = match missing.checked_mul(TRUE_RATE) {
            Some(product) => product.div_ceil(self.rate),
            // A time that never comes.
            None => {
                let product = u128::from(missing) * u128::from(TRUE_RATE);
                u64::try_from(product.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX)
            }
        };
        self.since.saturating_add(span)
    }

    /// What the wall clock shows, in microseconds since 1970.
    pub(super) fn wall(&self, truth: u64) -> LogTime {
        let exact = EPOCH_MICROS + truth / 1000;
        LogTime::from_micros(exact.saturating_add_signed(self.wall_offset))
    }

    /// Lets the clock run at `rate` millionths of the true rate from `truth` on.
    pub(super) fn set_rate(&mut self, truth: u64, rate: u64) {
        self.settle(truth);
        self.rate = rate;
    }

    /// Whether the clock runs exactly.
    pub(super) const fn is_exact(&self) -> bool {
        self.rate == TRUE_RATE
    }

    /// Stops the clock from `truth` on for `span` nanoseconds: a machine that was frozen from
    /// outside, as a hypervisor does, does not see it.
    pub(super) fn freeze(&mut self, truth: u64, span: u64) {
        self.settle(truth);
        self.since = self.since.max(truth) + span;
    }

    /// Ends a freeze at `truth`, if there is one.
    pub(super) fn thaw(&mut self, truth: u64) {
        self.since = self.since.min(truth);
    }

    /// Moves the wall clock by `micros` microseconds.
    pub(super) const fn step_wall(&mut self, micros: i64) {
        self.wall_offset = self.wall_offset.saturating_add(micros);
    }

    /// Starts CLOCK_BOOTTIME anew, as a reboot does.
    pub(super) fn reboot(&mut self, truth: u64, random: &mut Random) {
        self.base = random.below(1 << 44);
        self.since = truth;
    }

    /// What a host is off, in nanoseconds, that reads the wall clock instead.
    fn misread(&self) -> i64 {
        if mutant!(WallClock) { self.wall_offset.saturating_mul(1000) } else { 0 }
    }

    fn settle(&mut self, truth: u64) {
        self.base = self.at(truth).nanos().saturating_sub_signed(self.misread());
        self.since = self.since.max(truth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_first_time_that_shows_a_reading() {
        let mut random = Random::new(1);
        for rate in [950_000, 1_000_000, 1_000_001, 1_050_000] {
            let clock = Clock::new(&mut random, rate);
            for truth in [1, 1000, 123_456_789, 1 << 40] {
                let at = clock.when(clock.at(truth));
                assert!(at <= truth && clock.at(at) == clock.at(truth), "{rate} {truth} {at}");
            }
        }
    }

    #[test]
    fn readings_never_go_back_when_the_rate_changes_or_the_clock_freezes() {
        let mut clock = Clock::new(&mut Random::new(2), 1_000_000);
        let mut before = clock.at(0);
        for step in 1..200_u64 {
            let truth = step * 1000;
            let now = clock.at(truth);
            assert!(now >= before, "{step}");
            before = now;
            match step % 3 {
                0 => clock.set_rate(truth, 950_000 + step * 100),
                1 => clock.freeze(truth, step * 7),
                _ => {}
            }
        }
    }

    #[test]
    fn a_frozen_clock_loses_exactly_the_freeze() {
        let mut clock = Clock::new(&mut Random::new(3), TRUE_RATE);
        let start = clock.at(0).nanos();
        clock.freeze(1000, 500);
        assert_eq!(clock.at(1400).nanos() - start, 1000);
        assert_eq!(clock.at(2000).nanos() - start, 1500);
    }

    #[test]
    fn the_wall_clock_steps_and_the_other_does_not() {
        let mut clock = Clock::new(&mut Random::new(4), TRUE_RATE);
        let (wall, boot) = (clock.wall(5000), clock.at(5000));
        clock.step_wall(-7);
        assert_eq!(wall.micros() - clock.wall(5000).micros(), 7);
        assert_eq!(clock.at(5000), boot);
    }
}
