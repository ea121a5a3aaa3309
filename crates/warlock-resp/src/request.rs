//! A parsed request: where its arguments are, and a view of them.

use alloc::vec::Vec;
use core::ops::Index;

use crate::limits::{RETAINED_ARGUMENTS, RETAINED_INLINE_LENGTH};

/// Positions of a request's arguments. Reusable: a warm one costs no allocation per request.
#[derive(Clone, Debug, Default)]
pub struct RequestSpans {
    pub(crate) spans: Vec<Span>,
    /// Arguments of an inline request without their quotes, one after the other.
    pub(crate) unquoted: Vec<u8>,
    pub(crate) inline: bool,
}

impl RequestSpans {
    /// The request that the parser completed last with these spans; `input` is what it was given.
    ///
    /// # Panics
    /// Using the result may panic if `input` is shorter than the completed request.
    #[must_use]
    pub fn request<'a>(&'a self, input: &'a [u8]) -> Request<'a> {
        let bytes = if self.inline { &self.unquoted } else { input };
        Request { bytes, spans: &self.spans }
    }

    /// Whether the request came as an inline command. Otherwise the consumed bytes are the
    /// request's encoding and can be stored or forwarded as they are.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.inline
    }

    /// Forgets the last request, and gives memory back that only a rare request needs.
    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.unquoted.clear();
        self.inline = false;
        if self.spans.capacity() > RETAINED_ARGUMENTS {
            self.spans.shrink_to(RETAINED_ARGUMENTS);
        }
        if self.unquoted.capacity() > RETAINED_INLINE_LENGTH {
            self.unquoted.shrink_to(RETAINED_INLINE_LENGTH);
        }
    }
}

/// Bytes `start..end` of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        let offset = |at: usize| u32::try_from(at).expect("limits keep requests below 4 GiB");
        Self { start: offset(start), end: offset(end) }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// A request: its name and arguments, in place.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Request<'a> {
    /// Number of arguments, the name included; at least 1 in a completed request.
    #[must_use]
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a name: only before the first completed request.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`; the name is at 0.
    #[must_use]
    pub fn arg(self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| span.of(self.bytes))
    }

    /// The name of the command as sent, in any case; empty when there is no request.
    #[must_use]
    pub fn name(self) -> &'a [u8] {
        self.arg(0).unwrap_or_default()
    }

    /// All arguments, the name first.
    pub fn args(self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| span.of(bytes))
    }
}

impl Index<usize> for Request<'_> {
    type Output = [u8];

    /// The argument at `index`, for callers that checked [`Request::len`].
    fn index(&self, index: usize) -> &[u8] {
        self.spans[index].of(self.bytes)
    }
}

impl core::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.args().map(<[u8]>::escape_ascii)).finish()
    }
}

/// Whether a request's name shows that a web browser was talked into sending it.
///
/// The server must close such a connection without a reply: the lines that follow are chosen by
/// whoever wrote the web page, and would run as inline commands.
#[must_use]
pub fn looks_like_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}
