//! Go's `strconv.Quote`: a double-quoted string with escapes.

use std::fmt::Write as _;

/// Appends `text` quoted as `strconv.Quote` does: `\a \b \f \n \r \t \v \\ \"` by name, other
/// unprintable characters as `\xNN`, `\uNNNN` or `\UNNNNNNNN`.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
        }
    }
    out.push('"');
}

/// [`push_quoted`] into a new string.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// Go's `unicode.IsPrint` as far as it matters: no controls, separators other than the ASCII space,
/// format characters, surrogates, private use or non-characters. Rust's own debug escaping knows
/// the unassigned and unprintable ranges.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    if c.is_whitespace() {
        return false;
    }
    // Grapheme extenders (combining marks) are escaped by `escape_debug` but printable in Go.
    let mut escaped = c.escape_debug();
    escaped.next() == Some(c) || is_mark(c)
}

fn is_mark(c: char) -> bool {
    // A combining mark is escaped only where it could attach to an opening quote: in a string
    // that begins with a letter it stays as it is.
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quoted("a\"b\\c\n\t"), r#""a\"b\\c\n\t""#);
        assert_eq!(quoted("\u{1}\u{7f}"), r#""\x01\x7f""#);
        assert_eq!(quoted("é日本😀"), "\"é日本😀\"");
        assert_eq!(quoted("\u{a0}\u{200b}\u{feff}"), r#""\u00a0\u200b\ufeff""#);
        assert_eq!(quoted("e\u{301}"), "\"e\u{301}\"");
        assert_eq!(quoted("\u{e0001}"), r#""\U000e0001""#);
    }
}
