//! How operations are told to people.

use core::fmt::Write;

use super::{Command, History, Key, OpId, Outcome, Reply, Value};

/// Longer words are cut: a report is read by people.
const WORD_SHOWN_MAX: usize = 48;

impl History {
    /// One operation in a line: who asked whom for what, when, and what came of it.
    #[must_use]
    pub fn describe(&self, id: OpId) -> String {
        let it = self.operation(id);
        let mut line =
            format!("{id} {}->{} {}", it.client, it.node, self.command_text(&it.command));
        let _ = write!(line, " [{}..", seconds(it.invoked_ns));
        match it.responded_ns {
            Some(at) => line.push_str(&seconds(at)),
            None => line.push('?'),
        }
        line.push_str("] ");
        line.push_str(&match &it.outcome {
            Outcome::Ok(reply) => self.reply_text(reply),
            Outcome::NotExecuted(error) => format!("not executed: {error}"),
            Outcome::Unknown => "unknown".to_owned(),
        });
        line
    }

    /// The command as a person would type it.
    #[must_use]
    pub fn command_text(&self, command: &Command) -> String {
        let px = |ttl_ms: &Option<u64>| ttl_ms.map(|ms| format!(" PX {ms}")).unwrap_or_default();
        let key = |key: &Key| self.key_text(*key);
        let value = |value: &Value| self.value_text(*value);
        let keys = |keys: &[Key]| keys.iter().map(key).collect::<Vec<_>>().join(" ");
        match command {
            Command::Get { key: k } => format!("GET {}", key(k)),
            Command::MGet { keys: all } => format!("MGET {}", keys(all)),
            Command::Set { key: k, value: v, ttl_ms } => {
                format!("SET {} {}{}", key(k), value(v), px(ttl_ms))
            }
            Command::SetNx { key: k, value: v, ttl_ms } => {
                format!("SET {} {} NX{}", key(k), value(v), px(ttl_ms))
            }
            Command::GetSet { key: k, value: v } => format!("GETSET {} {}", key(k), value(v)),
            Command::Incr { key: k, by } => format!("INCRBY {} {by}", key(k)),
            Command::Append { key: k, value: v } => format!("APPEND {} {}", key(k), value(v)),
            Command::Del { keys: all } => format!("DEL {}", keys(all)),
            Command::MSet { pairs } => {
                let words = pairs.iter().map(|(k, v)| format!("{} {}", key(k), value(v)));
                format!("MSET {}", words.collect::<Vec<_>>().join(" "))
            }
            Command::Expire { key: k, ttl_ms } => format!("PEXPIRE {} {ttl_ms}", key(k)),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn key_text(&self, key: Key) -> String {
        shown(self.key_bytes(key))
    }

    /// The value as text.
    #[must_use]
    pub fn value_text(&self, value: Value) -> String {
        shown(self.value_bytes(value))
    }

    /// The value as text, or `nothing`.
    #[must_use]
    pub fn found_text(&self, found: Option<Value>) -> String {
        found.map_or_else(|| "nothing".to_owned(), |value| self.value_text(value))
    }

    fn reply_text(&self, reply: &Reply) -> String {
        match reply {
            Reply::Done => "OK".to_owned(),
            Reply::Value(found) => self.found_text(*found),
            Reply::Values(all) => {
                let words = all.iter().map(|found| self.found_text(*found));
                words.collect::<Vec<_>>().join(" ")
            }
            Reply::Number(number) => number.to_string(),
        }
    }
}

/// A time in seconds with microseconds: the form of reports.
#[must_use]
pub fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:06}s", nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000)
}

fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() <= WORD_SHOWN_MAX { text } else { format!("{}...", &text[..WORD_SHOWN_MAX]) }
}
