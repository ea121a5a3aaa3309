//! One client connection: its socket, its unparsed bytes, and the flow of its commands.

use std::io::{self, ErrorKind, Read};
use std::mem;
use std::sync::Arc;

use mio::net::TcpStream;
use warlock_paxos::Instant;
use warlock_resp::{Progress, RequestParser, RequestSpans};

use warlock_node::seam::ConnectionId;

use super::flow::{Flow, Waiting};
use super::limits::{BUFFER_RETAINED, READS_PER_TURN};
use super::registry::{Client, Usage};
use super::turn::Turn;

/// A client connection of one worker.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) flow: Flow,
    pub(super) stream: TcpStream,
    pub(super) client: Arc<Client>,
    /// The connection is in the worker's list of connections to serve.
    pub(super) queued: bool,
    /// The connection is in the worker's list of connections to flush.
    pub(super) dirty: bool,
    /// Unsent bytes that the worker has counted.
    pub(super) counted_output: usize,
    parser: RequestParser,
    /// Whether the parser has the limits of an authenticated client.
    parser_authenticated: bool,
    /// Bytes of an incomplete request, or of requests that must wait.
    input: Vec<u8>,
    /// The socket may have bytes that were not read.
    readable: bool,
    /// The client has closed its side, or is gone.
    hung_up: bool,
    /// All bytes of the client have been read.
    ended: bool,
    /// Serving stopped because the flow was blocked.
    stalled: bool,
    /// When the client last took a byte, or had none to take.
    progress: Instant,
    published: Option<Usage>,
}

/// What serving a connection led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// Nothing more can be done before an event or an answer.
    Idle,
    /// It has used up its share of the turn.
    More,
    /// The connection is broken.
    Broken,
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        stream: TcpStream,
        client: Arc<Client>,
        turn: &Turn,
    ) -> Self {
        let flow = Flow::new(id, Arc::clone(&client));
        let authenticated = flow.session.authenticated;
        Self {
            id,
            flow,
            stream,
            client,
            queued: false,
            dirty: false,
            counted_output: 0,
            parser: RequestParser::new(turn.front.limits.request(authenticated)),
            parser_authenticated: authenticated,
            input: Vec::new(),
            // Bytes may have come before the socket was registered.
            readable: true,
            hung_up: false,
            ended: false,
            stalled: false,
            progress: turn.now,
            published: None,
        }
    }

    /// Notes what the kernel tells of the socket.
    pub(super) fn note_event(&mut self, readable: bool, hung_up: bool) {
        self.readable |= readable || hung_up;
        self.hung_up |= hung_up;
    }

    /// Parses what is left and reads what has come, as far as the flow lets it. `scratch` is the
    /// buffer that the connections of a worker share.
    pub(super) fn serve(
        &mut self,
        scratch: &mut [u8],
        spans: &mut RequestSpans,
        turn: &mut Turn,
    ) -> Served {
        if mem::take(&mut self.stalled) && !self.input.is_empty() {
            self.parse_kept(spans, turn);
        }
        for _ in 0..READS_PER_TURN {
            if self.flow.blocked(turn) {
                self.stalled = true;
                return Served::Idle;
            }
            if self.ended {
                self.flow.close();
            }
            if !self.readable || self.ended {
                return Served::Idle;
            }
            match self.stream.read(scratch) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    // A socket that gives less than was asked for is empty: when more comes, the
                    // kernel says so. The end of the stream is the exception.
                    self.readable = length == scratch.len() || self.hung_up;
                    self.client.touch(turn.now);
                    turn.count_input(length);
                    self.take(&scratch[..length], spans, turn);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Served::Broken,
            }
        }
        Served::More
    }

    /// Whether serving stopped for a reason that is gone.
    pub(super) fn may_resume(&self, turn: &Turn) -> bool {
        self.stalled && !self.flow.blocked(turn)
    }

    /// Sends what the socket takes, and tells whether the connection is still good.
    pub(super) fn flush(&mut self, turn: &mut Turn) -> io::Result<()> {
        if self.flow.output.pending() == 0 {
            self.progress = turn.now;
            return Ok(());
        }
        let sent = self.flow.output.flush(&mut self.stream)?;
        turn.count_output(sent);
        if sent > 0 {
            self.progress = turn.now;
        }
        Ok(())
    }

    /// Whether the connection has nothing left to do.
    pub(super) fn is_done(&self, turn: &Turn) -> bool {
        if self.ended && self.flow.waiting() == Waiting::ForEver {
            return true;
        }
        self.flow.is_finished() || (turn.stopping && self.flow.is_quiet())
    }

    /// Why the connection should be closed although it is not done, if it should.
    pub(super) fn excess(&self, turn: &Turn) -> Option<&'static str> {
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
    pub(super) fn publish(&mut self) {
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
