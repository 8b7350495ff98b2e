//! Values of attributes as text: what OpenTelemetry's Go library gives for them.
//!
//! AnyValue{string=1, bool=2, int=3, double=4, array=5 {values=1}, kvlist=6 {values=1}, bytes=7},
//! KeyValue{key=1, value=2}. Lists and maps become JSON with sorted keys. Values nest; so deep ones
//! are refused.

use std::collections::BTreeMap;

use super::super::protobuf::{Walker, WireError, wire};
use super::{MAX_ATTRIBUTES, OtlpError, check_room};

/// How deep lists and maps may nest.
const MAX_DEPTH: u32 = 32;

/// One attribute: its name, and its encoded value.
pub(super) type Attribute<'a> = (&'a str, &'a [u8]);

/// Reads a `KeyValue`.
pub(super) fn attribute(message: &[u8]) -> Result<Attribute<'_>, OtlpError> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (1, wire::BYTES) => key = walker.bytes()?,
            (2, wire::BYTES) => value = walker.bytes()?,
            (1 | 2, _) => return Err(walker.wrong_type(tag).into()),
            _ => walker.skip(tag)?,
        }
    }
    Ok((super::utf8(key)?, value))
}

/// A value.
enum Value<'a> {
    Empty,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(&'a [u8]),
    Map(&'a [u8]),
    Bytes(&'a [u8]),
}

fn value(message: &[u8]) -> Result<Value<'_>, WireError> {
    let mut found = Value::Empty;
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        found = match (tag.field, tag.wire_type) {
            (1, wire::BYTES) => Value::Text(walker.bytes()?),
            (2, wire::VARINT) => Value::Bool(walker.varint()? != 0),
            (3, wire::VARINT) => Value::Int(walker.varint()? as i64),
            (4, wire::FIXED64) => Value::Double(f64::from_bits(walker.fixed64()?)),
            (5, wire::BYTES) => Value::List(walker.bytes()?),
            (6, wire::BYTES) => Value::Map(walker.bytes()?),
            (7, wire::BYTES) => Value::Bytes(walker.bytes()?),
            (1..=7, _) => return Err(walker.wrong_type(tag)),
            _ => {
                walker.skip(tag)?;
                continue;
            }
        };
    }
    Ok(found)
}

/// The text of an encoded value.
pub(super) fn text(message: &[u8]) -> Result<String, OtlpError> {
    Ok(match value(message)? {
        Value::Empty => String::new(),
        Value::Text(text) => super::utf8(text)?.to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) if number.is_finite() => json_number(number),
        Value::Double(number) => {
            let number = tenbin_model::text::float::format_g(number);
            format!("json: unsupported value: {number}")
        }
        Value::Bytes(bytes) => base64(bytes),
        Value::List(_) | Value::Map(_) => {
            let mut out = String::new();
            match push_json(&mut out, message, 0)? {
                Json::Whole => out,
                // Go gives up on the whole value.
                Json::Impossible => String::new(),
            }
        }
    })
}

/// A float as Go writes it into JSON.
fn json_number(number: f64) -> String {
    use tenbin_model::text::float::{format_e, format_f};
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // One digit of an exponent is enough here.
        return format_e(number).replace("e-0", "e-");
    }
    format_f(number)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at <= group.len() {
                let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
                out.push(char::from(digit));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Whether there is JSON for a value.
#[derive(PartialEq, Eq)]
enum Json {
    Whole,
    /// NaN or an infinity is in it.
    Impossible,
}

/// A string as Go writes it into JSON: safe inside HTML.
fn push_string(out: &mut String, bytes: &[u8]) {
    let text = serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string();
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
}

fn push_json(out: &mut String, message: &[u8], depth: u32) -> Result<Json, OtlpError> {
    if depth > MAX_DEPTH {
        return Err(OtlpError::Decode(format!(
            "attribute values nest deeper than {MAX_DEPTH} levels"
        )));
    }
    match value(message)? {
        Value::Empty => out.push_str("null"),
        Value::Text(text) => push_string(out, text),
        Value::Bool(flag) => out.push_str(if flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Double(number) if number.is_finite() => out.push_str(&json_number(number)),
        Value::Double(_) => return Ok(Json::Impossible),
        Value::Bytes(bytes) => push_string(out, base64(bytes).as_bytes()),
        Value::List(list) => {
            out.push('[');
            for (at, item) in items(list)?.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                if push_json(out, item, depth + 1)? == Json::Impossible {
                    return Ok(Json::Impossible);
                }
            }
            out.push(']');
        }
        Value::Map(map) => {
            let mut fields = BTreeMap::new();
            for item in items(map)? {
                let (key, value) = attribute(item)?;
                fields.insert(key, value);
            }
            out.push('{');
            for (at, (key, item)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_string(out, key.as_bytes());
                out.push(':');
                if push_json(out, item, depth + 1)? == Json::Impossible {
                    return Ok(Json::Impossible);
                }
            }
            out.push('}');
        }
    }
    Ok(Json::Whole)
}

/// The messages in field 1.
fn items(message: &[u8]) -> Result<Vec<&[u8]>, OtlpError> {
    let mut items = Vec::new();
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (1, wire::BYTES) => {
                check_room(items.len(), MAX_ATTRIBUTES, "values")?;
                items.push(walker.bytes()?);
            }
            (1, _) => return Err(walker.wrong_type(tag).into()),
            _ => walker.skip(tag)?,
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::protobuf_writer as put;

    fn string(text_of: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put::bytes_always(&mut out, 1, text_of.as_bytes());
        out
    }

    #[test]
    fn values_read_as_in_go() {
        let of = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            text(&out).unwrap()
        };
        assert_eq!(of(&|_| ()), "");
        assert_eq!(of(&|o| put::number_always(o, 2, 1)), "true");
        assert_eq!(of(&|o| put::number_always(o, 3, (-7_i64) as u64)), "-7");
        assert_eq!(of(&|o| put::double_always(o, 4, 1.0)), "1");
        assert_eq!(of(&|o| put::double_always(o, 4, 1e-9)), "1e-9");
        assert_eq!(of(&|o| put::double_always(o, 4, 1e21)), "1e+21");
        assert_eq!(of(&|o| put::bytes_always(o, 7, b"hello")), "aGVsbG8=");
        let list = |o: &mut Vec<u8>| {
            put::message(o, 5, |o| {
                put::bytes_always(o, 1, &string("a<b"));
                put::message(o, 1, |o| put::number_always(o, 3, 2));
                put::message(o, 1, |_| ());
            });
        };
        assert_eq!(of(&list), r#"["a\u003cb",2,null]"#);
        let map = |o: &mut Vec<u8>| {
            put::message(o, 6, |o| {
                for key in ["z", "a"] {
                    put::message(o, 1, |o| {
                        put::bytes_always(o, 1, key.as_bytes());
                        put::bytes_always(o, 2, &string("v"));
                    });
                }
            });
        };
        assert_eq!(of(&map), r#"{"a":"v","z":"v"}"#);
    }

    #[test]
    fn deep_values_are_refused() {
        let mut value = string("x");
        for _ in 0..40 {
            let inner = value;
            value = Vec::new();
            put::message(&mut value, 5, |o| put::bytes_always(o, 1, &inner));
        }
        assert!(
            text(&value)
                .unwrap_err()
                .to_string()
                .contains("nest deeper")
        );
    }

    #[test]
    fn long_lists_are_refused() {
        let mut value = Vec::new();
        put::message(&mut value, 5, |o| {
            (0..5000).for_each(|_| put::message(o, 1, |_| ()));
        });
        assert!(
            text(&value)
                .unwrap_err()
                .to_string()
                .contains("4096 values")
        );
    }
}
