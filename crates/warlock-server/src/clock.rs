//! The only place of the daemon that reads clocks for the protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use warlock_paxos::{Instant, LogTime};

/// CLOCK_BOOTTIME, which counts suspend (L1).
#[must_use]
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// The wall clock, which only ever slews the log clock and never decides anything. The C library
/// is asked for it, so that a test can show one node another date.
#[must_use]
pub(crate) fn wall() -> LogTime {
    // A clock before 1970 is as wrong as one that shows 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
