//! What a list can have held: the beginnings of the longest content that anybody read of it.
//!
//! Without this a search would try all orders of the tokens whose outcome is unknown.

use std::collections::BTreeSet;

use super::model::{Action, Content, State};
use super::search::Step;

/// The beginnings of the longest content read of the only key, a list that only grows.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    longest: u64,
    marks: BTreeSet<(u64, [u64; 2])>,
}

impl Prefixes {
    /// `None` if the keys are not one list that only grows, or are never read.
    pub(super) fn of(steps: &[Step<'_>], places: usize) -> Option<Self> {
        let mut longest: Option<&[u8]> = None;
        for step in steps {
            match &step.action {
                Action::Extend { .. } => {}
                Action::Read { bytes, .. } => {
                    let length = longest.map_or(0, <[u8]>::len);
                    longest = bytes.filter(|it| it.len() > length).or(longest);
                }
                Action::Write { .. }
                | Action::WriteIfAbsent { .. }
                | Action::Exchange { .. }
                | Action::Add { .. }
                | Action::Remove { .. }
                | Action::Limit { .. }
                | Action::Impossible => return None,
            }
        }
        let bytes = longest.filter(|_| places == 1)?;
        let mut content = Content::EMPTY;
        let mut marks = BTreeSet::new();
        for &byte in bytes {
            content.push(byte);
            marks.insert((content.length(), content.hash()));
        }
        Some(Self { longest: content.length(), marks })
    }

    /// Whether the list can be what `state` says.
    pub(super) fn may_hold(&self, state: &State) -> bool {
        state.cells()[0].content.is_none_or(|content| {
            content.length() > self.longest
                || self.marks.contains(&(content.length(), content.hash()))
        })
    }
}
