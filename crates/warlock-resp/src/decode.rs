//! The client's half of reading: replies out of a growing buffer.

use alloc::string::String;
use alloc::vec::Vec;

use crate::decimal;
use crate::error::ProtocolError;
use crate::limits::ReplyLimits;
use crate::value::Value;

/// Finds replies of either protocol version in the bytes of one connection.
///
/// Resumable: it keeps the values of an incomplete reply, so that each byte is looked at once
/// however the network cuts the stream. It does not recurse, and takes no memory for what the
/// server merely announces. Attributes are checked and dropped. Streamed types are refused.
#[derive(Debug)]
pub struct ReplyParser {
    limits: ReplyLimits,
    /// Bytes of the incomplete reply that are understood, counted from its start.
    position: usize,
    /// Bytes after `position` that are known to hold no line end.
    scanned: usize,
    /// Values of the incomplete reply, announced ones included.
    values: usize,
    /// Aggregates that are not complete, the outermost first.
    open: Vec<Aggregate>,
    /// Length and kind of the string that starts at `position`, once they were read.
    string: Option<(StringKind, usize)>,
    /// After an error nobody knows where the next reply starts.
    failed: Option<ProtocolError>,
}

impl ReplyParser {
    /// A parser at the start of a connection.
    #[must_use]
    pub fn new(limits: ReplyLimits) -> Self {
        Self {
            limits: limits.clamped(),
            position: 0,
            scanned: 0,
            values: 0,
            open: Vec::new(),
            string: None,
            failed: None,
        }
    }

    /// Looks for the next reply at the start of `input`, and returns it with its length in bytes.
    /// `None`: it does not end within the input.
    ///
    /// `input` is every byte of the connection that was not consumed yet: it only grows until a
    /// reply is returned, and then loses the bytes of that reply at its front.
    ///
    /// # Errors
    /// The bytes are not the protocol, or past a limit. From then on every call gives the same
    /// error.
    pub fn parse(&mut self, input: &[u8]) -> Result<Option<(Value, usize)>, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.advance(input) {
            Ok(None) => Ok(None),
            Ok(Some(value)) => {
                let consumed = self.position;
                *self = Self { open: core::mem::take(&mut self.open), ..Self::new(self.limits) };
                Ok(Some((value, consumed)))
            }
            Err(error) => {
                self.open = Vec::new();
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    fn advance(&mut self, input: &[u8]) -> Result<Option<Value>, ProtocolError> {
        loop {
            let value = match self.read_item(input)? {
                Item::Incomplete => return Ok(None),
                Item::Opened => continue,
                Item::Value(value) => value,
            };
            if let Some(reply) = self.place(value) {
                return Ok(Some(reply));
            }
        }
    }

    /// Puts a complete value where it belongs. Returns the reply if that completes it.
    fn place(&mut self, mut value: Value) -> Option<Value> {
        while let Some(mut aggregate) = self.open.pop() {
            aggregate.remaining -= 1;
            if aggregate.kind != AggregateKind::Attribute {
                aggregate.values.push(value);
            }
            if aggregate.remaining > 0 {
                self.open.push(aggregate);
                return None;
            }
            // After an attribute comes the value that it belongs to.
            value = aggregate.finish()?;
        }
        Some(value)
    }

    /// Reads a string, a line, or the header of an aggregate.
    fn read_item(&mut self, input: &[u8]) -> Result<Item, ProtocolError> {
        if let Some((kind, length)) = self.string {
            return self.read_string(input, kind, length);
        }
        let Some(end) = self.find_line_end(input)? else {
            return Ok(Item::Incomplete);
        };
        let kind = input[self.position];
        let text = &input[self.position + 1..end];
        self.position = end + 2;
        self.scanned = 0;
        match kind {
            b'+' => Ok(Item::Value(Value::Simple(lossy(text)))),
            b'-' => Ok(Item::Value(Value::Error(lossy(text)))),
            b':' => integer(text).map(|value| Item::Value(Value::Integer(value))),
            b'_' if text.is_empty() => Ok(Item::Value(Value::Null)),
            b'#' => boolean(text).map(|value| Item::Value(Value::Boolean(value))),
            b',' => double(text).map(|value| Item::Value(Value::Double(value))),
            b'(' => big_number(text).map(|digits| Item::Value(Value::BigNumber(digits))),
            b'$' => self.begin_string(input, StringKind::Bulk, text),
            b'!' => self.begin_string(input, StringKind::Error, text),
            b'=' => self.begin_string(input, StringKind::Verbatim, text),
            b'*' => self.begin_aggregate(AggregateKind::Array, text),
            b'%' => self.begin_aggregate(AggregateKind::Map, text),
            b'~' => self.begin_aggregate(AggregateKind::Set, text),
            b'>' => self.begin_aggregate(AggregateKind::Push, text),
            b'|' => self.begin_aggregate(AggregateKind::Attribute, text),
            _ => Err(ProtocolError::InvalidReply),
        }
    }

    /// Position of the CR of the line that starts at `position`; `None` if it is incomplete.
    fn find_line_end(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let line = &input[self.position..];
        match line.first() {
            None => return Ok(None),
            Some(b';' | b'.') => return Err(ProtocolError::StreamedReply),
            Some(b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' | b'$' | b'!' | b'=') => {}
            Some(b'*' | b'%' | b'~' | b'>' | b'|') => {}
            Some(&got) => return Err(ProtocolError::UnknownReplyType { got }),
        }
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let Some(offset) = line[self.scanned..].iter().position(is_end) else {
            self.scanned = line.len();
            self.check_line_length(line.len())?;
            return Ok(None);
        };
        let end = self.scanned + offset;
        self.check_line_length(end)?;
        match line[end..] {
            [b'\r'] => {
                self.scanned = end;
                Ok(None)
            }
            [b'\r', b'\n', ..] => Ok(Some(self.position + end)),
            _ => Err(ProtocolError::InvalidReply),
        }
    }

    fn check_line_length(&self, length: usize) -> Result<(), ProtocolError> {
        if length > self.limits.line_length || self.position + length > self.limits.reply_length {
            return Err(ProtocolError::ReplyTooLong);
        }
        Ok(())
    }

    fn begin_string(
        &mut self,
        input: &[u8],
        kind: StringKind,
        text: &[u8],
    ) -> Result<Item, ProtocolError> {
        if text == b"-1" && kind == StringKind::Bulk {
            return Ok(Item::Value(Value::Null));
        }
        let length = announced(text)?;
        if length > self.limits.bulk_length {
            return Err(ProtocolError::ReplyTooLong);
        }
        let end = self.position.checked_add(length).ok_or(ProtocolError::ReplyTooLong)?;
        if end > self.limits.reply_length {
            return Err(ProtocolError::ReplyTooLong);
        }
        self.string = Some((kind, length));
        self.read_string(input, kind, length)
    }

    fn read_string(
        &mut self,
        input: &[u8],
        kind: StringKind,
        length: usize,
    ) -> Result<Item, ProtocolError> {
        let Some((bytes, rest)) = input[self.position..].split_at_checked(length) else {
            return Ok(Item::Incomplete);
        };
        match rest {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(Item::Incomplete),
            _ => return Err(ProtocolError::InvalidReply),
        }
        self.string = None;
        self.position += length + 2;
        Ok(Item::Value(match kind {
            StringKind::Bulk => Value::Bulk(bytes.to_vec()),
            StringKind::Error => Value::Error(lossy(bytes)),
            StringKind::Verbatim => match bytes {
                [first, second, third, b':', text @ ..] => {
                    Value::Verbatim { format: [*first, *second, *third], text: text.to_vec() }
                }
                _ => return Err(ProtocolError::InvalidReply),
            },
        }))
    }

    fn begin_aggregate(&mut self, kind: AggregateKind, text: &[u8]) -> Result<Item, ProtocolError> {
        if text == b"-1" && kind == AggregateKind::Array {
            return Ok(Item::Value(Value::Null));
        }
        let announced = announced(text)?;
        let remaining = match kind {
            AggregateKind::Map | AggregateKind::Attribute => announced.checked_mul(2),
            AggregateKind::Array | AggregateKind::Set | AggregateKind::Push => Some(announced),
        }
        .ok_or(ProtocolError::ReplyTooManyValues)?;
        self.values = self.values.saturating_add(remaining);
        if self.values > self.limits.values {
            return Err(ProtocolError::ReplyTooManyValues);
        }
        if self.open.len() >= self.limits.depth {
            return Err(ProtocolError::ReplyTooDeep);
        }
        // Values take many times the bytes that announce them, hence memory only as they come.
        let values = Vec::with_capacity(remaining.min(CAPACITY_ON_TRUST));
        let aggregate = Aggregate { kind, remaining, values };
        if remaining > 0 {
            self.open.push(aggregate);
            return Ok(Item::Opened);
        }
        Ok(aggregate.finish().map_or(Item::Opened, Item::Value))
    }
}

/// What [`ReplyParser::read_item`] found.
enum Item {
    Incomplete,
    /// The header of an aggregate, or an empty attribute: a value follows.
    Opened,
    Value(Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StringKind {
    Bulk,
    Error,
    Verbatim,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AggregateKind {
    Array,
    Map,
    Set,
    Push,
    Attribute,
}

#[derive(Debug)]
struct Aggregate {
    kind: AggregateKind,
    /// Values still to come.
    remaining: usize,
    values: Vec<Value>,
}

impl Aggregate {
    /// The value; `None` for an attribute.
    fn finish(self) -> Option<Value> {
        match self.kind {
            AggregateKind::Array => Some(Value::Array(self.values)),
            AggregateKind::Set => Some(Value::Set(self.values)),
            AggregateKind::Push => Some(Value::Push(self.values)),
            AggregateKind::Attribute => None,
            AggregateKind::Map => {
                let mut pairs = Vec::with_capacity(self.values.len() / 2);
                let mut values = self.values.into_iter();
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    pairs.push((key, value));
                }
                Some(Value::Map(pairs))
            }
        }
    }
}

/// The length or count on a header line.
fn announced(text: &[u8]) -> Result<usize, ProtocolError> {
    if text.starts_with(b"?") {
        return Err(ProtocolError::StreamedReply);
    }
    let value = decimal::parse(text).ok_or(ProtocolError::InvalidReply)?;
    usize::try_from(value).map_err(|_| ProtocolError::InvalidReply)
}

fn integer(text: &[u8]) -> Result<i64, ProtocolError> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    decimal::parse(text).ok_or(ProtocolError::InvalidReply)
}

fn boolean(text: &[u8]) -> Result<bool, ProtocolError> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(ProtocolError::InvalidReply),
    }
}

fn double(text: &[u8]) -> Result<f64, ProtocolError> {
    match text {
        b"inf" => return Ok(f64::INFINITY),
        b"-inf" => return Ok(f64::NEG_INFINITY),
        // Some C libraries print the sign of what has none.
        b"nan" | b"-nan" => return Ok(f64::NAN),
        _ => {}
    }
    let is_numeric = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.iter().all(is_numeric) {
        return Err(ProtocolError::InvalidReply);
    }
    let text = core::str::from_utf8(text).map_err(|_| ProtocolError::InvalidReply)?;
    text.parse().map_err(|_| ProtocolError::InvalidReply)
}

fn big_number(text: &[u8]) -> Result<String, ProtocolError> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError::InvalidReply);
    }
    Ok(lossy(text))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Values for which an aggregate takes memory before they arrived.
const CAPACITY_ON_TRUST: usize = 64;
