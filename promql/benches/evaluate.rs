//! Times queries over 3,200 counters with a sample every 15 s, at 241 steps over an hour: what the
//! evaluation itself costs, with samples that lie in memory as the store hands them over.
//!
//! `cargo bench -p tenbin-promql -- [text]` runs the queries that contain the text.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool fails by panicking and prints"
)]

use std::sync::Arc;
use std::time::Instant;

use tenbin_model::{
    Labels, Matcher, Querier, Queryable, SampleBuffer, SelectHints, SeriesSet, StoreError,
    TimeRange,
};
use tenbin_promql::options::{EngineOptions, Features};
use tenbin_promql::{CancelToken, QueryRange, evaluate, parse};

const SERIES: usize = 3_200;
const INTERVAL_MS: i64 = 15_000;
const STEPS: i64 = 241;

const QUERIES: &[&str] = &[
    "m_total",
    "sum by (x) (m_total)",
    "sum by (x) (rate(m_total[5m]))",
    "rate(m_total[5m])",
    "increase(m_total[1h])",
    "sum by (x) (avg_over_time(m_total[5m]))",
    "sum by (x) (avg_over_time(m_total[1h]))",
    "max_over_time(m_total[5m])",
    "quantile_over_time(0.9, m_total[5m])",
    "m_total * 2 > 5",
    "m_total / on (x, y) m_total",
    "topk(5, m_total)",
    "quantile(0.9, m_total)",
    "sum by (x) (stddev_over_time(m_total[30m]))",
    "histogram_quantile(0.9, sum by (le, x) (rate(b_bucket[5m])))",
];

/// Labels, timestamps and values of a series.
type Stored = (Labels, Vec<i64>, Vec<f64>);

#[derive(Clone)]
struct Store(Arc<Vec<Stored>>);

impl Queryable for Store {
    fn querier(&self, _range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for Store {
    fn select(
        &self,
        matchers: &[Matcher],
        _hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError> {
        let all = matchers
            .iter()
            .all(|m| m.matches(self.0[0].0.value_of(m.name())));
        assert!(all, "the store has one metric");
        Ok(Box::new(self.clone()))
    }

    fn label_names(&self, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

impl SeriesSet for Store {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        Ok(self.0[series].0.clone())
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        let (_, times, values) = &self.0[series];
        let from = times.partition_point(|t| *t < range.min_ms);
        let to = times.partition_point(|t| *t <= range.max_ms);
        out.timestamps_ms.extend_from_slice(&times[from..to]);
        out.values.extend_from_slice(&values[from..to]);
        Ok(())
    }
}

fn store(name: &str, with_bounds: bool) -> Store {
    let bounds = ["0.1", "0.5", "1", "2", "5", "10", "60", "+Inf"];
    let samples = 2 * STEPS;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let series = (0..SERIES).map(|at| {
        let group = (at / bounds.len() % 20).to_string();
        let own = (at / bounds.len()).to_string();
        let mut pairs = vec![("__name__", name), ("x", &group)];
        let single = at.to_string();
        if with_bounds {
            pairs.push(("le", bounds[at % bounds.len()]));
            pairs.push(("y", &own));
        } else {
            pairs.push(("y", &single));
        }
        let jitter = (random() % 15_000) as i64;
        let times = (0..samples).map(|i| i * INTERVAL_MS + jitter).collect();
        let mut value = 0.0;
        let step = if with_bounds { at % bounds.len() } else { 3 };
        let values = (0..samples)
            .map(|_| {
                value += (random() % (2 + step as u64)) as f64;
                value
            })
            .collect();
        (Labels::from_pairs(&pairs), times, values)
    });
    Store(Arc::new(series.collect()))
}

fn main() {
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let options = EngineOptions {
        features: Features {
            per_step_stats: false,
            ..Features::all_for_tests()
        },
        ..EngineOptions::default()
    };
    let stores = [store("m_total", false), store("b_bucket", true)];
    let range = QueryRange {
        start_ms: STEPS * INTERVAL_MS,
        end_ms: (2 * STEPS - 1) * INTERVAL_MS,
        step_ms: INTERVAL_MS,
    };
    for text in QUERIES {
        if !only.iter().all(|part| text.contains(part.as_str())) {
            continue;
        }
        let expr = parse(text, &options.features).unwrap();
        let store = &stores[usize::from(text.contains("b_bucket"))];
        let mut bests = [f64::MAX; 2];
        for _ in 0..15 {
            // One thread, and one per core, in turns.
            for (threads, best) in [1, 0].into_iter().zip(&mut bests) {
                let options = EngineOptions { threads, ..options };
                let started = Instant::now();
                let cancel = CancelToken::default();
                let result = evaluate(store, text, &expr, &range, &options, &cancel).unwrap();
                std::hint::black_box(&result);
                *best = best.min(started.elapsed().as_secs_f64());
            }
        }
        let [best, on_all_cores] = bests;
        let per_step = best * 1e9 / (SERIES as f64 * STEPS as f64);
        println!(
            "{per_step:8.2} ns per series and step {:8.2} ms, on all cores {:8.2} ms ({:.2}x)  {text}",
            best * 1e3,
            on_all_cores * 1e3,
            best / on_all_cores
        );
    }
}
