//! Load on a server that speaks the Redis protocol: one thread, one event loop, one read and one
//! write for each batch of a connection, like the servers themselves.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::reply::{ReplyKind, reply_text, scan_reply};
use crate::workload::{
    Budget, KEY_LENGTH, Load, OperationSource, Outcome, Recorder, Stop, Workload,
};
use crate::{Error, Result, error::Context as _};

/// How long the loop waits for any reply at all before it gives up on the server.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Connections to one server, with a workload for it.
#[derive(Debug)]
pub struct RespLoad {
    poll: Poll,
    events: Events,
    clients: Clients,
}

impl RespLoad {
    /// Connects all connections of `workload` to `address`.
    pub fn connect(address: SocketAddr, workload: &Workload) -> Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(workload.connections);
        for index in 0..workload.connections {
            let stream = std::net::TcpStream::connect(address)
                .context(format_args!("cannot connect to {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest)?;
            connections.push(Connection::new(stream));
        }
        let encoder = Encoder::new(workload);
        let clients = Clients { connections, encoder, pipeline: workload.pipeline };
        Ok(Self { poll, events: Events::with_capacity(1_024), clients })
    }
}

impl Load for RespLoad {
    fn run(&mut self, stop: Stop) -> Result<Outcome> {
        let mut recorder = Recorder::start()?;
        let mut budget = Budget::new(stop, recorder.started());
        let mut busy = 0_usize;
        for index in 0..self.clients.connections.len() {
            busy += usize::from(self.clients.start_batch(index, &mut budget)?);
        }
        while busy > 0 {
            match self.poll.poll(&mut self.events, Some(SILENCE_MAX)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            if self.events.is_empty() {
                let seconds = SILENCE_MAX.as_secs();
                return Err(Error::new(format!("no reply for {seconds} s")));
            }
            for event in &self.events {
                let index = event.token().0;
                let answered = self.clients.on_ready(index, &mut recorder)?;
                if answered && !self.clients.start_batch(index, &mut budget)? {
                    busy -= 1;
                }
            }
        }
        Ok(recorder.finish())
    }
}

/// All connections of a load and what they send.
#[derive(Debug)]
struct Clients {
    connections: Vec<Connection>,
    encoder: Encoder,
    pipeline: usize,
}

impl Clients {
    /// Gives connection `index` its next batch; says whether the budget had one.
    fn start_batch(&mut self, index: usize, budget: &mut Budget) -> Result<bool> {
        let now = Instant::now();
        let count = budget.take(self.pipeline, now);
        if count == 0 {
            return Ok(false);
        }
        let connection = &mut self.connections[index];
        for _ in 0..count {
            self.encoder.append_operation(&mut connection.output);
        }
        connection.outstanding = count;
        connection.sent_at = now;
        connection.flush()?;
        Ok(true)
    }

    /// Handles readiness of connection `index`; says whether its batch has been answered.
    fn on_ready(&mut self, index: usize, recorder: &mut Recorder) -> Result<bool> {
        let connection = &mut self.connections[index];
        if connection.outstanding == 0 {
            return Ok(false);
        }
        connection.flush()?;
        connection.receive(recorder)?;
        Ok(connection.outstanding == 0)
    }
}

/// One connection and the batch it waits for.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    outstanding: usize,
    sent_at: Instant,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            output: Vec::new(),
            written: 0,
            input: vec![0; INPUT_LENGTH],
            filled: 0,
            outstanding: 0,
            sent_at: Instant::now(),
        }
    }

    /// Writes what the socket takes; the rest follows when it is writable again.
    fn flush(&mut self) -> Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(Error::new("the server takes no more bytes")),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads replies until the batch is answered or the socket is empty. A short read means an
    /// empty socket, and bytes that come later raise a new event.
    fn receive(&mut self, recorder: &mut Recorder) -> Result<()> {
        while self.outstanding > 0 {
            let room = self.input.len() - self.filled;
            let count = match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err(Error::new("the server closed a connection")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.filled += count;
            self.take_replies(recorder)?;
            if count < room {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take_replies(&mut self, recorder: &mut Recorder) -> Result<()> {
        let (mut consumed, mut answered) = (0, 0);
        while let Some(reply) = scan_reply(&self.input[consumed..self.filled])? {
            let bytes = &self.input[consumed..consumed + reply.length];
            match reply.kind {
                ReplyKind::Value => {}
                ReplyKind::Null => recorder.record_miss(),
                ReplyKind::Error => {
                    return Err(Error::new(format!("the server says: {}", reply_text(bytes))));
                }
            }
            consumed += reply.length;
            answered += 1;
        }
        if answered > self.outstanding {
            return Err(Error::new("the server sent a reply that nobody asked for"));
        }
        recorder.record(self.sent_at.elapsed(), answered as u64);
        self.outstanding -= answered;
        self.input.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        Ok(())
    }
}

/// Writes operations as requests. All but key and value is the same every time.
#[derive(Debug)]
struct Encoder {
    source: OperationSource,
    value_length: usize,
    get_head: Vec<u8>,
    set_head: Vec<u8>,
    value_head: Vec<u8>,
}

impl Encoder {
    fn new(workload: &Workload) -> Self {
        Self {
            source: OperationSource::new(workload),
            value_length: workload.value_length,
            get_head: format!("*2\r\n$3\r\nGET\r\n${KEY_LENGTH}\r\n").into_bytes(),
            set_head: format!("*3\r\n$3\r\nSET\r\n${KEY_LENGTH}\r\n").into_bytes(),
            value_head: format!("\r\n${}\r\n", workload.value_length).into_bytes(),
        }
    }

    fn append_operation(&mut self, out: &mut Vec<u8>) {
        let operation = self.source.next_operation();
        if operation.read {
            out.extend_from_slice(&self.get_head);
            out.extend_from_slice(&operation.key);
        } else {
            out.extend_from_slice(&self.set_head);
            out.extend_from_slice(&operation.key);
            out.extend_from_slice(&self.value_head);
            self.source.append_value(self.value_length, out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// First size of a connection's input buffer; it grows to hold any one reply.
const INPUT_LENGTH: usize = 16 * 1_024;
