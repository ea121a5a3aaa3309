//! The commands, by family. Errors are found before anything is changed or written.

mod expiry;
mod keyspace;
mod numbers;
mod scan;
mod set;
mod strings;

use warlock_resp::{ReplyWriter, Request};

use crate::item::Item;
use crate::map::Key;
use crate::reader::{Moment, ReadOutcome, ReadView, Sight};
use crate::table::{CommandId, CommandSpec};
use crate::write::Writer;

/// Executes a command of `Class::Read`.
#[expect(clippy::wildcard_enum_match_arm, reason = "a test runs every command of this class")]
pub(crate) fn read(
    spec: &CommandSpec,
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    use CommandId as Id;
    let outcome = match spec.id {
        Id::Get => Ok(strings::get(view, request, reply)),
        Id::MGet => Ok(strings::mget(view, request, reply)),
        Id::StrLen => Ok(strings::strlen(view, request, reply)),
        Id::Exists => Ok(keyspace::exists(view, request, reply)),
        Id::Type => Ok(keyspace::kind(view, request, reply)),
        Id::Ttl | Id::PTtl | Id::ExpireTime | Id::PExpireTime => {
            Ok(expiry::remaining(spec.id, view, request, reply))
        }
        Id::DbSize => Ok(keyspace::size(view, reply)),
        Id::Time => Ok(keyspace::time(view, reply)),
        Id::Keys => Ok(scan::keys(view, request, reply)),
        Id::Scan => scan::scan(view, request, reply),
        Id::RandomKey => Ok(scan::random_key(view, reply)),
        id => unreachable!("{id:?} is not of class Read"),
    };
    outcome.unwrap_or_else(|error| {
        reply.error(&error.text(spec));
        ReadOutcome::Done
    })
}

/// Executes a command of `Class::Write`.
#[expect(clippy::wildcard_enum_match_arm, reason = "a test runs every command of this class")]
pub(crate) fn write(
    spec: &CommandSpec,
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    use CommandId as Id;
    let outcome = match spec.id {
        Id::Set => set::set(writer, request, reply),
        Id::SetNx => set::setnx(writer, request, reply),
        Id::SetEx | Id::PSetEx => set::setex(spec.id, writer, request, reply),
        Id::GetEx => set::getex(writer, request, reply),
        Id::GetSet => strings::getset(writer, request, reply),
        Id::GetDel => strings::getdel(writer, request, reply),
        Id::MSet => strings::mset(writer, request, reply),
        Id::MSetNx => strings::msetnx(writer, request, reply),
        Id::Append => strings::append(writer, request, reply),
        Id::Incr | Id::IncrBy | Id::Decr | Id::DecrBy => {
            numbers::increment(spec.id, writer, request, reply)
        }
        Id::IncrByFloat => numbers::increment_float(writer, request, reply),
        Id::Del | Id::Unlink => keyspace::del(writer, request, reply),
        Id::Rename | Id::RenameNx => keyspace::rename(spec.id, writer, request, reply),
        Id::FlushAll | Id::FlushDb => keyspace::flush(spec.id, writer, request, reply),
        Id::Expire | Id::PExpire | Id::ExpireAt | Id::PExpireAt => {
            expiry::expire(spec.id, writer, request, reply)
        }
        Id::Persist => expiry::persist(writer, request, reply),
        id => unreachable!("{id:?} is not of class Write"),
    };
    if let Err(error) = outcome {
        reply.error(&error.text(spec));
    }
}

/// Why a command did nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
enum CommandError {
    Syntax,
    Arity,
    NotInteger,
    NotFloat,
    NotFinite,
    IncrementOverflow,
    DecrementOverflow,
    ExpireTime,
    NoSuchKey,
    TooLong,
    Cursor,
    ExpireOption(String),
    ExpireNx,
    ExpireGtLt,
}

impl CommandError {
    /// The reply in the words of Redis.
    fn text(&self, spec: &CommandSpec) -> String {
        let text = match self {
            Self::Syntax => "ERR syntax error",
            Self::Arity => return crate::table::wrong_arity(spec),
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::NotFinite => "ERR increment would produce NaN or Infinity",
            Self::IncrementOverflow => "ERR increment or decrement would overflow",
            Self::DecrementOverflow => "ERR decrement would overflow",
            Self::ExpireTime => {
                return format!("ERR invalid expire time in '{}' command", spec.name);
            }
            Self::NoSuchKey => "ERR no such key",
            Self::TooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::Cursor => "ERR invalid cursor",
            Self::ExpireOption(option) => return format!("ERR Unsupported option {option}"),
            Self::ExpireNx => "ERR NX and XX, GT or LT options at the same time are not compatible",
            Self::ExpireGtLt => "ERR GT and LT options at the same time are not compatible",
        };
        text.to_owned()
    }
}

/// Shows the item of the first argument.
fn look_at_one(
    view: &ReadView<'_>,
    request: &Request<'_>,
    show: impl FnOnce(Option<&Item>, Moment),
) -> ReadOutcome {
    let key = view.key(&request[1]);
    let hasher = view.shared.hasher;
    let shard = view.shared.read(hasher.shard(key.hash));
    let moment = view.moment();
    match moment.sight(shard.tables[view.db].find(hasher, key)) {
        Sight::Limbo => return ReadOutcome::Limbo,
        Sight::Absent => show(None, moment),
        Sight::Present(item) => show(Some(item), moment),
    }
    ReadOutcome::Done
}

/// Shows the items of all arguments, as they are at one moment.
fn look_at_all(
    view: &ReadView<'_>,
    request: &Request<'_>,
    mut show: impl FnMut(Option<&Item>),
) -> ReadOutcome {
    let hasher = view.shared.hasher;
    let keys: Vec<Key<'_>> = request.args().skip(1).map(|bytes| view.key(bytes)).collect();
    let shards = view.shared.shards_of(&keys);
    let guards: Vec<_> = shards.iter().map(|shard| view.shared.read(*shard)).collect();
    let moment = view.moment();
    let sight = |key: &Key<'_>| {
        let found = shards.binary_search(&hasher.shard(key.hash));
        let shard = &guards[found.expect("the shards of all keys are locked")];
        moment.sight(shard.tables[view.db].find(hasher, *key))
    };
    let volatile = view.shared.volatile(view.db) > 0;
    if volatile && keys.iter().any(|key| matches!(sight(key), Sight::Limbo)) {
        return ReadOutcome::Limbo;
    }
    for key in &keys {
        match sight(key) {
            Sight::Present(item) => show(Some(item)),
            Sight::Absent | Sight::Limbo => show(None),
        }
    }
    ReadOutcome::Done
}

fn parse_integer(text: &[u8]) -> Result<i64, CommandError> {
    warlock_resp::decimal::parse(text).ok_or(CommandError::NotInteger)
}

fn reply_value(item: Option<&Item>, reply: &mut ReplyWriter<'_>) {
    match item {
        Some(item) => reply.bulk(item.value()),
        None => reply.null(),
    }
}

/// A length or number of keys as the protocol counts.
fn count(number: usize) -> i64 {
    i64::try_from(number).expect("lengths are below 2^63")
}
