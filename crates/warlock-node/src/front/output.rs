//! The replies of one connection that have not been sent.

use std::io::{self, ErrorKind, Write};

use super::limits::BUFFER_RETAINED;

/// Bytes on their way to one client.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Bytes at the front that have been sent.
    sent: usize,
}

impl Output {
    /// Where to append replies.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes that have not been sent.
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends what the socket takes in one call, and says how much that was.
    ///
    /// # Errors
    /// The connection is broken. A full socket is no error: it takes nothing.
    pub(super) fn flush(&mut self, stream: &mut impl Write) -> io::Result<usize> {
        if self.pending() == 0 {
            return Ok(0);
        }
        let taken = loop {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => break taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.sent += taken;
        self.compact();
        Ok(taken)
    }

    /// Gives memory back: all of an empty buffer that a rare reply made large, and the front of
    /// a buffer of which half has been sent, so that a client that is always a bit behind does
    /// not make it grow for ever.
    fn compact(&mut self) {
        if self.pending() == 0 {
            self.bytes.clear();
            self.bytes.shrink_to(BUFFER_RETAINED);
            self.sent = 0;
        } else if self.sent >= self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes at most `room` bytes.
    struct Socket {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= taken;
            self.got.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_byte_is_sent_once_whatever_the_socket_takes() {
        let text: Vec<u8> = (0..=255).collect();
        for room in 1..=text.len() {
            let mut output = Output::default();
            let mut socket = Socket { room: 0, got: Vec::new() };
            output.buffer().extend_from_slice(&text);
            while output.pending() > 0 {
                assert_eq!(output.flush(&mut socket).unwrap(), 0);
                socket.room = room;
                assert!(output.flush(&mut socket).unwrap() > 0);
                socket.room = 0;
            }
            assert_eq!(socket.got, text, "{room} bytes at a time");
        }
    }

    #[test]
    fn a_sent_buffer_keeps_little_memory() {
        let mut output = Output::default();
        output.buffer().resize(BUFFER_RETAINED * 8, b'x');
        let mut socket = Socket { room: usize::MAX, got: Vec::new() };
        output.flush(&mut socket).unwrap();
        assert!(output.bytes.capacity() <= BUFFER_RETAINED * 2);
    }
}
