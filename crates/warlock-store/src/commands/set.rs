//! `SET` with its options, and the commands that are abbreviations of it.

use warlock_resp::{ReplyWriter, Request};

use super::{CommandError, parse_integer, reply_value};
use crate::item::Item;
use crate::table::CommandId;
use crate::write::{MICROSECONDS, Writer};

pub(super) fn set(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let options = Options::parse(request, 3, Family::Set)?;
    let given = options.deadline(writer)?;
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    let old = locked.live(key);
    if options.get {
        reply_value(old, reply);
    }
    if !options.condition.holds(old) {
        if !options.get {
            reply.null();
        }
        return Ok(());
    }
    let kept = old.and_then(Item::deadline_ms);
    let deadline = match given {
        Deadline::Past => {
            locked.remove(key);
            None
        }
        Deadline::At(deadline_ms) => Some(Some(deadline_ms)),
        Deadline::Keep => Some(kept),
        Deadline::Unsaid | Deadline::Never => Some(None),
    };
    if let Some(deadline_ms) = deadline {
        locked.store(key, &request[2], deadline_ms);
    }
    if !options.get {
        reply.simple("OK");
    }
    Ok(())
}

pub(super) fn setnx(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    let absent = locked.live(key).is_none();
    if absent {
        locked.store(key, &request[2], None);
    }
    reply.integer(i64::from(absent));
    Ok(())
}

/// `SETEX` and `PSETEX`.
pub(super) fn setex(
    id: CommandId,
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let unit = if id == CommandId::SetEx { Unit::Seconds } else { Unit::Milliseconds };
    let expiry = Expiry { unit, absolute: false, amount: &request[2] };
    let deadline_ms = expiry.deadline_ms(writer)?;
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    locked.store(key, &request[3], Some(deadline_ms));
    reply.simple("OK");
    Ok(())
}

pub(super) fn getex(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let options = Options::parse(request, 2, Family::GetEx)?;
    let given = options.deadline(writer);
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    let Some(item) = locked.live(key) else {
        reply.null();
        return Ok(());
    };
    // As in Redis, a wrong time is an error only for a key that exists.
    let given = given?;
    reply.bulk(item.value());
    match given {
        Deadline::Unsaid | Deadline::Keep => {}
        Deadline::Never => locked.set_deadline(key, None),
        Deadline::At(deadline_ms) => locked.set_deadline(key, Some(deadline_ms)),
        Deadline::Past => {
            locked.remove(key);
        }
    }
    Ok(())
}

/// Which command the options belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Set,
    GetEx,
}

/// What stands after the value of `SET`, or the key of `GETEX`.
#[derive(Debug)]
struct Options<'a> {
    condition: Condition<'a>,
    get: bool,
    time: Time<'a>,
}

/// When a value is set.
#[derive(Clone, Copy, Debug)]
enum Condition<'a> {
    Always,
    Absent,
    Present,
    /// Only if there is a value and it is this one.
    Equal(&'a [u8]),
    /// Only if there is no value or it is another one.
    NotEqual(&'a [u8]),
}

impl Condition<'_> {
    fn holds(&self, old: Option<&Item>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => old.is_none(),
            Self::Present => old.is_some(),
            Self::Equal(value) => old.is_some_and(|item| item.value() == *value),
            Self::NotEqual(value) => old.is_none_or(|item| item.value() != *value),
        }
    }
}

/// What the options say about the deadline.
#[derive(Clone, Copy, Debug)]
enum Time<'a> {
    Unsaid,
    Keep,
    Never,
    Expiry(Expiry<'a>),
}

/// The deadline that the options lead to.
#[derive(Clone, Copy, Debug)]
enum Deadline {
    Unsaid,
    Keep,
    Never,
    At(u64),
    Past,
}

impl<'a> Options<'a> {
    fn parse(request: &Request<'a>, first: usize, family: Family) -> Result<Self, CommandError> {
        let mut options = Self { condition: Condition::Always, get: false, time: Time::Unsaid };
        let mut words = request.args().skip(first);
        while let Some(word) = words.next() {
            let taken = match family {
                Family::Set => options.set_word(word, &mut words),
                Family::GetEx => options.getex_word(word),
            };
            if !taken && !options.time_word(word, &mut words) {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    fn set_word(&mut self, word: &'a [u8], words: &mut impl Iterator<Item = &'a [u8]>) -> bool {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("GET") {
            self.get = true;
            return true;
        }
        if is("KEEPTTL") {
            let free = matches!(self.time, Time::Unsaid | Time::Keep);
            self.time = Time::Keep;
            return free;
        }
        let condition = match () {
            () if is("NX") => Condition::Absent,
            () if is("XX") => Condition::Present,
            () if is("IFEQ") => match words.next() {
                Some(value) => Condition::Equal(value),
                None => return false,
            },
            () if is("IFNE") => match words.next() {
                Some(value) => Condition::NotEqual(value),
                None => return false,
            },
            () => return false,
        };
        // Saying NX or XX twice is harmless; any other second condition is a contradiction.
        let free = matches!(
            (&self.condition, &condition),
            (Condition::Always, _)
                | (Condition::Absent, Condition::Absent)
                | (Condition::Present, Condition::Present)
        );
        self.condition = condition;
        free
    }

    fn getex_word(&mut self, word: &[u8]) -> bool {
        let persist = word.eq_ignore_ascii_case(b"PERSIST");
        let free = matches!(self.time, Time::Unsaid | Time::Never);
        if persist && free {
            self.time = Time::Never;
        }
        persist && free
    }

    fn time_word(&mut self, word: &[u8], words: &mut impl Iterator<Item = &'a [u8]>) -> bool {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let (unit, absolute) = match () {
            () if is("EX") => (Unit::Seconds, false),
            () if is("PX") => (Unit::Milliseconds, false),
            () if is("EXAT") => (Unit::Seconds, true),
            () if is("PXAT") => (Unit::Milliseconds, true),
            () => return false,
        };
        let Some(amount) = words.next() else {
            return false;
        };
        // As in Redis, the last of several `EX` counts, but `EX` and `PX` contradict each other.
        let free = match self.time {
            Time::Unsaid => true,
            Time::Expiry(old) => old.unit == unit && old.absolute == absolute,
            Time::Keep | Time::Never => false,
        };
        self.time = Time::Expiry(Expiry { unit, absolute, amount });
        free
    }

    fn deadline(&self, writer: &Writer<'_>) -> Result<Deadline, CommandError> {
        Ok(match self.time {
            Time::Unsaid => Deadline::Unsaid,
            Time::Keep => Deadline::Keep,
            Time::Never => Deadline::Never,
            Time::Expiry(expiry) => {
                let deadline_ms = expiry.deadline_ms(writer)?;
                if writer.is_due(deadline_ms) { Deadline::Past } else { Deadline::At(deadline_ms) }
            }
        })
    }
}

/// A point in time as a client gives it.
#[derive(Clone, Copy, Debug)]
struct Expiry<'a> {
    unit: Unit,
    /// Since the Unix epoch, not from now.
    absolute: bool,
    amount: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Seconds,
    Milliseconds,
}

impl Expiry<'_> {
    fn deadline_ms(&self, writer: &Writer<'_>) -> Result<u64, CommandError> {
        let amount = parse_integer(self.amount)?;
        let factor = match self.unit {
            Unit::Seconds => MILLISECONDS,
            Unit::Milliseconds => 1,
        };
        let start = if self.absolute { 0 } else { writer.now_ms() };
        let deadline_ms = amount.checked_mul(factor).filter(|amount| *amount > 0);
        let deadline_ms = deadline_ms.and_then(|amount| amount.checked_add_unsigned(start));
        let deadline_ms = deadline_ms.and_then(|deadline_ms| u64::try_from(deadline_ms).ok());
        deadline_ms.ok_or(CommandError::ExpireTime)
    }
}

/// In a second.
const MILLISECONDS: i64 = 1000;

// Clients give times in milliseconds or seconds, log time counts microseconds.
const _: () = assert!(MICROSECONDS == 1000);
