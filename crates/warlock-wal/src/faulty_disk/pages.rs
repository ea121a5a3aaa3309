//! The content of a file in pages that copies of it share.
//!
//! What a process sees of a file and what the medium holds are nearly the same, and most of a log
//! is room for what is to come. So a copy costs little, and zeros cost nothing.

use std::sync::Arc;

use crate::limits::PAGE;
use crate::zeros::{ZEROS, is_zero};

/// Bytes that are copied only where two copies differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    length: usize,
    /// As many as the length needs, each of whole length. None are zeros, as is whatever stands
    /// behind the length.
    pages: Vec<Option<Arc<[u8]>>>,
}

impl Pages {
    pub(super) const fn len(&self) -> usize {
        self.length
    }

    /// Makes the content at least `length` bytes long; new bytes are zeros.
    pub(super) fn grow(&mut self, length: usize) {
        if length > self.length {
            self.length = length;
            self.pages.resize(length.div_ceil(PAGE), None);
        }
    }

    /// Cuts the content to at most `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        if length >= self.length {
            return;
        }
        let page_end = self.length.min(length.next_multiple_of(PAGE));
        self.put(length, &ZEROS[..page_end - length]);
        self.length = length;
        self.pages.truncate(length.div_ceil(PAGE));
    }

    /// Writes `bytes` from `offset` on, behind the present end if need be.
    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.grow(offset + bytes.len());
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let within = at % PAGE;
            let (part, behind) = rest.split_at(rest.len().min(PAGE - within));
            put_in_page(&mut self.pages[at / PAGE], within, part);
            at += part.len();
            rest = behind;
        }
    }

    /// Copies from `offset` on until `buffer` is full or the content ends; returns how many bytes.
    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let start = offset.min(self.length);
        let count = buffer.len().min(self.length - start);
        let (mut at, mut rest) = (start, &mut buffer[..count]);
        while !rest.is_empty() {
            let within = at % PAGE;
            let length = rest.len().min(PAGE - within);
            let (part, behind) = rest.split_at_mut(length);
            match &self.pages[at / PAGE] {
                Some(page) => part.copy_from_slice(&page[within..within + length]),
                None => part.fill(0),
            }
            at += length;
            rest = behind;
        }
        count
    }

    /// All bytes.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        self.read(0, &mut bytes);
        bytes
    }

    /// Becomes like `other` in all pages that hold one of the `length` bytes from `offset` on.
    pub(super) fn share(&mut self, other: &Self, offset: usize, length: usize) {
        self.grow(offset + length);
        let pages = offset / PAGE..(offset + length).div_ceil(PAGE);
        self.pages[pages.clone()].clone_from_slice(&other.pages[pages]);
    }
}

fn put_in_page(page: &mut Option<Arc<[u8]>>, within: usize, part: &[u8]) {
    if is_zero(part) && (page.is_none() || part.len() == PAGE) {
        *page = None;
    } else if part.len() == PAGE {
        *page = Some(Arc::from(part));
    } else {
        let page = page.get_or_insert_with(|| Arc::from(&ZEROS[..PAGE]));
        Arc::make_mut(page)[within..within + part.len()].copy_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_disk::random::Random;

    fn below(random: &mut Random, bound: usize) -> usize {
        usize::try_from(random.below(bound as u64)).unwrap()
    }

    /// Does anything to both; they must stay equal.
    fn change(pages: &mut Pages, plain: &mut Vec<u8>, random: &mut Random) {
        let (offset, length) = (below(random, 3 * PAGE), below(random, 2 * PAGE + 1));
        let offset = if random.coin() { offset / PAGE * PAGE } else { offset };
        let length = if random.coin() { length / PAGE * PAGE } else { length };
        let byte = if random.coin() { 0 } else { random.byte() };
        match random.below(4) {
            0 => {
                pages.grow(offset);
                plain.resize(plain.len().max(offset), 0);
            }
            1 => {
                pages.truncate(offset);
                plain.truncate(offset);
            }
            _ => {
                pages.put(offset, &vec![byte; length]);
                plain.resize(plain.len().max(offset + length), 0);
                plain[offset..offset + length].fill(byte);
            }
        }
    }

    #[test]
    fn pages_hold_what_plain_bytes_hold() {
        let mut random = Random::new(1);
        for _ in 0..200 {
            let (mut pages, mut plain) = (Pages::default(), Vec::new());
            for _ in 0..20 {
                change(&mut pages, &mut plain, &mut random);
                assert_eq!(pages.len(), plain.len());
                assert_eq!(pages.to_vec(), plain);
                let (offset, length) = (below(&mut random, 4 * PAGE), below(&mut random, PAGE));
                let mut buffer = vec![7; length];
                let count = pages.read(offset, &mut buffer);
                let start = offset.min(plain.len());
                assert_eq!(count, length.min(plain.len() - start));
                assert_eq!(buffer[..count], plain[start..start + count]);
            }
        }
    }

    #[test]
    fn a_change_of_a_copy_is_not_seen_in_the_other() {
        let mut random = Random::new(2);
        for _ in 0..200 {
            let (mut pages, mut plain) = (Pages::default(), Vec::new());
            for _ in 0..10 {
                change(&mut pages, &mut plain, &mut random);
            }
            let (mut copy, mut plain_copy) = (pages.clone(), plain.clone());
            change(&mut copy, &mut plain_copy, &mut random);
            assert_eq!(copy.to_vec(), plain_copy);
            assert_eq!(pages.to_vec(), plain);
        }
    }

    #[test]
    fn pages_written_are_shared_and_no_others() {
        let mut old = Pages::default();
        old.put(0, &[1; 3 * PAGE]);
        let mut new = old.clone();
        new.put(0, &[2; 4 * PAGE]);
        old.share(&new, PAGE + 5, PAGE - 5);
        assert_eq!(old.to_vec(), [vec![1; PAGE], vec![2; PAGE], vec![1; PAGE]].concat());
        old.share(&new, 2 * PAGE, 2 * PAGE);
        assert_eq!(old.to_vec(), [vec![1; PAGE], vec![2; 3 * PAGE]].concat());
    }
}
