//! A small seeded generator (SplitMix64), for jitter and batch seeds. Never for secrets.

use crate::time::Span;

/// A stream of numbers that its seed determines.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A span from zero to below `limit`.
    pub(crate) const fn span_below(&mut self, limit: Span) -> Span {
        if limit.nanos() == 0 {
            return Span::ZERO;
        }
        Span::from_nanos(self.next() % limit.nanos())
    }
}
