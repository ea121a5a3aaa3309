//! What was seen of the contents: the beginnings of everything that anybody read.
//!
//! A content that is no such beginning will never be seen, however it grows; all that is left of
//! it is its length. Without this a search would try all orders of the tokens whose outcome is
//! unknown.

use hashbrown::HashTable;

use super::model::{Action, Content, State};
use super::search::Step;

/// The beginnings of all contents that were read.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    /// By a part of themselves, which is a hash already.
    marks: HashTable<(u64, [u64; 2])>,
    /// The length of the longest.
    longest: u64,
    /// There is one key, and it only grows.
    only_grows: bool,
}

impl Prefixes {
    /// `None` if the contents matter in other ways: as numbers.
    pub(super) fn of(steps: &[Step<'_>], places: usize) -> Option<Self> {
        let mut read: Vec<&[u8]> = Vec::new();
        let mut only_grows = places == 1;
        for step in steps {
            match &step.action {
                Action::Add { .. } => return None,
                Action::Read { bytes, .. } => read.extend(bytes.iter().copied().flatten()),
                Action::Exchange { bytes, .. } => {
                    only_grows = false;
                    read.extend(*bytes);
                }
                Action::Extend { .. } | Action::Impossible => {}
                Action::Write { .. }
                | Action::WriteIfAbsent { .. }
                | Action::Remove { .. }
                | Action::Limit { .. } => only_grows = false,
            }
        }
        read.sort_unstable_by_key(|bytes| core::cmp::Reverse(bytes.len()));
        let longest = read.first().map_or(0, |bytes| bytes.len() as u64);
        let mut seen = Self { marks: HashTable::new(), longest, only_grows };
        seen.mark(&Content::EMPTY);
        for bytes in read {
            if !seen.begins_like(&Content::of(bytes)) {
                let mut content = Content::EMPTY;
                for &byte in bytes {
                    content.push(byte);
                    seen.mark(&content);
                }
            }
        }
        Some(seen)
    }

    fn mark(&mut self, content: &Content) {
        let mark = content.mark();
        let hash = |mark: &(u64, [u64; 2])| spread(mark.1[0]);
        self.marks.entry(hash(&mark), |known| *known == mark, hash).or_insert(mark);
    }

    /// Whether somebody read a content that begins like this.
    pub(super) fn begins_like(&self, content: &Content) -> bool {
        let mark = content.mark();
        self.marks.find(spread(mark.1[0]), |known| *known == mark).is_some()
    }

    /// Whether the keys can hold this on their way to what was read.
    pub(super) fn may_hold(&self, state: &State) -> bool {
        !self.only_grows
            || state.cells()[0]
                .content
                .is_none_or(|content| content.length() > self.longest || self.begins_like(&content))
    }
}

/// The table looks at the highest bits too, and a hash of contents has 61.
const fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}
