//! Syntax tree to text, broken into lines of at most 100 characters where the tree allows it.
//!
//! A node that fits on a line is printed as by [`print()`]; any other puts its parts on lines of
//! their own, indented two spaces deeper. Source: Prometheus 3.14 `promql/parser/prettier.go`.

use crate::ast::Expr;
use crate::print::{
    escape_replacement, print, push_aggregate_head, push_operation, push_operator,
    push_subquery_suffix, sign,
};

/// The longest line that is not broken, in bytes.
const MAX_LINE_BYTES: usize = 100;

/// The expression as PromQL text over as many lines as it takes.
#[must_use]
pub fn prettify(expr: &Expr) -> String {
    prettify_to_width(expr, MAX_LINE_BYTES)
}

/// As [`prettify`], with lines broken from another width on.
#[must_use]
pub fn prettify_to_width(expr: &Expr, max_line_bytes: usize) -> String {
    escape_replacement(pretty(expr, 0, max_line_bytes))
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

/// A chain of operators, each on a line of its own with its operands deeper than itself; what is
/// left of an operator fits on a line sooner or later, or is the first term.
fn pretty_chain(expr: &Expr, level: usize, width: usize) -> String {
    let (first, operations) = expr.chain();
    // How many operations, from the left, fit on a line together.
    let mut line = print(first);
    let mut fitting = 0;
    for operation in &operations {
        let before = line.len();
        push_operation(&mut line, operation);
        if line.len() > width {
            line.truncate(before);
            break;
        }
        fitting += 1;
    }
    let broken = operations.len() - fitting;
    let mut out = if fitting > 0 {
        indent(level + broken) + &line
    } else {
        pretty(first, level + broken, width)
    };
    for (i, operation) in operations[fitting..].iter().enumerate() {
        let own_level = level + broken - 1 - i;
        out.push('\n');
        out.push_str(&indent(own_level));
        push_operator(&mut out, operation);
        out.push('\n');
        out.push_str(&pretty(&operation.rhs, own_level + 1, width));
    }
    out
}

fn pretty(expr: &Expr, level: usize, width: usize) -> String {
    if matches!(expr, Expr::Binary(_)) {
        return pretty_chain(expr, level, width);
    }
    let one_line = print(expr);
    let fits = one_line.len() <= width;
    let pad = indent(level);
    match expr {
        // A subquery that fits is not indented: Prometheus has it so.
        Expr::Subquery(_) if fits => one_line,
        Expr::Subquery(e) => {
            let mut out = pretty(&e.expr, level, width);
            push_subquery_suffix(&mut out, e);
            out
        }
        Expr::Unary(e) => {
            let operand = pretty(&e.expr, level, width);
            format!("{pad}{}{}", sign(e.op), operand.trim())
        }
        Expr::Number(_) | Expr::String(_) | Expr::VectorSelector(_) | Expr::MatrixSelector(_) => {
            pad + &one_line
        }
        _ if fits => pad + &one_line,
        Expr::Aggregate(e) => {
            let mut out = pad.clone();
            push_aggregate_head(&mut out, e);
            out.push_str("(\n");
            if let Some(param) = &e.param {
                out.push_str(&pretty(param, level + 1, width));
                out.push_str(",\n");
            }
            out.push_str(&pretty(&e.expr, level + 1, width));
            out + "\n" + &pad + ")"
        }
        Expr::Binary(_) => pretty_chain(expr, level, width),
        Expr::Call(e) => {
            let args: Vec<String> = e.args.iter().map(|a| pretty(a, level + 1, width)).collect();
            let args = args.join(",\n");
            format!("{pad}{}(\n{args}\n{pad})", e.function.name)
        }
        Expr::Paren(e) => format!("{pad}(\n{}\n{pad})", pretty(&e.expr, level + 1, width)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Features;
    use crate::parser::parse;

    #[test]
    fn what_does_not_fit_is_broken_and_indented() {
        let pretty = |text: &str| {
            let expr = parse(text, &Features::all_for_tests()).unwrap();
            prettify_to_width(&expr, 20)
        };
        assert_eq!(pretty("sum(a)  by(b)"), "sum by (b) (a)");
        assert_eq!(
            pretty("topk by (job) (5, rate(requests_total[5m]))"),
            "topk by (job) (\n  5,\n  rate(\n    requests_total[5m]\n  )\n)"
        );
        assert_eq!(
            pretty("errors_total / on (job) group_left (x) requests_total"),
            "  errors_total\n/ on (job) group_left (x)\n  requests_total"
        );
        assert_eq!(
            pretty("(errors_total + -requests_total)[5m:1m]"),
            "(\n    errors_total\n  +\n    -requests_total\n)[5m:1m]"
        );
    }
}
