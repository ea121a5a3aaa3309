//! What is counted while a run goes on, and which time counts as disturbed.
//!
//! ```text
//! fault begins ... last fault healed ... first write acknowledged, one second
//! |------------------------------ disturbed ---------------------------------|
//! ```
//!
//! An operation is undisturbed if it began and ended outside all such times.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fault::Kind;
use super::keys::locked;
use super::record::Record;
use crate::Fate;

/// How long a time is disturbed after the first acknowledged write.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Operations by the class of their replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They took effect.
    pub ok: u64,
    /// They did not and never will.
    pub not_executed: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.ok + self.not_executed + self.unknown
    }
}

#[derive(Debug, Default)]
struct Tally {
    ok: AtomicU64,
    not_executed: AtomicU64,
    unknown: AtomicU64,
}

impl Tally {
    fn add(&self, fate: &Fate) {
        let count = match fate {
            Fate::Done(_) => &self.ok,
            Fate::NotExecuted(_) => &self.not_executed,
            Fate::Unknown(_) => &self.unknown,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            ok: load(&self.ok),
            not_executed: load(&self.not_executed),
            unknown: load(&self.unknown),
        }
    }
}

/// Shared by all threads of a run.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    all: Tally,
    undisturbed: Tally,
    disturbed_now: AtomicBool,
    /// Nanoseconds at which the last disturbed time ended.
    calm_since_ns: AtomicU64,
    /// Nanoseconds at which the last fault was healed; `u64::MAX` while one is in force.
    healed_ns: AtomicU64,
    /// Nanoseconds at which the first write after that was acknowledged; 0 if none was.
    first_write_ns: AtomicU64,
    /// Operations whose history was judged and found good.
    pub(super) checked: AtomicU64,
    /// Longest time from the last fault to the first acknowledged write, in milliseconds.
    pub(super) recovery_ms_max: AtomicU64,
    anomaly: Mutex<Option<String>>,
    in_force: Mutex<String>,
    faults: Mutex<BTreeMap<Kind, u64>>,
    events: Mutex<Vec<String>>,
    /// Nanoseconds between which no process ran.
    outages: Mutex<Vec<(u64, u64)>>,
    over: AtomicBool,
}

impl Meter {
    /// Everything zero, now.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            all: Tally::default(),
            undisturbed: Tally::default(),
            disturbed_now: AtomicBool::new(false),
            calm_since_ns: AtomicU64::new(0),
            healed_ns: AtomicU64::new(u64::MAX),
            first_write_ns: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            recovery_ms_max: AtomicU64::new(0),
            anomaly: Mutex::default(),
            in_force: Mutex::default(),
            faults: Mutex::default(),
            events: Mutex::default(),
            outages: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the run began.
    pub(super) fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    fn ns(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.began);
        u64::try_from(elapsed.as_nanos()).expect("a run is shorter than centuries")
    }

    /// Takes note of times in which no process ran.
    pub(super) fn note_outages(&self, outages: &[(Instant, Instant)]) {
        let outages = outages.iter().map(|(from, to)| (self.ns(*from), self.ns(*to)));
        locked(&self.outages).extend(outages);
    }

    /// Nanoseconds between which no process ran.
    pub(super) fn outages(&self) -> Vec<(u64, u64)> {
        locked(&self.outages).clone()
    }

    /// Takes note of operations that have ended.
    pub(super) fn note(&self, records: &[Record]) {
        for record in records {
            self.all.add(&record.fate);
            let done = matches!(record.fate, Fate::Done(_));
            let healed = record.invoked_ns > self.healed_ns.load(Ordering::SeqCst);
            if done && healed && record.ask.is_write() {
                // Only the first one counts, so a value that is there stays.
                let (order, at) = (Ordering::SeqCst, record.responded_ns);
                let _ = self.first_write_ns.compare_exchange(0, at, order, order);
            }
            let calm = !self.disturbed_now.load(Ordering::SeqCst)
                && record.invoked_ns >= self.calm_since_ns.load(Ordering::SeqCst);
            if calm {
                self.undisturbed.add(&record.fate);
            }
        }
    }

    /// From now on the time is disturbed.
    pub(super) fn disturb(&self) {
        self.healed_ns.store(u64::MAX, Ordering::SeqCst);
        self.first_write_ns.store(0, Ordering::SeqCst);
        self.disturbed_now.store(true, Ordering::SeqCst);
    }

    /// The last fault is healed.
    pub(super) fn heal(&self) {
        self.healed_ns.store(self.now_ns(), Ordering::SeqCst);
    }

    /// Whether so much time has passed since the first write after the last fault that the
    /// cluster counts as recovered.
    pub(super) fn has_recovered(&self) -> bool {
        let first = self.first_write_ns.load(Ordering::SeqCst);
        first > 0 && self.now_ns() > first + u64::try_from(AFTERMATH.as_nanos()).expect("a second")
    }

    /// The disturbed time ends.
    pub(super) fn calm(&self) {
        let first = self.first_write_ns.load(Ordering::SeqCst);
        let recovery = first.saturating_sub(self.healed_ns.load(Ordering::SeqCst));
        self.recovery_ms_max.fetch_max(recovery / 1_000_000, Ordering::Relaxed);
        self.calm_since_ns.store(self.now_ns(), Ordering::SeqCst);
        self.disturbed_now.store(false, Ordering::SeqCst);
    }

    /// All operations, and those that nothing disturbed.
    pub(super) fn counts(&self) -> [Counts; 2] {
        [self.all.counts(), self.undisturbed.counts()]
    }

    /// Writes an event into the story of the run.
    pub(super) fn tell(&self, event: &str) {
        let at = self.began.elapsed().as_secs_f64();
        locked(&self.events).push(format!("{at:9.3} {event}"));
    }

    /// The story so far, one event a line.
    pub(super) fn story(&self) -> Vec<String> {
        locked(&self.events).clone()
    }

    /// Counts a fault.
    pub(super) fn count(&self, kind: Kind) {
        *locked(&self.faults).entry(kind).or_default() += 1;
    }

    /// How often each kind of fault happened.
    pub(super) fn faults(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.faults).iter().map(|(kind, count)| (kind.name(), *count)).collect()
    }

    /// Says what is in force now.
    pub(super) fn show(&self, in_force: String) {
        *locked(&self.in_force) = in_force;
    }

    /// What is in force now.
    pub(super) fn shown(&self) -> String {
        locked(&self.in_force).clone()
    }

    /// Something is wrong with the cluster: the run ends. The first one counts.
    pub(super) fn fail(&self, anomaly: String) {
        self.tell(&format!("ANOMALY {anomaly}"));
        locked(&self.anomaly).get_or_insert(anomaly);
    }

    /// What is wrong with the cluster, if anything is.
    pub(super) fn anomaly(&self) -> Option<String> {
        locked(&self.anomaly).clone()
    }

    /// Clients are to stop.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Whether clients are to stop.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst) || locked(&self.anomaly).is_some()
    }
}
