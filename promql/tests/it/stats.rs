//! The counters of samples against those that a real Prometheus 3.5 returned with `stats=all`.
//!
//! The data: two metrics `x` and `y` of 20 series each, with a sample every second.

use tenbin_model::{Labels, Matcher, SampleBuffer, SelectHints, SeriesSet, StoreError, TimeRange};
use tenbin_promql::options::EngineOptions;
use tenbin_promql::value::QueryStats;
use tenbin_promql::{CancelToken, QueryRange, evaluate, parse};

use crate::store::store;

/// There are no samples before this time.
const FIRST_MS: i64 = 1_700_000_000_000;

struct Selected(Vec<Labels>);

/// Of two metrics with 20 series each what the matchers take.
fn every_second(matchers: &[Matcher], _hints: &SelectHints) -> crate::store::Selected {
    let names = ["x", "y"].iter();
    let all = names.flat_map(|name| {
        (0..20).map(move |s| Labels::from_pairs(&[("__name__", *name), ("s", &s.to_string())]))
    });
    let fits = |labels: &Labels| {
        let mut all = matchers.iter();
        all.all(|m| m.matches(labels.value_of(m.name())))
    };
    Ok(Box::new(Selected(all.filter(fits).collect())))
}

impl SeriesSet for Selected {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        Ok(self.0[series].clone())
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        let seconds = range.min_ms.div_euclid(1000)..=range.max_ms.div_euclid(1000);
        let times = seconds.map(|s| s * 1000).filter(|t| range.contains(*t));
        for t in times.filter(|t| *t >= FIRST_MS) {
            out.timestamps_ms.push(t);
            out.values.push(1.0 + series as f64);
        }
        Ok(())
    }
}

fn stats(text: &str, range: &QueryRange) -> QueryStats {
    let mut options = EngineOptions::default();
    options.features.experimental_functions = true;
    let expr = parse(text, &options.features).unwrap();
    let cancel = CancelToken::default();
    let result = evaluate(&store(every_second), text, &expr, range, &options, &cancel);
    result.unwrap().stats
}

/// Query, samples and peak over eleven steps of a minute, samples and peak at one time.
type Known = (&'static str, (u64, u64), (u64, u64));

const KNOWN: &[Known] = &[
    ("x", (220, 220), (20, 20)),
    ("sum(x)", (220, 220), (20, 20)),
    ("rate(x[5m])", (57_280, 520), (6_000, 320)),
    ("sum by (s) (rate(x[5m]))", (57_280, 520), (6_000, 320)),
    ("x + y", (440, 700), (40, 100)),
    ("topk(3, x)", (220, 231), (20, 21)),
    ("quantile(0.5, x)", (220, 231), (20, 21)),
    (
        "max_over_time(rate(x[1m])[5m:30s])",
        (1_960, 710),
        (200, 260),
    ),
    ("abs(x)", (220, 460), (20, 60)),
    ("x @ 1700000100", (220, 220), (20, 20)),
    ("sum(x @ 1700000100)", (220, 20), (20, 20)),
    ("vector(1)", (0, 11), (0, 3)),
    ("1", (0, 11), (0, 1)),
    ("1 + 1", (0, 11), (0, 5)),
    ("time()", (0, 11), (0, 1)),
    ("vector(time())", (0, 23), (0, 3)),
    ("scalar(vector(1))", (0, 11), (0, 3)),
    ("x and y", (440, 700), (40, 100)),
    ("absent(x)", (220, 240), (20, 40)),
    ("scalar(x{s=\"1\"})", (11, 23), (1, 3)),
    (
        "avg_over_time(x[1m]) / sum_over_time(y[2m])",
        (39_220, 700),
        (3_600, 160),
    ),
    ("histogram_quantile(0.9, x)", (220, 252), (20, 42)),
    (
        "label_replace(x, \"a\", \"b\", \"\", \"\")",
        (220, 220),
        (20, 20),
    ),
    ("timestamp(x)", (220, 240), (20, 40)),
    ("sort(x)", (220, 460), (20, 60)),
    ("-x", (220, 220), (20, 20)),
    ("clamp(x, 1, 2)", (220, 484), (20, 64)),
    ("clamp_max(x, 3)", (220, 472), (20, 62)),
    ("round(x)", (220, 460), (20, 60)),
    ("round(x, 5)", (220, 472), (20, 62)),
    ("sort_by_label(x, \"s\")", (220, 460), (20, 60)),
    ("quantile_over_time(0.5, x[1m])", (13_200, 291), (1_200, 81)),
    ("predict_linear(x[1m], 60)", (13_200, 291), (1_200, 81)),
    (
        "double_exponential_smoothing(x[1m], 0.5, 0.3)",
        (13_200, 302),
        (1_200, 82),
    ),
    ("quantile(0.5, abs(x))", (220, 471), (20, 61)),
    ("topk(3, abs(x))", (220, 471), (20, 61)),
    ("count_values(\"v\", x)", (220, 460), (20, 60)),
    ("sum(count_values(\"v\", x))", (220, 460), (20, 60)),
    ("(1 + 2) * (3 - 4)", (0, 11), (0, 6)),
    ("1 + scalar(x{s=\"1\"})", (11, 35), (1, 5)),
    ("2 * x", (220, 472), (20, 62)),
    ("2 * abs(x)", (220, 472), (20, 62)),
    ("histogram_quantile(0.9, abs(x))", (220, 471), (20, 61)),
    ("histogram_fraction(0, 1, x)", (220, 264), (20, 44)),
    (
        "max_over_time(clamp_min(x, 1)[5m:1m])",
        (980, 516),
        (100, 226),
    ),
];

#[test]
fn samples_are_counted_as_prometheus_counts_them() {
    let steps = QueryRange {
        start_ms: FIRST_MS + 100_000,
        end_ms: FIRST_MS + 700_000,
        step_ms: 60_000,
    };
    let instant = QueryRange::instant(FIRST_MS + 400_000);
    let mut wrong = Vec::new();
    for (text, over_steps, at_once) in KNOWN {
        for (range, known) in [(&steps, over_steps), (&instant, at_once)] {
            let found = stats(text, range);
            let found = (found.total_queryable_samples, found.peak_samples);
            if found != *known {
                wrong.push(format!(
                    "{text} ({} ms steps): {found:?}, not {known:?}",
                    range.step_ms
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
