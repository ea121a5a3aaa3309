//! The clock of the replicated log (DESIGN 4.2): it advances with CLOCK_BOOTTIME from what was last
//! heard of it, slews to the wall clock, and steps only after the whole cluster was down.
//!
//! It must never run ahead: a key whose time to live began by the clock of a slow master would
//! vanish early under a fast one. So every node follows the master, even backwards, and a new
//! master takes the lowest reading that its quorum has. For the same reason it never stands still:
//! those that heard of it last reckon that it goes on.

use crate::time::{Instant, LogTime};

/// How much faster or slower than its host's clock the log clock may run: 500 parts per million.
const SLEW_PER_MILLION: u64 = 500;

/// The log time as one node reckons it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct LogClock {
    anchor: Option<(LogTime, Instant)>,
    /// The highest reading heard of a master: what is lower was long on its way.
    heard: LogTime,
    floor: LogTime,
}

impl LogClock {
    /// A clock that has heard of no running log clock yet; the log has reached `floor`.
    pub(crate) const fn new(floor: LogTime) -> Self {
        Self { anchor: None, heard: LogTime::ZERO, floor }
    }

    /// The log time at `now`; `None` while this node has heard of no running log clock.
    pub(crate) fn now(&self, now: Instant) -> Option<LogTime> {
        let (time, at) = self.anchor?;
        Some(LogTime::from_micros(time.micros() + now.since(at).nanos() / 1000).max(self.floor))
    }

    /// Follows a reading of the master's clock.
    pub(crate) fn follow(&mut self, now: Instant, time: LogTime) {
        if self.heard < time {
            self.heard = time;
            self.anchor = Some((time.max(self.floor), now));
        }
    }

    /// Starts, as the new master's clock, from the lowest reading of its quorum.
    pub(crate) fn adopt(&mut self, now: Instant, time: LogTime) {
        self.anchor = Some((time.max(self.floor), now));
    }

    /// Takes note of a batch of the log, which may be old. A clock that is behind goes on from it.
    pub(crate) fn raise_floor(&mut self, now: Instant, time: LogTime) {
        if self.now(now).is_some_and(|reading| reading < time) {
            self.anchor = Some((time, now));
        }
        self.floor = self.floor.max(time);
    }

    /// Starts the clock from the wall clock if nobody has a running one: the whole cluster was
    /// down.
    pub(crate) fn start_if_stopped(&mut self, now: Instant, wall: LogTime) {
        if self.anchor.is_none() {
            self.anchor = Some((self.floor.max(wall), now));
        }
    }

    /// Moves a running clock towards the wall clock by as much as may be for the time since the
    /// last call.
    pub(crate) fn slew(&mut self, now: Instant, wall: LogTime) {
        let Some((time, at)) = self.anchor else {
            return;
        };
        let elapsed_micros = now.since(at).nanos() / 1000;
        let most = elapsed_micros * SLEW_PER_MILLION / 1_000_000;
        let current = time.micros() + elapsed_micros;
        let slewed = wall.micros().clamp(current - most.min(elapsed_micros), current + most);
        self.anchor = Some((LogTime::from_micros(slewed), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn wall_clock_jumps_move_it_by_at_most_500_ppm() {
        let mut clock = LogClock::new(LogTime::ZERO);
        let start = Instant::from_nanos(5);
        clock.start_if_stopped(start, LogTime::from_micros(1000 * SECOND));
        let later = start.after(Span::from_millis(10_000));
        let years_ahead = LogTime::from_micros(1_000_000 * SECOND);
        clock.slew(later, years_ahead);
        assert_eq!(clock.now(later), Some(LogTime::from_micros(1010 * SECOND + 5000)));
        let latest = later.after(Span::from_millis(10_000));
        clock.slew(latest, LogTime::ZERO);
        assert_eq!(clock.now(latest), Some(LogTime::from_micros(1020 * SECOND)));
    }

    #[test]
    fn it_never_falls_below_the_log() {
        let mut clock = LogClock::new(LogTime::from_micros(77));
        assert_eq!(clock.now(Instant::from_nanos(0)), None);
        clock.start_if_stopped(Instant::from_nanos(0), LogTime::from_micros(5));
        assert_eq!(clock.now(Instant::from_nanos(0)), Some(LogTime::from_micros(77)));
        clock.raise_floor(Instant::from_nanos(0), LogTime::from_micros(99));
        assert_eq!(clock.now(Instant::from_nanos(0)), Some(LogTime::from_micros(99)));
    }

    #[test]
    fn it_goes_on_from_the_log_at_once() {
        let (start, later) = (Instant::from_nanos(0), Instant::from_nanos(50_000));
        let goes_on = |clock: &LogClock| {
            assert_eq!(clock.now(start), Some(LogTime::from_micros(1000)));
            assert_eq!(clock.now(later), Some(LogTime::from_micros(1050)));
        };
        let mut clock = LogClock::new(LogTime::ZERO);
        clock.start_if_stopped(start, LogTime::from_micros(300));
        clock.raise_floor(start, LogTime::from_micros(1000));
        goes_on(&clock);
        let mut clock = LogClock::new(LogTime::from_micros(1000));
        clock.adopt(start, LogTime::from_micros(300));
        goes_on(&clock);
        let mut clock = LogClock::new(LogTime::from_micros(1000));
        clock.follow(start, LogTime::from_micros(300));
        goes_on(&clock);
    }

    #[test]
    fn it_follows_a_slower_master_but_no_older_reading() {
        let mut clock = LogClock::new(LogTime::ZERO);
        clock.follow(Instant::from_nanos(0), LogTime::from_micros(100));
        clock.follow(Instant::from_nanos(50_000), LogTime::from_micros(120));
        assert_eq!(clock.now(Instant::from_nanos(50_000)), Some(LogTime::from_micros(120)));
        clock.follow(Instant::from_nanos(60_000), LogTime::from_micros(110));
        assert_eq!(clock.now(Instant::from_nanos(60_000)), Some(LogTime::from_micros(130)));
    }

    #[test]
    fn a_new_master_starts_from_its_quorum_and_not_from_itself() {
        let mut clock = LogClock::new(LogTime::from_micros(90));
        clock.follow(Instant::from_nanos(0), LogTime::from_micros(100));
        clock.adopt(Instant::from_nanos(50_000), LogTime::from_micros(120));
        assert_eq!(clock.now(Instant::from_nanos(50_000)), Some(LogTime::from_micros(120)));
        clock.adopt(Instant::from_nanos(50_000), LogTime::from_micros(80));
        assert_eq!(clock.now(Instant::from_nanos(50_000)), Some(LogTime::from_micros(90)));
    }
}
