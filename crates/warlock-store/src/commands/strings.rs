//! Commands on string values, except `SET` and its kin and the numbers.

use warlock_resp::{ReplyWriter, Request};

use super::{CommandError, count, look_at_all, look_at_one, reply_value};
use crate::limits::STRING_LENGTH_MAX;
use crate::map::Key;
use crate::reader::{ReadOutcome, ReadView};
use crate::write::Writer;

pub(super) fn get(
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    look_at_one(view, request, |item, _| reply_value(item, reply))
}

pub(super) fn mget(
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    let mut keys = request.len() - 1;
    look_at_all(view, request, |item| {
        // The head of the array, once it is known that no key is in limbo.
        if keys > 0 {
            reply.array(std::mem::take(&mut keys));
        }
        reply_value(item, reply);
    })
}

pub(super) fn strlen(
    view: &ReadView<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> ReadOutcome {
    look_at_one(view, request, |item, _| {
        reply.integer(item.map_or(0, |item| count(item.value().len())));
    })
}

pub(super) fn getset(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    reply_value(locked.live(key), reply);
    locked.store(key, &request[2], None);
    Ok(())
}

pub(super) fn getdel(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = writer.key(&request[1]);
    let mut locked = writer.lock_one(key);
    reply_value(locked.live(key), reply);
    locked.remove(key);
    Ok(())
}

pub(super) fn mset(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let keys = keys_of_pairs(writer, request)?;
    let mut locked = writer.lock_many(&keys);
    for (key, value) in keys.iter().zip(values_of_pairs(request)) {
        locked.store(*key, value, None);
    }
    reply.simple("OK");
    Ok(())
}

pub(super) fn msetnx(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let keys = keys_of_pairs(writer, request)?;
    let mut locked = writer.lock_many(&keys);
    if keys.iter().any(|key| locked.live(*key).is_some()) {
        reply.integer(0);
        return Ok(());
    }
    for (key, value) in keys.iter().zip(values_of_pairs(request)) {
        locked.store(*key, value, None);
    }
    reply.integer(1);
    Ok(())
}

pub(super) fn append(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = writer.key(&request[1]);
    let tail = &request[2];
    let mut locked = writer.lock_one(key);
    let old = locked.live(key).map(|item| item.value().len());
    if let Some(old) = old {
        if old + tail.len() > STRING_LENGTH_MAX {
            return Err(CommandError::TooLong);
        }
        locked.append(key, tail);
    } else {
        locked.store(key, tail, None);
    }
    reply.integer(count(old.unwrap_or(0) + tail.len()));
    Ok(())
}

fn keys_of_pairs<'k>(
    writer: &Writer<'_>,
    request: &Request<'k>,
) -> Result<Vec<Key<'k>>, CommandError> {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::Arity);
    }
    let keys = request.args().skip(1).step_by(2);
    Ok(keys.map(|bytes| writer.key(bytes)).collect())
}

fn values_of_pairs<'k>(request: &Request<'k>) -> impl Iterator<Item = &'k [u8]> {
    request.args().skip(2).step_by(2)
}
