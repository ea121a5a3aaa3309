//! How long to wait before dialling again, and how often to say why.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{RETRY_MAX, RETRY_MIN};

/// Doubles from one attempt to the next, with half of it random so that nodes do not dial in step.
#[derive(Debug)]
pub(super) struct Retry {
    wait: Duration,
    random: RandomState,
    attempts: u64,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { wait: RETRY_MIN, random: RandomState::new(), attempts: 0 }
    }

    /// Starts over after a success.
    pub(super) fn reset(&mut self) {
        self.wait = RETRY_MIN;
    }

    /// The next wait: between half and the whole of a span that doubles up to its limit.
    pub(super) fn next_wait(&mut self) -> Duration {
        let span = self.wait;
        self.wait = (span * 2).min(RETRY_MAX);
        self.attempts += 1;
        let thousandths = u32::try_from(self.random.hash_one(self.attempts) % 500).unwrap_or(0);
        span / 2 + span * thousandths / 1000
    }
}

/// Lets a reason through when it differs from the last one, and at most a few lines in a while: a
/// stranger that knocks all day must not fill the log.
#[derive(Debug)]
pub(super) struct LogGate {
    last: String,
    since: Instant,
    lines: u32,
}

/// The length of a while.
const GATE_SPAN: Duration = Duration::from_secs(10);

/// Most lines in a while.
const GATE_LINES_MAX: u32 = 5;

impl LogGate {
    pub(super) fn new() -> Self {
        Self { last: String::new(), since: Instant::now(), lines: 0 }
    }

    /// Whether `reason` is worth a line.
    pub(super) fn lets_through(&mut self, reason: &str) -> bool {
        let now = Instant::now();
        if now.duration_since(self.since) >= GATE_SPAN {
            self.since = now;
            self.lines = 0;
        }
        if self.last == reason || self.lines >= GATE_LINES_MAX {
            return false;
        }
        reason.clone_into(&mut self.last);
        self.lines += 1;
        true
    }

    /// Forgets the last reason after a success.
    pub(super) fn reset(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_start_over() {
        let mut retry = Retry::new();
        let mut span = RETRY_MIN;
        for _ in 0..12 {
            let wait = retry.next_wait();
            assert!(wait >= span / 2 && wait <= span, "{wait:?} of {span:?}");
            span = (span * 2).min(RETRY_MAX);
        }
        assert_eq!(span, RETRY_MAX);
        retry.reset();
        assert!(retry.next_wait() <= RETRY_MIN);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn gate_drops_repetitions_and_floods() {
        let mut gate = LogGate::new();
        assert!(gate.lets_through("a"));
        assert!(!gate.lets_through("a"));
        gate.reset();
        assert!(gate.lets_through("a"));
        let through = (0..100).filter(|n| gate.lets_through(&n.to_string())).count();
        assert_eq!(through, 3);
    }
}
