//! Random exploration: thousands of short lives of small clusters, each drawn from one seed.
//!
//! `WARLOCK_SEEDS=100000 cargo test -p warlock-paxos --test it exploration` looks further, and
//! `WARLOCK_SEED=17` repeats one run and prints its end, the last `WARLOCK_LINES` lines of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::cluster::Cluster;

const SEEDS: u64 = 300;
/// How long faults happen in one run, in nanoseconds of its own time.
const STORM: u64 = 6_000_000_000;

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// One run; how many writes were acknowledged and changes decided, or what went wrong.
fn run(seed: u64, lines: usize, begin: fn(u64) -> Cluster) -> Result<(usize, usize), String> {
    let mut cluster = begin(seed);
    cluster.trace(lines);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        cluster.storm(STORM);
        cluster.heal();
    }));
    match outcome {
        Ok(()) => Ok((cluster.checker.acknowledgements, cluster.checker.changes)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            Err(format!("WARLOCK_SEED={seed}: {text}\n{}", cluster.describe()))
        }
    }
}

/// Many runs; how many writes were acknowledged and changes decided in all.
pub(crate) fn explore(seeds: u64, begin: fn(u64) -> Cluster) -> (usize, usize) {
    let only = number("WARLOCK_SEED");
    let seeds = only.map_or(1..=seeds, |seed| seed..=seed);
    let lines = only.and_then(|_| number("WARLOCK_LINES").or(Some(60))).unwrap_or(0);
    let lines = usize::try_from(lines).expect("few");
    let outcomes: Vec<_> = seeds.map(|seed| run(seed, lines, begin)).collect();
    let failures: Vec<&String> = outcomes.iter().filter_map(|run| run.as_ref().err()).collect();
    if let Some(first) = failures.first() {
        let heads: Vec<&str> =
            failures.iter().filter_map(|failure| failure.lines().next()).collect();
        let (count, heads) = (failures.len(), heads.join("\n"));
        panic!("{count} of {} runs failed:\n{heads}\nthe first: {first}", outcomes.len());
    }
    let done = outcomes.into_iter().flatten();
    done.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1))
}

#[test]
fn agreement_leases_and_fates_hold_in_any_weather() {
    let seeds = number("WARLOCK_SEEDS").unwrap_or(SEEDS);
    let (acknowledged, _) = explore(seeds, Cluster::new);
    assert!(acknowledged > 0, "the weather was too bad to prove anything");
}
