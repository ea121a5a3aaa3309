//! What people read: a line every few seconds, and the figures at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::keys::Keys;
use super::meter::{Counts, Meter};
use super::{UNKNOWN_PERCENT_MAX, Verdict};

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);

/// The thread that shows how the run goes. Ends when dropped.
#[derive(Debug)]
pub(super) struct Reporter {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The figures of a run.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How long it was, in seconds.
    pub seconds: u64,
    /// All operations.
    pub all: Counts,
    /// Those that began and ended outside disturbed times.
    pub undisturbed: Counts,
    /// Operations whose histories were judged and found good.
    pub checked: u64,
    /// Longest time from the last fault of an episode to the first acknowledged write, in
    /// milliseconds.
    pub recovery_ms_max: u64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Reporter {
    /// Shows lines from now on.
    pub(super) fn start(meter: Arc<Meter>, keys: Arc<Keys>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::spawn(move || {
            say("   time     ops/s         ok not-executed  unknown    checked waiting  in force");
            let mut last = 0;
            let mut due = Instant::now() + INTERVAL;
            while !seen.load(Ordering::Relaxed) {
                thread::park_timeout(due.saturating_duration_since(Instant::now()));
                if Instant::now() >= due {
                    due += INTERVAL;
                    last = line(&meter, &keys, last);
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is dropped once");
        thread.thread().unpark();
        // A report that panicked has no bearing on the verdict.
        let _ = thread.join();
    }
}

/// Shows one line; how many operations there were up to it.
fn line(meter: &Meter, keys: &Keys, last: u64) -> u64 {
    let [all, _] = meter.counts();
    let seconds = meter.now_ns() / 1_000_000_000;
    let rate = (all.total() - last) / INTERVAL.as_secs();
    let checked = meter.checked.load(Ordering::Relaxed);
    let shown = meter.shown();
    say(&format!(
        "{:4}:{:02} {rate:9} {:10} {:12} {:8} {checked:10} {:7}  {}",
        seconds / 60,
        seconds % 60,
        all.ok,
        all.not_executed,
        all.unknown,
        keys.waiting(),
        if shown.is_empty() { "-" } else { &shown },
    ));
    all.total()
}

/// Writes a line for people, at once.
pub(super) fn say(text: &str) {
    let mut output = io::stdout().lock();
    // Nobody reads it any more, which is no reason to stop.
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

impl Figures {
    /// The figures as they are now.
    pub(super) fn of(meter: &Meter) -> Self {
        let [all, undisturbed] = meter.counts();
        Self {
            seconds: meter.now_ns() / 1_000_000_000,
            all,
            undisturbed,
            checked: meter.checked.load(Ordering::Relaxed),
            recovery_ms_max: meter.recovery_ms_max.load(Ordering::Relaxed),
            faults: meter.faults(),
        }
    }

    /// What they say of a run in which nothing else was found.
    pub(super) fn verdict(self) -> Verdict {
        if self.faults.is_empty() || self.undisturbed.ok == 0 || self.checked == 0 {
            return Verdict::NotRun(format!("nothing was tried:\n{self}"));
        }
        Verdict::Held(self)
    }

    /// Whether too many replies were unknown though nothing disturbed the cluster.
    pub(super) const fn has_too_many_unknown(&self) -> bool {
        self.undisturbed.unknown * 100 > self.undisturbed.total() * UNKNOWN_PERCENT_MAX
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |counts: Counts| {
            #[expect(clippy::cast_precision_loss, reason = "for people, to three digits")]
            let share = counts.unknown as f64 * 100.0 / counts.total().max(1) as f64;
            format!("{share:.3} %")
        };
        let row = |counts: Counts| {
            let Counts { ok, not_executed, unknown } = counts;
            format!("{ok} ok, {not_executed} not executed, {unknown} unknown ({})", share(counts))
        };
        let per_second = self.all.total() / self.seconds.max(1);
        writeln!(f, "operations in {} s, {per_second} a second:", self.seconds)?;
        writeln!(f, "in all: {}", row(self.all))?;
        writeln!(f, "outside disturbed times: {}", row(self.undisturbed))?;
        writeln!(f, "checked: {}", self.checked)?;
        writeln!(f, "longest recovery: {} ms to the first write", self.recovery_ms_max)?;
        let faults = self.faults.iter().map(|(name, count)| format!("{name} {count}"));
        write!(f, "faults: {}", faults.collect::<Vec<_>>().join(", "))
    }
}
