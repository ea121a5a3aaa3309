//! The clock that a lock's holder goes by.

use std::time::Duration;

/// Time since some fixed moment, which goes on while the machine is suspended: a holder that
/// slept through its TTL must notice.
#[cfg(target_os = "linux")]
pub(crate) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).expect("the time since boot is not negative")
}

/// Time since some fixed moment. On this system the clock may stand still while the machine is
/// suspended.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
