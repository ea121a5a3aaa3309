//! Replies from a faulty server: no panic, no deep recursion, the same however the network cuts
//! the bytes, and what was understood survives being written and read again.
//!
//! The first two bytes of the data choose the limits and the cut; the rest is the connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warlock_resp::{Protocol, ProtocolError, ReplyLimits, ReplyParser, ReplyWriter, Value};

fuzz_target!(|data: &[u8]| {
    let [selector, step, input @ ..] = data else { return };
    let limits = if selector % 2 == 0 { ReplyLimits::DEFAULT } else { SMALL };
    let whole = read(limits, [input]);
    let cut = usize::from(*step) % (input.len() + 1);
    let (left, right) = input.split_at(cut);
    check_same(&read(limits, [left, right]), &whole);
    check_same(&read(limits, input.chunks(usize::from(*step % 8) + 1)), &whole);
    for value in &whole.0 {
        check_written(value, Protocol::Resp3);
        check_written(value, Protocol::Resp2);
    }
});

type Outcome = (Vec<Value>, Option<ProtocolError>, usize);

fn read<'a>(limits: ReplyLimits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut parser = ReplyParser::new(limits);
    let mut buffer = Vec::new();
    let mut values = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.parse(&buffer) {
                Ok(None) => break,
                Ok(Some((value, consumed))) => {
                    values.push(value);
                    buffer.drain(..consumed);
                }
                Err(error) => return (values, Some(error), 0),
            }
        }
    }
    (values, None, buffer.len())
}

/// Compares what is printed, because NaN differs from itself.
fn check_same(left: &Outcome, right: &Outcome) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

fn check_written(value: &Value, protocol: Protocol) {
    let mut bytes = Vec::new();
    write(value, &mut ReplyWriter::new(&mut bytes, protocol));
    let limits = ReplyLimits { line_length: usize::MAX, ..ReplyLimits::DEFAULT };
    let parsed = ReplyParser::new(limits).parse(&bytes).expect("valid");
    let (parsed, consumed) = parsed.expect("complete");
    assert_eq!(consumed, bytes.len());
    if protocol == Protocol::Resp3 {
        let mut again = Vec::new();
        write(&parsed, &mut ReplyWriter::new(&mut again, protocol));
        assert_eq!(again, bytes);
    }
}

fn write(value: &Value, writer: &mut ReplyWriter<'_>) {
    match value {
        Value::Simple(text) => writer.simple(text),
        Value::Error(text) => writer.error(text),
        Value::Integer(value) => writer.integer(*value),
        Value::Bulk(bytes) => writer.bulk(bytes),
        Value::Null => writer.null(),
        Value::Double(value) => writer.double(*value),
        Value::Boolean(value) => writer.boolean(*value),
        Value::Verbatim { format, text } => {
            // A format that is no text cannot be written; its place is what counts here.
            writer.verbatim(std::str::from_utf8(format).unwrap_or("txt"), text);
        }
        Value::BigNumber(digits) => writer.big_number(digits),
        Value::Array(values) => {
            writer.array(values.len());
            values.iter().for_each(|value| write(value, writer));
        }
        Value::Set(values) => {
            writer.set(values.len());
            values.iter().for_each(|value| write(value, writer));
        }
        Value::Push(values) => {
            writer.push(values.len());
            values.iter().for_each(|value| write(value, writer));
        }
        Value::Map(pairs) => {
            writer.map(pairs.len());
            for (key, value) in pairs {
                write(key, writer);
                write(value, writer);
            }
        }
    }
}

/// Limits that short inputs reach.
const SMALL: ReplyLimits =
    ReplyLimits { line_length: 16, bulk_length: 12, values: 6, depth: 2, reply_length: 60 };
