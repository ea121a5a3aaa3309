//! Replies as a client sees them.

use alloc::string::String;
use alloc::vec::Vec;

/// A decoded reply of either protocol version.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A short text such as `OK`. Bytes that are no UTF-8 are replaced.
    Simple(String),
    /// A refusal, starting with its code in capitals. Bytes that are no UTF-8 are replaced.
    Error(String),
    /// A signed integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// No value. RESP2 knows a null string and a null array; both read as this.
    Null,
    /// A list.
    Array(Vec<Self>),
    /// Pairs of key and value, in the order sent.
    Map(Vec<(Self, Self)>),
    /// Distinct values, in the order sent; duplicates are not removed.
    Set(Vec<Self>),
    /// A message that answers no request.
    Push(Vec<Self>),
    /// A floating point number.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// A text with its format.
    Verbatim {
        /// Three letters, such as `txt` or `mkd`.
        format: [u8; 3],
        /// The text itself.
        text: Vec<u8>,
    },
    /// An integer of any size in decimal.
    BigNumber(String),
}
