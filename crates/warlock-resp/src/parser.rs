//! The server's half of reading: requests out of a growing buffer.

use alloc::vec::Vec;
use core::mem;

use crate::decimal;
use crate::error::ProtocolError;
use crate::inline;
use crate::limits::RequestLimits;
use crate::request::{RequestSpans, Span};

/// What a look at the input led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress {
    /// The request does not end within the input: call again when there is more.
    Incomplete,
    /// There was a request without a command, such as a blank line. It gets no reply.
    Empty {
        /// Bytes to drop from the front of the input.
        consumed: usize,
    },
    /// The spans hold a request.
    Complete {
        /// Bytes to drop from the front of the input, once the request has been used.
        consumed: usize,
    },
}

/// Finds requests in the bytes of one connection.
///
/// Resumable: it remembers how far it understood an incomplete request, so that each byte is
/// looked at once however the network cuts the stream. It takes no memory for what a peer merely
/// announces. It is stricter than Redis in one point: a count or length must be followed by a
/// whole line end, and so must an argument. Therefore an accepted array is byte for byte what
/// [`encode_request`](crate::encode_request) writes, and can be stored or forwarded as it is.
#[derive(Clone, Debug)]
pub struct RequestParser {
    limits: RequestLimits,
    /// Bytes of the incomplete request that are understood, counted from its start.
    position: usize,
    /// Bytes after `position` that are known to hold no line end.
    scanned: usize,
    /// Arguments of the incomplete array still to come; 0 when its count was not read yet.
    remaining: usize,
    /// Length of the argument that starts at `position`, once it was read.
    length: Option<usize>,
    /// Arguments of the incomplete request. Kept here between calls, so that connections may
    /// share one [`RequestSpans`].
    partial: Vec<Span>,
    /// After an error nobody knows where the next request starts.
    failed: Option<ProtocolError>,
}

impl RequestParser {
    /// A parser at the start of a connection.
    #[must_use]
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits: limits.clamped(),
            position: 0,
            scanned: 0,
            remaining: 0,
            length: None,
            partial: Vec::new(),
            failed: None,
        }
    }

    /// Changes the limits for what has not been parsed yet, such as after authentication.
    ///
    /// A request that follows in the same input must not be parsed before the limits that hold
    /// for it are known.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits.clamped();
    }

    /// Looks for the next request at the start of `input`.
    ///
    /// `input` is every byte of the connection that was not consumed yet: it only grows until a
    /// request completes, and then loses the consumed bytes at its front. `spans` may be shared
    /// with other connections; it holds the request after [`Progress::Complete`] only.
    ///
    /// # Errors
    /// The bytes are not the protocol, or past a limit. From then on every call gives the same
    /// error.
    pub fn parse(
        &mut self,
        input: &[u8],
        spans: &mut RequestSpans,
    ) -> Result<Progress, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        spans.clear();
        if !self.partial.is_empty() {
            mem::swap(&mut self.partial, &mut spans.spans);
        }
        let outcome = self.advance(input, spans);
        match outcome {
            Ok(Progress::Incomplete) => {
                if !spans.spans.is_empty() {
                    mem::swap(&mut self.partial, &mut spans.spans);
                }
            }
            Ok(Progress::Empty { .. } | Progress::Complete { .. }) => {
                // Nothing of this request may show in the next one (CVE-2026-27623).
                if !(mutant!(StateKeptAfterEmpty) && matches!(outcome, Ok(Progress::Empty { .. })))
                {
                    self.position = 0;
                    self.scanned = 0;
                }
                assert!(self.remaining == 0, "an argument of a finished request is missing");
                assert!(self.length.is_none(), "an argument of a finished request is unread");
            }
            Err(error) => {
                spans.clear();
                self.failed = Some(error);
            }
        }
        outcome
    }

    fn advance(
        &mut self,
        input: &[u8],
        spans: &mut RequestSpans,
    ) -> Result<Progress, ProtocolError> {
        if self.remaining == 0 {
            match input.first() {
                None => return Ok(Progress::Incomplete),
                Some(b'*') => match self.read_count(input)? {
                    Some(0) => {
                        return Ok(Progress::Empty { consumed: self.position });
                    }
                    Some(count) => self.remaining = count,
                    None => return Ok(Progress::Incomplete),
                },
                Some(_) => return self.read_inline(input, spans),
            }
        }
        while self.remaining > 0 {
            let length = match self.length {
                Some(length) => length,
                None => match self.read_length(input)? {
                    Some(length) => length,
                    None => return Ok(Progress::Incomplete),
                },
            };
            let end = self.position + length;
            let Some(line_end) = input.get(end..end + 2) else {
                self.length = Some(length);
                return Ok(Progress::Incomplete);
            };
            if line_end != b"\r\n" {
                return Err(ProtocolError::InvalidLength);
            }
            spans.spans.push(Span::new(self.position, end));
            self.position = end + 2;
            self.length = None;
            self.remaining -= 1;
        }
        Ok(Progress::Complete { consumed: self.position })
    }

    /// Reads the number of arguments at the start of `input`: 0 if there is no command, `None` if
    /// the line is incomplete.
    fn read_count(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        match self.read_number(input) {
            Number::Incomplete => Ok(None),
            Number::TooLong => Err(ProtocolError::CountTooLong),
            Number::Malformed => Err(ProtocolError::InvalidCount),
            Number::Value(value) => {
                // A negative count is a request without a command, as in Redis.
                let count = value.max(0);
                let count = usize::try_from(count).map_err(|_| ProtocolError::InvalidCount)?;
                self.limits.check_count(count)?;
                Ok(Some(count))
            }
        }
    }

    /// Reads the length of the argument that starts next; `None` if the line is incomplete.
    fn read_length(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let line = &input[self.position..];
        match line.first() {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&got) => return Err(ProtocolError::ExpectedBulk { got }),
        }
        match self.read_number(line) {
            Number::Incomplete => Ok(None),
            Number::TooLong => Err(ProtocolError::LengthTooLong),
            Number::Malformed => Err(ProtocolError::InvalidLength),
            Number::Value(value) => {
                let length = usize::try_from(value).map_err(|_| ProtocolError::InvalidLength)?;
                self.limits.check_length(length)?;
                // Neither addition overflows: the operands are below 2 GiB by the ceilings.
                if self.position + length + 2 > self.limits.request_length {
                    return Err(ProtocolError::RequestTooLong);
                }
                Ok(Some(length))
            }
        }
    }

    /// Reads the number on `line`, which starts at `position` with a type byte, and moves
    /// `position` behind it.
    fn read_number(&mut self, line: &[u8]) -> Number {
        if let Some((value, length)) = read_short_number(line) {
            self.position += length;
            self.scanned = 0;
            return Number::Value(value);
        }
        let limit = self.limits.inline_length.max(NUMBER_LINE_LENGTH_MAX);
        let Some(offset) = line[self.scanned..].iter().position(|&byte| byte == b'\r') else {
            self.scanned = line.len();
            return if line.len() > limit { Number::TooLong } else { Number::Incomplete };
        };
        let end = self.scanned + offset;
        if end > limit {
            return Number::TooLong;
        }
        match line.get(end + 1) {
            None => {
                self.scanned = end;
                Number::Incomplete
            }
            Some(b'\n') => {
                self.position += end + 2;
                self.scanned = 0;
                decimal::parse(&line[1..end]).map_or(Number::Malformed, Number::Value)
            }
            Some(_) => Number::Malformed,
        }
    }

    fn read_inline(
        &mut self,
        input: &[u8],
        spans: &mut RequestSpans,
    ) -> Result<Progress, ProtocolError> {
        let limit = self.limits.inline_length;
        let Some(offset) = input[self.scanned..].iter().position(|&byte| byte == b'\n') else {
            self.scanned = input.len();
            // A CR at the end may be the first half of a line end, which does not count.
            let length = input.len() - usize::from(input.ends_with(b"\r"));
            return if length > limit {
                Err(ProtocolError::InlineTooLong)
            } else {
                Ok(Progress::Incomplete)
            };
        };
        let newline = self.scanned + offset;
        let line = &input[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > limit {
            return Err(ProtocolError::InlineTooLong);
        }
        spans.inline = true;
        inline::split(line, &self.limits, spans)?;
        let consumed = newline + 1;
        Ok(if spans.spans.is_empty() {
            Progress::Empty { consumed }
        } else {
            Progress::Complete { consumed }
        })
    }
}

/// What a count or length line says.
enum Number {
    Incomplete,
    TooLong,
    Malformed,
    Value(i64),
}

/// Reads the usual line: a type byte, one to eight digits and a line end. Returns the value and
/// the length of the line with its end; `None` leaves the judgement to the thorough way.
#[inline]
fn read_short_number(line: &[u8]) -> Option<(i64, usize)> {
    let digits = line.get(1..)?;
    let mut value: i64 = 0;
    for (index, &byte) in digits.iter().take(SHORT_NUMBER_DIGITS + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
            continue;
        }
        let is_canonical = index == 1 || (index > 1 && digits[0] != b'0');
        let ends_here = byte == b'\r' && digits.get(index + 1) == Some(&b'\n');
        return (is_canonical && ends_here).then_some((value, index + 3));
    }
    None
}

/// Digits that [`read_short_number`] handles: enough for every length below 100 MB.
const SHORT_NUMBER_DIGITS: usize = 8;

/// No valid count or length line is longer, in bytes without its end; a caller's limit on line
/// length never goes below it.
const NUMBER_LINE_LENGTH_MAX: usize = 21;
