//! What servers write in both protocol versions, and what clients read.

use warlock_resp::{Protocol, ProtocolError, ReplyLimits, ReplyWriter, Value};

use crate::connection::{Event, however_cut, replies};

fn written(protocol: Protocol, write: impl Fn(&mut ReplyWriter<'_>)) -> String {
    let mut out = Vec::new();
    let mut writer = ReplyWriter::new(&mut out, protocol);
    assert_eq!(writer.protocol(), protocol);
    write(&mut writer);
    String::from_utf8(out).expect("these tests write text")
}

fn read(input: &[u8]) -> Vec<Event> {
    let (events, _) = however_cut(input, |pieces| {
        let (events, left) = replies(ReplyLimits::DEFAULT, pieces.iter().copied());
        // NaN differs from itself: compare what is printed.
        (format!("{events:?}"), left)
    });
    let (parsed, _) = replies(ReplyLimits::DEFAULT, [input]);
    assert_eq!(format!("{parsed:?}"), events);
    parsed
}

#[test]
fn each_type_has_its_form_in_both_versions() {
    type Write = fn(&mut ReplyWriter<'_>);
    let cases: [(Write, &str, &str); 25] = [
        (|w| w.simple("OK"), "+OK\r\n", "+OK\r\n"),
        (|w| w.error("ERR no"), "-ERR no\r\n", "-ERR no\r\n"),
        (|w| w.integer(-42), ":-42\r\n", ":-42\r\n"),
        (|w| w.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (|w| w.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
        (|w| w.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (|w| w.null(), "$-1\r\n", "_\r\n"),
        (|w| w.null_array(), "*-1\r\n", "_\r\n"),
        (|w| w.array(0), "*0\r\n", "*0\r\n"),
        (|w| w.array(1_000_000), "*1000000\r\n", "*1000000\r\n"),
        (|w| w.map(3), "*6\r\n", "%3\r\n"),
        (|w| w.set(3), "*3\r\n", "~3\r\n"),
        (|w| w.push(3), "*3\r\n", ">3\r\n"),
        (|w| w.double(0.1), "$3\r\n0.1\r\n", ",0.1\r\n"),
        (|w| w.double(3.0), "$1\r\n3\r\n", ",3\r\n"),
        (|w| w.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
        (|w| w.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (|w| w.double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
        (|w| w.boolean(true), ":1\r\n", "#t\r\n"),
        (|w| w.boolean(false), ":0\r\n", "#f\r\n"),
        (|w| w.verbatim("txt", b"a b"), "$3\r\na b\r\n", "=7\r\ntxt:a b\r\n"),
        (|w| w.verbatim("md", b""), "$0\r\n\r\n", "=4\r\nmd :\r\n"),
        (|w| w.verbatim("long", b"x"), "$1\r\nx\r\n", "=5\r\nlon:x\r\n"),
        (|w| w.big_number("-123"), "$4\r\n-123\r\n", "(-123\r\n"),
        (|w| w.error("ERR \u{e9}"), "-ERR \u{e9}\r\n", "-ERR \u{e9}\r\n"),
    ];
    for (write, resp2, resp3) in cases {
        assert_eq!(written(Protocol::Resp2, write), resp2);
        assert_eq!(written(Protocol::Resp3, write), resp3);
    }
}

#[test]
fn no_text_can_end_its_line() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let error = written(protocol, |writer| writer.error("ERR a\r\n$3\r\nbad\n\r\n"));
        assert_eq!(error, "-ERR a  $3  bad\r\n");
        let simple = written(protocol, |writer| writer.simple("\na\rb\n+c"));
        assert_eq!(simple, "+ a b +c\r\n");
    }
    let number = written(Protocol::Resp3, |writer| writer.big_number("1\r\n:2"));
    assert_eq!(number, "(1  :2\r\n");
}

#[test]
fn a_client_reads_every_type() {
    let cases: [(&str, Value); 29] = [
        ("+OK\r\n", Value::Simple("OK".into())),
        ("+\r\n", Value::Simple(String::new())),
        ("-ERR no\r\n", Value::Error("ERR no".into())),
        ("!8\r\nERR\r\nxyz\r\n", Value::Error("ERR\r\nxyz".into())),
        (":42\r\n", Value::Integer(42)),
        (":+42\r\n", Value::Integer(42)),
        (":-9223372036854775808\r\n", Value::Integer(i64::MIN)),
        ("$4\r\na\r\nb\r\n", Value::Bulk(b"a\r\nb".to_vec())),
        ("$0\r\n\r\n", Value::Bulk(vec![])),
        ("$-1\r\n", Value::Null),
        ("*-1\r\n", Value::Null),
        ("_\r\n", Value::Null),
        ("*0\r\n", Value::Array(vec![])),
        ("%0\r\n", Value::Map(vec![])),
        ("*2\r\n:1\r\n*1\r\n_\r\n", {
            Value::Array(vec![Value::Integer(1), Value::Array(vec![Value::Null])])
        }),
        ("%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n", {
            let key = |key: &str| Value::Simple(key.into());
            Value::Map(vec![(key("a"), Value::Integer(1)), (key("b"), Value::Array(vec![]))])
        }),
        ("~1\r\n#t\r\n", Value::Set(vec![Value::Boolean(true)])),
        (">1\r\n#f\r\n", Value::Push(vec![Value::Boolean(false)])),
        (",1.5\r\n", Value::Double(1.5)),
        (",-1e-3\r\n", Value::Double(-0.001)),
        (",10\r\n", Value::Double(10.0)),
        (",inf\r\n", Value::Double(f64::INFINITY)),
        (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
        ("=7\r\ntxt:a b\r\n", Value::Verbatim { format: *b"txt", text: b"a b".to_vec() }),
        ("(-123456789012345678901\r\n", Value::BigNumber("-123456789012345678901".into())),
        ("|1\r\n+ttl\r\n:3\r\n:5\r\n", Value::Integer(5)),
        ("|0\r\n:5\r\n", Value::Integer(5)),
        ("*2\r\n|1\r\n+x\r\n*1\r\n:1\r\n:2\r\n:3\r\n", {
            Value::Array(vec![Value::Integer(2), Value::Integer(3)])
        }),
        ("|1\r\n|1\r\n_\r\n_\r\n+a\r\n+b\r\n:1\r\n", Value::Integer(1)),
    ];
    for (input, value) in cases {
        assert_eq!(read(input.as_bytes()), [Event::Reply(value)], "{input:?}");
    }
    for nan in [",nan\r\n", ",-nan\r\n"] {
        let events = read(nan.as_bytes());
        assert!(matches!(events[..], [Event::Reply(Value::Double(value))] if value.is_nan()));
    }
    assert_eq!(read(b"+\xff\r\n"), [Event::Reply(Value::Simple("\u{fffd}".into()))]);
}

#[test]
fn replies_in_a_pipeline_come_one_by_one() {
    let input = b"+OK\r\n*2\r\n$1\r\na\r\n_\r\n>1\r\n+p\r\n:7\r\n";
    let values = [
        Value::Simple("OK".into()),
        Value::Array(vec![Value::Bulk(b"a".to_vec()), Value::Null]),
        Value::Push(vec![Value::Simple("p".into())]),
        Value::Integer(7),
    ];
    assert_eq!(read(input), values.map(Event::Reply));
}

#[test]
fn a_client_refuses_what_is_no_reply() {
    let invalid = ProtocolError::InvalidReply;
    let unknown = |got: u8| ProtocolError::UnknownReplyType { got };
    for (input, error) in [
        ("$?\r\n", ProtocolError::StreamedReply),
        ("*?\r\n", ProtocolError::StreamedReply),
        ("%?\r\n", ProtocolError::StreamedReply),
        ("~?\r\n", ProtocolError::StreamedReply),
        (";4\r\n", ProtocolError::StreamedReply),
        (".\r\n", ProtocolError::StreamedReply),
        ("x\r\n", unknown(b'x')),
        ("\r\n", unknown(b'\r')),
        (":\r\n", invalid),
        (":1x\r\n", invalid),
        (":9223372036854775808\r\n", invalid),
        ("_x\r\n", invalid),
        ("#true\r\n", invalid),
        (",\r\n", invalid),
        (",1,5\r\n", invalid),
        (",infinity\r\n", invalid),
        (",0x1\r\n", invalid),
        ("(\r\n", invalid),
        ("(-\r\n", invalid),
        ("(1.5\r\n", invalid),
        ("$-2\r\n", invalid),
        ("$abc\r\n", invalid),
        ("$3\r\nabcd\r\n", invalid),
        ("=3\r\ntxt\r\n", invalid),
        ("=4\r\ntxt-\r\n", invalid),
        ("!-1\r\n", invalid),
        ("%-1\r\n", invalid),
        ("~-1\r\n", invalid),
        ("+a\nb\r\n", invalid),
        ("+a\rb\r\n", invalid),
    ] {
        assert_eq!(read(input.as_bytes()), [Event::Failed(error)], "{input:?}");
        assert!(error.to_string().starts_with("Protocol error: "));
    }
}
