//! Binary operators with their modifiers: `bool`, `on`/`ignoring`, `group_left`/`group_right`,
//! `fill`.

use crate::ast::{BinaryExpr, BinaryOp, Expr, MatchCardinality, Span, VectorMatching};
use crate::token::TokenKind;

use super::expression::{POWER, negate, precedence};
use super::{Depth, Fail, Node, Parsed, Parser};

/// What stands between an operator and its right operand.
struct Modifiers {
    return_bool: bool,
    matching: VectorMatching,
}

impl Parser<'_> {
    /// The rest of a binary expression whose left operand has been parsed and whose operator is
    /// the next token. With the right operand it is a chain of `terms`.
    pub(super) fn binary(&mut self, op: BinaryOp, left: Node, terms: usize) -> Parsed<Node> {
        self.next()?;
        if terms > self.limits.max_chain_terms {
            return Err(self.chain_too_long());
        }
        let modifiers = self.modifiers()?;
        let own = precedence(op);
        let right = self.expression_from(if own == POWER { POWER } else { own + 1 })?;
        let span = Span {
            start: left.expr.span().start,
            end: right.expr.span().end,
        };
        let matching = modifiers.matching;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.features.binop_fill_modifiers {
            let message = "binop fill modifiers are experimental and not enabled";
            return Err(Fail::error(span, message));
        }
        let continues = matches!(left.expr, Expr::Binary(_));
        let binary = BinaryExpr {
            op,
            lhs: left.expr,
            rhs: right.expr,
            matching: Some(matching),
            return_bool: modifiers.return_bool,
            span,
        };
        // The operator to the left is on the same level.
        let left_nesting = left.depth.nesting - usize::from(continues);
        let depth = Depth {
            nesting: left_nesting.max(right.depth.nesting) + 1,
            height: left.depth.height.max(right.depth.height) + 1,
        };
        self.node_of_depth(Expr::Binary(Box::new(binary)), depth)
    }

    fn modifiers(&mut self) -> Parsed<Modifiers> {
        let mut modifiers = Modifiers {
            return_bool: self.accept(TokenKind::Bool)?.is_some(),
            matching: VectorMatching {
                cardinality: MatchCardinality::OneToOne,
                labels: Vec::new(),
                on: false,
                include: Vec::new(),
                fill_left: None,
                fill_right: None,
            },
        };
        let matching = &mut modifiers.matching;
        let kind = self.peek()?;
        if matches!(kind, TokenKind::On | TokenKind::Ignoring) {
            self.next()?;
            matching.on = kind == TokenKind::On;
            matching.labels = self.grouping_labels()?;
            self.group(matching)?;
        }
        self.fill(matching)?;
        Ok(modifiers)
    }

    fn group(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        matching.cardinality = match self.peek()? {
            TokenKind::GroupLeft => MatchCardinality::ManyToOne,
            TokenKind::GroupRight => MatchCardinality::OneToMany,
            _ => return Ok(()),
        };
        self.next()?;
        // The list may be left out when the right operand or a fill follows. An operand that
        // begins with a parenthesis is taken for the list.
        let kind = self.peek()?;
        if kind == TokenKind::LeftParen || !kind.begins_expression() {
            matching.include = self.grouping_labels()?;
        }
        Ok(())
    }

    fn fill(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        match self.peek()? {
            TokenKind::Fill => {
                self.next()?;
                let value = self.fill_value()?;
                matching.fill_left = Some(value);
                matching.fill_right = Some(value);
            }
            TokenKind::FillLeft => {
                self.next()?;
                matching.fill_left = Some(self.fill_value()?);
                if self.accept(TokenKind::FillRight)?.is_some() {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            TokenKind::FillRight => {
                self.next()?;
                matching.fill_right = Some(self.fill_value()?);
                if self.accept(TokenKind::FillLeft)?.is_some() {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `(1)`, `(-5m)`
    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(TokenKind::LeftParen)?;
        let negative = match self.peek()? {
            TokenKind::Binary(BinaryOp::Add) => self.next().map(|_| false)?,
            TokenKind::Binary(BinaryOp::Sub) => self.next().map(|_| true)?,
            _ => false,
        };
        if !matches!(self.peek()?, TokenKind::Number | TokenKind::Duration) {
            return Err(Fail::Unexpected);
        }
        let value = self.number_literal()?.value;
        self.expect(TokenKind::RightParen)?;
        Ok(if negative { negate(value) } else { value })
    }
}
