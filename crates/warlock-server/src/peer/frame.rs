//! Frames: how messages stand on a connection after the handshake.
//!
//! ```text
//! length u32 | crc32c u32 of length and payload | payload      (little endian)
//! ```
//! The payload is one message in the encoding of `warlock_paxos`.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use warlock_paxos::{DecodeError, MESSAGE_LENGTH_MAX, Message, decode, encode_in};

use super::limits::{READ_BUFFER_KEPT_MAX, READ_BUFFER_LENGTH};

/// Length of what stands before the payload, in bytes.
const HEAD_LENGTH: usize = 8;

/// Why a connection cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length is zero or above the limit.
    Length(usize),
    /// The checksum does not match: the bytes changed on the way.
    Checksum,
    /// The payload is not a message.
    Message(DecodeError),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => {
                write!(f, "frame of {length} bytes, allowed are 1 to {MESSAGE_LENGTH_MAX}")
            }
            Self::Checksum => f.write_str("frame with a wrong checksum"),
            Self::Message(error) => write!(f, "frame without a message: {error}"),
        }
    }
}

/// Why a message has no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFrame {
    /// It is above the length limit.
    TooLong,
    /// The version does not know such a message, so that nobody who speaks it misses it.
    Unknown,
}

/// The frame of `message` for a peer with which `version` of the messages was agreed on.
///
/// # Errors
/// [`NoFrame`]: it cannot be sent to such a peer.
pub fn encode(version: u8, message: &Message) -> Result<Bytes, NoFrame> {
    let mut bytes = Vec::with_capacity(256);
    bytes.resize(HEAD_LENGTH, 0);
    if !encode_in(version, message, &mut bytes) {
        return Err(NoFrame::Unknown);
    }
    let length = bytes.len() - HEAD_LENGTH;
    if length > MESSAGE_LENGTH_MAX {
        return Err(NoFrame::TooLong);
    }
    let length = u32::try_from(length).map_err(|_| NoFrame::TooLong)?.to_le_bytes();
    let checksum = checksum(length, &bytes[HEAD_LENGTH..]);
    bytes[..4].copy_from_slice(&length);
    bytes[4..HEAD_LENGTH].copy_from_slice(&checksum.to_le_bytes());
    Ok(Bytes::from(bytes))
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// Bytes of one connection that are received and not decoded yet.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: BytesMut,
}

impl FrameBuffer {
    /// A buffer for a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: BytesMut::with_capacity(READ_BUFFER_LENGTH) }
    }

    /// Where the next read appends. Grows with what arrived and not with what a length promises.
    pub fn space(&mut self) -> &mut BytesMut {
        if self.bytes.is_empty() && self.bytes.capacity() > READ_BUFFER_KEPT_MAX {
            self.bytes = BytesMut::with_capacity(READ_BUFFER_LENGTH);
        }
        if self.bytes.capacity() - self.bytes.len() < READ_BUFFER_LENGTH / 4 {
            self.bytes.reserve(self.bytes.len().max(READ_BUFFER_LENGTH));
        }
        &mut self.bytes
    }

    /// Decodes all complete frames.
    ///
    /// # Errors
    /// [`FrameError`]: the connection must be closed, because nothing says where a frame starts.
    pub(super) fn decode(&mut self) -> Result<Vec<Message>, FrameError> {
        let mut messages = Vec::new();
        while let Some(message) = self.next_message()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Decodes the next frame; `None` if it is not complete yet.
    ///
    /// # Errors
    /// [`FrameError`]: the connection must be closed, because nothing says where a frame starts.
    pub fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD_LENGTH>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
        let length = [l0, l1, l2, l3];
        let promised = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if promised == 0 || promised > MESSAGE_LENGTH_MAX {
            return Err(FrameError::Length(promised));
        }
        let Some(payload) = rest.get(..promised) else {
            return Ok(None);
        };
        if checksum(length, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(FrameError::Checksum);
        }
        let message = decode(payload).map_err(FrameError::Message)?;
        self.bytes.advance(HEAD_LENGTH + promised);
        Ok(Some(message))
    }

    /// Whether the received bytes end with a whole frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::{Learn, MESSAGE_VERSION, Slot};

    use super::*;

    fn framed(message: &Message) -> Bytes {
        encode(MESSAGE_VERSION, message).unwrap()
    }

    fn message(position: u64) -> Message {
        Message::Learn(Learn { from: Slot::new(position) })
    }

    fn feed(buffer: &mut FrameBuffer, bytes: &[u8]) {
        buffer.space().extend_from_slice(bytes);
    }

    #[test]
    fn frames_are_decoded_however_they_are_cut() {
        let bytes: Vec<u8> = (0..20).flat_map(|n| framed(&message(n)).to_vec()).collect();
        for step in 1..40 {
            let mut buffer = FrameBuffer::new();
            let mut decoded = Vec::new();
            for part in bytes.chunks(step) {
                feed(&mut buffer, part);
                decoded.extend(buffer.decode().unwrap());
            }
            assert_eq!(decoded, (0..20).map(message).collect::<Vec<_>>());
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = framed(&message(77));
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut buffer = FrameBuffer::new();
            feed(&mut buffer, &bad);
            // A larger length waits for bytes that make the checksum fail when they come.
            feed(&mut buffer, &good.repeat(3));
            match buffer.decode() {
                Ok(messages) => assert_eq!(messages, Vec::new(), "bit {bit}"),
                Err(error) => assert_ne!(error, FrameError::Message(DecodeError::Empty)),
            }
        }
    }

    #[test]
    fn length_is_taken_at_the_limit_and_refused_beyond() {
        for (length, refused) in
            [(0, true), (MESSAGE_LENGTH_MAX, false), (MESSAGE_LENGTH_MAX + 1, true)]
        {
            let mut buffer = FrameBuffer::new();
            feed(&mut buffer, &u32::try_from(length).unwrap().to_le_bytes());
            feed(&mut buffer, &[0; 4]);
            let expected = if refused { Err(FrameError::Length(length)) } else { Ok(Vec::new()) };
            assert_eq!(buffer.decode(), expected);
            assert!(buffer.bytes.capacity() <= 2 * READ_BUFFER_LENGTH, "a promise costs nothing");
        }
    }

    #[test]
    fn large_buffer_is_given_back() {
        let mut buffer = FrameBuffer::new();
        buffer.space().reserve(2 * READ_BUFFER_KEPT_MAX);
        assert!(buffer.space().capacity() <= READ_BUFFER_KEPT_MAX);
    }
}
