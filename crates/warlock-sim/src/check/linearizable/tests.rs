use super::*;
use crate::check::Severity;
use crate::check::oracle::{Plan, has_order, honest, mutated};
use crate::check::script::{Script, failed, unknown};

const MS: u64 = 1_000_000;

fn verdict(history: &History) -> Verdict {
    let bound = TtlBound { rate_error_ppm: 50_000, outages_ns: Vec::new() };
    linearizability(history, &bound, Budget { tries_max: 2_000_000 })
}

fn accepts(script: Script) {
    let history = script.history();
    let found = verdict(&history).violations;
    assert!(found.is_empty(), "{found:?}");
}

fn rejects(script: Script) -> Violation {
    let mut found = verdict(&script.history()).violations;
    assert_eq!(found.len(), 1);
    let violation = found.remove(0);
    assert_eq!(violation.severity, Severity::Safety);
    violation
}

#[test]
fn overlapping_operations_take_effect_in_any_order() {
    let script = Script::new().op("SET k a", 0, 100, "OK").op("SET k b", 0, 100, "OK");
    let script = script.op("GET k", 10, 20, "b").op("GET k", 30, 40, "a");
    accepts(script.op("GET k", 0, 50, "-"));
}

#[test]
fn unknown_operations_happen_late_or_never() {
    let script = unknown(Script::new(), "SET k a", 0).op("SET k b", 10, 20, "OK");
    accepts(script.op("GET k", 30, 40, "b").op("GET k", 50, 60, "a").op("GET k", 70, 80, "a"));
    accepts(
        unknown(Script::new(), "DEL k", 0).op("SET k b", 10, 20, "OK").op("GET k", 30, 40, "b"),
    );
}

#[test]
fn unknown_increments_fill_the_gaps() {
    let mut script = Script::new();
    for at in 0..30 {
        script = unknown(script, "INCR c", at);
    }
    let script = script.op("INCR c", 100, 110, "4").op("INCR c", 120, 130, "32");
    accepts(script);
}

#[test]
fn unknown_tokens_may_come_in_any_order() {
    let mut script = Script::new();
    for token in 'a'..='p' {
        script = unknown(script, &format!("APPEND l {token};"), 0);
    }
    accepts(script.op("APPEND l z;", 5, 6, "8").op("GET l", 10, 20, "p;c;a;z;"));
}

#[test]
fn keys_named_together_are_judged_together() {
    let script = || Script::new().op("MSET j a k a", 0, 100, "OK");
    accepts(script().op("MGET j k", 10, 20, "- -").op("MGET j k", 30, 40, "a a"));
    rejects(script().op("MGET j k", 10, 20, "- a"));
    rejects(script().op("GET j", 10, 20, "a").op("GET k", 30, 40, "-"));
}

#[test]
fn locks_are_taken_and_left() {
    let script = Script::new().op("SETNX k a", 0, 10, "1").op("SETNX k b", 20, 30, "0");
    let script = script.op("DEL k", 40, 50, "1").op("SETNX k b", 45, 60, "1");
    accepts(script.op("DEL k j", 70, 80, "1").op("GETSET k x", 90, 95, "-"));
}

#[test]
fn a_lock_that_runs_out_may_be_taken_again_but_not_before() {
    let script = || Script::new().op("SETNX k a PX 105", 0, 10, "1");
    accepts(script().op("SETNX k b PX 105", 99 * MS, 100 * MS, "1"));
    rejects(script().op("SETNX k b PX 105", 98 * MS, 99 * MS, "1"));
    let gone = script().op("GET k", 200 * MS, 201 * MS, "-");
    rejects(gone.op("GET k", 202 * MS, 203 * MS, "a"));
    let kept = script().op("PEXPIRE k 1050", 50 * MS, 60 * MS, "1");
    rejects(kept.op("GET k", 500 * MS, 501 * MS, "-"));
    let permanent = script().op("SET k b", 50 * MS, 60 * MS, "OK");
    rejects(permanent.op("GET k", 500 * MS, 501 * MS, "-"));
}

#[test]
fn a_stale_read_is_found_and_told() {
    let script = Script::new().op("SET k a", 0, 10, "OK").op("SET k b", 20, 30, "OK");
    let found = rejects(script.op("GET k", 40, 50, "a"));
    assert_eq!(
        found.to_string(),
        "linearizability: no order explains k: after 2 of 3 operations, when it holds b, op2 \
         c2->n1 GET k [0.000000s..0.000000s] a cannot come; nothing ran beside it"
    );
    assert_eq!(found.operations, [OpId::at(2)]);
}

#[test]
fn values_that_go_back_are_found() {
    let script = Script::new().op("SET k a", 0, 100, "OK").op("SET k b", 0, 100, "OK");
    let script = script.op("GET k", 10, 20, "b").op("GET k", 30, 40, "a");
    rejects(script.op("GET k", 50, 60, "b"));
}

#[test]
fn a_lost_update_is_found() {
    rejects(Script::new().op("INCR c", 0, 100, "1").op("INCR c", 0, 100, "1"));
    rejects(Script::new().op("APPEND l ab", 0, 10, "2").op("APPEND l ab", 20, 30, "2"));
    rejects(Script::new().op("SETNX k a", 0, 100, "1").op("SETNX k b", 0, 100, "1"));
    rejects(Script::new().op("GETSET k a", 0, 100, "-").op("GETSET k b", 0, 100, "-"));
    rejects(Script::new().op("SET k a", 0, 1, "OK").op("DEL k", 2, 9, "1").op("DEL k", 2, 9, "1"));
}

#[test]
fn a_refused_operation_that_happened_is_found() {
    let script = Script::new().op("SET k a", 0, 10, "OK");
    rejects(failed(script, "DEL k", 20, 30).op("GET k", 40, 50, "-"));
}

#[test]
fn an_effect_before_the_invocation_is_found() {
    rejects(unknown(Script::new().op("GET k", 0, 10, "a"), "SET k a", 11));
}

#[test]
fn an_answer_to_another_question_is_found() {
    let mut history = Script::new().op("SET k a", 0, 10, "OK").history();
    let mut operations = history.operations().to_vec();
    operations[0].outcome = crate::history::Outcome::Ok(Reply::Number(1));
    history.replace_operations(operations);
    assert_eq!(verdict(&history).violations.len(), 1);
}

#[test]
fn pipelines_keep_their_order() {
    // Both operations are of one client, and their times overlap.
    let judge = |first: &str, second: &str, read: &str| {
        let script = Script::new().op(first, 0, 100, "OK").op(second, 0, 100, "OK");
        let mut history = script.op("GET k", 200, 210, read).history();
        let mut operations = history.operations().to_vec();
        operations[1].client = operations[0].client;
        history.replace_operations(operations);
        let bound = TtlBound::default();
        let free = linearizability(&history, &bound, Budget::default()).violations.len();
        let ordered = linearizability_in_order(&history, &bound, Budget::default());
        (free, ordered.violations.len())
    };
    assert_eq!(judge("SET k a", "SET k b", "b"), (0, 0));
    assert_eq!(judge("SET k a", "SET k b", "a"), (0, 1));
    assert_eq!(judge("SET k b", "MSET k a j a", "b"), (0, 1));
}

#[test]
fn giving_up_is_no_pass() {
    let script = Script::new().op("SET k a", 0, 10, "OK").op("SET k b", 20, 30, "OK");
    let bound = TtlBound::default();
    let found = linearizability(&script.history(), &bound, Budget { tries_max: 1 }).violations;
    assert_eq!(found[0].severity, Severity::Unverified);
}

/// Compares with the judge that tries everything; counts how often the answer was "no".
fn compare(plan: Plan, seeds: u64) -> u64 {
    let mut refused = 0;
    for seed in 0..seeds {
        let good = honest(seed, plan);
        assert!(verdict(&good).violations.is_empty(), "seed {seed}: {good:?}");
        let bad = mutated(&good, seed);
        let expected = has_order(&bad);
        let found = verdict(&bad).violations;
        let told: Vec<String> = bad.iter().map(|(id, _)| bad.describe(id)).collect();
        assert_eq!(found.is_empty(), expected, "seed {seed}: {found:?} {told:#?}");
        refused += u64::from(!expected);
    }
    refused
}

#[test]
fn tiny_histories_are_judged_as_by_trying_everything() {
    let plan = Plan { operations: 7, clients: 3, keys: 2, unknown_per_mille: 300, mixed: true };
    assert!(compare(plan, 4000) > 800, "most changes must be noticed");
    let plan = Plan { mixed: false, keys: 3, ..plan };
    assert!(compare(plan, 4000) > 800, "most changes must be noticed");
    let plan = Plan { mixed: true, keys: 1, clients: 6, unknown_per_mille: 100, ..plan };
    assert!(compare(plan, 4000) > 800, "most changes must be noticed");
}

#[test]
fn long_histories_with_many_clients_are_judged_within_the_budget() {
    for (mixed, keys, clients) in [(true, 1, 5), (true, 3, 8), (false, 6, 16)] {
        let plan = Plan { operations: 3000, clients, keys, unknown_per_mille: 10, mixed };
        for seed in 0..10 {
            let history = honest(seed, plan);
            let found = verdict(&history);
            assert!(found.violations.is_empty(), "{plan:?} {seed}: {:?}", found.violations);
        }
    }
}
