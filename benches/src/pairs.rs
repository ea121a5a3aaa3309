//! Two systems under the same load, in turns.
//!
//! Both stay up all the time and take the load in the order A B B A, so that a drift of the
//! machine hits both alike. Every figure is the median of the ratios within the pairs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::{MachineCpu, cpu_time};
use crate::report::Spread;
use crate::system::System;
use crate::workload::{Load, Outcome, Stop, Workload};
use crate::{Error, Result, error::Context as _};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Pairs of runs, at least 1.
    pub pairs: usize,
    /// Length of a run.
    pub run: Duration,
    /// Load before each run that is not measured.
    pub warm_up: Duration,
}

/// What one run of one system cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Side {
    /// Operations per second.
    pub operations_per_second: f64,
    /// Processor microseconds of all server processes per operation.
    pub server_us: f64,
    /// Processor microseconds of the client per operation.
    pub client_us: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// Latency in microseconds that 99 percent stay below.
    pub p99_us: f64,
}

/// One run of each system, next to each other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// The system under test.
    pub ours: Side,
    /// What it is compared with.
    pub theirs: Side,
    /// Share of the machine, 0 to 1, that went to neither the servers nor the client.
    pub foreign: f64,
}

impl Pair {
    /// Whether something else used so much of the machine that the pair says little.
    pub fn is_noisy(&self) -> bool {
        self.foreign > FOREIGN_MAX
    }
}

/// All pairs of one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The runs, in order.
    pub pairs: Vec<Pair>,
    /// Pairs thrown away because something else was running.
    pub discarded: usize,
}

impl Comparison {
    /// The ratios, ours to theirs, of one figure.
    pub fn ratio(&self, figure: impl Fn(&Side) -> f64) -> Result<Spread> {
        Spread::of(self.pairs.iter().map(|pair| figure(&pair.ours) / figure(&pair.theirs)))
    }

    /// Pairs that were kept although something else was running.
    pub fn noisy(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.is_noisy()).count()
    }
}

/// Runs `workload` on both systems. Noisy pairs are repeated, as often as there are pairs; what
/// is noisy after that stays and is counted.
pub fn compare(
    ours: &dyn System,
    theirs: &dyn System,
    workload: &Workload,
    plan: Plan,
) -> Result<Comparison> {
    let mut known = ours.pids();
    known.extend(theirs.pids());
    known.push(std::process::id());
    let mut sides = [Bench::new(ours, workload)?, Bench::new(theirs, workload)?];
    let mut comparison = Comparison { pairs: Vec::new(), discarded: 0 };
    let mut turn = 0;
    while comparison.pairs.len() < plan.pairs {
        let meter = NoiseMeter::start(&known)?;
        let pair = run_pair(&mut sides, turn, plan)?;
        let pair = Pair { foreign: meter.foreign_share()?, ..pair };
        turn += 1;
        if pair.is_noisy() && comparison.discarded < plan.pairs {
            comparison.discarded += 1;
        } else {
            comparison.pairs.push(pair);
        }
    }
    Ok(comparison)
}

/// Every second pair starts with the other system.
fn run_pair(sides: &mut [Bench<'_>; 2], turn: usize, plan: Plan) -> Result<Pair> {
    let first = turn % 2;
    let mut results = [None; 2];
    for index in [first, 1 - first] {
        results[index] = Some(sides[index].run(plan)?);
    }
    let [Some(ours), Some(theirs)] = results else {
        return Err(Error::new("a pair has two sides"));
    };
    Ok(Pair { ours, theirs, foreign: 0.0 })
}

/// One system with its client.
struct Bench<'a> {
    system: &'a dyn System,
    load: Box<dyn Load>,
    reads_only: bool,
}

impl<'a> Bench<'a> {
    fn new(system: &'a dyn System, workload: &Workload) -> Result<Self> {
        let load = system.connect(workload).context(system.description())?;
        Ok(Self { system, load, reads_only: workload.reads_percent == 100 })
    }

    fn run(&mut self, plan: Plan) -> Result<Side> {
        let name = self.system.description();
        self.load.run(Stop::After(plan.warm_up)).context(name)?;
        let pids = self.system.pids();
        let before = cpu_time(&pids)?;
        let outcome = self.load.run(Stop::After(plan.run)).context(name)?;
        let server_cpu = cpu_time(&pids)?.saturating_sub(before);
        if self.reads_only && outcome.misses > 0 {
            let message = format!("{name}: {} reads found nothing", outcome.misses);
            return Err(Error::new(message));
        }
        Ok(Side::new(&outcome, server_cpu))
    }
}

impl Side {
    fn new(outcome: &Outcome, server_cpu: Duration) -> Self {
        Self {
            operations_per_second: outcome.throughput(),
            server_us: server_cpu.as_secs_f64() * 1e6 / outcome.operations.max(1) as f64,
            client_us: outcome.client_us_per_operation(),
            p50_us: outcome.latency_us(50.0),
            p99_us: outcome.latency_us(99.0),
        }
    }
}

/// Sees how much of the machine other processes and other machines take.
struct NoiseMeter<'a> {
    known: &'a [u32],
    known_before: Duration,
    machine_before: MachineCpu,
}

impl<'a> NoiseMeter<'a> {
    fn start(known: &'a [u32]) -> Result<Self> {
        Ok(Self { known, known_before: cpu_time(known)?, machine_before: MachineCpu::now()? })
    }

    fn foreign_share(&self) -> Result<f64> {
        let machine = MachineCpu::now()?;
        let known = cpu_time(self.known)?.saturating_sub(self.known_before).as_secs_f64();
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |after: u64, before: u64| (after - before) as f64 / ticks_per_second;
        let before = self.machine_before;
        let foreign = (seconds(machine.busy, before.busy) - known).max(0.0);
        let stolen = seconds(machine.steal, before.steal);
        Ok((foreign + stolen) / seconds(machine.total, before.total).max(f64::EPSILON))
    }
}

/// Share of the machine that others may use before a pair is discarded.
const FOREIGN_MAX: f64 = 0.05;
