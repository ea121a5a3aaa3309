//! What clients note: each operation, when it began and ended, and what came of it.

use serde_json::{Value as Json, json};
use warlock_paxos::NodeId;
use warlock_resp::Value as Received;
use warlock_sim::history::{ClientId, Command, History, Operation, Outcome, Reply, Value};

use crate::client::{Fate, text};

/// How refusals of right requests begin.
const REFUSALS: [&str; 2] = ["CLUSTERDOWN ", "LOADING "];

/// What one client asks of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// `GET`.
    Get,
    /// `SET`, with a time to live in milliseconds if there is one.
    Set(String, Option<u64>),
    /// `SETNX`, or `SET NX PX` with a time to live in milliseconds.
    SetNx(String, Option<u64>),
    /// `GETSET`.
    GetSet(String),
    /// `INCRBY`.
    Incr(i64),
    /// `APPEND`.
    Append(String),
    /// `DEL`.
    Del,
    /// `PEXPIRE`, in milliseconds.
    Expire(u64),
    /// `MGET` of the key and its twin.
    GetBoth,
    /// `MSET` of the key and its twin, to the same value.
    SetBoth(String),
}

/// The name of the twin of a key: both are written and read at one moment.
pub(super) fn twin(key: &str) -> String {
    format!("{key}.twin")
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Who asked.
    pub(super) client: u32,
    /// The node that was asked.
    pub(super) node: u16,
    /// Nanoseconds since the run began.
    pub(super) invoked_ns: u64,
    /// Nanoseconds since the run began when the reply came, or the client gave up.
    pub(super) responded_ns: u64,
    /// The key, by its position among those of its generation.
    pub(super) key: usize,
    /// What was asked.
    pub(super) ask: Ask,
    /// What was answered.
    pub(super) fate: Fate,
}

impl Ask {
    /// The words of the request.
    pub(super) fn words(&self, key: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Get => &["GET", key],
            Self::Set(value, None) => &["SET", key, value],
            Self::Set(value, Some(ttl)) => &["SET", key, value, "PX", &ttl.to_string()],
            Self::SetNx(value, None) => &["SETNX", key, value],
            Self::SetNx(value, Some(ttl)) => &["SET", key, value, "PX", &ttl.to_string(), "NX"],
            Self::GetSet(value) => &["GETSET", key, value],
            Self::Incr(by) => &["INCRBY", key, &by.to_string()],
            Self::Append(value) => &["APPEND", key, value],
            Self::Del => &["DEL", key],
            Self::Expire(ttl) => &["PEXPIRE", key, &ttl.to_string()],
            Self::GetBoth => &["MGET", key, &twin(key)],
            Self::SetBoth(value) => &["MSET", key, value, &twin(key), value],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Whether a reply to it is proof that the cluster takes writes.
    pub(super) const fn is_write(&self) -> bool {
        !matches!(self, Self::Get | Self::GetBoth)
    }

    fn command(&self, history: &mut History, key: &str) -> Command {
        let (key, twin) = (history.key(key.as_bytes()), history.key(twin(key).as_bytes()));
        let mut value = |value: &String| history.value(value.as_bytes());
        match self {
            Self::Get => Command::Get { key },
            Self::Set(word, ttl_ms) => Command::Set { key, value: value(word), ttl_ms: *ttl_ms },
            Self::SetNx(word, ttl_ms) => {
                Command::SetNx { key, value: value(word), ttl_ms: *ttl_ms }
            }
            Self::GetSet(word) => Command::GetSet { key, value: value(word) },
            Self::Incr(by) => Command::Incr { key, by: *by },
            Self::Append(word) => Command::Append { key, value: value(word) },
            Self::Del => Command::Del { keys: [key].into() },
            Self::Expire(ttl_ms) => Command::Expire { key, ttl_ms: *ttl_ms },
            Self::GetBoth => Command::MGet { keys: [key, twin].into() },
            Self::SetBoth(word) => {
                let value = value(word);
                Command::MSet { pairs: [(key, value), (twin, value)].into() }
            }
        }
    }

    /// The reply in the form of a history.
    fn reply(&self, history: &mut History, received: &Received) -> Option<Reply> {
        match (self, received) {
            (Self::Get | Self::GetSet(_), found) => value_of(history, found).map(Reply::Value),
            (Self::GetBoth, Received::Array(both)) if both.len() == 2 => {
                let found = both.iter().map(|found| value_of(history, found));
                Some(Reply::Values(found.collect::<Option<_>>()?))
            }
            (Self::Set(..) | Self::SetBoth(_), Received::Simple(word)) if word == "OK" => {
                Some(Reply::Done)
            }
            (Self::SetNx(_, Some(_)), Received::Simple(word)) if word == "OK" => {
                Some(Reply::Number(1))
            }
            (Self::SetNx(_, Some(_)), Received::Null) => Some(Reply::Number(0)),
            (
                Self::SetNx(_, None)
                | Self::Incr(_)
                | Self::Append(_)
                | Self::Del
                | Self::Expire(_),
                Received::Integer(number),
            ) => Some(Reply::Number(*number)),
            _ => None,
        }
    }
}

/// A value or nothing, if the reply is one of those.
pub(super) fn value_of(history: &mut History, received: &Received) -> Option<Option<Value>> {
    if let Received::Bulk(bytes) = received {
        return Some(Some(history.value(bytes)));
    }
    (*received == Received::Null).then_some(None)
}

impl Record {
    /// Takes note of it in a history.
    ///
    /// # Errors
    /// The reply is none that the command has.
    pub(super) fn enter(&self, history: &mut History, key: &str) -> Result<(), String> {
        let outcome = match &self.fate {
            Fate::Unknown(_) => Outcome::Unknown,
            Fate::NotExecuted(text) if REFUSALS.iter().any(|word| text.starts_with(word)) => {
                Outcome::NotExecuted(text.as_str().into())
            }
            Fate::NotExecuted(_) => return Err(format!("no such refusal: {}", self.json(key))),
            Fate::Done(value) => match self.ask.reply(history, value) {
                Some(reply) => Outcome::Ok(reply),
                None => return Err(format!("no such reply: {}", self.json(key))),
            },
        };
        let command = self.ask.command(history, key);
        history.push(Operation {
            client: ClientId::new(self.client),
            node: NodeId::new(self.node),
            invoked_ns: self.invoked_ns,
            responded_ns: Some(self.responded_ns),
            command,
            outcome,
        });
        Ok(())
    }

    /// One line of a history for people and foreign checkers.
    pub(super) fn json(&self, key: &str) -> Json {
        let (outcome, reply) = match &self.fate {
            Fate::Done(value) => ("ok", text(value)),
            Fate::NotExecuted(error) => ("not executed", error.clone()),
            Fate::Unknown(why) => ("unknown", why.clone()),
        };
        json!({
            "client": self.client,
            "node": self.node,
            "invoked_ns": self.invoked_ns,
            "responded_ns": self.responded_ns,
            "request": self.ask.words(key).join(" "),
            "outcome": outcome,
            "reply": reply,
        })
    }
}
