//! A query evaluated by several threads has, to the bit, the results, annotations and statistics of
//! one that is evaluated by a single thread.

use tenbin_model::{Labels, SampleBuffer, SeriesSet, Severity, StoreError, TimeRange};
use tenbin_promql::options::EngineOptions;
use tenbin_promql::value::{QueryResult, Value};
use tenbin_promql::{CancelToken, EvalError, QueryRange, evaluate, parse};

use crate::store::only;

const SERIES: usize = 400;

/// Series of uneven length with resets; the store fails at one series if told to.
#[derive(Clone, Copy)]
struct Uneven {
    fails_at: Option<usize>,
}

impl SeriesSet for Uneven {
    fn len(&self) -> usize {
        SERIES
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        let (name, group) = (format!("m{}", series % 3), (series % 7).to_string());
        let number = series.to_string();
        let pairs = [("__name__", &*name), ("group", &group), ("n", &number)];
        Ok(Labels::from_pairs(&pairs))
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        if self.fails_at == Some(series) {
            return Err(StoreError::Limit(format!("series {series}")));
        }
        let every = 1_000 * (1 + series as i64 % 5);
        for t in (0..=2_000_000).step_by(every as usize) {
            if range.contains(t) {
                let resets = (t / 77_000) as f64 * 31.0;
                out.timestamps_ms.push(t);
                out.values
                    .push((t as f64 / 3.0).sqrt() * (1 + series) as f64 - resets);
            }
        }
        Ok(())
    }
}

fn run(store: Uneven, text: &str, threads: usize) -> Result<QueryResult, EvalError> {
    let options = EngineOptions {
        threads,
        ..EngineOptions::default()
    };
    let range = QueryRange {
        start_ms: 300_000,
        end_ms: 1_900_000,
        step_ms: 5_000,
    };
    let expr = parse(text, &options.features).unwrap();
    evaluate(
        &only(store),
        text,
        &expr,
        &range,
        &options,
        &CancelToken::default(),
    )
}

/// The series of a result with values as bits, and everything else.
fn shown(result: &QueryResult) -> (String, String) {
    let Value::Matrix(all) = &result.value else {
        panic!("not a matrix")
    };
    let series = all.iter().map(|series| {
        let points = series.floats.iter().map(|(t, v)| (*t, v.to_bits()));
        (series.labels.to_string(), points.collect::<Vec<_>>())
    });
    let stats = &result.stats;
    let figures = (
        stats.total_queryable_samples,
        stats.samples_read,
        stats.peak_samples,
    );
    let notes = result.annotations.render(Severity::Info, "", 0);
    let series = series.collect::<Vec<_>>();
    (format!("{series:?}"), format!("{notes:?} {figures:?}"))
}

#[test]
fn many_threads_give_the_result_of_one() {
    for text in [
        "sum by (group) (rate(m[5m]))",
        "stddev_over_time(m[2m])",
        "avg(quantile_over_time(0.9, m[3m]))",
        "max_over_time(rate(m[1m])[2m:10s])",
    ] {
        let alone = run(Uneven { fails_at: None }, text, 1).unwrap();
        let together = run(Uneven { fails_at: None }, text, 4).unwrap();
        let (alone, together) = (shown(&alone), shown(&together));
        assert_eq!(alone.1, together.1, "{text}");
        assert!(alone.0 == together.0, "{text}: values differ");
    }
}

#[test]
fn the_first_error_is_the_same() {
    for fails_at in [5, 100, 399] {
        let store = Uneven {
            fails_at: Some(fails_at),
        };
        let text = "sum(stddev_over_time(m[2m]))";
        let error = run(store, text, 4).unwrap_err().to_string();
        assert_eq!(error, format!("expanding series: series {fails_at}"));
    }
}
