//! One key with its value and deadline, in a single allocation.
//!
//! ```text
//! 0        4              4+k            n-8 (volatile only)
//! | header | key, k bytes | value        | deadline |
//! header: bits 0..30 length of the key, bit 31 set when there is a deadline; little-endian
//! deadline: milliseconds since the Unix epoch, little-endian
//! ```
//!
//! These bytes also stand in snapshots and under the digest, so their layout is part of the
//! snapshot format.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A key, its value and perhaps its deadline.
#[derive(Debug)]
pub(crate) struct Item(Box<[u8]>);

impl Item {
    /// Builds an item with one allocation.
    pub(crate) fn new(key: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Self {
        let key_length = u32::try_from(key.len()).expect("limits keep keys below 1 GiB");
        assert!(key_length & VOLATILE == 0, "limits keep keys below 1 GiB");
        let flag = if deadline_ms.is_some() { VOLATILE } else { 0 };
        let deadline_length = if deadline_ms.is_some() { DEADLINE } else { 0 };
        let length = HEADER + key.len() + value.len() + deadline_length;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&(key_length | flag).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        if let Some(deadline_ms) = deadline_ms {
            bytes.extend_from_slice(&deadline_ms.to_le_bytes());
        }
        Self(bytes.into_boxed_slice())
    }

    /// Takes an item out of a snapshot; `None` if its parts do not fit into the bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        key_of(bytes).is_some().then(|| Self(bytes.into()))
    }

    /// A second item that is equal.
    pub(crate) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// Writes `value` and `deadline_ms` over the old ones if they need the same space, and says
    /// whether it did.
    pub(crate) fn overwrite(&mut self, value: &[u8], deadline_ms: Option<u64>) -> bool {
        if self.is_volatile() != deadline_ms.is_some() || self.value().len() != value.len() {
            return false;
        }
        let start = HEADER + self.key_length();
        self.0[start..start + value.len()].copy_from_slice(value);
        if let Some(deadline_ms) = deadline_ms {
            self.write_deadline(deadline_ms);
        }
        true
    }

    /// Adds `tail` to the value.
    pub(crate) fn append(&mut self, tail: &[u8]) {
        let deadline_ms = self.deadline_ms();
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        bytes.reserve_exact(tail.len());
        if deadline_ms.is_some() {
            bytes.truncate(bytes.len() - DEADLINE);
        }
        bytes.extend_from_slice(tail);
        if let Some(deadline_ms) = deadline_ms {
            bytes.extend_from_slice(&deadline_ms.to_le_bytes());
        }
        self.0 = bytes.into_boxed_slice();
    }

    /// Changes the deadline; moves the value only when a deadline comes or goes.
    pub(crate) fn set_deadline(&mut self, deadline_ms: Option<u64>) {
        if self.is_volatile() == deadline_ms.is_some() {
            if let Some(deadline_ms) = deadline_ms {
                self.write_deadline(deadline_ms);
            }
            return;
        }
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        if let Some(deadline_ms) = deadline_ms {
            bytes.reserve_exact(DEADLINE);
            bytes.extend_from_slice(&deadline_ms.to_le_bytes());
        } else {
            bytes.truncate(bytes.len() - DEADLINE);
        }
        // The flag is the highest bit of the little-endian header.
        bytes[HEADER - 1] ^= VOLATILE_BYTE;
        self.0 = bytes.into_boxed_slice();
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.0[HEADER..HEADER + self.key_length()]
    }

    pub(crate) fn value(&self) -> &[u8] {
        let end = self.0.len() - if self.is_volatile() { DEADLINE } else { 0 };
        &self.0[HEADER + self.key_length()..end]
    }

    /// When the key expires, in milliseconds since the Unix epoch of log time.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let deadline = self.0.last_chunk::<DEADLINE>()?;
        self.is_volatile().then(|| u64::from_le_bytes(*deadline))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the item adds to the digest of database `db`.
    pub(crate) fn digest(&self, db: usize) -> u64 {
        xxh3_64_with_seed(&self.0, DIGEST_SEED ^ db as u64)
    }

    fn write_deadline(&mut self, deadline_ms: u64) {
        if let Some(bytes) = self.0.last_chunk_mut::<DEADLINE>() {
            *bytes = deadline_ms.to_le_bytes();
        }
    }

    fn is_volatile(&self) -> bool {
        self.0[HEADER - 1] & VOLATILE_BYTE != 0
    }

    fn key_length(&self) -> usize {
        let header = self.0.first_chunk::<HEADER>();
        let header = u32::from_le_bytes(*header.expect("an item has a header"));
        (header & !VOLATILE) as usize
    }
}

/// The key of an item in a snapshot; `None` if its parts do not fit into the bytes.
pub(crate) fn key_of(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let header = u32::from_le_bytes(*header);
    let deadline_length = if header & VOLATILE != 0 { DEADLINE } else { 0 };
    let key_length = usize::try_from(header & !VOLATILE).ok()?;
    (rest.len() >= deadline_length + key_length).then(|| &rest[..key_length])
}

const HEADER: usize = 4;
const DEADLINE: usize = 8;
const VOLATILE: u32 = 1 << 31;
const VOLATILE_BYTE: u8 = 1 << 7;
const DIGEST_SEED: u64 = 0x7761_726c_6f63_6b00;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        for deadline in [None, Some(1_700_000_000_123)] {
            let item = Item::new(b"key", b"value", deadline);
            assert_eq!(item.key(), b"key");
            assert_eq!(item.value(), b"value");
            assert_eq!(item.deadline_ms(), deadline);
            let copy = Item::from_bytes(item.bytes()).unwrap();
            assert_eq!(copy.digest(3), item.digest(3));
            assert_ne!(copy.digest(3), item.digest(4));
        }
    }

    #[test]
    fn a_deadline_comes_changes_and_goes() {
        let mut item = Item::new(b"", b"", None);
        for deadline in [Some(5), Some(6), None, None, Some(u64::MAX)] {
            item.set_deadline(deadline);
            assert_eq!(item.deadline_ms(), deadline);
            assert_eq!((item.key(), item.value()), (&b""[..], &b""[..]));
        }
    }

    #[test]
    fn only_a_value_of_the_same_length_is_written_in_place() {
        let mut item = Item::new(b"k", b"one", None);
        assert!(item.overwrite(b"two", None));
        assert_eq!((item.key(), item.value()), (&b"k"[..], &b"two"[..]));
        assert!(!item.overwrite(b"four", None));
        assert!(!item.overwrite(b"six", Some(6)));
        item.set_deadline(Some(1));
        assert!(item.overwrite(b"six", Some(6)));
        assert_eq!((item.value(), item.deadline_ms()), (&b"six"[..], Some(6)));
    }

    #[test]
    fn a_tail_goes_between_value_and_deadline() {
        for deadline in [None, Some(9)] {
            let mut item = Item::new(b"k", b"head", deadline);
            item.append(b"tail");
            item.append(b"");
            assert_eq!((item.key(), item.value()), (&b"k"[..], &b"headtail"[..]));
            assert_eq!(item.deadline_ms(), deadline);
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert!(Item::from_bytes(b"").is_none());
        assert!(Item::from_bytes(&[2, 0, 0, 0, b'k']).is_none());
        assert!(Item::from_bytes(&[0, 0, 0, 0x80, 1, 2, 3]).is_none());
        assert!(Item::from_bytes(&[1, 0, 0, 0, b'k']).is_some());
    }
}
