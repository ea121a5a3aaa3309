use super::*;
use crate::check::linearizable::{Budget, linearizability};
use crate::check::oracle::{Plan, honest, mutated};
use crate::check::script::{Script, unknown};
use crate::check::ttl::TtlBound;

fn violations(script: Script) -> Vec<Violation> {
    let found = strict_serializability(&script.history());
    assert!(found.keys_checked > 0, "the history says nothing");
    found.verdict.violations
}

fn accepts(script: Script) {
    let found = violations(script);
    assert!(found.is_empty(), "{found:?}");
}

fn rejects(script: Script) -> Violation {
    violations(script).into_iter().next().expect("a violation")
}

#[test]
fn overlapping_operations_take_effect_in_any_order() {
    let script = Script::new().op("SET k a", 0, 100, "OK").op("SET k b", 0, 100, "OK");
    accepts(script.op("GET k", 10, 20, "b").op("GET k", 30, 40, "a").op("GET k", 0, 5, "-"));
    let script = unknown(Script::new(), "SET k a", 0).op("SET k b", 10, 20, "OK");
    accepts(script.op("GET k", 30, 40, "b").op("GET k", 50, 60, "a"));
}

#[test]
fn replaced_values_follow_each_other() {
    let script = Script::new().op("SETNX k a", 0, 10, "1").op("GETSET k b", 0, 20, "a");
    accepts(script.op("GETSET k c", 5, 30, "b").op("GET k", 5, 40, "-").op("GET k", 31, 40, "c"));
    accepts(unknown(Script::new(), "INCR c", 0).op("INCR c", 0, 10, "2").op("GET c", 5, 9, "1"));
    accepts(Script::new().op("APPEND l ab", 0, 9, "2").op("APPEND l c", 0, 9, "3"));
}

#[test]
fn a_stale_read_is_found() {
    let script = Script::new().op("SET k a", 0, 10, "OK").op("SET k b", 20, 30, "OK");
    let found = rejects(script.op("GET k", 40, 50, "a"));
    assert_eq!(
        found.sentence,
        "k would have to hold two values at once: op0 c0->n1 SET k a [0.000000s..0.000000s] OK; \
         op1 c1->n1 SET k b [0.000000s..0.000000s] OK; op2 c2->n1 GET k [0.000000s..0.000000s] a"
    );
}

#[test]
fn values_that_go_back_are_found() {
    let script = Script::new().op("SET k a", 0, 100, "OK").op("SET k b", 0, 100, "OK");
    let script = script.op("GET k", 10, 20, "b").op("GET k", 30, 40, "a");
    rejects(script.op("GET k", 50, 60, "b"));
}

#[test]
fn reads_of_what_is_not_there_yet_are_found() {
    rejects(Script::new().op("GET k", 0, 10, "a").op("SET k a", 20, 30, "OK"));
    rejects(Script::new().op("GET k", 0, 10, "x").op("SET k a", 20, 30, "OK"));
    rejects(Script::new().op("SET k a", 0, 10, "OK").op("GET k", 20, 30, "-"));
}

#[test]
fn torn_and_crossed_operations_on_several_keys_are_found() {
    let script = || Script::new().op("MSET j a k b", 0, 100, "OK");
    accepts(script().op("MGET j k", 10, 20, "- -").op("MGET j k", 30, 40, "a b"));
    rejects(script().op("MGET j k", 10, 20, "a -"));
    // Each key alone is fine; together the readers disagree about which write came first.
    let script = Script::new().op("SET j a", 0, 100, "OK").op("SET k b", 0, 100, "OK");
    let script = script.op("MGET j k", 0, 100, "a -").op("MGET j k", 0, 100, "- b");
    let found = rejects(script);
    assert!(found.sentence.starts_with("each must come before the next"), "{found}");
    assert_eq!(found.operations.len(), 4);
}

#[test]
fn lost_updates_of_counters_and_lists_are_found() {
    rejects(Script::new().op("INCR c", 0, 100, "1").op("INCR c", 0, 100, "1"));
    rejects(Script::new().op("INCR c", 0, 10, "2").op("INCR c", 20, 30, "1"));
    rejects(Script::new().op("INCR c", 0, 10, "1").op("GET c", 20, 30, "-"));
    rejects(Script::new().op("APPEND l a", 0, 10, "1").op("APPEND l b", 20, 30, "1"));
    let script = Script::new().op("APPEND l a", 0, 9, "1").op("APPEND l b", 0, 9, "2");
    rejects(script.op("GET l", 0, 9, "b").op("GET l", 0, 9, "ab"));
}

#[test]
fn keys_without_versions_are_counted() {
    let script = Script::new().op("SET k a", 0, 10, "OK").op("DEL k", 20, 30, "1");
    let found = strict_serializability(&script.op("SET j a", 0, 1, "OK").history());
    assert_eq!((found.keys_checked, found.keys_skipped), (1, 1));
}

/// Both checkers look at the same histories: of registers, counters and lists.
#[test]
fn versions_agree_with_the_search() {
    let (mut both, mut search_only) = (0, 0);
    for seed in 0..6000 {
        let operations = 8 + seed % 40;
        let plan = Plan { operations, clients: 4, keys: 3, unknown_per_mille: 80, mixed: false };
        let good = honest(seed, plan);
        let found = strict_serializability(&good).verdict.violations;
        assert!(found.is_empty(), "seed {seed}: {found:?}");
        let bad = mutated(&good, seed);
        let search = linearizability(&bad, &TtlBound::default(), Budget::default());
        let versions = strict_serializability(&bad).verdict.violations;
        if search.violations.is_empty() {
            assert!(versions.is_empty(), "seed {seed}: {versions:?}");
        } else if versions.is_empty() {
            search_only += 1;
        } else {
            both += 1;
        }
    }
    assert!(both > 3000, "only {both} found by both");
    assert!(search_only * 10 < both, "{search_only} of {both} escape the versions");
}
