//! Many seeds on some threads, with progress, a summary, and a report of what failed.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the program around the simulator: threads and real time are its own"
)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use warlock_sim::{Counters, Options, Outcome, Verdict, report, run_seed};

use crate::RunArgs;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(2);

/// What all threads share.
struct Batch<'a> {
    args: &'a RunArgs,
    options: Options,
    began: Instant,
    next: AtomicU64,
    is_over: AtomicBool,
    totals: Mutex<Totals>,
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    virtual_ns: u64,
    /// Sum of the trace hashes, which is the same in whatever order the seeds end.
    traces: u64,
    counters: Counters,
    failures: Vec<Outcome>,
    shown: Option<Instant>,
}

/// Panics of the code under test are verdicts; they need no line of their own.
pub(crate) fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Runs seeds as `args` say.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let batch = Batch {
        args,
        options: Options { nodes: args.nodes, changes: args.changes, ..Options::default() },
        began: Instant::now(),
        next: AtomicU64::new(args.from),
        is_over: AtomicBool::new(false),
        totals: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| batch.work());
        }
    });
    batch.finish()
}

impl Batch<'_> {
    fn work(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            let seeds_done = self.args.seeds.is_some_and(|count| seed >= self.args.from + count);
            if seeds_done || self.is_late() {
                return;
            }
            let outcome = self.run_one(seed);
            self.note(outcome);
        }
    }

    fn run_one(&self, seed: u64) -> Outcome {
        let mut outcome = run_seed(seed, &self.options);
        if self.args.twice && outcome.passed() {
            let again = run_seed(seed, &self.options);
            if again.trace_hash != outcome.trace_hash {
                let (one, other) = (outcome.trace_hash, again.trace_hash);
                let text = format!("two runs differ: trace {one:016x} and {other:016x}");
                outcome.verdict = Verdict::Crash(text);
            }
        }
        outcome
    }

    fn is_late(&self) -> bool {
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        self.args.minutes.is_some_and(|limit| minutes >= limit)
    }

    fn note(&self, outcome: Outcome) {
        let mut totals = self.totals.lock().expect("a thread that panics ends the program");
        totals.seeds += 1;
        totals.virtual_ns += outcome.virtual_ns;
        totals.traces = totals.traces.wrapping_add(outcome.trace_hash);
        totals.counters.add(&outcome.counters);
        if !outcome.passed() {
            Self::show_failure(&outcome);
            totals.failures.push(outcome);
            if !self.args.keep_going {
                self.is_over.store(true, Ordering::Relaxed);
            }
        }
        let now = Instant::now();
        if totals.shown.is_none_or(|shown| now - shown >= PROGRESS) {
            totals.shown = Some(now);
            self.show_progress(&totals);
        }
    }

    #[expect(clippy::print_stderr, reason = "whoever watches need not wait for the report")]
    fn show_failure(outcome: &Outcome) {
        eprintln!("seed {}: {}", outcome.seed, report::sentence(&outcome.verdict));
    }

    #[expect(clippy::print_stderr, reason = "progress is for whoever watches")]
    fn show_progress(&self, totals: &Totals) {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = Rate::of(totals, seconds, self.args.threads);
        eprintln!(
            "{:>8} seeds {:>7.1}/s {:>7.0}x real time per core, {} failed",
            totals.seeds,
            rate.seeds,
            rate.speed,
            totals.failures.len()
        );
    }

    #[expect(clippy::print_stdout, reason = "the summary is what was asked for")]
    fn finish(self) -> ExitCode {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut totals = self.totals.into_inner().expect("no thread panicked");
        totals.failures.sort_by_key(|failure| failure.seed);
        let rate = Rate::of(&totals, seconds, self.args.threads);
        if self.args.json {
            println!("{}", json(&totals, seconds, &rate));
        } else {
            println!(
                "{} seeds from {} in {seconds:.0} s: {:.1} seeds/s, {:.0}x real time per core, \
                 {:.1} h of virtual time, traces {:016x}, {} failed",
                totals.seeds,
                self.args.from,
                rate.seeds,
                rate.speed,
                rate.hours,
                totals.traces,
                totals.failures.len()
            );
            print!("{}", totals.counters);
        }
        for failure in &totals.failures {
            let options = Options { trace_lines: report::LINES, ..self.options.clone() };
            let again = run_seed(failure.seed, &options);
            let shown = if again.passed() { failure } else { &again };
            println!("\n{}", report::report(shown, &self.options));
        }
        let worst = totals.failures.first().map_or(0, |failure| failure.verdict.exit_code());
        ExitCode::from(worst)
    }
}

/// How fast a batch went.
struct Rate {
    /// Seeds per second on all threads together.
    seeds: f64,
    /// Virtual time over real time, for each thread.
    speed: f64,
    /// Hours of virtual time.
    hours: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn of(totals: &Totals, seconds: f64, threads: u16) -> Self {
        let virtual_seconds = totals.virtual_ns as f64 / 1e9;
        Self {
            seeds: totals.seeds as f64 / seconds,
            speed: virtual_seconds / seconds / f64::from(threads),
            hours: virtual_seconds / 3600.0,
        }
    }
}

/// The summary for programs. No text of a report is in it, so nothing has to be escaped.
fn json(totals: &Totals, seconds: f64, rate: &Rate) -> String {
    let counters: Vec<String> =
        totals.counters.named().iter().map(|(name, count)| format!("\"{name}\":{count}")).collect();
    let failed: Vec<String> = totals
        .failures
        .iter()
        .map(|failure| {
            let kind = match &failure.verdict {
                Verdict::Passed => "passed",
                Verdict::Crash(_) => "crash",
                Verdict::Violated(violation) => violation.property,
            };
            format!("{{\"seed\":{},\"kind\":\"{kind}\"}}", failure.seed)
        })
        .collect();
    format!(
        "{{\"seeds\":{},\"seconds\":{seconds:.1},\"seeds_per_second\":{:.2},\
         \"real_time_factor\":{:.1},\"virtual_hours\":{:.2},\"traces\":\"{:016x}\",\"failed\":[{}],\
         \"counters\":{{{}}}}}",
        totals.seeds,
        rate.seeds,
        rate.speed,
        rate.hours,
        totals.traces,
        failed.join(","),
        counters.join(",")
    )
}
