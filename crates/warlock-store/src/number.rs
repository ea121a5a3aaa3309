//! The arithmetic of `INCRBYFLOAT`.
//!
//! Redis computes in the 80-bit extended precision of x86 (64 bits of mantissa) and shows 17
//! digits after the point. Both are done here in integers, so the result is that of Redis, bit
//! for bit, and the same on every machine. Two things differ: hexadecimal numbers are refused, and
//! a number too small for the format is not rounded to fewer bits, which 17 digits cannot show.

/// `mantissa * 2^exponent`, negated or not; the mantissa has its highest bit set or is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl LongDouble {
    pub(crate) const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0 };

    /// Reads a decimal number as `strtold` does: sign, digits with or without a point, exponent.
    /// `None` for anything else, for infinity, and for numbers out of range.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_LENGTH_MAX {
            return None;
        }
        let decimal = Decimal::parse(text)?;
        if decimal.digits.is_zero() {
            return Some(Self { negative: decimal.negative, ..Self::ZERO });
        }
        // Out of range long before, and no work for numbers nobody can mean.
        if decimal.magnitude() > DECIMAL_EXPONENT_MAX {
            return None;
        }
        if decimal.magnitude() < -DECIMAL_EXPONENT_MAX {
            return None;
        }
        let power = Natural::power_of_ten(decimal.exponent.unsigned_abs());
        if decimal.exponent >= 0 {
            let numerator = decimal.digits.times(&power);
            Self::from_ratio(decimal.negative, numerator, Natural::from(1))
        } else {
            Self::from_ratio(decimal.negative, decimal.digits, power)
        }
    }

    /// The sum, rounded to 64 bits, ties to even; `None` if it is out of range.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        if self.mantissa == 0 {
            return Some(other);
        }
        if other.mantissa == 0 {
            return Some(self);
        }
        let (large, small) = if (self.exponent, self.mantissa) >= (other.exponent, other.mantissa) {
            (self, other)
        } else {
            (other, self)
        };
        let wide = u128::from(large.mantissa) << GUARD;
        let shift = large.exponent.abs_diff(small.exponent);
        let addend = shift_right_sticky(u128::from(small.mantissa) << GUARD, shift);
        let sum = if large.negative == small.negative { wide + addend } else { wide - addend };
        Self::round(large.negative, sum, large.exponent - i32::from(GUARD))
    }

    /// As Redis shows it: 17 digits after the point, without trailing zeros, never an exponent.
    pub(crate) fn to_decimal(self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let text = if self.exponent >= 0 {
            let integer = Natural::from(self.mantissa).shifted_left(self.exponent.unsigned_abs());
            integer.to_decimal()
        } else {
            let scaled = u128::from(self.mantissa) * SCALE;
            let rounded = shift_right_even(scaled, self.exponent.unsigned_abs());
            let (integer, fraction) = (rounded / SCALE, rounded % SCALE);
            let text = format!("{integer}.{fraction:0width$}", width = DIGITS);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        if text == "0" {
            return text;
        }
        format!("{sign}{text}")
    }

    /// The quotient rounded to 64 bits, ties to even. Neither number is zero.
    fn from_ratio(negative: bool, numerator: Natural, denominator: Natural) -> Option<Self> {
        let length = |natural: &Natural| i32::try_from(natural.bits()).expect("limited digits");
        // Scaled so that the quotient lies between 1/2 and 2.
        let scale = length(&denominator) - length(&numerator);
        let (mut rest, divisor) = if scale >= 0 {
            (numerator.shifted_left(scale.unsigned_abs()), denominator)
        } else {
            (numerator, denominator.shifted_left(scale.unsigned_abs()))
        };
        let mut quotient: u128 = 0;
        for _ in 0..QUOTIENT_BITS {
            quotient <<= 1;
            if let Some(difference) = rest.minus(&divisor) {
                rest = difference;
                quotient |= 1;
            }
            rest = rest.shifted_left(1);
        }
        let sticky = u128::from(!rest.is_zero());
        let exponent = -scale - (QUOTIENT_BITS - 1);
        // One more bit for what is left over.
        Self::round(negative, (quotient << 1) | sticky, exponent - 1)
    }

    /// `value * 2^exponent`, rounded to 64 bits, ties to even; `None` beyond the largest number.
    fn round(negative: bool, value: u128, exponent: i32) -> Option<Self> {
        if value == 0 {
            return Some(Self::ZERO);
        }
        let excess = MANTISSA_BITS - i32::try_from(value.leading_zeros()).expect("at most 128");
        let (mut mantissa, mut exponent) = if excess > 0 {
            let rounded = shift_right_even(value, excess.unsigned_abs());
            (rounded, exponent + excess)
        } else {
            (value << excess.unsigned_abs(), exponent + excess)
        };
        if mantissa > u128::from(u64::MAX) {
            mantissa >>= 1;
            exponent += 1;
        }
        (exponent <= EXPONENT_MAX).then(|| Self {
            negative,
            mantissa: u64::try_from(mantissa).expect("rounded to 64 bits"),
            exponent,
        })
    }
}

/// `(-1)^negative * digits * 10^exponent`
struct Decimal {
    negative: bool,
    digits: Natural,
    /// Number of digits without leading zeros.
    length: i64,
    exponent: i64,
}

impl Decimal {
    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let end = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (number, exponent) = text.split_at(end.unwrap_or(text.len()));
        let mut exponent = match exponent {
            [] => 0,
            [_, digits @ ..] => parse_exponent(digits)?,
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let (integer, fraction) = number.split_at(point.unwrap_or(number.len()));
        let fraction = fraction.get(1..).unwrap_or_default();
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut digits = Natural::from(0);
        let mut length = 0;
        for byte in integer.iter().chain(fraction) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            digits.times_small_plus(10, u32::from(digit));
            length += i64::from(length > 0 || digit > 0);
        }
        exponent -= i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits, length, exponent })
    }

    /// Decimal exponent of the first digit.
    fn magnitude(&self) -> i64 {
        self.exponent + self.length - 1
    }
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let mut exponent: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Far beyond every range already; stays far beyond when the digits are counted in.
        exponent = (exponent * 10 + i64::from(digit)).min(EXPONENT_CEILING);
    }
    Some(if negative { -exponent } else { exponent })
}

/// A number of any size: 32 bits each, the lowest first, without leading zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        let mut natural = Self(vec![low(value), low(value >> LIMB_BITS)]);
        natural.trim();
        natural
    }
}

impl Natural {
    fn power_of_ten(exponent: u64) -> Self {
        let mut power = Self::from(1);
        for _ in 0..exponent {
            power.times_small_plus(10, 0);
        }
        power
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        let top = self.0.last().map_or(0, |limb| limb.leading_zeros() as usize);
        self.0.len() * LIMB_BITS as usize - top
    }

    fn times_small_plus(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = low(carry);
            carry >>= LIMB_BITS;
        }
        self.0.push(low(carry));
        self.trim();
    }

    fn times(&self, other: &Self) -> Self {
        let mut product = vec![0u32; self.0.len() + other.0.len()];
        for (shift, factor) in other.0.iter().enumerate() {
            let mut carry = 0u64;
            for (limb, place) in self.0.iter().zip(&mut product[shift..]) {
                carry += u64::from(*limb) * u64::from(*factor) + u64::from(*place);
                *place = low(carry);
                carry >>= LIMB_BITS;
            }
            product[shift + self.0.len()] = low(carry);
        }
        let mut product = Self(product);
        product.trim();
        product
    }

    /// The difference, unless it is negative.
    fn minus(&self, other: &Self) -> Option<Self> {
        if self.0.len() < other.0.len() {
            return None;
        }
        let mut difference = self.0.clone();
        let mut borrow = 0u32;
        for (index, limb) in difference.iter_mut().enumerate() {
            let taken = other.0.get(index).copied().unwrap_or(0);
            let (value, first) = limb.overflowing_sub(taken);
            let (value, second) = value.overflowing_sub(borrow);
            *limb = value;
            borrow = u32::from(first || second);
        }
        let mut difference = Self(difference);
        difference.trim();
        (borrow == 0).then_some(difference)
    }

    fn shifted_left(&self, bits: u32) -> Self {
        let (limbs, bits) = (bits / LIMB_BITS, bits % LIMB_BITS);
        let mut shifted = vec![0; limbs as usize];
        let mut carry = 0u64;
        for limb in &self.0 {
            carry |= u64::from(*limb) << bits;
            shifted.push(low(carry));
            carry >>= LIMB_BITS;
        }
        shifted.push(low(carry));
        let mut shifted = Self(shifted);
        shifted.trim();
        shifted
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.0.clone();
        let mut groups = Vec::new();
        while rest.iter().any(|limb| *limb != 0) {
            let mut remainder = 0u64;
            for limb in rest.iter_mut().rev() {
                let value = (remainder << LIMB_BITS) | u64::from(*limb);
                *limb = low(value / GROUP);
                remainder = value % GROUP;
            }
            groups.push(remainder);
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

/// Shifts right; the lowest bit is set if a bit was lost.
fn shift_right_sticky(value: u128, bits: u32) -> u128 {
    match value.checked_shr(bits) {
        Some(shifted) => shifted | u128::from(shifted << bits != value),
        None => u128::from(value != 0),
    }
}

/// Divides by `2^bits`, rounding to the nearest integer, ties to even.
fn shift_right_even(value: u128, bits: u32) -> u128 {
    let Some(shifted) = value.checked_shr(bits) else {
        return 0;
    };
    if bits == 0 {
        return shifted;
    }
    let lost = value - (shifted << bits);
    let half = 1u128 << (bits - 1);
    let up = lost > half || (lost == half && shifted % 2 == 1);
    shifted + u128::from(up)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low(value: u64) -> u32 {
    value as u32
}

const LIMB_BITS: u32 = 32;
/// Nine decimal digits are converted at once.
const GROUP: u64 = 1_000_000_000;
/// Digits after the point, and ten to that power.
const DIGITS: usize = 17;
const SCALE: u128 = 100_000_000_000_000_000;
/// Bits below the larger mantissa that an addition keeps; one above it is for the carry.
const GUARD: u8 = 62;
const MANTISSA_BITS: i32 = 64;
const QUOTIENT_BITS: i32 = 67;
/// Exponent of the largest number, as the mantissa is an integer of 64 bits.
const EXPONENT_MAX: i32 = 16383 - 63;
/// The largest number is below 10^4933, the smallest above 10^-4951.
const DECIMAL_EXPONENT_MAX: i64 = 4950;
const EXPONENT_CEILING: i64 = 1_000_000;
/// Redis keeps a number in a buffer of 5 KiB while it reads it.
const TEXT_LENGTH_MAX: usize = 5 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, two: &str) -> String {
        let parse = |text: &str| LongDouble::parse(text.as_bytes()).expect(text);
        parse(one).plus(parse(two)).expect("in range").to_decimal()
    }

    #[test]
    fn sums_are_those_of_redis() {
        let sums = [
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0e3", "1e-5", "3000.00001000000000007"),
            ("1", "-1", "0"),
            ("-0.5", "0.25", "-0.25"),
            ("1.5", "-3", "-1.5"),
            ("0", "-0", "0"),
            ("17179869184", "1.5", "17179869185.5"),
            ("9007199254740993", "0", "9007199254740993"),
            ("1e20", "1", "100000000000000000000"),
            ("1e19", "1", "10000000000000000001"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            (".5", "5.", "5.5"),
            ("+1", "1e+1", "11"),
        ];
        for (one, two, expected) in sums {
            assert_eq!(sum(one, two), expected, "{one} + {two}");
            assert_eq!(sum(two, one), expected, "{two} + {one}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_known() {
        let parse = |text: &str| LongDouble::parse(text.as_bytes());
        let largest = "1.189731495357231765e4932";
        assert_eq!(parse(largest).unwrap().to_decimal().len(), 4933);
        assert!(parse("1.2e4932").is_none());
        assert!(parse("1e4933").is_none());
        assert!(parse("1e-4950").is_some());
        assert!(parse("1e-4960").is_none());
        assert!(parse("1e999999999999999999999").is_none());
        assert!(parse("0e999999999999999999999").is_some());
        let largest = parse(largest).unwrap();
        assert!(largest.plus(largest).is_none());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(TEXT_LENGTH_MAX);
        for text in ["", "-", ".", "e5", "1e", "1e+", " 1", "1 ", "inf", "nan", "0x10", "1.2.3"] {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(LongDouble::parse(long.as_bytes()).is_none());
        assert!(LongDouble::parse(&long.as_bytes()[..4900]).is_some());
    }

    #[test]
    fn numbers_that_a_double_holds_come_back() {
        for value in [0.1f32, 1.5, -3.25, 1e-5, 123_456.79, 8_388_608.5] {
            let exact = f64::from(value);
            let text = format!("{exact:.60}");
            let number = LongDouble::parse(text.as_bytes()).unwrap();
            let shown: f64 = number.to_decimal().parse().unwrap();
            assert!((shown - exact).abs() <= 5e-18_f64.max(exact.abs() * 1e-16));
        }
    }
}
