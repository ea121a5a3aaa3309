//! Each write takes effect at most once, and exactly once if it was acknowledged (W1, P5).
//!
//! Two views. [`SingleApplication`] stands inside the simulator and follows each proposal by its
//! name. [`single_application`] looks from outside at keys that only grow, where a second effect
//! cannot hide:
//!
//! * counters, changed by `INCRBY` with positive amounts only: the sum of the acknowledged amounts
//!   `<=` the final value `<=` that sum and all unknown amounts; and no two replies are equal;
//! * lists, changed by `APPEND` of different tokens only, none of which begins another one (end
//!   them with the same letter): each acknowledged token occurs once, each unknown one at most
//!   once, and nothing else occurs.

use std::collections::BTreeMap;

use warlock_paxos::{NodeId, Origin, Slot};

use super::Violation;
use super::growing::{Counter, Growing, List, number};
use crate::history::{FinalState, History, Key, Value};

const PROPERTY: &str = "single application";

/// Where each proposal took effect.
#[derive(Clone, Debug, Default)]
pub struct SingleApplication {
    executed: BTreeMap<Origin, (Slot, NodeId)>,
    refused: BTreeMap<Origin, NodeId>,
}

impl SingleApplication {
    /// `node` executes proposal `origin` in `slot`. A slot executed again after a restart is told
    /// again.
    ///
    /// # Errors
    /// When the proposal was executed in another slot, or its client was told that it never is.
    pub fn observe_executed(
        &mut self,
        node: NodeId,
        slot: Slot,
        origin: Origin,
    ) -> Result<(), Violation> {
        let (known, first) = *self.executed.entry(origin).or_insert((slot, node));
        if known != slot {
            let sentence = format!(
                "{node} executes proposal {origin} in {slot}, but {first} executed it in {known}"
            );
            return Err(Violation::safety(PROPERTY, &[node, first], sentence));
        }
        if let Some(&by) = self.refused.get(&origin) {
            return Err(refused_and_executed(origin, by, slot, node));
        }
        Ok(())
    }

    /// `node` tells a client that proposal `origin` is definitely not executed.
    ///
    /// # Errors
    /// When it was.
    pub fn observe_refused(&mut self, node: NodeId, origin: Origin) -> Result<(), Violation> {
        self.refused.insert(origin, node);
        match self.executed.get(&origin) {
            Some(&(slot, by)) => Err(refused_and_executed(origin, node, slot, by)),
            None => Ok(()),
        }
    }
}

fn refused_and_executed(origin: Origin, told: NodeId, slot: Slot, by: NodeId) -> Violation {
    let sentence = format!(
        "{told} said that proposal {origin} is not executed, but {by} executes it in {slot}"
    );
    Violation::safety(PROPERTY, &[told, by], sentence)
}

/// Checks all keys that only grow, in a history and in what each node of `finals` holds in the end.
#[must_use]
pub fn single_application(history: &History, finals: &[FinalState]) -> Vec<Violation> {
    let growing = Growing::of(history);
    let mut found: Vec<Violation> =
        growing.counters().filter_map(|counter| equal_replies(history, counter)).collect();
    for state in finals {
        for (key, value) in state.values() {
            let problem = if let Some(counter) = growing.counter(key) {
                counter_ends(history, counter, value)
            } else if let Some(list) = growing.list(key) {
                list_ends(history, key, list, value)
            } else {
                None
            };
            if let Some(problem) = problem {
                let sentence = format!("{}: {problem}", state.node());
                found.push(Violation::safety(PROPERTY, &[state.node()], sentence));
            }
        }
    }
    found
}

fn equal_replies(history: &History, counter: &Counter) -> Option<Violation> {
    let mut replies = counter.acknowledged.clone();
    replies.sort_unstable();
    let twice = replies.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
    let (first, second) = (twice[0].1, twice[1].1);
    let sentence = format!(
        "{} and {} came to the same sum",
        history.describe(first),
        history.describe(second)
    );
    Some(Violation::safety(PROPERTY, &[], sentence).shown_by(&[first, second]))
}

fn counter_ends(history: &History, counter: &Counter, value: Option<Value>) -> Option<String> {
    let name = history.key_text(counter.key);
    let Some(end) = number(history, value) else {
        return Some(format!("counter {name} ends as {}", history.found_text(value)));
    };
    let least = counter.sum_acknowledged;
    let most = least + counter.sum_unknown;
    if end < least {
        return Some(format!(
            "counter {name} ends at {end}, but {least} were acknowledged: {} are lost",
            least - end
        ));
    }
    (end > most).then(|| {
        format!(
            "counter {name} ends at {end}, but {least} were acknowledged and {} more are \
             unknown: {} are counted twice or were refused",
            counter.sum_unknown,
            end - most
        )
    })
}

fn list_ends(history: &History, key: Key, list: &List, value: Option<Value>) -> Option<String> {
    let name = history.key_text(key);
    let content = value.map_or(&[][..], |value| history.value_bytes(value));
    let tokens = match list.split(history, content) {
        Ok(tokens) => tokens,
        Err(rest) => {
            let rest = rest[..rest.len().min(40)].escape_ascii();
            return Some(format!("list {name} holds \"{rest}\", which is no token of it"));
        }
    };
    let mut times: BTreeMap<Value, usize> = BTreeMap::new();
    for token in tokens {
        *times.entry(token).or_default() += 1;
    }
    for (&token, &count) in &times {
        if count > 1 {
            let token = history.value_text(token);
            return Some(format!("list {name} holds {token} {count} times"));
        }
    }
    let lost = list.acknowledged.iter().find(|(token, _)| !times.contains_key(token))?;
    Some(format!("list {name} lacks what was acknowledged: {}", history.describe(lost.1)))
}

#[cfg(test)]
mod tests {
    use warlock_paxos::Incarnation;

    use super::*;
    use crate::check::script::{Script, failed, unknown};

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);

    fn ends(script: Script, key: &str, value: Option<&str>) -> Vec<Violation> {
        let mut history = script.history();
        let mut state = FinalState::new(N1);
        let value = value.map(|text| history.value(text.as_bytes()));
        state.set(history.key(key.as_bytes()), value);
        single_application(&history, &[state])
    }

    fn counted() -> Script {
        let script = Script::new().op("INCR c", 0, 10, "1").op("INCRBY c 2", 20, 30, "3");
        failed(unknown(script, "INCR c", 40), "INCRBY c 5", 50, 60)
    }

    #[test]
    fn a_counter_may_end_with_or_without_the_unknown() {
        assert!(ends(counted(), "c", Some("3")).is_empty());
        assert!(ends(counted(), "c", Some("4")).is_empty());
        assert!(ends(unknown(Script::new(), "INCR c", 0), "c", None).is_empty());
    }

    #[test]
    fn a_lost_increment_is_found() {
        let found = ends(counted(), "c", Some("2"));
        assert_eq!(
            found[0].sentence,
            "n1: counter c ends at 2, but 3 were acknowledged: 1 are lost"
        );
        assert_eq!(ends(counted(), "c", None).len(), 1);
    }

    #[test]
    fn an_increment_counted_twice_or_refused_is_found() {
        assert_eq!(ends(counted(), "c", Some("5")).len(), 1);
        assert_eq!(ends(counted(), "c", Some("9")).len(), 1);
        assert_eq!(ends(counted(), "c", Some("x")).len(), 1);
    }

    #[test]
    fn equal_sums_are_found() {
        let script = Script::new().op("INCR c", 0, 10, "1").op("INCR c", 5, 30, "1");
        assert_eq!(single_application(&script.history(), &[]).len(), 1);
    }

    fn listed() -> Script {
        let script = Script::new().op("APPEND l a;", 0, 10, "2").op("APPEND l b;", 0, 10, "4");
        failed(unknown(script, "APPEND l c;", 40), "APPEND l d;", 50, 60)
    }

    #[test]
    fn a_list_may_end_in_any_order_with_or_without_the_unknown() {
        assert!(ends(listed(), "l", Some("b;a;")).is_empty());
        assert!(ends(listed(), "l", Some("a;c;b;")).is_empty());
        assert!(ends(unknown(Script::new(), "APPEND l c;", 0), "l", None).is_empty());
    }

    #[test]
    fn a_token_lost_doubled_or_refused_is_found() {
        for bad in ["a;", "a;b;a;", "a;b;c;c;", "a;b;d;", "a;b;x", ";a;b"] {
            assert_eq!(ends(listed(), "l", Some(bad)).len(), 1, "{bad}");
        }
        assert_eq!(ends(listed(), "l", None).len(), 1);
    }

    fn origin(sequence: u64) -> Origin {
        Origin { node: N1, incarnation: Incarnation::new(7), sequence }
    }

    #[test]
    fn every_node_executes_a_proposal_in_the_same_slot() {
        let mut checker = SingleApplication::default();
        checker.observe_executed(N1, Slot::new(4), origin(1)).unwrap();
        checker.observe_executed(N2, Slot::new(4), origin(1)).unwrap();
        checker.observe_executed(N1, Slot::new(4), origin(1)).unwrap();
        checker.observe_executed(N1, Slot::new(4), origin(2)).unwrap();
        checker.observe_refused(N1, origin(3)).unwrap();
    }

    #[test]
    fn a_proposal_executed_in_two_slots_is_found() {
        let mut checker = SingleApplication::default();
        checker.observe_executed(N1, Slot::new(4), origin(1)).unwrap();
        let found = checker.observe_executed(N2, Slot::new(6), origin(1)).unwrap_err();
        assert_eq!(found.sentence, "n2 executes proposal n1#1 in s6, but n1 executed it in s4");
    }

    #[test]
    fn a_refused_proposal_that_is_executed_is_found() {
        let mut checker = SingleApplication::default();
        checker.observe_refused(N1, origin(1)).unwrap();
        assert!(checker.observe_executed(N2, Slot::new(6), origin(1)).is_err());
        let mut checker = SingleApplication::default();
        checker.observe_executed(N2, Slot::new(6), origin(1)).unwrap();
        assert!(checker.observe_refused(N1, origin(1)).is_err());
    }
}
