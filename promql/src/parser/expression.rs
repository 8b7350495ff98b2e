//! Operands, calls, unary operators, and the loop over binary operators and postfix modifiers.

use crate::ast::{
    BinaryOp, CallExpr, Expr, NumberLiteral, ParenExpr, Span, StringLiteral, UnaryExpr, UnaryOp,
};
use crate::signatures;
use crate::token::{Token, TokenKind};

use super::{Depth, Fail, Node, Parsed, Parser, literal};

/// Binding strength of a binary operator, from 1 (`or`); `^` alone associates to the right.
pub(super) fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterEqual
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => POWER,
    }
}

/// The strength of `^`, the only operator that binds tighter than a sign.
pub(super) const POWER: u8 = 6;

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parsed<Node> {
        self.expression_from(1)
    }

    /// An expression whose binary operators outside parentheses bind at least as tight as
    /// `minimum`.
    pub(super) fn expression_from(&mut self, minimum: u8) -> Parsed<Node> {
        self.nested(|p| {
            let mut left = p.prefixed()?;
            let mut terms = 1;
            loop {
                left = match p.peek()? {
                    TokenKind::Binary(op) if precedence(op) >= minimum => {
                        terms += 1;
                        p.binary(op, left, terms)?
                    }
                    TokenKind::LeftBracket
                    | TokenKind::Offset
                    | TokenKind::At
                    | TokenKind::Anchored
                    | TokenKind::Smoothed => p.postfix(left)?,
                    _ => return Ok(left),
                };
            }
        })
    }

    /// An operand or a sign with its operand. Postfix modifiers are left to the caller's loop,
    /// which is right for operands; a signed operand has taken its own already.
    fn prefixed(&mut self) -> Parsed<Node> {
        let kind = self.peek()?;
        if !kind.begins_expression() {
            return Err(Fail::Unexpected);
        }
        match kind {
            TokenKind::Binary(BinaryOp::Add) => self.signed(UnaryOp::Plus),
            TokenKind::Binary(BinaryOp::Sub) => self.signed(UnaryOp::Minus),
            TokenKind::Number | TokenKind::Duration => {
                let number = self.number_literal()?;
                self.leaf(Expr::Number(number))
            }
            TokenKind::String => {
                let token = self.next()?;
                let value = self.unquoted(&token)?;
                let bytes = literal::unquote_bytes(token.text);
                let literal = StringLiteral {
                    invalid_bytes: bytes.filter(|bytes| bytes != value.as_bytes()),
                    value,
                    span: token.span(),
                };
                self.leaf(Expr::String(literal))
            }
            TokenKind::LeftParen => self.parenthesised(),
            _ => self.named(),
        }
    }

    fn signed(&mut self, op: UnaryOp) -> Parsed<Node> {
        let start = self.next()?.start;
        let operand = self.expression_from(POWER)?;
        self.finish_signed(op, start, operand)
    }

    #[inline(never)]
    fn finish_signed(&mut self, op: UnaryOp, start: usize, operand: Node) -> Parsed<Node> {
        if let Expr::Number(mut number) = operand.expr {
            if op == UnaryOp::Minus {
                number.value = negate(number.value);
            }
            number.span.start = start;
            return Ok(Node {
                expr: Expr::Number(number),
                depth: operand.depth,
            });
        }
        let span = Span {
            start,
            end: operand.expr.span().end,
        };
        let expr = operand.expr;
        let unary = Expr::Unary(Box::new(UnaryExpr { op, expr, span }));
        self.inner(unary, operand.depth)
    }

    /// A number, or a duration as a number of seconds.
    pub(super) fn number_literal(&mut self) -> Parsed<NumberLiteral> {
        let token = self.next()?;
        let span = token.span();
        let duration = token.kind == TokenKind::Duration;
        let value = if duration {
            literal::duration_seconds(token.text).map_err(|e| Fail::error(span, e.to_string()))?
        } else {
            literal::number(token.text).map_err(|e| Fail::error(span, e))?
        };
        Ok(NumberLiteral {
            value,
            duration,
            span,
        })
    }

    fn parenthesised(&mut self) -> Parsed<Node> {
        let start = self.next()?.start;
        let inside = self.expression()?;
        let end = self.expect(TokenKind::RightParen)?.span().end;
        let paren = ParenExpr {
            expr: inside.expr,
            span: Span { start, end },
        };
        self.inner(Expr::Paren(Box::new(paren)), inside.depth)
    }

    /// What begins with a word or a brace: an aggregation, a call or a selector.
    fn named(&mut self) -> Parsed<Node> {
        if self.peek()? == TokenKind::LeftBrace {
            let selector = self.vector_selector()?;
            return self.leaf(Expr::VectorSelector(Box::new(selector)));
        }
        let word = self.next()?;
        let after = self.peek()?;
        match word.kind {
            TokenKind::Aggregate(op)
                if matches!(
                    after,
                    TokenKind::LeftParen | TokenKind::By | TokenKind::Without
                ) =>
            {
                self.aggregation(&word, op)
            }
            kind if after == TokenKind::LeftParen
                && (kind == TokenKind::Identifier || kind.is_preprocessor()) =>
            {
                self.call(&word)
            }
            _ => {
                let selector = self.named_selector(&word)?;
                self.leaf(Expr::VectorSelector(Box::new(selector)))
            }
        }
    }

    fn call(&mut self, name: &Token<'_>) -> Parsed<Node> {
        let (args, depth) = self.call_arguments()?;
        self.finish_call(name, args, depth)
    }

    #[inline(never)]
    fn finish_call(&mut self, name: &Token<'_>, args: Vec<Expr>, depth: Depth) -> Parsed<Node> {
        let quoted = || tenbin_model::text::quote::quoted(name.text);
        let Some(function) = signatures::find(name.text) else {
            let message = format!("unknown function with name {}", quoted());
            return Err(Fail::error(name.span(), message));
        };
        if function.experimental && !self.features.experimental_functions {
            let message = format!("function {} is not enabled", quoted());
            return Err(Fail::error(name.span(), message));
        }
        let call = CallExpr {
            function,
            args,
            span: Span {
                start: name.start,
                end: self.last_closing,
            },
        };
        self.inner(Expr::Call(Box::new(call)), depth)
    }

    /// The arguments of a call or aggregation with their parentheses, and the greatest depth among
    /// them.
    pub(super) fn call_arguments(&mut self) -> Parsed<(Vec<Expr>, Depth)> {
        self.expect(TokenKind::LeftParen)?;
        let mut args = Vec::new();
        let mut depth = Depth::default();
        if self.accept(TokenKind::RightParen)?.is_some() {
            return Ok((args, depth));
        }
        loop {
            let argument = self.expression()?;
            depth = depth.max(argument.depth);
            args.push(argument.expr);
            if self.accept(TokenKind::RightParen)?.is_some() {
                return Ok((args, depth));
            }
            let comma = self.expect(TokenKind::Comma)?;
            if !self.peek()?.begins_expression() {
                let message = "trailing commas not allowed in function call args";
                return Err(Fail::error(comma.span(), message));
            }
        }
    }
}

/// Go's multiplication by -1: a NaN keeps its bits.
pub(super) fn negate(value: f64) -> f64 {
    if value.is_nan() { value } else { -value }
}
