//! Aggregations and the label lists of `by`, `without`, `on`, `ignoring`, `group_left`,
//! `group_right`.

use crate::ast::{AggregateExpr, AggregateOp, Expr, Span};
use crate::token::{Token, TokenKind};

use super::literal::{quoted_bytes, unquote_bytes};
use super::{Depth, Fail, Node, Parsed, Parser};

/// `by (...)` or `without (...)`.
#[derive(Default)]
struct Clause {
    grouping: Vec<String>,
    without: bool,
}

/// What follows an aggregation's operator.
struct Parts {
    clause: Option<Clause>,
    args: Vec<Expr>,
    /// The greatest depth among the arguments.
    depth: Depth,
    /// The end of the aggregation's span.
    end: usize,
}

impl Parser<'_> {
    /// An aggregation whose operator has been consumed.
    pub(super) fn aggregation(&mut self, op_token: &Token<'_>, op: AggregateOp) -> Parsed<Node> {
        // Apart, so that the frames that nested aggregations stack up stay small.
        let result = self.aggregation_parts();
        self.finish_aggregation(op_token.start, op, result)
    }

    #[inline(never)]
    fn finish_aggregation(
        &mut self,
        start: usize,
        op: AggregateOp,
        parts: Parsed<Parts>,
    ) -> Parsed<Node> {
        let parts = self.in_context(parts, "aggregation", "")?;
        let span = Span {
            start,
            end: parts.end,
        };
        let fail = |message: String| Err(Fail::error(span, message));
        if parts.args.is_empty() {
            return fail("no arguments for aggregate expression provided".to_owned());
        }
        let experimental = matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio);
        if experimental && !self.features.experimental_functions {
            return fail(format!(
                "{}() is experimental and must be enabled with \
                 --enable-feature=promql-experimental-functions",
                op.as_str()
            ));
        }
        let desired = if op.has_parameter() { 2 } else { 1 };
        let got = parts.args.len();
        let mut args = parts.args.into_iter();
        let param = op.has_parameter().then(|| args.next()).flatten();
        let (Some(expr), true) = (args.next(), got == desired) else {
            return fail(format!(
                "wrong number of arguments for aggregate expression provided, \
                 expected {desired}, got {got}"
            ));
        };
        let has_clause = parts.clause.is_some();
        let clause = parts.clause.unwrap_or_default();
        let aggregate = AggregateExpr {
            op,
            expr,
            param,
            grouping: clause.grouping,
            without: clause.without,
            has_clause,
            span,
        };
        self.inner(Expr::Aggregate(Box::new(aggregate)), parts.depth)
    }

    fn aggregation_parts(&mut self) -> Parsed<Parts> {
        let mut clause = self.clause()?;
        let leading = clause.is_some();
        let (args, depth) = self.call_arguments()?;
        let own_end = self.last_closing;
        if !leading {
            clause = self.clause()?;
        }
        let end = if clause.is_some() {
            self.last_closing
        } else {
            self.end_before_lookahead(own_end)
        };
        Ok(Parts {
            clause,
            args,
            depth,
            end,
        })
    }

    /// The end of an aggregation whose closing parenthesis ended at `own_end`, after the next
    /// token has been looked at. Prometheus recovers it only where that token is a parenthesis
    /// that directly follows; a number or another closing token there extends the span.
    fn end_before_lookahead(&self, own_end: usize) -> usize {
        if self.last_read.kind != TokenKind::RightParen {
            return self.last_closing;
        }
        let between = &self.text[own_end..self.last_read.start];
        if between
            .chars()
            .all(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
        {
            own_end
        } else {
            self.last_closing
        }
    }

    fn clause(&mut self) -> Parsed<Option<Clause>> {
        let without = match self.peek()? {
            TokenKind::By => false,
            TokenKind::Without => true,
            _ => return Ok(None),
        };
        self.next()?;
        let grouping = self.grouping_labels()?;
        Ok(Some(Clause { grouping, without }))
    }

    /// `(a, "b.c", by,)`
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        let open = self.expect(TokenKind::LeftParen);
        self.in_context(open, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            if self.accept(TokenKind::RightParen)?.is_some() {
                return Ok(labels);
            }
            let label = self.grouping_label();
            labels.push(self.in_context(label, CONTEXT, "label")?);
            if self.accept(TokenKind::RightParen)?.is_some() {
                return Ok(labels);
            }
            let comma = self.expect(TokenKind::Comma);
            self.in_context(comma, CONTEXT, "\",\" or \")\"")?;
        }
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        let kind = self.peek()?;
        if kind != TokenKind::String && !kind.is_grouping_label() {
            return Err(Fail::Unexpected);
        }
        let token = self.next()?;
        if kind != TokenKind::String {
            return Ok(token.text.to_owned());
        }
        let name = self.unquoted(&token)?;
        let bytes = unquote_bytes(token.text).unwrap_or_default();
        if name.is_empty() || bytes != name.as_bytes() {
            let message = format!("invalid label name for grouping: {}", quoted_bytes(&bytes));
            return Err(Fail::error(token.span(), message));
        }
        Ok(name)
    }
}
