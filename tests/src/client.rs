//! A blocking Redis client that hides nothing: what was sent, what came back, what is unknown.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use warlock_resp::{ReplyLimits, ReplyParser, Value, encode_request};

/// A node that does not accept within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than the longest time that a node takes to answer anything, by its settings.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection to a node.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    parser: ReplyParser,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// The connection broke, or no reply came in time: nobody knows what became of the command.
#[derive(Debug)]
pub struct Lost(pub String);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection lost: {}", self.0)
    }
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What became of a command, by the class of its reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It took effect.
    Done(Value),
    /// It did not take effect, and never will.
    NotExecuted(String),
    /// It may have taken effect, or still will.
    Unknown(String),
}

impl Fate {
    /// The class of a reply, which clients tell by its prefix.
    #[must_use]
    pub fn of(reply: Result<Value, Lost>) -> Self {
        match reply {
            Ok(Value::Error(text)) if text.starts_with("UNKNOWN ") => Self::Unknown(text),
            Ok(Value::Error(text)) => Self::NotExecuted(text),
            Ok(value) => Self::Done(value),
            Err(lost) => Self::Unknown(lost.to_string()),
        }
    }

    /// The reply of a command that took effect.
    ///
    /// # Errors
    /// Another fate, as a text.
    pub fn done(self) -> Result<Value, String> {
        match self {
            Self::Done(value) => Ok(value),
            Self::NotExecuted(text) => Err(format!("not executed: {text}")),
            Self::Unknown(text) => Err(format!("unknown: {text}")),
        }
    }
}

impl Client {
    /// Connects to a node.
    ///
    /// # Errors
    /// Nobody listens there, or nobody answers.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?)
    }

    /// Takes over a connection.
    ///
    /// # Errors
    /// It is closed already.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        let parser = ReplyParser::new(ReplyLimits::DEFAULT);
        Ok(Self { stream, parser, input: Vec::new(), output: Vec::new() })
    }

    /// Waits for replies at most this long from now on.
    pub fn set_timeout(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("the limit is not zero");
    }

    /// Sends a command and reads its reply. An error reply is a reply.
    ///
    /// # Errors
    /// [`Lost`]: no reply came.
    pub fn call(&mut self, words: &[&str]) -> Result<Value, Lost> {
        self.send(words)?;
        self.receive()
    }

    /// Sends a command whose reply must not be an error, and returns the reply.
    ///
    /// # Panics
    /// If it is one, or none comes.
    #[track_caller]
    pub fn ok(&mut self, words: &[&str]) -> Value {
        match self.call(words) {
            Ok(Value::Error(text)) => panic!("{}: {text}", words.join(" ")),
            Ok(value) => value,
            Err(lost) => panic!("{}: {lost}", words.join(" ")),
        }
    }

    /// As [`Client::ok`], with the reply as [`text`] shows it.
    ///
    /// # Panics
    /// If the reply is an error, or none comes.
    #[track_caller]
    pub fn text(&mut self, words: &[&str]) -> String {
        text(&self.ok(words))
    }

    /// Sends a command, and tells the class of its reply.
    pub fn fate(&mut self, words: &[&str]) -> Fate {
        Fate::of(self.call(words))
    }

    /// Sends a command and does not wait for the reply.
    ///
    /// # Errors
    /// [`Lost`]: the connection is closed.
    pub fn send(&mut self, words: &[&str]) -> Result<(), Lost> {
        self.queue(words);
        self.flush()
    }

    /// Keeps a command until [`Client::flush`].
    pub fn queue(&mut self, words: &[&str]) {
        encode_request(words.iter().map(|word| word.as_bytes()), &mut self.output);
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// [`Lost`]: the connection is closed.
    pub fn flush(&mut self) -> Result<(), Lost> {
        let result = self.stream.write_all(&self.output);
        self.output.clear();
        Ok(result?)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends all commands at once, and reads all replies.
    ///
    /// # Errors
    /// [`Lost`]: not all replies came.
    pub fn pipeline(&mut self, commands: &[Vec<String>]) -> Result<Vec<Value>, Lost> {
        for command in commands {
            encode_request(command.iter().map(String::as_bytes), &mut self.output);
        }
        self.flush()?;
        commands.iter().map(|_| self.receive()).collect()
    }

    /// Sends all commands at once, and tells the class of each reply and the time, as `now` gives
    /// it, when it came. After the first reply that does not come, none does.
    pub fn fates(&mut self, commands: &[Vec<String>], now: impl Fn() -> u64) -> Vec<(Fate, u64)> {
        for command in commands {
            encode_request(command.iter().map(String::as_bytes), &mut self.output);
        }
        let mut lost = self.flush().err().map(|lost| lost.to_string());
        let mut fates = Vec::with_capacity(commands.len());
        for _ in commands {
            let fate = match &lost {
                Some(why) => Fate::Unknown(why.clone()),
                None => match self.receive() {
                    Ok(value) => Fate::of(Ok(value)),
                    Err(error) => Fate::Unknown(lost.insert(error.to_string()).clone()),
                },
            };
            fates.push((fate, now()));
        }
        fates
    }

    /// Reads the next reply.
    ///
    /// # Errors
    /// [`Lost`]: it does not come, or is not RESP.
    pub fn receive(&mut self) -> Result<Value, Lost> {
        loop {
            let parsed = self.parser.parse(&self.input);
            if let Some((value, consumed)) = parsed.map_err(|error| Lost(error.to_string()))? {
                self.input.drain(..consumed);
                return Ok(value);
            }
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Lost("closed by the node".to_owned())),
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says that nothing more is sent; replies can still be read.
    pub fn finish_sending(&mut self) {
        // The node may have closed first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads until the node closes, and returns how many bytes came.
    ///
    /// # Errors
    /// The node does not close within the timeout. A reset counts as closing.
    pub fn read_to_close(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let mut total = self.input.len();
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(total),
                Ok(count) => total += count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(total),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A reply in one line, for comparison: `nil`, numbers as digits, lists in brackets.
#[must_use]
pub fn text(value: &Value) -> String {
    let list = |values: &[Value]| {
        let values: Vec<String> = values.iter().map(text).collect();
        format!("[{}]", values.join(" "))
    };
    match value {
        Value::Simple(text) | Value::BigNumber(text) => text.clone(),
        Value::Error(text) => format!("-{text}"),
        Value::Integer(number) => number.to_string(),
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Null => "nil".to_owned(),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => list(values),
        Value::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
        Value::Double(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Verbatim { text, .. } => String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use warlock_resp::Value;

    use super::{Fate, Lost};

    #[test]
    fn the_prefix_of_a_reply_tells_its_class() {
        let error = |text: &str| Fate::of(Ok(Value::Error(text.to_owned())));
        assert!(matches!(error("UNKNOWN it may or may not"), Fate::Unknown(_)));
        assert!(matches!(error("CLUSTERDOWN no master"), Fate::NotExecuted(_)));
        assert!(matches!(error("ERR no such key"), Fate::NotExecuted(_)));
        assert!(matches!(error("UNKNOWNISH word"), Fate::NotExecuted(_)));
        assert!(matches!(Fate::of(Ok(Value::Null)), Fate::Done(Value::Null)));
        assert!(matches!(Fate::of(Err(Lost("reset".to_owned()))), Fate::Unknown(_)));
    }
}
