//! What is wrong with bytes that are not the protocol.

use core::fmt;

/// Why the bytes of a peer are not the protocol, or exceed a limit.
///
/// `Display` gives the text that Redis sends, without the `ERR ` in front. A stream that had one
/// of these is out of step for good: say so to the peer, then close the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// An inline request does not end within its limit.
    InlineTooLong,
    /// The line with the number of arguments does not end within its limit.
    CountTooLong,
    /// The number of arguments is no number, or past the limit.
    InvalidCount,
    /// The number of arguments is past the limit that holds before authentication.
    UnauthenticatedCount,
    /// An argument does not start with `$`.
    ExpectedBulk {
        /// The byte found there.
        got: u8,
    },
    /// The line with the length of an argument does not end within its limit.
    LengthTooLong,
    /// The length of an argument is no number, negative, past the limit, or not the distance to
    /// the next line end.
    InvalidLength,
    /// The length of an argument is past the limit that holds before authentication.
    UnauthenticatedLength,
    /// The arguments of a request are longer in sum than a request may be.
    RequestTooLong,
    /// Quotes of an inline request are not closed, or something follows the closing quote.
    UnbalancedQuotes,
    /// A reply starts with a byte that announces no type.
    UnknownReplyType {
        /// The byte found there.
        got: u8,
    },
    /// A reply is of a type whose length is not known in advance, which is not supported.
    StreamedReply,
    /// A reply's bytes do not fit its type.
    InvalidReply,
    /// A reply is longer than its limit.
    ReplyTooLong,
    /// A reply holds more values than its limit.
    ReplyTooManyValues,
    /// A reply is nested deeper than its limit.
    ReplyTooDeep,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::CountTooLong => f.write_str("too big mbulk count string"),
            Self::InvalidCount => f.write_str("invalid multibulk length"),
            Self::UnauthenticatedCount => f.write_str("unauthenticated multibulk length"),
            Self::ExpectedBulk { got } => write!(f, "expected '$', got '{}'", printable(*got)),
            Self::LengthTooLong => f.write_str("too big bulk count string"),
            Self::InvalidLength => f.write_str("invalid bulk length"),
            Self::UnauthenticatedLength => f.write_str("unauthenticated bulk length"),
            Self::RequestTooLong => f.write_str("too big request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::UnknownReplyType { got } => {
                write!(f, "unknown reply type '{}'", printable(*got))
            }
            Self::StreamedReply => f.write_str("streamed replies are not supported"),
            Self::InvalidReply => f.write_str("malformed reply"),
            Self::ReplyTooLong => f.write_str("too big reply"),
            Self::ReplyTooManyValues => f.write_str("too many values in reply"),
            Self::ReplyTooDeep => f.write_str("reply nested too deep"),
        }
    }
}

impl core::error::Error for ProtocolError {}

/// The byte as Redis would show it: line ends become spaces. Bytes that are no printable ASCII
/// become `?`, because they are no text by themselves.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        b' '..=b'~' => char::from(byte),
        _ => '?',
    }
}
