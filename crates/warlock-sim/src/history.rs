//! What clients asked, when, and what they were told: the only input of the checkers that judge a
//! cluster from outside.
//!
//! The simulator and the runner of real processes write the same histories. Keys and values are
//! words of the history: equal bytes are the same word, so that checkers compare numbers and five
//! million operations fit in memory. Times are nanoseconds of one true clock that all clients of
//! the history share; where it starts does not matter.
//!
//! ```text
//! invoked |------------- takes effect once in here -------------| responded    Ok
//! invoked |------------- takes effect once in here, or never ----------------> Unknown
//! invoked |------------- never takes effect --------------------| responded    NotExecuted
//! ```

mod display;
mod final_state;
mod words;

use core::fmt;

use warlock_paxos::NodeId;

pub use display::seconds;
pub use final_state::FinalState;
use words::Words;
pub use words::{Key, Value};

/// Names a client of a history, from 0. A client may have several operations in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u32);

impl ClientId {
    /// Makes the name of client `number`.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The plain number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// Names an operation of a history by its position in it, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(u32);

impl OpId {
    /// The position in the history.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The name of the operation at position `index`.
    ///
    /// # Panics
    /// When a history would hold more than 2^32 operations.
    #[must_use]
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("a history holds fewer than 2^32 operations"))
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op{}", self.0)
    }
}

/// What a client asked for.
///
/// The doc of each variant names the [`Reply`] that it is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Asks for the value of `key`: [`Reply::Value`].
    Get {
        /// The key to read.
        key: Key,
    },
    /// Asks for the values of `keys` at one moment: [`Reply::Values`].
    MGet {
        /// The keys to read, in the order of the reply.
        keys: Box<[Key]>,
    },
    /// Writes `value`, whatever was there: [`Reply::Done`].
    Set {
        /// The key to write.
        key: Key,
        /// What it shall hold.
        value: Value,
        /// Milliseconds until it may vanish; `None` for never.
        ttl_ms: Option<u64>,
    },
    /// Writes `value` if `key` is absent (`SETNX`, `SET NX`): [`Reply::Number`], 1 if it wrote,
    /// else 0.
    SetNx {
        /// The key to write.
        key: Key,
        /// What it shall hold.
        value: Value,
        /// Milliseconds until it may vanish; `None` for never.
        ttl_ms: Option<u64>,
    },
    /// Writes `value` and asks what was there before (`GETSET`): [`Reply::Value`].
    GetSet {
        /// The key to write.
        key: Key,
        /// What it shall hold.
        value: Value,
    },
    /// Adds `by` to the number at `key`, 0 if absent (`INCRBY`): [`Reply::Number`], the sum.
    Incr {
        /// The key to write.
        key: Key,
        /// What to add.
        by: i64,
    },
    /// Adds `value` at the end of what `key` holds: [`Reply::Number`], the length after it.
    Append {
        /// The key to write.
        key: Key,
        /// What to add at the end.
        value: Value,
    },
    /// Removes `keys`: [`Reply::Number`], how many of them were there.
    Del {
        /// The keys to remove.
        keys: Box<[Key]>,
    },
    /// Writes all `pairs` at one moment; of equal keys the last counts: [`Reply::Done`].
    MSet {
        /// Keys and what they shall hold.
        pairs: Box<[(Key, Value)]>,
    },
    /// Gives `key` a time to live (`PEXPIRE`): [`Reply::Number`], 1 if the key was there, else 0.
    Expire {
        /// The key that may vanish.
        key: Key,
        /// Milliseconds until it may vanish.
        ttl_ms: u64,
    },
}

impl Command {
    /// The keys that the command reads or writes.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::SetNx { key, .. }
            | Self::GetSet { key, .. }
            | Self::Incr { key, .. }
            | Self::Append { key, .. }
            | Self::Expire { key, .. } => vec![*key],
            Self::MGet { keys } | Self::Del { keys } => keys.to_vec(),
            Self::MSet { pairs } => pairs.iter().map(|(key, _)| *key).collect(),
        }
    }

    /// Whether the command can only look.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::MGet { .. })
    }

    /// The key that the command writes and does not remove, if it is one.
    #[must_use]
    pub const fn writes(&self) -> Option<Key> {
        match self {
            Self::Set { key, .. }
            | Self::SetNx { key, .. }
            | Self::GetSet { key, .. }
            | Self::Incr { key, .. }
            | Self::Append { key, .. } => Some(*key),
            Self::Get { .. }
            | Self::MGet { .. }
            | Self::MSet { .. }
            | Self::Del { .. }
            | Self::Expire { .. } => None,
        }
    }

    /// The keys and values that the command puts into the store if it takes effect.
    #[must_use]
    pub fn written(&self) -> Vec<(Key, Value)> {
        match self {
            Self::Set { key, value, .. }
            | Self::SetNx { key, value, .. }
            | Self::GetSet { key, value }
            | Self::Append { key, value } => vec![(*key, *value)],
            Self::MSet { pairs } => pairs.to_vec(),
            Self::Get { .. }
            | Self::MGet { .. }
            | Self::Incr { .. }
            | Self::Del { .. }
            | Self::Expire { .. } => Vec::new(),
        }
    }
}

/// What a successful command was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `OK`.
    Done,
    /// One value; `None` if the key was absent.
    Value(Option<Value>),
    /// One value for each key that was asked for.
    Values(Box<[Option<Value>]>),
    /// An integer.
    Number(i64),
}

/// How an operation ended, as far as its client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, exactly once, between invocation and response.
    Ok(Reply),
    /// It never takes effect; the text is the error of the reply.
    NotExecuted(Box<str>),
    /// It may take effect once, at any time after the invocation, or never.
    Unknown,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: ClientId,
    /// Which node was asked.
    pub node: NodeId,
    /// When it was asked, in nanoseconds of true time.
    pub invoked_ns: u64,
    /// When the answer came, or the client gave up, in nanoseconds of true time; `None` if neither
    /// happened before the history ended.
    pub responded_ns: Option<u64>,
    /// What was asked.
    pub command: Command,
    /// What came of it. An operation without an answer is unknown.
    pub outcome: Outcome,
}

impl Operation {
    /// The latest moment at which it can have taken effect, in nanoseconds of true time.
    #[must_use]
    pub fn effect_by_ns(&self) -> u64 {
        match self.outcome {
            Outcome::Ok(_) => self.responded_ns.expect("an answer has a time"),
            Outcome::NotExecuted(_) | Outcome::Unknown => u64::MAX,
        }
    }

    /// The reply of an operation that succeeded.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        match &self.outcome {
            Outcome::Ok(reply) => Some(reply),
            Outcome::NotExecuted(_) | Outcome::Unknown => None,
        }
    }

    /// Whether it was answered "definitely not executed".
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::NotExecuted(_))
    }

    /// Whether nobody knows what came of it.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown)
    }
}

/// All operations of one run, in the order of invocation.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    words: Words,
}

impl History {
    /// A history without operations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key with these bytes.
    pub fn key(&mut self, bytes: &[u8]) -> Key {
        Key::of(self.words.intern(bytes))
    }

    /// The value with these bytes.
    pub fn value(&mut self, bytes: &[u8]) -> Value {
        Value::of(self.words.intern(bytes))
    }

    /// Takes note that `client` asks `node` for `command` at `now_ns`.
    pub fn invoke(
        &mut self,
        client: ClientId,
        node: NodeId,
        now_ns: u64,
        command: Command,
    ) -> OpId {
        let id = OpId::at(self.operations.len());
        self.operations.push(Operation {
            client,
            node,
            invoked_ns: now_ns,
            responded_ns: None,
            command,
            outcome: Outcome::Unknown,
        });
        id
    }

    /// Takes note of how operation `id` ended at `now_ns`.
    ///
    /// # Panics
    /// If the operation has ended before, or ends before it began.
    pub fn respond(&mut self, id: OpId, now_ns: u64, outcome: Outcome) {
        let operation = &mut self.operations[id.index()];
        assert!(operation.responded_ns.is_none(), "{id} has one answer only");
        assert!(operation.invoked_ns <= now_ns, "{id} is answered after it was asked");
        operation.responded_ns = Some(now_ns);
        operation.outcome = outcome;
    }

    /// Takes note of a whole operation at once.
    ///
    /// # Panics
    /// If it succeeded without a time, or ended before it began.
    pub fn push(&mut self, operation: Operation) -> OpId {
        let id = OpId::at(self.operations.len());
        let ended = operation.responded_ns;
        assert!(ended.is_some() || operation.is_unknown(), "{id} has a time for its answer");
        assert!(ended.is_none_or(|at| operation.invoked_ns <= at), "{id} ends after it began");
        self.operations.push(operation);
        id
    }

    /// All operations; `OpId` counts them.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation with this name.
    #[must_use]
    pub fn operation(&self, id: OpId) -> &Operation {
        &self.operations[id.index()]
    }

    /// All operations with their names.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &Operation)> {
        self.operations.iter().enumerate().map(|(index, it)| (OpId::at(index), it))
    }

    /// How many operations there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are no operations.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The bytes of `key`.
    #[must_use]
    pub fn key_bytes(&self, key: Key) -> &[u8] {
        self.words.bytes(key.word())
    }

    /// The bytes of `value`.
    #[must_use]
    pub fn value_bytes(&self, value: Value) -> &[u8] {
        self.words.bytes(value.word())
    }

    /// How many different words the keys and values are; each [`Key::index`] is below it.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.words.len()
    }
}

#[cfg(test)]
impl History {
    /// The same words with other operations.
    pub(crate) fn replace_operations(&mut self, operations: Vec<Operation>) {
        self.operations = operations;
    }
}
