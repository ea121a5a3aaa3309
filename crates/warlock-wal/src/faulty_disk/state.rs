//! What the medium holds, what processes see, and what lies between.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};

use super::faults::{Failure, Outcome};
use super::pages::Pages;
use super::random::Random;
use crate::limits::SECTOR;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u64);

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) steps: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) is_crashed: bool,
    /// Counts restarts; handles of earlier ones are dead.
    pub(super) start: u64,
    pub(super) failures: BTreeMap<u64, Failure>,
    pub(super) is_full: bool,
    pub(super) is_lying: bool,
    pub(super) unreadable: BTreeSet<String>,
    pub(super) files: BTreeMap<FileId, Content>,
    /// The directory as processes see it.
    pub(super) entries: BTreeMap<String, FileId>,
    durable_entries: BTreeMap<String, FileId>,
    /// What was done to the directory since it was synced.
    changes: Vec<Change>,
    /// What was being done when the machine stopped.
    interrupted: Option<Interrupted>,
    next_file: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// As processes see it.
    pub(super) seen: Pages,
    durable: Pages,
    /// What was done to the file since it was synced.
    pending: Vec<Write>,
    /// Processes see something that will not become durable: a write was lost or went elsewhere.
    is_parted: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A change of the directory that the file system makes as a whole.
#[derive(Clone, Debug)]
enum Change {
    Link { name: String, file: FileId },
    Rename { from: String, to: String, file: FileId },
    Remove { name: String },
}

#[derive(Clone, Debug)]
enum Interrupted {
    Write(FileId, Write),
    Change(Change),
}

/// What becomes of a step.
enum Step {
    Go,
    Crash,
    Fail(Failure),
}

impl State {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            steps: 0,
            crash_at: None,
            is_crashed: false,
            start: 0,
            failures: BTreeMap::new(),
            is_full: false,
            is_lying: false,
            unreadable: BTreeSet::new(),
            files: BTreeMap::new(),
            entries: BTreeMap::new(),
            durable_entries: BTreeMap::new(),
            changes: Vec::new(),
            interrupted: None,
            next_file: 0,
        }
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<FileId> {
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(file, Content::default());
        let name = name.to_owned();
        self.change(Change::Link { name, file })?;
        Ok(file)
    }

    pub(super) fn open(&self, name: &str) -> io::Result<FileId> {
        let file = self.entries.get(name).copied();
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.open(from)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change(Change::Rename { from, to, file })
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open(name)?;
        let name = name.to_owned();
        self.change(Change::Remove { name })
    }

    pub(super) fn sync_directory(&mut self) -> io::Result<()> {
        match self.step() {
            Step::Crash => Err(stopped()),
            Step::Fail(failure) => {
                // What is seen stays, but nothing will ever write it.
                self.changes.clear();
                Err(failure.error())
            }
            Step::Go if self.is_lying => Ok(()),
            Step::Go => {
                for change in std::mem::take(&mut self.changes) {
                    change.apply(&mut self.durable_entries);
                }
                Ok(())
            }
        }
    }

    pub(super) fn allocate(&mut self, file: FileId, length: u64) -> io::Result<()> {
        let length = as_index(length);
        if length <= self.content(file).seen.len() {
            return Ok(());
        }
        let write = Write::Length(length);
        match self.step() {
            Step::Crash => {
                self.interrupted = Some(Interrupted::Write(file, write));
                Err(stopped())
            }
            Step::Fail(failure @ (Failure::Io | Failure::Full)) => Err(failure.error()),
            Step::Go if self.is_full => Err(Failure::Full.error()),
            Step::Go | Step::Fail(_) => {
                self.content(file).write(write);
                Ok(())
            }
        }
    }

    pub(super) fn write(
        &mut self,
        file: FileId,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> io::Result<()> {
        let offset = as_index(offset);
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        match self.step() {
            Step::Crash => {
                let write = Write::Bytes { offset, bytes };
                self.interrupted = Some(Interrupted::Write(file, write));
                Err(stopped())
            }
            Step::Fail(Failure::Io) => Err(Failure::Io.error()),
            Step::Fail(Failure::Full) => {
                bytes.truncate(self.sectors_in(bytes.len()));
                self.content(file).write(Write::Bytes { offset, bytes });
                Err(Failure::Full.error())
            }
            Step::Fail(Failure::LostWrite) => {
                let content = self.content(file);
                content.is_parted = true;
                Write::Bytes { offset, bytes }.apply(&mut content.seen);
                Ok(())
            }
            Step::Fail(Failure::MisdirectedWrite(distance)) => {
                let content = self.content(file);
                content.is_parted = true;
                let end = content.seen.len().saturating_sub(bytes.len());
                let elsewhere = (offset + as_index(distance)).min(end);
                let write = Write::Bytes { offset, bytes };
                write.apply(&mut content.seen);
                content.pending.push(write.moved_to(elsewhere));
                Ok(())
            }
            Step::Go if self.is_full && offset + bytes.len() > self.content(file).seen.len() => {
                Err(Failure::Full.error())
            }
            Step::Go => {
                self.content(file).write(Write::Bytes { offset, bytes });
                Ok(())
            }
        }
    }

    pub(super) fn read(&self, file: FileId, buffer: &mut [u8], offset: u64) -> usize {
        self.files[&file].seen.read(as_index(offset), buffer)
    }

    pub(super) fn sync_data(&mut self, file: FileId) -> io::Result<()> {
        match self.step() {
            Step::Crash => Err(stopped()),
            Step::Fail(failure) => {
                let content = self.content(file);
                content.is_parted |= !content.pending.is_empty();
                content.pending.clear();
                Err(failure.error())
            }
            Step::Go if self.is_lying => Ok(()),
            Step::Go => {
                self.content(file).write_back();
                Ok(())
            }
        }
    }

    pub(super) fn drop_cache(&mut self, file: FileId) {
        let content = self.content(file);
        content.forget_seen();
        for write in &content.pending {
            write.apply(&mut content.seen);
        }
    }

    /// Changes bytes on the medium; what was not synced has reached it before.
    pub(super) fn damage(
        &mut self,
        name: &str,
        offset: u64,
        length: u64,
        change: impl FnOnce(&mut [u8]),
    ) {
        let content = self.content_at_rest(name);
        let mut bytes = vec![0; as_index(length)];
        let count = content.durable.read(as_index(offset), &mut bytes);
        assert_eq!(count, bytes.len(), "the file is so long");
        change(&mut bytes);
        content.durable.put(as_index(offset), &bytes);
        content.forget_seen();
    }

    /// What the medium holds of a file once everything that waits is written back.
    pub(super) fn at_rest(&mut self, name: &str) -> Vec<u8> {
        self.content_at_rest(name).durable.to_vec()
    }

    pub(super) fn cut(&mut self, name: &str, length: u64) {
        let content = self.content_at_rest(name);
        content.durable.truncate(as_index(length));
        content.forget_seen();
    }

    pub(super) fn restart(&mut self, outcome: Outcome) {
        let interrupted = self.interrupted.take();
        if outcome == Outcome::Kept {
            self.keep(interrupted);
        } else {
            self.lose_power(interrupted, outcome);
        }
        let changed = self.changes.iter().filter_map(Change::file);
        let named = self.entries.values().chain(self.durable_entries.values());
        let named: BTreeSet<FileId> = named.copied().chain(changed).collect();
        self.files.retain(|file, _| named.contains(file));
        self.crash_at = None;
        self.is_crashed = false;
        self.start += 1;
        self.failures.clear();
        self.is_full = false;
        self.is_lying = false;
        self.unreadable.clear();
    }

    /// The process is gone, the cache is not.
    fn keep(&mut self, interrupted: Option<Interrupted>) {
        match interrupted {
            None => {}
            Some(Interrupted::Write(file, Write::Bytes { offset, mut bytes })) => {
                bytes.truncate(self.sectors_in(bytes.len()));
                self.content(file).write(Write::Bytes { offset, bytes });
            }
            // A kill leaves these done or not.
            Some(_) if self.random.coin() => {}
            Some(Interrupted::Write(file, write)) => self.content(file).write(write),
            Some(Interrupted::Change(change)) => {
                change.apply(&mut self.entries);
                self.changes.push(change);
            }
        }
    }

    fn lose_power(&mut self, interrupted: Option<Interrupted>, outcome: Outcome) {
        match interrupted {
            None => {}
            Some(Interrupted::Write(file, write)) => self.content(file).pending.push(write),
            Some(Interrupted::Change(change)) => self.changes.push(change),
        }
        let mut random = self.random.fork();
        for content in self.files.values_mut() {
            content.lose_power(outcome, &mut random);
        }
        let changes = std::mem::take(&mut self.changes);
        let whole = random.below(changes.len() as u64 + 1);
        for (index, change) in (0..).zip(changes) {
            let is_done = match outcome {
                Outcome::Kept => true,
                Outcome::Lost => false,
                Outcome::Torn => index < whole,
                Outcome::Reordered => random.coin(),
            };
            if is_done {
                change.apply(&mut self.durable_entries);
            }
        }
        self.entries.clone_from(&self.durable_entries);
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let needs_space = matches!(change, Change::Link { .. });
        match self.step() {
            Step::Crash => {
                self.interrupted = Some(Interrupted::Change(change));
                Err(stopped())
            }
            Step::Fail(failure @ (Failure::Io | Failure::Full)) => Err(failure.error()),
            Step::Go if self.is_full && needs_space => Err(Failure::Full.error()),
            Step::Go | Step::Fail(_) => {
                change.apply(&mut self.entries);
                self.changes.push(change);
                Ok(())
            }
        }
    }

    fn step(&mut self) -> Step {
        self.steps += 1;
        if self.crash_at.is_some_and(|step| step <= self.steps) {
            self.is_crashed = true;
            return Step::Crash;
        }
        let failure = self.failures.remove(&self.steps);
        failure.map_or(Step::Go, Step::Fail)
    }

    /// A random number of whole sectors, in bytes, of `length` bytes.
    fn sectors_in(&mut self, length: usize) -> usize {
        let sectors = self.random.below((length / SECTOR) as u64 + 1);
        as_index(sectors) * SECTOR
    }

    fn content(&mut self, file: FileId) -> &mut Content {
        let content = self.files.get_mut(&file);
        content.expect("a file lives as long as the process that has it open")
    }

    fn content_at_rest(&mut self, name: &str) -> &mut Content {
        let file = *self.entries.get(name).expect("the file exists");
        let content = self.content(file);
        content.write_back();
        content
    }
}

impl Content {
    fn write(&mut self, write: Write) {
        write.apply(&mut self.seen);
        self.pending.push(write);
    }

    fn write_back(&mut self) {
        for write in self.pending.drain(..) {
            if self.is_parted {
                write.apply(&mut self.durable);
            } else {
                // In the end both are the same, so pages need not be written twice.
                write.share(&mut self.durable, &self.seen);
            }
        }
    }

    /// What processes see is what the medium holds, and nothing else.
    fn forget_seen(&mut self) {
        self.seen.clone_from(&self.durable);
        self.is_parted = false;
    }

    fn lose_power(&mut self, outcome: Outcome, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let whole = random.below(pending.len() as u64 + 1);
        for (index, write) in (0..).zip(pending) {
            match outcome {
                Outcome::Lost => {}
                Outcome::Kept => write.apply(&mut self.durable),
                Outcome::Torn if index < whole => write.apply(&mut self.durable),
                Outcome::Torn if index > whole => {}
                Outcome::Torn | Outcome::Reordered => {
                    write.apply_in_part(&mut self.durable, random);
                }
            }
        }
        self.forget_seen();
    }
}

impl Write {
    fn apply(&self, content: &mut Pages) {
        match self {
            Self::Bytes { offset, bytes } => content.put(*offset, bytes),
            Self::Length(length) => content.grow(*length),
        }
    }

    /// Applies the write by taking over what `from` holds in its place.
    fn share(&self, content: &mut Pages, from: &Pages) {
        match self {
            Self::Bytes { offset, bytes } => content.share(from, *offset, bytes.len()),
            Self::Length(length) => content.grow(*length),
        }
    }

    /// Applies any of the sectors.
    fn apply_in_part(&self, content: &mut Pages, random: &mut Random) {
        match self {
            Self::Bytes { offset, bytes } => {
                let mut start = 0;
                while start < bytes.len() {
                    let to_boundary = SECTOR - (offset + start) % SECTOR;
                    let end = bytes.len().min(start + to_boundary);
                    if random.coin() {
                        content.put(offset + start, &bytes[start..end]);
                    }
                    start = end;
                }
            }
            Self::Length(_) => {
                if random.coin() {
                    self.apply(content);
                }
            }
        }
    }

    fn moved_to(self, elsewhere: usize) -> Self {
        match self {
            Self::Bytes { bytes, .. } => Self::Bytes { offset: elsewhere, bytes },
            Self::Length(length) => Self::Length(length),
        }
    }
}

impl Change {
    const fn file(&self) -> Option<FileId> {
        match self {
            Self::Link { file, .. } | Self::Rename { file, .. } => Some(*file),
            Self::Remove { .. } => None,
        }
    }

    fn apply(&self, entries: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Link { name, file } => {
                entries.insert(name.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                // The new name may be durable while an older change of the old one is not.
                if entries.get(from) == Some(file) {
                    entries.remove(from);
                }
                entries.insert(to.clone(), *file);
            }
            Self::Remove { name } => {
                entries.remove(name);
            }
        }
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::Io | Self::LostWrite | Self::MisdirectedWrite(_) => {
                io::Error::other("input/output error")
            }
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn as_index(number: u64) -> usize {
    usize::try_from(number).expect("a disk in memory fits into it")
}
