//! Queries rewritten, to find out why two servers answer one differently: what is asked apart must
//! agree, or differ as the known reason says.
//!
//! The rewriting is by text and knows what [`crate::generator`] writes: strings in double quotes
//! without escapes, subqueries with their expression in parentheses.

/// The query with every selector of native histograms limited to one instance.
#[must_use]
pub fn of_instance(query: &str, instance: &str) -> String {
    let mut out = String::new();
    let (mut rest, mut in_string, mut word) = (query, false, String::new());
    let matcher = format!("instance=\"{instance}\"");
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        in_string ^= c == '"';
        out.push(c);
        if in_string || c == '"' {
            word.clear();
            continue;
        }
        if c == '{' {
            out.push_str(&matcher);
            out.push(',');
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            if ends && word.starts_with("nh_") && !rest.starts_with('{') {
                out.push_str(&format!("{{{matcher}}}"));
            }
        } else {
            word.clear();
        }
    }
    out
}

/// Where the parenthesis opened at `open` is closed.
fn closing(query: &str, open: usize) -> Option<usize> {
    let (mut depth, mut in_string) = (0_usize, false);
    for (at, c) in query[open..].char_indices() {
        match c {
            '"' => in_string = !in_string,
            '(' if !in_string => depth += 1,
            ')' if !in_string => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(open + at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The query in which `last_over_time` keeps the names of subqueries that delayed name removal is to
/// drop, or none if there is no such subquery. (A `label_replace` of the name keeps it.)
#[must_use]
pub fn with_kept_names(query: &str) -> Option<String> {
    const CALL: &str = "last_over_time(";
    let mut out = query.to_owned();
    let (mut from, mut found) = (0, false);
    while let Some(at) = out[from..].find(CALL) {
        let open = from + at + CALL.len();
        from = open;
        if !out[open..].starts_with('(') {
            continue;
        }
        let close = closing(&out, open)?;
        let suffix = out[close + 1..].split(']').next().unwrap_or_default();
        if suffix.starts_with('[') && suffix.contains(':') {
            out.insert_str(close + 1, ", \"__name__\", \"$1\", \"__name__\", \"(.*)\")");
            out.insert_str(open, "label_replace(");
            found = true;
        }
    }
    found.then_some(out)
}

/// All calls of the functions in the query, each with its arguments.
#[must_use]
pub fn calls_of<'q>(query: &'q str, functions: &[&str]) -> Vec<&'q str> {
    let mut calls = Vec::new();
    for (open, _) in query.match_indices('(') {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let start = query[..open].trim_end_matches(is_word).len();
        if functions.contains(&&query[start..open])
            && let Some(close) = closing(query, open)
        {
            calls.push(&query[start..=close]);
        }
    }
    calls
}

/// All aggregations of the query with one of the operators, each with its clause.
#[must_use]
pub fn aggregations_of<'q>(query: &'q str, operators: &[&str]) -> Vec<&'q str> {
    // What is left behind a clause at the start of a text.
    let behind_clause = |text: &'q str| -> Option<&'q str> {
        let names = (text.strip_prefix(" by ")).or_else(|| text.strip_prefix(" without "))?;
        Some(&names[closing(names, names.find('(')?)? + 1..])
    };
    let whole = |start: usize, operator: &str| -> Option<&'q str> {
        let rest = &query[start + operator.len()..];
        let (rest, has_clause) = behind_clause(rest).map_or((rest, false), |rest| (rest, true));
        let body = rest.strip_prefix(' ').unwrap_or(rest);
        let rest = &body[closing(body, 0).filter(|_| body.starts_with('('))? + 1..];
        let after = behind_clause(rest).filter(|_| !has_clause).unwrap_or(rest);
        Some(&query[start..query.len() - after.len()])
    };
    let found = operators.iter().flat_map(|operator| {
        let starts = query.match_indices(operator);
        starts.filter_map(move |(start, _)| whole(start, operator))
    });
    found.collect()
}

/// The expressions of the subqueries that are the first argument of one of the functions.
#[must_use]
pub fn subqueries_of<'q>(query: &'q str, functions: &[&str]) -> Vec<&'q str> {
    let inner = |call: &'q str| {
        let open = call.find('(')? + 1;
        let close = closing(call, open).filter(|_| call[open..].starts_with('('))?;
        (call[close + 1..].starts_with('[')).then(|| &call[open + 1..close])
    };
    let calls = calls_of(query, functions);
    calls.into_iter().filter_map(inner).collect()
}

/// What the query's `count_values` count, the innermost ones last.
#[must_use]
pub fn counted_operands(query: &str) -> Vec<String> {
    const LABEL: &str = "(\"value\", ";
    let mut operands = Vec::new();
    let mut from = 0;
    while let Some(at) = query[from..].find("count_values") {
        from += at + 1;
        let Some(open) = query[from..].find(LABEL).map(|at| from + at) else {
            break;
        };
        if let Some(close) = closing(query, open) {
            operands.push(query[open + LABEL.len()..close].to_owned());
        }
    }
    operands
}

/// The query that counts, where the query counts by value.
#[must_use]
pub fn without_counted_values(query: &str) -> String {
    query
        .replace("count_values", "count")
        .replace("\"value\", ", "")
}

/// The query with the equalities of every selector before its other matchers.
#[must_use]
pub fn with_equalities_first(query: &str) -> String {
    let mut out = String::new();
    let mut rest = query;
    while let Some((before, inside, after)) = braces(rest) {
        let mut matchers: Vec<&str> = inside.split(", ").collect();
        let is_equality = |matcher: &str| {
            let op = matcher.find(['=', '!']).map(|at| &matcher[at..]);
            op.is_none_or(|op| op.starts_with('=') && !op.starts_with("=~"))
        };
        matchers.sort_by_key(|matcher| !is_equality(matcher));
        out.push_str(&format!("{before}{{{}}}", matchers.join(", ")));
        rest = after;
    }
    out + rest
}

/// What comes before the first braces, what is inside them, and what follows.
fn braces(query: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = query.split_once('{')?;
    let (inside, after) = rest.split_once('}')?;
    Some((before, inside, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instance_stands_in_every_selector() {
        assert_eq!(
            of_instance("rate(nh_int[1m]) / {\"nh.x\", a=\"nh_b\"}", "i1"),
            "rate(nh_int{instance=\"i1\"}[1m]) / {instance=\"i1\",\"nh.x\", a=\"nh_b\"}"
        );
    }

    #[test]
    fn names_of_subqueries_are_kept() {
        assert_eq!(
            with_kept_names(
                "abs(last_over_time((-a{b=\")\"})[1m:] offset 7s)) + last_over_time(a[1m])"
            )
            .unwrap(),
            "abs(last_over_time(label_replace((-a{b=\")\"}), \"__name__\", \"$1\", \"__name__\", \
             \"(.*)\")[1m:] offset 7s)) + last_over_time(a[1m])"
        );
        // One in the other.
        let nested =
            with_kept_names("last_over_time((last_over_time((-a)[1m:]))[5m:15s])").unwrap();
        assert_eq!(nested.matches("label_replace((").count(), 2, "{nested}");
        assert_eq!(
            with_kept_names("last_over_time(a[1m]) + rate((a)[1m:])"),
            None
        );
    }

    #[test]
    fn calls_are_found_with_their_arguments() {
        let query = "irate(a{b=\"rate(\"}[1m]) + rate((increase(c[1m]))[5m:])";
        assert_eq!(
            calls_of(query, &["rate", "increase"]),
            ["rate((increase(c[1m]))[5m:])", "increase(c[1m])"]
        );
        let query = "resets((a)[1m:] @ 3) + resets((b) + (c)) + abs(resets(d[1m]))";
        assert_eq!(subqueries_of(query, &["resets"]), ["a"]);
    }

    #[test]
    fn aggregations_are_found_with_their_clauses() {
        let query = "-topk by (a, b) (2, x) + topk (1, topk(3, y) without ()) by (c)";
        assert_eq!(
            aggregations_of(query, &["topk"]),
            [
                "topk by (a, b) (2, x)",
                "topk (1, topk(3, y) without ()) by (c)",
                "topk(3, y) without ()"
            ]
        );
    }

    #[test]
    fn equalities_come_first() {
        assert_eq!(
            with_equalities_first(
                "absent(a{x!=\"b\", y=~\"c=\", x=\"a\"}) + b{\"n\", z!=\"\", z=\"\"}"
            ),
            "absent(a{x=\"a\", x!=\"b\", y=~\"c=\"}) + b{\"n\", z=\"\", z!=\"\"}"
        );
    }

    #[test]
    fn operands_of_count_values_are_found() {
        let query = "sum(count_values by (job) (\"value\", avg(a{b=\")\"}))) + \
                     count_values(\"value\", count_values(\"value\", b)) by ()";
        assert_eq!(
            counted_operands(query),
            ["avg(a{b=\")\"})", "count_values(\"value\", b)", "b"]
        );
        assert_eq!(
            without_counted_values(query),
            "sum(count by (job) (avg(a{b=\")\"}))) + count(count(b)) by ()"
        );
    }
}
