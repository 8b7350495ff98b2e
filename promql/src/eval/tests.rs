//! Whole queries over a store in memory.

use std::sync::Arc;

use tenbin_model::{
    FloatHistogram, Labels, Matcher, Querier, Queryable, SampleBuffer, SelectHints, SeriesSet,
    Severity, StoreError, TimeRange, is_stale, stale_nan,
};

use crate::engine::{CancelToken, QueryRange, evaluate};
use crate::error::EvalError;
use crate::options::{EngineOptions, Features};
use crate::parser::parse;
use crate::value::{QueryResult, SampleValue, Value};

const STEP_MS: i64 = 10_000;

/// A store that holds a few series.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    series: Arc<Vec<(Labels, SampleBuffer)>>,
}

impl MemoryStore {
    /// A store of series given as selector text and values every ten seconds; NaN is a gap, the
    /// staleness marker itself.
    fn new(all: &[(&str, &[f64])]) -> Self {
        let features = Features::all_for_tests();
        let series = all.iter().map(|(text, values)| {
            let Ok(crate::ast::Expr::VectorSelector(selector)) = parse(text, &features) else {
                panic!("no selector: {text}");
            };
            let pairs: Vec<(&str, &str)> = selector
                .matchers
                .iter()
                .map(|m| (m.name(), m.value()))
                .collect();
            let mut samples = SampleBuffer::default();
            for (at, value) in values.iter().enumerate() {
                if !value.is_nan() || is_stale(*value) {
                    samples.timestamps_ms.push(at as i64 * STEP_MS);
                    samples.values.push(*value);
                }
            }
            (Labels::from_pairs(&pairs), samples)
        });
        Self {
            series: Arc::new(series.collect()),
        }
    }
}

impl Queryable for MemoryStore {
    fn querier(&self, _range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for MemoryStore {
    fn select(
        &self,
        matchers: &[Matcher],
        _hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError> {
        let selected = self.series.iter().filter(|(labels, _)| {
            matchers
                .iter()
                .all(|m| m.matches(labels.value_of(m.name())))
        });
        Ok(Box::new(Self {
            series: Arc::new(selected.cloned().collect()),
        }))
    }

    fn label_names(&self, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

impl SeriesSet for MemoryStore {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        Ok(self.series[series].0.clone())
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        let samples = &self.series[series].1;
        for (time, value) in samples.timestamps_ms.iter().zip(&samples.values) {
            if range.contains(*time) {
                out.timestamps_ms.push(*time);
                out.values.push(*value);
            }
        }
        for (time, histogram) in samples
            .histogram_timestamps_ms
            .iter()
            .zip(&samples.histograms)
        {
            if range.contains(*time) {
                out.histogram_timestamps_ms.push(*time);
                out.histograms.push(Arc::clone(histogram));
            }
        }
        Ok(())
    }
}

fn run(store: &MemoryStore, text: &str, range: &QueryRange) -> Result<QueryResult, EvalError> {
    let features = Features {
        delayed_name_removal: false,
        ..Features::all_for_tests()
    };
    let options = EngineOptions {
        features,
        ..EngineOptions::default()
    };
    let expr = parse(text, &features).map_err(|e| EvalError::BadQuery(e.to_string()))?;
    evaluate(store, text, &expr, range, &options, &CancelToken::default())
}

fn describe(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => tenbin_model::text::float::format_sample(*value),
        SampleValue::Histogram(histogram) => histogram.to_string(),
    }
}

/// The result of an instant query as text, one element after the other.
fn instant(store: &MemoryStore, text: &str, time_s: i64) -> String {
    match run(store, text, &QueryRange::instant(time_s * 1000)) {
        Err(error) => format!("error: {error}"),
        Ok(result) => match result.value {
            Value::Scalar { value, .. } => describe(&SampleValue::Float(value)),
            Value::String { value, .. } => value,
            Value::Vector(all) => {
                let texts: Vec<String> = all
                    .iter()
                    .map(|s| format!("{} {}", s.labels, describe(&s.value)))
                    .collect();
                texts.join("; ")
            }
            Value::Matrix(all) => format!("{all:?}"),
        },
    }
}

/// The first series of a range query over the first minute as text.
fn range(store: &MemoryStore, text: &str) -> String {
    let range = QueryRange {
        start_ms: 0,
        end_ms: 60_000,
        step_ms: 20_000,
    };
    match run(store, text, &range) {
        Err(error) => format!("error: {error}"),
        Ok(result) => match result.value {
            Value::Matrix(all) => {
                let texts: Vec<String> = all
                    .iter()
                    .map(|s| {
                        let points: Vec<String> = s
                            .floats
                            .iter()
                            .map(|(time, value)| format!("{value}@{}", time / 1000))
                            .collect();
                        format!("{} {}", s.labels, points.join(" "))
                    })
                    .collect();
                texts.join("; ")
            }
            other => format!("{other:?}"),
        },
    }
}

fn store() -> MemoryStore {
    MemoryStore::new(&[
        (
            "m_total{a=\"1\"}",
            &[0.0, 10.0, 20.0, 30.0, 5.0, 15.0, 25.0],
        ),
        (
            "m_total{a=\"2\"}",
            &[0.0, 1.0, f64::NAN, 3.0, 4.0, 5.0, 6.0],
        ),
        ("gone", &[1.0, 2.0, stale_nan()]),
        ("b{le=\"1\"}", &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("b{le=\"2\"}", &[3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]),
        ("b{le=\"+Inf\"}", &[4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]),
    ])
}

#[test]
fn selectors_look_back_until_a_staleness_marker() {
    let store = store();
    assert_eq!(instant(&store, "gone", 19), "{__name__=\"gone\"} 2");
    assert_eq!(instant(&store, "gone", 20), "");
    assert_eq!(
        instant(&store, "gone offset 5s", 20),
        "{__name__=\"gone\"} 2"
    );
    assert_eq!(instant(&store, "gone @ 5", 1000), "{__name__=\"gone\"} 1");
    assert_eq!(instant(&store, "count(m_total)", 359), "{} 2");
    assert_eq!(instant(&store, "count(m_total)", 360), "", "left-open");
    assert_eq!(range(&store, "gone"), "{__name__=\"gone\"} 1@0");
}

#[test]
fn windows_slide() {
    let store = store();
    assert_eq!(
        range(&store, "sum_over_time(m_total{a=\"1\"}[20s])"),
        "{a=\"1\"} 0@0 30@20 35@40 40@60"
    );
    assert_eq!(
        instant(&store, "increase(m_total{a=\"1\"}[1m])", 60),
        "{a=\"1\"} 54"
    );
    assert_eq!(
        instant(&store, "max_over_time(m_total{a=\"1\"}[1m:10s])", 60),
        "{a=\"1\"} 30"
    );
    assert_eq!(
        range(&store, "absent_over_time(gone[10s])"),
        "{} 1@20 1@40 1@60"
    );
}

#[test]
fn aggregations_group_by_labels() {
    let store = store();
    assert_eq!(instant(&store, "sum(m_total)", 50), "{} 20");
    assert_eq!(
        instant(&store, "avg by (a) (m_total)", 50),
        "{a=\"1\"} 15; {a=\"2\"} 5"
    );
    assert_eq!(
        instant(&store, "topk(1, m_total)", 50),
        "{__name__=\"m_total\", a=\"1\"} 15"
    );
    assert_eq!(instant(&store, "quantile(0.5, m_total)", 50), "{} 10");
    assert_eq!(
        instant(&store, "count_values(\"v\", m_total > 10)", 50),
        "{v=\"15\"} 1"
    );
    assert_eq!(
        range(&store, "sum(rate(m_total[30s]))").split(' ').count(),
        4,
        "no rate at the first step"
    );
}

#[test]
fn vectors_match_by_labels() {
    let store = store();
    assert_eq!(
        instant(&store, "m_total - on (a) m_total", 50),
        "{a=\"1\"} 0; {a=\"2\"} 0"
    );
    assert_eq!(
        instant(&store, "m_total > 10 or gone", 10),
        "{__name__=\"gone\"} 2"
    );
    assert_eq!(
        instant(&store, "m_total unless on (a) m_total > 10", 50),
        "{__name__=\"m_total\", a=\"2\"} 5"
    );
    let error = instant(&store, "gone + on () m_total", 10);
    assert!(
        error.contains("found duplicate series for the match group {}"),
        "{error}"
    );
    assert_eq!(
        instant(&store, "m_total * on () group_left () gone", 10),
        "{a=\"1\"} 20; {a=\"2\"} 2"
    );
    assert_eq!(
        instant(&store, "{__name__=~\"m_total|gone\"} + 1", 10)
            .split(';')
            .count(),
        3
    );
}

#[test]
fn functions_apply() {
    let store = store();
    assert_eq!(instant(&store, "histogram_quantile(0.5, b)", 10), "{} 1.5");
    assert_eq!(instant(&store, "scalar(gone) + time()", 10), "12");
    assert_eq!(instant(&store, "timestamp(gone)", 15), "{} 10");
    assert_eq!(
        instant(
            &store,
            "label_replace(gone, \"x\", \"$1\", \"__name__\", \"(.).*\")",
            10
        ),
        "{__name__=\"gone\", x=\"g\"} 2"
    );
    assert_eq!(
        instant(&store, "absent(nothing{x=\"1\"})", 10),
        "{x=\"1\"} 1"
    );
}

#[test]
fn limits_are_named() {
    let store = store();
    let options = EngineOptions {
        max_samples: 3,
        ..EngineOptions::default()
    };
    let expr = parse("m_total[1m]", &options.features).unwrap();
    let range = QueryRange::instant(60_000);
    let cancel = CancelToken::default();
    let error = evaluate(&store, "", &expr, &range, &options, &cancel).unwrap_err();
    assert_eq!(error.to_string(), EvalError::too_many_samples().to_string());
    cancel.cancel();
    let expr = parse("m_total", &options.features).unwrap();
    let error = evaluate(&store, "", &expr, &range, &options, &cancel).unwrap_err();
    assert_eq!(
        error.to_string(),
        "query was canceled in expression evaluation"
    );
}

#[test]
fn annotations_point_at_their_cause() {
    let result = run(&store(), "rate(gone[1m])", &QueryRange::instant(15_000)).unwrap();
    let infos = result
        .annotations
        .render(Severity::Info, "rate(gone[1m])", 0);
    assert_eq!(
        infos,
        [
            "PromQL info: metric might not be a counter, name does not end in \
          _total/_sum/_count/_bucket: \"gone\" (1:6)"
        ]
    );
    assert_eq!(result.stats.total_queryable_samples, 2);
    let _ = FloatHistogram::default();
}
