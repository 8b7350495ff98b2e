//! Type rules: what may stand where.
//!
//! Runs over a complete syntax tree, in the order of Prometheus' checker, and stops at the first
//! error. It also settles what only types can tell: whether a binary operation matches vectors at
//! all, and that set operators are many-to-many. Recursion is bounded by the parser's depth limit.
//! Source: Prometheus 3.14 `promql/parser/parse.go`, `checkAST`.

use tenbin_model::text::quote::quoted;
use tenbin_model::{METRIC_NAME, Matcher};

use crate::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, CallExpr, Expr, MatchCardinality, Span, ValueType,
    VectorMatching, VectorSelector,
};
use crate::parser::Located;

type Checked = Result<ValueType, Located>;

/// Checks `expr`, parsed from `text`, and returns its type.
pub(crate) fn check(expr: &mut Expr, text: &str) -> Checked {
    match expr {
        Expr::Aggregate(e) => aggregate(e, text),
        Expr::Binary(_) => chain(expr, text),
        Expr::Call(e) => call(e, text),
        Expr::Paren(e) => check(&mut e.expr, text),
        Expr::Unary(e) => {
            let kind = check(&mut e.expr, text)?;
            if matches!(kind, ValueType::Scalar | ValueType::Vector) {
                return Ok(kind);
            }
            let message = format!(
                "unary expression only allowed on expressions of type scalar or instant vector, \
                 got {}",
                quoted(kind.documented_name())
            );
            Err(Located::new(e.span, message))
        }
        Expr::Subquery(e) => {
            let kind = check(&mut e.expr, text)?;
            if kind == ValueType::Vector {
                return Ok(ValueType::Matrix);
            }
            let message = format!(
                "subquery is only allowed on instant vector, got {} instead",
                kind.api_name()
            );
            Err(Located::new(e.span, message))
        }
        Expr::MatrixSelector(e) => selector(&e.selector, true).map(|()| ValueType::Matrix),
        Expr::VectorSelector(e) => selector(e, true).map(|()| ValueType::Vector),
        Expr::Number(_) => Ok(ValueType::Scalar),
        Expr::String(_) => Ok(ValueType::String),
    }
}

fn expect_type(expr: &mut Expr, want: ValueType, context: &str, text: &str) -> Result<(), Located> {
    let got = check(expr, text)?;
    if got == want {
        return Ok(());
    }
    let message = format!(
        "expected type {} in {context}, got {}",
        want.documented_name(),
        got.documented_name()
    );
    Err(Located::new(expr.span(), message))
}

fn aggregate(e: &mut AggregateExpr, text: &str) -> Checked {
    expect_type(
        &mut e.expr,
        ValueType::Vector,
        "aggregation expression",
        text,
    )?;
    let want = if e.op == AggregateOp::CountValues {
        ValueType::String
    } else {
        ValueType::Scalar
    };
    if let Some(param) = &mut e.param {
        expect_type(param, want, "aggregation parameter", text)?;
    }
    Ok(ValueType::Vector)
}

/// The operator with its modifiers: what stands between the operands.
fn operator_span(e: &BinaryExpr, text: &str) -> Span {
    let is_space = |at: usize| {
        let byte = text.as_bytes().get(at);
        matches!(byte, Some(b' ' | b'\t' | b'\n' | b'\r'))
    };
    let mut start = e.lhs.span().end;
    while is_space(start) {
        start += 1;
    }
    let mut end = e.rhs.span().start.saturating_sub(1);
    while end > 0 && is_space(end) {
        end -= 1;
    }
    Span { start, end }
}

/// A chain of binary operations. After an error the tree is not whole, nor wanted.
fn chain(expr: &mut Expr, text: &str) -> Checked {
    let (mut left, operations) = expr.take_chain();
    let mut kind = check(&mut left, text)?;
    for mut operation in operations {
        operation.lhs = left;
        kind = binary(&mut operation, kind, text)?;
        left = Expr::Binary(operation);
    }
    *expr = left;
    Ok(kind)
}

/// One operation whose left operand has been found to have the type `left`.
fn binary(e: &mut BinaryExpr, left: ValueType, text: &str) -> Checked {
    let right = check(&mut e.rhs, text)?;
    let at_operator =
        |e: &BinaryExpr, message: &str| Err(Located::new(operator_span(e, text), message));
    if e.return_bool && !e.op.is_comparison() {
        return at_operator(e, "bool modifier can only be used on comparison operators");
    }
    let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
    if e.op.is_comparison() && !e.return_bool && both_scalar {
        return at_operator(e, "comparisons between scalars must use BOOL modifier");
    }
    if let Some(label) = e.matching.as_ref().and_then(label_matched_and_grouped) {
        let label = quoted(label);
        let message = format!("label {label} must not occur in ON and GROUP clause at once");
        return at_operator(e, &message);
    }
    for (kind, operand) in [(left, &e.lhs), (right, &e.rhs)] {
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Located::new(operand.span(), message));
        }
    }
    let vectors = left == ValueType::Vector && right == ValueType::Vector;
    matching(e, vectors)?;
    Ok(if both_scalar {
        ValueType::Scalar
    } else {
        ValueType::Vector
    })
}

/// A label in both the `on` list and the `group_left` or `group_right` list.
fn label_matched_and_grouped(matching: &VectorMatching) -> Option<&str> {
    if !matching.on || matching.include.is_empty() {
        return None;
    }
    // A set, since both lists come from the query and may be long.
    let include: std::collections::HashSet<&str> =
        matching.include.iter().map(String::as_str).collect();
    let mut labels = matching.labels.iter().map(String::as_str);
    labels.find(|label| include.contains(label))
}

fn matching(e: &mut BinaryExpr, vectors: bool) -> Result<(), Located> {
    let fail = |message: String| Err(Located::new(e.span, message));
    let op = quoted(e.op.as_str());
    let Some(matching) = &mut e.matching else {
        return Ok(());
    };
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if !vectors {
        if !matching.labels.is_empty() {
            return fail("vector matching only allowed between instant vectors".to_owned());
        }
        if fills {
            return fail(
                "filling in missing series only allowed between instant vectors".to_owned(),
            );
        }
        if e.op.is_set() {
            return fail(format!(
                "set operator {op} not allowed in binary scalar expression"
            ));
        }
        e.matching = None;
        return Ok(());
    }
    if !e.op.is_set() {
        return Ok(());
    }
    if matching.cardinality != MatchCardinality::OneToOne {
        return fail(format!("no grouping allowed for {op} operation"));
    }
    matching.cardinality = MatchCardinality::ManyToMany;
    if fills {
        return fail("filling in missing series not allowed for set operators".to_owned());
    }
    Ok(())
}

fn call(e: &mut CallExpr, text: &str) -> Checked {
    argument_count(e)?;
    let name = e.function.name;
    let types = e.function.args;
    let is_info = name == "info" && e.args.len() > 1;
    if is_info {
        info_selector(e.span, &e.args[1])?;
    }
    for (i, argument) in e.args.iter_mut().enumerate() {
        // The last type repeats for variadic functions.
        let Some(want) = types.get(i).or(types.last()) else {
            break;
        };
        let got = match *argument {
            // Only the second argument of info() may select everything.
            Expr::VectorSelector(ref labels) if is_info && i == 1 => {
                selector(labels, false).map(|()| ValueType::Vector)?
            }
            ref mut other => check(other, text)?,
        };
        if got != *want {
            let message = format!(
                "expected type {} in call to function {}, got {}",
                want.documented_name(),
                quoted(name),
                got.documented_name()
            );
            return Err(Located::new(argument.span(), message));
        }
    }
    Ok(e.function.returns)
}

fn argument_count(e: &CallExpr) -> Result<(), Located> {
    let got = e.args.len();
    let listed = e.function.args.len();
    let variadic = e.function.variadic;
    let least = if variadic == 0 {
        listed
    } else {
        listed.saturating_sub(1)
    };
    let most = match usize::try_from(variadic) {
        Ok(0) => Some(listed),
        Ok(optional) => Some(least + optional),
        Err(_) => None,
    };
    let expected = if variadic == 0 && got != listed {
        format!("{listed}")
    } else if got < least {
        format!("at least {least}")
    } else if let Some(most) = most.filter(|most| got > *most) {
        format!("at most {most}")
    } else {
        return Ok(());
    };
    let name = quoted(e.function.name);
    let message = format!("expected {expected} argument(s) in call to {name}, got {got}");
    Err(Located::new(e.span, message))
}

/// The second argument of `info` is a list of matchers that looks like a selector.
fn info_selector(call: Span, argument: &Expr) -> Result<(), Located> {
    let kind = argument.value_type();
    if kind != ValueType::Vector {
        let message = format!(
            "expected type instant vector in call to function \"info\", got {}",
            kind.documented_name()
        );
        return Err(Located::new(call, message));
    }
    let message = match argument {
        Expr::VectorSelector(s) if s.name.is_empty() => return Ok(()),
        Expr::VectorSelector(_) => "expected label selectors only, got vector selector instead",
        _ => "expected label selectors only",
    };
    Err(Located::new(argument.span(), message))
}

fn selector(s: &VectorSelector, must_narrow: bool) -> Result<(), Located> {
    if !s.name.is_empty() {
        // The last matcher is the one for the name before the braces.
        let listed = &s.matchers[..s.matchers.len().saturating_sub(1)];
        if let Some(second) = listed.iter().find(|m| m.name() == METRIC_NAME) {
            let message = format!(
                "metric name must not be set twice: {} or {}",
                quoted(&s.name),
                quoted(second.value())
            );
            return Err(Located::new(s.span, message));
        }
        return Ok(());
    }
    if must_narrow && s.matchers.iter().all(Matcher::matches_empty) {
        let message = "vector selector must contain at least one non-empty matcher";
        return Err(Located::new(s.span, message));
    }
    Ok(())
}
