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
/// end. A NUL byte is a byte like others, whereas Redis would wait for ever.
pub(crate) fn split(
    line: &[u8],
    limits: &RequestLimits,
    spans: &mut RequestSpans,
) -> Result<(), ProtocolError> {
    let mut rest = line;
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::split;
    use crate::error::ProtocolError;
    use crate::limits::RequestLimits;
    use crate::request::RequestSpans;

    fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let mut spans = RequestSpans { inline: true, ..RequestSpans::default() };
        split(line, &RequestLimits::AUTHENTICATED, &mut spans)?;
        Ok(spans.request(b"").args().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_are_split_by_the_rules_of_redis() {
        let cases: [(&[u8], &[&[u8]]); 26] = [
            (b"", &[]),
            (b" \t\x0b\x0c ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  k\tv ", &[b"set", b"k", b"v"]),
            (b"a\x0bb", &[b"a\x0bb"]),
            (b"a \x0bb", &[b"a", b"b"]),
            (b"a\rb", &[b"a", b"b"]),
            (b"\"\"", &[b""]),
            (b"''", &[b""]),
            (b"\"a b\" c", &[b"a b", b"c"]),
            (b"'a b' c", &[b"a b", b"c"]),
            (b"a\"b c\"", &[b"ab c"]),
            (b"a'b c'", &[b"ab c"]),
            (b"\"\\x41\\x7a\\xFf\\x00\"", &[b"Az\xff\0"]),
            (b"\"\\x4\"", &[b"x4"]),
            (b"\"\\xg1\"", &[b"xg1"]),
            (b"\"\\n\\r\\t\\b\\a\"", &[b"\n\r\t\x08\x07"]),
            (b"\"\\\"\\\\\\q\"", &[b"\"\\q"]),
            (b"'\\n\\x41'", &[b"\\n\\x41"]),
            (b"'it\\'s'", &[b"it's"]),
            (b"\"it's\"", &[b"it's"]),
            (b"'say \"x\"'", &[b"say \"x\""]),
            (b"a\\nb", &[b"a\\nb"]),
            (b"\"a\"\x0bb", &[b"a", b"b"]),
            (b"ECHO a\0b \0", &[b"ECHO", b"a\0b", b"\0"]),
            (b"\xff\xfe", &[b"\xff\xfe"]),
        ];
        for (line, expected) in cases {
            let line_text = line.escape_ascii();
            let words = words(line).unwrap_or_else(|error| panic!("{line_text}: {error}"));
            assert_eq!(words, expected, "{line_text}");
        }
    }

    #[test]
    fn quotes_must_be_closed_and_followed_by_a_blank() {
        let lines: [&[u8]; 11] = [
            b"\"",
            b"'",
            b"\"a",
            b"'a",
            b"\"a\"b",
            b"'a'b",
            b"\"a\"\"b\"",
            b"\"a\\",
            b"\"a\\\"",
            b"'a\\'",
            b"set \"\"\"key\"\"\" value",
        ];
        for line in lines {
            assert_eq!(
                words(line),
                Err(ProtocolError::UnbalancedQuotes),
                "{}",
                line.escape_ascii()
            );
        }
    }
}
