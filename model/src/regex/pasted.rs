//! Patterns that are pasted into `^(?s:` and `)$` as text, as `label_replace` does.
//!
//! For nearly all patterns that is what [`Regex`] means too. But `a)|(b` closes the group that it is
//! pasted into: `^(?s:a)|(b)$` finds an `a` at the start or a `b` at the end; and a pattern with an
//! open `\Q` quotes what follows it, so that it is refused.
//! Source: Prometheus 3.14 `funcLabelReplace` in `promql/functions.go`.

use std::sync::Arc;

use regex_automata::meta;

use super::expand::Match;
use super::{Regex, RegexError, parse, program};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pasted(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// The pattern is whole in itself.
    Whole(Regex),
    /// It is only together with the text around; found anywhere.
    Parts(meta::Regex, Arc<[Option<String>]>),
}

impl Pasted {
    /// Compiles the text `^(?s:pattern)$`.
    ///
    /// # Errors
    /// When the text is invalid or its program would be too large.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let text = format!("^(?s:{pattern})$");
        let parsed = parse::parse_lines(&text)?;
        match Regex::new(pattern) {
            Ok(regex) => Ok(Self(Kind::Whole(regex))),
            Err(_) => {
                let program = program(&text, &parsed.hir)?;
                Ok(Self(Kind::Parts(program, parsed.names.into())))
            }
        }
    }

    /// The first match in `text`, with its groups; group 0 is what was matched.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Match<'t>> {
        match &self.0 {
            Kind::Whole(regex) => regex.captures(text),
            Kind::Parts(program, names) => {
                let mut found = program.create_captures();
                program.captures(text, &mut found);
                found
                    .is_match()
                    .then(|| Match::from_captures(text, &found, Arc::clone(names)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(pattern: &str, text: &str, template: &str) -> Option<String> {
        let pattern = Pasted::new(pattern).unwrap();
        pattern.captures(text).map(|found| found.expand(template))
    }

    #[test]
    fn text_around_a_pattern_completes_it() {
        let found = |text| expand("a)|(b", text, "<$0,$1>");
        assert_eq!(found("axx").as_deref(), Some("<a,>"));
        assert_eq!(found("xxb").as_deref(), Some("<b,b>"));
        assert_eq!(found("ab").as_deref(), Some("<a,>"), "the leftmost");
        assert_eq!(found("xax"), None);
        // Outside the group a dot is no newline.
        assert_eq!(expand("a)|(.", "b\nc", "$1").as_deref(), Some("c"));
        assert_eq!(expand("a)|(.", "b\n", "$1"), None);
        assert_eq!(expand("a.)|(b", "a\nc", "ok").as_deref(), Some("ok"));
        // Flags end with the group in which they stand.
        assert_eq!(expand("(?i)a)|(b", "Ax", "ok").as_deref(), Some("ok"));
        assert_eq!(expand("(?i)a)|(b", "xB", "ok"), None);
        assert_eq!(expand("x)(?P<n>y)(?:z", "xyz", "$n").as_deref(), Some("y"));
    }

    #[test]
    fn whole_patterns_match_whole_texts() {
        assert_eq!(expand("a|b", "ab", "x"), None);
        assert_eq!(expand("(.*)-(.)", "a\n-c", "$2").as_deref(), Some("c"));
    }

    #[test]
    fn what_stays_open_is_refused() {
        for pattern in ["a)|b", "(a", "a)", r"\Qa", "a)|(b))", "[a", "a)*|(*"] {
            assert!(Pasted::new(pattern).is_err(), "{pattern}");
        }
        assert!(Regex::new(r"\Qa").is_ok(), "a matcher takes it");
    }
}
