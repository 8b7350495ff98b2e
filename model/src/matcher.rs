//! Label matchers: `name="v"`, `name!="v"`, `name=~"re"`, `name!~"re"`.
//!
//! A label that a series lacks has the empty value for every matcher.

use std::fmt;

use crate::labels::is_legacy_label_name;
use crate::regex::{Regex, RegexError};
use crate::text::quote::push_quoted;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// True for `!=` and `!~`.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }
}

/// One condition on one label. Built through [`Matcher::new`], which compiles the regex.
#[derive(Debug, Clone)]
pub struct Matcher {
    op: MatchOp,
    name: String,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// Makes a matcher.
    ///
    /// # Errors
    /// For the regex operators, when `value` is no valid Go regular expression.
    pub fn new(
        op: MatchOp,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, RegexError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Regex::new(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self {
            op,
            name: name.into(),
            value,
            regex,
        })
    }

    /// An equality matcher, which cannot fail.
    #[must_use]
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            op: MatchOp::Equal,
            name: name.into(),
            value: value.into(),
            regex: None,
        }
    }

    /// The comparison.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The label name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value or pattern as written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The compiled pattern of a regex matcher.
    #[must_use]
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_ref()
    }

    /// Whether a label value satisfies the matcher.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => self.regex.as_ref().is_some_and(|r| r.is_match(value)),
            MatchOp::NotRegex => self.regex.as_ref().is_some_and(|r| !r.is_match(value)),
        }
    }

    /// Whether a series without the label satisfies the matcher.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

/// Matchers are equal when they are written equally.
impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.name == other.name && self.value == other.value
    }
}

impl Eq for Matcher {}

/// `name=~"value"`, the name quoted where it is no classic label name.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        if is_legacy_label_name(&self.name) {
            out.push_str(&self.name);
        } else {
            push_quoted(&mut out, &self.name);
        }
        out.push_str(self.op.as_str());
        push_quoted(&mut out, &self.value);
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_matches_as_it_should() {
        let m = |op, value: &str| Matcher::new(op, "l", value).unwrap();
        assert!(m(MatchOp::Equal, "a").matches("a"));
        assert!(!m(MatchOp::Equal, "a").matches("ab"));
        assert!(m(MatchOp::NotEqual, "a").matches(""));
        assert!(m(MatchOp::Regex, "a|b").matches("b"));
        assert!(
            !m(MatchOp::Regex, "a|b").matches("ab"),
            "patterns are anchored"
        );
        assert!(
            m(MatchOp::Regex, "a.b").matches("a\nb"),
            "the dot matches a newline"
        );
        assert!(m(MatchOp::NotRegex, "a.*").matches("b"));
        assert!(m(MatchOp::Regex, ".*").matches_empty());
        assert!(!m(MatchOp::Regex, ".+").matches_empty());
        assert_eq!(m(MatchOp::Regex, "a\"").to_string(), "l=~\"a\\\"\"");
    }
}
