//! For which expressions the value at a step is the same whatever other steps are asked for, to the bit.
//!
//! That takes more than looking at the past only. What depends on the whole range: `@`, `start()`,
//! `end()`, `range()`, the first step of what finds counter resets step by step (`histogram_count` and
//! the like), errors about series that become equal though they never meet, and the order in which the
//! groups of an aggregation come: that of their first series, which a shorter range may not have. Series
//! of a selection are always in one order, so what is added up straight from a selection is added in the
//! same order; what is added up from groups or joins is not promised, and not cached.

use crate::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, BinaryOp, CallExpr, DurationExpr, Expr, TimeModifiers,
    VectorSelector,
};
use crate::options::EngineOptions;
use tenbin_model::{METRIC_NAME, MatchOp};

/// Functions of which the whole range matters, or that make series equal, or that are about order.
const REFUSED: &[&str] = &[
    "end",
    "histogram_avg",
    "histogram_count",
    "histogram_quantiles",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "info",
    "label_join",
    "label_replace",
    "range",
    "sort",
    "sort_by_label",
    "sort_by_label_desc",
    "sort_desc",
    "start",
    "start_timestamp",
    "step",
];

/// In which order the series of a value come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// In the order of the store, which does not depend on the range; or there is at most one.
    Stored,
    /// In an order that may depend on the range.
    Open,
    /// So too, and dropping the names may make some of them equal.
    Mixed,
}

struct Walk {
    selectors: usize,
    /// Farthest look behind an evaluation time so far.
    reach_ms: i64,
}

/// How far behind an evaluation time an expression looks, when its value at a step depends on nothing
/// but the data up to there; else `None`.
pub(super) fn reach_ms(expr: &Expr, options: &EngineOptions) -> Option<i64> {
    let features = &options.features;
    // With both the labels of a series can change from step to step, or become those of another.
    if features.delayed_name_removal || features.type_and_unit_labels {
        return None;
    }
    let mut walk = Walk {
        selectors: 0,
        reach_ms: 0,
    };
    walk.expr(expr, 0)?;
    // What reads no data is not worth keeping.
    (walk.selectors > 0).then_some(walk.reach_ms)
}

impl Walk {
    /// `ahead_ms`: how far behind the step of the query the expression is evaluated.
    fn expr(&mut self, expr: &Expr, ahead_ms: i64) -> Option<Order> {
        match expr {
            Expr::Number(_) | Expr::String(_) => Some(Order::Stored),
            Expr::Paren(e) => self.expr(&e.expr, ahead_ms),
            Expr::Unary(e) => unmixed(self.expr(&e.expr, ahead_ms)?),
            Expr::VectorSelector(e) => self.selector(e, ahead_ms),
            Expr::MatrixSelector(e) => {
                knows_itself(e.range_expr.as_deref())?;
                self.selector(&e.selector, ahead_ms)
            }
            Expr::Subquery(e) => {
                knows_itself(e.range_expr.as_deref())?;
                knows_itself(e.step_expr.as_deref())?;
                let ahead_ms = ahead_of(&e.time, ahead_ms)?;
                self.expr(&e.expr, ahead_ms)
            }
            Expr::Call(e) => self.call(e, ahead_ms),
            Expr::Aggregate(e) => self.aggregate(e, ahead_ms),
            Expr::Binary(_) => {
                let (first, operations) = expr.chain();
                let first = self.expr(first, ahead_ms)?;
                operations
                    .iter()
                    .try_fold(first, |left, e| self.operation(left, e, ahead_ms))
            }
        }
    }

    fn selector(&mut self, selector: &VectorSelector, ahead_ms: i64) -> Option<Order> {
        // Without names, series of two metrics become equal.
        let has_name = |m: &tenbin_model::Matcher| {
            m.name() == METRIC_NAME && m.op() == MatchOp::Equal && !m.value().is_empty()
        };
        if selector.anchored || selector.smoothed || !selector.matchers.iter().any(has_name) {
            return None;
        }
        self.selectors += 1;
        self.reach_ms = self.reach_ms.max(ahead_of(&selector.time, ahead_ms)?);
        Some(Order::Stored)
    }

    fn call(&mut self, call: &CallExpr, ahead_ms: i64) -> Option<Order> {
        let name = call.function.name;
        if REFUSED.contains(&name) {
            return None;
        }
        let mut order = Order::Stored;
        for argument in &call.args {
            order = order.max(self.expr(argument, ahead_ms)?);
        }
        match name {
            "absent" | "absent_over_time" | "scalar" | "vector" | "time" | "pi" => {
                Some(Order::Stored)
            }
            // Buckets become one series.
            "histogram_quantile" | "histogram_fraction" => unmixed(order.max(Order::Open)),
            _ => unmixed(order),
        }
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr, ahead_ms: i64) -> Option<Order> {
        use AggregateOp::{Count, CountValues, Group, LimitRatio, Limitk};
        let order = self.expr(&aggregate.expr, ahead_ms)?;
        match aggregate.op {
            Limitk | LimitRatio => return None,
            // Counting is the same in any order.
            Count | CountValues | Group => {}
            _ if order > Order::Stored => return None,
            _ => {}
        }
        // A parameter that changes is judged over all steps.
        match aggregate.param.as_ref().map(without_parens) {
            None | Some(Expr::Number(_) | Expr::String(_)) => {}
            Some(_) => return None,
        }
        let is_one = !aggregate.without && aggregate.grouping.is_empty();
        Some(match aggregate.op {
            CountValues => Order::Mixed,
            // At a single step they come by value.
            AggregateOp::Topk | AggregateOp::Bottomk => Order::Open,
            _ if is_one => Order::Stored,
            _ => Order::Open,
        })
    }

    fn operation(&mut self, left: Order, operation: &BinaryExpr, ahead_ms: i64) -> Option<Order> {
        let right = self.expr(&operation.rhs, ahead_ms)?;
        let Some(matching) = &operation.matching else {
            return unmixed(left.max(right));
        };
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            return None;
        }
        match operation.op {
            BinaryOp::Or => Some(Order::Mixed),
            BinaryOp::And | BinaryOp::Unless => Some(left.max(Order::Open)),
            _ if matching.include.iter().any(|name| name == METRIC_NAME) => None,
            _ => unmixed(left.max(right).max(Order::Open)),
        }
    }
}

fn unmixed(order: Order) -> Option<Order> {
    (order < Order::Mixed).then_some(order)
}

fn without_parens(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(paren) = expr {
        expr = &paren.expr;
    }
    expr
}

/// How far behind the query's step something is evaluated that is so shifted.
fn ahead_of(time: &TimeModifiers, ahead_ms: i64) -> Option<i64> {
    if time.at_ms.is_some() || time.at_boundary.is_some() || time.offset_expr.is_some() {
        return None;
    }
    ahead_ms.checked_sub(time.offset_ms)
}

/// Refuses durations that are computed: they may depend on the range.
fn knows_itself(expr: Option<&DurationExpr>) -> Option<()> {
    expr.is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Features;
    use crate::parser::parse;

    fn reach(text: &str) -> Option<i64> {
        let features = Features {
            delayed_name_removal: false,
            ..Features::all_for_tests()
        };
        let options = EngineOptions {
            features,
            ..EngineOptions::default()
        };
        reach_ms(&parse(text, &features).unwrap(), &options)
    }

    #[test]
    fn what_dashboards_ask_is_cached() {
        for text in [
            "up",
            "sum by (job) (rate(x_total[5m])) / on (job) group_left () sum by (job) (y)",
            "histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))",
            "topk(5, x) * 100",
            "-x + time()",
            "max_over_time(rate(x[1m])[1h:30s])",
            "sum(x) or vector(0)",
            "count(sum by (a) (x))",
            "absent(up{job=\"a\"})",
            "x offset 1h",
        ] {
            assert_eq!(reach(text), Some(0), "{text}");
        }
    }

    #[test]
    fn a_look_ahead_is_counted() {
        assert_eq!(reach("x offset -1m"), Some(60_000));
        assert_eq!(
            reach("sum_over_time(x[5m:1m] offset -1m) + y"),
            Some(60_000)
        );
        let nested = "sum_over_time((x offset -1m)[5m:1m] offset -1m)";
        assert_eq!(reach(nested), Some(120_000));
        assert_eq!(
            reach("sum_over_time((x offset -1m)[5m:1m] offset 1h)"),
            Some(0)
        );
    }

    #[test]
    fn what_depends_on_the_range_is_not() {
        for text in [
            "x @ 100",
            "x @ end()",
            "rate(x[range()])",
            "x offset step()",
            "sum_over_time(x[1h:step()])",
            "x + start()",
            "info(x)",
            "sort(x)",
            "label_replace(x, \"a\", \"b\", \"\", \"\")",
            "{job=\"a\"}",
            "{__name__=~\"a|b\"}",
            "sum(sum by (a) (x))",
            "topk(2, sum by (a) (x))",
            "sum(topk(2, x))",
            "avg(x * on (a) y)",
            "-(x or y)",
            "abs(x or y)",
            "(x or y) + 1",
            "topk(scalar(x), y)",
            "limitk(2, x)",
            "histogram_count(x)",
            "rate(x[5m] smoothed)",
            "x + fill (0) y",
            "1 + 1",
            "time()",
        ] {
            assert_eq!(reach(text), None, "{text}");
        }
    }
}
