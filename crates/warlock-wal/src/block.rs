//! The block that small files consist of, twice: magic, checksum, version, length, and what the
//! file is for. FORMAT.md describes the bytes.

use bytes::Buf;

/// Magic, checksum, version and length.
pub(crate) const HEAD_LENGTH: usize = 8 + 4 + 4 + 4;

/// The block at the start of `bytes`, if it is undamaged and has at least `length_min` bytes.
pub(crate) fn good<'a>(bytes: &'a [u8], magic: &[u8; 8], length_min: usize) -> Option<&'a [u8]> {
    let mut from = bytes.strip_prefix(magic)?;
    if from.len() < HEAD_LENGTH - magic.len() {
        return None;
    }
    let stored = from.get_u32_le();
    from.advance(4);
    let length = usize::try_from(from.get_u32_le()).ok()?;
    let block = bytes.get(..length).filter(|block| block.len() >= length_min)?;
    (stored == checksum(block)).then_some(block)
}

/// Of everything but itself.
pub(crate) fn checksum(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..8]), &block[12..])
}
