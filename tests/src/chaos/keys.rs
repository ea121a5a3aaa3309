//! Keys that live for some thousand operations, so that each has a short history.
//!
//! A generation of keys is in use until enough was asked of it. Then the next one is, and when
//! nobody is in the middle of an operation on the old one its history is complete and is judged,
//! while the run goes on.

use std::mem;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::random::Random;
use super::record::{Ask, Record};

/// Keys of one generation.
pub(super) const KEYS: usize = 40;
/// Operations after which the next generation begins.
const OPERATIONS: usize = 40 * KEYS;
/// A key with so many operations of unknown outcome is left alone: each may take effect at any
/// later time, which a checker can follow up for a few of them only.
const UNKNOWN_MAX: u32 = 4;

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Unique values are written and read, so that each is a version of its own.
    Register,
    /// Numbers are added.
    Counter,
    /// Whoever sets it first has it, until it is deleted.
    Lock,
    /// Unique values are put one behind the other.
    List,
    /// Values vanish after some time.
    Fleeting,
    /// Two keys are written and read at one moment.
    Twins,
}

/// Some keys, and everything that was asked of them.
#[derive(Debug)]
pub(super) struct Generation {
    /// From 0.
    pub(super) number: u64,
    /// The seed of the run: no two runs share a key.
    seed: u64,
    asked: AtomicUsize,
    unknown: Vec<AtomicU32>,
    records: Mutex<Vec<Record>>,
}

/// The generation in use, and those whose last operations are under way.
#[derive(Debug)]
pub(super) struct Keys {
    current: Mutex<Arc<Generation>>,
    retired: Mutex<Vec<Arc<Generation>>>,
}

impl Generation {
    /// Keys of which nothing was asked yet.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self {
            number,
            seed,
            asked: AtomicUsize::new(0),
            unknown: (0..KEYS).map(|_| AtomicU32::new(0)).collect(),
            records: Mutex::new(Vec::with_capacity(OPERATIONS + OPERATIONS / 4)),
        }
    }

    /// The name of a key.
    pub(super) fn name(&self, key: usize) -> String {
        format!("g{}.{}.k{key}", self.seed, self.number)
    }

    /// The names of all keys.
    pub(super) fn names(&self) -> Vec<String> {
        (0..KEYS).map(|key| self.name(key)).collect()
    }

    /// A key that can still be used, what for, and what to ask of it.
    pub(super) fn draw(&self, random: &mut Random, value: String) -> (usize, Ask) {
        let start = random.index(KEYS);
        let usable = |key: &usize| self.unknown[*key].load(Ordering::Relaxed) < UNKNOWN_MAX;
        // With none left the generation is about to end; one more operation does no harm.
        let key = (start..KEYS).chain(0..start).find(usable).unwrap_or(start);
        (key, draw_ask(random, use_of(key), value))
    }

    /// Takes note of operations that have ended.
    pub(super) fn note(&self, records: Vec<Record>) {
        for record in &records {
            if matches!(record.fate, crate::Fate::Unknown(_)) {
                self.unknown[record.key].fetch_add(1, Ordering::Relaxed);
            }
        }
        self.asked.fetch_add(records.len(), Ordering::Relaxed);
        locked(&self.records).extend(records);
    }

    /// Everything that was asked, in the order of asking.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records = locked(&self.records).clone();
        records.sort_by_key(|record| record.invoked_ns);
        records
    }

    fn is_used_up(&self) -> bool {
        let spoilt = self.unknown.iter().filter(|it| it.load(Ordering::Relaxed) >= UNKNOWN_MAX);
        self.asked.load(Ordering::Relaxed) >= OPERATIONS || spoilt.count() > KEYS / 2
    }
}

impl Keys {
    /// Keys of a run.
    pub(super) fn new(seed: u64) -> Self {
        let first = Arc::new(Generation::new(seed, 0));
        Self { current: Mutex::new(first), retired: Mutex::default() }
    }

    /// The generation in use. Nobody judges it before it is given back.
    pub(super) fn current(&self) -> Arc<Generation> {
        let mut current = locked(&self.current);
        if current.is_used_up() {
            let next = Generation::new(current.seed, current.number + 1);
            let old = mem::replace(&mut *current, Arc::new(next));
            locked(&self.retired).push(old);
        }
        Arc::clone(&current)
    }

    /// A generation with which all clients are done.
    pub(super) fn complete(&self) -> Option<Arc<Generation>> {
        let mut retired = locked(&self.retired);
        let idle = |generation: &Arc<Generation>| Arc::strong_count(generation) == 1;
        let position = retired.iter().position(idle)?;
        Some(retired.remove(position))
    }

    /// Takes back a generation that [`Keys::complete`] gave.
    pub(super) fn give_back(&self, generation: Arc<Generation>) {
        locked(&self.retired).push(generation);
    }

    /// Generations that clients may still be busy with, or that are not judged.
    pub(super) fn waiting(&self) -> usize {
        locked(&self.retired).len()
    }

    /// Every generation that is not judged yet, also the one in use.
    pub(super) fn rest(&self) -> Vec<Arc<Generation>> {
        let mut rest = mem::take(&mut *locked(&self.retired));
        rest.push(Arc::clone(&locked(&self.current)));
        rest
    }
}

/// What to ask of a key to see all that there is.
pub(super) fn look_at(key: usize) -> Ask {
    if use_of(key) == Use::Twins { Ask::GetBoth } else { Ask::Get }
}

/// What a key is used for.
const fn use_of(key: usize) -> Use {
    match key % 10 {
        0..=2 => Use::Register,
        3 => Use::Twins,
        4 | 5 => Use::Counter,
        6 => Use::Lock,
        7 => Use::List,
        _ => Use::Fleeting,
    }
}

fn draw_ask(random: &mut Random, purpose: Use, value: String) -> Ask {
    let chance = random.within(1, 100);
    match (purpose, chance) {
        (Use::Register, 1..=45) => Ask::Set(value, None),
        (Use::Register, 46..=55) => Ask::GetSet(value),
        (Use::Counter, 1..=55) => Ask::Incr(i64::try_from(chance % 3 + 1).expect("at most 3")),
        (Use::Lock, 1..=45) => Ask::SetNx(value, None),
        (Use::Lock, 46..=75) => Ask::Del,
        (Use::List, 1..=45) => Ask::Append(value),
        (Use::Twins, 1..=50) => Ask::SetBoth(value),
        (Use::Twins, _) => Ask::GetBoth,
        (Use::Fleeting, 1..=35) => Ask::Set(value, Some(random.within(20, 4000))),
        (Use::Fleeting, 36..=55) => Ask::SetNx(value, Some(random.within(20, 4000))),
        (Use::Fleeting, 56..=63) => Ask::Expire(random.within(20, 4000)),
        _ => Ask::Get,
    }
}

/// What a lock guards; a thread that panicked spoils the run anyway.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
