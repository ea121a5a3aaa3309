//! What was seen of the contents: the beginnings of everything that anybody read.
//!
//! A content that is no such beginning will never be seen, however it grows; all that is left of
//! it is its length. Without this a search would try all orders of the tokens whose outcome is
//! unknown.

use std::collections::BTreeSet;

use super::model::{Action, Content, State};
use super::search::Step;

/// The beginnings of all contents that were read.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    marks: BTreeSet<(u64, [u64; 2])>,
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
        let mut marks = BTreeSet::from([Content::EMPTY.mark()]);
        for bytes in read {
            if !marks.contains(&Content::of(bytes).mark()) {
                let mut content = Content::EMPTY;
                marks.extend(bytes.iter().map(|&byte| {
                    content.push(byte);
                    content.mark()
                }));
            }
        }
        Some(Self { marks, longest, only_grows })
    }

    /// Whether somebody read a content that begins like this.
    pub(super) fn begins_like(&self, content: &Content) -> bool {
        self.marks.contains(&content.mark())
    }

    /// Whether the keys can hold this on their way to what was read.
    pub(super) fn may_hold(&self, state: &State) -> bool {
        !self.only_grows
            || state.cells()[0]
                .content
                .is_none_or(|content| content.length() > self.longest || self.begins_like(&content))
    }
}
