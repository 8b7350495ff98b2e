//! Behaviour with names removed at once, as without `promql-delayed-name-removal` (the scripts in
//! `testdata/` run with it). Each case was found beside a real Prometheus.

use tenbin_promql::options::EngineOptions;
use tenbin_promql::testkit::run_script;

fn check(script: &str) {
    let report = run_script(script, &EngineOptions::default());
    let failures: Vec<String> = report
        .failures
        .iter()
        .map(|f| format!("line {}: {}", f.line, f.reason))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(report.passed, report.total);
    assert!(report.total > 0);
}

#[test]
fn unary_minus_refuses_equal_labels_even_at_different_steps() {
    check(
        "load 1m\n  a{x=\"1\"} 1 2 _ _\n  b{x=\"1\"} _ _ _ _ _ _ _ _ 3 4\n\n\
         eval range from 0 to 9m step 1m -(a or b)\n\
         \texpect fail msg: vector cannot contain metrics with the same labelset\n\n\
         eval range from 0 to 9m step 1m abs(a or b)\n\
         \t{x=\"1\"} 1 2 2 2 2 2 _ _ 3 4\n",
    );
}

#[test]
fn absence_has_no_series_that_could_clash() {
    check(
        "load 1m\n  a_total{x=\"1\"} 1 2\n  b_total{x=\"1\"} 1 2\n\n\
         eval instant at 1m absent_over_time({__name__=~\"._total\"}[5m])\n\n\
         eval instant at 10m absent_over_time({__name__=~\"._total\"}[5m])\n\
         \t{} 1\n",
    );
}

#[test]
fn absence_reads_matchers_in_the_order_of_selection() {
    // The negative matcher goes last, wherever it was written, and takes the label away.
    check(
        "eval instant at 0 absent(x{job!=\"b\", job=\"a\", z=\"1\"})\n\t{z=\"1\"} 1\n\n\
         eval instant at 0 absent(x{job=\"a\", job!=\"b\", z=\"1\"})\n\t{z=\"1\"} 1\n\n\
         eval instant at 0 absent(x{job=\"a\", z=\"1\"})\n\t{job=\"a\", z=\"1\"} 1\n",
    );
}

#[test]
fn remarks_on_subqueries_have_no_position() {
    check(
        "load 1m\n  a{x=\"1\"} 1 2 3\n\n\
         eval instant at 2m rate(a[2m:1m])\n\
         \texpect info msg: PromQL info: metric might not be a counter, name does not end in \
         _total/_sum/_count/_bucket: \"a\" (1:1)\n\
         \t{x=\"1\"} 0.016666666666666666\n",
    );
}
