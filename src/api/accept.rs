//! Which exposition format a client wants, by its `Accept` header, and how names go into formats
//! whose readers know only classic names. Source: prometheus/common `expfmt`, `model`.

use std::borrow::Cow;
use std::fmt::Write as _;

use tenbin_model::labels::is_legacy_metric_name;

/// A form of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Text 0.0.4.
    Text,
    /// Messages `io.prometheus.client.MetricFamily`, each behind its length.
    Protobuf,
}

/// What becomes of names outside `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    /// They stay, quoted in text.
    AllowUtf8,
    /// Odd characters become `_`.
    Underscores,
    /// `.` becomes `_dot_`, `_` and odd characters `__`.
    Dots,
    /// `U__`, and odd characters by their code points.
    Values,
}

impl Escaping {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "allow-utf-8" => Some(Self::AllowUtf8),
            "underscores" => Some(Self::Underscores),
            "dots" => Some(Self::Dots),
            "values" => Some(Self::Values),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// A name of a metric or label as the client can read it.
    pub(super) fn name(self, name: &str) -> Cow<'_, str> {
        if self == Self::AllowUtf8 || name.is_empty() || is_legacy_metric_name(name) {
            return Cow::Borrowed(name);
        }
        let mut out = String::new();
        if self == Self::Values {
            out.push_str("U__");
        }
        for (at, c) in name.char_indices() {
            let classic =
                c.is_ascii_alphabetic() || c == '_' || c == ':' || (c.is_ascii_digit() && at > 0);
            match self {
                Self::Dots if c == '.' => out.push_str("_dot_"),
                Self::Dots | Self::Values if c == '_' => out.push_str("__"),
                _ if classic => out.push(c),
                Self::Dots => out.push_str("__"),
                Self::Values => {
                    // A string takes all that is written to it.
                    let _ = write!(out, "_{:x}_", u32::from(c));
                }
                Self::Underscores | Self::AllowUtf8 => out.push('_'),
            }
        }
        Cow::Owned(out)
    }
}

/// One clause of the header.
struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f64,
}

impl Clause<'_> {
    fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(n, _)| *n == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The clauses, best first; wildcards behind what is as good.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = Vec::new();
    for part in header.split(',').take(64) {
        let mut fields = part.split(';').map(str::trim);
        let mut clause = Clause {
            media_type: fields.next().unwrap_or(""),
            parameters: Vec::new(),
            quality: 1.0,
        };
        for field in fields {
            let Some((name, value)) = field.split_once('=') else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            if name == "q" {
                clause.quality = value.parse().unwrap_or(1.0);
            } else {
                clause.parameters.push((name, value));
            }
        }
        clauses.push(clause);
    }
    let key = |c: &Clause<'_>| {
        let (kind, sub) = c.media_type.split_once('/').unwrap_or((c.media_type, ""));
        (kind == "*", sub == "*")
    };
    clauses.sort_by(|a, b| {
        let quality = b.quality.total_cmp(&a.quality);
        quality.then_with(|| key(a).cmp(&key(b)))
    });
    clauses
}

/// The format for an `Accept` header: Prometheus' choice, where the debug forms of protobuf count as
/// unknown.
pub(super) fn negotiate(accept: &str) -> (Format, Escaping) {
    let mut escaping = Escaping::Underscores;
    for clause in clauses(accept) {
        if let Some(asked) = Escaping::parse(clause.parameter("escaping")) {
            escaping = asked;
        }
        let protobuf = clause.media_type == "application/vnd.google.protobuf"
            && clause.parameter("proto") == "io.prometheus.client.MetricFamily"
            && clause.parameter("encoding") == "delimited";
        if protobuf {
            return (Format::Protobuf, escaping);
        }
        let version = clause.parameter("version");
        if clause.media_type == "text/plain" && matches!(version, "0.0.4" | "") {
            return (Format::Text, escaping);
        }
    }
    (Format::Text, escaping)
}

/// The `Content-Type` of an answer.
pub(super) fn content_type(format: Format, escaping: Escaping) -> String {
    let media_type = match format {
        Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        Format::Protobuf => {
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
             encoding=delimited"
        }
    };
    format!("{media_type}; escaping={}", escaping.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_known_clause_counts() {
        use Escaping::{AllowUtf8, Dots, Underscores, Values};
        let protobuf = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, expected) in [
            (String::new(), (Format::Text, Underscores)),
            ("*/*".into(), (Format::Text, Underscores)),
            (protobuf.into(), (Format::Protobuf, Underscores)),
            (
                format!("{protobuf};q=0.4,text/plain;version=0.0.4;q=0.5"),
                (Format::Text, Underscores),
            ),
            (
                format!("{protobuf};escaping=allow-utf-8;q=0.6,text/plain;q=0.5"),
                (Format::Protobuf, AllowUtf8),
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=dots;q=0.9,\
                 text/plain;version=1.0.0;escaping=values;q=0.8,*/*;q=0.1"
                    .into(),
                (Format::Text, Values),
            ),
            (
                "text/plain;version=0.0.4;escaping=dots".into(),
                (Format::Text, Dots),
            ),
            (
                "text/plain;escaping=unheard".into(),
                (Format::Text, Underscores),
            ),
        ] {
            assert_eq!(negotiate(&accept), expected, "{accept}");
        }
    }

    #[test]
    fn names_are_escaped_as_asked() {
        for (escaping, name, expected) in [
            (Escaping::AllowUtf8, "a.b", "a.b"),
            (Escaping::Underscores, "a.b_c", "a_b_c"),
            (Escaping::Underscores, "1\u{e9}", "__"),
            (Escaping::Dots, "a_b", "a_b"),
            (Escaping::Dots, "a.b_c-d", "a_dot_b__c__d"),
            (Escaping::Values, "a.b_c\u{e9}", "U__a_2e_b__c_e9_"),
            (Escaping::Values, "plain:name", "plain:name"),
        ] {
            assert_eq!(escaping.name(name), expected);
        }
    }
}
