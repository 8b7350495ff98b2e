//! Any text parses or fails, and what parses is printed so that it parses to the same again, but for
//! the trees that [`comes_back`] tells. Used by the fuzz target and by tests.

use tenbin_promql::ast::{BinaryExpr, BinaryOp, DurationExpr, Expr, TimeModifiers, UnaryOp};
use tenbin_promql::options::Features;
use tenbin_promql::{parse, prettify, print};

/// Nothing is switched off.
fn features() -> Features {
    Features {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        ..Features::default()
    }
}

pub(crate) fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let features = features();
    let Ok(expr) = parse(text, &features) else {
        return;
    };
    let printed = print(&expr);
    if !comes_back(&expr) {
        // Its text means something else, or nothing; reading it must end all the same.
        let _ = parse(&printed, &features);
        let _ = parse(&prettify(&expr), &features);
        return;
    }
    let again = parse(&printed, &features);
    let again = again.unwrap_or_else(|e| panic!("{text:?} is printed as {printed:?}: {e}"));
    assert_eq!(print(&again), printed, "of {text:?}");
    let pretty = prettify(&expr);
    let again = parse(&pretty, &features);
    let again = again.unwrap_or_else(|e| panic!("{text:?} is prettified as {pretty:?}: {e}"));
    assert_eq!(print(&again), printed, "of {text:?} prettified");
}

/// Whether the text of an expression means that expression. Of three kinds it does not, in Prometheus
/// neither (see `promql/src/print.rs`).
pub(crate) fn comes_back(expr: &Expr) -> bool {
    match expr {
        Expr::Aggregate(e) => e.param.as_ref().is_none_or(comes_back) && comes_back(&e.expr),
        Expr::Binary(_) => {
            let (first, operations) = expr.chain();
            comes_back(first)
                && (operations.iter())
                    .all(|e| !swallows(e) && !signs_the_power(e) && comes_back(&e.rhs))
        }
        Expr::Call(e) => e.args.iter().all(comes_back),
        Expr::Subquery(e) => !loses_its_signs(&e.time) && comes_back(&e.expr),
        Expr::Paren(e) => comes_back(&e.expr),
        Expr::Unary(e) => comes_back(&e.expr),
        Expr::MatrixSelector(e) => !loses_its_signs(&e.selector.time),
        Expr::VectorSelector(e) => !loses_its_signs(&e.time),
        Expr::Number(_) | Expr::String(_) => true,
    }
}

/// `a offset --5m * 2` is printed as `a offset 5m * 2`, where the offset is over before the operator.
fn loses_its_signs(time: &TimeModifiers) -> bool {
    let is_operation = |mut offset: &DurationExpr| {
        while let DurationExpr::Unary { expr, .. } = offset {
            offset = expr;
        }
        matches!(offset, DurationExpr::Binary { .. })
    };
    (time.offset_expr.as_deref()).is_some_and(|offset| is_operation(offset) && !goes_on(offset))
}

/// `Inf ^ 2` is printed as `+Inf ^ 2`, where the sign applies to the power.
fn signs_the_power(e: &BinaryExpr) -> bool {
    let infinite = |e: &Expr| matches!(e, Expr::Number(n) if n.value == f64::INFINITY);
    e.op == BinaryOp::Pow && infinite(&e.lhs)
}

/// An offset is printed last, and one that is an expression goes on with an arithmetic operator.
fn swallows(e: &BinaryExpr) -> bool {
    use BinaryOp::{Add, Div, Mod, Mul, Pow, Sub};
    matches!(e.op, Add | Sub | Mul | Div | Mod | Pow) && ends_open(&e.lhs)
}

/// Whether the last words of an expression are an offset that goes on.
fn ends_open(expr: &Expr) -> bool {
    let opens = |time: &TimeModifiers| time.offset_expr.as_ref().is_some_and(|e| goes_on(e));
    match expr {
        Expr::VectorSelector(e) => opens(&e.time),
        Expr::MatrixSelector(e) => opens(&e.selector.time),
        Expr::Subquery(e) => opens(&e.time),
        Expr::Unary(e) => ends_open(&e.expr),
        Expr::Binary(e) => ends_open(&e.rhs),
        Expr::Aggregate(_) | Expr::Call(_) | Expr::Number(_) | Expr::Paren(_) | Expr::String(_) => {
            false
        }
    }
}

/// Whether what stands after `offset` begins with a parenthesis or with two signs.
fn goes_on(offset: &DurationExpr) -> bool {
    match offset {
        DurationExpr::Paren { .. } => true,
        DurationExpr::Binary { lhs, .. } => goes_on(lhs),
        DurationExpr::Unary { op, expr, .. } => *op == UnaryOp::Minus && begins_with_sign(expr),
        _ => false,
    }
}

fn begins_with_sign(expr: &DurationExpr) -> bool {
    match expr {
        DurationExpr::Number(number) => number.value.is_sign_negative(),
        DurationExpr::Unary { op, .. } => *op == UnaryOp::Minus,
        DurationExpr::Binary { lhs, .. } => begins_with_sign(lhs),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tells(text: &str) -> bool {
        comes_back(&parse(text, &features()).unwrap())
    }

    #[test]
    fn texts_that_mean_something_else_are_known() {
        let open = ["(1m)", "(1m) * 2", "--step()", "--step() ^ 2", "+(1m)"];
        for offset in open {
            for (before, after) in [
                ("a", " @ 1 + b"),
                ("-a", " @ 1 - 1"),
                ("c * a", " @ end() / on (x) b"),
                ("a", " smoothed ^ 2"),
                ("max_over_time(b[1m]) + (a", " @ 1 % 2)"),
            ] {
                let text = format!("{before} offset {offset}{after}");
                assert!(!tells(&text), "{text}");
            }
        }
        for text in [
            "Inf ^ 2",
            "a ^ Inf ^ 2",
            "-Inf ^ a",
            "sum(Inf ^ a)",
            "1 + Inf ^ a",
        ] {
            assert!(!tells(text), "{text}");
        }
    }

    #[test]
    fn offsets_that_lose_their_signs_are_known() {
        for text in [
            "a offset --5m * 2",
            "a[1m] offset ++1 + 1",
            "max_over_time(a[1m:] offset ---1 / 2)",
        ] {
            assert!(!tells(text), "{text}");
        }
    }

    #[test]
    fn texts_that_come_back_are_none_of_them() {
        for text in [
            "a offset (1m) @ 1",
            "a offset (1m) @ 1 == b",
            "a offset (1m) @ 1 atan2 b",
            "a offset (1m) @ 1 and b",
            "(a offset (1m) @ 1) + b",
            "b + a offset (1m) @ 1",
            "a offset -(1m) @ 1 + b",
            "a offset -step() @ 1 + b",
            "a offset min_of(1, 2) @ 1 + b",
            "a offset 1m @ 1 + b",
            "max_over_time(a[1m] offset (1m) @ 1) + b",
            "a offset (5m) * 2",
            "a offset --step() * 2",
            "a offset --5m",
            "a[--5m * 2]",
            "(Inf) ^ 2",
            "(-Inf) ^ 2",
            "2 ^ Inf",
            "Inf * 2",
            "NaN ^ 2",
        ] {
            assert!(tells(text), "{text}");
            target(text.as_bytes());
        }
    }
}
