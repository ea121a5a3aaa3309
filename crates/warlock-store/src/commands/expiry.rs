//! Deadlines: giving, taking and asking for them.

use warlock_resp::{ReplyWriter, Request};

use super::{CommandError, look_at_one, parse_integer};
use crate::item::Item;
use crate::reader::{ReadOutcome, ReadView};
use crate::table::CommandId;
use crate::write::Writer;

/// `TTL`, `PTTL`, `EXPIRETIME` and `PEXPIRETIME`.
pub(super) fn remaining(
    id: CommandId,
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    look_at_one(view, request, |item, moment| {
        let Some(item) = item else {
            return reply.integer(NO_KEY);
        };
        let Some(deadline_ms) = item.deadline_ms() else {
            return reply.integer(NO_DEADLINE);
        };
        let remaining = matches!(id, CommandId::Ttl | CommandId::PTtl);
        let seconds = matches!(id, CommandId::Ttl | CommandId::ExpireTime);
        let shown_ms = if remaining { moment.remaining_ms(deadline_ms) } else { deadline_ms };
        // As in Redis, seconds are rounded.
        let shown = if seconds { (shown_ms + MILLISECONDS / 2) / MILLISECONDS } else { shown_ms };
        reply.integer(i64::try_from(shown).unwrap_or(i64::MAX));
    })
}

/// `EXPIRE`, `PEXPIRE`, `EXPIREAT` and `PEXPIREAT`.
pub(super) fn expire(
    id: CommandId,
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let options = Options::parse(request)?;
    let deadline_ms = deadline_ms(id, writer, &request[2])?;
    let key = writer.key(&request[1]);
    // A deadline before 1970 is as past as any other.
    let past = u64::try_from(deadline_ms).map_or(true, |ms| writer.is_due(ms));
    let mut locked = writer.lock_one(key);
    let Some(item) = locked.live(key) else {
        reply.integer(0);
        return Ok(());
    };
    if !options.allow(item.deadline_ms(), deadline_ms) {
        reply.integer(0);
        return Ok(());
    }
    if past {
        locked.remove(key);
    } else {
        locked.set_deadline(key, u64::try_from(deadline_ms).ok());
    }
    reply.integer(1);
    Ok(())
}

pub(super) fn persist(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    let volatile = locked.live(key).and_then(Item::deadline_ms).is_some();
    if volatile {
        locked.set_deadline(key, None);
    }
    reply.integer(i64::from(volatile));
    Ok(())
}

fn deadline_ms(id: CommandId, writer: &Writer<'_>, amount: &[u8]) -> Result<i64, CommandError> {
    let amount = parse_integer(amount)?;
    let seconds = matches!(id, CommandId::Expire | CommandId::ExpireAt);
    let relative = matches!(id, CommandId::Expire | CommandId::PExpire);
    let factor = if seconds { 1000 } else { 1 };
    let start = if relative { writer.now_ms() } else { 0 };
    let deadline_ms = amount.checked_mul(factor);
    let deadline_ms = deadline_ms.and_then(|amount| amount.checked_add_unsigned(start));
    deadline_ms.ok_or(CommandError::ExpireTime)
}

/// When a deadline may be changed.
#[derive(Debug, Default)]
struct Options {
    /// Only if there is none.
    absent: bool,
    /// Only if there is one.
    present: bool,
    /// Only to a later one; no deadline counts as the latest.
    later: bool,
    /// Only to an earlier one.
    earlier: bool,
}

impl Options {
    fn parse(request: &Request<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        for word in request.args().skip(3) {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            match () {
                () if is("NX") => options.absent = true,
                () if is("XX") => options.present = true,
                () if is("GT") => options.later = true,
                () if is("LT") => options.earlier = true,
                () => {
                    let word = String::from_utf8_lossy(word).into_owned();
                    return Err(CommandError::ExpireOption(word));
                }
            }
        }
        if options.absent && (options.present || options.later || options.earlier) {
            return Err(CommandError::ExpireNx);
        }
        if options.later && options.earlier {
            return Err(CommandError::ExpireGtLt);
        }
        Ok(options)
    }

    fn allow(&self, old_ms: Option<u64>, new_ms: i64) -> bool {
        let old_ms = old_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        let refused = (self.absent && old_ms.is_some())
            || (self.present && old_ms.is_none())
            || (self.later && old_ms.is_none_or(|old_ms| new_ms <= old_ms))
            || (self.earlier && old_ms.is_some_and(|old_ms| new_ms >= old_ms));
        !refused
    }
}

/// In a second.
const MILLISECONDS: u64 = 1000;
const NO_KEY: i64 = -2;
const NO_DEADLINE: i64 = -1;
