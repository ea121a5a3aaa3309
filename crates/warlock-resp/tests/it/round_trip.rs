//! Whatever one end writes, the other end reads.

use proptest::collection::vec;
use proptest::prelude::*;
use warlock_resp::{Protocol, ReplyLimits, ReplyWriter, RequestLimits, Value, encode_request};

use crate::connection::{Event, replies, requests};

/// `input` cut at `cuts`, taken modulo its length.
fn cut<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    places.extend([0, input.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

/// An inline line that Redis's own tools would print for `args`.
fn quoted(args: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for arg in args {
        line.push(b'"');
        for &byte in arg {
            match byte {
                b'\n' => line.extend(b"\\n"),
                b'"' | b'\\' => line.extend([b'\\', byte]),
                b' '..=b'~' => line.push(byte),
                _ => line.extend(format!("\\x{byte:02x}").bytes()),
            }
        }
        line.extend(b"\" ");
    }
    line.extend(b"\r\n");
    line
}

fn value() -> impl Strategy<Value = Value> {
    let text = || "[ -~]{0,12}";
    let bytes = || vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![
        text().prop_map(Value::Simple),
        text().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        bytes().prop_map(Value::Bulk),
        Just(Value::Null),
        any::<f64>().prop_filter("equal to itself", |x| !x.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        ("[a-z]{3}", bytes()).prop_map(|(format, text)| Value::Verbatim {
            format: format.into_bytes().try_into().expect("three letters"),
            text,
        }),
        "-?[0-9]{1,40}".prop_map(Value::BigNumber),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec(inner.clone(), 0..5).prop_map(Value::Set),
            vec(inner.clone(), 0..5).prop_map(Value::Push),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
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
            writer.verbatim(std::str::from_utf8(format).expect("three letters"), text);
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

/// What is left of a value when RESP2 carries it.
fn as_resp2(value: Value) -> Value {
    let all = |values: Vec<Value>| Value::Array(values.into_iter().map(as_resp2).collect());
    match value {
        Value::Array(values) | Value::Set(values) | Value::Push(values) => all(values),
        Value::Map(pairs) => all(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        Value::Boolean(value) => Value::Integer(i64::from(value)),
        Value::Verbatim { text, .. } => Value::Bulk(text),
        Value::BigNumber(digits) => Value::Bulk(digits.into_bytes()),
        Value::Double(value) => {
            let mut text = Vec::new();
            ReplyWriter::new(&mut text, Protocol::Resp3).double(value);
            Value::Bulk(text[1..text.len() - 2].to_vec())
        }
        Value::Simple(_) | Value::Error(_) | Value::Integer(_) | Value::Bulk(_) | Value::Null => {
            value
        }
    }
}

proptest! {
    #[test]
    fn requests_arrive_as_sent(
        sent in vec((vec(vec(any::<u8>(), 0..40), 1..6), any::<bool>()), 1..5),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for (args, inline) in sent {
            if inline {
                input.extend(quoted(&args));
                expected.push(Event::Inline(args));
            } else {
                encode_request(args.iter().map(Vec::as_slice), &mut input);
                expected.push(Event::Array(args));
            }
        }
        let pieces = cut(&input, &cuts);
        prop_assert_eq!(requests(RequestLimits::AUTHENTICATED, pieces), (expected, 0));
    }

    #[test]
    fn replies_arrive_as_written(
        sent in vec(value(), 1..4),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut input = Vec::new();
            let mut writer = ReplyWriter::new(&mut input, protocol);
            sent.iter().for_each(|value| write(value, &mut writer));
            let expected = sent.iter().cloned().map(|value| Event::Reply(match protocol {
                Protocol::Resp2 => as_resp2(value),
                Protocol::Resp3 => value,
            }));
            let (events, left) = replies(ReplyLimits::DEFAULT, cut(&input, &cuts));
            prop_assert_eq!(events, expected.collect::<Vec<_>>());
            prop_assert_eq!(left, 0);
        }
    }
}
