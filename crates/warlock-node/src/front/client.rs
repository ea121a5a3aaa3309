//! `CLIENT` and its subcommands.

use warlock_resp::{ReplyWriter, Request};
use warlock_store::CommandSpec;

use super::session::{self, Session};
use super::turn::Turn;

pub(super) fn run(
    session: &Session,
    turn: &Turn,
    spec: &'static CommandSpec,
    request: Request<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    match session::specific(spec, request).short_name() {
        "id" => reply.integer(i64::try_from(session.client.id()).unwrap_or(i64::MAX)),
        "getname" => match session.client.names().name {
            name if name.is_empty() => reply.null(),
            name => reply.bulk(name.as_bytes()),
        },
        "setname" => answer(set_name(session, turn, &request[2]), reply),
        "setinfo" => answer(set_info(session, turn, request), reply),
        "info" => {
            session.publish();
            let mut text = String::new();
            session.client.describe(turn.now, &mut text);
            reply.verbatim("txt", text.as_bytes());
        }
        "list" => {
            session.publish();
            match list(turn, request) {
                Ok(text) => reply.verbatim("txt", text.as_bytes()),
                Err(text) => reply.error(&text),
            }
        }
        // A client that asks for notices of maintenance must cope with there being none.
        "maint_notifications" => reply.simple("OK"),
        // Nothing is evicted and no access time is kept, so both are as the client wants them.
        "no-evict" | "no-touch" => answer(parse_switch(&request[2]), reply),
        "help" => warlock_store::help_reply(spec, reply),
        other => reply.error(&format!("ERR unknown subcommand '{other}'. Try CLIENT HELP.")),
    }
}

/// A name as Redis permits it: nothing that could break a line of `CLIENT LIST`.
///
/// # Errors
/// The text of the error reply; `what` is its subject.
pub(super) fn parse_name(name: &[u8], what: &str, length_max: usize) -> Result<String, String> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters."));
    }
    if name.len() > length_max {
        return Err(format!("ERR {what} cannot be longer than {length_max} bytes."));
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}

fn answer(outcome: Result<(), String>, reply: &mut ReplyWriter<'_>) {
    match outcome {
        Ok(()) => reply.simple("OK"),
        Err(text) => reply.error(&text),
    }
}

fn set_name(session: &Session, turn: &Turn, name: &[u8]) -> Result<(), String> {
    let name = parse_name(name, "Client names", turn.front.limits.name_length)?;
    session.client.rename(|names| names.name = name);
    Ok(())
}

fn set_info(session: &Session, turn: &Turn, request: Request<'_>) -> Result<(), String> {
    let option = &request[2];
    let length_max = turn.front.limits.name_length;
    if option.eq_ignore_ascii_case(b"LIB-NAME") {
        let value = parse_name(&request[3], "lib-name", length_max)?;
        session.client.rename(|names| names.library = value);
    } else if option.eq_ignore_ascii_case(b"LIB-VER") {
        let value = parse_name(&request[3], "lib-ver", length_max)?;
        session.client.rename(|names| names.library_version = value);
    } else {
        return Err(format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(option)));
    }
    Ok(())
}

fn parse_switch(word: &[u8]) -> Result<(), String> {
    if word.eq_ignore_ascii_case(b"ON") || word.eq_ignore_ascii_case(b"OFF") {
        return Ok(());
    }
    Err("ERR syntax error".to_owned())
}

fn list(turn: &Turn, request: Request<'_>) -> Result<String, String> {
    let registry = &turn.front.registry;
    let now = turn.now;
    match (request.len(), request.arg(2)) {
        (2, _) => Ok(registry.describe(now, |_| true)),
        (4, Some(option)) if option.eq_ignore_ascii_case(b"TYPE") => {
            let kind = &request[3];
            if kind.eq_ignore_ascii_case(b"normal") {
                return Ok(registry.describe(now, |_| true));
            }
            let others: [&[u8]; 4] = [b"master", b"replica", b"slave", b"pubsub"];
            if others.iter().any(|other| kind.eq_ignore_ascii_case(other)) {
                return Ok(String::new());
            }
            Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(kind)))
        }
        (4.., Some(option)) if option.eq_ignore_ascii_case(b"ID") => {
            let parse = |text| session::parse_integer(text).and_then(|id| u64::try_from(id).ok());
            let ids: Option<Vec<u64>> = request.args().skip(3).map(parse).collect();
            let ids = ids.ok_or("ERR Invalid client ID")?;
            Ok(registry.describe(now, |id| ids.contains(&id)))
        }
        _ => Err("ERR syntax error".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_as_long_as_the_limit_and_no_longer() {
        let name = [b'n'; 9];
        assert_eq!(parse_name(&name[..8], "Client names", 8), Ok("nnnnnnnn".to_owned()));
        let error = parse_name(&name, "Client names", 8).unwrap_err();
        assert_eq!(error, "ERR Client names cannot be longer than 8 bytes.");
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_client_list() {
        for name in ["a b", "a\nid=1", "a\r", "\u{e9}", "\0"] {
            let error = parse_name(name.as_bytes(), "Client names", 256).unwrap_err();
            assert_eq!(
                error, "ERR Client names cannot contain spaces, newlines or special characters.",
                "{name:?}"
            );
        }
    }
}
