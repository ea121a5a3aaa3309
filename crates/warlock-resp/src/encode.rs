//! Requests as bytes, and the pieces that requests and replies have in common.

use alloc::vec::Vec;

use crate::decimal;

/// Appends a request as an array of bulk strings, the only form that carries every byte.
///
/// What [`RequestParser`](crate::RequestParser) accepts as an array is byte for byte what this
/// function writes for the same arguments.
pub fn encode_request<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    append_header(b'*', args.len(), out);
    for arg in args {
        append_bulk(b'$', arg, out);
    }
}

/// Appends the type byte, a length or count, and the line end.
pub(crate) fn append_header(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    decimal::append_unsigned(length as u64, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a string with its length in front.
pub(crate) fn append_bulk(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    append_header(kind, bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}
