//! Waiting for conditions.

use std::thread;
use std::time::{Duration, Instant};

/// Default deadline of a condition. Far longer than anything takes on a slow machine: it decides
/// only how soon a failure is reported.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Pause before the second look at a condition.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(25);

/// Looks at a condition until it holds, and returns what it gave.
///
/// # Panics
/// If it does not hold within [`PATIENCE`]; the message says `what` was waited for and what was
/// seen last.
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, probe)
}

/// As [`eventually`], with another deadline.
///
/// # Panics
/// If the condition does not hold in time.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    match poll(limit, probe) {
        Ok(value) => value,
        Err(seen) => panic!("not within {limit:?}: {what}; seen last: {seen}"),
    }
}

/// As [`within`], for those who go on when the condition does not hold: what was seen last.
pub(crate) fn poll<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let began = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if began.elapsed() >= limit => return Err(seen),
            Err(_) => thread::park_timeout(pause),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{eventually, within};

    #[test]
    fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let value = eventually("three looks", || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks.to_string()) }
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "the moon; seen last: clouds")]
    fn a_condition_that_never_holds_says_what_was_seen() {
        within(Duration::ZERO, "the moon", || Err::<(), _>("clouds".to_owned()));
    }
}
