//! Replies of any command as text: typed as `redis-cli` does it, raw, or JSON.

use serde_json::{Map, Value as Json, json};
use warlock_client::Value;

/// The form for people: every type can be told from the others.
pub(crate) fn typed(value: &Value) -> String {
    let mut out = String::new();
    write_typed(value, "", &mut out);
    out
}

/// The form for pipes: nothing but the bytes, one value a line.
pub(crate) fn raw(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_raw(value, &mut out);
    out
}

/// The form for programs. Strings that are no UTF-8 become `{"hex": "..."}`.
pub(crate) fn json(value: &Value) -> Json {
    match value {
        Value::Simple(text) | Value::BigNumber(text) => json!(text),
        Value::Error(text) => json!({ "error": text }),
        Value::Integer(number) => json!(number),
        Value::Bulk(bytes) | Value::Verbatim { text: bytes, .. } => json_bytes(bytes),
        Value::Null => Json::Null,
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            values.iter().map(json).collect()
        }
        Value::Map(pairs) => json_map(pairs),
        Value::Double(number) if number.is_finite() => json!(number),
        Value::Double(number) => json!(number.to_string()),
        Value::Boolean(truth) => json!(truth),
    }
}

fn json_bytes(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

/// An object if all keys are texts, else an array of pairs.
fn json_map(pairs: &[(Value, Value)]) -> Json {
    let entry = |(key, value): &(Value, Value)| match json(key) {
        Json::String(key) => Some((key, json(value))),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
    };
    match pairs.iter().map(entry).collect::<Option<Map<_, _>>>() {
        Some(object) => Json::Object(object),
        None => pairs.iter().map(|(key, value)| json!([json(key), json(value)])).collect(),
    }
}

fn write_typed(value: &Value, indent: &str, out: &mut String) {
    match value {
        Value::Simple(text) => push_line(text, out),
        Value::Error(text) => push_line(&format!("(error) {text}"), out),
        Value::Integer(number) => push_line(&format!("(integer) {number}"), out),
        Value::Bulk(bytes) => push_line(&quoted(bytes), out),
        Value::Null => push_line("(nil)", out),
        Value::Array(values) | Value::Push(values) => {
            write_list(values, ')', "(empty array)", indent, out);
        }
        Value::Set(values) => write_list(values, '~', "(empty set)", indent, out),
        Value::Map(pairs) => write_pairs(pairs, indent, out),
        Value::Double(number) => push_line(&format!("(double) {number}"), out),
        Value::Boolean(truth) => push_line(&format!("({truth})"), out),
        Value::Verbatim { text, .. } => push_line(&String::from_utf8_lossy(text), out),
        Value::BigNumber(digits) => push_line(digits, out),
    }
}

fn push_line(text: &str, out: &mut String) {
    out.push_str(text);
    if !text.ends_with('\n') {
        out.push('\n');
    }
}

/// Numbers are aligned, and what is nested starts below the first value.
fn write_list(values: &[Value], mark: char, empty: &str, indent: &str, out: &mut String) {
    if values.is_empty() {
        push_line(empty, out);
    }
    let width = values.len().to_string().len();
    let inner = format!("{indent}{:width$}  ", "");
    for (number, value) in (1..).zip(values) {
        let margin = if number == 1 { "" } else { indent };
        out.push_str(&format!("{margin}{number:>width$}{mark} "));
        write_typed(value, &inner, out);
    }
}

fn write_pairs(pairs: &[(Value, Value)], indent: &str, out: &mut String) {
    if pairs.is_empty() {
        push_line("(empty hash)", out);
    }
    let width = pairs.len().to_string().len();
    let inner = format!("{indent}{:width$}  ", "");
    for (number, (key, value)) in (1..).zip(pairs) {
        let margin = if number == 1 { "" } else { indent };
        let mut key_text = String::new();
        write_typed(key, &inner, &mut key_text);
        out.push_str(&format!("{margin}{number:>width$}# {} => ", key_text.trim_end()));
        if has_lines(value) {
            out.push('\n');
            out.push_str(&inner);
        }
        write_typed(value, &inner, out);
    }
}

/// Whether the typed form takes several lines.
fn has_lines(value: &Value) -> bool {
    match value {
        Value::Array(values) | Value::Push(values) | Value::Set(values) => {
            values.len() > 1 || values.iter().any(has_lines)
        }
        Value::Map(pairs) => pairs.len() > 1 || pairs.iter().any(|(_, value)| has_lines(value)),
        Value::Simple(_)
        | Value::Error(_)
        | Value::Integer(_)
        | Value::Bulk(_)
        | Value::Null
        | Value::Double(_)
        | Value::Boolean(_)
        | Value::Verbatim { .. }
        | Value::BigNumber(_) => false,
    }
}

/// In quotes, with escapes for what a terminal would not show.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('"');
    out
}

fn write_raw(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            return values.iter().for_each(|value| write_raw(value, out));
        }
        Value::Map(pairs) => {
            return pairs.iter().for_each(|(key, value)| {
                write_raw(key, out);
                write_raw(value, out);
            });
        }
        Value::Bulk(bytes) | Value::Verbatim { text: bytes, .. } => out.extend_from_slice(bytes),
        Value::Simple(text) | Value::Error(text) | Value::BigNumber(text) => {
            out.extend_from_slice(text.as_bytes());
        }
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Boolean(truth) => out.extend_from_slice(truth.to_string().as_bytes()),
        Value::Null => {}
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json as object;
    use warlock_client::Value;

    use super::{json, raw, typed};

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn typed_replies_look_like_those_of_redis_cli() {
        for (value, text) in [
            (Value::Simple("OK".to_owned()), "OK\n"),
            (Value::Error("ERR no".to_owned()), "(error) ERR no\n"),
            (Value::Integer(-7), "(integer) -7\n"),
            (Value::Null, "(nil)\n"),
            (Value::Double(1.5), "(double) 1.5\n"),
            (Value::Boolean(true), "(true)\n"),
            (Value::Array(Vec::new()), "(empty array)\n"),
            (Value::Map(Vec::new()), "(empty hash)\n"),
            (Value::Bulk(b"a\"\\\n\x01\xff".to_vec()), "\"a\\\"\\\\\\n\\x01\\xff\"\n"),
            (Value::Verbatim { format: *b"txt", text: b"two\nlines".to_vec() }, "two\nlines\n"),
        ] {
            assert_eq!(typed(&value), text, "{value:?}");
        }
    }

    #[test]
    fn nested_replies_are_indented_below_their_first_value() {
        let inner = Value::Array(vec![Value::Integer(1), Value::Null]);
        let mut values = vec![bulk("x"), inner.clone()];
        let text = "1) \"x\"\n2) 1) (integer) 1\n   2) (nil)\n";
        assert_eq!(typed(&Value::Array(values.clone())), text);
        values.extend(vec![Value::Integer(0); 8]);
        let text = typed(&Value::Array(values));
        assert!(text.starts_with(" 1) \"x\"\n 2) 1) (integer) 1\n    2) (nil)\n"), "{text}");
        assert!(text.ends_with("10) (integer) 0\n"), "{text}");
        let map = Value::Map(vec![(bulk("a"), Value::Integer(1)), (bulk("b"), inner)]);
        let text = "1# \"a\" => (integer) 1\n2# \"b\" => \n   1) (integer) 1\n   2) (nil)\n";
        assert_eq!(typed(&map), text);
    }

    #[test]
    fn raw_replies_are_the_bytes_and_nothing_else() {
        let map = Value::Map(vec![(bulk("a"), Value::Integer(1)), (bulk("b"), Value::Null)]);
        assert_eq!(raw(&map), b"a\n1\nb\n\n");
        assert_eq!(raw(&Value::Bulk(b"\xff\n".to_vec())), b"\xff\n\n");
    }

    #[test]
    fn json_keeps_what_json_can_say() {
        let map = Value::Map(vec![(bulk("a"), Value::Integer(1)), (bulk("b"), Value::Null)]);
        assert_eq!(json(&map), object!({ "a": 1, "b": null }));
        let odd = Value::Map(vec![(Value::Integer(1), bulk("x"))]);
        assert_eq!(json(&odd), object!([[1, "x"]]));
        assert_eq!(json(&Value::Bulk(vec![0xff, 0])), object!({ "hex": "ff00" }));
        assert_eq!(json(&Value::Double(f64::INFINITY)), object!("inf"));
        let list = Value::Array(vec![Value::Boolean(false), Value::Error("ERR no".to_owned())]);
        assert_eq!(json(&list), object!([false, { "error": "ERR no" }]));
    }
}
