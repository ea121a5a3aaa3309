//! One client connection without its socket: unparsed bytes, commands in order, unsent replies.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use warlock_paxos::Instant;
use warlock_resp::{Progress, RequestParser, RequestSpans};

use crate::seam::ConnectionId;

use super::flow::{Flow, Waiting};
use super::limits::BUFFER_RETAINED;
use super::registry::{Client, Usage};
use super::turn::Turn;

/// A client connection of one worker.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    flow: Flow,
    client: Arc<Client>,
    parser: RequestParser,
    /// Whether the parser has the limits of an authenticated client.
    parser_authenticated: bool,
    /// Bytes of an incomplete request, or of requests that must wait.
    input: Vec<u8>,
    /// All bytes of the client have been received.
    ended: bool,
    /// Receiving stopped because the flow was blocked.
    stalled: bool,
    /// When the client last took a byte, or had none to take.
    progress: Instant,
    published: Option<Usage>,
}

impl Connection {
    /// A new connection of `client`; `id` is never used twice by a worker.
    #[must_use]
    pub fn new(id: ConnectionId, client: Arc<Client>, turn: &Turn) -> Self {
        let flow = Flow::new(id, Arc::clone(&client));
        let authenticated = flow.session.authenticated;
        Self {
            id,
            flow,
            client,
            parser: RequestParser::new(turn.front.limits.request(authenticated)),
            parser_authenticated: authenticated,
            input: Vec::new(),
            ended: false,
            stalled: false,
            progress: turn.now,
            published: None,
        }
    }

    /// Names the connection in chunks and answers.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// What others may see of the connection.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Bytes of replies that have not been sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.flow.output.pending()
    }

    /// Goes on with bytes that were received and had to wait. To be called before anything is
    /// received in a turn.
    pub fn resume(&mut self, spans: &mut RequestSpans, turn: &mut Turn) {
        if mem::take(&mut self.stalled) && !self.input.is_empty() {
            self.parse_kept(spans, turn);
        }
    }

    /// Whether bytes of the client are to be received now. If not, then because there will be none,
    /// or until [`Self::may_resume`].
    pub fn wants_input(&mut self, turn: &Turn) -> bool {
        if self.flow.blocked(turn) {
            self.stalled = true;
            return false;
        }
        if self.ended {
            self.flow.close();
        }
        !self.ended
    }

    /// Takes bytes of the client, of any number and wherever they were cut.
    pub fn receive(&mut self, bytes: &[u8], spans: &mut RequestSpans, turn: &mut Turn) {
        self.client.touch(turn.now);
        turn.count_input(bytes.len());
        self.take(bytes, spans, turn);
    }

    /// The client will send nothing more; what it has sent is still answered.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Takes the reply to the oldest command that was sent to the log.
    ///
    /// # Panics
    /// If no command is in the log: the core answers each command once.
    pub fn on_reply(&mut self, bytes: &[u8], turn: &mut Turn) {
        self.flow.on_reply(bytes, turn);
    }

    /// Takes the answer to `ticket`, which [`Turn::redeem`] said this connection waits for.
    pub fn on_indexed(&mut self, ticket: u64, allowed: bool, turn: &mut Turn) {
        self.flow.on_indexed(ticket, allowed, turn);
    }

    /// Takes the answer to `WAIT`.
    pub fn on_held(&mut self, replicas: u64, turn: &mut Turn) {
        self.flow.on_held(replicas, turn);
    }

    /// Takes the answer to an operation.
    pub fn on_operated(&mut self, outcome: Result<String, String>, turn: &mut Turn) {
        self.flow.on_operated(outcome, turn);
    }

    /// Runs commands whose turn has come. To be called when all answers of the turn are in: a held
    /// read may need the last of them.
    pub fn advance(&mut self, turn: &mut Turn) {
        self.flow.advance(turn);
    }

    /// Tells that `ticket` is about to be asked for; answers whether a read here waits for it.
    pub fn cover(&mut self, ticket: u64) -> bool {
        self.flow.cover(ticket)
    }

    /// Ends the connection: whatever was asked for it is for nobody, and it is listed no more.
    pub fn abandon(&mut self, turn: &mut Turn) {
        self.flow.abandon(turn);
        turn.front.leave(&self.client);
    }

    /// Whether serving stopped for a reason that is gone.
    #[must_use]
    pub fn may_resume(&self, turn: &Turn) -> bool {
        self.stalled && !self.flow.blocked(turn)
    }

    /// Sends what `stream` takes in one call.
    ///
    /// # Errors
    /// The connection is broken. A full socket is no error: it takes nothing.
    pub fn flush(&mut self, stream: &mut impl Write, turn: &mut Turn) -> io::Result<()> {
        if self.flow.output.pending() == 0 {
            self.progress = turn.now;
            return Ok(());
        }
        let sent = self.flow.output.flush(stream)?;
        turn.count_output(sent);
        if sent > 0 {
            self.progress = turn.now;
        }
        Ok(())
    }

    /// Whether the connection has nothing left to do.
    #[must_use]
    pub fn is_done(&self, turn: &Turn) -> bool {
        if self.ended && self.flow.waiting() == Waiting::ForEver {
            return true;
        }
        self.flow.is_finished() || (turn.stopping && self.flow.is_quiet())
    }

    /// Why the connection should be closed although it is not done, if it should.
    #[must_use]
    pub fn excess(&self, turn: &Turn) -> Option<&'static str> {
        let limits = &turn.front.limits;
        if self.flow.output.pending() > limits.output_hard {
            return Some("its unsent replies are past the hard limit");
        }
        let stalled = turn.now.since(self.progress);
        if self.flow.over_soft_limit(turn) && stalled > limits.output_stall {
            return Some("it does not read its replies");
        }
        let idle = turn.now.since(self.client.seen());
        if limits.idle.is_some_and(|limit| idle > limit) && self.flow.is_quiet() {
            return Some("it is idle");
        }
        None
    }

    /// Publishes what others may see of the connection.
    pub fn publish(&mut self) {
        let usage = Usage {
            command: self.flow.session.command,
            database: self.flow.session.database,
            protocol: self.flow.session.protocol,
            input: self.input.len() + self.flow.held_bytes(),
            output: self.flow.output.pending(),
            waiting: self.flow.unanswered(),
        };
        if self.published != Some(usage) {
            self.client.publish(usage);
            self.published = Some(usage);
        }
    }

    /// Parses `bytes`, which follow what is kept, and keeps what is incomplete.
    fn take(&mut self, bytes: &[u8], spans: &mut RequestSpans, turn: &mut Turn) {
        if self.input.is_empty() {
            // The common case: whole requests, parsed where they were read.
            let consumed = self.parse(bytes, spans, turn);
            self.input.extend_from_slice(&bytes[consumed..]);
        } else {
            self.input.extend_from_slice(bytes);
            self.parse_kept(spans, turn);
        }
    }

    fn parse_kept(&mut self, spans: &mut RequestSpans, turn: &mut Turn) {
        let mut input = mem::take(&mut self.input);
        let consumed = self.parse(&input, spans, turn);
        input.drain(..consumed);
        if input.capacity() / 4 > input.len() {
            input.shrink_to(input.len().max(BUFFER_RETAINED));
        }
        self.input = input;
    }

    /// Hands all complete requests of `input` to the flow, and says how many bytes they were.
    fn parse(&mut self, input: &[u8], spans: &mut RequestSpans, turn: &mut Turn) -> usize {
        let mut start = 0;
        while start < input.len() {
            if self.flow.blocked(turn) {
                self.stalled = true;
                break;
            }
            let rest = &input[start..];
            match self.parser.parse(rest, spans) {
                Ok(Progress::Complete { consumed }) => {
                    self.flow.accept(spans.request(rest), spans.is_inline(), turn);
                    self.follow_authentication(turn);
                    start += consumed;
                }
                Ok(Progress::Empty { consumed }) => start += consumed,
                Ok(Progress::Incomplete) => break,
                Err(error) => {
                    self.flow.fail(format!("ERR {error}"));
                    return input.len();
                }
            }
        }
        start
    }

    /// Limits depend on who the client is; the next request may follow in the same bytes.
    fn follow_authentication(&mut self, turn: &Turn) {
        let authenticated = self.flow.session.authenticated;
        if authenticated != self.parser_authenticated {
            self.parser.set_limits(turn.front.limits.request(authenticated));
            self.parser_authenticated = authenticated;
        }
    }
}
