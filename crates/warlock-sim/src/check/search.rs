//! The search for an order: J. M. Wing and C. Gong, "Testing and verifying concurrent objects"
//! (1993), with the memory of G. Lowe, "Testing for linearizability" (2017).
//!
//! A depth-first search puts one operation after the other. An operation may come next if no
//! operation that is still waiting was answered before it was invoked. What has been tried is
//! remembered as (set of operations done, state), 128 bits of hash each: a collision could only
//! make the search miss an order and report a violation that is none, never the reverse.
//!
//! Without loss of an order,
//! * an operation that may come next and only looks, and sees what its client was told, comes next;
//! * operations with unknown outcome come last among the choices, only if they change something,
//!   and of those that do the same the first invoked comes first;
//! * what has an unknown outcome is not written over before anybody saw it, and a few of them do
//!   not lead back to a state from which they started: they may as well never have happened;
//! * nothing is written over that has to be seen later and cannot come back;
//! * of two choices in a row that touch different keys and could have come the other way round,
//!   the lower one comes first;
//! * a key vanishes only while the state says who gave it a time to live.

use core::hash::Hash;
use std::collections::BTreeMap;

use hashbrown::HashTable;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::model::{Action, State};
use super::outlook::Outlook;
use super::prefixes::Prefixes;

/// How many choices a report may cost.
const TRIES_TO_TELL_MAX: u64 = 100_000;

/// One operation of a search.
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    pub(super) action: Action<'a>,
    pub(super) invoked_ns: u64,
    /// When its client was told; `None` if the outcome is unknown.
    pub(super) responded_ns: Option<u64>,
    /// The operation that must come before it, whatever the times say.
    pub(super) after: Option<u32>,
    /// If it gives a key a time to live: the earliest time at which the key may vanish.
    pub(super) vanishes_ns: u64,
}

/// What came of a search.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) end: End,
    /// How many choices were tried.
    pub(super) tried: u64,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    /// There is an order.
    Order,
    /// There is none. The longest attempt did `done` steps, came to `state`, and then `stuck` had
    /// to come next, and could not.
    NoOrder { done: usize, stuck: usize, state: State },
    /// More choices than allowed. The longest attempt did `done` steps.
    GaveUp { done: usize },
}

/// Searches an order for `steps`, in the order of invocation, that act on `places` keys which are
/// absent at first. Tries at most `tries_max` choices.
pub(super) fn search(steps: &[Step<'_>], places: usize, tries_max: u64) -> Found {
    let mut found = Search::new(steps, places, true).run(tries_max);
    if matches!(found.end, End::NoOrder { .. }) {
        // People understand the read that goes wrong better than the write that foresees it.
        let told = Search::new(steps, places, false).run(TRIES_TO_TELL_MAX);
        if matches!(told.end, End::NoOrder { .. }) {
            found.end = told.end;
        }
    }
    found
}

/// What was put next.
///
/// In the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Choice {
    /// An operation with an outcome.
    Known(u32),
    /// The key at this place vanishes.
    Vanish(u32),
    /// An operation without an outcome.
    Unknown(u32),
}

/// Where to go on looking for the next choice.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    Start,
    After(Choice),
}

struct Frame {
    choice: Choice,
    changes: usize,
    /// The state that it led to.
    led_to: u128,
    /// Nothing else needs to be tried in its place.
    forced: bool,
}

struct Search<'a> {
    steps: &'a [Step<'a>],
    state: State,
    /// Operations with an outcome that wait, by invocation and by response.
    known: Waiting,
    by_response: Waiting,
    /// Operations without an outcome that wait, by invocation.
    unknown: Waiting,
    /// By step: the one before it that does the same and has no outcome either.
    same_before: Vec<Option<u32>>,
    waiting: Vec<bool>,
    frames: Vec<Frame>,
    done_mark: u128,
    tried: HashTable<u128>,
    tries: u64,
    outlook: Option<Outlook>,
    best: Option<(usize, usize, State)>,
}

impl<'a> Search<'a> {
    fn new(steps: &'a [Step<'a>], places: usize, looks_ahead: bool) -> Self {
        let seen = if looks_ahead { Prefixes::of(steps, places) } else { None };
        let number = |index: usize| u32::try_from(index).expect("a history has few operations");
        let of = |known: bool| {
            let all = steps.iter().enumerate();
            all.filter(move |(_, it)| it.responded_ns.is_some() == known).map(|it| it.0)
        };
        let mut responses: Vec<u32> = of(true).map(number).collect();
        responses.sort_by_key(|&step| steps[step as usize].responded_ns);
        Self {
            steps,
            state: State::absent(places, seen),
            known: Waiting::new(steps.len(), of(true).map(number)),
            by_response: Waiting::new(steps.len(), responses.into_iter()),
            unknown: Waiting::new(steps.len(), of(false).map(number)),
            same_before: same_before(steps),
            waiting: vec![true; steps.len()],
            frames: Vec::new(),
            done_mark: 0,
            tried: HashTable::new(),
            tries: 0,
            outlook: if looks_ahead { Outlook::of(steps) } else { None },
            best: None,
        }
    }

    fn run(mut self, tries_max: u64) -> Found {
        let mut cursor = Cursor::Start;
        loop {
            let Some(first) = self.by_response.first() else {
                return Found { end: End::Order, tried: self.tries };
            };
            let limit = self.steps[first as usize].responded_ns.expect("it was answered");
            if self.tries >= tries_max {
                let done = self.best.map_or(self.frames.len(), |best| best.0);
                return Found { end: End::GaveUp { done }, tried: self.tries };
            }
            if let Some((choice, changes, forced)) = self.next(cursor, limit) {
                self.tries += 1;
                let circle = self.is_circle(choice, changes);
                let led_to = self.state.mark();
                self.frames.push(Frame { choice, changes, led_to, forced });
                self.mark(choice, false);
                if forced || (!circle && self.remember()) {
                    cursor = Cursor::Start;
                } else {
                    cursor = self.back().expect("it was just put there");
                }
                continue;
            }
            self.note_dead_end(first);
            let Some(next) = self.back() else {
                let (done, stuck, state) = self.best.expect("a dead end was noted");
                let end = End::NoOrder { done, stuck, state };
                return Found { end, tried: self.tries };
            };
            cursor = next;
        }
    }

    /// The next choice after `cursor` that is consistent, done to the state; and whether it is the
    /// only one worth trying. What was invoked after `limit` has to wait.
    fn next(&mut self, cursor: Cursor, limit: u64) -> Option<(Choice, usize, bool)> {
        let changes = self.state.changes();
        if matches!(cursor, Cursor::Start)
            && let Some(step) = self.next_look(limit)
        {
            return Some((Choice::Known(step), changes, true));
        }
        let mut after = match cursor {
            Cursor::Start => None,
            Cursor::After(choice) => Some(choice),
        };
        if matches!(after, None | Some(Choice::Known(_))) {
            let from = match after {
                Some(Choice::Known(step)) => self.known.after(step),
                _ => self.known.first(),
            };
            if let Some(step) = self.next_known(from, limit) {
                return Some((Choice::Known(step), changes, false));
            }
            after = None;
        }
        if matches!(after, None | Some(Choice::Vanish(_))) {
            let from = match after {
                Some(Choice::Vanish(place)) => place + 1,
                _ => 0,
            };
            if let Some(place) = self.next_vanish(from, limit) {
                return Some((Choice::Vanish(place), changes, false));
            }
            after = None;
        }
        let from = match after {
            Some(Choice::Unknown(step)) => self.unknown.after(step),
            _ => self.unknown.first(),
        };
        self.next_unknown(from, limit).map(|step| (Choice::Unknown(step), changes, false))
    }

    fn next_look(&mut self, limit: u64) -> Option<u32> {
        let mut next = self.known.first();
        while let Some(step) = next {
            let it = &self.steps[step as usize];
            if it.invoked_ns > limit {
                return None;
            }
            if it.action.only_looks() && !self.waits_for_another(step) {
                let changes = self.state.changes();
                if self.state.act(step, &it.action) {
                    return Some(step);
                }
                self.state.take_back(changes);
            }
            next = self.known.after(step);
        }
        None
    }

    fn next_known(&mut self, mut next: Option<u32>, limit: u64) -> Option<u32> {
        while let Some(step) = next {
            let it = &self.steps[step as usize];
            if it.invoked_ns > limit {
                return None;
            }
            // One that only looks and could come next would have.
            let useful = !it.action.only_looks() && !self.hides_unknown(&it.action);
            if useful && !self.waits_for_another(step) && !self.is_out_of_turn(Choice::Known(step))
            {
                let changes = self.state.changes();
                if self.state.act(step, &it.action) && !self.is_cut_off(changes, step) {
                    return Some(step);
                }
                self.state.take_back(changes);
            }
            next = self.known.after(step);
        }
        None
    }

    fn next_vanish(&mut self, from: u32, limit: u64) -> Option<u32> {
        let cells = self.state.cells().iter().zip(0..).skip(from as usize);
        let mut timed = cells.filter_map(|(cell, place)| Some((place, cell.timed_by?)));
        let gone = timed.find(|(_, by)| self.steps[*by as usize].vanishes_ns <= limit);
        let (place, _) = gone?;
        self.state.vanish(place);
        Some(place)
    }

    fn next_unknown(&mut self, mut next: Option<u32>, limit: u64) -> Option<u32> {
        while let Some(step) = next {
            let it = &self.steps[step as usize];
            if it.invoked_ns > limit {
                return None;
            }
            let earlier = self.same_before[step as usize];
            let turn = earlier.is_none_or(|earlier| !self.waiting[earlier as usize]);
            let useful = turn && !self.hides_unknown(&it.action);
            if useful && !self.is_out_of_turn(Choice::Unknown(step)) {
                let changes = self.state.changes();
                let fits = self.state.act(step, &it.action) && self.state.changes() > changes;
                if fits && self.may_be(changes, step) {
                    return Some(step);
                }
                self.state.take_back(changes);
            }
            next = self.unknown.after(step);
        }
        None
    }

    /// Whether the state that `step`, of unknown outcome, led to can lead on.
    fn may_be(&self, changes: usize, step: u32) -> bool {
        let seen = self.state.seen().is_none_or(|seen| seen.may_hold(&self.state));
        seen && !self.is_cut_off(changes, step)
    }

    fn waits_for_another(&self, step: u32) -> bool {
        self.steps[step as usize].after.is_some_and(|before| self.waiting[before as usize])
    }

    fn is_cut_off(&self, changes: usize, step: u32) -> bool {
        self.outlook.as_ref().is_some_and(|it| it.is_cut_off(&self.state, changes, step))
    }

    /// Whether `action` writes over all that the last choice, of unknown outcome, wrote.
    fn hides_unknown(&self, action: &Action<'_>) -> bool {
        let (Action::Write { pairs, .. }, Some(last)) = (action, self.frames.last()) else {
            return false;
        };
        let Choice::Unknown(step) = last.choice else {
            return false;
        };
        let written = self.steps[step as usize].action.places();
        written.iter().all(|place| pairs.iter().any(|pair| pair.0 == *place))
    }

    /// Whether `choice` could as well have come before the last one, to the same end.
    fn is_out_of_turn(&self, choice: Choice) -> bool {
        let Some(last) = self.frames.last().filter(|_| self.state.cells().len() > 1) else {
            return false;
        };
        let (Choice::Known(step) | Choice::Unknown(step)) = choice else {
            return false;
        };
        let (Choice::Known(before) | Choice::Unknown(before)) = last.choice else {
            return false;
        };
        let was_open = self.steps[before as usize]
            .responded_ns
            .is_none_or(|ended| self.steps[step as usize].invoked_ns <= ended);
        // One that was forced may have become possible only then.
        let was_open = was_open && self.steps[step as usize].after != Some(before);
        let lower = choice < last.choice && !last.forced && was_open;
        lower && {
            let touched = self.steps[before as usize].action.places();
            let touches = self.steps[step as usize].action.places();
            touches.iter().all(|place| !touched.contains(place))
        }
    }

    /// Whether `choice`, done after the state had `changes`, only leads back to a state since
    /// which nothing with a known outcome happened.
    fn is_circle(&self, choice: Choice, changes: usize) -> bool {
        if !matches!(choice, Choice::Unknown(_)) {
            return false;
        }
        let here = self.state.mark();
        let mut before = changes;
        for frame in self.frames.iter().rev() {
            if frame.led_to == here {
                return true;
            }
            if matches!(frame.choice, Choice::Known(_)) {
                return false;
            }
            before = frame.changes;
        }
        before == 0 && here == 0
    }

    /// Takes the operation of `choice` from those that wait, or puts it back.
    fn mark(&mut self, choice: Choice, waits: bool) {
        let (Choice::Known(step) | Choice::Unknown(step)) = choice else {
            return;
        };
        self.waiting[step as usize] = waits;
        if let Some(outlook) = &mut self.outlook {
            outlook.mark(step, waits);
        }
        self.done_mark ^= mix(u64::from(step));
        let lists = match choice {
            Choice::Known(_) => [Some(&mut self.known), Some(&mut self.by_response)],
            Choice::Unknown(_) | Choice::Vanish(_) => [Some(&mut self.unknown), None],
        };
        for list in lists.into_iter().flatten() {
            if waits {
                list.put_back(step);
            } else {
                list.take(step);
            }
        }
    }

    /// Whether the search was never here before.
    fn remember(&mut self) -> bool {
        let here = self.done_mark ^ self.state.mark().rotate_left(64);
        let short = |mark: &u128| {
            u64::try_from((mark ^ (mark >> 64)) & u128::from(u64::MAX)).expect("64 bits")
        };
        if self.tried.find(short(&here), |known| *known == here).is_some() {
            return false;
        }
        self.tried.insert_unique(short(&here), here, short);
        true
    }

    /// Takes back the last choice that leaves others; `None` if there are none.
    fn back(&mut self) -> Option<Cursor> {
        while let Some(frame) = self.frames.pop() {
            self.mark(frame.choice, true);
            self.state.take_back(frame.changes);
            if !frame.forced {
                return Some(Cursor::After(frame.choice));
            }
        }
        None
    }

    fn note_dead_end(&mut self, first: u32) {
        let done = self.frames.len();
        if self.best.as_ref().is_none_or(|best| best.0 < done) {
            self.best = Some((done, first as usize, self.state.clone()));
        }
    }
}

/// By step without an outcome: the one before it that does the same.
fn same_before(steps: &[Step<'_>]) -> Vec<Option<u32>> {
    let mut before = vec![None; steps.len()];
    let mut latest: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (step, it) in (0..).zip(steps).filter(|(_, it)| it.responded_ns.is_none()) {
        // The earlier one serves as well for everything if the key may vanish earlier too.
        let class = action_class(&it.action);
        let list = latest.entry(class).or_default();
        let same = |other: &&mut u32| {
            let other = &steps[**other as usize];
            other.action == it.action && other.vanishes_ns <= it.vanishes_ns
        };
        match list.iter_mut().find(same) {
            Some(known) => before[step as usize] = Some(std::mem::replace(known, step)),
            None => list.push(step),
        }
    }
    before
}

fn action_class(action: &Action<'_>) -> u64 {
    let mut hasher = Xxh3Default::default();
    action.hash(&mut hasher);
    hasher.digest()
}

/// 128 bits that stand for a number.
fn mix(number: u64) -> u128 {
    xxh3_128(&number.to_le_bytes())
}

/// A list of steps from which some are taken and put back in the reverse order (D. Knuth,
/// "Dancing links", 2000).
struct Waiting {
    /// By step: the next one in the list. The last entry is the head of the list.
    next: Vec<u32>,
    previous: Vec<u32>,
    head: u32,
}

impl Waiting {
    fn new(steps: usize, members: impl Iterator<Item = u32>) -> Self {
        let head = u32::try_from(steps).expect("a history has few operations");
        let mut list = Self { next: vec![head; steps + 1], previous: vec![head; steps + 1], head };
        let mut last = head;
        for step in members {
            list.next[last as usize] = step;
            list.previous[step as usize] = last;
            last = step;
        }
        list.next[last as usize] = head;
        list.previous[head as usize] = last;
        list
    }

    fn first(&self) -> Option<u32> {
        self.after(self.head)
    }

    fn after(&self, step: u32) -> Option<u32> {
        let next = self.next[step as usize];
        (next != self.head).then_some(next)
    }

    fn take(&mut self, step: u32) {
        let (next, previous) = (self.next[step as usize], self.previous[step as usize]);
        self.next[previous as usize] = next;
        self.previous[next as usize] = previous;
    }

    fn put_back(&mut self, step: u32) {
        let (next, previous) = (self.next[step as usize], self.previous[step as usize]);
        self.next[previous as usize] = step;
        self.previous[next as usize] = step;
    }
}
