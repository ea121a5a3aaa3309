//! Figures that are counted, so that a busy machine does not change them.

use crate::Result;
use crate::report::{Bar, Floor, Spread, Unit};
use crate::system::System;
use crate::system::redis::Redis;
use crate::system::warlock::Warlock;
use crate::trace::{SystemCalls, Trace};
use crate::workload::{Stop, Workload};

/// Syncs of the write-ahead log per 1,000 writes, on the node that syncs most.
pub fn syncs(warlock: &Warlock, rounds: usize, operations: u64) -> Result<Bar> {
    let mut load = warlock.connect(&Workload::default())?;
    let mut per_thousand = Vec::new();
    for _ in 0..rounds {
        let before = node_syncs(warlock)?;
        let outcome = load.run(Stop::Operations(operations))?;
        let after = node_syncs(warlock)?;
        let most = after.iter().zip(&before).map(|(after, before)| after - before);
        let most = most.fold(0.0, f64::max);
        per_thousand.push(most * 1_000.0 / outcome.operations as f64);
    }
    let figure = "fsyncs per 1,000 SET, 50 connections, the node with most";
    let spread = Spread::of(per_thousand)?;
    let bar = Bar::measured("fsyncs", figure, Unit::Count, Floor::AtMost(80.0), spread);
    Ok(bar.on(warlock.description()))
}

fn node_syncs(warlock: &Warlock) -> Result<Vec<f64>> {
    warlock.nodes().iter().map(|node| node.syncs()).collect()
}

/// System calls per operation: of the master, of a follower, and of Redis for comparison.
pub fn system_calls(warlock: &mut Warlock, redis: &Redis, operations: u64) -> Result<Vec<Bar>> {
    warlock.preload(Workload::default().keys, Workload::default().value_length)?;
    redis.preload(Workload::default().keys, Workload::default().value_length)?;
    let directory = warlock.directory().to_owned();
    let master = warlock.master()?;
    let follower = (master + 1) % warlock.nodes().len();
    let writes = Workload::default();
    let reads = Workload { reads_percent: 100, ..Workload::default() };

    let mut bars = Vec::new();
    let mut count = |name: &str, system: &dyn System, pid: u32, workload: &Workload| {
        let mut load = system.connect(workload)?;
        let trace = Trace::attach(pid, &directory)?;
        let outcome = load.run(Stop::Operations(operations))?;
        let calls = trace.finish()?;
        bars.push(bar(name, &calls, outcome.operations).on(system.description()));
        Result::Ok(())
    };
    let nodes = warlock.nodes();
    count("SET, master", warlock, nodes[master].pid(), &writes)?;
    count("SET, follower", warlock, nodes[follower].pid(), &writes)?;
    count("GET, master", warlock, nodes[master].pid(), &reads)?;
    count("SET, Redis", redis, redis.pid(), &writes)?;
    count("GET, Redis", redis, redis.pid(), &reads)?;
    Ok(bars)
}

fn bar(name: &str, calls: &SystemCalls, operations: u64) -> Bar {
    let figure = format!("system calls per {name}, 50 connections");
    let per_operation = Spread::single(calls.total() as f64 / operations as f64);
    let syncs = calls.syncs() as f64 * 1_000.0 / operations as f64;
    Bar::measured("system-calls", figure, Unit::Count, Floor::None, per_operation).remark(format!(
        "traced, so slowed down; fsyncs per 1,000: {syncs:.1}; {}",
        calls.top(operations)
    ))
}
