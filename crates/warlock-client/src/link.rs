//! One connection shared by many callers: a task that writes calls as they come, many at once,
//! and hands each reply to the call it answers.
//!
//! The task knows for every command whether its last byte was given to the system. So when a
//! connection ends, each command without a reply is either surely not executed (the node cannot
//! have read it whole) or of unknown outcome; there is nothing in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use warlock_resp::{ReplyParser, Value};

use crate::command::Command;
use crate::connection::{Connection, next_reply, read_some};
use crate::error::Error;
use crate::limits::{OUTPUT_BYTES_SOFT_MAX, QUEUED_CALLS_MAX};

/// The callers' end of a connection. When the last one is dropped, the task waits for the
/// replies that somebody still wants, and closes.
#[derive(Clone)]
pub(crate) struct Link {
    calls: mpsc::Sender<Call>,
    /// Tells connections of one client apart.
    pub(crate) serial: u64,
}

/// Commands that are written together, and who waits for their replies.
struct Call {
    bytes: Vec<u8>,
    /// Where each command ends in `bytes`.
    ends: Vec<usize>,
    claim: Claim,
    answer: oneshot::Sender<Vec<Answer>>,
}

/// Settles once whether a call goes out or its caller gives up before.
#[derive(Clone, Default)]
struct Claim(Arc<AtomicBool>);

/// What became of one command.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Reply(Value),
    /// The node cannot have read the command whole.
    NotSent(String),
    /// The command is out, its reply will never come.
    Lost(String),
    /// As `Lost`, because the node does not speak the protocol.
    Garbled(String),
}

impl Link {
    /// Starts the task of a fresh connection.
    pub(crate) fn spawn(connection: Connection, serial: u64) -> Self {
        let (calls, queue) = mpsc::channel(QUEUED_CALLS_MAX);
        let driver = Driver {
            output: BytesMut::new(),
            input: connection.input,
            parser: connection.parser,
            waiting: VecDeque::new(),
            written: 0,
            appended: 0,
        };
        tokio::spawn(driver.run(connection.stream, queue));
        Self { calls, serial }
    }

    /// Whether the connection is over. It may be over a moment after this says no.
    pub(crate) fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    /// Sends `commands` together and waits for their replies, one result for each.
    pub(crate) async fn exchange(
        &self,
        commands: &[Command],
        deadline: Instant,
    ) -> Vec<Result<Value, Error>> {
        let mut bytes = Vec::new();
        let encode_one = |command: &Command| {
            command.encode(&mut bytes);
            bytes.len()
        };
        let ends = commands.iter().map(encode_one).collect();
        let claim = Claim::default();
        let (answer, answered) = oneshot::channel();
        let call = Call { bytes, ends, claim: claim.clone(), answer };
        let exchange = async {
            match self.calls.send(call).await {
                Ok(()) => answered.await.ok(),
                Err(_) => None,
            }
        };
        match timeout_at(deadline, exchange).await {
            Ok(Some(answers)) => answers.into_iter().map(Answer::into_result).collect(),
            Ok(None) => refuse_all(commands, claim, "the connection ended"),
            Err(_) => refuse_all(commands, claim, "no reply before the deadline"),
        }
    }

    /// Completes when the connection is over.
    #[cfg(test)]
    pub(crate) async fn closed(&self) {
        self.calls.closed().await;
    }
}

impl Claim {
    /// Whether the caller of this function is the first.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Answer {
    fn into_result(self) -> Result<Value, Error> {
        match self {
            Self::Reply(Value::Error(text)) => Err(Error::from_reply(text)),
            Self::Reply(value) => Ok(value),
            Self::NotSent(reason) => Err(Error::Refused(reason)),
            Self::Lost(reason) => Err(Error::Unknown(reason)),
            Self::Garbled(reason) => Err(Error::Protocol(reason)),
        }
    }
}

/// The same verdict for all commands of a call that got no answer: unknown, unless this is in
/// time to keep the task from sending them.
fn refuse_all(commands: &[Command], claim: Claim, reason: &str) -> Vec<Result<Value, Error>> {
    let unsent = claim.take();
    let verdict = |_: &Command| match unsent {
        true => Err(Error::Refused(format!("{reason}, before it was sent"))),
        false => Err(Error::Unknown(reason.to_owned())),
    };
    commands.iter().map(verdict).collect()
}

/// What the task of a connection owns beside the socket.
struct Driver {
    /// Encoded commands that the system has not taken yet.
    output: BytesMut,
    /// Bytes of replies that are not complete.
    input: BytesMut,
    parser: ReplyParser,
    /// Calls whose replies are not complete, in the order sent.
    waiting: VecDeque<Waiting>,
    /// Bytes that the system took, since the greeting.
    written: usize,
    /// Bytes that were ever put into `output`.
    appended: usize,
}

/// A call that is on its way.
struct Waiting {
    /// Position in the stream just behind each command.
    ends: Vec<usize>,
    answers: Vec<Answer>,
    answer: oneshot::Sender<Vec<Answer>>,
}

impl Driver {
    async fn run(mut self, mut stream: TcpStream, mut queue: mpsc::Receiver<Call>) {
        let end = self.drive(&mut stream, &mut queue).await;
        // The socket closes before callers learn of it, so that nothing is sent after a verdict.
        drop(stream);
        queue.close();
        for waiting in self.waiting.drain(..) {
            waiting.finish(self.written, &end);
        }
        while let Ok(call) = queue.try_recv() {
            call.refuse(&end);
        }
    }

    /// Runs until the connection is over and returns why, as the answer to what is on its way.
    async fn drive(&mut self, stream: &mut TcpStream, queue: &mut mpsc::Receiver<Call>) -> Answer {
        let (mut reader, mut writer) = stream.split();
        let mut draining = false;
        loop {
            let room = self.output.len() < OUTPUT_BYTES_SOFT_MAX;
            let wanted = self.waiting.iter_mut().find(|it| !it.answer.is_closed());
            if draining && wanted.is_none() {
                return Answer::Lost("the client was dropped".to_owned());
            }
            tokio::select! {
                call = queue.recv(), if room && !draining => match call {
                    Some(call) => self.take(call, queue),
                    None => draining = true,
                },
                result = writer.write(&self.output), if !self.output.is_empty() => match result {
                    Ok(length) => {
                        self.output.advance(length);
                        self.written += length;
                    }
                    Err(error) => return Answer::Lost(error.to_string()),
                },
                result = read_some(&mut reader, &mut self.input) => {
                    if let Err(error) = result {
                        return Answer::Lost(error.to_string());
                    }
                    if let Err(reason) = self.deliver() {
                        return Answer::Garbled(reason);
                    }
                }
                () = gave_up(wanted), if draining => {}
            }
        }
    }

    /// Takes a call and whatever queued behind it, so that one write carries them all.
    fn take(&mut self, first: Call, queue: &mut mpsc::Receiver<Call>) {
        let mut next = Some(first);
        while let Some(call) = next {
            if !call.answer.is_closed() && call.claim.take() {
                let base = self.appended;
                self.output.extend_from_slice(&call.bytes);
                self.appended += call.bytes.len();
                self.waiting.push_back(Waiting {
                    answers: Vec::with_capacity(call.ends.len()),
                    ends: call.ends.into_iter().map(|end| base + end).collect(),
                    answer: call.answer,
                });
            }
            let room = self.output.len() < OUTPUT_BYTES_SOFT_MAX;
            next = if room { queue.try_recv().ok() } else { None };
        }
    }

    /// Hands every complete reply to its call.
    fn deliver(&mut self) -> Result<(), String> {
        while let Some(value) = next_reply(&mut self.parser, &mut self.input)? {
            if matches!(value, Value::Push(_)) {
                continue;
            }
            let Some(front) = self.waiting.front_mut() else {
                // A node that turns a connection away says why without being asked.
                let Value::Error(text) = value else {
                    return Err("a reply to no command".to_owned());
                };
                return Err(text);
            };
            front.answers.push(Answer::Reply(value));
            if front.answers.len() == front.ends.len() {
                let complete = self.waiting.pop_front().expect("there is a front");
                // The caller may have given up; then nobody wants the reply.
                let _unwanted = complete.answer.send(complete.answers);
            }
        }
        Ok(())
    }
}

impl Waiting {
    /// Answers what has no reply, after `written` bytes of the stream went out.
    fn finish(mut self, written: usize, end: &Answer) {
        for position in &self.ends[self.answers.len()..] {
            self.answers.push(match (end, *position <= written) {
                (_, true) => end.clone(),
                (Answer::Lost(reason) | Answer::Garbled(reason), false) => {
                    Answer::NotSent(reason.clone())
                }
                (Answer::Reply(_) | Answer::NotSent(_), false) => end.clone(),
            });
        }
        let _unwanted = self.answer.send(self.answers);
    }
}

impl Call {
    /// Answers a call that never left the queue.
    fn refuse(self, end: &Answer) {
        let waiting = Waiting { ends: self.ends, answers: Vec::new(), answer: self.answer };
        waiting.finish(0, end);
    }
}

/// Completes when the caller of `waiting` does not want its replies any more.
async fn gave_up(waiting: Option<&mut Waiting>) {
    match waiting {
        Some(waiting) => waiting.answer.closed().await,
        None => std::future::pending().await,
    }
}
