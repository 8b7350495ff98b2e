//! Matches with their groups, and templates that refer to them.
//!
//! Source: Go's `regexp.Regexp.ExpandString`.

use std::sync::{Arc, OnceLock};

use regex_automata::util::captures::Captures;
use regex_syntax::hir::ClassUnicode;

use super::class::known_class;

/// A successful match with its capture groups.
#[derive(Debug)]
pub struct Match<'t> {
    text: &'t str,
    /// Byte ranges; `None` for a group that took no part.
    groups: Vec<Option<(usize, usize)>>,
    names: Arc<[Option<String>]>,
}

impl<'t> Match<'t> {
    /// A match of the whole text without further groups.
    pub(super) fn whole(text: &'t str, names: Arc<[Option<String>]>) -> Self {
        Self {
            text,
            groups: vec![Some((0, text.len()))],
            names,
        }
    }

    pub(super) fn from_captures(
        text: &'t str,
        found: &Captures,
        names: Arc<[Option<String>]>,
    ) -> Self {
        let group = |index| found.get_group(index).map(|span| (span.start, span.end));
        Self {
            text,
            groups: (0..names.len()).map(group).collect(),
            names,
        }
    }

    /// The text of group `index`, if the group took part in the match.
    #[must_use]
    pub fn group(&self, index: usize) -> Option<&'t str> {
        let (start, end) = (*self.groups.get(index)?)?;
        self.text.get(start..end)
    }

    /// The text of the group called `name`; of several, the first that took part.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&'t str> {
        let called = |(index, own): (usize, &Option<String>)| {
            (own.as_deref() == Some(name)).then(|| self.group(index))?
        };
        self.names.iter().enumerate().find_map(called)
    }

    /// Expands `$1`, `${1}`, `$name`, `${name}` and `$$` in `template`, as Go's
    /// `Regexp.ExpandString`: an unknown group is empty, a malformed reference stays as it is.
    #[must_use]
    pub fn expand(&self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let Some((name, after)) = reference(rest) else {
                out.push('$');
                continue;
            };
            let group = match group_number(name) {
                Some(index) => self.group(index),
                None => self.named(name),
            };
            out.push_str(group.unwrap_or(""));
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// Reads `name`, `1` or `{name}` from the front of `text` (what follows a `$`); returns the name
/// and the rest. The longest run of letters, digits and underscores is the name, as in Go.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (body, braced) = match text.strip_prefix('{') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let end = body.find(|c: char| !is_name(c)).unwrap_or(body.len());
    if end == 0 {
        return None;
    }
    let (name, after) = body.split_at(end);
    if braced {
        after.strip_prefix('}').map(|after| (name, after))
    } else {
        Some((name, after))
    }
}

/// The number that `name` is; with a leading zero or ten digits it is a name.
fn group_number(name: &str) -> Option<usize> {
    let digits = name.len() <= 9 && name.bytes().all(|b| b.is_ascii_digit());
    let canonical = name.len() == 1 || !name.starts_with('0');
    (digits && canonical).then(|| name.parse().ok())?
}

/// Go's letters and decimal digits of any script, and the underscore.
fn is_name(c: char) -> bool {
    static CLASSES: OnceLock<[ClassUnicode; 2]> = OnceLock::new();
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    let classes = CLASSES.get_or_init(|| [known_class("L"), known_class("Nd")]);
    classes.iter().any(|class| {
        let ranges = class.ranges();
        let after = ranges.partition_point(|range| range.end() < c);
        ranges.get(after).is_some_and(|range| range.start() <= c)
    })
}
