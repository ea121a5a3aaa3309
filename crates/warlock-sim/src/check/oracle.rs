//! An independent judge for tiny histories, and a generator of random ones: what the checkers are
//! compared with.
//!
//! The judge tries every order of every subset that may have happened, on plain maps of bytes. It
//! shares no code with the checkers.

use std::collections::BTreeMap;

use warlock_paxos::NodeId;

use crate::history::{ClientId, Command, History, Key, OpId, Operation, Outcome, Reply, Value};

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// Whether some order explains the whole history. Without times to live.
pub(crate) fn has_order(history: &History) -> bool {
    let open: Vec<OpId> =
        history.iter().filter(|(_, it)| !it.is_refused()).map(|(id, _)| id).collect();
    try_orders(history, &Store::new(), &open)
}

fn try_orders(history: &History, store: &Store, open: &[OpId]) -> bool {
    let of = |id: &OpId| history.operation(*id);
    if open.iter().all(|id| of(id).is_unknown()) {
        return true;
    }
    let first_end = open.iter().map(|id| of(id).effect_by_ns()).min().expect("not empty");
    open.iter().filter(|id| of(id).invoked_ns <= first_end).any(|id| {
        let mut next = store.clone();
        let reply = run(history, &mut next, &of(id).command);
        let fits = match (&of(id).outcome, reply) {
            (Outcome::Ok(told), Some(reply)) => same(history, told, &reply),
            (Outcome::Unknown, _) => true,
            (Outcome::Ok(_), None) | (Outcome::NotExecuted(_), _) => false,
        };
        let rest: Vec<OpId> = open.iter().copied().filter(|other| other != id).collect();
        fits && try_orders(history, &next, &rest)
    })
}

/// What the plain store answers.
#[derive(Debug)]
pub(crate) enum Plain {
    Done,
    Number(i64),
    Values(Vec<Option<Vec<u8>>>),
}

/// Runs one command; `None` if the store answers with an error and does nothing.
fn run(history: &History, store: &mut Store, command: &Command) -> Option<Plain> {
    let key = |key: &Key| history.key_bytes(*key).to_vec();
    let value = |value: &Value| history.value_bytes(*value).to_vec();
    Some(match command {
        Command::Get { key: k } => Plain::Values(vec![store.get(&key(k)).cloned()]),
        Command::MGet { keys } => {
            Plain::Values(keys.iter().map(|k| store.get(&key(k)).cloned()).collect())
        }
        Command::Set { key: k, value: v, .. } => {
            store.insert(key(k), value(v));
            Plain::Done
        }
        Command::SetNx { key: k, value: v, .. } => {
            let absent = !store.contains_key(&key(k));
            store.entry(key(k)).or_insert_with(|| value(v));
            Plain::Number(i64::from(absent))
        }
        Command::GetSet { key: k, value: v } => Plain::Values(vec![store.insert(key(k), value(v))]),
        Command::Incr { key: k, by } => {
            let text = store.get(&key(k)).cloned().unwrap_or_else(|| b"0".to_vec());
            let sum = String::from_utf8(text).ok()?.parse::<i64>().ok()?.checked_add(*by)?;
            store.insert(key(k), sum.to_string().into_bytes());
            Plain::Number(sum)
        }
        Command::Append { key: k, value: v } => {
            let content = store.entry(key(k)).or_default();
            content.extend(value(v));
            Plain::Number(i64::try_from(content.len()).unwrap())
        }
        Command::Del { keys } => {
            let there = keys.iter().filter(|k| store.remove(&key(k)).is_some()).count();
            Plain::Number(i64::try_from(there).unwrap())
        }
        Command::MSet { pairs } => {
            store.extend(pairs.iter().map(|(k, v)| (key(k), value(v))));
            Plain::Done
        }
        Command::Expire { .. } => unreachable!("the oracle knows no times to live"),
    })
}

fn same(history: &History, told: &Reply, reply: &Plain) -> bool {
    let bytes = |found: &Option<Value>| found.map(|value| history.value_bytes(value).to_vec());
    match (told, reply) {
        (Reply::Done, Plain::Done) => true,
        (Reply::Number(told), Plain::Number(number)) => told == number,
        (Reply::Value(found), Plain::Values(values)) => values == &[bytes(found)],
        (Reply::Values(found), Plain::Values(values)) => {
            found.iter().map(bytes).eq(values.iter().cloned())
        }
        _ => false,
    }
}

/// Numbers drawn from a seed (S. Vigna, "splitmix64").
#[derive(Debug)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What kind of histories to generate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) operations: u64,
    pub(crate) clients: u64,
    pub(crate) keys: u64,
    /// Of a thousand operations, how many end unknown.
    pub(crate) unknown_per_mille: u64,
    /// Which commands: each key has one kind if this is `false`.
    pub(crate) mixed: bool,
}

/// A history that happened: a plain store, asked at one moment between invocation and response.
pub(crate) fn honest(seed: u64, plan: Plan) -> History {
    let mut draw = Draw(seed);
    let mut history = History::new();
    let mut store = Store::new();
    let mut free_at = vec![0; usize::try_from(plan.clients).unwrap()];
    let mut asked: Vec<(u64, u64, u64, Command, u32)> = Vec::new();
    for serial in 0..plan.operations {
        let client = usize::try_from(draw.below(plan.clients)).unwrap();
        let invoked = free_at[client] + draw.below(20);
        let effect = invoked + draw.below(30);
        let responded = effect + draw.below(30);
        free_at[client] = responded + 1;
        let command = command(&mut history, &mut draw, plan, serial);
        asked.push((effect, invoked, responded, command, u32::try_from(client).unwrap()));
    }
    asked.sort_by_key(|it| it.0);
    let mut done: Vec<Operation> = Vec::new();
    for (_, invoked_ns, responded, command, client) in asked {
        let fate = draw.below(1000);
        let unknown = fate < plan.unknown_per_mille;
        // Half of the unknown ones never happen.
        let reply = if unknown && fate.is_multiple_of(2) {
            None
        } else {
            let before = store.clone();
            let reply = run(&history, &mut store, &command);
            if reply.is_none() {
                store = before;
            }
            reply
        };
        let outcome = match reply {
            Some(reply) if !unknown => Outcome::Ok(told(&mut history, &command, reply)),
            None if !unknown => Outcome::NotExecuted("ERR no number".into()),
            Some(_) | None => Outcome::Unknown,
        };
        let responded_ns = (outcome != Outcome::Unknown).then_some(responded);
        let (client, node) = (ClientId::new(client), NodeId::new(1));
        done.push(Operation { client, node, invoked_ns, responded_ns, command, outcome });
    }
    done.sort_by_key(|it| it.invoked_ns);
    for operation in done {
        history.push(operation);
    }
    history
}

fn command(history: &mut History, draw: &mut Draw, plan: Plan, serial: u64) -> Command {
    let number = draw.below(plan.keys);
    let key = history.key(format!("k{number}").as_bytes());
    let kind = if plan.mixed { draw.below(10) } else { 10 + number % 3 };
    let choice = draw.below(3);
    let value = match (plan.mixed, draw.below(3)) {
        (true, 0) => "7".to_owned(),
        _ => format!("v{serial};"),
    };
    let value = history.value(value.as_bytes());
    match (kind, choice) {
        (0 | 1, _) | (10..=12, 0) => Command::Get { key },
        (2, _) | (10, 1) => Command::Set { key, value, ttl_ms: None },
        (3, _) => Command::SetNx { key, value, ttl_ms: None },
        (4, _) => Command::GetSet { key, value },
        (5, _) | (11, _) => Command::Incr { key, by: 1 },
        (6, _) | (12, _) => Command::Append { key, value },
        (7, _) => Command::Del { keys: [key].into() },
        (8, _) => {
            let other = history.key(format!("k{}", draw.below(plan.keys)).as_bytes());
            Command::MGet { keys: [key, other].into() }
        }
        (9, _) => {
            let other = history.key(format!("k{}", draw.below(plan.keys)).as_bytes());
            Command::MSet { pairs: [(key, value), (other, value)].into() }
        }
        _ => Command::GetSet { key, value },
    }
}

fn told(history: &mut History, command: &Command, reply: Plain) -> Reply {
    match reply {
        Plain::Done => Reply::Done,
        Plain::Number(number) => Reply::Number(number),
        Plain::Values(values) => {
            let mut found = values.into_iter().map(|it| it.map(|bytes| history.value(&bytes)));
            if matches!(command, Command::MGet { .. }) {
                Reply::Values(found.collect())
            } else {
                Reply::Value(found.next().flatten())
            }
        }
    }
}

/// The same history with one answer changed: another value of the history, or another number.
pub(crate) fn mutated(history: &History, seed: u64) -> History {
    let mut draw = Draw(seed ^ 0x5eed);
    let mut changed = History::new();
    let victims: Vec<usize> = history
        .iter()
        .filter(|(_, it)| !matches!(it.reply(), None | Some(Reply::Done)))
        .map(|(id, _)| id.index())
        .collect();
    let victim = victims.get(usize::try_from(draw.next() >> 1).unwrap() % victims.len().max(1));
    let shown: Vec<Option<Value>> = history
        .operations()
        .iter()
        .flat_map(|it| it.command.written())
        .map(|(_, value)| Some(value))
        .chain([None])
        .collect();
    let other = shown[usize::try_from(draw.next() >> 1).unwrap() % shown.len()];
    // Words must keep their numbers.
    changed.clone_from(history);
    let mut operations = history.operations().to_vec();
    if let Some(&victim) = victim
        && let Outcome::Ok(reply) = &mut operations[victim].outcome
    {
        match reply {
            Reply::Done => {}
            Reply::Number(number) => *number += 1 - 2 * i64::from(draw.below(2) == 0),
            Reply::Value(found) => *found = other,
            Reply::Values(found) => found[0] = other,
        }
    }
    changed.replace_operations(operations);
    changed
}
