//! Every key behaves as if one operation came after the other (linearizability; M. Herlihy and
//! J. Wing, 1990), as far as any client can tell.
//!
//! Linearizability is local, so the history is split by key; keys that one command names together
//! stay together. For each part an order is searched (`search`) in which each operation lies
//! between its invocation and its response, and is answered as the sequential specification
//! (`model`) says:
//!
//! * a refused operation does not exist;
//! * an operation of unknown outcome may come at any time after its invocation, or never;
//! * a key with a time to live may vanish at any time from [`TtlBound::readable_until_ns`] on, or
//!   never; time does not order it before what was answered by then.
//!
//! A part that takes more choices than [`Budget::tries_max`] is reported as not verified, which is
//! a failure.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::model::{Action, Content, State};
use super::prefixes::Prefixes;
use super::search::{End, Step, search};
use super::ttl::TtlBound;
use crate::history::{ClientId, Command, History, Key, OpId, Operation, Reply, Value};

const PROPERTY: &str = "linearizability";

/// How many operations that could not come next are told.
const STUCK_SHOWN_MAX: usize = 4;

/// What stands for contents that nobody saw: which of them a key holds makes no difference.
const NOBODY_SAW: &[u8] = b"(unread value)";

/// What stands for tokens that nobody saw; longer ones are tried one by one.
const UNSEEN: &[u8; 1024] = &[0; 1024];

/// How long to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At most so many choices for each part of the history; 16 bytes of memory each.
    pub tries_max: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tries_max: 20_000_000 }
    }
}

/// What a checker found, and what it looked at: a verdict over nothing is worth nothing.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What does not hold, or could not be verified. Empty is a pass.
    pub violations: Vec<Violation>,
    /// How many operations were looked at.
    pub operations: u64,
    /// Into how many parts, each with keys of its own, they fell.
    pub parts: u64,
    /// How many choices the search took, or edges the graph had.
    pub effort: u64,
}

/// Searches an order for all operations of `history`; all keys are absent at its beginning.
#[must_use]
pub fn linearizability(history: &History, bound: &TtlBound, budget: Budget) -> Verdict {
    judge_parts(history, bound, budget, false)
}

/// The same for clients that are one connection after the other: what succeeded on a connection
/// took effect in the order of asking, though several operations were in flight. This promises more
/// than linearizability, and with long pipelines it leaves far fewer orders to try.
#[must_use]
pub fn linearizability_in_order(history: &History, bound: &TtlBound, budget: Budget) -> Verdict {
    judge_parts(history, bound, budget, true)
}

fn judge_parts(history: &History, bound: &TtlBound, budget: Budget, in_order: bool) -> Verdict {
    let mut verdict = Verdict::default();
    for part in parts(history) {
        verdict.parts += 1;
        verdict.operations += part.len() as u64;
        check_part(history, &part, bound, (budget, in_order), &mut verdict);
    }
    verdict
}

/// The operations that count, by keys that belong together, each in the order of invocation.
fn parts(history: &History) -> Vec<Vec<OpId>> {
    let mut groups: Vec<u32> =
        (0..history.words()).map(|it| u32::try_from(it).expect("few words")).collect();
    let number = |key: Key| u32::try_from(key.index()).expect("few words");
    for it in history.operations() {
        let keys = it.command.keys();
        for pair in keys.windows(2) {
            let one = root(&mut groups, number(pair[0]));
            let other = root(&mut groups, number(pair[1]));
            groups[one as usize] = other;
        }
    }
    let counts =
        |it: &Operation| !it.is_refused() && (it.reply().is_some() || !it.command.is_read());
    let mut all: Vec<(u32, u64, OpId)> = Vec::new();
    for (id, it) in history.iter().filter(|(_, it)| counts(it)) {
        if let Some(&key) = it.command.keys().first() {
            all.push((root(&mut groups, number(key)), it.invoked_ns, id));
        }
    }
    all.sort_unstable();
    all.chunk_by(|one, other| one.0 == other.0)
        .map(|part| part.iter().map(|it| it.2).collect())
        .collect()
}

/// The number that stands for the group of `of`.
fn root(groups: &mut [u32], mut of: u32) -> u32 {
    while groups[of as usize] != of {
        groups[of as usize] = groups[groups[of as usize] as usize];
        of = groups[of as usize];
    }
    of
}

fn check_part(
    history: &History,
    part: &[OpId],
    bound: &TtlBound,
    (budget, in_order): (Budget, bool),
    verdict: &mut Verdict,
) {
    let mut keys: Vec<Key> =
        part.iter().flat_map(|id| history.operation(*id).command.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let reader = Reader { history, keys: &keys };
    let mut steps: Vec<Step<'_>> = part.iter().map(|id| reader.step(*id, bound)).collect();
    forget_unseen(&mut steps);
    if in_order {
        put_in_order(history, part, &mut steps);
    }
    let found = search(&steps, keys.len(), budget.tries_max);
    verdict.effort += found.tried;
    let names = keys.iter().take(3).map(|key| history.key_text(*key)).collect::<Vec<_>>();
    let names = names.join(", ") + if keys.len() > 3 { ", ..." } else { "" };
    match found.end {
        End::Order => {}
        End::GaveUp { done } => {
            let sentence = format!(
                "no order found for the {} operations on {names} within {} choices; the longest \
                 attempt put {done} in order",
                part.len(),
                budget.tries_max
            );
            verdict.violations.push(Violation::unverified(PROPERTY, sentence));
        }
        End::NoOrder { done, stuck, state } => {
            let held = held(&state, &steps[stuck].action.places());
            let tale = Tale { names: &names, held: &held, done, stuck };
            verdict.violations.push(tale.tell(history, part, &steps));
        }
    }
}

/// Has each operation that succeeded wait for the one before it of the same client.
fn put_in_order(history: &History, part: &[OpId], steps: &mut [Step<'_>]) {
    let mut asked: Vec<u32> = (0..).take(steps.len()).collect();
    asked.retain(|&step| steps[step as usize].responded_ns.is_some());
    asked.sort_by_key(|&step| part[step as usize]);
    let mut last: BTreeMap<ClientId, u32> = BTreeMap::new();
    for step in asked {
        let client = history.operation(part[step as usize]).client;
        steps[step as usize].after = last.insert(client, step);
    }
}

/// The longest attempt at an order, as it is told.
struct Tale<'a> {
    names: &'a str,
    held: &'a str,
    done: usize,
    stuck: usize,
}

impl Tale<'_> {
    fn tell(&self, history: &History, part: &[OpId], steps: &[Step<'_>]) -> Violation {
        let limit = steps[self.stuck].responded_ns.unwrap_or(u64::MAX);
        let since = steps[self.stuck].invoked_ns;
        let around = (0..steps.len()).filter(|&step| {
            let ended = steps[step].responded_ns.unwrap_or(u64::MAX);
            step != self.stuck && steps[step].invoked_ns <= limit && ended >= since
        });
        let mut shown = vec![part[self.stuck]];
        shown.extend(around.take(STUCK_SHOWN_MAX).map(|step| part[step]));
        let others: Vec<String> = shown[1..].iter().map(|id| history.describe(*id)).collect();
        let others = if others.is_empty() {
            "nothing ran beside it".to_owned()
        } else {
            format!("beside it ran {}", others.join("; "))
        };
        let sentence = format!(
            "no order explains {}: after {} of {} operations, when it holds {}, {} cannot come; \
             {others}",
            self.names,
            self.done,
            steps.len(),
            self.held,
            history.describe(part[self.stuck])
        );
        let nodes: Vec<_> = shown.iter().map(|id| history.operation(*id).node).collect();
        Violation::safety(PROPERTY, &nodes, sentence).shown_by(&shown)
    }
}

fn held(state: &State, places: &[u32]) -> String {
    let text = |place: u32| match state.cells()[place as usize].content {
        None => "nothing".to_owned(),
        Some(content) => content.short().map_or_else(
            || format!("{} bytes", content.length()),
            |bytes| bytes.escape_ascii().to_string(),
        ),
    };
    places.iter().take(3).map(|place| text(*place)).collect::<Vec<_>>().join(", ")
}

/// Translates operations on some keys into steps of the model.
struct Reader<'a> {
    history: &'a History,
    /// In order: a key's position is its place.
    keys: &'a [Key],
}

impl<'a> Reader<'a> {
    fn step(&self, id: OpId, bound: &TtlBound) -> Step<'a> {
        let it = self.history.operation(id);
        let ttl_ms = match it.command {
            Command::Set { ttl_ms, .. } | Command::SetNx { ttl_ms, .. } => ttl_ms,
            Command::Expire { ttl_ms, .. } => Some(ttl_ms),
            Command::Get { .. }
            | Command::MGet { .. }
            | Command::GetSet { .. }
            | Command::Incr { .. }
            | Command::Append { .. }
            | Command::Del { .. }
            | Command::MSet { .. } => None,
        };
        Step {
            action: self.action(&it.command, it.reply()),
            invoked_ns: it.invoked_ns,
            responded_ns: it.reply().and(it.responded_ns),
            after: None,
            vanishes_ns: ttl_ms.map_or(u64::MAX, |ttl| bound.readable_until_ns(it.invoked_ns, ttl)),
        }
    }

    fn action(&self, command: &Command, reply: Option<&Reply>) -> Action<'a> {
        let number = match reply {
            Some(Reply::Number(number)) => Some(*number),
            _ => None,
        };
        let done = reply.is_none_or(|reply| *reply == Reply::Done);
        let counted = reply.is_none_or(|reply| matches!(reply, Reply::Number(_)));
        match (command, reply) {
            (Command::Get { key }, Some(Reply::Value(found))) => self.read(&[*key], &[*found]),
            (Command::MGet { keys }, Some(Reply::Values(found))) if keys.len() == found.len() => {
                self.read(keys, found)
            }
            (Command::Set { key, value, ttl_ms }, _) if done => {
                let pairs = vec![(self.place(*key), self.content(*value))];
                Action::Write { pairs, timed: ttl_ms.is_some() }
            }
            (Command::MSet { pairs }, _) if done => {
                let pair = |&(key, value): &(Key, Value)| (self.place(key), self.content(value));
                Action::Write { pairs: pairs.iter().map(pair).collect(), timed: false }
            }
            (Command::SetNx { key, value, ttl_ms }, _) if counted => Action::WriteIfAbsent {
                place: self.place(*key),
                content: self.content(*value),
                timed: ttl_ms.is_some(),
                expected: number,
            },
            (Command::GetSet { key, value }, None | Some(Reply::Value(_))) => Action::Exchange {
                place: self.place(*key),
                content: self.content(*value),
                expected: match reply {
                    Some(Reply::Value(found)) => Some(found.map(|value| self.content(value))),
                    _ => None,
                },
                bytes: match reply {
                    Some(Reply::Value(found)) => found.map(|it| self.history.value_bytes(it)),
                    _ => None,
                },
            },
            (Command::Incr { key, by }, _) if counted => {
                Action::Add { place: self.place(*key), by: *by, expected: number }
            }
            (Command::Append { key, value }, _) if counted => Action::Extend {
                place: self.place(*key),
                bytes: self.history.value_bytes(*value),
                expected: number,
            },
            (Command::Del { keys }, _) if counted => Action::Remove {
                places: keys.iter().map(|key| self.place(*key)).collect(),
                expected: number,
            },
            (Command::Expire { key, ttl_ms }, _) if counted => {
                Action::Limit { place: self.place(*key), at_once: *ttl_ms == 0, expected: number }
            }
            _ => Action::Impossible,
        }
    }

    fn read(&self, keys: &[Key], found: &[Option<Value>]) -> Action<'a> {
        Action::Read {
            places: keys.iter().map(|key| self.place(*key)).collect(),
            expected: found.iter().map(|it| it.map(|value| self.content(value))).collect(),
            bytes: found.iter().map(|it| it.map(|it| self.history.value_bytes(it))).collect(),
        }
    }

    fn place(&self, key: Key) -> u32 {
        let place = self.keys.binary_search(&key).expect("the part has all keys");
        u32::try_from(place).expect("few keys")
    }

    fn content(&self, value: Value) -> Content {
        Content::of(self.history.value_bytes(value))
    }
}

/// Makes equal what nobody can tell apart: contents of unknown writes that no answer shows, so that
/// the search does not try one after the other.
fn forget_unseen(steps: &mut [Step<'_>]) {
    // What a number becomes shows what it was.
    let Some(marks) = Prefixes::of(steps, steps.len()) else {
        return;
    };
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    for step in steps.iter() {
        if let Action::Read { bytes, .. } = &step.action {
            seen.extend(bytes.iter().copied().flatten());
        } else if let Action::Exchange { bytes, .. } = &step.action {
            seen.extend(*bytes);
        }
    }
    // What stands for unseen contents must not have been seen itself.
    if seen.iter().any(|bytes| bytes.contains(&0) || bytes.starts_with(NOBODY_SAW)) {
        return;
    }
    let is_seen = |token: &[u8]| {
        let mut all = seen.iter();
        token.is_empty() || all.any(|it| it.windows(token.len()).any(|part| part == token))
    };
    let nobody = Content::of(NOBODY_SAW);
    let forget = |content: &mut Content| {
        if !marks.begins_like(content) {
            *content = nobody;
        }
    };
    let extended = steps.iter().any(|step| matches!(step.action, Action::Extend { .. }));
    for step in steps.iter_mut().filter(|step| step.responded_ns.is_none()) {
        match &mut step.action {
            Action::Extend { bytes, .. } if bytes.len() <= UNSEEN.len() && !is_seen(bytes) => {
                *bytes = &UNSEEN[..bytes.len()];
            }
            // The length of a content that grows is seen.
            _ if extended => {}
            Action::Write { pairs, .. } => pairs.iter_mut().for_each(|pair| forget(&mut pair.1)),
            Action::WriteIfAbsent { content, .. } | Action::Exchange { content, .. } => {
                forget(content);
            }
            Action::Extend { .. }
            | Action::Read { .. }
            | Action::Add { .. }
            | Action::Remove { .. }
            | Action::Limit { .. }
            | Action::Impossible => {}
        }
    }
}

#[cfg(test)]
mod tests;
