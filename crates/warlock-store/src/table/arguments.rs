//! What may follow a command's name, for `COMMAND DOCS` and the hints of interactive clients.

/// One argument of a command, or a group of them.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentSpec {
    /// Name for people, lower case.
    pub name: &'static str,
    /// `key`, `string`, `integer`, `double`, `pattern`, `unix-time`, `pure-token`, `oneof` or
    /// `block`.
    pub kind: &'static str,
    /// The word that introduces the argument, such as `EX`.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may stand several times.
    pub multiple: bool,
    /// Members of a `oneof` or `block`.
    pub members: &'static [Self],
}

impl ArgumentSpec {
    pub(super) const fn after(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    pub(super) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(super) const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }
}

const fn argument(name: &'static str, kind: &'static str) -> ArgumentSpec {
    ArgumentSpec { name, kind, token: None, optional: false, multiple: false, members: &[] }
}

pub(super) const fn key(name: &'static str) -> ArgumentSpec {
    argument(name, "key")
}

pub(super) const fn string(name: &'static str) -> ArgumentSpec {
    argument(name, "string")
}

pub(super) const fn integer(name: &'static str) -> ArgumentSpec {
    argument(name, "integer")
}

pub(super) const fn double(name: &'static str) -> ArgumentSpec {
    argument(name, "double")
}

pub(super) const fn pattern(name: &'static str) -> ArgumentSpec {
    argument(name, "pattern")
}

pub(super) const fn unix_time(name: &'static str) -> ArgumentSpec {
    argument(name, "unix-time")
}

pub(super) const fn token(name: &'static str, word: &'static str) -> ArgumentSpec {
    argument(name, "pure-token").after(word)
}

pub(super) const fn one_of(name: &'static str, members: &'static [ArgumentSpec]) -> ArgumentSpec {
    let mut group = argument(name, "oneof");
    group.members = members;
    group
}

pub(super) const fn block(name: &'static str, members: &'static [ArgumentSpec]) -> ArgumentSpec {
    let mut group = argument(name, "block");
    group.members = members;
    group
}
