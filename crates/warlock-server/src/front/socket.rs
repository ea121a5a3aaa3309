//! The socket of one client connection.

use std::io::{self, ErrorKind, Read};

use mio::net::TcpStream;
use warlock_node::front::{Connection, Turn};
use warlock_resp::RequestSpans;

use super::limits::READS_PER_TURN;

/// A client connection of one worker, with its socket.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) connection: Connection,
    /// The socket is in the worker's list of sockets to serve.
    pub(super) queued: bool,
    /// The socket is in the worker's list of sockets to flush.
    pub(super) dirty: bool,
    /// Unsent bytes that the worker has counted.
    pub(super) counted_output: usize,
    /// The socket may have bytes that were not read.
    readable: bool,
    /// The client has closed its side, or is gone.
    hung_up: bool,
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

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self {
            stream,
            connection,
            queued: false,
            dirty: false,
            counted_output: 0,
            // Bytes may have come before the socket was registered.
            readable: true,
            hung_up: false,
        }
    }

    /// Notes what the kernel tells of the socket.
    pub(super) fn note_event(&mut self, readable: bool, hung_up: bool) {
        self.readable |= readable || hung_up;
        self.hung_up |= hung_up;
    }

    /// Parses what is left and reads what has come, as far as the connection wants it. `scratch` is
    /// the buffer that the connections of a worker share.
    pub(super) fn serve(
        &mut self,
        scratch: &mut [u8],
        spans: &mut RequestSpans,
        turn: &mut Turn,
    ) -> Served {
        self.connection.resume(spans, turn);
        for _ in 0..READS_PER_TURN {
            if !self.connection.wants_input(turn) || !self.readable {
                return Served::Idle;
            }
            match self.stream.read(scratch) {
                Ok(0) => self.connection.end(),
                Ok(length) => {
                    // A socket that gives less than was asked for is empty: when more comes, the
                    // kernel says so. The end of the stream is the exception.
                    self.readable = length == scratch.len() || self.hung_up;
                    self.connection.receive(&scratch[..length], spans, turn);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Served::Broken,
            }
        }
        Served::More
    }

    /// Sends what the socket takes, and tells whether the connection is still good.
    pub(super) fn flush(&mut self, turn: &mut Turn) -> io::Result<()> {
        self.connection.flush(&mut self.stream, turn)
    }
}
