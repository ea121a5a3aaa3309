//! What a cluster takes when nothing happens: memory per key, processor time and syncs at rest.

use std::thread;
use std::time::Duration;

use crate::Result;
use crate::process::{cpu_time, resident_bytes};
use crate::report::{Bar, Floor, Spread, Unit};
use crate::system::System;
use crate::system::redis::Redis;
use crate::system::warlock::Warlock;
use crate::workload::KEY_LENGTH;

/// Growth of resident memory per key beyond key and value. Both systems must be fresh.
pub fn memory(warlock: &Warlock, redis: &Redis, keys: u64) -> Result<Vec<Bar>> {
    let per_node = bytes_per_key(warlock, keys)?;
    let of_redis = bytes_per_key(redis, keys)?;
    let worst = per_node.iter().copied().fold(f64::MIN, f64::max);
    let figure = format!("memory per key beyond key and value, {keys} keys of 16 + 16 B");
    let all: Vec<String> = per_node.iter().map(|bytes| format!("{bytes:.1}")).collect();
    let floor = Floor::AtMost(80.0);
    Ok(vec![
        Bar::measured("memory", &figure, Unit::Bytes, floor, Spread::single(worst))
            .on(warlock.description())
            .remark(format!("growth of resident memory, worst node of {}", all.join(", "))),
        Bar::measured("memory", figure, Unit::Bytes, Floor::None, Spread::of(of_redis)?)
            .on(redis.description())
            .remark("for comparison"),
    ])
}

fn bytes_per_key(system: &dyn System, keys: u64) -> Result<Vec<f64>> {
    let pids = system.pids();
    let before = settled_memory(&pids)?;
    system.preload(keys, VALUE_LENGTH)?;
    let after = settled_memory(&pids)?;
    let payload = (KEY_LENGTH + VALUE_LENGTH) as f64;
    let growth = after.iter().zip(&before).map(|(&after, &before)| after as f64 - before as f64);
    Ok(growth.map(|bytes| bytes / keys as f64 - payload).collect())
}

/// Resident memory of each process once it has stopped moving, at most half a minute from now.
fn settled_memory(pids: &[u32]) -> Result<Vec<u64>> {
    let read = || pids.iter().map(|&pid| resident_bytes(pid)).collect::<Result<Vec<u64>>>();
    let mut previous = read()?;
    for _ in 0..15 {
        thread::sleep(Duration::from_secs(2));
        let now = read()?;
        let still = |(&now, &before): (&u64, &u64)| now.abs_diff(before) <= before / 200;
        if now.iter().zip(&previous).all(still) {
            return Ok(now);
        }
        previous = now;
    }
    Ok(previous)
}

/// Processor time and syncs of a cluster that holds data and that nobody talks to.
pub fn idle(warlock: &Warlock, watch: Duration) -> Result<Vec<Bar>> {
    warlock.preload(10_000, VALUE_LENGTH)?;
    warlock.wait_healthy(Duration::from_secs(30))?;
    thread::sleep(Duration::from_secs(3));
    let pids = warlock.pids();
    let each = |pids: &[u32]| pids.iter().map(|&pid| cpu_time(&[pid])).collect::<Result<Vec<_>>>();
    let syncs_before = total_syncs(warlock)?;
    let before = each(&pids)?;
    thread::sleep(watch);
    let after = each(&pids)?;
    let syncs = total_syncs(warlock)? - syncs_before;
    let percent = |(after, before): (&Duration, &Duration)| {
        after.saturating_sub(*before).as_secs_f64() * 100.0 / watch.as_secs_f64()
    };
    let worst = after.iter().zip(&before).map(percent).fold(0.0, f64::max);
    let seconds = watch.as_secs();
    let (figure, floor) = ("CPU at rest, the node with most", Floor::AtMost(1.0));
    Ok(vec![
        Bar::measured("idle", figure, Unit::Percent, floor, Spread::single(worst))
            .on(warlock.description())
            .remark(format!("of one processor, over {seconds} s")),
        Bar::measured(
            "idle",
            format!("fsyncs at rest in {seconds} s, all nodes"),
            Unit::Count,
            Floor::AtMost(0.0),
            Spread::single(syncs),
        )
        .on(warlock.description()),
    ])
}

fn total_syncs(warlock: &Warlock) -> Result<f64> {
    warlock.nodes().iter().map(|node| node.syncs()).sum()
}

const VALUE_LENGTH: usize = 16;
