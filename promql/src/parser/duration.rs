//! Duration expressions: inside `[...]`, `[...:...]` and after `offset`.
//!
//! After `offset` an expression must be told from what follows the selector: `x offset 5m + 3` is
//! `(x offset 5m) + 3`. So only a parenthesis or a doubled sign opens one there. (That a
//! parenthesised one goes on after its parenthesis is what Prometheus' grammar makes of it.)

use crate::ast::{BinaryOp, DurationExpr, NumberLiteral, Span, UnaryOp};
use crate::token::TokenKind;

use super::expression::{POWER, negate, precedence};
use super::{Fail, Parsed, Parser};

/// A duration, known or still to be computed.
pub(super) enum ParsedDuration {
    Seconds(f64),
    Expr(Box<DurationExpr>),
}

impl From<DurationExpr> for ParsedDuration {
    fn from(expr: DurationExpr) -> Self {
        match expr {
            DurationExpr::Number(number) => Self::Seconds(number.value),
            other => Self::Expr(Box::new(other)),
        }
    }
}

/// Whole milliseconds of a literal, by way of nanoseconds as in Go.
pub(super) fn seconds_to_ms(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / 1_000_000
}

/// Whether seconds exceed Go's 64-bit nanoseconds.
fn out_of_range(seconds: f64) -> bool {
    seconds.abs() > 9_223_372_036.854_776
}

fn out_of_range_error(span: Span) -> Fail {
    Fail::error(span, "duration out of range")
}

impl Parser<'_> {
    pub(super) fn duration(&mut self) -> Parsed<DurationExpr> {
        self.duration_from(0)
    }

    fn duration_from(&mut self, minimum: u8) -> Parsed<DurationExpr> {
        self.nested(|p| {
            let left = p.duration_operand()?;
            p.duration_operators(left, minimum)
        })
    }

    /// The operators after `left`. Left-leaning chains deepen the tree, so each counts a level.
    fn duration_operators(&mut self, left: DurationExpr, minimum: u8) -> Parsed<DurationExpr> {
        let mut left = left;
        let mut depth = self.nesting;
        loop {
            let TokenKind::Binary(op) = self.peek()? else {
                return Ok(left);
            };
            let own = precedence(op);
            let arithmetic = own >= 4 && op != BinaryOp::Atan2;
            if !arithmetic || own < minimum {
                return Ok(left);
            }
            let token = self.next()?;
            let right = self.duration_from(if own == POWER { POWER } else { own + 1 })?;
            if let DurationExpr::Number(NumberLiteral { value: 0.0, .. }) = right {
                if op == BinaryOp::Div {
                    return Err(Fail::error(token.span(), "division by zero"));
                }
                if op == BinaryOp::Mod {
                    return Err(Fail::error(token.span(), "modulo by zero"));
                }
            }
            depth += 1;
            self.check_depth(depth)?;
            let span = Span {
                start: left.span().start,
                end: right.span().end,
            };
            left = self.duration_node(DurationExpr::Binary {
                op,
                lhs: Box::new(left),
                rhs: Box::new(right),
                span,
            })?;
        }
    }

    fn duration_node(&mut self, expr: DurationExpr) -> Parsed<DurationExpr> {
        self.count_node()?;
        Ok(expr)
    }

    fn duration_operand(&mut self) -> Parsed<DurationExpr> {
        match self.peek()? {
            TokenKind::Number | TokenKind::Duration => self.duration_literal(),
            TokenKind::Binary(BinaryOp::Add) => self.signed_duration(UnaryOp::Plus),
            TokenKind::Binary(BinaryOp::Sub) => self.signed_duration(UnaryOp::Minus),
            TokenKind::Step | TokenKind::Range | TokenKind::MaxOf | TokenKind::MinOf => {
                self.duration_function()
            }
            TokenKind::LeftParen => {
                let start = self.next()?.start;
                let inside = self.duration()?;
                self.expect(TokenKind::RightParen)?;
                self.parenthesised_duration(inside, start)
            }
            _ => Err(Fail::Unexpected),
        }
    }

    fn duration_literal(&mut self) -> Parsed<DurationExpr> {
        let number = self.number_literal()?;
        if out_of_range(number.value) {
            return Err(out_of_range_error(number.span));
        }
        self.duration_node(DurationExpr::Number(number))
    }

    /// `step()`, `range()`, `min_of(a, b)`, `max_of(a, b)`
    fn duration_function(&mut self) -> Parsed<DurationExpr> {
        let name = self.next()?;
        self.expect(TokenKind::LeftParen)?;
        if matches!(name.kind, TokenKind::Step | TokenKind::Range) {
            let span = Span {
                start: name.start,
                end: self.expect(TokenKind::RightParen)?.span().end,
            };
            let step = name.kind == TokenKind::Step;
            return self.duration_node(if step {
                DurationExpr::Step(span)
            } else {
                DurationExpr::Range(span)
            });
        }
        let lhs = Box::new(self.duration()?);
        self.expect(TokenKind::Comma)?;
        let rhs = Box::new(self.duration()?);
        self.expect(TokenKind::RightParen)?;
        // The span is that of the arguments, as in Prometheus' error positions.
        let span = Span {
            start: lhs.span().start,
            end: rhs.span().end,
        };
        let max = name.kind == TokenKind::MaxOf;
        self.duration_node(if max {
            DurationExpr::MaxOf { lhs, rhs, span }
        } else {
            DurationExpr::MinOf { lhs, rhs, span }
        })
    }

    /// Parentheses around `inside`. Around anything but a number they leave its span alone.
    fn parenthesised_duration(
        &mut self,
        inside: DurationExpr,
        start: usize,
    ) -> Parsed<DurationExpr> {
        let span = match &inside {
            // Doubled parentheses mean no more than single ones.
            DurationExpr::Paren { .. } => return Ok(inside),
            DurationExpr::Number(number) => Span {
                start,
                end: number.span.end,
            },
            other => other.span(),
        };
        self.duration_node(DurationExpr::Paren {
            expr: Box::new(inside),
            span,
        })
    }

    fn signed_duration(&mut self, op: UnaryOp) -> Parsed<DurationExpr> {
        let sign = self.next()?;
        let operand = self.duration_from(POWER)?;
        self.apply_sign(op, sign.span(), operand)
    }

    fn apply_sign(
        &mut self,
        op: UnaryOp,
        sign: Span,
        operand: DurationExpr,
    ) -> Parsed<DurationExpr> {
        if let DurationExpr::Number(mut number) = operand {
            if op == UnaryOp::Minus {
                number.value = negate(number.value);
            }
            if out_of_range(number.value) {
                return Err(out_of_range_error(sign));
            }
            number.span.start = sign.start;
            return Ok(DurationExpr::Number(number));
        }
        if op == UnaryOp::Plus {
            return Ok(operand);
        }
        self.unary_duration(op, sign, operand)
    }

    fn unary_duration(
        &mut self,
        op: UnaryOp,
        sign: Span,
        operand: DurationExpr,
    ) -> Parsed<DurationExpr> {
        let span = Span {
            start: sign.start,
            end: operand.span().end,
        };
        self.duration_node(DurationExpr::Unary {
            op,
            expr: Box::new(operand),
            span,
        })
    }

    /// The duration after `offset`.
    pub(super) fn offset_duration(&mut self) -> Parsed<ParsedDuration> {
        let op = match self.peek()? {
            TokenKind::Binary(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Binary(BinaryOp::Sub) => UnaryOp::Minus,
            TokenKind::LeftParen => return self.duration().map(ParsedDuration::from),
            _ => return self.duration_operand().map(ParsedDuration::from),
        };
        let sign = self.next()?.span();
        match self.peek()? {
            TokenKind::Number | TokenKind::Duration => {
                let mut number = self.number_literal()?;
                if op == UnaryOp::Minus {
                    number.value = negate(number.value);
                }
                if out_of_range(number.value) {
                    return Err(out_of_range_error(sign));
                }
                Ok(ParsedDuration::Seconds(number.value))
            }
            TokenKind::LeftParen => {
                self.next()?;
                let inside = self.duration()?;
                self.expect(TokenKind::RightParen)?;
                let start = inside.span().start;
                let inside = self.parenthesised_duration(inside, start)?;
                self.apply_sign(op, sign, inside).map(ParsedDuration::from)
            }
            TokenKind::Step | TokenKind::Range | TokenKind::MaxOf | TokenKind::MinOf => {
                // Here alone a plus sign stays in the tree.
                let operand = self.duration_function()?;
                self.unary_duration(op, sign, operand)
                    .map(ParsedDuration::from)
            }
            _ => {
                let operand = self.duration_from(POWER)?;
                let signed = self.apply_sign(op, sign, operand)?;
                self.duration_operators(signed, 0).map(ParsedDuration::from)
            }
        }
    }
}
