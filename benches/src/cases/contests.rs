//! Throughput, processor time and latency against another system, in turns.

use crate::Result;
use crate::pairs::{Plan, Side, compare};
use crate::report::{Bar, Floor, Runs, Unit};
use crate::system::System;
use crate::system::warlock::Warlock;
use crate::workload::Workload;

/// One workload on two systems.
#[derive(Clone, Debug)]
pub struct Contest {
    /// Name of the case.
    pub case: &'static str,
    /// Name of the workload.
    pub name: &'static str,
    /// What is sent.
    pub workload: Workload,
    /// What the ratio of throughputs must reach.
    pub floor: Floor,
}

impl Contest {
    /// Runs the contest; the ratios as bars, and the runs behind them.
    pub fn run(
        &self,
        warlock: &mut Warlock,
        other: &dyn System,
        plan: Plan,
    ) -> Result<(Vec<Bar>, Runs)> {
        if self.workload.reads_percent > 0 {
            warlock.preload(self.workload.keys, self.workload.value_length)?;
            other.preload(self.workload.keys, self.workload.value_length)?;
        }
        let master = warlock.master()?;
        let comparison = compare(warlock, other, &self.workload, plan)?;
        let mut remarks = Vec::new();
        if warlock.master()? != master {
            remarks.push("the master changed".to_owned());
        }
        if comparison.noisy() > 0 || comparison.discarded > 0 {
            remarks.push(format!(
                "other processes: {} pairs discarded, {} of {} kept ones disturbed",
                comparison.discarded,
                comparison.noisy(),
                comparison.pairs.len()
            ));
        }
        let remark = remarks.join("; ");
        let systems = format!("{} / {}", warlock.description(), other.description());
        let ratio = |name: &str, floor: Floor, figure: fn(&Side) -> f64| {
            let name = format!("{}: {name}", self.name);
            let spread = comparison.ratio(figure)?;
            let bar = Bar::measured(self.case, name, Unit::Times, floor, spread);
            Result::Ok(bar.on(&systems).remark(&remark))
        };
        let bars = vec![
            ratio("throughput", self.floor, |side| side.operations_per_second)?,
            ratio("server CPU per operation", Floor::None, |side| side.server_us)?,
            ratio("p50 latency", Floor::None, |side| side.p50_us)?,
            ratio("p99 latency", Floor::None, |side| side.p99_us)?,
        ];
        let runs = Runs {
            case: self.case.to_owned(),
            workload: describe(&self.workload),
            ours: warlock.description().to_owned(),
            theirs: other.description().to_owned(),
            comparison,
        };
        Ok((bars, runs))
    }
}

fn describe(workload: &Workload) -> String {
    format!(
        "{} % reads, {} connections x {} in flight, {} keys, {} B values",
        workload.reads_percent,
        workload.connections,
        workload.pipeline,
        workload.keys,
        workload.value_length
    )
}
