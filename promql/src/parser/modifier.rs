//! What follows an operand: `[range]`, `[range:step]`, `offset`, `@`, `anchored`, `smoothed`.

use crate::ast::{BinaryOp, DurationExpr, Expr, MatrixSelector, StartOrEnd, SubqueryExpr};
use crate::ast::{Span, TimeModifiers};
use crate::token::{Token, TokenKind};

use super::duration::{ParsedDuration, seconds_to_ms};
use super::expression::negate;
use super::{Fail, Node, Parsed, Parser};

const ANY_DURATION: &str = "number, duration, step(), or range()";

/// The value of an `@` modifier.
enum At {
    Seconds(f64),
    Boundary(StartOrEnd),
}

impl Parser<'_> {
    /// Applies the modifier that is the next token.
    pub(super) fn postfix(&mut self, node: Node) -> Parsed<Node> {
        let token = self.next()?;
        match token.kind {
            TokenKind::LeftBracket => self.bracket(&token, node),
            TokenKind::Offset => self.offset(node),
            TokenKind::At => self.at(node),
            TokenKind::Anchored => self.extended(node, "anchored"),
            _ => self.extended(node, "smoothed"),
        }
    }

    fn bracket(&mut self, open: &Token<'_>, node: Node) -> Parsed<Node> {
        let range = self.positive_duration();
        let context = "subquery or range selector";
        let range = self.in_context(range, context, ANY_DURATION)?;
        if let Some(close) = self.accept(TokenKind::RightBracket)? {
            return self.matrix_selector(open, &close, node, range);
        }
        let colon = self.expect(TokenKind::Colon);
        self.in_context(colon, "subquery or range", "\":\" or \"]\"")?;
        let (step, close) = match self.accept(TokenKind::RightBracket)? {
            Some(close) => (None, close),
            None => {
                let context = "subquery selector";
                let step = self.positive_duration();
                let expected = "number, duration, step(), range(), or \"]\"";
                let step = self.in_context(step, context, expected)?;
                let close = self.expect(TokenKind::RightBracket);
                (Some(step), self.in_context(close, context, "\"]\"")?)
            }
        };
        let (range_ms, range_expr) = range.split();
        let (step_ms, step_expr) = step.map_or((0, None), ParsedDuration::split);
        let span = Span {
            start: node.expr.span().start,
            end: close.span().end,
        };
        let subquery = SubqueryExpr {
            expr: node.expr,
            range_ms,
            range_expr,
            step_ms,
            step_expr,
            time: TimeModifiers::default(),
            span,
        };
        self.inner(Expr::Subquery(Box::new(subquery)), node.depth)
    }

    fn matrix_selector(
        &mut self,
        open: &Token<'_>,
        close: &Token<'_>,
        node: Node,
        range: ParsedDuration,
    ) -> Parsed<Node> {
        let brackets = Span {
            start: open.start,
            end: close.span().end,
        };
        let fail = |message| Err(Fail::error(brackets, message));
        let Expr::VectorSelector(selector) = node.expr else {
            return fail("ranges only allowed for vector selectors");
        };
        if selector.time.offset_ms != 0 || selector.time.offset_expr.is_some() {
            return fail("no offset modifiers allowed before range");
        }
        if selector.time.at_ms.is_some() || selector.time.at_boundary.is_some() {
            return fail("no @ modifiers allowed before range");
        }
        let (range_ms, range_expr) = range.split();
        let span = Span {
            start: selector.span.start,
            end: self.last_closing,
        };
        let matrix = MatrixSelector {
            selector: *selector,
            range_ms,
            range_expr,
            span,
        };
        self.inner(Expr::MatrixSelector(Box::new(matrix)), node.depth)
    }

    fn positive_duration(&mut self) -> Parsed<ParsedDuration> {
        let duration = self.duration()?;
        if let DurationExpr::Number(number) = &duration
            && (number.value <= 0.0 || number.value.is_nan())
        {
            // Go lets NaN through here and then computes with garbage.
            let message = "duration must be greater than 0";
            return Err(Fail::error(number.span, message));
        }
        Ok(ParsedDuration::from(duration))
    }

    fn offset(&mut self, mut node: Node) -> Parsed<Node> {
        let offset = self.offset_duration();
        let offset = self.in_context(offset, "offset", ANY_DURATION)?;
        let span = node.expr.span();
        let end = self.last_closing;
        let Some((time, end_of)) = time_modifiers(&mut node.expr) else {
            let message = "offset modifier must be preceded by an instant vector selector \
                           or range vector selector or a subquery";
            return Err(Fail::error(span, message));
        };
        if time.offset_ms != 0 || time.offset_expr.is_some() {
            return Err(Fail::error(span, "offset may not be set multiple times"));
        }
        (time.offset_ms, time.offset_expr) = offset.split();
        *end_of = end;
        Ok(node)
    }

    fn at(&mut self, mut node: Node) -> Parsed<Node> {
        let at = self.at_value();
        let at = self.in_context(at, "@", "timestamp")?;
        let span = node.expr.span();
        let end = self.last_closing;
        if let At::Seconds(seconds) = at
            && (!seconds.is_finite() || seconds.abs() >= i64::MAX as f64)
        {
            let value = go_fixed(seconds);
            let message = format!("timestamp out of bounds for @ modifier: {value}");
            return Err(Fail::error(span, message));
        }
        let Some((time, end_of)) = time_modifiers(&mut node.expr) else {
            let message = "@ modifier must be preceded by an instant vector selector \
                           or range vector selector or a subquery";
            return Err(Fail::error(span, message));
        };
        if time.at_ms.is_some() || time.at_boundary.is_some() {
            let message = "@ <timestamp> may not be set multiple times";
            return Err(Fail::error(span, message));
        }
        match at {
            At::Seconds(seconds) => time.at_ms = Some((seconds * 1000.0).round() as i64),
            At::Boundary(boundary) => time.at_boundary = Some(boundary),
        }
        *end_of = end;
        Ok(node)
    }

    fn at_value(&mut self) -> Parsed<At> {
        let boundary = match self.peek()? {
            TokenKind::Start => StartOrEnd::Start,
            TokenKind::End => StartOrEnd::End,
            _ => return self.signed_number().map(At::Seconds),
        };
        self.next()?;
        self.expect(TokenKind::LeftParen)?;
        self.expect(TokenKind::RightParen)?;
        Ok(At::Boundary(boundary))
    }

    fn signed_number(&mut self) -> Parsed<f64> {
        let negative = match self.peek()? {
            TokenKind::Binary(BinaryOp::Add) => self.next().map(|_| false)?,
            TokenKind::Binary(BinaryOp::Sub) => self.next().map(|_| true)?,
            _ => false,
        };
        if !matches!(self.peek()?, TokenKind::Number | TokenKind::Duration) {
            return Err(Fail::Unexpected);
        }
        let value = self.number_literal()?.value;
        Ok(if negative { negate(value) } else { value })
    }

    /// `anchored` or `smoothed`.
    fn extended(&self, mut node: Node, modifier: &'static str) -> Parsed<Node> {
        let span = node.expr.span();
        let fail = |message: String| Err(Fail::error(span, message));
        if !self.features.extended_range_selectors {
            return fail(format!(
                "{modifier} modifier is experimental and not enabled"
            ));
        }
        let selector = match &mut node.expr {
            Expr::VectorSelector(selector) => &mut **selector,
            Expr::MatrixSelector(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => {
                return fail(format!(
                    "{modifier} modifier is not supported for subqueries"
                ));
            }
            _ => return fail(format!("{modifier} modifier not implemented")),
        };
        if modifier == "anchored" {
            selector.anchored = true;
        } else {
            selector.smoothed = true;
        }
        if selector.anchored && selector.smoothed {
            return fail("anchored and smoothed modifiers cannot be used together".to_owned());
        }
        Ok(node)
    }
}

/// The offset and `@` of a selector or subquery, and the end of its span, which they extend.
fn time_modifiers(expr: &mut Expr) -> Option<(&mut TimeModifiers, &mut usize)> {
    match expr {
        Expr::VectorSelector(s) => Some((&mut s.time, &mut s.span.end)),
        Expr::MatrixSelector(m) => Some((&mut m.selector.time, &mut m.span.end)),
        Expr::Subquery(s) => Some((&mut s.time, &mut s.span.end)),
        _ => None,
    }
}

/// Go's `%f`.
fn go_fixed(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value:.6}")
    }
}

impl ParsedDuration {
    /// Milliseconds where known, and the expression otherwise.
    fn split(self) -> (i64, Option<Box<DurationExpr>>) {
        match self {
            Self::Seconds(seconds) => (seconds_to_ms(seconds), None),
            Self::Expr(expr) => (0, Some(expr)),
        }
    }
}
