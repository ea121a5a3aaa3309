//! Fingerprints of states: 64 bits, the same in every run.

use core::hash::{Hash, Hasher};

/// A multiply-and-fold hasher in the manner of wyhash. Not for keys that an enemy chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixer(u64);

const START: u64 = 0x243f_6a88_85a3_08d3;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

const fn fold(left: u64, right: u64) -> u64 {
    let wide = (left as u128).wrapping_mul(right as u128);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let halves = (wide as u64, (wide >> 64) as u64);
    halves.0 ^ halves.1
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        fold(self.0 ^ START, FACTOR)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = fold(self.0 ^ number, FACTOR).rotate_left(23) ^ number;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// The fingerprint of one value.
pub(super) fn fingerprint(value: &impl Hash) -> u64 {
    let mut mixer = Mixer(START);
    value.hash(&mut mixer);
    mixer.finish()
}

/// Hashes by doing nothing: the keys are fingerprints already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Identity(u64);

/// Builds [`Identity`].
pub(super) type Through = core::hash::BuildHasherDefault<Identity>;

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn small_differences_change_the_fingerprint() {
        let mut seen = BTreeSet::new();
        for left in 0..300_u64 {
            for right in 0..300_u32 {
                assert!(seen.insert(fingerprint(&(left, right))), "{left} {right}");
            }
        }
    }

    #[test]
    fn lengths_and_order_count() {
        let values: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"ab", b"ba", b"\0\0\0\0\0\0\0\0"];
        let all: BTreeSet<u64> = values.iter().map(fingerprint).collect();
        assert_eq!(all.len(), values.len());
    }
}
