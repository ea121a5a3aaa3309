//! The server's half of writing: replies in the protocol version of the connection.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::Protocol;
use crate::decimal;
use crate::encode::{append_bulk, append_header};

/// Appends replies to a connection's output buffer.
///
/// One call writes one value. An aggregate (array, map, set, push) writes its header only: the
/// caller then writes as many values as it announced, for a map twice as many. Types that RESP2
/// lacks are written in the form that Redis gives them there.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> ReplyWriter<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The protocol version that is written.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes a short text such as `OK`. Line ends within it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// Writes a refusal: a code in capitals, then the reason, without the leading `-`. Line ends
    /// within it become spaces.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text);
    }

    /// Writes an integer.
    pub fn integer(&mut self, value: i64) {
        self.out.push(b':');
        decimal::append(value, self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes a string of any bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        append_bulk(b'$', bytes, self.out);
    }

    /// Writes that there is no value where a string could be.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Writes that there is no value where an array could be.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Announces an array of `length` values.
    pub fn array(&mut self, length: usize) {
        append_header(b'*', length, self.out);
    }

    /// Announces a map of `pairs` keys, each followed by its value. RESP2: an array of both.
    ///
    /// # Panics
    /// If twice `pairs` overflows, which no collection in memory reaches.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => append_header(b'*', 2 * pairs, self.out),
            Protocol::Resp3 => append_header(b'%', pairs, self.out),
        }
    }

    /// Announces a set of `length` values. RESP2: an array.
    pub fn set(&mut self, length: usize) {
        append_header(self.resp3_or(b'~', b'*'), length, self.out);
    }

    /// Announces a message of `length` values that answers no request. RESP2: an array.
    pub fn push(&mut self, length: usize) {
        append_header(self.resp3_or(b'>', b'*'), length, self.out);
    }

    /// Writes a floating point number by the shortest digits that read back as the same. RESP2: a
    /// bulk string.
    pub fn double(&mut self, value: f64) {
        let text = DoubleText::new(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.out.push(b',');
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Writes true or false. RESP2: the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// Writes a text and its `format`, which has three letters: a longer one is cut, a shorter
    /// one padded. RESP2: a bulk string without the format.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text);
        }
        let mut prefix = *b"   :";
        for (slot, byte) in prefix[..3].iter_mut().zip(format.bytes()) {
            *slot = byte;
        }
        append_header(b'=', prefix.len() + text.len(), self.out);
        self.out.extend_from_slice(&prefix);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes an integer of any size, given in decimal. RESP2: a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits),
        }
    }

    fn resp3_or(&self, resp3: u8, resp2: u8) -> u8 {
        match self.protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        }
    }

    /// Writes a line whose text cannot end it early: a line end that came from a client's
    /// argument would let that client write replies of its own (CVE-2025-67733).
    fn line(&mut self, kind: u8, text: &str) {
        self.out.push(kind);
        let text = text.trim_end_matches(['\r', '\n']).as_bytes();
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') && !mutant!(LineEndInError) {
                *byte = b' ';
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

/// A double as Redis prints it, without allocation.
struct DoubleText {
    bytes: [u8; DOUBLE_TEXT_LENGTH_MAX],
    length: usize,
}

impl DoubleText {
    fn new(value: f64) -> Self {
        let mut text = Self { bytes: [0; DOUBLE_TEXT_LENGTH_MAX], length: 0 };
        text.format(value).expect("the longest double fits");
        text
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn format(&mut self, value: f64) -> fmt::Result {
        if value.is_nan() {
            return self.write_str("nan");
        }
        if value.is_sign_negative() {
            self.write_char('-')?;
        }
        let magnitude = value.abs();
        if magnitude.is_infinite() {
            return self.write_str("inf");
        }
        if magnitude <= EXACT_INTEGER_MAX && magnitude % 1.0 == 0.0 {
            #[expect(clippy::cast_possible_truncation, reason = "an integer, and below 2^63")]
            let integer = magnitude as u64;
            return write!(self, "{integer}");
        }
        let mut scientific = Self { bytes: [0; DOUBLE_TEXT_LENGTH_MAX], length: 0 };
        write!(scientific, "{magnitude:e}")?;
        self.lay_out(&scientific)
    }

    /// Places the decimal point of a number in the form `d.ddde-dd` as Redis does: plain where
    /// that stays short, else with an exponent of explicit sign.
    fn lay_out(&mut self, scientific: &Self) -> fmt::Result {
        let text = core::str::from_utf8(scientific.as_bytes()).map_err(|_| fmt::Error)?;
        let (mantissa, exponent) = text.split_once('e').ok_or(fmt::Error)?;
        let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
        let (first, others) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let count = i32::try_from(1 + others.len()).map_err(|_| fmt::Error)?;
        // The value is the digits, read as an integer, times ten to this power.
        let power = exponent + 1 - count;
        if power >= 0 && exponent < count + 7 {
            write!(self, "{first}{others}")?;
            return (0..power).try_for_each(|_| self.write_char('0'));
        }
        if power < 0 && (power > -7 || exponent.abs() < 4) {
            if exponent < 0 {
                self.write_str("0.")?;
                (exponent..-1).try_for_each(|_| self.write_char('0'))?;
                return write!(self, "{first}{others}");
            }
            let whole = usize::try_from(exponent).map_err(|_| fmt::Error)?;
            return write!(self, "{first}{}.{}", &others[..whole], &others[whole..]);
        }
        let point = if others.is_empty() { "" } else { "." };
        write!(self, "{first}{point}{others}e{exponent:+}")
    }
}

impl Write for DoubleText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Length in bytes of the longest double: sign, 17 digits, point, and six zeros or an exponent.
const DOUBLE_TEXT_LENGTH_MAX: usize = 32;

/// Integers up to 2^62 are printed with all their digits, as Redis does.
const EXACT_INTEGER_MAX: f64 = 4_611_686_018_427_387_904.0;

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::{Protocol, ReplyWriter};

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        ReplyWriter::new(&mut out, Protocol::Resp3).double(value);
        let text = out.strip_prefix(b",").and_then(|text| text.strip_suffix(b"\r\n"));
        String::from_utf8(text.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn doubles_are_written_as_redis_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (-0.5, "-0.5"),
            (1.5, "1.5"),
            (123.456, "123.456"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (0.001_234_567_89, "0.00123456789"),
            (0.000_012_345_678_9, "1.23456789e-5"),
            (-1.5e-9, "-1.5e-9"),
            (1e15, "1000000000000000"),
            (4_611_686_018_427_387_904.0, "4611686018427387904"),
            (1_152_921_504_606_846_976.0, "1152921504606846976"),
            (1e19, "1e+19"),
            (1.25e19, "1.25e+19"),
            (1.234_567_890_123_45e19, "12345678901234500000"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn no_double_needs_more_room_than_there_is() {
        for bits in (0..=u64::MAX).step_by(0x0000_3fff_ffff_fff1) {
            let value = f64::from_bits(bits);
            let text = double(value);
            assert!(value.is_nan() || text.parse::<f64>() == Ok(value), "{value:e} as {text}");
        }
    }
}
