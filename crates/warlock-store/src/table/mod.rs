//! The one table of commands: it drives dispatch, `COMMAND`, ACL categories and documentation.
//!
//! A command that is not in here does not exist. What the table says about a command is what
//! Redis 7.2 says, so that clients which read it at run time behave alike.

mod arguments;
mod check;
mod connection;
mod keyspace;
mod reply;
mod server;
mod strings;
mod warlock;

pub use arguments::ArgumentSpec;
pub use check::check;
pub(crate) use check::wrong_arity;
pub use reply::{command_reply, help_reply};

/// Names a command for dispatch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each variant is the command of its name")]
#[rustfmt::skip]
pub enum CommandId {
    Append, Auth, Client, Command, Config, DbSize, Decr, DecrBy, Del, Echo, Exists, Expire,
    ExpireAt, ExpireTime, FlushAll, FlushDb, Get, GetDel, GetEx, GetSet, Hello, Incr, IncrBy,
    IncrByFloat, Info, Keys, MGet, MSet, MSetNx, PExpire, PExpireAt, PExpireTime, PSetEx, PTtl,
    Persist, Ping, Quit, RandomKey, ReadOnly, ReadWrite, Rename, RenameNx, Reset, Role, Scan,
    Select, Set, SetEx, SetNx, StrLen, Time, Ttl, Type, Unlink, Wait, Warlock,
}

/// Who executes a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The front end alone: it concerns the connection or the node, not the data.
    Connection,
    /// Any replica that may answer reads; it changes nothing.
    Read,
    /// Every replica, when the command's slot is applied.
    Write,
}

/// Which arguments of a command are keys, and what it does with them.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Index of the first key.
    pub index: i8,
    /// Last key, counted from `index` when not negative and from the end when negative.
    pub last: i8,
    /// Distance from one key to the next.
    pub step: i8,
    /// `RO`, `RW`, `OW` or `RM`, then finer words such as `access` and `update`.
    pub flags: &'static [&'static str],
    /// Why the flags are not what one expects, or nothing.
    pub notes: &'static str,
}

impl KeySpec {
    const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }
}

/// Everything that is said about a command or subcommand.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// For dispatch; subcommands have the id of their command.
    pub id: CommandId,
    /// Lower case; `command|subcommand` for a subcommand.
    pub name: &'static str,
    /// Exact number of words, name included, or minus the least number.
    pub arity: i8,
    /// Who executes it.
    pub class: Class,
    /// Words such as `write`, `readonly`, `fast`, as `COMMAND` shows them.
    pub flags: &'static [&'static str],
    /// ACL categories, each with its `@`.
    pub categories: &'static [&'static str],
    /// Hints for proxies, as `COMMAND` shows them.
    pub tips: &'static [&'static str],
    /// Index of the first key, 0 when there is none.
    pub first_key: i8,
    /// Index of the last key; negative counts from the end.
    pub last_key: i8,
    /// Distance from one key to the next, 0 when there is none.
    pub key_step: i8,
    /// The keys in detail.
    pub key_specs: &'static [KeySpec],
    /// First Redis version that has the command; `warlock` commands give a Warlock version.
    pub since: &'static str,
    /// `string`, `generic`, `connection`, `server` or `warlock`.
    pub group: &'static str,
    /// Cost in O notation.
    pub complexity: &'static str,
    /// One sentence without a full stop.
    pub summary: &'static str,
    /// What may follow the name.
    pub arguments: &'static [ArgumentSpec],
    /// Subcommands, when the command is a family of them.
    pub subcommands: &'static [Self],
}

impl CommandSpec {
    const fn flags(mut self, flags: &'static [&'static str]) -> Self {
        self.flags = flags;
        self
    }

    const fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    const fn keys(mut self, first: i8, last: i8, step: i8) -> Self {
        self.first_key = first;
        self.last_key = last;
        self.key_step = step;
        self
    }

    const fn key_specs(mut self, key_specs: &'static [KeySpec]) -> Self {
        self.key_specs = key_specs;
        self
    }

    const fn docs(
        mut self,
        since: &'static str,
        group: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        self.since = since;
        self.group = group;
        self.complexity = complexity;
        self.summary = summary;
        self
    }

    const fn arguments(mut self, arguments: &'static [ArgumentSpec]) -> Self {
        self.arguments = arguments;
        self
    }

    const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// The subcommand called `name`, in any case.
    #[must_use]
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands.iter().find(|spec| spec.short_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name without that of the family: `info` of `client|info`.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    /// Whether a request of `length` words, the name included, has the right number of them.
    #[must_use]
    pub fn accepts_length(&self, length: usize) -> bool {
        let words = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { length == words } else { length >= words }
    }
}

const fn command(id: CommandId, name: &'static str, arity: i8, class: Class) -> CommandSpec {
    CommandSpec {
        id,
        name,
        arity,
        class,
        flags: &[],
        categories: &[],
        tips: &[],
        first_key: 0,
        last_key: 0,
        key_step: 0,
        key_specs: &[],
        since: "",
        group: "",
        complexity: "",
        summary: "",
        arguments: &[],
        subcommands: &[],
    }
}

const fn key_spec(index: i8, last: i8, step: i8, flags: &'static [&'static str]) -> KeySpec {
    KeySpec { index, last, step, flags, notes: "" }
}

const GROUPS: [&[CommandSpec]; 5] = [
    connection::COMMANDS,
    server::COMMANDS,
    keyspace::COMMANDS,
    strings::COMMANDS,
    warlock::COMMANDS,
];

const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

static TABLE: [CommandSpec; COUNT] = {
    let mut table = [GROUPS[0][0]; COUNT];
    let mut filled = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let mut index = 0;
        while index < GROUPS[group].len() {
            table[filled] = GROUPS[group][index];
            filled += 1;
            index += 1;
        }
        group += 1;
    }
    table
};

/// All commands, without their subcommands.
pub static COMMANDS: &[CommandSpec] = &TABLE;

/// The command called `name`, in any case.
#[must_use]
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    let mut position = hash(name) & INDEX_MASK;
    loop {
        let entry = INDEX[position];
        if entry == INDEX_EMPTY {
            return None;
        }
        let spec = &COMMANDS[usize::from(entry)];
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        position = (position + 1) & INDEX_MASK;
    }
}

/// Open addressing over the table, built by the compiler; at most half full, so every probe ends.
static INDEX: [u8; INDEX_LENGTH] = {
    assert!(COUNT * 2 <= INDEX_LENGTH, "enlarge INDEX_LENGTH");
    assert!(COUNT < INDEX_EMPTY as usize, "an index entry is one byte");
    let mut index = [INDEX_EMPTY; INDEX_LENGTH];
    let mut command = 0u8;
    while (command as usize) < COUNT {
        let mut position = hash(TABLE[command as usize].name.as_bytes()) & INDEX_MASK;
        while index[position] != INDEX_EMPTY {
            position = (position + 1) & INDEX_MASK;
        }
        index[position] = command;
        command += 1;
    }
    index
};

const INDEX_LENGTH: usize = 512;
const INDEX_MASK: usize = INDEX_LENGTH - 1;
const INDEX_EMPTY: u8 = u8::MAX;

/// FNV-1a of the lower-case name. No command has a long name, so a few bytes are enough.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < name.len() && index < HASHED_LENGTH {
        hash ^= name[index].to_ascii_lowercase() as u32;
        hash = hash.wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 16)) as usize
}

const HASHED_LENGTH: usize = 16;

#[cfg(test)]
mod tests;
