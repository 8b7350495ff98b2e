//! Queries made to exhaust the engine: each must end with its error, soon, and without holding
//! much memory meanwhile.
//!
//! The store makes its samples up while they are read, so that it may have any number of them.

use std::time::{Duration, Instant};

use tenbin_model::{Labels, SampleBuffer, SeriesSet, StoreError, TimeRange};
use tenbin_promql::options::EngineOptions;
use tenbin_promql::value::Value;
use tenbin_promql::{CancelToken, EvalError, QueryRange, evaluate, parse};

use crate::store::only;

const YEAR_MS: i64 = 365 * 24 * 3_600_000;
const TOO_MANY: &str =
    "query processing would load too many samples into memory in query execution";

/// So many series with a sample at every multiple of the interval, all values different.
#[derive(Clone, Copy)]
struct Endless {
    series: usize,
    interval_ms: i64,
}

impl SeriesSet for Endless {
    fn len(&self) -> usize {
        self.series
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        let long = "v".repeat(200);
        let number = series.to_string();
        let pairs = [("__name__", "m"), ("long", &long), ("n", &number)];
        Ok(Labels::from_pairs(&pairs))
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        let first = range.min_ms.max(0).div_euclid(self.interval_ms) * self.interval_ms;
        for t in (first..=range.max_ms).step_by(self.interval_ms as usize) {
            if range.contains(t) {
                out.timestamps_ms.push(t);
                out.values.push(t as f64 + series as f64 / 1e6);
            }
        }
        Ok(())
    }
}

const FEW: Endless = Endless {
    series: 3,
    interval_ms: 60_000,
};

fn range(length_ms: i64, step_ms: i64) -> QueryRange {
    QueryRange {
        start_ms: YEAR_MS,
        end_ms: YEAR_MS + length_ms,
        step_ms,
    }
}

fn run(
    store: Endless,
    text: &str,
    range: &QueryRange,
    options: &EngineOptions,
) -> Result<Value, EvalError> {
    let expr = parse(text, &options.features).unwrap();
    let cancel = CancelToken::default();
    evaluate(&only(store), text, &expr, range, options, &cancel).map(|result| result.value)
}

fn error(store: Endless, text: &str, range: &QueryRange, options: &EngineOptions) -> String {
    match run(store, text, range, options) {
        Err(error) => error.to_string(),
        Ok(value) => panic!("{text} has a value of type {:?}", value.value_type()),
    }
}

fn limited(max_samples: u64) -> EngineOptions {
    EngineOptions {
        max_samples,
        ..EngineOptions::default()
    }
}

/// The most memory that this process ever held, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[test]
fn endless_grids_fail_at_once() {
    let started = Instant::now();
    let options = EngineOptions::default();
    let instant = QueryRange::instant(20 * YEAR_MS);
    for text in [
        "sum_over_time(m[10y:1ms])",
        "max_over_time(vector(1)[10y:1ms])",
    ] {
        assert_eq!(error(FEW, text, &instant, &options), TOO_MANY, "{text}");
    }
    assert_eq!(error(FEW, "m", &range(YEAR_MS, 1), &options), TOO_MANY);
    assert_eq!(error(FEW, "1", &range(YEAR_MS, 1), &options), TOO_MANY);
    let small = limited(100_000);
    assert_eq!(
        error(FEW, "count_over_time(m[1h:1ms])", &instant, &small),
        TOO_MANY
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn held_samples_are_counted() {
    let hour = range(3_600_000, 60_000);
    // Three series of 61 samples, and the buffer of the one being read.
    assert!(run(FEW, "m", &hour, &limited(300)).is_ok());
    for text in [
        "m",
        "topk(1e9, m)",
        "m + m",
        "count_values(\"v\", m)",
        "m or -m",
        "abs(m)",
    ] {
        assert_eq!(error(FEW, text, &hour, &limited(120)), TOO_MANY, "{text}");
    }
    let text = "m[1h]";
    assert_eq!(
        error(FEW, text, &QueryRange::instant(YEAR_MS), &limited(120)),
        TOO_MANY
    );
}

#[test]
fn sparse_columns_are_bounded_by_memory() {
    // Each of the 6,000,000 values becomes a series with a single sample and 2,000 slots.
    let many = Endless {
        series: 3_000,
        interval_ms: 1_000,
    };
    let before = peak_kib();
    let options = limited(8_000_000);
    let text = "count_values(\"v\", m)";
    assert_eq!(
        error(many, text, &range(1_999_000, 1_000), &options),
        TOO_MANY
    );
    let grown = peak_kib().saturating_sub(before);
    assert!(grown < 600 << 10, "{grown} KiB");
}

#[test]
fn the_memory_limit_counts_columns_and_labels() {
    let options = EngineOptions {
        max_memory_bytes: 1 << 20,
        ..EngineOptions::default()
    };
    let text = "query would hold more than 1048576 bytes in memory (flag --query.max-memory)";
    let wide = range(3_600_000, 1_000);
    for query in ["m + 0", "m", "topk(3, m)", "m * on (n) m", "sum by (n) (m)"] {
        let store = Endless { series: 40, ..FEW };
        assert_eq!(error(store, query, &wide, &options), text, "{query}");
    }
    // One sample a series: what counts is the labels, of more than 200 bytes.
    let instant = QueryRange::instant(YEAR_MS);
    let crowd = |series| Endless { series, ..FEW };
    assert_eq!(error(crowd(3_500), "abs(m)", &instant, &options), text);
    assert!(run(crowd(1_500), "abs(m)", &instant, &options).is_ok());
    // What was given back does not count.
    let chain = vec!["(m + 0)"; 200].join(" + on (n) ");
    assert!(run(crowd(500), &chain, &instant, &options).is_ok());
}

#[test]
fn many_series_over_many_steps_stay_inside_the_memory_limit() {
    let many = Endless {
        series: 50_000,
        interval_ms: 300_000,
    };
    let limit = 256 << 20;
    let options = EngineOptions {
        max_memory_bytes: limit,
        max_samples: u64::MAX,
        ..EngineOptions::default()
    };
    let before = peak_kib();
    let steps = range(11_000_000, 1_000);
    for text in ["m", "last_over_time(m[5m]) + 1", "topk(5, m)"] {
        let found = error(many, text, &steps, &options);
        assert!(
            found.contains("(flag --query.max-memory)"),
            "{text}: {found}"
        );
    }
    let grown = peak_kib().saturating_sub(before);
    assert!(grown < 2 * (limit >> 10), "{grown} KiB");
}

#[test]
fn everything_with_everything_does_not_pair_up() {
    let crowd = Endless {
        series: 20_000,
        ..FEW
    };
    let started = Instant::now();
    let instant = QueryRange::instant(YEAR_MS);
    let text = error(crowd, "m * on () m", &instant, &EngineOptions::default());
    assert!(
        text.starts_with("found duplicate series for the match group {}"),
        "{text}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn long_kernels_stop_when_told_to() {
    // A window of 2,000,000 samples at each of 2,000 steps.
    let dense = Endless {
        series: 1,
        interval_ms: 1,
    };
    let steps = range(20_000, 10);
    for text in [
        "stddev_over_time(m[2000s])",
        "deriv(m[2000s])",
        "sum_over_time(m[2000s:1ms])",
    ] {
        let options = EngineOptions {
            timeout_ms: 300,
            ..EngineOptions::default()
        };
        let started = Instant::now();
        let found = error(dense, text, &steps, &options);
        assert_eq!(found, "query timed out in expression evaluation");
        // Reading the samples is the store's own time, and unoptimised code is slow at it.
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{text}: {:?}",
            started.elapsed()
        );
    }
}

/// How long a query runs on after it was cancelled.
fn time_to_cancel() -> Duration {
    let dense = Endless {
        series: 1,
        interval_ms: 1,
    };
    let text = "stddev_over_time(m[50s])";
    let options = EngineOptions::default();
    let expr = parse(text, &options.features).unwrap();
    let cancel = CancelToken::default();
    let other = cancel.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.cancel();
        Instant::now()
    });
    let result = evaluate(
        &only(dense),
        text,
        &expr,
        &range(200_000, 1),
        &options,
        &cancel,
    );
    let ended = Instant::now();
    let cancelled = stopper.join().unwrap();
    let text = "query was canceled in expression evaluation";
    assert_eq!(result.unwrap_err().to_string(), text);
    ended.saturating_duration_since(cancelled)
}

#[test]
fn cancelling_ends_a_query() {
    // On a busy machine either thread may have to wait for its turn.
    let best = (0..5).map(|_| time_to_cancel()).min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn long_chains_take_little_stack() {
    let work = || {
        let options = EngineOptions::default();
        let instant = QueryRange::instant(YEAR_MS);
        for (term, op) in [("1", " + "), ("m", " + "), ("m", " or "), ("1", " + m - ")] {
            let text = vec![term; 500].join(op);
            let nested = format!("{}{text}{}", "(".repeat(120), ")".repeat(120));
            assert!(run(FEW, &nested, &instant, &options).is_ok(), "{term}{op}");
            let inside = format!("sum(abs({text}))");
            if term == "m" {
                assert!(run(FEW, &inside, &range(60_000, 60_000), &options).is_ok());
            }
        }
        let sum = run(FEW, &vec!["1"; 1000].join("+"), &instant, &options).unwrap();
        assert!(matches!(sum, Value::Scalar { value: 1000.0, .. }));
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(work).unwrap().join().unwrap();
}
