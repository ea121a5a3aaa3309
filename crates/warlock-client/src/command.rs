//! Commands as callers build them.

use std::fmt;

use warlock_resp::encode_request;

/// One command: a name and arguments of any bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// All arguments, one behind the other.
    bytes: Vec<u8>,
    /// Where each argument ends in `bytes`; the first is the name.
    ends: Vec<usize>,
}

impl Command {
    /// A command without arguments yet.
    #[must_use]
    pub fn new(name: impl AsRef<[u8]>) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }.arg(name)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(argument.as_ref());
        self.ends.push(self.bytes.len());
        self
    }

    /// Adds arguments in their order.
    #[must_use]
    pub fn args<A: AsRef<[u8]>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// The name, as given.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.argument(0)
    }

    /// Whether the name and the arguments after it start with `words`, in any case.
    pub(crate) fn starts_with(&self, words: &[&str]) -> bool {
        words.len() <= self.ends.len()
            && (0..)
                .zip(words)
                .all(|(index, word)| self.argument(index).eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Appends the command as it goes over the wire.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        encode_request((0..self.ends.len()).map(|index| self.argument(index)), out);
    }

    fn argument(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}

/// Arguments can be secrets: only their number is shown.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} arguments)", self.name().escape_ascii(), self.ends.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn arguments_keep_their_bytes_and_their_limits() {
        let command = Command::new("set").arg(b"a\r\n\0").args(["", "c"]);
        let mut out = Vec::new();
        command.encode(&mut out);
        assert_eq!(out, b"*4\r\n$3\r\nset\r\n$4\r\na\r\n\0\r\n$0\r\n\r\n$1\r\nc\r\n");
        assert_eq!(command.name(), b"set");
    }

    #[test]
    fn words_match_in_any_case_and_only_whole() {
        let command = Command::new("client").arg("REPLY").arg("off");
        assert!(command.starts_with(&["CLIENT", "REPLY"]));
        assert!(!command.starts_with(&["CLIENT", "REPL"]));
        assert!(!Command::new("client").starts_with(&["CLIENT", "REPLY"]));
    }

    #[test]
    fn debug_does_not_show_arguments() {
        assert_eq!(format!("{:?}", Command::new("AUTH").arg("secret")), "AUTH (1 arguments)");
    }
}
