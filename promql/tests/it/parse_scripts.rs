//! The language by example: `parse_good.txt` holds expressions with the text they are printed as,
//! `parse_bad.txt` expressions with their error. And properties of all expressions, which a
//! generator makes up.
//!
//! In both files an expression stands on a line of its own, what is expected of it on the next
//! line, indented; where nothing is, a good expression is printed as it stands. `<NL>` stands for a
//! line break, `<EMPTY>` for no text at all; lines with `##` are headings.

use tenbin_promql::ast::Expr;
use tenbin_promql::options::Features;
use tenbin_promql::{ParseError, ast_json, parse, prettify, print};

use crate::expressions::Expressions;
use crate::fuzz_corpus::promql_parse::comes_back;
use crate::scripts::testdata;

/// Expressions with what is expected of them.
fn cases(file: &str) -> Vec<(String, Option<String>)> {
    let text = std::fs::read_to_string(testdata().join(file)).unwrap();
    let mut cases: Vec<(String, Option<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(expected) = line.strip_prefix("    ") {
            cases.last_mut().unwrap().1 = Some(expected.to_owned());
        } else if !line.is_empty() && !line.starts_with("##") {
            let query = line.replace("<NL>", "\n").replace("<EMPTY>", "");
            cases.push((query, None));
        }
    }
    cases
}

fn parsed(text: &str) -> Result<Expr, ParseError> {
    parse(text, &Features::all_for_tests())
}

/// Fails with all differences in the form of the files.
fn assert_none(differences: &[String]) {
    let count = differences.len();
    assert!(count == 0, "{count} differ:\n{}", differences.join("\n"));
}

#[test]
fn good_expressions_are_printed_as_expected() {
    let mut differences = Vec::new();
    let cases = cases("parse_good.txt");
    assert!(cases.len() >= 200);
    for (query, expected) in cases {
        let expected = expected.unwrap_or_else(|| query.clone());
        let got = match parsed(&query) {
            Ok(expr) => print(&expr),
            Err(e) => format!("! {e}"),
        };
        if got != expected {
            differences.push(format!("{}\n    {got}", query.replace('\n', "<NL>")));
            continue;
        }
        let again = parsed(&got).map(|expr| print(&expr));
        assert_eq!(again.as_ref(), Ok(&got), "printed twice");
        let pretty = prettify(&parsed(&query).unwrap());
        let again = parsed(&pretty).map(|expr| print(&expr));
        assert_eq!(again, Ok(got), "pretty");
    }
    assert_none(&differences);
}

#[test]
fn bad_expressions_fail_with_the_expected_text() {
    let mut differences = Vec::new();
    let cases = cases("parse_bad.txt");
    assert!(cases.len() >= 300);
    for (query, expected) in cases {
        let got = match parsed(&query) {
            Ok(expr) => format!("! {}", print(&expr)),
            Err(e) => e.to_string().replacen("parse error: ", "", 1),
        };
        if Some(&got) != expected.as_ref() {
            differences.push(format!("{}\n    {got}", query.replace('\n', "<NL>")));
        }
    }
    assert_none(&differences);
}

/// The tree without places and with matchers in order, which printing does not keep.
fn shape(expr: &Expr) -> serde_json::Value {
    fn sort_matchers(node: &mut serde_json::Value) {
        if let Some(matchers) = node.get_mut("matchers").and_then(|m| m.as_array_mut()) {
            matchers.sort_by_key(ToString::to_string);
        }
        match node {
            serde_json::Value::Object(fields) => fields.values_mut().for_each(sort_matchers),
            serde_json::Value::Array(items) => items.iter_mut().for_each(sort_matchers),
            _ => {}
        }
    }
    let mut json = ast_json(expr);
    sort_matchers(&mut json);
    json
}

/// `TENBIN_EXPRESSIONS=<n>` tries n instead.
#[test]
fn printed_expressions_parse_back_to_the_same_tree() {
    const COUNT: u64 = 3_000;
    let count = std::env::var("TENBIN_EXPRESSIONS").map_or(COUNT, |n| n.parse().unwrap());
    let (mut refused, mut changed) = (0, 0);
    for seed in 0..count {
        let query = Expressions::new(seed).expression(u32::try_from(seed % 6).unwrap());
        let Ok(expr) = parsed(&query) else {
            refused += 1;
            continue;
        };
        if !comes_back(&expr) {
            // Nothing that does come back is let off.
            let again = parsed(&print(&expr)).map(|expr| shape(&expr));
            assert_ne!(again.ok(), Some(shape(&expr)), "{seed}: {query}");
            changed += 1;
            continue;
        }
        let again = |text: String| match parsed(&text) {
            Ok(expr) => shape(&expr),
            Err(e) => panic!("{seed}: {e}\n{query}\n{text}"),
        };
        let expected = shape(&expr);
        assert_eq!(again(print(&expr)), expected, "{seed}: {query}");
        assert_eq!(again(prettify(&expr)), expected, "{seed}: {query}, pretty");
        let narrow = prettify::prettify_to_width(&expr, 10);
        assert_eq!(again(narrow), expected, "{seed}: {query}, narrow");
    }
    assert!(refused < count / 5, "{refused} of {count} were refused");
    assert!(0 < changed && changed < count / 5, "{changed} of {count}");
}
