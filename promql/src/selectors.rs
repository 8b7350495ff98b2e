//! The selectors of an expression, wherever they stand in it.

use tenbin_model::Matcher;

use crate::ast::Expr;

/// The matchers of every selector in the expression, in Prometheus' order of traversal: an
/// aggregation's expression comes before its parameter.
#[must_use]
pub fn selectors(expr: &Expr) -> Vec<&[Matcher]> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect<'e>(expr: &'e Expr, found: &mut Vec<&'e [Matcher]>) {
    match expr {
        Expr::Aggregate(e) => {
            collect(&e.expr, found);
            if let Some(param) = &e.param {
                collect(param, found);
            }
        }
        Expr::Binary(_) => {
            let (first, operations) = expr.chain();
            collect(first, found);
            operations.iter().for_each(|e| collect(&e.rhs, found));
        }
        Expr::Call(e) => e.args.iter().for_each(|argument| collect(argument, found)),
        Expr::MatrixSelector(e) => found.push(&e.selector.matchers),
        Expr::Subquery(e) => collect(&e.expr, found),
        Expr::Paren(e) => collect(&e.expr, found),
        Expr::Unary(e) => collect(&e.expr, found),
        Expr::VectorSelector(e) => found.push(&e.matchers),
        Expr::Number(_) | Expr::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Features;
    use crate::parser::parse;

    #[test]
    fn finds_selectors_everywhere() {
        let text = "topk(scalar(k), rate(a{x=\"1\"}[5m])) + -(b) * max_over_time(c[5m:1m])";
        let expr = parse(text, &Features::all_for_tests()).unwrap();
        let names: Vec<String> = selectors(&expr)
            .iter()
            .map(|matchers| matchers.last().unwrap().value().to_owned())
            .collect();
        assert_eq!(names, ["a", "k", "b", "c"]);
    }
}
