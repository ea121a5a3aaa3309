//! Chaos: real processes under faults drawn from a seed, and a verdict on everything that their
//! clients were told.
//!
//! ```text
//! plan (seed) --> conductor --> arena: processes, links, disks, clocks
//!                                 ^
//! 16 workers ---- RESP -----------'      every operation, and what came of it
//!     '--> keys: generations of short histories --> judge: checkers of warlock-sim
//! ```
//!
//! The plan depends on the seed alone. What the faults meet does not: processes are scheduled by
//! the operating system, so a seed is a way to talk about a run and not a way to repeat it. That
//! is why a run that finds something keeps everything.

mod arena;
mod checks;
mod conductor;
mod fault;
mod folder;
mod judge;
mod keys;
mod links;
mod meter;
mod plan;
mod random;
mod record;
mod report;
mod slow;
mod worker;

use std::any::Any;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arena::Arena;
use conductor::{Conductor, Interrupt};
use judge::Judge;
use keys::Keys;
use meter::Meter;
use plan::Plan;
use report::Reporter;
use worker::{Caller, Worker};

pub use fault::Kind;
pub use meter::Counts;
pub use report::Figures;

/// Most unknown replies of a hundred outside disturbed times.
const UNKNOWN_PERCENT_MAX: u64 = 1;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// From which the faults and the load are drawn.
    pub seed: u64,
    /// How many nodes, 3 to 7.
    pub nodes: u16,
    /// How long faults are let happen.
    pub duration: Duration,
    /// How many clients.
    pub clients: u32,
    /// Most operations of all clients in a second.
    pub rate: u64,
    /// Kinds of fault that may happen.
    pub kinds: Vec<Kind>,
    /// Settings of every node beside those that chaos needs, each a key and a value in TOML.
    pub settings: Vec<(String, String)>,
    /// Where everything is kept if something is found. It is replaced.
    pub folder: PathBuf,
}

impl Options {
    /// A minute of everything against a cluster of three.
    #[must_use]
    pub fn new(seed: u64, folder: PathBuf) -> Self {
        Self {
            seed,
            nodes: 3,
            duration: Duration::from_mins(1),
            clients: 16,
            rate: 8000,
            kinds: Kind::ALL.to_vec(),
            settings: Vec::new(),
            folder,
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing was found.
    Held(Figures),
    /// Something was found, and this is what and what the run was like. Everything is in the
    /// folder.
    Broken(String, Figures),
    /// The run says nothing about the cluster, for this reason.
    NotRun(String),
}

impl Interrupt for AtomicBool {
    fn is_raised(&self) -> bool {
        self.load(Ordering::SeqCst)
    }
}

/// Lets chaos happen and judges what came of it. Raising `interrupted` ends it early and cleans
/// up.
#[must_use]
pub fn run(options: &Options, interrupted: &AtomicBool) -> Verdict {
    let arena = panic::catch_unwind(|| Arena::new(options.nodes, &options.settings));
    let mut arena = match arena {
        Ok(arena) => arena,
        Err(panic) => return Verdict::NotRun(message(panic.as_ref())),
    };
    let meter = Arc::new(Meter::new());
    let mut judge = None;
    let performed = panic::catch_unwind(AssertUnwindSafe(|| {
        judge = Some(perform(options, interrupted, &mut arena, &meter));
    }));
    meter.end();
    if let Err(panic) = performed {
        meter.fail(message(panic.as_ref()));
    }
    if interrupted.is_raised() {
        return Verdict::NotRun("interrupted".to_owned());
    }
    let figures = Figures::of(&meter);
    if figures.has_too_many_unknown() {
        let counts = figures.undisturbed;
        meter.fail(format!(
            "{} of {} replies outside disturbed times are unknown, more than {} %",
            counts.unknown,
            counts.total(),
            UNKNOWN_PERCENT_MAX
        ));
    }
    if let Some(what) = meter.anomaly() {
        let evidence = judge.map(|judge| judge.evidence()).unwrap_or_default();
        folder::keep(options, &what, &meter, &evidence, &mut arena);
        return Verdict::Broken(what, figures);
    }
    figures.verdict()
}

/// Everything between the start of the cluster and the verdict.
fn perform(
    options: &Options,
    interrupted: &AtomicBool,
    arena: &mut Arena,
    meter: &Arc<Meter>,
) -> Judge {
    let nodes: Vec<SocketAddr> = arena.nodes().iter().map(|node| node.client).collect();
    let keys = Arc::new(Keys::new(options.seed));
    let load = Load::start(options, &nodes, &keys, meter);
    let reporter = Reporter::start(Arc::clone(meter), Arc::clone(&keys));
    let judge = Judge::new(nodes, Arc::clone(meter), Arc::clone(&keys));
    let judging = thread::spawn(|| judge.run());
    let end = Instant::now() + options.duration;
    let plan = Plan::new(options.seed, options.nodes, &options.kinds);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        Conductor::new(arena, meter, interrupted).run(plan, end)
    }));
    meter.end();
    load.join(meter);
    let mut judge = judging.join().expect("judging does not panic");
    let outcome = outcome.unwrap_or_else(|panic| Err(message(panic.as_ref())));
    let outcome = outcome.and_then(|()| {
        if interrupted.is_raised() || meter.anomaly().is_some() {
            return Ok(());
        }
        arena.await_agreement()?;
        judge.finish();
        let (applied, digest) = arena.await_agreement()?;
        meter.tell(&format!("all nodes applied {applied} slots and have digest {digest}"));
        Ok(())
    });
    if let Err(what) = outcome {
        meter.fail(what);
    }
    drop(reporter);
    judge
}

/// The threads of all clients.
struct Load(Vec<JoinHandle<()>>);

impl Load {
    fn start(
        options: &Options,
        nodes: &[SocketAddr],
        keys: &Arc<Keys>,
        meter: &Arc<Meter>,
    ) -> Self {
        let rate = options.rate / u64::from(options.clients.max(1));
        let start = |number| {
            let caller = Caller::new(number, nodes.to_vec(), Arc::clone(meter));
            let worker = Worker::new(caller, Arc::clone(keys), options.seed, rate.max(1));
            thread::spawn(|| worker.run())
        };
        Self((0..options.clients).map(start).collect())
    }

    fn join(self, meter: &Meter) {
        for worker in self.0 {
            if let Err(panic) = worker.join() {
                meter.fail(format!("a client panicked: {}", message(panic.as_ref())));
            }
        }
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
