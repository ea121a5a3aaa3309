//! What happened: a hash of everything, and, if asked for, the newest lines of a column log.

use std::collections::VecDeque;

/// The hash and the log of one run.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    kept: usize,
}

impl Trace {
    /// Keeps the newest `kept` lines; none at all for 0, which is much faster.
    pub(super) const fn new(kept: usize) -> Self {
        Self { hash: 0x6a09_e667_f3bc_c908, lines: VecDeque::new(), kept }
    }

    /// Takes `word` into the hash.
    pub(super) const fn mix(&mut self, word: u64) {
        let mixed = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = mixed ^ (mixed >> 29);
    }

    /// Takes bytes into the hash.
    pub(super) fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(xxhash_rust::xxh3::xxh3_64(bytes));
    }

    /// The hash of everything so far.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Writes a line at `time`, in nanoseconds of virtual time, about `who`.
    pub(super) fn line(&mut self, time: u64, who: &str, what: impl FnOnce() -> String) {
        if self.kept == 0 {
            return;
        }
        if self.lines.len() == self.kept {
            self.lines.pop_front();
        }
        let (milliseconds, micros) = (time / 1_000_000, time / 1000 % 1000);
        self.lines.push_back(format!("{milliseconds:>7}.{micros:03} {who:<8} {}", what()));
    }

    /// The lines kept, oldest first.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
