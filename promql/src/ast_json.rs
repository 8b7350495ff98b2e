//! The syntax tree as JSON, for `/api/v1/parse_query`.
//!
//! Keys come out sorted, as Go's encoder sorts them: `serde_json` keeps objects in order of keys.
//! Source: Prometheus 3.14 `web/api/v1/translate_ast.go`.

use serde_json::{Value, json};
use tenbin_model::Matcher;
use tenbin_model::text::float::format_f;

use crate::ast::{
    BinaryExpr, DurationExpr, Expr, MatchCardinality, NumberLiteral, StartOrEnd, TimeModifiers,
    UnaryOp, ValueType, VectorMatching, VectorSelector,
};
use crate::signatures::Signature;

/// The expression as a JSON tree.
#[must_use]
pub fn ast_json(expr: &Expr) -> Value {
    match expr {
        Expr::Aggregate(e) => json!({
            "type": "aggregation",
            "op": e.op.as_str(),
            "expr": ast_json(&e.expr),
            "param": e.param.as_ref().map(ast_json),
            "grouping": e.grouping,
            "without": e.without,
        }),
        Expr::Binary(_) => {
            let (first, operations) = expr.chain();
            let first = ast_json(first);
            operations.into_iter().fold(first, operation)
        }
        Expr::Call(e) => json!({
            "type": "call",
            "func": function(e.function),
            "args": e.args.iter().map(ast_json).collect::<Vec<_>>(),
        }),
        Expr::MatrixSelector(e) => {
            let mut node = selector("matrixSelector", &e.selector);
            node["range"] = json!(e.range_ms);
            node["rangeExpr"] = optional_duration(e.range_expr.as_deref());
            node
        }
        Expr::Subquery(e) => {
            let mut node = json!({
                "type": "subquery",
                "expr": ast_json(&e.expr),
                "range": e.range_ms,
                "rangeExpr": optional_duration(e.range_expr.as_deref()),
                "step": e.step_ms,
                "stepExpr": optional_duration(e.step_expr.as_deref()),
            });
            add_time(&mut node, &e.time);
            node
        }
        Expr::Number(e) => json!({"type": "numberLiteral", "val": format_f(e.value)}),
        Expr::Paren(e) => json!({"type": "parenExpr", "expr": ast_json(&e.expr)}),
        Expr::String(e) => json!({"type": "stringLiteral", "val": e.value}),
        Expr::Unary(e) => json!({
            "type": "unaryExpr",
            "op": sign(e.op),
            "expr": ast_json(&e.expr),
        }),
        Expr::VectorSelector(e) => selector("vectorSelector", e),
    }
}

/// A binary operation whose left operand is there already.
fn operation(left: Value, e: &BinaryExpr) -> Value {
    // Put in by hand: the macro would copy the left operand.
    let mut node = json!({
        "type": "binaryExpr",
        "op": e.op.as_str(),
        "rhs": ast_json(&e.rhs),
        "matching": e.matching.as_ref().map(matching),
        "bool": e.return_bool,
    });
    node["lhs"] = left;
    node
}

fn sign(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Plus => "+",
        UnaryOp::Minus => "-",
    }
}

fn matching(matching: &VectorMatching) -> Value {
    json!({
        "card": match matching.cardinality {
            MatchCardinality::OneToOne => "one-to-one",
            MatchCardinality::ManyToOne => "many-to-one",
            MatchCardinality::OneToMany => "one-to-many",
            MatchCardinality::ManyToMany => "many-to-many",
        },
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": fill(matching.fill_left), "rhs": fill(matching.fill_right)},
    })
}

/// A number; whole ones without a fraction, as Go writes them.
fn fill(value: Option<f64>) -> Value {
    match value {
        Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => json!(value as i64),
        other => json!(other),
    }
}

fn function(function: &Signature) -> Value {
    let arguments = function.args.iter().copied().map(ValueType::api_name);
    json!({
        "name": function.name,
        "argTypes": arguments.collect::<Vec<_>>(),
        "variadic": function.variadic,
        "returnType": function.returns.api_name(),
    })
}

fn selector(kind: &str, selector: &VectorSelector) -> Value {
    let mut node = json!({
        "type": kind,
        "name": selector.name,
        "matchers": selector.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "anchored": selector.anchored,
        "smoothed": selector.smoothed,
    });
    add_time(&mut node, &selector.time);
    node
}

fn matcher(matcher: &Matcher) -> Value {
    json!({
        "name": matcher.name(),
        "value": matcher.value(),
        "type": matcher.op().as_str(),
    })
}

fn add_time(node: &mut Value, time: &TimeModifiers) {
    node["offset"] = json!(time.offset_ms);
    node["offsetExpr"] = optional_duration(time.offset_expr.as_deref());
    node["timestamp"] = json!(time.at_ms);
    node["startOrEnd"] = json!(time.at_boundary.map(|boundary| match boundary {
        StartOrEnd::Start => "start",
        StartOrEnd::End => "end",
    }));
}

fn optional_duration(expr: Option<&DurationExpr>) -> Value {
    expr.map_or(Value::Null, duration)
}

fn duration(expr: &DurationExpr) -> Value {
    let node = |op: &str, lhs: Value, rhs: Value| json!({"type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": false});
    match expr {
        DurationExpr::Number(number) => duration_number(number),
        DurationExpr::Binary { op, lhs, rhs, .. } => {
            node(op.as_str(), duration(lhs), duration(rhs))
        }
        DurationExpr::Unary { op, expr, .. } => node(sign(*op), Value::Null, duration(expr)),
        DurationExpr::Step(_) => node("step", Value::Null, Value::Null),
        DurationExpr::Range(_) => node("range", Value::Null, Value::Null),
        DurationExpr::MinOf { lhs, rhs, .. } => node("min_of", duration(lhs), duration(rhs)),
        DurationExpr::MaxOf { lhs, rhs, .. } => node("max_of", duration(lhs), duration(rhs)),
        DurationExpr::Paren { expr, .. } => {
            // Prometheus has no node for parentheses: a number gets a plus sign to carry the mark.
            let mut inside = match &**expr {
                DurationExpr::Number(number) => node("+", Value::Null, duration_number(number)),
                other => duration(other),
            };
            inside["wrapped"] = Value::Bool(true);
            inside
        }
    }
}

fn duration_number(number: &NumberLiteral) -> Value {
    json!({
        "type": "numberLiteral",
        "val": format_f(number.value),
        "duration": number.duration,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Features;
    use crate::parser::parse;

    fn text(query: &str) -> String {
        ast_json(&parse(query, &Features::all_for_tests()).unwrap()).to_string()
    }

    #[test]
    fn keys_are_sorted_and_absent_parts_are_null() {
        assert_eq!(
            text("a{b=~\"c\"} offset 5m @ end()"),
            "{\"anchored\":false,\"matchers\":[{\"name\":\"b\",\"type\":\"=~\",\"value\":\"c\"},\
             {\"name\":\"__name__\",\"type\":\"=\",\"value\":\"a\"}],\"name\":\"a\",\
             \"offset\":300000,\"offsetExpr\":null,\"smoothed\":false,\"startOrEnd\":\"end\",\
             \"timestamp\":null,\"type\":\"vectorSelector\"}"
        );
        assert_eq!(
            text("-Inf"),
            "{\"type\":\"numberLiteral\",\"val\":\"-Inf\"}"
        );
    }

    #[test]
    fn operators_carry_their_matching() {
        let json: Value = text("a * on(x) group_left(y) fill_left(2) b")
            .parse()
            .unwrap();
        assert_eq!(
            json["matching"],
            json!({
                "card": "many-to-one",
                "labels": ["x"],
                "on": true,
                "include": ["y"],
                "fillValues": {"lhs": 2, "rhs": null},
            })
        );
        let json: Value = text("-(1 < bool 2)").parse().unwrap();
        assert_eq!(json["type"], "unaryExpr");
        let binary = &json["expr"]["expr"];
        assert_eq!(binary["matching"], Value::Null);
        assert_eq!(binary["bool"], true);
        assert_eq!(binary["rhs"], json!({"type": "numberLiteral", "val": "2"}));
    }

    #[test]
    fn durations_mark_parentheses_as_prometheus_does() {
        let json: Value = text("a[(5m)+step()]").parse().unwrap();
        let range = &json["rangeExpr"];
        assert_eq!(range["op"], "+");
        assert_eq!(range["wrapped"], false);
        assert_eq!(
            range["lhs"],
            json!({
                "type": "durationExpr",
                "op": "+",
                "lhs": null,
                "rhs": {"type": "numberLiteral", "val": "300", "duration": true},
                "wrapped": true,
            })
        );
        assert_eq!(range["rhs"]["op"], "step");
        assert_eq!(json["range"], 0, "not known before the query's range is");
    }
}
