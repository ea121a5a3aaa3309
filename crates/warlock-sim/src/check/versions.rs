//! All keys together behave as if one operation came after the other, in the order of real time
//! (strict serializability), judged by versions in O(n log n).
//!
//! Where each write leaves a version of its own, a reply says which version it saw, and no search
//! is needed. That holds for three kinds of keys; others are left to
//! [`linearizability`](super::linearizability) and counted in [`Versions::keys_skipped`]:
//!
//! * *registers*: `SET`, `MSET`, `GETSET`, `SETNX` of values that are written once each;
//! * *counters*: `INCRBY` with positive amounts; the version is the sum;
//! * *lists*: `APPEND` of something; the version is the length.
//!
//! Two tests, both linear but for sorting:
//!
//! 1. *Zones* (P. Gibbons and E. Korach, "Testing shared memories", 1997): a version of a register
//!    is in force from the first response of its write and reads to their last invocation. Two such
//!    zones must not overlap, none may lie around all operations of another version, and no read
//!    ends before its write begins. For reads and writes of one register this is exact.
//! 2. *Graph* (K. Kingsbury and P. Alvaro, "Elle", 2020): a version is written before it is read,
//!    and read before the next version is written; what ended before another began comes first.
//!    Operations on several keys tie the orders together. If no operation can come next, a cycle
//!    is left, and the cycle is the report.
//!
//! Every report is a real violation. For operations on several keys the graph can miss one, when
//! the order of two versions follows from neither time nor reads.

mod graph;
mod zones;

use super::Violation;
use super::growing::{Growing, number};
use super::linearizable::Verdict;
use crate::history::{Command, History, Key, OpId, Operation, Reply, Value};

use graph::Graph;

const PROPERTY: &str = "strict serializability";

/// What [`strict_serializability`] found.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// The violations, and how much was looked at. `effort` counts the edges of the graph.
    pub verdict: Verdict,
    /// Keys of which versions can be told apart.
    pub keys_checked: u64,
    /// Other keys that were written.
    pub keys_skipped: u64,
}

/// Judges all keys of which versions can be told apart, which are absent at first.
#[must_use]
pub fn strict_serializability(history: &History) -> Versions {
    let kinds = Kinds::of(history);
    let mut events = Vec::new();
    for (id, it) in history.iter().filter(|(_, it)| !it.is_refused()) {
        collect(history, &kinds, id, it, &mut events);
    }
    events.sort_unstable();
    events.dedup();
    let mut found = Versions {
        keys_checked: kinds.count(|kind| kind.has_versions()),
        keys_skipped: kinds.count(|kind| kind == Kind::Other),
        ..Versions::default()
    };
    let mut graph = Graph::new(history);
    for of_key in events.chunk_by(|one, other| one.key == other.key) {
        found.verdict.parts += 1;
        found.verdict.operations += of_key.len() as u64;
        let clusters = clusters(of_key);
        let violations = if kinds.of_key(of_key[0].key) == Kind::Register {
            zones::register(history, &clusters, &mut graph)
        } else {
            let unknown = kinds.unknown[of_key[0].key.index()];
            zones::chain(history, &clusters, unknown, &mut graph)
        };
        found.verdict.violations.extend(violations);
    }
    found.verdict.violations.extend(kinds.nonsense(history));
    found.verdict.effort = graph.edges();
    found.verdict.violations.extend(graph.cycle(history));
    found
}

/// An operation saw or wrote a version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    key: Key,
    /// Which version: 0 is absence.
    version: u64,
    role: Role,
    id: OpId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Wrote,
    /// It saw the version and wrote the one after it.
    Replaced,
    Saw,
}

/// All operations that wrote or saw one version.
struct Cluster<'a> {
    key: Key,
    version: u64,
    writers: &'a [Event],
    replacers: &'a [Event],
    readers: &'a [Event],
}

impl Cluster<'_> {
    fn members(&self) -> impl Iterator<Item = OpId> {
        self.writers.iter().chain(self.replacers).chain(self.readers).map(|event| event.id)
    }

    fn seen(&self) -> impl Iterator<Item = OpId> {
        self.replacers.iter().chain(self.readers).map(|event| event.id)
    }
}

fn clusters(of_key: &[Event]) -> Vec<Cluster<'_>> {
    let split = |events: &'_ [Event], role: Role| events.partition_point(|it| it.role <= role);
    of_key
        .chunk_by(|one, other| one.version == other.version)
        .map(|of_version| {
            let written = split(of_version, Role::Wrote);
            let replaced = split(of_version, Role::Replaced);
            Cluster {
                key: of_version[0].key,
                version: of_version[0].version,
                writers: &of_version[..written],
                replacers: &of_version[written..replaced],
                readers: &of_version[replaced..],
            }
        })
        .collect()
}

fn collect(history: &History, kinds: &Kinds, id: OpId, it: &Operation, events: &mut Vec<Event>) {
    let mut add = |key: Key, version: Option<u64>, role: Role| {
        if let Some(version) = version.filter(|_| kinds.of_key(key).has_versions()) {
            events.push(Event { key, version, role, id });
        }
    };
    match (&it.command, it.reply()) {
        (Command::Get { key }, Some(Reply::Value(found))) => {
            add(*key, kinds.version(history, *key, *found), Role::Saw);
        }
        (Command::MGet { keys }, Some(Reply::Values(found))) => {
            for (key, found) in keys.iter().zip(found) {
                add(*key, kinds.version(history, *key, *found), Role::Saw);
            }
        }
        (Command::GetSet { key, value }, reply) => {
            add(*key, Some(of_value(*value)), Role::Wrote);
            if let Some(Reply::Value(found)) = reply {
                add(*key, Some(found.map_or(0, of_value)), Role::Replaced);
            }
        }
        (Command::SetNx { key, value, .. }, reply) => match reply {
            Some(Reply::Number(1)) => {
                add(*key, Some(of_value(*value)), Role::Wrote);
                add(*key, Some(0), Role::Replaced);
            }
            Some(_) => {}
            None => add(*key, Some(of_value(*value)), Role::Wrote),
        },
        (Command::Set { .. } | Command::MSet { .. }, _) => {
            for (key, value) in it.command.written() {
                add(key, Some(of_value(value)), Role::Wrote);
            }
        }
        (Command::Incr { key, by }, Some(Reply::Number(sum))) => {
            add(*key, u64::try_from(*sum).ok(), Role::Wrote);
            add(*key, u64::try_from(sum - by).ok(), Role::Replaced);
        }
        (Command::Append { key, value }, Some(Reply::Number(length))) => {
            let added = history.value_bytes(*value).len() as u64;
            let length = u64::try_from(*length).ok();
            add(*key, length, Role::Wrote);
            add(*key, length.and_then(|it| it.checked_sub(added)), Role::Replaced);
        }
        _ => {}
    }
}

fn of_value(value: Value) -> u64 {
    value.index() as u64 + 1
}

/// How the versions of a key can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Untouched,
    Register,
    Counter,
    List,
    Other,
}

impl Kind {
    const fn has_versions(self) -> bool {
        matches!(self, Self::Register | Self::Counter | Self::List)
    }
}

/// What is done to each key.
struct Kinds {
    kinds: Vec<Kind>,
    /// How many writes of unknown outcome each key has.
    unknown: Vec<usize>,
}

impl Kinds {
    fn of(history: &History) -> Self {
        let mut kinds = vec![Kind::Untouched; history.words()];
        let mut unknown = vec![0; history.words()];
        let mut written: Vec<(Key, Value)> = Vec::new();
        for it in history.operations().iter().filter(|it| !it.command.is_read()) {
            let kind = match &it.command {
                Command::Set { ttl_ms: None, .. }
                | Command::SetNx { ttl_ms: None, .. }
                | Command::GetSet { .. }
                | Command::MSet { .. } => Kind::Register,
                Command::Incr { by, .. } if *by > 0 => Kind::Counter,
                Command::Append { value, .. } if !history.value_bytes(*value).is_empty() => {
                    Kind::List
                }
                Command::Get { .. }
                | Command::MGet { .. }
                | Command::Set { .. }
                | Command::SetNx { .. }
                | Command::Incr { .. }
                | Command::Append { .. }
                | Command::Del { .. }
                | Command::Expire { .. } => Kind::Other,
            };
            for key in it.command.keys() {
                let known = &mut kinds[key.index()];
                let same = *known == Kind::Untouched || *known == kind;
                *known = if same { kind } else { Kind::Other };
                unknown[key.index()] += usize::from(it.is_unknown());
            }
            if kind == Kind::Register && !it.is_refused() {
                written.extend(it.command.written());
            }
        }
        written.sort_unstable();
        for pair in written.windows(2).filter(|pair| pair[0] == pair[1]) {
            kinds[pair[0].0.index()] = Kind::Other;
        }
        Self { kinds, unknown }
    }

    fn of_key(&self, key: Key) -> Kind {
        self.kinds[key.index()]
    }

    fn count(&self, which: impl Fn(Kind) -> bool) -> u64 {
        self.kinds.iter().filter(|kind| which(**kind)).count() as u64
    }

    /// Which version of `key` somebody saw who found this.
    fn version(&self, history: &History, key: Key, found: Option<Value>) -> Option<u64> {
        let Some(value) = found else {
            return Some(0);
        };
        match self.of_key(key) {
            Kind::Register => Some(of_value(value)),
            Kind::Counter => core::str::from_utf8(history.value_bytes(value)).ok()?.parse().ok(),
            Kind::List => Some(history.value_bytes(value).len() as u64),
            Kind::Untouched | Kind::Other => None,
        }
    }

    /// Reads of counters that are no number, and of lists that are no beginning of the longest
    /// read or do not consist of their tokens.
    fn nonsense(&self, history: &History) -> Vec<Violation> {
        let growing = Growing::of(history);
        let mut reads: Vec<(Key, usize, Value, OpId)> = Vec::new();
        for (id, it) in history.iter() {
            if let (Command::Get { key }, Some(Reply::Value(Some(value)))) =
                (&it.command, it.reply())
                && matches!(self.of_key(*key), Kind::List | Kind::Counter)
            {
                reads.push((*key, history.value_bytes(*value).len(), *value, id));
            }
        }
        reads.sort_unstable();
        let mut found = Vec::new();
        for of_key in reads.chunk_by(|one, other| one.0 == other.0) {
            let (key, _, longest, longer) = of_key[of_key.len() - 1];
            let content = history.value_bytes(longest);
            let list = growing.list(key);
            if list.is_some_and(|list| list.split(history, content).is_err()) {
                let sentence = format!("nobody appended all that {} saw", history.describe(longer));
                found.push(violation(history, sentence, &[longer]));
            }
            for &(_, _, value, read) in of_key {
                let counter = self.of_key(key) == Kind::Counter;
                if counter && number(history, Some(value)).is_none() {
                    let sentence = format!("{} saw no number", history.describe(read));
                    found.push(violation(history, sentence, &[read]));
                } else if !counter && !content.starts_with(history.value_bytes(value)) {
                    let sentence = format!(
                        "{} is no beginning of what {} saw",
                        history.describe(read),
                        history.describe(longer)
                    );
                    found.push(violation(history, sentence, &[read, longer]));
                }
            }
        }
        found
    }
}

fn violation(history: &History, sentence: String, shown: &[OpId]) -> Violation {
    let nodes: Vec<_> = shown.iter().map(|id| history.operation(*id).node).collect();
    Violation::safety(PROPERTY, &nodes, sentence).shown_by(shown)
}

#[cfg(test)]
mod tests;
