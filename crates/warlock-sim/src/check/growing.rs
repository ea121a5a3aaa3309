//! Keys that only grow: counters and lists, where every effect leaves a trace.

use std::collections::BTreeMap;

use crate::history::{Command, History, Key, OpId, Outcome, Reply, Value};

/// The keys of a history that only grow.
#[derive(Debug)]
pub(super) struct Growing {
    counters: BTreeMap<Key, Counter>,
    lists: BTreeMap<Key, List>,
}

/// A key that is changed by `INCRBY` with positive amounts only.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) key: Key,
    /// Replies and operations that were acknowledged.
    pub(super) acknowledged: Vec<(i64, OpId)>,
    pub(super) sum_acknowledged: i128,
    pub(super) sum_unknown: i128,
}

/// A key that is changed by `APPEND` of different tokens only.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Tokens whose operation was acknowledged.
    pub(super) acknowledged: Vec<(Value, OpId)>,
    /// Tokens that may be there; sorted by content after construction.
    possible: Vec<Value>,
    /// Tokens that were answered "definitely not executed".
    pub(super) refused: Vec<(Value, OpId)>,
}

/// What may be done to a key that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Untouched,
    Counter,
    List,
    Other,
}

impl Growing {
    pub(super) fn of(history: &History) -> Self {
        let kinds = kinds(history);
        let mut growing = Self { counters: BTreeMap::new(), lists: BTreeMap::new() };
        for (id, it) in history.iter() {
            match it.command {
                Command::Incr { key, by } if kinds[key.index()] == Kind::Counter => {
                    let counter = growing.counters.entry(key).or_insert_with(|| Counter::new(key));
                    counter.note(id, by, &it.outcome);
                }
                Command::Append { key, value } if kinds[key.index()] == Kind::List => {
                    growing.lists.entry(key).or_default().note(id, value, &it.outcome);
                }
                Command::Get { .. }
                | Command::MGet { .. }
                | Command::Set { .. }
                | Command::SetNx { .. }
                | Command::GetSet { .. }
                | Command::Incr { .. }
                | Command::Append { .. }
                | Command::Del { .. }
                | Command::MSet { .. }
                | Command::Expire { .. } => {}
            }
        }
        growing.lists.retain(|_, list| list.sort(history));
        growing
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.counters.values()
    }

    pub(super) fn counter(&self, key: Key) -> Option<&Counter> {
        self.counters.get(&key)
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = (Key, &List)> {
        self.lists.iter().map(|(&key, list)| (key, list))
    }

    pub(super) fn list(&self, key: Key) -> Option<&List> {
        self.lists.get(&key)
    }
}

impl Counter {
    const fn new(key: Key) -> Self {
        Self { key, acknowledged: Vec::new(), sum_acknowledged: 0, sum_unknown: 0 }
    }

    fn note(&mut self, id: OpId, by: i64, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(Reply::Number(sum)) => {
                self.acknowledged.push((*sum, id));
                self.sum_acknowledged += i128::from(by);
            }
            Outcome::Unknown => self.sum_unknown += i128::from(by),
            Outcome::Ok(_) | Outcome::NotExecuted(_) => {}
        }
    }
}

impl List {
    fn note(&mut self, id: OpId, token: Value, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(_) => {
                self.acknowledged.push((token, id));
                self.possible.push(token);
            }
            Outcome::Unknown => self.possible.push(token),
            Outcome::NotExecuted(_) => self.refused.push((token, id)),
        }
    }

    /// Prepares [`Self::split`]; `false` if a token begins another one, so that nothing can be
    /// said.
    fn sort(&mut self, history: &History) -> bool {
        self.possible.sort_unstable_by_key(|token| history.value_bytes(*token));
        let refused = self.refused.iter().map(|it| it.0);
        let mut all: Vec<Value> = self.possible.iter().copied().chain(refused).collect();
        let bytes = |token: Value| history.value_bytes(token);
        all.sort_unstable_by_key(|token| bytes(*token));
        all.windows(2).all(|pair| !bytes(pair[1]).starts_with(bytes(pair[0])))
    }

    /// The tokens that `content` consists of.
    ///
    /// # Errors
    /// With the rest that does not begin with any token that may be there.
    pub(super) fn split<'a>(
        &self,
        history: &History,
        mut content: &'a [u8],
    ) -> Result<Vec<Value>, &'a [u8]> {
        let mut tokens = Vec::new();
        while !content.is_empty() {
            // No token begins another one, so the greatest that is not above the rest is the one.
            let above =
                self.possible.partition_point(|token| history.value_bytes(*token) <= content);
            let token = above.checked_sub(1).map(|index| self.possible[index]).ok_or(content)?;
            let bytes = history.value_bytes(token);
            if bytes.is_empty() || !content.starts_with(bytes) {
                return Err(content);
            }
            tokens.push(token);
            content = &content[bytes.len()..];
        }
        Ok(tokens)
    }
}

/// The number that `value` stands for, 0 if the key is absent.
pub(super) fn number(history: &History, value: Option<Value>) -> Option<i128> {
    let Some(value) = value else {
        return Some(0);
    };
    core::str::from_utf8(history.value_bytes(value)).ok()?.parse::<i64>().ok().map(i128::from)
}

fn kinds(history: &History) -> Vec<Kind> {
    let mut kinds = vec![Kind::Untouched; history.words()];
    for it in history.operations().iter().filter(|it| !it.command.is_read()) {
        let kind = match it.command {
            Command::Incr { by, .. } if by > 0 => Kind::Counter,
            Command::Append { .. } => Kind::List,
            Command::Get { .. }
            | Command::MGet { .. }
            | Command::Set { .. }
            | Command::SetNx { .. }
            | Command::GetSet { .. }
            | Command::Incr { .. }
            | Command::Del { .. }
            | Command::MSet { .. }
            | Command::Expire { .. } => Kind::Other,
        };
        for key in it.command.keys() {
            let known = &mut kinds[key.index()];
            *known = if matches!(*known, Kind::Untouched) || *known == kind {
                kind
            } else {
                Kind::Other
            };
        }
    }
    kinds
}
