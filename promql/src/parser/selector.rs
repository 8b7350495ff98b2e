//! Vector selectors: a metric name, matchers in braces, or both.

use tenbin_model::{METRIC_NAME, MatchOp, Matcher};

use crate::ast::{BinaryOp, Span, TimeModifiers, VectorSelector};
use crate::token::{Token, TokenKind};

use super::{Fail, Parsed, Parser};

const CONTEXT: &str = "label matching";

impl Parser<'_> {
    pub(super) fn vector_selector(&mut self) -> Parsed<VectorSelector> {
        let kind = self.peek()?;
        if kind == TokenKind::LeftBrace {
            let (matchers, span) = self.matchers_in_braces()?;
            return Ok(selector(String::new(), matchers, span));
        }
        if !kind.is_metric_name() {
            return Err(Fail::Unexpected);
        }
        let name = self.next()?;
        self.named_selector(&name)
    }

    /// A selector whose metric name has been consumed.
    pub(super) fn named_selector(&mut self, name: &Token<'_>) -> Parsed<VectorSelector> {
        if !name.kind.is_metric_name() {
            return Err(Fail::Unexpected);
        }
        let (mut matchers, mut span) = (Vec::new(), name.span());
        if self.peek()? == TokenKind::LeftBrace {
            let (listed, braces) = self.matchers_in_braces()?;
            matchers = listed;
            span.end = braces.end;
        }
        // Last, as Prometheus has it: the order shows in the JSON form.
        matchers.push(Matcher::equal(METRIC_NAME, name.text));
        Ok(selector(name.text.to_owned(), matchers, span))
    }

    fn matchers_in_braces(&mut self) -> Parsed<(Vec<Matcher>, Span)> {
        let start = self.next()?.start;
        let mut matchers = Vec::new();
        loop {
            if let Some(close) = self.accept(TokenKind::RightBrace)? {
                let end = close.span().end;
                return Ok((matchers, Span { start, end }));
            }
            self.count_node()?;
            matchers.push(self.matcher()?);
            if self.peek()? == TokenKind::RightBrace {
                continue;
            }
            let comma = self.expect(TokenKind::Comma);
            self.in_context(comma, CONTEXT, "\",\" or \"}\"")?;
        }
    }

    /// `name="value"`, `"quoted.name"="value"`, or `"metric.name"`.
    fn matcher(&mut self) -> Parsed<Matcher> {
        let (name, token) = match self.peek()? {
            TokenKind::Identifier => {
                let token = self.next()?;
                (token.text.to_owned(), token)
            }
            TokenKind::String => {
                let token = self.next()?;
                (self.unquoted(&token)?, token)
            }
            _ => return Err(Fail::Error(self.unexpected(CONTEXT, "identifier or \"}\""))),
        };
        let op = match self.peek()? {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Binary(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::MatchRegex => MatchOp::Regex,
            TokenKind::MatchNotRegex => MatchOp::NotRegex,
            _ if token.kind == TokenKind::String => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => {
                let error = self.unexpected(CONTEXT, "label matching operator");
                return Err(Fail::Error(error));
            }
        };
        self.next()?;
        let string = self.expect(TokenKind::String);
        let string = self.in_context(string, CONTEXT, "string")?;
        let value = self.unquoted(&string)?;
        Matcher::new(op, name, value).map_err(|e| {
            let span = Span {
                start: token.start,
                end: string.span().end,
            };
            Fail::error(span, e.to_string())
        })
    }
}

fn selector(name: String, matchers: Vec<Matcher>, span: Span) -> VectorSelector {
    VectorSelector {
        name,
        matchers,
        time: TimeModifiers::default(),
        anchored: false,
        smoothed: false,
        span,
    }
}
