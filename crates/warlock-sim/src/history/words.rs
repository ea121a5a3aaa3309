//! The words of a history: each sequence of bytes is kept once and named by a number.

use core::fmt;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Names a key of one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

/// Names a value of one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(u32);

impl Key {
    pub(super) const fn of(word: u32) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u32 {
        self.0
    }

    /// A small number for tables: below the number of words of the history.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Value {
    pub(super) const fn of(word: u32) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u32 {
        self.0
    }

    /// A small number for tables: below the number of words of the history.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All words, one behind the other.
#[derive(Clone, Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    /// Where each word ends.
    ends: Vec<usize>,
    by_content: HashTable<u32>,
}

impl Words {
    /// The number of the word with these bytes.
    pub(super) fn intern(&mut self, bytes: &[u8]) -> u32 {
        let hash = xxh3_64(bytes);
        if let Some(&known) = self.by_content.find(hash, |&word| self.bytes(word) == bytes) {
            return known;
        }
        let word = u32::try_from(self.ends.len()).expect("a history has fewer than 2^32 words");
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        let (all, ends) = (&self.bytes, &self.ends);
        self.by_content.insert_unique(hash, word, |&it| xxh3_64(slice(all, ends, it)));
        word
    }

    /// The bytes of a word of this history.
    pub(super) fn bytes(&self, word: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, word)
    }

    pub(super) const fn len(&self) -> usize {
        self.ends.len()
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} of {} bytes)", self.ends.len(), self.bytes.len())
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[usize], word: u32) -> &'a [u8] {
    let index = word as usize;
    let start = if index == 0 { 0 } else { ends[index - 1] };
    &bytes[start..ends[index]]
}
