//! Queries with equal subtrees, evaluated with and without memory: nobody can tell but the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenbin_model::{
    Matcher, Querier, Queryable, SelectHints, SeriesSet, Severity, StoreError, TimeRange,
};

use crate::engine::{CancelToken, QueryRange, Sharing, evaluate_as};
use crate::options::{EngineOptions, Features};
use crate::parser::parse;
use crate::testkit::TestStore;

const DATA: &str = r#"load 30s
  x{i="0"} 0+10x20 1+5x20
  x{i="1"} 3 4 _x5 8+1x30
  y{i="0"} 5+2x40
  y{i="1"} 9 8 7 _ 5 stale 3 2 1 9x20
  x_total{i="0"} 0+7x40
  x_total{i="1"} 100+3x40
  b_bucket{le="1"} 5+3x40
  b_bucket{le="2"} 3+2x40
  b_bucket{le="+Inf"} 9+4x40
  h{i="0"} {{schema:1 count:3 sum:9 buckets:[1 2]}}+{{schema:1 count:3 sum:9 buckets:[1 2]}}x40
  mixed{i="0"} 1x10 {{schema:0 count:1 sum:1 buckets:[1]}}x10
  mixed{i="1"} {{schema:0 count:1 sum:1 buckets:[1]}}x5 7x30
"#;

/// Queries and how many selections each needs.
const QUERIES: &[(&str, usize)] = &[
    ("rate(x[5m]) / (rate(x[5m]) + rate(y[5m]))", 2),
    ("x and x > 5", 1),
    ("(x + y) * (x + y) / x", 2),
    ("sum(x) / count(x)", 1),
    (
        "sum(rate(x[2m])) / on() group_left() count(rate(x[2m])) + on() group_right() rate(x[2m])",
        1,
    ),
    ("topk(1, x) or bottomk(1, x)", 1),
    ("quantile(0.5, y) - avg(y) - stddev(y) - y{i=\"0\"}", 2),
    (
        "max_over_time(abs(x)[5m:1m]) - min_over_time(abs(x)[5m:1m])",
        1,
    ),
    ("max_over_time(x[5m:1m]) - max_over_time(x[5m:2m]) + x", 3),
    ("x offset 1m - x offset 1m + x", 2),
    ("sum(x @ 300) / sum(x @ 300) + sum(x)", 2),
    (
        "histogram_quantile(0.9, b_bucket) + histogram_quantile(0.9, b_bucket)",
        1,
    ),
    (
        "histogram_quantile(0.9, b_bucket) + histogram_quantile(0.8, b_bucket)",
        1,
    ),
    ("sum(mixed) + sum(mixed)", 1),
    ("sum(  mixed ) + avg(mixed) + sum(mixed)", 1),
    ("rate(mixed[5m]) or rate( mixed[5m] ) or rate(h[3m])", 2),
    ("mixed * mixed", 1),
    ("mixed == mixed or max(mixed)", 1),
    ("histogram_count(h) / histogram_count(h)", 1),
    (
        "histogram_count(rate(h[5m])) / histogram_sum(rate(h[5m]))",
        1,
    ),
    ("absent(x) or absent(x) or absent(gone) or absent(gone)", 2),
    ("absent_over_time(y[1m]) or absent_over_time(y[1m])", 1),
    ("count_values(\"v\", y) or count_values(\"v\", y)", 1),
    ("sum by (i) (-x) + sum by (i) (-x)", 1),
    ("scalar(y{i=\"0\"}) * x + scalar(y{i=\"0\"})", 2),
    (
        "label_replace(x, \"j\", \"$1\", \"i\", \"(.*)\") + on(i) label_replace(x, \"j\", \"$1\", \"i\", \"(.*)\")",
        1,
    ),
    ("timestamp(x) - timestamp(x)", 1),
    ("timestamp(x) - x", 2),
    ("count(x) + group(x)", 1),
    ("count(y) + sum(y)", 1),
    ("x + +x + (x)", 1),
    ("time() - time() + x", 1),
    (
        "sum(rate(x_total[5m])) > bool 0 and sum(rate(x_total[5m]))",
        1,
    ),
    (
        "quantile_over_time(2, x[5m]) + quantile_over_time(2, x[5m])",
        1,
    ),
    ("x unless x == y", 2),
    ("limitk(1, x) and limit_ratio(0.5, x)", 1),
];

/// Counts selections.
struct Counting {
    store: TestStore,
    selections: Arc<AtomicUsize>,
}

struct CountingQuerier(Box<dyn Querier>, Arc<AtomicUsize>);

impl Queryable for Counting {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        let inner = self.store.querier(range)?;
        Ok(Box::new(CountingQuerier(
            inner,
            Arc::clone(&self.selections),
        )))
    }
}

impl Querier for CountingQuerier {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.select(matchers, hints)
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        self.0.label_names(matchers)
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        self.0.label_values(name, matchers)
    }
}

/// All that a query says, and the number of selections.
fn run(
    store: &Counting,
    text: &str,
    range: &QueryRange,
    options: &EngineOptions,
    sharing: Sharing,
) -> (String, usize) {
    let expr = parse(text, &options.features).expect("the query parses");
    store.selections.store(0, Ordering::Relaxed);
    let cancel = CancelToken::default();
    let said = match evaluate_as(store, &expr, range, options, &cancel, sharing) {
        Ok(result) => {
            let mut remarks = result.annotations.render(Severity::Warning, text, 0);
            remarks.extend(result.annotations.render(Severity::Info, text, 0));
            remarks.sort();
            let stats = &result.stats;
            let counts = (
                stats.total_queryable_samples,
                stats.samples_read,
                stats.peak_samples,
            );
            let per_step = &stats.samples_per_step;
            format!(
                "{:#?}\n{remarks:#?}\n{counts:?}\n{per_step:?}",
                result.value
            )
        }
        Err(error) => error.to_string(),
    };
    (said, store.selections.load(Ordering::Relaxed))
}

fn store() -> Counting {
    Counting {
        store: TestStore::of(DATA),
        selections: Arc::default(),
    }
}

fn ranges() -> [QueryRange; 2] {
    let steps = QueryRange {
        start_ms: 0,
        end_ms: 1_200_000,
        step_ms: 45_000,
    };
    [steps, QueryRange::instant(400_000)]
}

#[test]
fn equal_subtrees_are_evaluated_once_and_nobody_can_tell() {
    let store = store();
    let mut remarked = 0;
    for delayed_name_removal in [false, true] {
        let options = EngineOptions {
            features: Features {
                delayed_name_removal,
                ..Features::all_for_tests()
            },
            ..EngineOptions::default()
        };
        for range in &ranges() {
            for (text, selections) in QUERIES {
                let (expected, _) = run(&store, text, range, &options, Sharing::Off);
                let (said, counted) = run(&store, text, range, &options, Sharing::On);
                assert_eq!(said, expected, "{text}");
                assert_eq!(counted, *selections, "{text}");
                remarked += usize::from(said.contains("PromQL"));
            }
        }
    }
    assert!(remarked > 30, "{remarked}");
}

#[test]
fn without_memory_to_spare_nothing_is_kept() {
    let store = store();
    let text = "rate(x[5m]) / (rate(x[5m]) + rate(y[5m]))";
    let mut kept = [false, false];
    for max_memory_bytes in (1..40).map(|kib| kib * 1024) {
        let options = EngineOptions {
            max_memory_bytes,
            threads: 1,
            ..EngineOptions::default()
        };
        let (expected, _) = run(&store, text, &ranges()[0], &options, Sharing::Off);
        let (said, counted) = run(&store, text, &ranges()[0], &options, Sharing::On);
        assert_eq!(said, expected, "{max_memory_bytes} bytes");
        kept[usize::from(counted == 2)] = true;
    }
    assert_eq!(kept, [true, true]);
}

#[test]
fn limits_hold_as_if_everything_were_evaluated() {
    let store = store();
    for (text, _) in QUERIES {
        for max_samples in [10, 40, 100, 150, 200, 300, 500] {
            let options = EngineOptions {
                max_samples,
                features: Features::all_for_tests(),
                ..EngineOptions::default()
            };
            let (expected, _) = run(&store, text, &ranges()[0], &options, Sharing::Off);
            let (said, _) = run(&store, text, &ranges()[0], &options, Sharing::On);
            assert_eq!(said, expected, "{text} with {max_samples} samples");
        }
    }
}
