//! Commands of one connection that wait for their turn.

use std::collections::VecDeque;

use warlock_resp::{Progress, Request, RequestLimits, RequestParser, RequestSpans, encode_request};

use super::limits::BUFFER_RETAINED;

/// Commands in the order in which they came, as copies: the input buffer moves on.
///
/// They share one buffer, so holding a command back allocates nothing once the buffer is warm.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// Where the first command starts in `bytes`.
    start: usize,
    items: VecDeque<Item>,
    /// Items that are no reads.
    others: usize,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    /// Bytes of its encoding.
    length: usize,
    kind: HeldKind,
}

/// What a held command is, as far as the commands behind it have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldKind {
    /// It only reads the store, so it may go through the log instead.
    Read,
    /// It must run by itself, but changes nothing in the store.
    Local,
    /// It changes the store, or waits for others to have the changes: a read behind it needs a
    /// ticket of its own.
    Barrier,
}

impl Held {
    /// Commands held.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether all held commands are reads of the store.
    pub(super) fn only_reads(&self) -> bool {
        self.others == 0
    }

    /// How many commands stand before the first that a ticket asked for now would not cover.
    pub(super) fn before_barrier(&self) -> usize {
        let barrier = self.items.iter().position(|item| item.kind == HeldKind::Barrier);
        barrier.unwrap_or(self.items.len())
    }

    /// Adds a command.
    pub(super) fn push(&mut self, request: Request<'_>, kind: HeldKind) {
        let before = self.bytes.len();
        encode_request(request.args(), &mut self.bytes);
        self.items.push_back(Item { length: self.bytes.len() - before, kind });
        self.others += usize::from(kind != HeldKind::Read);
    }

    /// The first command.
    pub(super) fn first<'a>(&'a self, spans: &'a mut RequestSpans) -> Option<Request<'a>> {
        let item = self.items.front()?;
        let bytes = &self.bytes[self.start..][..item.length];
        let mut parser = RequestParser::new(RequestLimits::CEILING);
        let progress = parser.parse(bytes, spans).expect("an encoded request is well formed");
        assert!(
            progress == Progress::Complete { consumed: item.length },
            "an encoded request is one request"
        );
        Some(spans.request(bytes))
    }

    /// Removes the first command.
    pub(super) fn pop(&mut self) {
        let Some(item) = self.items.pop_front() else { return };
        self.start += item.length;
        self.others -= usize::from(item.kind != HeldKind::Read);
        if self.items.is_empty() {
            self.clear();
        } else if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Removes all commands.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.items.shrink_to(BUFFER_RETAINED / size_of::<Item>());
        self.bytes.clear();
        self.bytes.shrink_to(BUFFER_RETAINED);
        self.start = 0;
        self.others = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(held: &mut Held, text: &str, kind: HeldKind) {
        let mut input = Vec::new();
        let words: Vec<_> = text.split(' ').map(str::as_bytes).collect();
        encode_request(words.into_iter(), &mut input);
        let mut spans = RequestSpans::default();
        let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
        let _ = parser.parse(&input, &mut spans).unwrap();
        held.push(spans.request(&input), kind);
    }

    fn first(held: &Held) -> Option<String> {
        let mut spans = RequestSpans::default();
        let request = held.first(&mut spans)?;
        Some(String::from_utf8(request.args().collect::<Vec<_>>().join(&b' ')).unwrap())
    }

    #[test]
    fn commands_come_out_in_the_order_in_which_they_went_in() {
        let mut held = Held::default();
        for number in 0..100 {
            push(&mut held, &format!("GET key{number}"), HeldKind::Read);
        }
        for number in 0..100 {
            assert_eq!(first(&held), Some(format!("GET key{number}")));
            held.pop();
            push(&mut held, &format!("GET key{}", number + 100), HeldKind::Read);
        }
        assert_eq!(held.len(), 100);
        for number in 100..200 {
            assert_eq!(first(&held), Some(format!("GET key{number}")));
            held.pop();
        }
        assert_eq!((first(&held), held.bytes(), held.len()), (None, 0, 0));
    }

    #[test]
    fn a_ticket_covers_what_stands_before_the_first_write() {
        let mut held = Held::default();
        assert!(held.only_reads());
        push(&mut held, "GET a", HeldKind::Read);
        assert!(held.only_reads());
        push(&mut held, "PING", HeldKind::Local);
        assert!(!held.only_reads());
        push(&mut held, "SET a 1", HeldKind::Barrier);
        push(&mut held, "GET a", HeldKind::Read);
        assert_eq!(held.before_barrier(), 2);
        held.pop();
        held.pop();
        assert_eq!(held.before_barrier(), 0);
        held.pop();
        assert!(held.only_reads());
        assert_eq!(held.before_barrier(), 1);
    }
}
