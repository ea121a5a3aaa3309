//! The only source of chance: xoshiro256** seeded by SplitMix64, so that a seed means the same run
//! on every machine and in every version of every dependency.

/// A deterministic generator of 64-bit numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator that `seed` names.
    pub(crate) fn new(seed: u64) -> Self {
        let mut split = seed;
        let mut next = || {
            split = split.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (split ^ (split >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        Self { state: [next(), next(), next(), next()] }
    }

    /// Sixty-four random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of a product of two 64-bit numbers")
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// If `low` is above `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "{low}..={high} is empty");
        low + self.below(high - low + 1)
    }

    /// A position in something of length `length`; 0 if that is 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length in memory")
    }

    /// True in `per_mille` of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// True in `per_million` of a million cases; draws nothing for 0.
    pub(crate) fn rarely(&mut self, per_million: u64) -> bool {
        per_million > 0 && self.below(1_000_000) < per_million
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// A span around `mean` as waiting times are: most are shorter, few much longer, none above
    /// nine times the mean.
    pub(crate) fn around(&mut self, mean: u64) -> u64 {
        // Leading zeros of random bits are distributed geometrically: no floating point is needed.
        let bits = self.bits();
        let doublings = u64::from(bits.leading_zeros().min(15));
        let fraction = bits & 0xffff;
        mean.saturating_mul(fraction) / 0x1_0000 + (mean / 2).saturating_mul(doublings)
    }

    /// Puts `items` into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }

    /// A generator of its own, for choices that must not disturb those that follow here.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.bits(), random.bits(), random.bits()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn ranges_are_kept_and_reached() {
        let mut random = Random::new(1);
        let mut seen = [0; 6];
        for _ in 0..6000 {
            seen[usize::try_from(random.between(3, 8)).unwrap() - 3] += 1;
            assert!(random.below(5) < 5);
            assert!(random.around(1000) <= 9000);
        }
        assert!(seen.iter().all(|&count| count > 800), "{seen:?}");
        assert_eq!((random.below(0), random.index(0)), (0, 0));
        assert!(!random.chance(0) && random.chance(1000));
    }

    #[test]
    fn waiting_times_have_about_their_mean() {
        let mut random = Random::new(2);
        let sum: u64 = (0..10_000).map(|_| random.around(1000)).sum();
        assert!((800_000..1_600_000).contains(&(sum / 10)), "{}", sum / 10_000);
    }

    #[test]
    fn shuffling_keeps_all_items() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
