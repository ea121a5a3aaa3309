//! Commands that count.

use warlock_resp::{ReplyWriter, Request};

use super::{CommandError, parse_integer};
use crate::item::Item;
use crate::number::LongDouble;
use crate::table::CommandId;
use crate::write::Writer;

/// `INCR`, `INCRBY`, `DECR` and `DECRBY`.
pub(super) fn increment(
    id: CommandId,
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let amount = match request.arg(2) {
        Some(amount) => parse_integer(amount)?,
        None => 1,
    };
    let increment = if matches!(id, CommandId::Decr | CommandId::DecrBy) {
        amount.checked_neg().ok_or(CommandError::DecrementOverflow)?
    } else {
        amount
    };
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    let old = locked.live(key);
    let deadline_ms = old.and_then(Item::deadline_ms);
    let value = old.map_or(Ok(0), |item| parse_integer(item.value()))?;
    let sum = value.checked_add(increment).ok_or(CommandError::IncrementOverflow)?;
    let mut digits = Digits::default();
    locked.store(key, digits.of(sum), deadline_ms);
    reply.integer(sum);
    Ok(())
}

pub(super) fn increment_float(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    let old = locked.live(key);
    let deadline_ms = old.and_then(Item::deadline_ms);
    let parse = |text| LongDouble::parse(text).ok_or(CommandError::NotFloat);
    let value = old.map_or(Ok(LongDouble::ZERO), |item| parse(item.value()))?;
    let increment = parse(&request[2])?;
    let sum = value.plus(increment).ok_or(CommandError::NotFinite)?;
    let text = sum.to_decimal();
    locked.store(key, text.as_bytes(), deadline_ms);
    reply.bulk(text.as_bytes());
    Ok(())
}

/// Room for an integer in decimal, so that counting allocates nothing but the item.
#[derive(Default)]
struct Digits {
    bytes: [u8; 20],
}

impl Digits {
    fn of(&mut self, value: i64) -> &[u8] {
        let mut start = self.bytes.len();
        let mut rest = value.unsigned_abs();
        loop {
            start -= 1;
            let digit = u8::try_from(rest % 10).expect("a remainder of ten is one digit");
            self.bytes[start] = b'0' + digit;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            start -= 1;
            self.bytes[start] = b'-';
        }
        &self.bytes[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_in_full() {
        for value in [0, 7, -7, 10, i64::MAX, i64::MIN] {
            assert_eq!(Digits::default().of(value), value.to_string().as_bytes());
        }
    }
}
