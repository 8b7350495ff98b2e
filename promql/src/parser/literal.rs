//! Values of literals: numbers, durations, strings.
//!
//! The lexer has checked their outer form. Source: Go `strconv`, Prometheus 3.14
//! `util/strutil/quote.go`.

use tenbin_model::sample::NORMAL_NAN_BITS;
use tenbin_model::text::duration::{DurationError, parse_duration_ms};
use tenbin_model::text::float::parse_float;
use tenbin_model::text::quote::quoted;

/// The value of a number as Go reads it: first as an integer with base prefixes (`0x1f`, and `017`
/// is octal), then as a float.
///
/// # Errors
/// The text that Prometheus gives.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    if let Some(integer) = integer(text) {
        return Ok(integer as f64);
    }
    let digits = if underscores_ok(text) {
        text.replace('_', "")
    } else {
        text.to_owned()
    };
    match parse_float(&digits) {
        // Rust does not promise which NaN it yields; Go does.
        Some(value) if value.is_nan() => Ok(f64::from_bits(NORMAL_NAN_BITS)),
        Some(value) => Ok(value),
        None => {
            let overflow = digits.parse::<f64>().is_ok_and(f64::is_infinite);
            let reason = if overflow {
                "value out of range"
            } else {
                "invalid syntax"
            };
            Err(format!(
                "error parsing number: strconv.ParseFloat: parsing {}: {reason}",
                quoted(text)
            ))
        }
    }
}

/// An unsigned integer that fits 63 bits, with Go's base prefixes and underscores.
fn integer(text: &str) -> Option<i64> {
    if !underscores_ok(text) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&digits, base).ok()
}

/// Underscores only between digits, or between a base prefix and a digit.
fn underscores_ok(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let prefixed = lower.starts_with("0x");
    let is_digit = |c: char| c.is_ascii_digit() || (prefixed && matches!(c, 'a'..='f'));
    let mut after_digit = false;
    let mut after_underscore = false;
    for c in lower[if prefixed { 2 } else { 0 }..].chars() {
        if c == '_' {
            if !(after_digit || (prefixed && !after_underscore)) {
                return false;
            }
            (after_digit, after_underscore) = (false, true);
        } else {
            if after_underscore && !is_digit(c) {
                return false;
            }
            (after_digit, after_underscore) = (is_digit(c), false);
        }
    }
    !after_underscore
}

/// The seconds of a duration, rounded as Go's `Duration.Seconds`.
///
/// # Errors
/// When units repeat, are out of order, or the duration is too long.
pub(crate) fn duration_seconds(text: &str) -> Result<f64, DurationError> {
    let milliseconds = parse_duration_ms(text)?;
    let nanoseconds = (milliseconds % 1000) * 1_000_000;
    Ok((milliseconds / 1000) as f64 + nanoseconds as f64 / 1e9)
}

/// The text of a string literal, quotes and escapes resolved. `None` for what the lexer would have
/// refused. Bytes that are no UTF-8 (from `\xff`) become U+FFFD: no stored label holds them.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    Some(match String::from_utf8(unquote_bytes(literal)?) {
        Ok(text) => text,
        Err(broken) => String::from_utf8_lossy(broken.as_bytes()).into_owned(),
    })
}

/// As [`unquote`], to the very bytes.
pub(crate) fn unquote_bytes(literal: &str) -> Option<Vec<u8>> {
    let mut chars = literal.chars();
    let quote = chars.next()?;
    if chars.next_back()? != quote {
        return None;
    }
    let body = chars.as_str();
    if quote == '`' || !body.contains('\\') {
        return Some(body.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let used = push_escape(&mut bytes, escape)?;
        rest = &escape[used..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// A quoted string; bytes that are no UTF-8 as `\xff`.
pub(crate) fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = quoted(chunk.valid());
        out.push_str(&quoted[1..quoted.len() - 1]);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// Appends what the escape (without its backslash) stands for; returns the bytes it took.
fn push_escape(out: &mut Vec<u8>, escape: &str) -> Option<usize> {
    let first = escape.chars().next()?;
    let by_name = match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '\'' | '"' => first as u8,
        '0'..='7' => {
            out.push(u8::from_str_radix(escape.get(..3)?, 8).ok()?);
            return Some(3);
        }
        'x' => {
            out.push(u8::from_str_radix(escape.get(1..3)?, 16).ok()?);
            return Some(3);
        }
        'u' | 'U' => {
            let end = if first == 'u' { 5 } else { 9 };
            let number = u32::from_str_radix(escape.get(1..end)?, 16).ok()?;
            let c = char::from_u32(number)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(end);
        }
        _ => return None,
    };
    out.push(by_name);
    Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_values_of_go() {
        for (text, expected) in [
            ("010", 8.0),
            ("08", 8.0),
            ("0x1F", 31.0),
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            ("0x_1f", 31.0),
            ("0_10", 8.0),
            ("99999999999999999999", 1e20),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("iNf", f64::INFINITY),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        assert_eq!(number("nan").map(f64::to_bits), Ok(NORMAL_NAN_BITS));
        assert_eq!(
            number("1e999"),
            Err(
                "error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range"
                    .to_owned()
            )
        );
        assert_eq!(
            number("0xffffffffffffffff"),
            Err(
                "error parsing number: strconv.ParseFloat: parsing \"0xffffffffffffffff\": \
                 invalid syntax"
                    .to_owned()
            )
        );
    }

    #[test]
    fn strings_are_unquoted() {
        for (literal, expected) in [
            (r#""a\tb\"""#, "a\tb\""),
            (r"'\x41\101\u00e9\U0001F600'", "AAé😀"),
            (r"`a\n`", r"a\n"),
            (r"'\xc3\xa9'", "é"),
            (r"'\xff'", "\u{fffd}"),
        ] {
            assert_eq!(unquote(literal).as_deref(), Some(expected), "{literal}");
        }
        assert_eq!(unquote_bytes(r"'a\xffb'").as_deref(), Some(&b"a\xffb"[..]));
        assert_eq!(unquote("\"a'"), None);
    }
}
