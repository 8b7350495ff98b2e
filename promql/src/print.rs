//! Syntax tree to text, on one line.
//!
//! The text is Prometheus' to the byte: the API returns it, rules are shown by it, and its own
//! tests re-parse it. Parsing it again gives the same tree, except for spans, the order of
//! matchers (sorted here), an empty `by ()`, durations below a millisecond, and a plus sign between
//! `offset` and a function. Three kinds of texts do not parse back, in Prometheus neither:
//! `a offset (1m + 1) @ 1 + b` is printed with the offset last, which then goes on with the operator
//! behind it; `a offset --5m * 2` without its signs, so that the offset ends before the operator;
//! `Inf ^ 2` as `+Inf ^ 2`, where the sign applies to the power. (`comes_back` in
//! `fuzz/src/promql_parse.rs` tells exactly these.) A replacement character is written as an
//! escape, where Prometheus prints the bare character that its own lexer then refuses.
//! Source: Prometheus 3.14 `promql/parser/printer.go`.

use tenbin_model::labels::is_legacy_label_name;
use tenbin_model::text::duration::format_duration_ms;
use tenbin_model::text::float::{format_g, push_f};
use tenbin_model::text::quote::push_quoted;
use tenbin_model::{METRIC_NAME, MatchOp};

use crate::ast::{
    AggregateExpr, BinaryExpr, DurationExpr, Expr, MatchCardinality, NumberLiteral, StartOrEnd,
    SubqueryExpr, TimeModifiers, UnaryOp, VectorSelector,
};
use crate::parser::literal::quoted_bytes;

/// The expression as PromQL text.
#[must_use]
pub fn print(expr: &Expr) -> String {
    let mut out = String::new();
    push_expr(&mut out, expr);
    escape_replacement(out)
}

/// U+FFFD as an escape: only quoted strings can hold it, and the lexer refuses it bare.
pub(crate) fn escape_replacement(text: String) -> String {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return text.replace(char::REPLACEMENT_CHARACTER, "\\ufffd");
    }
    text
}

pub(crate) fn push_expr(out: &mut String, expr: &Expr) {
    match expr {
        Expr::Aggregate(e) => {
            push_aggregate_head(out, e);
            out.push('(');
            if let Some(param) = &e.param {
                push_expr(out, param);
                out.push_str(", ");
            }
            push_expr(out, &e.expr);
            out.push(')');
        }
        Expr::Binary(_) => {
            let (first, operations) = expr.chain();
            push_expr(out, first);
            for e in operations {
                push_operation(out, e);
            }
        }
        Expr::Call(e) => {
            out.push_str(e.function.name);
            out.push('(');
            for (i, argument) in e.args.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                push_expr(out, argument);
            }
            out.push(')');
        }
        Expr::MatrixSelector(e) => {
            push_name_and_matchers(out, &e.selector);
            out.push('[');
            push_duration(out, e.range_ms, e.range_expr.as_deref());
            out.push(']');
            push_extension(out, &e.selector);
            push_at(out, &e.selector.time);
            push_offset(out, &e.selector.time);
        }
        Expr::Subquery(e) => {
            push_expr(out, &e.expr);
            push_subquery_suffix(out, e);
        }
        Expr::Number(e) => push_number(out, e),
        Expr::Paren(e) => {
            out.push('(');
            push_expr(out, &e.expr);
            out.push(')');
        }
        Expr::String(e) => {
            let bytes = e.invalid_bytes.as_deref();
            out.push_str(&quoted_bytes(bytes.unwrap_or(e.value.as_bytes())));
        }
        Expr::Unary(e) => {
            out.push(sign(e.op));
            push_expr(out, &e.expr);
        }
        Expr::VectorSelector(e) => {
            push_name_and_matchers(out, e);
            push_at(out, &e.time);
            push_extension(out, e);
            push_offset(out, &e.time);
        }
    }
}

pub(crate) fn sign(op: UnaryOp) -> char {
    match op {
        UnaryOp::Plus => '+',
        UnaryOp::Minus => '-',
    }
}

/// `sum by (a) `, everything before the parenthesis of the arguments.
pub(crate) fn push_aggregate_head(out: &mut String, e: &AggregateExpr) {
    out.push_str(e.op.as_str());
    if !e.without && e.grouping.is_empty() {
        return;
    }
    out.push_str(if e.without { " without " } else { " by " });
    push_labels(out, &e.grouping);
    out.push(' ');
}

/// `(a, "b.c")`
fn push_labels(out: &mut String, labels: &[String]) {
    out.push('(');
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if is_legacy_label_name(label) {
            out.push_str(label);
        } else {
            push_quoted(out, label);
        }
    }
    out.push(')');
}

/// ` + b`, everything but the left operand.
pub(crate) fn push_operation(out: &mut String, e: &BinaryExpr) {
    out.push(' ');
    push_operator(out, e);
    out.push(' ');
    push_expr(out, &e.rhs);
}

/// The operator with its modifiers: `== bool on (a) group_left (b)`.
pub(crate) fn push_operator(out: &mut String, e: &BinaryExpr) {
    out.push_str(e.op.as_str());
    if e.return_bool {
        out.push_str(" bool");
    }
    let Some(matching) = &e.matching else {
        return;
    };
    let group = match matching.cardinality {
        MatchCardinality::ManyToOne => Some(" group_left "),
        MatchCardinality::OneToMany => Some(" group_right "),
        MatchCardinality::OneToOne | MatchCardinality::ManyToMany => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        out.push_str(if matching.on { " on " } else { " ignoring " });
        push_labels(out, &matching.labels);
    }
    if let Some(group) = group {
        out.push_str(group);
        push_labels(out, &matching.include);
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => push_fill(out, "fill", left),
        (left, right) => {
            if let Some(value) = left {
                push_fill(out, "fill_left", value);
            }
            if let Some(value) = right {
                push_fill(out, "fill_right", value);
            }
        }
    }
}

fn push_fill(out: &mut String, name: &str, value: f64) {
    out.push_str(&format!(" {name} ({})", format_g(value)));
}

fn push_name_and_matchers(out: &mut String, selector: &VectorSelector) {
    out.push_str(&selector.name);
    let mut matchers: Vec<String> = selector
        .matchers
        .iter()
        .filter(|m| {
            // The matcher that the name before the braces stands for is not repeated.
            let is_name = m.op() == MatchOp::Equal && m.name() == METRIC_NAME;
            !(is_name && m.value() == selector.name && !m.value().is_empty())
        })
        .map(ToString::to_string)
        .collect();
    if matchers.is_empty() {
        return;
    }
    matchers.sort_unstable();
    out.push('{');
    out.push_str(&matchers.join(","));
    out.push('}');
}

fn push_extension(out: &mut String, selector: &VectorSelector) {
    if selector.anchored {
        out.push_str(" anchored");
    } else if selector.smoothed {
        out.push_str(" smoothed");
    }
}

fn push_at(out: &mut String, time: &TimeModifiers) {
    match (time.at_ms, time.at_boundary) {
        (Some(at_ms), _) => out.push_str(&format!(" @ {:.3}", at_ms as f64 / 1000.0)),
        (None, Some(StartOrEnd::Start)) => out.push_str(" @ start()"),
        (None, Some(StartOrEnd::End)) => out.push_str(" @ end()"),
        (None, None) => {}
    }
}

fn push_offset(out: &mut String, time: &TimeModifiers) {
    if time.offset_ms == 0 && time.offset_expr.is_none() {
        return;
    }
    out.push_str(" offset ");
    push_duration(out, time.offset_ms, time.offset_expr.as_deref());
}

/// `[5m:1m] @ 1.000 offset 5m`
pub(crate) fn push_subquery_suffix(out: &mut String, e: &SubqueryExpr) {
    out.push('[');
    push_duration(out, e.range_ms, e.range_expr.as_deref());
    out.push(':');
    if e.step_ms != 0 {
        out.push_str(&format_duration_ms(e.step_ms));
    } else if let Some(step) = &e.step_expr {
        push_duration_expr(out, step);
    }
    out.push(']');
    push_at(out, &e.time);
    push_offset(out, &e.time);
}

fn push_duration(out: &mut String, duration_ms: i64, expr: Option<&DurationExpr>) {
    match expr {
        Some(expr) => push_duration_expr(out, expr),
        None => out.push_str(&format_duration_ms(duration_ms)),
    }
}

fn push_number(out: &mut String, number: &NumberLiteral) {
    if number.duration {
        out.push_str(&format_duration_ms((number.value * 1e9) as i64 / 1_000_000));
    } else {
        push_f(out, number.value);
    }
}

fn push_duration_expr(out: &mut String, expr: &DurationExpr) {
    match expr {
        DurationExpr::Number(number) => push_number(out, number),
        DurationExpr::Binary { op, lhs, rhs, .. } => {
            push_duration_expr(out, lhs);
            out.push(' ');
            out.push_str(op.as_str());
            out.push(' ');
            push_duration_expr(out, rhs);
        }
        DurationExpr::Unary { op, expr, .. } => {
            if *op == UnaryOp::Minus {
                out.push('-');
            }
            push_duration_expr(out, expr);
        }
        DurationExpr::Step(_) => out.push_str("step()"),
        DurationExpr::Range(_) => out.push_str("range()"),
        DurationExpr::MinOf { lhs, rhs, .. } => push_pair(out, "min_of(", lhs, rhs),
        DurationExpr::MaxOf { lhs, rhs, .. } => push_pair(out, "max_of(", lhs, rhs),
        DurationExpr::Paren { expr, .. } => {
            out.push('(');
            push_duration_expr(out, expr);
            out.push(')');
        }
    }
}

fn push_pair(out: &mut String, head: &str, lhs: &DurationExpr, rhs: &DurationExpr) {
    out.push_str(head);
    push_duration_expr(out, lhs);
    out.push_str(", ");
    push_duration_expr(out, rhs);
    out.push(')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Features;
    use crate::parser::parse;

    #[test]
    fn prints_as_prometheus_does() {
        for (text, expected) in [
            ("sum(a)by(b,\"c.d\",)", "sum by (b, \"c.d\") (a)"),
            ("sum by () (a)", "sum(a)"),
            ("sum without() (a)", "sum without () (a)"),
            ("a{z=\"1\",b!~\"x\"}", "a{b!~\"x\",z=\"1\"}"),
            (
                "{\"a.b\",\"c d\"=\"1\"}",
                "{\"c d\"=\"1\",__name__=\"a.b\"}",
            ),
            ("{__name__=\"\",b=\"1\"}", "{__name__=\"\",b=\"1\"}"),
            ("a offset -90s @ 1.5", "a @ 1.500 offset -1m30s"),
            (
                "a[60] smoothed @ end() offset 1h",
                "a[1m] smoothed @ end() offset 1h",
            ),
            ("a smoothed @ end()", "a @ end() smoothed"),
            ("a[5m:] offset step()", "a[5m:] offset step()"),
            ("a[(5m+1):2*step()]", "a[(5m + 1):2 * step()]"),
            ("a offset -max_of(1,5m)", "a offset -max_of(1, 5m)"),
            ("a[+(1m)]", "a[(1m)]"),
            ("1e9", "1000000000"),
            ("90m", "1h30m"),
            ("-0x1f", "-31"),
            (r"'\xffé\x80'", r#""\xffé\x80""#),
            ("'a\"b'", "\"a\\\"b\""),
            (
                "a==bool on(b)group_left(c)fill(-1)d",
                "a == bool on (b) group_left (c) fill (-1) d",
            ),
            (
                "a+fill_right(1)fill_left(2)b",
                "a + fill_left (2) fill_right (1) b",
            ),
            ("a and ignoring() b", "a and b"),
            (
                "a/ignoring(x)group_right b",
                "a / ignoring (x) group_right () b",
            ),
        ] {
            let features = Features::all_for_tests();
            let printed = print(&parse(text, &features).unwrap());
            assert_eq!(printed, expected, "{text}");
            let again = print(&parse(&printed, &features).unwrap());
            assert_eq!(again, expected, "{text} printed twice");
        }
    }
}
