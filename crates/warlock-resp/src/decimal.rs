//! Decimal integers as the protocol writes them, without allocation.

use alloc::vec::Vec;

/// Digits of the longest `u64`.
const DIGITS_MAX: usize = 20;

/// Reads a decimal integer exactly as Redis does: an optional `-`, no `+`, no blank, no leading
/// zero, nothing after it, and within the range of `i64`.
///
/// So every integer has one spelling, and what this accepts is what [`append`] writes.
#[must_use]
pub fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() < DIGITS_MAX => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits at most: below 10^19, which a u64 holds.
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Appends `value` in decimal.
pub fn append(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    append_unsigned(value.unsigned_abs(), out);
}

/// Appends `value` in decimal.
pub fn append_unsigned(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; DIGITS_MAX];
    let mut start = DIGITS_MAX;
    let mut rest = value;
    loop {
        start -= 1;
        let digit = u8::try_from(rest % 10).expect("a remainder of ten is one digit");
        digits[start] = b'0' + digit;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::{append, append_unsigned, parse};

    #[test]
    fn every_integer_has_one_spelling() {
        let mut values: Vec<i64> = [0, i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1].into();
        for power in 0..19 {
            let power = 10i64.pow(power);
            values.extend([power, power - 1, -power, 1 - power]);
        }
        for value in values {
            let mut text = Vec::new();
            append(value, &mut text);
            assert_eq!(text, value.to_string().as_bytes());
            assert_eq!(parse(&text), Some(value));
        }
        let mut text = Vec::new();
        append_unsigned(u64::MAX, &mut text);
        assert_eq!(text, b"18446744073709551615");
    }

    #[test]
    fn other_spellings_and_overflows_are_no_integers() {
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "-01",
            "00",
            " 1",
            "1 ",
            "1x",
            "x1",
            "--1",
            "0x1",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "100000000000000000000000",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
