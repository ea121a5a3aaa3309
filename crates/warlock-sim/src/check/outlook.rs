//! What is still to be seen: a value that somebody will have read must not be written over while
//! nothing can bring it back.
//!
//! For keys that are only written whole this finds a wrong order of writes when it is made, and not
//! at the read that shows it.

use std::collections::BTreeMap;

use super::model::{Action, Content, State};
use super::search::Step;

/// By content of each key: how many that wait have to see it, and how many could bring it back.
#[derive(Clone, Debug)]
pub(super) struct Outlook {
    /// Numbers of contents.
    contents: BTreeMap<(u32, Option<Mark>), u32>,
    seers: Vec<u32>,
    makers: Vec<u32>,
    /// By step: the contents that it has to see.
    sees: Vec<Vec<u32>>,
    /// By step: the contents that it may bring.
    makes: Vec<Vec<u32>>,
}

type Mark = (u64, [u64; 2]);

impl Outlook {
    /// `None` if contents come about in other ways than by writing them whole.
    pub(super) fn of(steps: &[Step<'_>]) -> Option<Self> {
        let mut outlook = Self {
            contents: BTreeMap::new(),
            seers: Vec::new(),
            makers: Vec::new(),
            sees: Vec::with_capacity(steps.len()),
            makes: Vec::with_capacity(steps.len()),
        };
        for step in steps {
            let (sees, makes) = outlook.of_action(&step.action)?;
            sees.iter().for_each(|&it| outlook.seers[it as usize] += 1);
            makes.iter().for_each(|&it| outlook.makers[it as usize] += 1);
            outlook.sees.push(sees);
            outlook.makes.push(makes);
        }
        Some(outlook)
    }

    fn of_action(&mut self, action: &Action<'_>) -> Option<(Vec<u32>, Vec<u32>)> {
        Some(match action {
            Action::Read { places, expected, .. } => {
                let seen = places.iter().zip(expected);
                (seen.map(|(place, it)| self.number(*place, it.as_ref())).collect(), Vec::new())
            }
            Action::Write { pairs, timed: false } => {
                let made = pairs.iter().map(|(place, it)| self.number(*place, Some(it)));
                (Vec::new(), made.collect())
            }
            Action::WriteIfAbsent { place, content, timed: false, expected } => {
                let absent = expected.is_some_and(|told| told == 1);
                let sees = absent.then(|| self.number(*place, None));
                (sees.into_iter().collect(), vec![self.number(*place, Some(content))])
            }
            Action::Exchange { place, content, expected, .. } => {
                let sees = expected.map(|it| self.number(*place, it.as_ref()));
                (sees.into_iter().collect(), vec![self.number(*place, Some(content))])
            }
            Action::Remove { places, .. } => {
                (Vec::new(), places.iter().map(|place| self.number(*place, None)).collect())
            }
            Action::Impossible => (Vec::new(), Vec::new()),
            Action::Write { .. }
            | Action::WriteIfAbsent { .. }
            | Action::Add { .. }
            | Action::Extend { .. }
            | Action::Limit { .. } => return None,
        })
    }

    fn number(&mut self, place: u32, content: Option<&Content>) -> u32 {
        let key = (place, content.map(Content::mark));
        let next = u32::try_from(self.seers.len()).expect("few contents");
        let number = *self.contents.entry(key).or_insert(next);
        if number == next {
            self.seers.push(0);
            self.makers.push(0);
        }
        number
    }

    /// A step was done, or waits again.
    pub(super) fn mark(&mut self, step: u32, waits: bool) {
        for (list, counts) in [(&self.sees, &mut self.seers), (&self.makes, &mut self.makers)] {
            for &content in &list[step as usize] {
                let count = &mut counts[content as usize];
                *count = if waits { *count + 1 } else { *count - 1 };
            }
        }
    }

    /// Whether `step`, which is done to `state` since it had `changes` and still counts as
    /// waiting, writes over something that others have to see and nothing brings back.
    pub(super) fn is_cut_off(&self, state: &State, changes: usize, step: u32) -> bool {
        state.changed_since(changes).iter().any(|(place, before)| {
            let key = (*place, before.content.as_ref().map(Content::mark));
            let Some(&content) = self.contents.get(&key) else {
                return false;
            };
            let of_step = |list: &[Vec<u32>]| {
                let all = list[step as usize].iter();
                u32::try_from(all.filter(|it| **it == content).count()).expect("few keys")
            };
            let is_back = state.cells()[*place as usize].content == before.content;
            !is_back
                && self.seers[content as usize] > of_step(&self.sees)
                && self.makers[content as usize] == of_step(&self.makes)
        })
    }
}
