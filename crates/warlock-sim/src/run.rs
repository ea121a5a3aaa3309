//! One seed, one run, one verdict.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::check::{Severity, Violation};
use crate::world::{Counters, World};

/// What a run is asked to do; everything else is drawn from its seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Nodes of the cluster, from 1 to 7; drawn if not given.
    pub nodes: Option<u16>,
    /// Whether nodes come and go; drawn if not given.
    pub changes: Option<bool>,
    /// How many of the newest lines of the column log to keep; 0 keeps none, which is much faster
    /// and changes nothing else.
    pub trace_lines: usize,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every property held.
    Passed,
    /// The code under test, or the simulator, panicked with this message.
    Crash(String),
    /// A property did not hold.
    Violated(Violation),
}

/// What a run was like.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// Hash of every event; equal for equal seeds and options.
    pub trace_hash: u64,
    /// How often everything happened.
    pub counters: Counters,
    /// How long the run took in virtual time, in nanoseconds.
    pub virtual_ns: u64,
    /// What a failure looked like from inside.
    pub scene: Option<Box<Scene>>,
}

/// The inside of a run that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The options drawn, one a line.
    pub options: String,
    /// The newest lines of the column log, if it was kept.
    pub log: Vec<String>,
    /// The state of each node, one a line.
    pub nodes: Vec<String>,
}

impl Outcome {
    /// Whether every property held.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }
}

impl Verdict {
    /// The exit code of a program that saw this verdict: 0 passed, 2 crash, 3 safety, 4 liveness.
    /// What could not be verified counts as unsafe.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Crash(_) => 2,
            Self::Violated(violation) => match violation.severity {
                Severity::Safety | Severity::Unverified => 3,
                Severity::Liveness => 4,
            },
        }
    }
}

/// Runs the cluster that `seed` describes through both phases. Never panics, whatever the code
/// under test does.
#[must_use]
pub fn run_seed(seed: u64, options: &Options) -> Outcome {
    let mut world = World::new(seed, options);
    // Nothing of the world is used after a panic but what only describes it.
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let verdict = match ended {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(violation)) => Verdict::Violated(violation),
        Err(panic) => Verdict::Crash(message_of(panic.as_ref())),
    };
    let (trace_hash, virtual_ns) = (world.trace_hash(), world.time());
    let counters = *world.counters();
    let scene = (verdict != Verdict::Passed).then(|| {
        let described = catch_unwind(AssertUnwindSafe(|| world.describe()));
        let (options, log, nodes) = described.unwrap_or_default();
        Box::new(Scene { options, log, nodes })
    });
    Outcome { seed, verdict, trace_hash, counters, virtual_ns, scene }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| String::from("a panic without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds of the tests. They are enough for every fault, and few enough for every change.
    const SEEDS: core::ops::Range<u64> = 201..381;

    #[test]
    fn a_batch_of_seeds_passes_and_no_fault_is_idle() {
        let mut counters = Counters::default();
        for seed in SEEDS {
            let outcome = run_seed(seed, &Options::default());
            assert!(outcome.passed(), "seed {seed}: {:?}", outcome.verdict);
            counters.add(&outcome.counters);
        }
        let idle: Vec<&str> = counters
            .named()
            .iter()
            .filter(|(_, count)| *count == 0)
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(idle, [""; 0], "{counters}");
    }

    #[test]
    fn a_seed_is_a_run_whether_it_is_logged_or_not() {
        for seed in 1000..1010 {
            let silent = run_seed(seed, &Options::default());
            let logged = Options { trace_lines: 10, ..Options::default() };
            let again = run_seed(seed, &logged);
            assert_eq!(silent.trace_hash, again.trace_hash, "seed {seed}");
            assert_eq!(silent.counters, again.counters, "seed {seed}");
        }
        let other = run_seed(1010, &Options::default()).trace_hash;
        assert_ne!(run_seed(1000, &Options::default()).trace_hash, other);
    }

    #[test]
    fn clusters_of_every_size_run() {
        for nodes in 1..=7 {
            let options = Options { nodes: Some(nodes), ..Options::default() };
            let outcome = run_seed(u64::from(nodes), &options);
            assert!(outcome.passed(), "{nodes} nodes: {:?}", outcome.verdict);
            assert!(outcome.counters.ok > 0, "{nodes} nodes answer nothing");
        }
    }
}
