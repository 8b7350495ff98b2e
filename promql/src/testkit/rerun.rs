//! The second life of an instant query: with every selector pinned to the evaluation time, it must
//! give the same result whenever it is run.

use crate::ast::{Expr, TimeModifiers};

/// Functions whose value depends on the evaluation time itself.
const TIME_DEPENDENT: &[&str] = &[
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// The expression with `@ time_ms` on every selector and subquery that has no `@` time and is not
/// inside a pinned subquery; `None` when it calls a function that pinning does not tame.
pub(super) fn pinned(expr: &Expr, time_ms: i64) -> Option<Expr> {
    let mut copy = expr.clone();
    pin(&mut copy, time_ms).then_some(copy)
}

/// The times at which a pinned query is run again.
pub(super) fn times(time_ms: i64) -> Vec<i64> {
    if time_ms == 0 {
        vec![-1_000, 0, 1_000]
    } else {
        vec![-10 * time_ms, 0, time_ms / 5, time_ms, 10 * time_ms]
    }
}

fn pin_time(time: &mut TimeModifiers, time_ms: i64) {
    if time.at_ms.is_none() {
        time.at_ms = Some(time_ms);
        time.at_boundary = None;
    }
}

/// Pins in place; false when the expression cannot be pinned.
fn pin(expr: &mut Expr, time_ms: i64) -> bool {
    match expr {
        Expr::Aggregate(e) => {
            let param = e.param.as_mut().is_none_or(|param| pin(param, time_ms));
            pin(&mut e.expr, time_ms) && param
        }
        Expr::Binary(e) => pin(&mut e.lhs, time_ms) && pin(&mut e.rhs, time_ms),
        Expr::Call(e) => {
            !TIME_DEPENDENT.contains(&e.function.name)
                && e.args.iter_mut().all(|argument| pin(argument, time_ms))
        }
        Expr::MatrixSelector(e) => {
            pin_time(&mut e.selector.time, time_ms);
            true
        }
        Expr::Subquery(e) => {
            // What is inside is evaluated relative to the subquery.
            pin_time(&mut e.time, time_ms);
            true
        }
        Expr::Paren(e) => pin(&mut e.expr, time_ms),
        Expr::Unary(e) => pin(&mut e.expr, time_ms),
        Expr::VectorSelector(e) => {
            pin_time(&mut e.time, time_ms);
            true
        }
        Expr::Number(_) | Expr::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Features;
    use crate::parser::parse;
    use crate::print::print;

    #[test]
    fn selectors_are_pinned_once() {
        let pin = |text: &str| {
            let expr = parse(text, &Features::all_for_tests()).unwrap();
            pinned(&expr, 60_000).as_ref().map(print)
        };
        assert_eq!(
            pin("a + rate(b[5m] offset 1m) * sum_over_time(c[5m:]) - d @ 5").as_deref(),
            Some(
                "a @ 60.000 + rate(b[5m] @ 60.000 offset 1m) * \
                 sum_over_time(c[5m:] @ 60.000) - d @ 5.000"
            )
        );
        assert_eq!(pin("sum(timestamp(a))"), None);
        assert_eq!(
            pin("max_over_time(timestamp(a)[5m:])").as_deref(),
            Some("max_over_time(timestamp(a)[5m:] @ 60.000)"),
            "the subquery is pinned, so what is inside varies no more"
        );
    }

    #[test]
    fn reruns_spread_around_the_time() {
        assert_eq!(times(0), [-1_000, 0, 1_000]);
        assert_eq!(times(100), [-1_000, 0, 20, 100, 1_000]);
    }
}
