//! Replays the committed inputs of the fuzz target `promql_parse`.

use std::path::Path;

#[path = "../../../fuzz/src/promql_parse.rs"]
pub(crate) mod promql_parse;

/// Queries that between them use the whole grammar; they are the seeds.
const SEEDS: [&str; 14] = [
    r#"sum by (job) (rate(http_requests_total{code=~"5..",job!="x"}[5m] offset 1h))"#,
    r#"histogram_quantile(0.9, sum without (a, b) (rate(x_bucket[1m])))"#,
    "a / on (x) group_left (y) b and ignoring (z) -c ^ 2 ^ 3",
    "max_over_time((a > bool 1)[1h:5m] @ start()) unless b @ 1.5",
    r#"label_replace({"utf8 name", "a b"="c"}, "d", "$1", 'e', `f`)"#,
    "topk(3, count_values(\"v\", a)) or quantile(NaN, -Inf + b)",
    "a offset -5m30s @ end() != 0x1F % 1e-3",
    "absent_over_time(a{b=\"\\u00e9\\n\"}[1d2h3m4s5ms])",
    "limitk(2, a) + limit_ratio(-0.5, b)",
    "rate(a[5m] anchored) + increase(b[1m] smoothed)",
    "a + fill(0) b - fill_left(1) fill_right(2) c",
    "- - + ((a)) atan2 b == bool c",
    "sort_by_label(info(a, {b=~\".+\"}), \"x\") # comment",
    "a[2 * 5m:step()] offset range()",
];

#[test]
fn committed_inputs_pass() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let corpus = fuzz.join("corpus/promql_parse");
    if std::env::var_os("TENBIN_FUZZ_SEEDS").is_some() {
        std::fs::create_dir_all(&corpus).unwrap();
        for (number, seed) in SEEDS.iter().enumerate() {
            std::fs::write(corpus.join(format!("seed-{number}")), seed).unwrap();
        }
    }
    let mut count = 0;
    for dir in [corpus, fuzz.join("regressions/promql_parse")] {
        for file in std::fs::read_dir(dir).into_iter().flatten() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            promql_parse::target(&std::fs::read(path).unwrap());
            count += 1;
        }
    }
    assert!(count >= SEEDS.len());
}
