//! The syntax tree of a PromQL expression.
//!
//! The parser builds it, the checker has proven its types, the printer writes it back, the engine
//! plans from it. Every node knows its byte span in the query text, since error texts and
//! annotations carry positions. Durations and offsets are in milliseconds. A duration that was
//! written as an expression keeps that expression beside its place (`*_expr`) and is resolved when
//! the query's start, end and step are known (see `duration.rs`).
//!
//! Invariant: the parser bounds depth and node count, so recursion over a tree is safe.

use tenbin_model::Matcher;

/// A byte range in the query text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The four types of PromQL values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// No value: the type of a call without result.
    None,
    /// A number.
    Scalar,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
    /// A string.
    String,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `sum by (a) (x)`
    Aggregate(Box<AggregateExpr>),
    /// `a + b`
    Binary(Box<BinaryExpr>),
    /// `rate(x[5m])`
    Call(Box<CallExpr>),
    /// `x[5m]`
    MatrixSelector(Box<MatrixSelector>),
    /// `x[5m:1m]`
    Subquery(Box<SubqueryExpr>),
    /// `1.5`, `5m`
    Number(NumberLiteral),
    /// `(a)`
    Paren(Box<ParenExpr>),
    /// `"text"`
    String(StringLiteral),
    /// `-a`
    Unary(Box<UnaryExpr>),
    /// `x{a="b"}`
    VectorSelector(Box<VectorSelector>),
}

/// The aggregation operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are PromQL's own")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// An aggregation over groups of series.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateExpr {
    /// The operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// The parameter of topk, quantile and the like.
    pub param: Option<Expr>,
    /// The listed labels, in the order written.
    pub grouping: Vec<String>,
    /// `without` instead of `by`.
    pub without: bool,
    /// Whether the expression has a `by` or `without` clause at all.
    pub has_clause: bool,
    /// Place in the query.
    pub span: Span,
}

/// The binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are PromQL's own")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    /// `</`: keep the observations of a histogram up to a value.
    TrimUpper,
    /// `>/`: keep the observations of a histogram from a value on.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// `== != < > <= >=`; not the histogram trims.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(
            self,
            Equal | NotEqual | Less | Greater | LessEqual | GreaterEqual
        )
    }

    /// `and or unless`.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// The operator as PromQL writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::Greater => ">",
            Self::LessEqual => "<=",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }
}

impl AggregateOp {
    /// The operator as PromQL writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// Whether the operator takes a parameter before its expression.
    #[must_use]
    pub fn has_parameter(self) -> bool {
        matches!(
            self,
            Self::Topk
                | Self::Bottomk
                | Self::CountValues
                | Self::Quantile
                | Self::Limitk
                | Self::LimitRatio
        )
    }
}

/// How many series of either side may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchCardinality {
    /// Each series has at most one partner.
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How the sides of a binary operation between vectors find each other.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorMatching {
    /// How many may match.
    pub cardinality: MatchCardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// `on` instead of `ignoring`.
    pub on: bool,
    /// The labels that `group_left`/`group_right` copies from the one side.
    pub include: Vec<String>,
    /// Value for missing series of the left side (`fill`, `fill_left`).
    pub fill_left: Option<f64>,
    /// Value for missing series of the right side (`fill`, `fill_right`).
    pub fill_right: Option<f64>,
}

/// A binary operation.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryExpr {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: Expr,
    /// Right operand.
    pub rhs: Expr,
    /// Present exactly when both operands are vectors.
    pub matching: Option<VectorMatching>,
    /// The `bool` modifier of a comparison.
    pub return_bool: bool,
    /// Place in the query.
    pub span: Span,
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallExpr {
    /// The function, from the table in `signatures.rs`.
    pub function: &'static crate::signatures::Signature,
    /// The arguments.
    pub args: Vec<Expr>,
    /// Place in the query.
    pub span: Span,
}

/// `@ start()` or `@ end()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartOrEnd {
    /// The start of the query's range.
    Start,
    /// The end of the query's range.
    End,
}

/// The `offset` and `@` of a selector or subquery.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimeModifiers {
    /// `offset`, positive into the past.
    pub offset_ms: i64,
    /// `offset` written as an expression.
    pub offset_expr: Option<Box<DurationExpr>>,
    /// `@ <timestamp>`.
    pub at_ms: Option<i64>,
    /// `@ start()` or `@ end()`.
    pub at_boundary: Option<StartOrEnd>,
}

/// An instant vector selector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The metric name written before the braces; empty if there is none, also where a quoted
    /// name stands inside them.
    pub name: String,
    /// All matchers in the order written; the one for `name` comes last.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`.
    pub time: TimeModifiers,
    /// `anchored`: windows reach back to the last sample before them.
    pub anchored: bool,
    /// `smoothed`: values at window edges are interpolated.
    pub smoothed: bool,
    /// Place in the query.
    pub span: Span,
}

/// A range vector selector.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// The selector; offset, `@`, anchored and smoothed stand there.
    pub selector: VectorSelector,
    /// Length of the window.
    pub range_ms: i64,
    /// The window written as an expression.
    pub range_expr: Option<Box<DurationExpr>>,
    /// Place in the query.
    pub span: Span,
}

/// A subquery.
#[derive(Debug, Clone, PartialEq)]
pub struct SubqueryExpr {
    /// What is evaluated at every inner step.
    pub expr: Expr,
    /// Length of the window.
    pub range_ms: i64,
    /// The window written as an expression.
    pub range_expr: Option<Box<DurationExpr>>,
    /// Inner step; 0 = the engine's default.
    pub step_ms: i64,
    /// The step written as an expression.
    pub step_expr: Option<Box<DurationExpr>>,
    /// `offset` and `@`.
    pub time: TimeModifiers,
    /// Place in the query.
    pub span: Span,
}

/// A number.
#[derive(Debug, Clone, Copy)]
pub struct NumberLiteral {
    /// The value; a duration counts in seconds.
    pub value: f64,
    /// Written as a duration, and printed as one.
    pub duration: bool,
    /// Place in the query.
    pub span: Span,
}

/// Numbers are equal when their bits are, NaN included.
impl PartialEq for NumberLiteral {
    fn eq(&self, other: &Self) -> bool {
        self.value.to_bits() == other.value.to_bits()
            && self.duration == other.duration
            && self.span == other.span
    }
}

/// A string.
#[derive(Debug, Clone, PartialEq)]
pub struct StringLiteral {
    /// The text without quotes and escapes.
    pub value: String,
    /// The exact bytes where escapes such as `\xff` make them no UTF-8; `value` holds U+FFFD for
    /// what cannot be shown. Such a string is no valid label name.
    pub invalid_bytes: Option<Vec<u8>>,
    /// Place in the query.
    pub span: Span,
}

/// Parentheses; kept, since positions and printing depend on them.
#[derive(Debug, Clone, PartialEq)]
pub struct ParenExpr {
    /// The expression inside.
    pub expr: Expr,
    /// Place in the query.
    pub span: Span,
}

/// The unary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// A sign before an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct UnaryExpr {
    /// The operator.
    pub op: UnaryOp,
    /// The operand.
    pub expr: Expr,
    /// Place in the query.
    pub span: Span,
}

/// An expression for a duration: inside `[...]`, `[...:...]` and after `offset`. Values are seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationExpr {
    /// A number of seconds or a duration.
    Number(NumberLiteral),
    /// `+ - * / % ^`
    Binary {
        /// The operator, one of the arithmetic ones.
        op: BinaryOp,
        /// Left operand.
        lhs: Box<DurationExpr>,
        /// Right operand.
        rhs: Box<DurationExpr>,
        /// Place in the query.
        span: Span,
    },
    /// A sign.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// The operand.
        expr: Box<DurationExpr>,
        /// Place in the query.
        span: Span,
    },
    /// `step()`
    Step(Span),
    /// `range()`
    Range(Span),
    /// `min_of(a, b)`
    MinOf {
        /// First argument.
        lhs: Box<DurationExpr>,
        /// Second argument.
        rhs: Box<DurationExpr>,
        /// Place in the query.
        span: Span,
    },
    /// `max_of(a, b)`
    MaxOf {
        /// First argument.
        lhs: Box<DurationExpr>,
        /// Second argument.
        rhs: Box<DurationExpr>,
        /// Place in the query.
        span: Span,
    },
    /// Parentheses.
    Paren {
        /// The expression inside.
        expr: Box<DurationExpr>,
        /// Place in the query.
        span: Span,
    },
}

impl Expr {
    /// The expression as a chain of operators, `first op term op term ...`: its first term, and
    /// the operations from left to right, the last of which is the expression itself. Chains may
    /// be longer than the stack allows recursion, so walks over the tree follow them in loops.
    #[must_use]
    pub fn chain(&self) -> (&Self, Vec<&BinaryExpr>) {
        let (mut first, mut operations) = (self, Vec::new());
        while let Self::Binary(operation) = first {
            operations.push(&**operation);
            first = &operation.lhs;
        }
        operations.reverse();
        (first, operations)
    }

    /// Takes the chain out of the expression, for [`Expr::rejoin`] to put it back. In between the
    /// left operands are placeholders.
    #[expect(clippy::vec_box, reason = "the boxes move, not what is in them")]
    pub(crate) fn take_chain(&mut self) -> (Self, Vec<Box<BinaryExpr>>) {
        let placeholder = || {
            Self::Number(NumberLiteral {
                value: 0.0,
                duration: false,
                span: Span::default(),
            })
        };
        let mut first = std::mem::replace(self, placeholder());
        let mut operations = Vec::new();
        while let Self::Binary(mut operation) = first {
            first = std::mem::replace(&mut operation.lhs, placeholder());
            operations.push(operation);
        }
        operations.reverse();
        (first, operations)
    }

    /// The expression that [`Expr::take_chain`] took apart.
    #[expect(clippy::vec_box, reason = "the boxes move, not what is in them")]
    pub(crate) fn rejoin(first: Self, operations: Vec<Box<BinaryExpr>>) -> Self {
        operations.into_iter().fold(first, |left, mut operation| {
            operation.lhs = left;
            Self::Binary(operation)
        })
    }

    /// Place in the query.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Aggregate(e) => e.span,
            Self::Binary(e) => e.span,
            Self::Call(e) => e.span,
            Self::MatrixSelector(e) => e.span,
            Self::Subquery(e) => e.span,
            Self::Number(e) => e.span,
            Self::Paren(e) => e.span,
            Self::String(e) => e.span,
            Self::Unary(e) => e.span,
            Self::VectorSelector(e) => e.span,
        }
    }

    /// The type of value that the expression has.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Aggregate(_) | Self::VectorSelector(_) => ValueType::Vector,
            Self::Binary(_) => {
                let (first, chain) = self.chain();
                let mut terms = std::iter::once(first).chain(chain.iter().map(|e| &e.rhs));
                if terms.all(|term| term.value_type() == ValueType::Scalar) {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            Self::Call(e) => e.function.returns,
            Self::MatrixSelector(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Number(_) => ValueType::Scalar,
            Self::Paren(e) => e.expr.value_type(),
            Self::String(_) => ValueType::String,
            Self::Unary(e) => e.expr.value_type(),
        }
    }
}

impl ValueType {
    /// The name that error texts use.
    #[must_use]
    pub fn documented_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }

    /// The name that the HTTP API uses.
    #[must_use]
    pub fn api_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }
}

impl DurationExpr {
    /// Place in the query.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Number(number) => number.span,
            Self::Step(span)
            | Self::Range(span)
            | Self::Binary { span, .. }
            | Self::Unary { span, .. }
            | Self::MinOf { span, .. }
            | Self::MaxOf { span, .. }
            | Self::Paren { span, .. } => *span,
        }
    }
}
