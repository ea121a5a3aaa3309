//! Doubles of both ends of a connection, fed in pieces.

use warlock_resp::{
    Progress, ProtocolError, ReplyLimits, ReplyParser, RequestLimits, RequestParser, RequestSpans,
    Value,
};

/// What one end of a connection got out of the bytes, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A request without a command.
    Empty,
    /// The arguments of an array.
    Array(Vec<Vec<u8>>),
    /// The words of an inline request.
    Inline(Vec<Vec<u8>>),
    /// A reply.
    Reply(Value),
    /// The end: nothing follows.
    Failed(ProtocolError),
}

/// All requests in `pieces`, which arrive one after the other, and the bytes left over.
pub(crate) fn requests<'a>(
    limits: RequestLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, usize) {
    let mut parser = RequestParser::new(limits);
    // Another connection may use the same spans in between: nothing may depend on their content.
    let mut stranger = RequestParser::new(RequestLimits::AUTHENTICATED);
    let mut spans = RequestSpans::default();
    let mut buffer = Vec::new();
    let mut events = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let progress = match parser.parse(&buffer, &mut spans) {
                Ok(progress) => progress,
                Err(error) => {
                    assert_eq!(parser.parse(&buffer, &mut spans), Err(error));
                    events.push(Event::Failed(error));
                    return (events, 0);
                }
            };
            let consumed = match progress {
                Progress::Incomplete => break,
                Progress::Empty { consumed } => {
                    events.push(Event::Empty);
                    consumed
                }
                Progress::Complete { consumed } => {
                    let request = spans.request(&buffer);
                    assert!(!request.is_empty());
                    assert_eq!(request.name(), &request[0]);
                    let args = request.args().map(<[u8]>::to_vec).collect();
                    let event = if spans.is_inline() { Event::Inline } else { Event::Array };
                    events.push(event(args));
                    consumed
                }
            };
            assert!(consumed > 0 && consumed <= buffer.len());
            buffer.drain(..consumed);
        }
        let other = b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n";
        let progress = stranger.parse(other, &mut spans);
        assert_eq!(progress, Ok(Progress::Complete { consumed: other.len() }));
        assert_eq!(spans.request(other).len(), 2);
    }
    (events, buffer.len())
}

/// All replies in `pieces`, which arrive one after the other, and the bytes left over.
pub(crate) fn replies<'a>(
    limits: ReplyLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, usize) {
    let mut parser = ReplyParser::new(limits);
    let mut buffer = Vec::new();
    let mut events = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.parse(&buffer) {
                Ok(None) => break,
                Ok(Some((value, consumed))) => {
                    events.push(Event::Reply(value));
                    buffer.drain(..consumed);
                }
                Err(error) => {
                    assert_eq!(parser.parse(&buffer), Err(error));
                    events.push(Event::Failed(error));
                    return (events, 0);
                }
            }
        }
    }
    (events, buffer.len())
}

/// Runs `look` on `input` whole, cut once at every place, twice at every two places if it is
/// short, and byte by byte: all agree.
pub(crate) fn however_cut<T: PartialEq + std::fmt::Debug>(
    input: &[u8],
    look: impl Fn(&[&[u8]]) -> T,
) -> T {
    let whole = look(&[input]);
    for cut in 0..=input.len() {
        let (left, right) = input.split_at(cut);
        assert_eq!(look(&[left, right]), whole, "cut at {cut}: {}", input.escape_ascii());
        if input.len() > CUT_TWICE_LENGTH_MAX {
            continue;
        }
        for second in 0..=right.len() {
            let (middle, right) = right.split_at(second);
            let seen = look(&[left, middle, right]);
            assert_eq!(seen, whole, "cut at {cut} and {second}: {}", input.escape_ascii());
        }
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(look(&bytes), whole, "byte by byte: {}", input.escape_ascii());
    whole
}

/// Longer inputs are cut once only: the number of pairs of places grows with the square.
const CUT_TWICE_LENGTH_MAX: usize = 100;
