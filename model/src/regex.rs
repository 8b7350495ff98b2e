//! Regular expressions with Go's syntax and Prometheus' anchoring: a pattern `p` means
//! `^(?s:p)$`.
//!
//! Source: Prometheus `model/labels/regexp.go`. The engine is `regex-automata`, which runs in time
//! linear in the input, as RE2 does.

use std::sync::Arc;

use regex_automata::meta;
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;

/// The largest compiled program that a pattern may grow to.
const MAX_PROGRAM_BYTES: usize = 1 << 20;

/// A pattern that cannot be compiled. `Display` gives the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}")]
pub struct RegexError {
    /// What is wrong, in Go's words where they are known.
    pub reason: String,
}

/// A compiled, anchored pattern. Cheap to clone.
#[derive(Clone)]
pub struct Regex {
    pattern: Arc<str>,
    program: meta::Regex,
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regex({:?})", self.pattern)
    }
}

impl Regex {
    /// Compiles `pattern` as `^(?s:pattern)$`.
    ///
    /// # Errors
    /// When the pattern is invalid or its program would be too large.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let anchored = format!("^(?s:{pattern})$");
        let program = meta::Builder::new()
            .configure(meta::Config::new().nfa_size_limit(Some(MAX_PROGRAM_BYTES)))
            .syntax(syntax::Config::new().unicode(true).utf8(true))
            .build(&anchored)
            .map_err(|e| RegexError {
                reason: e.to_string(),
            })?;
        Ok(Self {
            pattern: pattern.into(),
            program,
        })
    }

    /// The pattern as written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.program.is_match(text)
    }

    /// Where the whole of `text` matches, the capture groups; group 0 is the whole.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Match<'t>> {
        let mut groups = self.program.create_captures();
        self.program.captures(text, &mut groups);
        groups.is_match().then_some(Match { text, groups })
    }
}

/// A successful match with its capture groups.
#[derive(Debug)]
pub struct Match<'t> {
    text: &'t str,
    groups: Captures,
}

impl<'t> Match<'t> {
    /// The text of group `index`, if the group took part in the match.
    #[must_use]
    pub fn group(&self, index: usize) -> Option<&'t str> {
        self.groups
            .get_group(index)
            .map(|span| &self.text[span.range()])
    }

    /// The text of the group called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&'t str> {
        self.groups
            .get_group_by_name(name)
            .map(|span| &self.text[span.range()])
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
            let group = match name.parse::<usize>() {
                Ok(index) => self.group(index),
                Err(_) => self.named(name),
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
    let end = body
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(body.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_references_as_go_does() {
        let regex = Regex::new("(?P<host>.*):(\\d+)").unwrap();
        let found = regex.captures("db1:5432").unwrap();
        assert_eq!(found.expand("$1"), "db1");
        assert_eq!(found.expand("${host}-x"), "db1-x");
        assert_eq!(found.expand("$2x"), "", "the name is 2x, which is no group");
        assert_eq!(found.expand("${2}x"), "5432x");
        assert_eq!(found.expand("$$1 $ ${"), "$1 $ ${");
        assert!(regex.captures("no port").is_none());
        assert!(Regex::new("(").is_err());
    }
}
