//! The store against a model that is simple enough to be right: one sorted map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use warlock_resp::{ReplyLimits, ReplyParser, Value};
use warlock_store::Applier;
use warlock_store::conformance::Replica;

use crate::small;

/// A command, or something that happens between commands.
#[derive(Clone, Debug)]
enum Step {
    Set { key: u8, value: i64, condition: Condition, time: Time, get: bool },
    GetEx { key: u8, time: Time },
    Append { key: u8, value: i64 },
    IncrBy { key: u8, value: i64 },
    Del(Vec<u8>),
    Rename { from: u8, to: u8, only_new: bool },
    MSet { pairs: Vec<(u8, i64)>, only_new: bool },
    Expire { key: u8, milliseconds: i64, option: &'static str },
    Persist(u8),
    GetDel(u8),
    Flush,
    Get(u8),
    MGet(Vec<u8>),
    Exists(Vec<u8>),
    PTtl(u8),
    DbSize,
    Keys,
    Scan(u8),
    Pass(u64),
    Select(u8),
    SnapshotAndRestore,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Always,
    Absent,
    Present,
    Equal(i64),
    NotEqual(i64),
}

#[derive(Clone, Copy, Debug)]
enum Time {
    Unsaid,
    Keep,
    Persist,
    Milliseconds(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0u8..8;
    let value = || -3i64..3;
    let keys = || prop::collection::vec(0u8..8, 1..5);
    let condition = prop_oneof![
        3 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Present),
        1 => value().prop_map(Condition::Equal),
        1 => value().prop_map(Condition::NotEqual),
    ];
    let set_time =
        prop_oneof![Just(Time::Unsaid), Just(Time::Keep), (1u64..60).prop_map(Time::Milliseconds)];
    let getex_time = prop_oneof![
        Just(Time::Unsaid),
        Just(Time::Persist),
        (1u64..60).prop_map(Time::Milliseconds)
    ];
    let set = (key(), value(), condition, set_time, any::<bool>()).prop_map(
        |(key, value, condition, time, get)| Step::Set { key, value, condition, time, get },
    );
    let option = prop::sample::select(vec!["", "NX", "XX", "GT", "LT"]);
    let expire = (key(), -5i64..60, option).prop_map(|(key, milliseconds, option)| Step::Expire {
        key,
        milliseconds,
        option,
    });
    let pairs = prop::collection::vec((key(), value()), 1..4);
    let step = prop_oneof![
        8 => set,
        2 => (key(), getex_time).prop_map(|(key, time)| Step::GetEx { key, time }),
        2 => (key(), value()).prop_map(|(key, value)| Step::Append { key, value }),
        2 => (key(), value()).prop_map(|(key, value)| Step::IncrBy { key, value }),
        2 => keys().prop_map(Step::Del),
        2 => (key(), key(), any::<bool>())
            .prop_map(|(from, to, only_new)| Step::Rename { from, to, only_new }),
        2 => (pairs, any::<bool>()).prop_map(|(pairs, only_new)| Step::MSet { pairs, only_new }),
        4 => expire,
        2 => key().prop_map(Step::Persist),
        1 => key().prop_map(Step::GetDel),
        1 => Just(Step::Flush),
        3 => key().prop_map(Step::Get),
        2 => keys().prop_map(Step::MGet),
        1 => keys().prop_map(Step::Exists),
        3 => key().prop_map(Step::PTtl),
        2 => Just(Step::DbSize),
        2 => Just(Step::Keys),
        1 => (1u8..5).prop_map(Step::Scan),
        6 => (0u64..25_000).prop_map(Step::Pass),
        1 => (0u8..2).prop_map(Step::Select),
        1 => Just(Step::SnapshotAndRestore),
    ];
    prop::collection::vec(step, 0..120)
}

/// What the store should be: for each database and key a value and perhaps a deadline.
#[derive(Default)]
struct Model {
    keys: BTreeMap<(u8, String), (String, Option<u64>)>,
    db: u8,
    now_us: u64,
}

impl Model {
    fn name(&self, key: u8) -> (u8, String) {
        (self.db, format!("k{key}"))
    }

    /// Lets go of what is past its deadline.
    fn settle(&mut self) {
        let now_us = self.now_us;
        let lives = |deadline: &Option<u64>| deadline.is_none_or(|ms| ms * 1000 > now_us);
        self.keys.retain(|_, (_, deadline)| lives(deadline));
    }

    fn get(&self, key: u8) -> Option<&(String, Option<u64>)> {
        self.keys.get(&self.name(key))
    }

    fn text(&self, key: u8) -> Value {
        self.get(key).map_or(Value::Null, |(value, _)| bulk(value))
    }

    fn put(&mut self, key: u8, value: String, deadline: Option<u64>) {
        self.keys.insert(self.name(key), (value, deadline));
    }

    fn after(&self, milliseconds: u64) -> u64 {
        self.now_us.div_ceil(1000) + milliseconds
    }

    fn of_database(&self) -> Vec<Value> {
        let keys = self.keys.keys().filter(|(db, _)| *db == self.db);
        keys.map(|(_, name)| bulk(name)).collect()
    }

    fn set(&mut self, key: u8, value: i64, condition: Condition, time: Time, get: bool) -> Value {
        let old = self.get(key).cloned();
        let text = old.as_ref().map(|(value, _)| value.as_str());
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => old.is_none(),
            Condition::Present => old.is_some(),
            Condition::Equal(other) => text == Some(&other.to_string()),
            Condition::NotEqual(other) => text != Some(&other.to_string()),
        };
        if holds {
            let deadline = match time {
                Time::Unsaid | Time::Persist => None,
                Time::Keep => old.as_ref().and_then(|(_, deadline)| *deadline),
                Time::Milliseconds(milliseconds) => Some(self.after(milliseconds)),
            };
            self.put(key, value.to_string(), deadline);
        }
        match (get, holds) {
            (true, _) => text.map_or(Value::Null, bulk),
            (false, true) => ok(),
            (false, false) => Value::Null,
        }
    }

    fn expire(&mut self, key: u8, milliseconds: i64, option: &str) -> Value {
        let now_ms = i64::try_from(self.after(0)).unwrap();
        let deadline = now_ms + milliseconds;
        let Some((value, old)) = self.get(key).cloned() else {
            return Value::Integer(0);
        };
        let old = old.map(|ms| i64::try_from(ms).unwrap());
        let allowed = match option {
            "NX" => old.is_none(),
            "XX" => old.is_some(),
            "GT" => old.is_some_and(|old| deadline > old),
            "LT" => old.is_none_or(|old| deadline < old),
            _ => true,
        };
        if allowed {
            self.put(key, value, u64::try_from(deadline).ok());
            self.settle();
        }
        Value::Integer(i64::from(allowed))
    }

    fn rename(&mut self, from: u8, to: u8, only_new: bool) -> Value {
        let Some((value, deadline)) = self.get(from).cloned() else {
            return Value::Error("ERR no such key".to_owned());
        };
        let free = self.get(to).is_none();
        if !only_new || free {
            let from = self.name(from);
            self.keys.remove(&from);
            self.put(to, value, deadline);
        }
        if only_new { Value::Integer(i64::from(free)) } else { ok() }
    }

    fn increment(&mut self, key: u8, amount: i64) -> Value {
        let (old, deadline) = self.get(key).cloned().unwrap_or(("0".to_owned(), None));
        let canonical = old.parse::<i64>().ok().filter(|number| number.to_string() == old);
        let Some(number) = canonical else {
            return Value::Error("ERR value is not an integer or out of range".to_owned());
        };
        let Some(sum) = number.checked_add(amount) else {
            return Value::Error("ERR increment or decrement would overflow".to_owned());
        };
        self.put(key, sum.to_string(), deadline);
        Value::Integer(sum)
    }

    fn mset(&mut self, pairs: &[(u8, i64)], only_new: bool) -> Value {
        let free = pairs.iter().all(|(key, _)| self.get(*key).is_none());
        if !only_new || free {
            for (key, value) in pairs {
                self.put(*key, value.to_string(), None);
            }
        }
        if only_new { Value::Integer(i64::from(free)) } else { ok() }
    }

    /// What the store should reply to `step`.
    fn run(&mut self, step: &Step) -> Value {
        self.settle();
        match step {
            Step::Set { key, value, condition, time, get } => {
                self.set(*key, *value, *condition, *time, *get)
            }
            Step::GetEx { key, time } => {
                let Some((value, deadline)) = self.get(*key).cloned() else {
                    return Value::Null;
                };
                let deadline = match time {
                    Time::Unsaid | Time::Keep => deadline,
                    Time::Persist => None,
                    Time::Milliseconds(milliseconds) => Some(self.after(*milliseconds)),
                };
                self.put(*key, value.clone(), deadline);
                bulk(&value)
            }
            Step::Append { key, value } => {
                let (old, deadline) = self.get(*key).cloned().unwrap_or_default();
                let new = format!("{old}{value}");
                let length = number(new.len());
                self.put(*key, new, deadline);
                length
            }
            Step::IncrBy { key, value } => self.increment(*key, *value),
            Step::Del(keys) => {
                let names: Vec<_> = keys.iter().map(|key| self.name(*key)).collect();
                number(names.iter().filter(|name| self.keys.remove(*name).is_some()).count())
            }
            Step::Rename { from, to, only_new } => self.rename(*from, *to, *only_new),
            Step::MSet { pairs, only_new } => self.mset(pairs, *only_new),
            Step::Expire { key, milliseconds, option } => self.expire(*key, *milliseconds, option),
            Step::Persist(key) => {
                let Some((value, Some(_))) = self.get(*key).cloned() else {
                    return Value::Integer(0);
                };
                self.put(*key, value, None);
                Value::Integer(1)
            }
            Step::GetDel(key) => {
                let (value, name) = (self.text(*key), self.name(*key));
                self.keys.remove(&name);
                value
            }
            Step::Flush => {
                let db = self.db;
                self.keys.retain(|(other, _), _| *other != db);
                ok()
            }
            Step::Get(key) => self.text(*key),
            Step::MGet(keys) => Value::Array(keys.iter().map(|key| self.text(*key)).collect()),
            Step::Exists(keys) => {
                number(keys.iter().filter(|key| self.get(**key).is_some()).count())
            }
            Step::PTtl(key) => match self.get(*key) {
                None => Value::Integer(-2),
                Some((_, None)) => Value::Integer(-1),
                Some((_, Some(deadline))) => {
                    number(usize::try_from(deadline - self.after(0)).unwrap())
                }
            },
            Step::DbSize => number(self.of_database().len()),
            Step::Keys | Step::Scan(_) => Value::Array(self.of_database()),
            Step::Pass(_) | Step::Select(_) | Step::SnapshotAndRestore => Value::Null,
        }
    }
}

impl Step {
    fn words(&self) -> String {
        let names = |keys: &[u8]| {
            let names: Vec<_> = keys.iter().map(|key| format!("k{key}")).collect();
            names.join(" ")
        };
        match self {
            Self::Set { key, value, condition, time, get } => {
                let condition = match condition {
                    Condition::Always => String::new(),
                    Condition::Absent => "NX".to_owned(),
                    Condition::Present => "XX".to_owned(),
                    Condition::Equal(value) => format!("IFEQ {value}"),
                    Condition::NotEqual(value) => format!("IFNE {value}"),
                };
                let get = if *get { "GET" } else { "" };
                format!("SET k{key} {value} {condition} {} {get}", time.words())
            }
            Self::GetEx { key, time } => format!("GETEX k{key} {}", time.words()),
            Self::Append { key, value } => format!("APPEND k{key} {value}"),
            Self::IncrBy { key, value } => format!("INCRBY k{key} {value}"),
            Self::Del(keys) => format!("DEL {}", names(keys)),
            Self::Rename { from, to, only_new: true } => format!("RENAMENX k{from} k{to}"),
            Self::Rename { from, to, only_new: false } => format!("RENAME k{from} k{to}"),
            Self::MSet { pairs, only_new } => {
                let pairs: Vec<_> =
                    pairs.iter().map(|(key, value)| format!("k{key} {value}")).collect();
                let name = if *only_new { "MSETNX" } else { "MSET" };
                format!("{name} {}", pairs.join(" "))
            }
            Self::Expire { key, milliseconds, option } => {
                format!("PEXPIRE k{key} {milliseconds} {option}")
            }
            Self::Persist(key) => format!("PERSIST k{key}"),
            Self::GetDel(key) => format!("GETDEL k{key}"),
            Self::Flush => "FLUSHDB".to_owned(),
            Self::Get(key) => format!("GET k{key}"),
            Self::MGet(keys) => format!("MGET {}", names(keys)),
            Self::Exists(keys) => format!("EXISTS {}", names(keys)),
            Self::PTtl(key) => format!("PTTL k{key}"),
            Self::DbSize => "DBSIZE".to_owned(),
            Self::Keys => "KEYS *".to_owned(),
            Self::Scan(_) | Self::Pass(_) | Self::Select(_) | Self::SnapshotAndRestore => {
                unreachable!("not one command")
            }
        }
    }
}

impl Time {
    fn words(self) -> String {
        match self {
            Self::Unsaid => String::new(),
            Self::Keep => "KEEPTTL".to_owned(),
            Self::Persist => "PERSIST".to_owned(),
            Self::Milliseconds(milliseconds) => format!("PX {milliseconds}"),
        }
    }
}

/// What the store replies to `step`; keys are sorted.
fn run(replica: &mut Replica<Applier>, step: &Step) -> Value {
    match step {
        Step::Pass(microseconds) => replica.log_time_us += microseconds,
        Step::Select(db) => replica.db = *db,
        Step::SnapshotAndRestore => {
            let chunks: Vec<_> = replica.backend.snapshot().collect();
            let (backend, reader) = small();
            (replica.backend, replica.reader) = (backend, reader);
            replica.restore(&chunks).expect("a whole snapshot");
        }
        Step::Scan(count) => return scan(replica, *count),
        step => {
            let mut value = apply(replica, &step.words());
            if let (Step::Keys, Value::Array(keys)) = (step, &mut value) {
                keys.sort_by_key(|key| format!("{key:?}"));
            }
            return value;
        }
    }
    Value::Null
}

fn apply(replica: &mut Replica<Applier>, line: &str) -> Value {
    let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
    let bytes = replica.apply(&words);
    let reply = ReplyParser::new(ReplyLimits::DEFAULT).parse(&bytes).unwrap();
    reply.expect("a whole reply").0
}

/// A whole iteration, sorted.
fn scan(replica: &mut Replica<Applier>, count: u8) -> Value {
    let mut cursor = "0".to_owned();
    let mut found = Vec::new();
    loop {
        let page = apply(replica, &format!("SCAN {cursor} COUNT {count}"));
        let Value::Array(parts) = page else { panic!("{page:?}") };
        let [Value::Bulk(next), Value::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
        found.extend(keys.iter().cloned());
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            found.sort_by_key(|key| format!("{key:?}"));
            return Value::Array(found);
        }
    }
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn number(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap())
}

fn ok() -> Value {
    Value::Simple("OK".to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Every reply is the model's, and a replica that never went through a snapshot is in the
    /// same state at every step as one that did.
    #[test]
    fn replies_are_those_of_the_model(steps in steps()) {
        let mut replica = Replica::new(small());
        let mut plain = Replica::new(small());
        let mut model = Model { now_us: replica.log_time_us, ..Model::default() };
        for step in &steps {
            let reply = run(&mut replica, step);
            if !matches!(step, Step::SnapshotAndRestore) {
                run(&mut plain, step);
            }
            (model.now_us, model.db) = (replica.log_time_us, replica.db);
            prop_assert_eq!(reply, model.run(step), "{:?}", step);
            prop_assert_eq!(replica.reader.checkpoint(), plain.reader.checkpoint());
        }
    }
}
