//! Tokens to syntax tree: a recursive-descent parser, with operator precedence for binary
//! operators.
//!
//! Only the first error is reported. To make it the same one as Prometheus', whose parser is
//! generated from a grammar with error rules, three habits matter:
//! - a token is read only when the decision at hand needs it, so that an error in a finished
//!   construct comes before a lexical error behind it;
//! - an unexpected token that the construct has no text for is passed up ([`Fail::Unexpected`])
//!   to the nearest enclosing construct that has one;
//! - types are checked (`check.rs`) only when the whole text has been parsed.
//!
//! Invariants: recursion, tree depth, chains of operators and node count are bounded by
//! [`ParseLimits`]; time is linear in the text. Source of grammar and texts: Prometheus 3.14 `promql/parser/generated_parser.y`
//! and `parse.go`.

mod aggregate;
mod binary;
mod duration;
mod expression;
pub(crate) mod literal;
mod modifier;
mod selector;

use tenbin_model::Matcher;
use tenbin_model::annotations::line_and_column;

use crate::ast::{Expr, Span};
use crate::check::check;
use crate::error::ParseError;
use crate::lexer::Lexer;
use crate::options::Features;
use crate::token::{Token, TokenKind};

/// Bounds on what is parsed. Text comes from anyone who may query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLimits {
    /// Longest query text, in bytes.
    pub max_query_bytes: usize,
    /// Deepest nesting; every call, sign, parenthesis and right operand is one level. A chain of
    /// operators is one level however long it is.
    pub max_depth: usize,
    /// Most terms of a chain such as `a or b or c`. Chains in the first terms of chains may not be
    /// longer together, so the tree is at most this and `max_depth` high.
    pub max_chain_terms: usize,
    /// Most nodes of the syntax tree.
    pub max_nodes: usize,
}

/// `--query.max-length-bytes` by default.
pub const DEFAULT_MAX_QUERY_BYTES: usize = 16 * 1024;
/// Deeper than anyone writes; shallow enough that recursion over the tree fits a thread's stack
/// even without optimisation.
pub const DEFAULT_MAX_DEPTH: usize = 128;
/// Enough for generated queries with an `or` for each of hundreds of hosts.
pub const DEFAULT_MAX_CHAIN_TERMS: usize = 1_000;
/// Nodes that one query may have by default.
pub const DEFAULT_MAX_NODES: usize = 10_000;

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            max_query_bytes: DEFAULT_MAX_QUERY_BYTES,
            max_depth: DEFAULT_MAX_DEPTH,
            max_chain_terms: DEFAULT_MAX_CHAIN_TERMS,
            max_nodes: DEFAULT_MAX_NODES,
        }
    }
}

/// Parses and type-checks `text` within the default limits.
///
/// # Errors
/// The first error found, with its position.
pub fn parse(text: &str, features: &Features) -> Result<Expr, ParseError> {
    parse_with_limits(text, features, &ParseLimits::default())
}

/// Parses and type-checks `text`.
///
/// # Errors
/// The first error found, with its position; also when a limit is exceeded.
pub fn parse_with_limits(
    text: &str,
    features: &Features,
    limits: &ParseLimits,
) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, features, limits)?;
    let mut expr = parser.whole(Parser::top_expression)?;
    check(&mut expr, text).map_err(|e| e.locate(text))?;
    Ok(expr)
}

/// Parses an instant vector selector such as the `match[]` parameter holds, without offset or `@`.
/// As in Prometheus, that at least one matcher must not match the empty value is not checked here.
///
/// # Errors
/// The first error found, with its position.
pub fn parse_matchers(text: &str, features: &Features) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text, features, &ParseLimits::default())?;
    parser.whole(|p| p.vector_selector().map(|s| s.matchers))
}

/// An error with its place, before `line:col` is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) message: String,
    pub(crate) span: Span,
}

impl Located {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span,
        }
    }

    /// The error with `line:col` in `text`.
    pub(crate) fn locate(self, text: &str) -> ParseError {
        let position = if text.is_empty() {
            "unknown position".to_owned()
        } else {
            line_and_column(text, self.span.start)
        };
        ParseError {
            message: self.message,
            span: self.span,
            position,
        }
    }
}

/// Why a construct was not parsed.
#[derive(Debug, PartialEq, Eq)]
enum Fail {
    /// An error with its final text.
    Error(Located),
    /// The token read last cannot stand where it stands; an enclosing construct names itself.
    Unexpected,
}

impl Fail {
    fn error(span: Span, message: impl Into<String>) -> Self {
        Self::Error(Located::new(span, message))
    }
}

type Parsed<T> = Result<T, Fail>;

/// A subtree and how deep it is.
#[derive(Debug)]
struct Node {
    expr: Expr,
    depth: Depth,
}

/// How deep a subtree is.
#[derive(Debug, Clone, Copy, Default)]
struct Depth {
    /// With every chain of operators counting as one level.
    nesting: usize,
    /// With every operator counting as one level.
    height: usize,
}

impl Depth {
    fn max(self, other: Self) -> Self {
        Self {
            nesting: self.nesting.max(other.nesting),
            height: self.height.max(other.height),
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next token, once it has been looked at.
    lookahead: Option<Token<'a>>,
    /// The token that the lexer produced last, looked at or consumed.
    last_read: Token<'a>,
    /// The end of the last token read that may end an expression. Ends of some spans are taken
    /// from here, lookahead included, since Prometheus does so and positions show it.
    last_closing: usize,
    text: &'a str,
    features: Features,
    limits: ParseLimits,
    /// Nesting of the constructs being parsed.
    nesting: usize,
    /// Nodes made so far.
    nodes: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, features: &Features, limits: &ParseLimits) -> Result<Self, ParseError> {
        if text.len() > limits.max_query_bytes {
            let message = format!(
                "query is {} bytes long, the limit is {} bytes",
                text.len(),
                limits.max_query_bytes
            );
            return Err(Located::new(Span::default(), message).locate(text));
        }
        Ok(Self {
            lexer: Lexer::new(text),
            lookahead: None,
            last_read: Token {
                kind: TokenKind::EndOfInput,
                start: 0,
                text: "",
            },
            last_closing: 0,
            text,
            features: *features,
            limits: *limits,
            nesting: 0,
            nodes: 0,
        })
    }

    /// Runs `rule`, which must consume the whole text.
    fn whole<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Result<T, ParseError> {
        let result = rule(self).and_then(|value| {
            if self.peek()? == TokenKind::EndOfInput {
                Ok(value)
            } else {
                Err(Fail::Unexpected)
            }
        });
        let error = match result {
            Ok(value) => return Ok(value),
            Err(Fail::Error(error)) => error,
            Err(Fail::Unexpected) => self.unexpected("", ""),
        };
        Err(error.locate(self.text))
    }

    fn top_expression(&mut self) -> Parsed<Expr> {
        if self.peek()? == TokenKind::EndOfInput {
            return Err(Fail::error(Span::default(), "no expression found in input"));
        }
        self.expression().map(|node| node.expr)
    }

    /// The kind of the next token.
    fn peek(&mut self) -> Parsed<TokenKind> {
        if let Some(token) = &self.lookahead {
            return Ok(token.kind);
        }
        let token = self.lexer.next_token().map_err(|e| {
            let span = Span {
                start: e.start,
                end: self.text.len(),
            };
            Fail::error(span, e.message)
        })?;
        if matches!(
            token.kind,
            TokenKind::RightBrace
                | TokenKind::RightParen
                | TokenKind::RightBracket
                | TokenKind::Duration
                | TokenKind::Number
        ) {
            self.last_closing = token.span().end;
        }
        self.last_read = token;
        self.lookahead = Some(token);
        Ok(token.kind)
    }

    /// Consumes the next token.
    fn next(&mut self) -> Parsed<Token<'a>> {
        self.peek()?;
        Ok(self.lookahead.take().unwrap_or(self.last_read))
    }

    /// Consumes the next token if it is of `kind`.
    fn accept(&mut self, kind: TokenKind) -> Parsed<Option<Token<'a>>> {
        if self.peek()? == kind {
            self.next().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Consumes the next token, which must be of `kind`.
    fn expect(&mut self, kind: TokenKind) -> Parsed<Token<'a>> {
        self.accept(kind)?.ok_or(Fail::Unexpected)
    }

    /// The error about the token read last.
    fn unexpected(&self, context: &str, expected: &str) -> Located {
        let mut message = format!("unexpected {}", self.last_read.description());
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        Located::new(self.last_read.span(), message)
    }

    /// Gives an unexpected token inside `result` the text of this construct.
    fn in_context<T>(&self, result: Parsed<T>, context: &str, expected: &str) -> Parsed<T> {
        result.map_err(|fail| match fail {
            Fail::Unexpected => Fail::Error(self.unexpected(context, expected)),
            error @ Fail::Error(_) => error,
        })
    }

    /// Runs `rule` one level deeper.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.check_depth(self.nesting + 1)?;
        self.nesting += 1;
        let result = rule(self);
        self.nesting -= 1;
        result
    }

    fn check_depth(&self, depth: usize) -> Parsed<()> {
        if depth <= self.limits.max_depth {
            return Ok(());
        }
        let message = format!(
            "expression is nested too deeply, the limit is {} levels",
            self.limits.max_depth
        );
        Err(Fail::error(self.last_read.span(), message))
    }

    /// Counts one more node.
    fn count_node(&mut self) -> Parsed<()> {
        self.nodes += 1;
        if self.nodes <= self.limits.max_nodes {
            return Ok(());
        }
        let message = format!(
            "expression has too many parts, the limit is {}",
            self.limits.max_nodes
        );
        Err(Fail::error(self.last_read.span(), message))
    }

    /// Counts a node without children.
    fn leaf(&mut self, expr: Expr) -> Parsed<Node> {
        self.count_node()?;
        let depth = Depth {
            nesting: 1,
            height: 1,
        };
        Ok(Node { expr, depth })
    }

    /// Counts a node whose deepest child has `child` as its depth.
    fn inner(&mut self, expr: Expr, child: Depth) -> Parsed<Node> {
        let depth = Depth {
            nesting: child.nesting + 1,
            height: child.height + 1,
        };
        self.node_of_depth(expr, depth)
    }

    fn node_of_depth(&mut self, expr: Expr, depth: Depth) -> Parsed<Node> {
        self.count_node()?;
        self.check_depth(depth.nesting)?;
        if depth.height > self.limits.max_depth + self.limits.max_chain_terms {
            return Err(self.chain_too_long());
        }
        Ok(Node { expr, depth })
    }

    fn chain_too_long(&self) -> Fail {
        let message = format!(
            "expression has too long a chain of operators, the limit is {} terms",
            self.limits.max_chain_terms
        );
        Fail::error(self.last_read.span(), message)
    }

    /// The text of a string token.
    fn unquoted(&self, token: &Token<'_>) -> Parsed<String> {
        literal::unquote(token.text).ok_or_else(|| {
            let quoted = tenbin_model::text::quote::quoted(token.text);
            let message = format!("error unquoting string {quoted}: invalid syntax");
            Fail::error(self.last_read.span(), message)
        })
    }
}

#[cfg(test)]
mod tests;
