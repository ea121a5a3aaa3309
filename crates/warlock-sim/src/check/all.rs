//! All checkers of histories at once: what the simulator and the runner of real processes ask.

use super::{
    Budget, TtlBound, Verdict, Versions, Violation, durability, linearizability,
    linearizability_in_order, reply_class, single_application, strict_serializability,
    time_to_live,
};
use crate::history::{FinalState, History};

/// What the judges of a history know besides it.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How far clocks may be wrong.
    pub ttl: TtlBound,
    /// Whether what succeeds on a client's connection takes effect in the order of asking.
    pub clients_in_order: bool,
    /// How long to search for an order.
    pub budget: Budget,
}

/// What all checkers together found.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// All violations, the plainest properties first. Empty is a pass.
    pub violations: Vec<Violation>,
    /// What the versions showed.
    pub versions: Versions,
    /// What the search showed.
    pub search: Verdict,
}

/// Has all checkers judge a history, and what nodes held when everything was over.
#[must_use]
pub fn judge_history(history: &History, finals: &[FinalState], rules: &Rules) -> Judgement {
    let mut versions = strict_serializability(history);
    let search_order =
        if rules.clients_in_order { linearizability_in_order } else { linearizability };
    let mut search = search_order(history, &rules.ttl, rules.budget);
    let mut violations = reply_class(history, finals);
    violations.extend(durability(history, finals));
    violations.extend(single_application(history, finals));
    violations.extend(time_to_live(history, &rules.ttl));
    violations.append(&mut versions.verdict.violations);
    violations.append(&mut search.violations);
    Judgement { violations, versions, search }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::oracle::{Plan, honest};
    use crate::check::script::{Script, failed};

    #[test]
    fn one_lie_is_seen_from_several_sides() {
        let script = failed(Script::new().op("SET k a", 0, 10, "OK"), "SET k b", 20, 30);
        let history = script.op("GET k", 40, 50, "b").history();
        let found = judge_history(&history, &[], &Rules::default()).violations;
        let properties: Vec<&str> = found.iter().map(|it| it.property).collect();
        assert_eq!(properties, ["reply class", "strict serializability", "linearizability"]);
    }

    #[test]
    fn an_honest_history_of_many_keys_passes_within_few_choices() {
        let plan = Plan {
            operations: 100_000,
            clients: 16,
            keys: 300,
            unknown_per_mille: 5,
            mixed: false,
        };
        let history = honest(1, plan);
        let found = judge_history(&history, &[], &Rules::default());
        assert!(found.violations.is_empty(), "{:?}", found.violations);
        assert_eq!((found.versions.keys_checked, found.versions.keys_skipped), (300, 0));
        assert_eq!(found.search.parts, 300);
        assert!(found.search.effort < 1_000_000, "{} choices", found.search.effort);
    }
}
