//! Error texts, positions, precedence and bounds. Longer tables stand in `testdata/parse_*.txt`.

use super::*;
use crate::print::print;

fn features() -> Features {
    Features::all_for_tests()
}

fn error(text: &str) -> String {
    match parse(text, &features()) {
        Ok(expr) => panic!("{text} was parsed as {expr:?}"),
        Err(e) => e.to_string(),
    }
}

/// The expression with every operator's operands in brackets.
fn grouped(expr: &Expr) -> String {
    match expr {
        Expr::Binary(e) => format!(
            "[{} {} {}]",
            grouped(&e.lhs),
            e.op.as_str(),
            grouped(&e.rhs)
        ),
        Expr::Unary(e) => format!("[{:?} {}]", e.op, grouped(&e.expr)),
        other => print(other),
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (text, expected) in [
        ("a + b * c ^ d ^ e", "[a + [b * [c ^ [d ^ e]]]]"),
        ("a or b and c unless d", "[a or [[b and c] unless d]]"),
        ("a - b - c", "[[a - b] - c]"),
        ("a == b > c + d", "[[a == b] > [c + d]]"),
        ("-a ^ b", "[Minus [a ^ b]]"),
        ("-a * b", "[[Minus a] * b]"),
        ("-1 ^ 2", "[Minus [1 ^ 2]]"),
        ("2 ^ -a * b", "[[2 ^ [Minus a]] * b]"),
        ("a atan2 b / c", "[[a atan2 b] / c]"),
        ("a </ b >/ c", "[[a </ b] >/ c]"),
        ("a offset 5m + 3", "[a offset 5m + 3]"),
        ("a offset -2^2", "[a offset -2s ^ 2]"),
        ("a offset step() + 3", "[a offset step() + 3]"),
        ("a offset -(5m) + 3", "[a offset -(5m) + 3]"),
    ] {
        let expr = parse(text, &features()).unwrap();
        assert_eq!(grouped(&expr), expected, "{text}");
    }
    // A parenthesised duration goes on behind its parenthesis, so this is no binary expression.
    let expr = parse("a offset (5m) + 3", &features()).unwrap();
    assert_eq!(grouped(&expr), "a offset (5m) + 3");
    assert!(matches!(expr, Expr::VectorSelector(_)));
}

#[test]
fn the_innermost_construct_with_a_text_explains_an_unexpected_token() {
    for (text, expected) in [
        (
            "sum(a b)",
            "1:7: parse error: unexpected identifier \"b\" in aggregation",
        ),
        ("rate(a b)", "1:8: parse error: unexpected identifier \"b\""),
        ("sum a", "1:5: parse error: unexpected identifier \"a\""),
        (
            "sum by a (x)",
            "1:8: parse error: unexpected identifier \"a\" in grouping opts, expected \"(\"",
        ),
        (
            "a + on(b) group_left * c",
            "1:22: parse error: unexpected <op:*> in grouping opts, expected \"(\"",
        ),
        (
            "a[5m,]",
            "1:5: parse error: unexpected \",\" in subquery or range, expected \":\" or \"]\"",
        ),
        (
            "a[5m+]",
            "1:6: parse error: unexpected \"]\" in subquery or range selector, \
             expected number, duration, step(), or range()",
        ),
        (
            "a{b=\"c\" d}",
            "1:9: parse error: unexpected identifier \"d\" in label matching, expected \",\" or \"}\"",
        ),
        (
            "a @ start x",
            "1:11: parse error: unexpected identifier \"x\" in @, expected timestamp",
        ),
        ("\n a $", "2:4: parse error: unexpected character: '$'"),
        ("(a))", "1:5: parse error: unexpected right parenthesis ')'"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

/// Prometheus reports no place for it: the place that is none is the start of any text, and unknown
/// where there is no text.
#[test]
fn a_query_without_an_expression_fails_at_its_start() {
    let none = "parse error: no expression found in input";
    assert_eq!(error(""), format!("unknown position: {none}"));
    for text in [
        "   ",
        "\t\n\n ",
        "# comment",
        "\n\n # comment",
        "#",
        "# a\n# b\n",
    ] {
        assert_eq!(error(text), format!("1:1: {none}"), "{text:?}");
        let e = parse(text, &features()).unwrap_err();
        assert_eq!((e.span.start, e.span.end), (0, 0), "{text:?}");
    }
}

#[test]
fn grouping_labels_must_be_text() {
    for (text, expected) in [
        (
            r#"sum by ("") (a)"#,
            r#"1:9: parse error: invalid label name for grouping: """#,
        ),
        (
            r#"sum by ("é\xff") (a)"#,
            r#"1:9: parse error: invalid label name for grouping: "é\xff""#,
        ),
    ] {
        assert_eq!(error(text), expected);
    }
    parse("sum by (bool, atan2, \"a b\") (a)", &features()).unwrap();
}

#[test]
fn the_first_error_wins_even_before_a_lexical_one() {
    assert_eq!(
        error("foo(a) $"),
        "1:1: parse error: unknown function with name \"foo\""
    );
    // Here a clause could follow, so the next token is read first.
    assert_eq!(
        error("sum() $"),
        "1:7: parse error: unexpected character: '$'"
    );
}

#[test]
fn experimental_parts_need_their_feature() {
    let off = Features::default();
    for (text, expected) in [
        (
            "limitk(1, a)",
            "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        ),
        (
            "info(a)",
            "1:1: parse error: function \"info\" is not enabled",
        ),
        (
            "a + fill(1) b",
            "1:1: parse error: binop fill modifiers are experimental and not enabled",
        ),
        (
            "a[5m] anchored",
            "1:1: parse error: anchored modifier is experimental and not enabled",
        ),
        (
            "a smoothed",
            "1:1: parse error: smoothed modifier is experimental and not enabled",
        ),
    ] {
        assert_eq!(parse(text, &off).unwrap_err().to_string(), expected);
        parse(text, &features()).unwrap();
    }
    parse("fill + fill_left", &off).unwrap();
}

/// Processor time of this thread, milliseconds: whatever else the machine does takes none of it.
fn thread_cpu_ms() -> u64 {
    let on_cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    on_cpu.tv_sec as u64 * 1000 + on_cpu.tv_nsec as u64 / 1_000_000
}

#[test]
fn queries_of_any_shape_are_bounded() {
    const MIB: usize = 1 << 20;
    let shapes = [
        "(".repeat(100_000),
        format!("{}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        vec!["a"; 100_000].join("+"),
        vec!["a"; 100_000].join(" or "),
        vec!["a"; 50_000].join("^"),
        "-".repeat(100_000) + "a",
        "sum(".repeat(25_000),
        "sum by (a".repeat(25_000),
        format!("a[{}1{}]", "(".repeat(50_000), ")".repeat(50_000)),
        format!("a[{}1]", "1+".repeat(50_000)),
        format!("a[{}1]", "-".repeat(50_000)),
        format!("a{}", "[5m:1m]".repeat(20_000)),
        format!("a{}", " offset 5m".repeat(20_000)),
        format!("a{{{}}}", "b=\"c\",".repeat(20_000)),
        format!("a{{{}}}", "b=~\"c(d|e)\",".repeat(5_000)),
        format!("a{{b=~\"{}\"}}", "(".repeat(MIB)),
        format!("a{{b=~\"{}\"}}", "[[:".repeat(MIB / 3)),
        format!("sum({})", vec!["a"; 50_000].join(",")),
        "0".repeat(MIB) + "x",
        "9".repeat(MIB),
        "a".repeat(MIB) + " $",
        " ".repeat(MIB) + "$",
        "#".repeat(MIB),
        format!("\"{}", "\\x41".repeat(MIB / 4)),
        format!("\"{}\" $", "a".repeat(MIB)),
        "1h".repeat(MIB / 2),
        format!("a == on({}) b", "c,".repeat(50_000)),
        format!("a + on({0}) group_left({0}) b $", "c,".repeat(MIB / 4)),
    ];
    let generous = ParseLimits {
        max_query_bytes: usize::MAX,
        ..ParseLimits::default()
    };
    // Without optimisation all takes longer.
    let bound_ms = if cfg!(debug_assertions) { 2_000 } else { 50 };
    for text in shapes {
        let head = &text[..20];
        let start_ms = thread_cpu_ms();
        let error = parse(&text, &features()).unwrap_err();
        assert!(
            error.message.contains("the limit is 16384 bytes"),
            "{head}: {error}"
        );
        let _ = parse_with_limits(&text, &features(), &generous);
        let took_ms = thread_cpu_ms() - start_ms;
        assert!(took_ms < bound_ms, "{head}: {took_ms} ms");
    }
}

#[test]
fn the_depth_limit_allows_and_forbids_exactly() {
    let limit = DEFAULT_MAX_DEPTH;
    let nested = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
    let chain = |terms: usize| vec!["a"; terms].join("+");
    let terms = DEFAULT_MAX_CHAIN_TERMS;
    let head_chains = format!("{}a", "(".repeat(60)) + &("+a".repeat(20) + ")").repeat(60);
    for text in [
        nested(limit - 1),
        chain(terms),
        format!("({}) + a", chain(terms)),
    ] {
        parse(&text, &features()).unwrap();
    }
    assert!(error(&nested(limit)).contains("nested too deeply"));
    assert!(error(&vec!["a"; limit + 1].join("^")).contains("nested too deeply"));
    for text in [chain(terms + 1), chain(2 * terms), head_chains] {
        let expected = "too long a chain of operators, the limit is 1000 terms";
        assert!(error(&text).contains(expected), "{}", error(&text));
    }
}

#[test]
fn a_long_chain_takes_little_stack() {
    let work = || {
        let text = vec!["a"; DEFAULT_MAX_CHAIN_TERMS].join(" or ");
        // The tree is as high as it may be.
        let nested = format!("{}{text}{}", "(".repeat(126), ")".repeat(126));
        for text in [text, nested] {
            let mut expr = parse(&text, &features()).unwrap();
            assert_eq!(print(&expr), text);
            crate::resolve(&mut expr, 0, 1000, 10).unwrap();
            let copy = expr.clone();
            assert_eq!(copy, expr);
            assert_eq!(expr.value_type(), crate::ast::ValueType::Vector);
            assert_eq!(crate::selectors(&expr).len(), DEFAULT_MAX_CHAIN_TERMS);
            let pretty = crate::prettify(&expr);
            assert_eq!(print(&parse_long(&pretty)), text);
            let json = crate::ast_json(&expr).to_string();
            assert_eq!(
                json.matches("binaryExpr").count(),
                DEFAULT_MAX_CHAIN_TERMS - 1
            );
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(work).unwrap().join().unwrap();
}

/// Parses text of any length.
fn parse_long(text: &str) -> Expr {
    let limits = ParseLimits {
        max_query_bytes: usize::MAX,
        ..ParseLimits::default()
    };
    parse_with_limits(text, &features(), &limits).unwrap()
}

#[test]
fn match_parameters_are_selectors_without_modifiers() {
    let names = |text| {
        parse_matchers(text, &features()).map(|matchers| {
            let all: Vec<String> = matchers.iter().map(ToString::to_string).collect();
            all.join(" ")
        })
    };
    assert_eq!(
        names("up{job=~\"a|b\"}").unwrap(),
        "job=~\"a|b\" __name__=\"up\""
    );
    assert_eq!(names("{\"a.b\"}").unwrap(), "__name__=\"a.b\"");
    assert_eq!(names("{}").unwrap(), "");
    for (text, expected) in [
        ("up offset 5m", "1:4: parse error: unexpected <offset>"),
        ("", "unknown position: parse error: unexpected end of input"),
        ("1", "1:1: parse error: unexpected number \"1\""),
    ] {
        assert_eq!(names(text).unwrap_err().to_string(), expected);
    }
}
