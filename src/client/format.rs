//! How a response is shown: for a reader at a terminal, raw, as CSV or as JSON.
//!
//! Byte for byte what redis-cli 7.0 prints, because scripts read it. The printers call themselves
//! for nested values; the decoder bounds the nesting.

use crate::protocol::response::Value;
use crate::util::number::IntegerText;
use crate::util::text::push_quoted;
use std::io::Write;

/// The form in which responses are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// With types, quotes and numbered elements, for a reader.
    Terminal,
    /// The bytes alone, for a program.
    Raw,
    /// Comma separated values on one line.
    Csv,
    /// JSON in which bytes above 127 stay as they are.
    Json,
    /// JSON in which every byte outside of ASCII is escaped.
    QuotedJson,
}

/// What stands between the elements of a raw collection and behind a raw response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delimiters {
    /// Between two elements.
    pub element: Vec<u8>,
    /// Behind each response.
    pub response: Vec<u8>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { element: b"\n".to_vec(), response: b"\n".to_vec() }
    }
}

/// The text shown for `value`, with its closing line end.
#[must_use]
pub fn format_value(value: &Value, format: OutputFormat, delimiters: &Delimiters) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        OutputFormat::Terminal => put_terminal(value, 0, &mut out),
        OutputFormat::Raw => {
            put_raw(value, delimiters, &mut out);
            out.extend_from_slice(&delimiters.response);
        }
        OutputFormat::Csv => {
            put_csv(value, &mut out);
            out.push(b'\n');
        }
        OutputFormat::Json | OutputFormat::QuotedJson => {
            put_json(value, format == OutputFormat::QuotedJson, &mut out);
            out.push(b'\n');
        }
    }
    out
}

/// The bytes of `value` with nothing behind them: for INFO and the like, whose text ends itself.
#[must_use]
pub fn format_as_text(value: &Value, delimiters: &Delimiters) -> Vec<u8> {
    let mut out = Vec::new();
    put_raw(value, delimiters, &mut out);
    out
}

/// The line for keys that the server reports as changed, if `message` is such a report.
#[must_use]
pub fn format_invalidation(message: &[Value]) -> Option<Vec<u8>> {
    let [Value::Bulk(kind), Value::Array(keys)] = message else { return None };
    if !kind.starts_with(b"invalidate") {
        return None;
    }
    let mut out = b"-> invalidate: ".to_vec();
    for (index, key) in keys.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b", '" } else { b"'" });
        out.extend_from_slice(key.text().unwrap_or_default());
        out.push(b'\'');
    }
    out.push(b'\n');
    Some(out)
}

fn put_integer(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(IntegerText::new().format_i64(number));
}

fn put_terminal(value: &Value, indent: usize, out: &mut Vec<u8>) {
    match value {
        Value::Error(text) => put_line(&[b"(error) ", text], out),
        Value::Simple(text) | Value::BigNumber(text) => put_line(&[text], out),
        Value::Verbatim { text, .. } => put_line(&[text], out),
        Value::Integer(number) => {
            put_line(&[b"(integer) ", IntegerText::new().format_i64(*number)], out);
        }
        Value::Double(text) => put_line(&[b"(double) ", text], out),
        Value::Bulk(text) => {
            push_quoted(out, text);
            out.push(b'\n');
        }
        Value::Null => put_line(&[b"(nil)"], out),
        Value::Bool(true) => put_line(&[b"(true)"], out),
        Value::Bool(false) => put_line(&[b"(false)"], out),
        Value::Array(elements) => put_elements(elements, ')', b"(empty array)", indent, out),
        Value::Set(elements) => put_elements(elements, '~', b"(empty set)", indent, out),
        Value::Push(elements) => put_elements(elements, ')', b"(empty push)", indent, out),
        Value::Map(pairs) => put_pairs(pairs, indent, out),
    }
}

fn put_line(parts: &[&[u8]], out: &mut Vec<u8>) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'\n');
}

fn put_spaces(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, b' ');
}

/// The columns that the largest of `count` numbers takes.
fn number_width(count: usize) -> usize {
    IntegerText::new().format_usize(count).len()
}

/// The number of an element: the first one stands where its collection began, without indent.
fn put_number(index: usize, width: usize, sign: char, indent: usize, out: &mut Vec<u8>) {
    put_spaces(if index == 0 { 0 } else { indent }, out);
    let _infallible = write!(out, "{:>width$}{sign} ", index + 1);
}

fn put_elements(elements: &[Value], sign: char, empty: &[u8], indent: usize, out: &mut Vec<u8>) {
    if elements.is_empty() {
        put_line(&[empty], out);
    }
    let width = number_width(elements.len());
    for (index, element) in elements.iter().enumerate() {
        put_number(index, width, sign, indent, out);
        put_terminal(element, indent + width + 2, out);
    }
}

fn put_pairs(pairs: &[(Value, Value)], indent: usize, out: &mut Vec<u8>) {
    if pairs.is_empty() {
        put_line(&[b"(empty hash)"], out);
    }
    let width = number_width(pairs.len());
    let inner = indent + width + 2;
    for (index, (key, value)) in pairs.iter().enumerate() {
        put_number(index, width, '#', indent, out);
        put_terminal(key, inner, out);
        out.pop();
        out.extend_from_slice(b" => ");
        if takes_many_lines(value) {
            out.push(b'\n');
            put_spaces(inner, out);
        }
        put_terminal(value, inner, out);
    }
}

fn takes_many_lines(value: &Value) -> bool {
    match value {
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            elements.len() > 1 || elements.first().is_some_and(takes_many_lines)
        }
        Value::Map(pairs) => {
            pairs.len() > 1 || pairs.first().is_some_and(|(_, value)| takes_many_lines(value))
        }
        _ => false,
    }
}

fn put_raw(value: &Value, delimiters: &Delimiters, out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::Error(text) => put_line(&[text], out),
        Value::Simple(text)
        | Value::Bulk(text)
        | Value::Double(text)
        | Value::BigNumber(text)
        | Value::Verbatim { text, .. } => out.extend_from_slice(text),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"(true)" } else { b"(false)" }),
        Value::Integer(number) => put_integer(*number, out),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            for (index, element) in elements.iter().enumerate() {
                put_delimiter(index, &delimiters.element, out);
                put_raw(element, delimiters, out);
            }
        }
        Value::Map(pairs) => {
            for (index, (key, value)) in pairs.iter().enumerate() {
                put_delimiter(index, &delimiters.element, out);
                put_raw(key, delimiters, out);
                out.push(b' ');
                put_raw(value, delimiters, out);
            }
        }
    }
}

fn put_delimiter(index: usize, delimiter: &[u8], out: &mut Vec<u8>) {
    if index > 0 {
        out.extend_from_slice(delimiter);
    }
}

fn put_csv(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Error(text) => {
            out.extend_from_slice(b"ERROR,");
            push_quoted(out, text);
        }
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim { text, .. } => {
            push_quoted(out, text);
        }
        Value::Integer(number) => put_integer(*number, out),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text),
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            for (index, element) in elements.iter().enumerate() {
                put_delimiter(index, b",", out);
                put_csv(element, out);
            }
        }
        Value::Map(pairs) => {
            for (index, (key, value)) in pairs.iter().enumerate() {
                put_delimiter(index, b",", out);
                put_csv(key, out);
                out.push(b',');
                put_csv(value, out);
            }
        }
    }
}

fn put_json(value: &Value, quoted: bool, out: &mut Vec<u8>) {
    match value {
        Value::Error(text) => {
            out.extend_from_slice(b"error:");
            put_json_text(text, quoted, out);
        }
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim { text, .. } => {
            put_json_text(text, quoted, out);
        }
        Value::Integer(number) => put_integer(*number, out),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => {
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                put_delimiter(index, b",", out);
                put_json(element, quoted, out);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                put_delimiter(index, b",", out);
                put_json_key(key, quoted, out);
                out.push(b':');
                put_json(value, quoted, out);
            }
            out.push(b'}');
        }
    }
}

/// JSON knows only strings as keys, so another key is put between quotes.
fn put_json_key(key: &Value, quoted: bool, out: &mut Vec<u8>) {
    if matches!(key, Value::Error(_) | Value::Simple(_) | Value::Bulk(_) | Value::Verbatim { .. }) {
        return put_json(key, quoted, out);
    }
    out.push(b'"');
    put_json(key, quoted, out);
    out.push(b'"');
}

fn put_json_text(text: &[u8], quoted: bool, out: &mut Vec<u8>) {
    if quoted {
        let mut shown = Vec::with_capacity(text.len() + 2);
        push_quoted(&mut shown, text);
        for byte in shown {
            out.push(byte);
            if byte == b'\\' {
                out.push(byte);
            }
        }
        return;
    }
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0..=0x1f => {
                let _infallible = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn shown(value: &Value, format: OutputFormat) -> String {
        String::from_utf8(format_value(value, format, &Delimiters::default())).unwrap()
    }

    fn sample() -> Value {
        Value::Map(vec![
            (bulk("one"), Value::Array(vec![Value::Integer(1), Value::Null])),
            (Value::Integer(2), Value::Set(vec![Value::Double(b"1.5".to_vec())])),
            (Value::Bool(true), Value::Map(vec![])),
        ])
    }

    #[test]
    fn single_values_are_shown_as_redis_cli_shows_them() {
        let error = Value::Error(b"ERR no".to_vec());
        let verbatim = Value::Verbatim { format: *b"txt", text: b"a\"b".to_vec() };
        let cases: &[(Value, &str, &str, &str, &str)] = &[
            (Value::Simple(b"OK".to_vec()), "OK\n", "OK\n", "\"OK\"\n", "\"OK\"\n"),
            (error, "(error) ERR no\n", "ERR no\n\n", "ERROR,\"ERR no\"\n", "error:\"ERR no\"\n"),
            (Value::Integer(-1), "(integer) -1\n", "-1\n", "-1\n", "-1\n"),
            (
                bulk("a\n\"\\"),
                "\"a\\n\\\"\\\\\"\n",
                "a\n\"\\\n",
                "\"a\\n\\\"\\\\\"\n",
                "\"a\\n\\\"\\\\\"\n",
            ),
            (
                bulk("\x07\x08\x01\x0c"),
                "\"\\a\\b\\x01\\x0c\"\n",
                "\x07\x08\x01\x0c\n",
                "\"\\a\\b\\x01\\x0c\"\n",
                "\"\\u0007\\b\\u0001\\f\"\n",
            ),
            (bulk("é"), "\"\\xc3\\xa9\"\n", "é\n", "\"\\xc3\\xa9\"\n", "\"é\"\n"),
            (Value::Null, "(nil)\n", "\n", "NULL\n", "null\n"),
            (Value::Bool(true), "(true)\n", "(true)\n", "true\n", "true\n"),
            (Value::Double(b"0.5".to_vec()), "(double) 0.5\n", "0.5\n", "0.5\n", "0.5\n"),
            (verbatim, "a\"b\n", "a\"b\n", "\"a\\\"b\"\n", "\"a\\\"b\"\n"),
            (Value::Array(vec![]), "(empty array)\n", "\n", "\n", "[]\n"),
            (Value::Set(vec![]), "(empty set)\n", "\n", "\n", "[]\n"),
            (Value::Push(vec![]), "(empty push)\n", "\n", "\n", "[]\n"),
            (Value::Map(vec![]), "(empty hash)\n", "\n", "\n", "{}\n"),
        ];
        for (value, terminal, raw, csv, json) in cases {
            assert_eq!(shown(value, OutputFormat::Terminal), *terminal);
            assert_eq!(shown(value, OutputFormat::Raw), *raw);
            assert_eq!(shown(value, OutputFormat::Csv), *csv);
            assert_eq!(shown(value, OutputFormat::Json), *json);
        }
        assert_eq!(shown(&bulk("a\né"), OutputFormat::QuotedJson), "\"a\\\\n\\\\xc3\\\\xa9\"\n");
    }

    #[test]
    fn nested_elements_are_numbered_and_indented() {
        let inner = Value::Array(vec![bulk("x"), Value::Array(vec![bulk("y"), bulk("z")])]);
        let value = Value::Array(vec![Value::Integer(1), inner, Value::Null]);
        let expected = "\
1) (integer) 1
2) 1) \"x\"
   2) 1) \"y\"
      2) \"z\"
3) (nil)
";
        assert_eq!(shown(&value, OutputFormat::Terminal), expected);
    }

    #[test]
    fn numbers_are_as_wide_as_the_largest() {
        let value = Value::Array((0..10).map(Value::Integer).collect());
        let shown = shown(&value, OutputFormat::Terminal);
        assert!(shown.starts_with(" 1) (integer) 0\n 2) "));
        assert!(shown.ends_with("\n10) (integer) 9\n"));
    }

    #[test]
    fn maps_show_their_pairs() {
        let expected = "\
1# \"one\" => 
   1) (integer) 1
   2) (nil)
2# (integer) 2 => 1~ (double) 1.5
3# (true) => (empty hash)
";
        assert_eq!(shown(&sample(), OutputFormat::Terminal), expected);
        assert_eq!(shown(&sample(), OutputFormat::Raw), "one 1\n\n2 1.5\n(true) \n");
        assert_eq!(shown(&sample(), OutputFormat::Csv), "\"one\",1,NULL,2,1.5,true,\n");
        let json = "{\"one\":[1,null],\"2\":[1.5],\"true\":{}}\n";
        assert_eq!(shown(&sample(), OutputFormat::Json), json);
    }

    #[test]
    fn delimiters_of_raw_output_can_be_chosen() {
        let delimiters = Delimiters { element: b", ".to_vec(), response: b".".to_vec() };
        let value = Value::Array(vec![bulk("a"), bulk("b")]);
        assert_eq!(format_value(&value, OutputFormat::Raw, &delimiters), b"a, b.");
        assert_eq!(format_as_text(&value, &delimiters), b"a, b");
    }

    #[test]
    fn an_invalidation_lists_its_keys() {
        let message = [bulk("invalidate"), Value::Array(vec![bulk("a"), bulk("b")])];
        let line = format_invalidation(&message).unwrap();
        assert_eq!(line, b"-> invalidate: 'a', 'b'\n");
        assert_eq!(format_invalidation(&[bulk("message"), Value::Array(vec![])]), None);
    }
}
