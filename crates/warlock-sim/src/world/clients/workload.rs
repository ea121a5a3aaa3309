//! What clients ask for.

use warlock_resp::encode_request;

use super::super::World;
use crate::history::{Command, Key, Value};

/// A command on its way.
pub(in super::super) struct Asked {
    /// As the history knows it; none for what does not concern the data.
    pub(in super::super) command: Option<Command>,
    /// What its reply looks like.
    pub(in super::super) shape: Shape,
    /// Its bytes.
    pub(in super::super) request: Vec<u8>,
}

/// What a reply looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Shape {
    /// `OK`.
    Done,
    /// The reply to `HELLO`.
    Hello,
    /// The reply to `PING`.
    Pong,
    /// A value or nothing.
    Value,
    /// So many values or nothings.
    Values(usize),
    /// An integer.
    Number,
    /// `OK` or nothing, of `SET NX`.
    SetNx,
    /// As `SetNx`, or an integer of `SETNX`, for the lock with this number.
    Lock(u64),
    /// How many followers hold what was written.
    Wait,
    /// An error, as the command does not exist.
    Refused,
}

/// How many commands a key gets on average before clients turn to another one. The search for an
/// order takes time that grows without bound with the commands of a key whose outcome is unknown.
const COMMANDS_PER_KEY: u64 = 16;

/// Kinds of keys, which never mix.
#[derive(Clone, Copy)]
enum Kind {
    Register,
    Counter,
    Lock,
    Text,
    Expiring,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Register => "reg",
            Self::Counter => "cnt",
            Self::Lock => "lock",
            Self::Text => "txt",
            Self::Expiring => "ttl",
        }
    }
}

impl World {
    /// The next command of a client.
    pub(super) fn draw_command(&mut self, index: usize) -> Asked {
        let mix = self.weather.mix;
        let weights =
            [mix.registers, mix.counters, mix.locks, mix.texts, mix.pairs, mix.expiring, mix.waits];
        let mut choice = self.random.below(weights.iter().sum());
        let kind = weights.iter().position(|&weight| {
            let here = choice < weight;
            choice = choice.saturating_sub(weight);
            here
        });
        match kind {
            Some(1) => self.draw_counter(index),
            Some(2) => self.draw_lock(index),
            Some(3) => self.draw_text(index),
            Some(4) => self.draw_pairs(index),
            Some(5) => self.draw_expiring(index),
            Some(6) => self.draw_wait(),
            _ => self.draw_register(index),
        }
    }

    /// A read of the value of every key that clients ever write, for the end of a run.
    pub(in super::super) fn audit_commands(&mut self) -> Vec<Asked> {
        let kinds = [Kind::Register, Kind::Counter, Kind::Lock, Kind::Text, Kind::Expiring];
        let mut asked = Vec::new();
        for kind in kinds {
            for number in 0..self.first_key(kind) + self.weather.keys {
                let name = format!("{}{number}", kind.prefix());
                let key = self.history.key(name.as_bytes());
                asked.push(get(key, &name));
            }
        }
        asked
    }

    fn draw_register(&mut self, index: usize) -> Asked {
        let (key, name) = self.draw_key(Kind::Register);
        if self.random.chance(450) {
            return self.draw_get(key, &name);
        }
        let (value, text) = self.draw_value(index);
        if self.random.chance(150) {
            let request = request(&[b"GETSET", name.as_bytes(), &text]);
            let command = Some(Command::GetSet { key, value });
            return Asked { command, shape: Shape::Value, request };
        }
        let request = request(&[b"SET", name.as_bytes(), &text]);
        let command = Some(Command::Set { key, value, ttl_ms: None });
        Asked { command, shape: Shape::Done, request }
    }

    fn draw_counter(&mut self, _index: usize) -> Asked {
        let (key, name) = self.draw_key(Kind::Counter);
        if self.random.chance(250) {
            return self.draw_get(key, &name);
        }
        let by = i64::try_from(self.random.between(1, 3)).expect("small");
        let request = match by {
            1 => request(&[b"INCR", name.as_bytes()]),
            _ => request(&[b"INCRBY", name.as_bytes(), by.to_string().as_bytes()]),
        };
        let command = Some(Command::Incr { key, by });
        Asked { command, shape: Shape::Number, request }
    }

    /// Takes a free lock, or gives one back that the client believes to hold.
    fn draw_lock(&mut self, index: usize) -> Asked {
        if !self.clients[index].locks.is_empty() && self.random.chance(700) {
            let lock = self.clients[index].locks.swap_remove(0);
            let name = format!("{}{lock}", Kind::Lock.prefix());
            let key = self.history.key(name.as_bytes());
            let request = request(&[b"DEL", name.as_bytes()]);
            let command = Some(Command::Del { keys: [key].into() });
            return Asked { command, shape: Shape::Number, request };
        }
        let first = self.first_key(Kind::Lock);
        let (lock, key, name) = self.draw_numbered_key(Kind::Lock, first);
        if self.random.chance(200) {
            return self.draw_get(key, &name);
        }
        let (value, text) = self.draw_value(index);
        let request = match self.random.chance(500) {
            true => request(&[b"SETNX", name.as_bytes(), &text]),
            false => request(&[b"SET", name.as_bytes(), &text, b"NX"]),
        };
        let command = Some(Command::SetNx { key, value, ttl_ms: None });
        Asked { command, shape: Shape::Lock(lock), request }
    }

    fn draw_text(&mut self, index: usize) -> Asked {
        let (key, name) = self.draw_key(Kind::Text);
        match self.random.below(10) {
            0..=3 => self.draw_get(key, &name),
            4 => {
                let request = request(&[b"DEL", name.as_bytes()]);
                let command = Some(Command::Del { keys: [key].into() });
                Asked { command, shape: Shape::Number, request }
            }
            _ => {
                self.clients[index].values += 1;
                let text = format!("<{index}.{}>", self.clients[index].values);
                let value = self.history.value(text.as_bytes());
                let request = request(&[b"APPEND", name.as_bytes(), text.as_bytes()]);
                let command = Some(Command::Append { key, value });
                Asked { command, shape: Shape::Number, request }
            }
        }
    }

    /// Some registers at one moment.
    fn draw_pairs(&mut self, index: usize) -> Asked {
        let count = self.random.index(3) + 2;
        // None of an earlier group with one of a later: they would have to be judged as one.
        let first = self.first_key(Kind::Register);
        let mut names: Vec<(Key, String)> = (0..count)
            .map(|_| self.draw_numbered_key(Kind::Register, first))
            .map(|(_, key, name)| (key, name))
            .collect();
        names.sort();
        names.dedup();
        let mut words: Vec<Vec<u8>> = Vec::new();
        if self.random.chance(500) {
            words.push(b"MGET".to_vec());
            words.extend(names.iter().map(|(_, name)| name.as_bytes().to_vec()));
            let keys = names.iter().map(|(key, _)| *key).collect();
            let shape = Shape::Values(names.len());
            return Asked { command: Some(Command::MGet { keys }), shape, request: joined(&words) };
        }
        words.push(b"MSET".to_vec());
        let mut pairs = Vec::new();
        for (key, name) in names {
            let (value, text) = self.draw_value(index);
            pairs.push((key, value));
            words.extend([name.into_bytes(), text]);
        }
        let command = Some(Command::MSet { pairs: pairs.into() });
        Asked { command, shape: Shape::Done, request: joined(&words) }
    }

    fn draw_expiring(&mut self, index: usize) -> Asked {
        let (key, name) = self.draw_key(Kind::Expiring);
        let ttl = self.random.pick(&[20, 200, 1_000, 4_000]);
        let text = ttl.to_string();
        match self.random.below(10) {
            0..=4 => self.draw_get(key, &name),
            5 => {
                let request = request(&[b"PEXPIRE", name.as_bytes(), text.as_bytes()]);
                let command = Some(Command::Expire { key, ttl_ms: ttl });
                Asked { command, shape: Shape::Number, request }
            }
            6 | 7 => {
                let (value, word) = self.draw_value(index);
                let words: [&[u8]; 6] =
                    [b"SET", name.as_bytes(), &word, b"NX", b"PX", text.as_bytes()];
                let command = Some(Command::SetNx { key, value, ttl_ms: Some(ttl) });
                Asked { command, shape: Shape::SetNx, request: request(&words) }
            }
            _ => {
                let (value, word) = self.draw_value(index);
                let words: [&[u8]; 5] = [b"SET", name.as_bytes(), &word, b"PX", text.as_bytes()];
                let command = Some(Command::Set { key, value, ttl_ms: Some(ttl) });
                Asked { command, shape: Shape::Done, request: request(&words) }
            }
        }
    }

    fn draw_wait(&mut self) -> Asked {
        if self.random.chance(700) {
            return self.draw_oddity();
        }
        let followers = self.random.index(self.sites.len()).to_string();
        let timeout = self.random.pick(&["10", "200"]);
        let request = request(&[b"WAIT", followers.as_bytes(), timeout.as_bytes()]);
        Asked { command: None, shape: Shape::Wait, request }
    }

    /// What a client may send that touches no data: a line as somebody types it, behind requests
    /// without a command, or a command that does not exist and looks like a reply.
    fn draw_oddity(&mut self) -> Asked {
        let pong =
            |request: &[u8]| Asked { command: None, shape: Shape::Pong, request: request.to_vec() };
        match self.random.below(4) {
            0 => pong(b"PING\r\n"),
            1 => pong(b"*0\r\n*1\r\n$4\r\nPING\r\n"),
            2 => pong(b"\r\n\r\nPING\r\n"),
            _ => {
                let request = request(&[b"NONE\r\n+OK", b"\n$-1\r\n"]);
                Asked { command: None, shape: Shape::Refused, request }
            }
        }
    }

    /// A read; now and then as somebody types it.
    fn draw_get(&mut self, key: Key, name: &str) -> Asked {
        let mut asked = get(key, name);
        if self.random.chance(50) {
            asked.request = format!("GET {name}\r\n").into_bytes();
        }
        asked
    }

    fn draw_key(&mut self, kind: Kind) -> (Key, String) {
        let first = self.first_key(kind);
        let (_, key, name) = self.draw_numbered_key(kind, first);
        (key, name)
    }

    fn draw_numbered_key(&mut self, kind: Kind, first: u64) -> (u64, Key, String) {
        let number = first + self.random.below(self.weather.keys);
        self.keys_drawn[kind as usize] += 1;
        let name = format!("{}{number}", kind.prefix());
        (number, self.history.key(name.as_bytes()), name)
    }

    /// The first of the keys of a kind that are in use.
    fn first_key(&self, kind: Kind) -> u64 {
        let keys = self.weather.keys;
        self.keys_drawn[kind as usize] / (keys * COMMANDS_PER_KEY) * keys
    }

    /// A value that nobody ever wrote.
    fn draw_value(&mut self, index: usize) -> (Value, Vec<u8>) {
        self.clients[index].values += 1;
        let mut text = format!("{index}.{}", self.clients[index].values).into_bytes();
        let padding = self.random.below(self.weather.value_bytes + 1);
        text.extend(std::iter::repeat_n(b'.', usize::try_from(padding).expect("small")));
        (self.history.value(&text), text)
    }
}

pub(super) fn get(key: Key, name: &str) -> Asked {
    let request = request(&[b"GET", name.as_bytes()]);
    Asked { command: Some(Command::Get { key }), shape: Shape::Value, request }
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(words.iter().copied(), &mut bytes);
    bytes
}

fn joined(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(words.iter().map(Vec::as_slice), &mut bytes);
    bytes
}
