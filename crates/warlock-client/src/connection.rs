//! A connection from nothing to the first command.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time;
use warlock_resp::{ReplyParser, Value};

use crate::command::Command;
use crate::limits::INPUT_BYTES_STEP;
use crate::options::Options;

/// A connection that was greeted and can take commands.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) parser: ReplyParser,
    /// What arrived behind the answers to the greeting.
    pub(crate) input: BytesMut,
}

impl Connection {
    /// Connects to one node within the connect timeout. The error is a text for people.
    pub(crate) async fn open(address: &str, options: &Options) -> Result<Self, String> {
        match time::timeout(options.connect_timeout, Self::greet(address, options)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {:?}", options.connect_timeout)),
        }
    }

    async fn greet(address: &str, options: &Options) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut connection =
            Self { stream, parser: ReplyParser::new(options.reply_limits), input: BytesMut::new() };
        let greeting = greeting(options);
        let mut output = Vec::new();
        greeting.iter().for_each(|command| command.encode(&mut output));
        connection.stream.write_all(&output).await.map_err(|error| error.to_string())?;
        for _ in &greeting {
            if let Value::Error(text) = connection.reply().await? {
                return Err(text);
            }
        }
        Ok(connection)
    }

    async fn reply(&mut self) -> Result<Value, String> {
        loop {
            if let Some(value) = next_reply(&mut self.parser, &mut self.input)? {
                if !matches!(value, Value::Push(_)) {
                    return Ok(value);
                }
                continue;
            }
            let read = read_some(&mut self.stream, &mut self.input).await;
            read.map_err(|error| error.to_string())?;
        }
    }
}

/// What every connection says first.
fn greeting(options: &Options) -> Vec<Command> {
    let mut hello = Command::new("HELLO").arg("3");
    if let Some(name) = &options.name {
        hello = hello.arg("SETNAME").arg(name);
    }
    let mut greeting = vec![hello];
    if options.database != 0 {
        greeting.push(Command::new("SELECT").arg(options.database.to_string()));
    }
    greeting
}

/// Takes the next complete reply off the front of `input`.
pub(crate) fn next_reply(
    parser: &mut ReplyParser,
    input: &mut BytesMut,
) -> Result<Option<Value>, String> {
    let parsed = parser.parse(input).map_err(|error| error.to_string())?;
    Ok(parsed.map(|(value, consumed)| {
        let _parsed = input.split_to(consumed);
        value
    }))
}

/// Reads what is there, at least one byte. Safe to cancel: nothing is lost.
pub(crate) async fn read_some(
    stream: &mut (impl AsyncReadExt + Unpin),
    input: &mut BytesMut,
) -> io::Result<()> {
    input.reserve(INPUT_BYTES_STEP);
    match stream.read_buf(input).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node closed the connection")),
        _ => Ok(()),
    }
}
