//! From the syntax tree to the tree that is evaluated: names bound to implementations, times
//! resolved, constants folded, and every largest subtree whose value does not depend on the
//! evaluation time marked to be evaluated once.
//!
//! Source: Prometheus `PreprocessExpr`, `FindMinMaxTime` and `detectHistogramStatsDecoding` in
//! `promql/engine.go`. As there, a step-invariant parameter of an aggregation is not marked.

use std::cell::Cell;

use tenbin_model::{Matcher, TimeRange};

use crate::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, BinaryOp, CallExpr, Expr, Span, StartOrEnd,
    StringLiteral, SubqueryExpr, TimeModifiers, UnaryOp, ValueType, VectorMatching, VectorSelector,
};
use crate::engine::QueryRange;
use crate::error::EvalError;
use crate::eval::grid::TimeShift;
use crate::eval::sharing::Likeness;
use crate::functions::{self, Function};
use crate::options::EngineOptions;

/// A node to evaluate and its place in the query, without parentheses around it.
#[derive(Debug)]
pub(crate) struct Node<'q> {
    pub(crate) kind: Kind<'q>,
    pub(crate) span: Span,
    /// Its place among the equal nodes of the query.
    pub(crate) like: Cell<Likeness>,
}

impl<'q> Node<'q> {
    fn new(kind: Kind<'q>, span: Span) -> Self {
        Self {
            kind,
            span,
            like: Cell::default(),
        }
    }

    pub(crate) fn set_class(&self, class: u32) {
        self.like.set(Likeness { class, uses: 0 });
    }

    /// Whether other nodes of the query have the same value, so that it is worth keeping.
    pub(crate) fn is_shared(&self) -> bool {
        self.like.get().uses > 1
    }
}

#[derive(Debug)]
pub(crate) enum Kind<'q> {
    Number(f64),
    Text(&'q StringLiteral),
    Selector(Selector<'q>),
    Range(RangeSelector<'q>),
    Subquery(Box<Subquery<'q>>),
    Call(Box<Call<'q>>),
    Aggregate(Box<Aggregate<'q>>),
    Binary(Box<Binary<'q>>),
    /// Unary minus.
    Negate(Box<Node<'q>>),
    /// Unary plus.
    Same(Box<Node<'q>>),
    /// Evaluated at the first step, the value taken for all.
    Once(Box<Node<'q>>),
}

#[derive(Debug, Clone)]
pub(crate) struct Selector<'q> {
    pub(crate) matchers: &'q [Matcher],
    pub(crate) time: TimeShift,
    pub(crate) anchored: bool,
    pub(crate) smoothed: bool,
    /// Of histograms only count and sum matter, and their counter resets are found on the fly.
    pub(crate) stats_only: bool,
    /// Values of floats are not looked at, only that they are there.
    pub(crate) presence_only: Cell<bool>,
    /// The function or aggregation around it, for the store.
    pub(crate) around: &'q str,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct RangeSelector<'q> {
    pub(crate) selector: Selector<'q>,
    pub(crate) range_ms: i64,
}

#[derive(Debug)]
pub(crate) struct Subquery<'q> {
    pub(crate) inner: Node<'q>,
    pub(crate) range_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) time: TimeShift,
}

#[derive(Debug)]
pub(crate) struct Call<'q> {
    pub(crate) name: &'static str,
    pub(crate) function: &'static Function,
    pub(crate) args: Vec<Node<'q>>,
    /// For `info`: the time that the first selector of its argument looks at.
    pub(crate) info_time: TimeShift,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Aggregate<'q> {
    pub(crate) op: AggregateOp,
    pub(crate) input: Node<'q>,
    pub(crate) param: Option<Node<'q>>,
    pub(crate) grouping: Vec<&'q str>,
    pub(crate) without: bool,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Binary<'q> {
    pub(crate) op: BinaryOp,
    pub(crate) lhs: Node<'q>,
    pub(crate) rhs: Node<'q>,
    pub(crate) shape: BinaryShape<'q>,
    pub(crate) return_bool: bool,
    pub(crate) span: Span,
}

/// What kind of operands a binary operation has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BinaryShape<'q> {
    Scalars,
    VectorScalar,
    ScalarVector,
    Vectors(&'q VectorMatching),
}

/// A planned query.
#[derive(Debug)]
pub(crate) struct Plan<'q> {
    pub(crate) root: Node<'q>,
    /// Number of selectors.
    pub(crate) selectors: usize,
    /// All times that selectors may look at.
    pub(crate) range: TimeRange,
}

/// Where in the tree planning is.
#[derive(Debug, Clone, Copy)]
struct Place<'q> {
    /// First and last evaluation time of the enclosing grid.
    first_ms: i64,
    last_ms: i64,
    /// The function or aggregation around.
    around: &'q str,
    /// Inside `histogram_count`, `histogram_sum` or `histogram_avg`.
    wants_stats: bool,
    /// Inside something that needs the buckets.
    wants_buckets: bool,
    /// Only whether there is a sample matters, not its value.
    presence_only: bool,
    /// Inside the parameter of an aggregation.
    in_parameter: bool,
}

/// A planned subtree and whether its value is the same at every step.
struct Planned<'q> {
    node: Node<'q>,
    invariant: bool,
    /// Worth evaluating once: not for literals, and never for range vectors.
    wrap: bool,
}

struct Planner<'a> {
    range: &'a QueryRange,
    options: &'a EngineOptions,
    selected: Option<TimeRange>,
    /// Number of selectors seen.
    selectors: usize,
}

/// Plans `expr`.
pub(crate) fn plan<'q>(
    expr: &'q Expr,
    range: &QueryRange,
    options: &EngineOptions,
) -> Result<Plan<'q>, EvalError> {
    let mut planner = Planner {
        range,
        options,
        selected: None,
        selectors: 0,
    };
    let place = Place {
        first_ms: range.start_ms,
        last_ms: range.end_ms,
        around: "",
        wants_stats: false,
        wants_buckets: false,
        presence_only: false,
        in_parameter: false,
    };
    let planned = planner.plan(expr, place)?;
    Ok(Plan {
        root: once_if(planned.wrap, planned.node),
        selectors: planner.selectors,
        range: planner.selected.unwrap_or(TimeRange::new(0, 0)),
    })
}

fn once_if(wrap: bool, node: Node<'_>) -> Node<'_> {
    if wrap {
        let span = node.span;
        Node::new(Kind::Once(Box::new(node)), span)
    } else {
        node
    }
}

fn literal<'q>(kind: Kind<'q>, span: Span) -> Planned<'q> {
    Planned {
        node: Node::new(kind, span),
        invariant: true,
        wrap: false,
    }
}

impl Planner<'_> {
    fn plan<'q>(&mut self, expr: &'q Expr, place: Place<'q>) -> Result<Planned<'q>, EvalError> {
        match expr {
            Expr::Number(number) => Ok(literal(Kind::Number(number.value), number.span)),
            Expr::String(text) => Ok(literal(Kind::Text(text), text.span)),
            Expr::Paren(paren) => self.plan(&paren.expr, place),
            Expr::VectorSelector(selector) => {
                let (selector, invariant) = self.selector(selector, 0, place);
                let span = selector.span;
                let kind = Kind::Selector(selector);
                Ok(Planned {
                    node: Node::new(kind, span),
                    invariant,
                    wrap: invariant,
                })
            }
            Expr::MatrixSelector(matrix) => {
                let (selector, invariant) = self.selector(&matrix.selector, matrix.range_ms, place);
                let kind = Kind::Range(RangeSelector {
                    selector,
                    range_ms: matrix.range_ms,
                });
                Ok(Planned {
                    node: Node::new(kind, matrix.span),
                    invariant,
                    wrap: false,
                })
            }
            Expr::Subquery(subquery) => self.subquery(subquery, place),
            Expr::Unary(unary) => {
                let operand = self.plan(&unary.expr, place)?;
                let operand_node = Box::new(operand.node);
                let kind = match unary.op {
                    UnaryOp::Minus => Kind::Negate(operand_node),
                    UnaryOp::Plus => Kind::Same(operand_node),
                };
                Ok(Planned {
                    node: Node::new(kind, unary.span),
                    invariant: operand.invariant,
                    wrap: operand.wrap,
                })
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, place),
            Expr::Binary(_) => self.binary(expr, place),
            Expr::Call(call) => self.call(call, place),
        }
    }

    fn time(&self, time: &TimeModifiers, place: &Place<'_>) -> TimeShift {
        if place.in_parameter {
            // Prometheus leaves parameters out when it resolves `@`: the boundaries have no
            // effect there, and a fixed time moves along with the steps.
            let moved = time
                .at_ms
                .map_or(0, |at| self.range.start_ms.saturating_sub(at));
            return TimeShift {
                at_ms: None,
                offset_ms: time.offset_ms.saturating_add(moved),
            };
        }
        let boundary = time.at_boundary.map(|boundary| match boundary {
            StartOrEnd::Start => self.range.start_ms,
            StartOrEnd::End => self.range.end_ms,
        });
        TimeShift {
            at_ms: time.at_ms.or(boundary),
            offset_ms: time.offset_ms,
        }
    }

    fn selector<'q>(
        &mut self,
        selector: &'q VectorSelector,
        range_ms: i64,
        place: Place<'q>,
    ) -> (Selector<'q>, bool) {
        self.selectors += 1;
        let time = self.time(&selector.time, &place);
        let lookback = self.options.lookback_ms;
        let extended = selector.anchored || selector.smoothed;
        let before = if range_ms == 0 {
            lookback
        } else if extended {
            range_ms.saturating_add(lookback)
        } else {
            range_ms
        };
        let after = if selector.smoothed { lookback } else { 0 };
        self.look_at(
            time.apply(place.first_ms).saturating_sub(before - 1),
            time.apply(place.last_ms).saturating_add(after),
        );
        let planned = Selector {
            matchers: &selector.matchers,
            time,
            anchored: selector.anchored,
            smoothed: selector.smoothed,
            stats_only: place.wants_stats && !place.wants_buckets,
            presence_only: Cell::new(place.presence_only && !extended),
            around: place.around,
            span: selector.span,
        };
        (planned, time.at_ms.is_some())
    }

    /// Notes that times from `min_ms` to `max_ms` will be asked for.
    fn look_at(&mut self, min_ms: i64, max_ms: i64) {
        let range = self.selected.get_or_insert(TimeRange::new(min_ms, max_ms));
        range.min_ms = range.min_ms.min(min_ms);
        range.max_ms = range.max_ms.max(max_ms);
    }

    fn subquery<'q>(
        &mut self,
        subquery: &'q SubqueryExpr,
        place: Place<'q>,
    ) -> Result<Planned<'q>, EvalError> {
        let time = self.time(&subquery.time, &place);
        let inside = Place {
            first_ms: time.apply(place.first_ms).saturating_sub(subquery.range_ms),
            last_ms: time.apply(place.last_ms),
            wants_buckets: true,
            ..place
        };
        let inner = self.plan(&subquery.expr, inside)?;
        let step_ms = if subquery.step_ms == 0 {
            self.options.default_subquery_step_ms
        } else {
            subquery.step_ms
        };
        let kind = Kind::Subquery(Box::new(Subquery {
            // Once per subquery, whether or not the subquery itself is pinned.
            inner: once_if(inner.invariant, inner.node),
            range_ms: subquery.range_ms,
            step_ms: step_ms.max(1),
            time,
        }));
        Ok(Planned {
            node: Node::new(kind, subquery.span),
            invariant: time.at_ms.is_some(),
            wrap: false,
        })
    }

    fn aggregate<'q>(
        &mut self,
        aggregate: &'q AggregateExpr,
        place: Place<'q>,
    ) -> Result<Planned<'q>, EvalError> {
        let inside = Place {
            around: aggregate.op.as_str(),
            presence_only: matches!(aggregate.op, AggregateOp::Count | AggregateOp::Group),
            ..place
        };
        let input = self.plan(&aggregate.expr, inside)?;
        let param = match &aggregate.param {
            Some(param) => {
                let inside = Place {
                    presence_only: false,
                    in_parameter: true,
                    ..inside
                };
                Some(self.plan(param, inside)?.node)
            }
            None => None,
        };
        let mut grouping: Vec<&str> = aggregate.grouping.iter().map(String::as_str).collect();
        grouping.sort_unstable();
        let kind = Kind::Aggregate(Box::new(Aggregate {
            op: aggregate.op,
            input: input.node,
            param,
            grouping,
            without: aggregate.without,
            span: aggregate.span,
        }));
        Ok(Planned {
            node: Node::new(kind, aggregate.span),
            invariant: input.invariant,
            wrap: input.wrap,
        })
    }

    /// Plans a chain of binary operations. The chain is walked, not recursed into: it may have a
    /// thousand terms.
    fn binary<'q>(&mut self, expr: &'q Expr, place: Place<'q>) -> Result<Planned<'q>, EvalError> {
        let (first, chain) = expr.chain();
        let mut inside = Place {
            around: "",
            ..place
        };
        // A trim wants the buckets of everything inside it, that is of the terms up to its own.
        let last_trim = chain
            .iter()
            .rposition(|e| matches!(e.op, BinaryOp::TrimLower | BinaryOp::TrimUpper));
        inside.wants_buckets = place.wants_buckets || last_trim.is_some();
        // Set operators pass values on from some sides, and look at none.
        let passes = chain
            .iter()
            .rposition(|e| !e.op.is_set())
            .map_or(0, |at| at + 1);
        inside.presence_only = place.presence_only && passes == 0;
        let mut lhs = self.plan(first, inside)?;
        let mut lhs_is_scalar = first.value_type() == ValueType::Scalar;
        for (at, binary) in chain.into_iter().enumerate() {
            inside.wants_buckets = place.wants_buckets || last_trim.is_some_and(|last| at <= last);
            inside.presence_only = match binary.op {
                BinaryOp::And | BinaryOp::Unless => true,
                BinaryOp::Or => place.presence_only && at >= passes,
                _ => false,
            };
            let rhs = self.plan(&binary.rhs, inside)?;
            let rhs_is_scalar = binary.rhs.value_type() == ValueType::Scalar;
            lhs = operation(binary, lhs, rhs, (lhs_is_scalar, rhs_is_scalar))?;
            lhs_is_scalar &= rhs_is_scalar;
        }
        Ok(lhs)
    }

    fn call<'q>(&mut self, call: &'q CallExpr, place: Place<'q>) -> Result<Planned<'q>, EvalError> {
        let name = call.function.name;
        let function = functions::find(name)
            .ok_or_else(|| EvalError::Unsupported(format!("the function {name}")))?;
        let inside = Place {
            around: name,
            wants_stats: place.wants_stats
                || matches!(name, "histogram_count" | "histogram_sum" | "histogram_avg"),
            wants_buckets: place.wants_buckets
                || matches!(
                    name,
                    "histogram_quantile" | "histogram_quantiles" | "histogram_fraction"
                ),
            presence_only: match name {
                "absent"
                | "absent_over_time"
                | "count_over_time"
                | "present_over_time"
                | "timestamp"
                | "ts_of_first_over_time"
                | "ts_of_last_over_time" => true,
                "first_over_time" | "label_join" | "label_replace" | "last_over_time" => {
                    place.presence_only
                }
                _ => false,
            },
            ..place
        };
        let args = call
            .args
            .iter()
            .map(|arg| self.plan(arg, inside))
            .collect::<Result<Vec<_>, _>>()?;
        let all_invariant = args.iter().all(|arg| arg.invariant);
        // The timestamp of a pinned selector's samples is as fixed as the samples.
        let pinned_timestamp = name == "timestamp"
            && args
                .iter()
                .all(|a| matches!(a.node.kind, Kind::Selector(_)));
        let invariant = all_invariant && (!function.depends_on_time || pinned_timestamp);
        let info_time = match (name, call.args.first()) {
            ("info", Some(arg)) => self.info_time(arg, inside),
            _ => TimeShift::default(),
        };
        let args = args
            .into_iter()
            .map(|arg| once_if(!invariant && arg.wrap, arg.node))
            .collect();
        let kind = Kind::Call(Box::new(Call {
            name,
            function,
            args,
            info_time,
            span: call.span,
        }));
        Ok(Planned {
            node: Node::new(kind, call.span),
            invariant,
            wrap: invariant,
        })
    }

    /// The time that the first selector inside `expr` looks at: its own `@`, or else that of the
    /// nearest subquery around it, with the offsets up to there.
    fn info_time(&mut self, expr: &Expr, place: Place<'_>) -> TimeShift {
        let mut shift = TimeShift::default();
        if let Some(path) = first_selector_times(expr) {
            for time in path.iter().rev() {
                let step = self.time(time, &place);
                shift.offset_ms = shift.offset_ms.saturating_add(step.offset_ms);
                shift.at_ms = step.at_ms;
                if shift.at_ms.is_some() {
                    break;
                }
            }
        }
        self.look_at(
            shift
                .apply(place.first_ms)
                .saturating_sub(self.options.lookback_ms - 1),
            shift.apply(place.last_ms),
        );
        shift
    }
}

/// A binary operation on planned operands, of which is told whether they are scalars.
fn operation<'q>(
    binary: &'q BinaryExpr,
    lhs: Planned<'q>,
    rhs: Planned<'q>,
    scalars: (bool, bool),
) -> Result<Planned<'q>, EvalError> {
    let shape = match (scalars, &binary.matching) {
        ((true, true), _) => BinaryShape::Scalars,
        ((false, true), _) => BinaryShape::VectorScalar,
        ((true, false), _) => BinaryShape::ScalarVector,
        ((false, false), Some(matching)) => BinaryShape::Vectors(matching),
        ((false, false), None) => {
            return Err(EvalError::BadQuery(
                "binary operation between vectors without matching".to_owned(),
            ));
        }
    };
    let invariant = lhs.invariant && rhs.invariant;
    let kind = Kind::Binary(Box::new(Binary {
        op: binary.op,
        lhs: once_if(!invariant && lhs.wrap, lhs.node),
        rhs: once_if(!invariant && rhs.wrap, rhs.node),
        shape,
        return_bool: binary.return_bool,
        span: binary.span,
    }));
    Ok(Planned {
        node: Node::new(kind, binary.span),
        invariant,
        wrap: invariant,
    })
}

/// The time modifiers on the way to the first selector in `expr`: those of subqueries around it
/// from the outside in, then its own.
fn first_selector_times(expr: &Expr) -> Option<Vec<&TimeModifiers>> {
    match expr {
        Expr::VectorSelector(selector) => Some(vec![&selector.time]),
        Expr::MatrixSelector(matrix) => Some(vec![&matrix.selector.time]),
        Expr::Subquery(subquery) => {
            let mut path = first_selector_times(&subquery.expr)?;
            path.insert(0, &subquery.time);
            Some(path)
        }
        Expr::Paren(paren) => first_selector_times(&paren.expr),
        Expr::Unary(unary) => first_selector_times(&unary.expr),
        Expr::Aggregate(aggregate) => first_selector_times(&aggregate.expr)
            .or_else(|| aggregate.param.as_ref().and_then(first_selector_times)),
        Expr::Binary(_) => {
            let (first, chain) = expr.chain();
            first_selector_times(first)
                .or_else(|| chain.iter().find_map(|e| first_selector_times(&e.rhs)))
        }
        Expr::Call(call) => call.args.iter().find_map(first_selector_times),
        Expr::Number(_) | Expr::String(_) => None,
    }
}
