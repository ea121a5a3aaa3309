//! The only place of the daemon that reads clocks for the protocol.

use rustix::time::{ClockId, clock_gettime};
use warlock_paxos::{Instant, LogTime};

/// CLOCK_BOOTTIME, which counts suspend (L1).
#[must_use]
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// The wall clock, which only ever slews the log clock and never decides anything.
#[must_use]
pub(crate) fn wall() -> LogTime {
    let time = clock_gettime(ClockId::Realtime);
    let micros = time.tv_nsec.unsigned_abs() / 1000;
    LogTime::from_micros(time.tv_sec.unsigned_abs() * 1_000_000 + micros)
}
