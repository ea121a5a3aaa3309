//! What a connection is set to, and the commands that concern it or the node and not the data.

use std::sync::Arc;

use warlock_paxos::Span;
use warlock_resp::{Protocol, ReplyWriter, Request};
use warlock_store::{Class, CommandId, CommandSpec};

use super::output::Output;
use super::registry::Client;
use super::turn::Turn;
use super::{client, info, parameters, topology};

/// Settings of one connection.
#[derive(Debug)]
pub(super) struct Session {
    /// What others see of this connection.
    pub(super) client: Arc<Client>,
    /// Protocol of replies.
    pub(super) protocol: Protocol,
    /// Selected database, below [`DATABASES`].
    pub(super) database: u8,
    /// Whether the client may run commands on data. True from the start while there are no
    /// passwords.
    pub(super) authenticated: bool,
    /// The last command, as the command table spells it.
    pub(super) command: &'static str,
    /// How old the state may be that reads show.
    pub(super) reads: ReadLevel,
}

/// How old the state may be that the reads of a connection show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadLevel {
    /// Not at all: every read sees what was acknowledged before it came.
    Linearizable,
    /// As old as [`Limits::staleness`](super::limits::Limits::staleness) (`READONLY`).
    Bounded,
    /// As old as this node's copy is (`READONLY ANY`).
    Any,
}

/// What follows after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next command.
    Continue,
    /// Nothing: the connection closes when its replies are out.
    Close,
}

impl Session {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            protocol: Protocol::Resp2,
            database: 0,
            authenticated: true,
            command: "",
            reads: ReadLevel::Linearizable,
        }
    }

    /// Publishes settings, for a client that is about to look at itself.
    pub(super) fn publish(&self) {
        self.client.publish_session(self.command, self.database, self.protocol);
    }

    /// Remembers the last command, for `CLIENT LIST`.
    pub(super) fn note(&mut self, spec: &'static CommandSpec, request: Request<'_>) {
        self.command = specific(spec, request).name;
    }
}

/// Finds the command, and refuses what may not run at all.
///
/// # Errors
/// The text of the error reply, without the leading `-`.
pub(super) fn check(
    session: &Session,
    request: Request<'_>,
    loading: bool,
) -> Result<&'static CommandSpec, String> {
    let spec = warlock_store::check(&request)?;
    if !session.authenticated && !spec.flags.contains(&"no_auth") {
        return Err("NOAUTH Authentication required.".to_owned());
    }
    let needs_data =
        || spec.class != Class::Connection || !specific(spec, request).flags.contains(&"loading");
    if loading && needs_data() {
        return Err(LOADING.to_owned());
    }
    Ok(spec)
}

/// Runs a command of class [`Class::Connection`] that needs nothing but this node.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is of other classes; a test runs every command of the table"
)]
pub(super) fn run(
    session: &mut Session,
    turn: &Turn,
    spec: &'static CommandSpec,
    request: Request<'_>,
    output: &mut Output,
) -> After {
    let out = output.buffer();
    if spec.id == CommandId::Hello {
        return hello(session, turn, request, out);
    }
    if spec.id == CommandId::Reset {
        reset(session);
    }
    let mut reply = ReplyWriter::new(out, session.protocol);
    match spec.id {
        CommandId::Ping => ping(request, &mut reply),
        CommandId::Echo => reply.bulk(&request[1]),
        CommandId::Select => select(session, request, &mut reply),
        CommandId::Auth => auth(session, request, &mut reply),
        CommandId::Reset => reply.simple("RESET"),
        CommandId::ReadOnly => read_only(session, request, &mut reply),
        CommandId::ReadWrite => {
            session.reads = ReadLevel::Linearizable;
            reply.simple("OK");
        }
        CommandId::Client => client::run(session, turn, spec, request, &mut reply),
        CommandId::Command => warlock_store::command_reply(&request, &mut reply),
        CommandId::Config => parameters::run(turn, request, &mut reply),
        CommandId::Info => info::run(turn, request, &mut reply),
        CommandId::Role => topology::role(turn, &mut reply),
        CommandId::Warlock => topology::run(turn, request, &mut reply),
        CommandId::Quit => {
            reply.simple("OK");
            return After::Close;
        }
        _ => reply.error("ERR command is not available on this connection"),
    }
    After::Continue
}

/// The arguments of `WAIT`: how many followers, and how long to wait, with zero for ever.
///
/// # Errors
/// The text of the error reply, without the leading `-`.
pub(super) fn parse_wait(request: Request<'_>) -> Result<(u64, Span), &'static str> {
    let replicas = parse_integer(&request[1]).ok_or(NOT_AN_INTEGER)?;
    let timeout =
        parse_integer(&request[2]).ok_or("ERR timeout is not an integer or out of range")?;
    let milliseconds = u64::try_from(timeout).map_err(|_| "ERR timeout is negative")?;
    // A count below zero is reached at once, as in Redis.
    Ok((u64::try_from(replicas).unwrap_or(0), Span::from_millis(milliseconds)))
}

/// The integer that `text` spells, as strictly as Redis reads it.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    warlock_resp::decimal::parse(text)
}

/// The subcommand's entry of the command table, or the command's if it has none.
pub(super) fn specific(spec: &'static CommandSpec, request: Request<'_>) -> &'static CommandSpec {
    if spec.subcommands.is_empty() {
        return spec;
    }
    request.arg(1).and_then(|word| spec.subcommand(word)).unwrap_or(spec)
}

fn ping(request: Request<'_>, reply: &mut ReplyWriter<'_>) {
    match (request.len(), request.arg(1)) {
        (_, None) => reply.simple("PONG"),
        (2, Some(message)) => reply.bulk(message),
        (_, Some(_)) => reply.error("ERR wrong number of arguments for 'ping' command"),
    }
}

fn select(session: &mut Session, request: Request<'_>, reply: &mut ReplyWriter<'_>) {
    let Some(index) = parse_integer(&request[1]).filter(|index| i32::try_from(*index).is_ok())
    else {
        return reply.error(NOT_AN_INTEGER);
    };
    match u8::try_from(index) {
        Ok(index) if index < DATABASES => {
            session.database = index;
            reply.simple("OK");
        }
        Ok(_) | Err(_) => reply.error("ERR DB index is out of range"),
    }
}

fn reset(session: &mut Session) {
    session.protocol = Protocol::Resp2;
    session.database = 0;
    session.reads = ReadLevel::Linearizable;
    session.client.rename(|names| names.name.clear());
}

fn read_only(session: &mut Session, request: Request<'_>, reply: &mut ReplyWriter<'_>) {
    session.reads = match request.arg(1) {
        None => ReadLevel::Bounded,
        Some(word) if request.len() == 2 && word.eq_ignore_ascii_case(b"ANY") => ReadLevel::Any,
        Some(_) => return reply.error("ERR syntax error. READONLY takes nothing, or ANY"),
    };
    reply.simple("OK");
}

fn auth(session: &mut Session, request: Request<'_>, reply: &mut ReplyWriter<'_>) {
    match (request.len(), request.arg(1)) {
        (2, _) => reply.error(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ),
        (3, Some(user)) if authenticates(user) => {
            session.authenticated = true;
            reply.simple("OK");
        }
        (3, _) => reply.error(WRONG_PASSWORD),
        _ => reply.error("ERR syntax error"),
    }
}

/// Whether `user` may log in: there is only `default`, and it has no password, so any is right.
fn authenticates(user: &[u8]) -> bool {
    user == b"default"
}

/// What `HELLO` asks for.
#[derive(Default)]
struct Greeting {
    protocol: Option<Protocol>,
    /// Whether the user may log in, if one was named.
    login: Option<bool>,
    name: Option<String>,
}

fn parse_greeting(request: Request<'_>, turn: &Turn) -> Result<Greeting, String> {
    let mut greeting = Greeting::default();
    let mut words = request.args().skip(1);
    if let Some(version) = words.next() {
        greeting.protocol = Some(match parse_integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err("NOPROTO unsupported protocol version".to_owned()),
            None => {
                return Err("ERR Protocol version is not an integer or out of range".to_owned());
            }
        });
    }
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"AUTH") && words.len() >= 2 {
            let user = words.next().unwrap_or_default();
            greeting.login = Some(authenticates(user));
            words.next();
        } else if word.eq_ignore_ascii_case(b"SETNAME") && words.len() >= 1 {
            greeting.name = Some(client::parse_name(
                words.next().unwrap_or_default(),
                "Client names",
                turn.front.limits.name_length,
            )?);
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(format!("ERR Syntax error in HELLO option '{word}'"));
        }
    }
    if greeting.login == Some(false) {
        return Err(WRONG_PASSWORD.to_owned());
    }
    Ok(greeting)
}

fn hello(session: &mut Session, turn: &Turn, request: Request<'_>, out: &mut Vec<u8>) -> After {
    let greeting = match parse_greeting(request, turn) {
        Ok(greeting) => greeting,
        Err(text) => {
            ReplyWriter::new(out, session.protocol).error(&text);
            return After::Continue;
        }
    };
    session.authenticated |= greeting.login.is_some();
    if !session.authenticated {
        ReplyWriter::new(out, session.protocol).error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        );
        return After::Continue;
    }
    if let Some(name) = greeting.name {
        session.client.rename(|names| names.name = name);
    }
    session.protocol = greeting.protocol.unwrap_or(session.protocol);
    let mut reply = ReplyWriter::new(out, session.protocol);
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(info::REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(match session.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    });
    reply.bulk(b"id");
    reply.integer(i64::try_from(session.client.id()).unwrap_or(i64::MAX));
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(if topology::is_master(turn) { b"master" } else { b"replica" });
    reply.bulk(b"modules");
    reply.array(0);
    After::Continue
}

/// Databases of a cluster.
pub(super) const DATABASES: u8 = 16;

/// The refusal of commands on data while the node recovers. Clients retry it by themselves.
pub(super) const LOADING: &str = "LOADING Warlock is recovering its log from disk";

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use warlock_paxos::Instant;
    use warlock_resp::{Progress, RequestLimits, RequestParser, RequestSpans};

    use super::*;

    fn checked(session: &Session, line: &str) -> Result<&'static str, String> {
        let mut spans = RequestSpans::default();
        let input = format!("{line}\r\n");
        let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
        let progress = parser.parse(input.as_bytes(), &mut spans);
        assert!(matches!(progress, Ok(Progress::Complete { .. })), "{line}");
        check(session, spans.request(input.as_bytes()), false).map(|spec| spec.name)
    }

    #[test]
    fn strangers_may_only_introduce_themselves() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let client = Client::new(1, address, address, 0, Instant::from_nanos(0));
        let mut session = Session::new(Arc::new(client));
        session.authenticated = false;
        for line in ["HELLO 3", "AUTH x", "QUIT", "RESET"] {
            assert!(checked(&session, line).is_ok(), "{line}");
        }
        for line in ["GET k", "SET k v", "PING", "CLIENT LIST", "INFO", "WARLOCK READY"] {
            let refusal = Err("NOAUTH Authentication required.".to_owned());
            assert_eq!(checked(&session, line), refusal, "{line}");
        }
        session.authenticated = true;
        assert_eq!(checked(&session, "GET k"), Ok("get"));
    }
}
