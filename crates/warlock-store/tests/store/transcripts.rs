//! Conversations with the store, compared with what is written down, and on demand with a real
//! Redis server.
//!
//! `tests/resp/*.txt` hold commands after `> ` and the reply below, as `redis-cli` shows it.
//!
//! ```text
//! # warlock only      before a command: it is not sent to the other server;
//!                     before the first command: nor is any of the file
//! # any order         before a command: its reply is a list without an order
//! < 150ms             time passes
//! ```
//!
//! `UPDATE=1` writes the replies down anew. `WARLOCK_ORACLE=host:port` compares with the server
//! there, which must accept `DEBUG SLEEP`; its data is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use warlock_resp::{Protocol, ReplyLimits, ReplyParser, ReplyWriter, Value};
use warlock_store::conformance::{Replica, with_request};
use warlock_store::{Applier, COMMANDS, Class, CommandId, check, command_reply};

use crate::oracle::{Oracle, compare_patterns, compare_sums};

#[test]
fn replies_are_as_written_down() {
    let mut wrong = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let said = Transcript::parse(&text).run(&mut Warlock::new());
        if said == text {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, said).unwrap();
        } else {
            wrong.push(format!("{}:\n{}", path.display(), first_difference(&text, &said)));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE=1 writes the new replies down", wrong.join("\n"));
}

#[test]
fn replies_are_those_of_a_redis_server() {
    let Some(address) = std::env::var_os("WARLOCK_ORACLE") else {
        return;
    };
    let mut wrong = Vec::new();
    let address = address.to_str().expect("host:port");
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let mut oracle = Oracle::connect(address);
        let said = Transcript::parse(&text).run(&mut oracle);
        if said != text {
            wrong.push(format!("{}:\n{}", path.display(), first_difference(&text, &said)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    compare_sums(&mut Oracle::connect(address));
    compare_patterns(&mut Oracle::connect(address));
}

#[test]
fn every_command_has_a_transcript() {
    let mut spoken = BTreeSet::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        for step in Transcript::parse(&text).steps {
            if let Action::Command(words) = step.action {
                spoken.insert(String::from_utf8_lossy(&words[0]).to_ascii_lowercase());
            }
        }
    }
    for spec in COMMANDS.iter().filter(|spec| spec.class != Class::Connection) {
        assert!(spoken.contains(spec.name), "no transcript of {}", spec.name);
    }
}

/// Whoever answers commands.
pub(crate) trait Server {
    /// Whether this is the server that transcripts are about.
    const IS_WARLOCK: bool;
    fn command(&mut self, words: &[Vec<u8>]) -> Value;
    fn pass(&mut self, milliseconds: u64);
}

struct Warlock {
    replica: Replica<Applier>,
}

impl Warlock {
    fn new() -> Self {
        Self { replica: Replica::new(crate::small()) }
    }

    fn answer(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let checked = with_request(words, check);
        let spec = match checked {
            Ok(spec) => spec,
            Err(text) => return written(|reply| reply.error(&text)),
        };
        match spec.id {
            CommandId::Select => {
                let db = std::str::from_utf8(words[1]).unwrap().parse().unwrap();
                self.replica.db = db;
                written(|reply| reply.simple("OK"))
            }
            CommandId::Command => {
                written(|reply| with_request(words, |request| command_reply(request, reply)))
            }
            _ if spec.class == Class::Read => {
                let read = self.replica.read(words, self.replica.log_time_us);
                let applied = self.replica.apply(words);
                if let Some(read) = read {
                    assert_eq!(read, applied, "a read and the log agree on {words:?}");
                }
                applied
            }
            _ => self.replica.apply(words),
        }
    }
}

impl Server for Warlock {
    const IS_WARLOCK: bool = true;

    fn command(&mut self, words: &[Vec<u8>]) -> Value {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let bytes = self.answer(&words);
        let parsed = ReplyParser::new(ReplyLimits::DEFAULT).parse(&bytes);
        let (value, length) = parsed.expect("a valid reply").expect("a whole reply");
        assert_eq!(length, bytes.len(), "one reply to {words:?}");
        value
    }

    fn pass(&mut self, milliseconds: u64) {
        self.replica.log_time_us += milliseconds * 1000;
    }
}

fn written(write: impl FnOnce(&mut ReplyWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut ReplyWriter::new(&mut out, Protocol::Resp2));
    out
}

/// A file, as the actions in it and what else is to be printed.
struct Transcript {
    steps: Vec<Step>,
}

struct Step {
    /// The lines above the reply, as they are.
    head: String,
    action: Action,
    /// The reply as written down.
    reply: String,
    warlock_only: bool,
    any_order: bool,
}

enum Action {
    Command(Vec<Vec<u8>>),
    Pass(u64),
    /// Comments at the end.
    Nothing,
}

impl Transcript {
    fn parse(text: &str) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        let mut head = String::new();
        let (mut only, mut unordered, mut whole_file_only) = (false, false, false);
        for line in text.split_inclusive('\n') {
            let action = if let Some(command) = line.strip_prefix("> ") {
                Action::Command(split(command.trim_end()))
            } else if let Some(time) = line.strip_prefix("< ") {
                let milliseconds = time.trim_end().strip_suffix("ms").expect("a time in ms");
                Action::Pass(milliseconds.parse().expect("a number of milliseconds"))
            } else {
                match (line.trim_end(), steps.last_mut()) {
                    (comment, last) if comment.is_empty() || comment.starts_with('#') => {
                        only |= comment == "# warlock only";
                        unordered |= comment == "# any order";
                        if comment.is_empty() && last.is_none() {
                            whole_file_only |= std::mem::take(&mut only);
                        }
                        head.push_str(line);
                    }
                    (_, Some(step)) => step.reply.push_str(line),
                    (_, None) => panic!("a reply before the first command: {line}"),
                }
                continue;
            };
            head.push_str(line);
            steps.push(Step {
                head: std::mem::take(&mut head),
                action,
                reply: String::new(),
                warlock_only: std::mem::take(&mut only) || whole_file_only,
                any_order: std::mem::take(&mut unordered),
            });
        }
        steps.push(Step {
            head,
            action: Action::Nothing,
            reply: String::new(),
            warlock_only: false,
            any_order: false,
        });
        Self { steps }
    }

    /// What the file would be if the server's replies were written down.
    fn run<S: Server>(&self, server: &mut S) -> String {
        let mut said = String::new();
        for step in &self.steps {
            said.push_str(&step.head);
            match &step.action {
                Action::Command(_) if step.warlock_only && !S::IS_WARLOCK => {
                    said.push_str(&step.reply);
                }
                Action::Command(words) => {
                    let reply = show(&server.command(words), "");
                    let same = step.any_order && sorted(&reply) == sorted(&step.reply);
                    said.push_str(if same { &step.reply } else { &reply });
                }
                Action::Pass(milliseconds) => server.pass(*milliseconds),
                Action::Nothing => {}
            }
        }
        said
    }
}

/// The lines of a reply without their numbers, in an order of their own.
fn sorted(reply: &str) -> Vec<&str> {
    let unnumbered = reply.lines().map(|line| line.rsplit(") ").next().unwrap_or(line));
    let mut lines: Vec<_> = unnumbered.collect();
    lines.sort_unstable();
    lines
}

/// Splits a line into words, with quotes and escapes as `redis-cli` knows them.
fn split(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    while let Some(first) = bytes.next() {
        let mut word = Vec::new();
        match first {
            b' ' => continue,
            b'"' => loop {
                match bytes.next().expect("a closing quote") {
                    b'"' => break,
                    b'\\' => match bytes.next().expect("an escaped byte") {
                        b'n' => word.push(b'\n'),
                        b'r' => word.push(b'\r'),
                        b'x' => {
                            let mut digit = || char::from(bytes.next().unwrap()).to_digit(16);
                            let byte = digit().unwrap() * 16 + digit().unwrap();
                            word.push(u8::try_from(byte).unwrap());
                        }
                        other => word.push(other),
                    },
                    other => word.push(other),
                }
            },
            first => {
                word.push(first);
                while let Some(byte) = bytes.next_if(|byte| *byte != b' ') {
                    word.push(byte);
                }
            }
        }
        words.push(word);
    }
    words
}

/// A reply as `redis-cli` shows it, with a line end.
fn show(value: &Value, indent: &str) -> String {
    match value {
        Value::Simple(text) => format!("{text}\n"),
        // A blank at the end of a line would be lost in an editor.
        Value::Error(text) => match text.strip_suffix(' ') {
            Some(text) => format!("(error) {text}\\x20\n"),
            None => format!("(error) {text}\n"),
        },
        Value::Integer(number) => format!("(integer) {number}\n"),
        Value::Bulk(bytes) => format!("\"{}\"\n", escape(bytes)),
        Value::Null => "(nil)\n".to_owned(),
        Value::Array(values) if values.is_empty() => "(empty array)\n".to_owned(),
        Value::Array(values) => {
            let width = values.len().to_string().len();
            let mut text = String::new();
            for (index, value) in values.iter().enumerate() {
                let number = format!("{:>width$}) ", index + 1);
                let indent = format!("{indent}{}", " ".repeat(number.len()));
                let prefix = if index == 0 { "" } else { &indent[number.len()..] };
                text.push_str(&format!("{prefix}{number}{}", show(value, &indent)));
            }
            text
        }
        other => panic!("RESP2 has no {other:?}"),
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.push_str(&format!("\\{}", char::from(*byte))),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

fn first_difference(written: &str, said: &str) -> String {
    let lines = written.lines().zip(said.lines()).enumerate();
    let different = lines.filter(|(_, (one, two))| one != two).take(5);
    let shown = different.map(|(index, (one, two))| {
        format!("line {}: written {one}\n         now {two}", index + 1)
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn files() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/resp");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.collect();
    files.sort();
    assert!(!files.is_empty());
    files
}
