//! A reply "definitely not executed" is true: what was refused never appears (section 6 of the
//! design, classes of replies).
//!
//! A value counts as refused at a key if every write that would put it there was refused. It must
//! not be read at that key, by anybody, at any time: not before the refusal, not after it, not in
//! the end. For lists that only grow the tokens count. Refused increments are found by the sums of
//! [`single_application`](super::single_application), refused removals by
//! [`linearizability`](super::linearizability), for which a refused operation does not exist.

use super::Violation;
use super::growing::Growing;
use crate::history::{Command, FinalState, History, Key, OpId, Reply, Value};

const PROPERTY: &str = "reply class";

/// Looks for refused values in all replies and in what the nodes of `finals` hold in the end.
#[must_use]
pub fn reply_class(history: &History, finals: &[FinalState]) -> Vec<Violation> {
    let refused = Refused::of(history);
    let mut found = Vec::new();
    for (id, it) in history.iter() {
        for (key, value) in seen(&it.command, it.reply()) {
            if let Some(write) = refused.find(key, value) {
                found.push(read_despite(history, write, id));
            }
        }
    }
    for state in finals {
        for (key, value) in state.values() {
            if let Some(write) = value.and_then(|value| refused.find(key, value)) {
                let sentence = format!(
                    "{} holds in the end what it must not: {}",
                    state.node(),
                    history.describe(write)
                );
                let violation = Violation::safety(PROPERTY, &[state.node()], sentence);
                found.push(violation.shown_by(&[write]));
            }
        }
    }
    found.extend(tokens(history));
    found
}

fn read_despite(history: &History, write: OpId, read: OpId) -> Violation {
    let nodes = [history.operation(write).node, history.operation(read).node];
    let sentence =
        format!("{} was refused, but {} saw it", history.describe(write), history.describe(read));
    Violation::safety(PROPERTY, &nodes, sentence).shown_by(&[write, read])
}

/// The values that a reply shows at keys.
fn seen(command: &Command, reply: Option<&Reply>) -> Vec<(Key, Value)> {
    match (command, reply) {
        (Command::Get { key } | Command::GetSet { key, .. }, Some(Reply::Value(found))) => {
            found.iter().map(|value| (*key, *value)).collect()
        }
        (Command::MGet { keys }, Some(Reply::Values(values))) => {
            keys.iter().zip(values).filter_map(|(key, found)| Some((*key, (*found)?))).collect()
        }
        _ => Vec::new(),
    }
}

/// Refused writes, sorted by key and value.
struct Refused {
    writes: Vec<(Key, Value, OpId)>,
}

impl Refused {
    fn of(history: &History) -> Self {
        let mut writes = Vec::new();
        for (id, it) in history.iter().filter(|(_, it)| it.is_refused()) {
            if !matches!(it.command, Command::Append { .. }) {
                let written = it.command.written();
                writes.extend(written.into_iter().map(|(key, value)| (key, value, id)));
            }
        }
        writes.sort_unstable();
        let mut honest = vec![false; writes.len()];
        let mut other = Vec::new();
        for it in history.operations().iter().filter(|it| !it.is_refused()) {
            // A list or a counter may come to the same bytes by itself.
            if let Command::Append { key, .. } | Command::Incr { key, .. } = it.command {
                other.push(key);
            }
            for (key, value) in it.command.written() {
                let from = writes.partition_point(|it| (it.0, it.1) < (key, value));
                let same = writes[from..].iter().take_while(|it| (it.0, it.1) == (key, value));
                let count = same.count();
                honest[from..from + count].fill(true);
            }
        }
        other.sort_unstable();
        let mut index = 0;
        writes.retain(|(key, _, _)| {
            index += 1;
            !honest[index - 1] && other.binary_search(key).is_err()
        });
        Self { writes }
    }

    fn find(&self, key: Key, value: Value) -> Option<OpId> {
        let from = self.writes.partition_point(|it| (it.0, it.1) < (key, value));
        let it = self.writes.get(from)?;
        ((it.0, it.1) == (key, value)).then_some(it.2)
    }
}

/// Refused tokens in the longest content that anybody read of each list.
fn tokens(history: &History) -> Vec<Violation> {
    let growing = Growing::of(history);
    let mut longest: Vec<Option<(Value, OpId)>> = vec![None; history.words()];
    for (id, it) in history.iter() {
        for (key, value) in seen(&it.command, it.reply()) {
            let length = |value: Value| history.value_bytes(value).len();
            let known = &mut longest[key.index()];
            if known.is_none_or(|(known, _)| length(known) < length(value)) {
                *known = Some((value, id));
            }
        }
    }
    let mut found = Vec::new();
    for (key, list) in growing.lists().filter(|(_, list)| !list.refused.is_empty()) {
        let Some((content, read)) = longest[key.index()] else {
            continue;
        };
        let Err(rest) = list.split(history, history.value_bytes(content)) else {
            continue;
        };
        let refused = list.refused.iter().find(|it| rest.starts_with(history.value_bytes(it.0)));
        found.extend(refused.map(|it| read_despite(history, it.1, read)));
    }
    found
}

#[cfg(test)]
mod tests {
    use warlock_paxos::NodeId;

    use super::*;
    use crate::check::script::{Script, failed, unknown};

    fn count(script: Script) -> usize {
        reply_class(&script.history(), &[]).len()
    }

    #[test]
    fn a_refused_value_that_another_write_leaves_too_is_fine() {
        let script = failed(Script::new(), "SET k a", 0, 5);
        let script = unknown(script, "SET k a", 10).op("GET k", 20, 30, "a");
        assert_eq!(count(failed(script, "SET j b", 40, 50).op("SET k b", 60, 70, "OK")), 0);
    }

    #[test]
    fn values_of_other_keys_and_of_unknown_writes_may_be_read() {
        let script = failed(Script::new(), "SET j a", 0, 5);
        let script = unknown(script, "SET k a", 10).op("MGET j k", 20, 30, "- a");
        assert_eq!(count(script), 0);
    }

    #[test]
    fn a_refused_value_that_is_read_is_found() {
        let script = failed(Script::new(), "SET k a", 0, 5).op("GET k", 6, 7, "a");
        let found = reply_class(&script.history(), &[]);
        assert_eq!(
            found[0].sentence,
            "op0 c0->n1 SET k a [0.000000s..0.000000s] not executed: CLUSTERDOWN no master was \
             refused, but op1 c1->n1 GET k [0.000000s..0.000000s] a saw it"
        );
    }

    #[test]
    fn a_refused_value_in_other_replies_is_found() {
        let script = || failed(Script::new(), "MSET j a k b", 100, 101);
        assert_eq!(count(script().op("MGET x k", 0, 7, "- b")), 1, "even before the refusal");
        assert_eq!(count(script().op("GETSET j c", 200, 201, "a")), 1);
        assert_eq!(count(failed(Script::new(), "SETNX k a", 0, 1).op("GET k", 2, 3, "a")), 1);
    }

    #[test]
    fn a_refused_token_is_found() {
        let script = Script::new().op("APPEND l a;", 0, 1, "2");
        let script = failed(script, "APPEND l b;", 2, 3);
        assert_eq!(count(script.op("GET l", 4, 5, "a;b;")), 1);
    }

    #[test]
    fn a_refused_value_that_a_node_holds_in_the_end_is_found() {
        let mut history = failed(Script::new(), "SET k a", 0, 5).history();
        let mut state = FinalState::new(NodeId::new(3));
        let (key, value) = (history.key(b"k"), history.value(b"a"));
        state.set(key, Some(value));
        let found = reply_class(&history, &[state]);
        assert_eq!(found[0].nodes, [NodeId::new(3)]);
    }
}
