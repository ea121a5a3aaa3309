//! Commands on keys whatever their value, and on whole databases.

use warlock_resp::{ReplyWriter, Request, decimal};

use super::{CommandError, look_at_all, look_at_one};
use crate::limits::DATABASES;
use crate::map::Key;
use crate::reader::{ReadOutcome, ReadView};
use crate::table::CommandId;
use crate::write::Writer;

/// `DEL` and `UNLINK`.
pub(super) fn del(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if request.len() == 2 {
        let key = writer.key(&request[1]);
        let removed = writer.lock_one(key).remove(key);
        reply.integer(i64::from(removed));
        return Ok(());
    }
    let keys: Vec<Key<'_>> = request.args().skip(1).map(|bytes| writer.key(bytes)).collect();
    let mut locked = writer.lock_many(&keys);
    let mut removed = 0;
    for key in &keys {
        removed += i64::from(locked.remove(*key));
    }
    reply.integer(removed);
    Ok(())
}

/// `RENAME` and `RENAMENX`.
pub(super) fn rename(
    id: CommandId,
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let only_new = id == CommandId::RenameNx;
    let source = writer.key(&request[1]);
    let target = writer.key(&request[2]);
    let mut locked = writer.lock_many(&[source, target]);
    let item = locked.live(source).ok_or(CommandError::NoSuchKey)?;
    let moved = if source.bytes == target.bytes {
        !only_new
    } else {
        let value = item.value().to_vec();
        let deadline_ms = item.deadline_ms();
        let free = !only_new || locked.live(target).is_none();
        if free {
            locked.remove(source);
            locked.store(target, &value, deadline_ms);
        }
        free
    };
    if only_new {
        reply.integer(i64::from(moved));
    } else {
        reply.simple("OK");
    }
    Ok(())
}

/// `FLUSHALL` and `FLUSHDB`. `ASYNC` and `SYNC` are accepted; both are atomic, and freeing the
/// memory keeps nobody waiting but the log.
pub(super) fn flush(
    id: CommandId,
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if let Some(word) = request.arg(1) {
        let known = word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC");
        if request.len() > 2 || !known {
            return Err(CommandError::Syntax);
        }
    }
    if id == CommandId::FlushAll {
        writer.clear(0, DATABASES - 1);
    } else {
        writer.clear(writer.db, writer.db);
    }
    reply.simple("OK");
    Ok(())
}

/// `EXISTS`: counts a key as often as it is named.
pub(super) fn exists(
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    let mut present = 0;
    let mut show = |item: Option<&crate::item::Item>| present += i64::from(item.is_some());
    let outcome = if request.len() == 2 {
        look_at_one(view, request, |item, _| show(item))
    } else {
        look_at_all(view, request, &mut show)
    };
    if outcome == ReadOutcome::Done {
        reply.integer(present);
    }
    outcome
}

/// `TYPE`.
pub(super) fn kind(
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    look_at_one(view, request, |item, _| {
        reply.simple(if item.is_some() { "string" } else { "none" });
    })
}

/// `DBSIZE`: the number of keys that are present.
pub(super) fn size(view: &ReadView<'_>, reply: &mut ReplyWriter<'_>) -> ReadOutcome {
    let Some(keys) = view.keys() else {
        return ReadOutcome::Limbo;
    };
    reply.integer(i64::try_from(keys).expect("fewer than 2^63 keys"));
    ReadOutcome::Done
}

/// `TIME`: the log's time, as everything that depends on time does.
///
/// Nodes guess what the log's time is between two batches, each a little differently. A client
/// that asked one and then another would see time run back, so a guess is settled by the log.
pub(super) fn time(view: &ReadView<'_>, reply: &mut ReplyWriter<'_>) -> ReadOutcome {
    let now_us = view.moment().now_us();
    if now_us > view.shared.log_time_us() {
        return ReadOutcome::Limbo;
    }
    reply.array(2);
    for part in [now_us / MICROSECONDS, now_us % MICROSECONDS] {
        let mut digits = Vec::new();
        decimal::append_unsigned(part, &mut digits);
        reply.bulk(&digits);
    }
    ReadOutcome::Done
}

/// In a second.
const MICROSECONDS: u64 = 1_000_000;
