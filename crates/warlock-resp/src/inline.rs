//! Inline requests: a line of words, for people with a terminal and for health checks.

use alloc::vec::Vec;

use crate::error::ProtocolError;
use crate::limits::RequestLimits;
use crate::request::{RequestSpans, Span};

/// Splits `line` (without its end) into words by the quoting rules of Redis and puts them into
/// `spans`, which is empty. No words: the line was blank.
///
/// A word ends at a blank. Within `"` the escapes `\n \r \t \b \a \xHH` and `\` before any other
/// byte are understood, within `'` only `\'`. A closing quote must be followed by a blank or the
/// end. Redis handles the line as a C string, so a NUL byte ends it here too.
pub(crate) fn split(
    line: &[u8],
    limits: &RequestLimits,
    spans: &mut RequestSpans,
) -> Result<(), ProtocolError> {
    let end = line
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(line.len());
    let mut rest = &line[..end];
    loop {
        let Some(blanks) = rest.iter().position(|&byte| !is_blank(byte)) else {
            return Ok(());
        };
        rest = &rest[blanks..];
        limits.check_count(spans.spans.len() + 1)?;
        let start = spans.unquoted.len();
        rest = take_word(rest, &mut spans.unquoted)?;
        let end = spans.unquoted.len();
        limits.check_length(end - start)?;
        spans.spans.push(Span::new(start, end));
    }
}

/// Appends the first word of `rest`, which starts with no blank, and returns what follows it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            // A vertical tab or form feed separates words, but ends none: as in Redis.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            // A closing quote ends the word, an opening one does not begin it: a"b" is one word.
            [b'"', quoted @ ..] => return take_double_quoted(quoted, word),
            [b'\'', quoted @ ..] => return take_single_quoted(quoted, word),
            [byte, following @ ..] => {
                word.push(*byte);
                rest = following;
            }
        }
    }
}

/// Appends what stands before the closing `"`, and returns what follows that.
fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, following) = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', following @ ..] => return after_quote(following),
            [b'\\', b'x', high, low, following @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex_digit(*high) << 4 | hex_digit(*low), following)
            }
            [b'\\', escaped, following @ ..] => (unescaped(*escaped), following),
            [byte, following @ ..] => (*byte, following),
        };
        word.push(byte);
        rest = following;
    }
}

/// Appends what stands before the closing `'`, and returns what follows that.
fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, following) = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\\', b'\'', following @ ..] => (b'\'', following),
            [b'\'', following @ ..] => return after_quote(following),
            [byte, following @ ..] => (*byte, following),
        };
        word.push(byte);
        rest = following;
    }
}

fn after_quote(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest {
        [byte, ..] if !is_blank(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => b'\x08',
        b'a' => b'\x07',
        other => other,
    }
}

/// Value of an ASCII hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
