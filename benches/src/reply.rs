//! Finds the ends of RESP replies without keeping what they say. The load generator shares its
//! processors with the servers it measures, so it does no more than count replies; everything
//! else in the workspace that reads replies uses the decoder of `warlock-resp`.

use crate::{Error, Result};

/// One complete reply at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplySpan {
    /// What it says.
    pub kind: ReplyKind,
    /// Bytes from its first to past its last.
    pub length: usize,
}

/// What a reply says, as far as a load generator cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// A value or a success.
    Value,
    /// Nothing there.
    Null,
    /// An error.
    Error,
}

/// The first reply in `input`, or `None` while it is incomplete. Only replies that are not
/// aggregates are understood: no command of a workload has another.
pub fn scan_reply(input: &[u8]) -> Result<Option<ReplySpan>> {
    let Some(newline) = input.iter().position(|&byte| byte == b'\n') else {
        return Ok(None);
    };
    let line_length = newline + 1;
    let line = &input[..newline.saturating_sub(1)];
    let kind = match line.first() {
        Some(b'+' | b':' | b'#' | b',' | b'(') => ReplyKind::Value,
        Some(b'_') => ReplyKind::Null,
        Some(b'-') => ReplyKind::Error,
        Some(b'$') => return scan_bulk(input, &line[1..], line_length),
        _ => return Err(Error::new(format!("not a plain reply: {}", preview(input)))),
    };
    Ok(Some(ReplySpan { kind, length: line_length }))
}

/// The reply text of a bulk, simple string or error reply in `reply`, which is complete.
pub fn reply_text(reply: &[u8]) -> String {
    let body = match reply.first() {
        Some(b'$') => {
            let start = reply.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            &reply[start..]
        }
        _ => reply.get(1..).unwrap_or_default(),
    };
    String::from_utf8_lossy(body).trim_end().to_owned()
}

fn scan_bulk(input: &[u8], digits: &[u8], line_length: usize) -> Result<Option<ReplySpan>> {
    if digits == b"-1" {
        return Ok(Some(ReplySpan { kind: ReplyKind::Null, length: line_length }));
    }
    let body = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
    let Some(body) = body else {
        return Err(Error::new(format!("not a bulk length: {}", preview(input))));
    };
    let length = line_length + body + 2;
    let complete = input.len() >= length;
    Ok(complete.then_some(ReplySpan { kind: ReplyKind::Value, length }))
}

fn preview(input: &[u8]) -> String {
    input[..input.len().min(60)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8], kind: ReplyKind) {
        for length in 0..input.len() {
            assert_eq!(scan_reply(&input[..length]).unwrap(), None, "cut at {length}");
        }
        let expected = ReplySpan { kind, length: input.len() };
        assert_eq!(scan_reply(input).unwrap(), Some(expected));
        let mut followed = input.to_vec();
        followed.extend_from_slice(b"+OK\r\n");
        assert_eq!(scan_reply(&followed).unwrap(), Some(expected));
    }

    #[test]
    fn each_kind_of_plain_reply_ends_where_it_ends() {
        whole(b"+OK\r\n", ReplyKind::Value);
        whole(b":12\r\n", ReplyKind::Value);
        whole(b"$5\r\na\r\nbc\r\n", ReplyKind::Value);
        whole(b"$0\r\n\r\n", ReplyKind::Value);
        whole(b"$-1\r\n", ReplyKind::Null);
        whole(b"_\r\n", ReplyKind::Null);
        whole(b"-ERR no\r\n", ReplyKind::Error);
    }

    #[test]
    fn aggregates_and_garbage_are_refused() {
        assert!(scan_reply(b"*1\r\n+a\r\n").is_err());
        assert!(scan_reply(b"hello\r\n").is_err());
        assert!(scan_reply(b"$x\r\n").is_err());
        assert!(scan_reply(b"\n").is_err());
    }

    #[test]
    fn the_text_of_a_reply_has_no_frame() {
        assert_eq!(reply_text(b"+OK\r\n"), "OK");
        assert_eq!(reply_text(b"$2\r\nhi\r\n"), "hi");
        assert_eq!(reply_text(b"-ERR no\r\n"), "ERR no");
    }
}
