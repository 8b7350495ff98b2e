//! Tokens of PromQL: kinds, keywords, and how an error text names a token.
//!
//! Keywords are recognised in any case, but a token keeps the text as written, since keywords may
//! also be metric and label names. Source of the word list and of the texts: Prometheus 3.14
//! `promql/parser/lex.go`.

use tenbin_model::text::quote::quoted;

use crate::ast::{AggregateOp, BinaryOp, Span};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    EndOfInput,
    Identifier,
    /// A word with a colon: only metric names have them.
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`, the label matcher.
    Assign,
    /// `=~`
    MatchRegex,
    /// `!~`
    MatchNotRegex,
    /// `@`
    At,
    Binary(BinaryOp),
    Aggregate(AggregateOp),
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    /// First byte in the query.
    pub(crate) start: usize,
    /// The text as written.
    pub(crate) text: &'a str,
}

impl Token<'_> {
    pub(crate) fn span(&self) -> Span {
        Span {
            start: self.start,
            end: self.start + self.text.len(),
        }
    }

    /// How an error text names the token.
    pub(crate) fn description(&self) -> String {
        use TokenKind as K;
        match self.kind {
            K::EndOfInput => "end of input".to_owned(),
            K::Identifier => format!("identifier {}", quoted(self.text)),
            K::MetricIdentifier => format!("metric identifier {}", quoted(self.text)),
            K::Number => format!("number {}", short_quoted(self.text)),
            K::Duration => format!("duration {}", short_quoted(self.text)),
            K::String => format!("string {}", short_quoted(self.text)),
            K::MatchRegex | K::MatchNotRegex | K::At | K::Binary(_) => {
                format!("<op:{}>", self.text)
            }
            K::Aggregate(_) => format!("<aggr:{}>", self.text),
            kind if kind.is_modifier_keyword() => format!("<{}>", self.text),
            _ => short_quoted(self.text),
        }
    }
}

/// The text in quotes, cut after ten characters.
fn short_quoted(text: &str) -> String {
    if text.len() > 10 {
        let cut: String = text.chars().take(10).collect();
        format!("{}...", quoted(&cut))
    } else {
        quoted(text)
    }
}

impl TokenKind {
    fn is_modifier_keyword(self) -> bool {
        matches!(
            self,
            Self::Offset
                | Self::Smoothed
                | Self::Anchored
                | Self::By
                | Self::Without
                | Self::On
                | Self::Ignoring
                | Self::GroupLeft
                | Self::GroupRight
                | Self::Fill
                | Self::FillLeft
                | Self::FillRight
                | Self::Bool
        )
    }

    /// Whether the token may stand as a metric name before braces.
    pub(crate) fn is_metric_name(self) -> bool {
        match self {
            Self::Binary(op) => op.is_set(),
            Self::Identifier
            | Self::MetricIdentifier
            | Self::Aggregate(_)
            | Self::Offset
            | Self::Smoothed
            | Self::Anchored
            | Self::By
            | Self::Without
            | Self::Fill
            | Self::FillLeft
            | Self::FillRight => true,
            other => other.is_preprocessor(),
        }
    }

    /// Whether the token may stand as a label name in `by (...)`, `on (...)` and the like.
    pub(crate) fn is_grouping_label(self) -> bool {
        match self {
            Self::On
            | Self::Ignoring
            | Self::GroupLeft
            | Self::GroupRight
            | Self::Bool
            | Self::Binary(BinaryOp::Atan2) => true,
            other => other.is_metric_name(),
        }
    }

    /// `start end step range max_of min_of`
    pub(crate) fn is_preprocessor(self) -> bool {
        matches!(
            self,
            Self::Start | Self::End | Self::Step | Self::Range | Self::MaxOf | Self::MinOf
        )
    }

    /// Whether an expression may begin with the token.
    pub(crate) fn begins_expression(self) -> bool {
        match self {
            Self::LeftParen
            | Self::LeftBrace
            | Self::Number
            | Self::Duration
            | Self::String
            | Self::Binary(BinaryOp::Add | BinaryOp::Sub) => true,
            other => other.is_metric_name(),
        }
    }

    /// The kind of a word that is a keyword in any case; `inf` and `nan` are numbers.
    pub(crate) fn keyword(word: &str) -> Option<Self> {
        // No keyword is longer; a huge identifier need not be copied to find that out.
        if word.len() > "count_values".len() {
            return None;
        }
        Some(match word.to_ascii_lowercase().as_str() {
            "and" => Self::Binary(BinaryOp::And),
            "or" => Self::Binary(BinaryOp::Or),
            "unless" => Self::Binary(BinaryOp::Unless),
            "atan2" => Self::Binary(BinaryOp::Atan2),
            "sum" => Self::Aggregate(AggregateOp::Sum),
            "avg" => Self::Aggregate(AggregateOp::Avg),
            "count" => Self::Aggregate(AggregateOp::Count),
            "min" => Self::Aggregate(AggregateOp::Min),
            "max" => Self::Aggregate(AggregateOp::Max),
            "group" => Self::Aggregate(AggregateOp::Group),
            "stddev" => Self::Aggregate(AggregateOp::Stddev),
            "stdvar" => Self::Aggregate(AggregateOp::Stdvar),
            "topk" => Self::Aggregate(AggregateOp::Topk),
            "bottomk" => Self::Aggregate(AggregateOp::Bottomk),
            "count_values" => Self::Aggregate(AggregateOp::CountValues),
            "quantile" => Self::Aggregate(AggregateOp::Quantile),
            "limitk" => Self::Aggregate(AggregateOp::Limitk),
            "limit_ratio" => Self::Aggregate(AggregateOp::LimitRatio),
            "offset" => Self::Offset,
            "smoothed" => Self::Smoothed,
            "anchored" => Self::Anchored,
            "by" => Self::By,
            "without" => Self::Without,
            "on" => Self::On,
            "ignoring" => Self::Ignoring,
            "group_left" => Self::GroupLeft,
            "group_right" => Self::GroupRight,
            "fill" => Self::Fill,
            "fill_left" => Self::FillLeft,
            "fill_right" => Self::FillRight,
            "bool" => Self::Bool,
            "inf" | "nan" => Self::Number,
            other => {
                return Self::duration_keyword(other).or(match other {
                    "start" => Some(Self::Start),
                    "end" => Some(Self::End),
                    _ => None,
                });
            }
        })
    }

    /// The words that may stand inside `[...]`, in any case.
    pub(crate) fn duration_keyword(word: &str) -> Option<Self> {
        [
            ("step", Self::Step),
            ("range", Self::Range),
            ("max_of", Self::MaxOf),
            ("min_of", Self::MinOf),
        ]
        .into_iter()
        .find_map(|(name, kind)| word.eq_ignore_ascii_case(name).then_some(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_read_as_in_prometheus() {
        let describe = |kind, text| {
            Token {
                kind,
                start: 0,
                text,
            }
            .description()
        };
        assert_eq!(describe(TokenKind::Identifier, "foo"), "identifier \"foo\"");
        assert_eq!(describe(TokenKind::By, "BY"), "<BY>");
        assert_eq!(describe(TokenKind::LeftParen, "("), "\"(\"");
        assert_eq!(describe(TokenKind::Start, "start"), "\"start\"");
        assert_eq!(describe(TokenKind::At, "@"), "<op:@>");
        assert_eq!(
            describe(TokenKind::String, "\"a long string\""),
            "string \"\\\"a long st\"..."
        );
        assert_eq!(
            describe(TokenKind::Aggregate(AggregateOp::Sum), "sum"),
            "<aggr:sum>"
        );
    }

    #[test]
    fn keywords_are_found_in_any_case() {
        assert_eq!(
            TokenKind::keyword("Count_Values"),
            Some(TokenKind::Aggregate(AggregateOp::CountValues))
        );
        assert_eq!(TokenKind::keyword("INF"), Some(TokenKind::Number));
        assert_eq!(TokenKind::keyword("Step"), Some(TokenKind::Step));
        assert_eq!(TokenKind::keyword("stepp"), None);
    }
}
