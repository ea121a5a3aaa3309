//! Histories written by hand, for the tests of the checkers.

use warlock_paxos::NodeId;

use crate::history::{ClientId, Command, History, Key, Operation, Outcome, Reply, Value};

/// A history in the making.
#[derive(Debug, Default)]
pub(crate) struct Script {
    history: History,
}

/// Adds an operation whose outcome nobody knows.
pub(crate) fn unknown(mut script: Script, command: &str, invoked_ns: u64) -> Script {
    script.push(command, invoked_ns, None, Outcome::Unknown);
    script
}

/// Adds an operation that is answered "definitely not executed".
pub(crate) fn failed(mut script: Script, command: &str, invoked_ns: u64, ended_ns: u64) -> Script {
    let outcome = Outcome::NotExecuted("CLUSTERDOWN no master".into());
    script.push(command, invoked_ns, Some(ended_ns), outcome);
    script
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an operation that succeeded. Replies are read as the command demands; `-` is nothing.
    pub(crate) fn op(mut self, command: &str, invoked: u64, ended: u64, reply: &str) -> Self {
        let parsed = self.command(command);
        let mut found = |text: &str| {
            if text == "-" { None } else { Some(self.history.value(text.as_bytes())) }
        };
        let reply = match parsed {
            Command::Get { .. } | Command::GetSet { .. } => Reply::Value(found(reply)),
            Command::MGet { .. } => Reply::Values(reply.split(' ').map(found).collect()),
            Command::Set { .. } | Command::MSet { .. } => Reply::Done,
            Command::SetNx { .. }
            | Command::Incr { .. }
            | Command::Append { .. }
            | Command::Del { .. }
            | Command::Expire { .. } => Reply::Number(reply.parse().unwrap()),
        };
        self.push(command, invoked, Some(ended), Outcome::Ok(reply));
        self
    }

    pub(crate) fn history(self) -> History {
        self.history
    }

    fn push(&mut self, command: &str, invoked_ns: u64, ended: Option<u64>, outcome: Outcome) {
        let command = self.command(command);
        // Every operation has a client of its own: only times order them.
        let client = ClientId::new(u32::try_from(self.history.len()).unwrap());
        self.history.push(Operation {
            client,
            node: NodeId::new(1),
            invoked_ns,
            responded_ns: ended,
            command,
            outcome,
        });
    }

    fn command(&mut self, text: &str) -> Command {
        let words: Vec<&str> = text.split(' ').collect();
        let millis = |text: &str| text.parse::<u64>().unwrap();
        match words[..] {
            ["GET", key] => Command::Get { key: self.key(key) },
            ["MGET", ref keys @ ..] => {
                Command::MGet { keys: keys.iter().map(|key| self.key(key)).collect() }
            }
            ["SET", key, value] => {
                Command::Set { key: self.key(key), value: self.value(value), ttl_ms: None }
            }
            ["SET", key, value, "PX", ms] => {
                let ttl_ms = Some(millis(ms));
                Command::Set { key: self.key(key), value: self.value(value), ttl_ms }
            }
            ["SETNX", key, value] => {
                Command::SetNx { key: self.key(key), value: self.value(value), ttl_ms: None }
            }
            ["SETNX", key, value, "PX", ms] => {
                let ttl_ms = Some(millis(ms));
                Command::SetNx { key: self.key(key), value: self.value(value), ttl_ms }
            }
            ["GETSET", key, value] => {
                Command::GetSet { key: self.key(key), value: self.value(value) }
            }
            ["INCR", key] => Command::Incr { key: self.key(key), by: 1 },
            ["INCRBY", key, by] => Command::Incr { key: self.key(key), by: by.parse().unwrap() },
            ["APPEND", key, value] => {
                Command::Append { key: self.key(key), value: self.value(value) }
            }
            ["DEL", ref keys @ ..] => {
                Command::Del { keys: keys.iter().map(|key| self.key(key)).collect() }
            }
            ["MSET", ref words @ ..] => {
                let pairs = words.chunks(2).map(|pair| (self.key(pair[0]), self.value(pair[1])));
                Command::MSet { pairs: pairs.collect() }
            }
            ["PEXPIRE", key, ms] => Command::Expire { key: self.key(key), ttl_ms: millis(ms) },
            _ => panic!("no such command: {text}"),
        }
    }

    fn key(&mut self, text: &str) -> Key {
        self.history.key(text.as_bytes())
    }

    fn value(&mut self, text: &str) -> Value {
        self.history.value(text.as_bytes())
    }
}
