//! Bytes that were never written, and those that are written as if they were not.

use crate::limits::PAGE;

/// As many zeros as are needed at once.
pub(crate) static ZEROS: [u8; 16 * PAGE] = [0; 16 * PAGE];

/// Whether all `bytes` are zero. A comparison of memory is many times faster than a look at each.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(PAGE).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_is_found() {
        let mut bytes = vec![0; 2 * ZEROS.len() + 3];
        assert!(is_zero(&bytes) && is_zero(&[]));
        for at in [0, 1, ZEROS.len() - 1, ZEROS.len(), bytes.len() - 1] {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }
}
