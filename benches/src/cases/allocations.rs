//! Heap allocations per operation on the master, counted by valgrind.
//!
//! Valgrind counts every allocation of a process from start to end. Three clusters that differ
//! only in the number of operations give the cost of one: all that is not due to operations is
//! the same in each and cancels out. The allocator must be the system's for valgrind to see it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::report::{Bar, Floor, Spread, Unit};
use crate::system::System as _;
use crate::system::warlock::{Warlock, WarlockOptions};
use crate::workload::{Stop, Workload};
use crate::{Error, Result, error::Context as _};

/// Counts allocations per `SET` and per `GET` with clusters of `program` below `root`.
pub fn measure(root: &Path, program: &Path, operations: u64) -> Result<Vec<Bar>> {
    let few = run(root, program, operations, 0)?;
    let many = run(root, program, operations * 3, 0)?;
    let reads = run(root, program, operations, operations * 4)?;
    let per_operation = |more: &Count, operations: u64| {
        (more.allocations as f64 - few.allocations as f64) / operations as f64
    };
    let per_set = Spread::single(per_operation(&many, operations * 2));
    let per_get = Spread::single(per_operation(&reads, operations * 4));
    let remark = "under valgrind, 50 connections";
    Ok(vec![
        Bar::measured(
            CASE,
            "allocations per GET, master",
            Unit::Count,
            Floor::AtMost(1.0),
            per_get,
        )
        .on(&few.systems)
        .remark(remark),
        Bar::measured(
            CASE,
            "allocations per SET, master",
            Unit::Count,
            Floor::AtMost(6.0),
            per_set,
        )
        .on(&few.systems)
        .remark(remark),
    ])
}

/// What one cluster's master allocated.
struct Count {
    allocations: u64,
    systems: String,
}

/// Lets one cluster do this many writes, then reads, and end.
fn run(root: &Path, program: &Path, writes: u64, reads: u64) -> Result<Count> {
    let logs = tempfile::tempdir_in(root)?;
    let mut options = WarlockOptions::new(program.to_owned());
    let log = logs.path().join("%p.txt");
    options.wrapper = ["valgrind", "--trace-children=yes", "--undef-value-errors=no"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--log-file={}", log.display())])
        .collect();
    // Valgrind is some thirty times slower, and heartbeats are not what is counted.
    options.environment = [("LEASE", "10000"), ("HEARTBEAT", "2000")]
        .map(|(name, ms)| (format!("WARLOCK_CONSENSUS_{name}_MS"), ms.to_owned()))
        .to_vec();
    options.patience = Duration::from_secs(180);
    let mut warlock = Warlock::start(root, &options)?;
    let master = warlock.master()?;
    let pid = warlock.nodes()[master].pid();
    let workload = Workload { keys: KEYS, ..Workload::default() };
    warlock.preload(KEYS, workload.value_length)?;
    warlock.connect(&workload)?.run(Stop::Operations(writes))?;
    let workload = Workload { reads_percent: 100, ..workload };
    warlock.connect(&workload)?.run(Stop::Operations(reads))?;
    if warlock.master()? != master {
        return Err(Error::new("the master changed while allocations were counted"));
    }
    let systems = warlock.description().to_owned();
    warlock.stop(options.patience)?;
    let text = fs::read_to_string(logs.path().join(format!("{pid}.txt"))).context("valgrind")?;
    Ok(Count { allocations: parse_allocations(&text)?, systems })
}

/// From the line `total heap usage: 1,234 allocs, 1,230 frees, 5,678 bytes allocated`.
fn parse_allocations(text: &str) -> Result<u64> {
    text.lines()
        .find_map(|line| line.split_once("total heap usage:")?.1.split_once(" allocs"))
        .and_then(|(count, _)| count.trim().replace(',', "").parse().ok())
        .ok_or_else(|| Error::new("valgrind printed no heap usage"))
}

const CASE: &str = "allocations";

/// Keys that exist before anything is counted, so that reads hit and writes overwrite.
const KEYS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_usage_is_read_with_its_thousands_separators() {
        let text = "==7== HEAP SUMMARY:\n==7==     in use at exit: 1 bytes in 1 blocks\n\
                    ==7==   total heap usage: 1,234,567 allocs, 9 frees, 10 bytes allocated\n";
        assert_eq!(parse_allocations(text).unwrap(), 1_234_567);
        assert!(parse_allocations("nothing").is_err());
    }
}
