//! What one command does to a few keys, one command after the other: the sequential specification
//! that [`linearizability`](super::linearizability) searches an order for.

use xxhash_rust::xxh3::xxh3_128;

use super::prefixes::Prefixes;

/// The longest number in decimal, with its sign.
const NUMBER_LENGTH_MAX: usize = 20;

/// The bytes of a value, as far as needed to compare and to extend them.
///
/// Long contents are equal if their lengths and 122 bits of hash are: lists grow without keeping a
/// copy for each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Content {
    length: u64,
    hash: [u64; 2],
    /// The first bytes; all of them while they are few.
    head: [u8; NUMBER_LENGTH_MAX],
    /// Nobody will see more of it than its length.
    lost: bool,
}

impl Content {
    pub(super) const EMPTY: Self =
        Self { length: 0, hash: [0; 2], head: [0; NUMBER_LENGTH_MAX], lost: false };

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::EMPTY.with(bytes)
    }

    fn of_number(number: i64) -> Self {
        Self::of(number.to_string().as_bytes())
    }

    /// These bytes with others at the end.
    fn with(mut self, bytes: &[u8]) -> Self {
        if self.lost {
            self.length += bytes.len() as u64;
            return self;
        }
        for &byte in bytes {
            self.push(byte);
        }
        self
    }

    /// Adds a byte at the end.
    pub(super) fn push(&mut self, byte: u8) {
        let end = usize::try_from(self.length).ok();
        if let Some(at) = end.and_then(|end| self.head.get_mut(end)) {
            *at = byte;
        }
        self.length += 1;
        for (hash, base) in self.hash.iter_mut().zip(HASH_BASES) {
            *hash = rest(u128::from(*hash) * base + u128::from(byte) + 1);
        }
    }

    /// The bytes, if they are few.
    pub(super) fn short(&self) -> Option<&[u8]> {
        if self.lost {
            return None;
        }
        self.head.get(..usize::try_from(self.length).ok()?)
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// What stands for the bytes.
    pub(super) const fn mark(&self) -> (u64, [u64; 2]) {
        (self.length, self.hash)
    }

    const fn lost(self) -> Self {
        Self { length: self.length, lost: true, ..Self::EMPTY }
    }

    fn number(&self) -> Option<i64> {
        core::str::from_utf8(self.short()?).ok()?.parse().ok()
    }
}

/// The Mersenne prime 2^61 - 1.
const HASH_PRIME: u64 = (1 << 61) - 1;

/// The rest of `number`, which is below 2^123, when it is divided by the prime: 2^61 counts as one,
/// and no slow division of 128 bits is needed.
fn rest(number: u128) -> u64 {
    let low = u64::try_from(number & u128::from(HASH_PRIME)).expect("61 bits");
    let sum = low + u64::try_from(number >> 61).expect("62 bits");
    let sum = (sum & HASH_PRIME) + (sum >> 61);
    if sum >= HASH_PRIME { sum - HASH_PRIME } else { sum }
}

const HASH_BASES: [u128; 2] = [0x0c3f_5a1d_94e7_b26b, 0x15d2_88f3_61a9_c04f];

/// What one key holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    pub(super) content: Option<Content>,
    /// The step that gave it a time to live, if it has one.
    pub(super) timed_by: Option<u32>,
}

impl Cell {
    /// 128 bits that stand for this cell at this place; nothing stands for an absent key.
    fn mark(&self, place: u32) -> u128 {
        let Some(content) = &self.content else {
            return 0;
        };
        let mut bytes = [0; 37];
        bytes[..4].copy_from_slice(&place.to_le_bytes());
        bytes[4..12].copy_from_slice(&content.hash[0].to_le_bytes());
        bytes[12..20].copy_from_slice(&content.hash[1].to_le_bytes());
        bytes[20..28].copy_from_slice(&content.length.to_le_bytes());
        let timed_by = self.timed_by.map_or(0, |step| u64::from(step) + 1);
        bytes[28..36].copy_from_slice(&timed_by.to_le_bytes());
        bytes[36] = u8::from(content.lost);
        xxh3_128(&bytes)
    }
}

/// What a command does; keys are places in [`State`].
///
/// An `expected` is what its client was told, if it was told anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action<'a> {
    /// `bytes` are those that were expected.
    Read {
        places: Vec<u32>,
        expected: Vec<Option<Content>>,
        bytes: Vec<Option<&'a [u8]>>,
    },
    Write {
        pairs: Vec<(u32, Content)>,
        timed: bool,
    },
    WriteIfAbsent {
        place: u32,
        content: Content,
        timed: bool,
        expected: Option<i64>,
    },
    Exchange {
        place: u32,
        content: Content,
        expected: Option<Option<Content>>,
        bytes: Option<&'a [u8]>,
    },
    Add {
        place: u32,
        by: i64,
        expected: Option<i64>,
    },
    Extend {
        place: u32,
        bytes: &'a [u8],
        expected: Option<i64>,
    },
    Remove {
        places: Vec<u32>,
        expected: Option<i64>,
    },
    Limit {
        place: u32,
        at_once: bool,
        expected: Option<i64>,
    },
    /// The client was told what no such command can be answered with.
    Impossible,
}

impl Action<'_> {
    /// The keys that it looks at or changes.
    pub(super) fn places(&self) -> Vec<u32> {
        match self {
            Self::Read { places, .. } | Self::Remove { places, .. } => places.clone(),
            Self::Write { pairs, .. } => pairs.iter().map(|pair| pair.0).collect(),
            Self::WriteIfAbsent { place, .. }
            | Self::Exchange { place, .. }
            | Self::Add { place, .. }
            | Self::Extend { place, .. }
            | Self::Limit { place, .. } => vec![*place],
            Self::Impossible => Vec::new(),
        }
    }

    /// Whether it changes nothing if what its client was told is true.
    pub(super) const fn only_looks(&self) -> bool {
        match self {
            Self::Read { .. } => true,
            Self::WriteIfAbsent { expected, .. }
            | Self::Remove { expected, .. }
            | Self::Limit { expected, .. } => matches!(expected, Some(0)),
            Self::Write { .. }
            | Self::Exchange { .. }
            | Self::Add { .. }
            | Self::Extend { .. }
            | Self::Impossible => false,
        }
    }
}

/// A few keys, and how to take back what was done to them.
#[derive(Clone, Debug)]
pub(super) struct State {
    cells: Vec<Cell>,
    before: Vec<(u32, Cell)>,
    mark: u128,
    seen: Option<Prefixes>,
}

impl State {
    /// `places` absent keys. Of contents that are not the beginning of something `seen` only the
    /// length is kept.
    pub(super) fn absent(places: usize, seen: Option<Prefixes>) -> Self {
        Self { cells: vec![Cell::default(); places], before: Vec::new(), mark: 0, seen }
    }

    /// What was seen.
    pub(super) const fn seen(&self) -> Option<&Prefixes> {
        self.seen.as_ref()
    }

    /// The keys changed since [`Self::changes`] was `changes`, and what they held before.
    pub(super) fn changed_since(&self, changes: usize) -> &[(u32, Cell)] {
        &self.before[changes..]
    }

    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// 128 bits that stand for all cells.
    pub(super) const fn mark(&self) -> u128 {
        self.mark
    }

    /// How much was changed so far: give it to [`Self::take_back`].
    pub(super) const fn changes(&self) -> usize {
        self.before.len()
    }

    /// Makes undone what was changed since [`Self::changes`] was `changes`.
    pub(super) fn take_back(&mut self, changes: usize) {
        while self.before.len() > changes {
            let (place, cell) = self.before.pop().expect("longer than the mark");
            self.mark ^= self.cells[place as usize].mark(place) ^ cell.mark(place);
            self.cells[place as usize] = cell;
        }
    }

    /// The key at `place` vanishes.
    pub(super) fn vanish(&mut self, place: u32) {
        self.put(place, Cell::default());
    }

    /// Does what `action`, step `step`, does. `false` if its client was told something else; then
    /// the state may be changed and must be taken back.
    pub(super) fn act(&mut self, step: u32, action: &Action<'_>) -> bool {
        match action {
            Action::Read { places, expected, .. } => places
                .iter()
                .zip(expected)
                .all(|(place, expected)| self.cells[*place as usize].content == *expected),
            Action::Write { pairs, timed } => {
                for &(place, content) in pairs {
                    self.write(place, content, timed.then_some(step));
                }
                true
            }
            Action::WriteIfAbsent { place, content, timed, expected } => {
                let absent = self.cells[*place as usize].content.is_none();
                if absent {
                    self.write(*place, *content, timed.then_some(step));
                }
                expected.is_none_or(|told| told == i64::from(absent))
            }
            Action::Exchange { place, content, expected, .. } => {
                let before = self.cells[*place as usize].content;
                self.write(*place, *content, None);
                expected.is_none_or(|told| told == before)
            }
            Action::Add { place, by, expected } => self.add(*place, *by, *expected),
            Action::Extend { place, bytes, expected } => {
                let cell = self.cells[*place as usize];
                let content = cell.content.unwrap_or(Content::EMPTY).with(bytes);
                self.write(*place, content, cell.timed_by);
                expected.is_none_or(|told| u64::try_from(told) == Ok(content.length))
            }
            Action::Remove { places, expected } => {
                let mut removed = 0;
                for &place in places {
                    removed += i64::from(self.cells[place as usize].content.is_some());
                    self.vanish(place);
                }
                expected.is_none_or(|told| told == removed)
            }
            Action::Limit { place, at_once, expected } => {
                let content = self.cells[*place as usize].content;
                if let Some(content) = content.filter(|_| !at_once) {
                    self.write(*place, content, Some(step));
                } else {
                    self.vanish(*place);
                }
                expected.is_none_or(|told| told == i64::from(content.is_some()))
            }
            Action::Impossible => false,
        }
    }

    /// What is not a number, or would be too great, stays as it is.
    fn add(&mut self, place: u32, by: i64, expected: Option<i64>) -> bool {
        let cell = self.cells[place as usize];
        let number = cell.content.map_or(Some(0), |content| content.number());
        let Some(sum) = number.and_then(|number| number.checked_add(by)) else {
            return expected.is_none();
        };
        self.write(place, Content::of_number(sum), cell.timed_by);
        expected.is_none_or(|told| told == sum)
    }

    fn write(&mut self, place: u32, content: Content, timed_by: Option<u32>) {
        let seen = self.seen.as_ref().is_none_or(|seen| seen.begins_like(&content));
        let content = if seen { content } else { content.lost() };
        self.put(place, Cell { content: Some(content), timed_by });
    }

    fn put(&mut self, place: u32, cell: Cell) {
        let known = self.cells[place as usize];
        if known != cell {
            self.mark ^= known.mark(place) ^ cell.mark(place);
            self.before.push((place, known));
            self.cells[place as usize] = cell;
        }
    }
}
