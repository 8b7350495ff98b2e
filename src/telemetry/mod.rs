//! The server's own counters.
//!
//! Names follow Prometheus where the meaning is the same, so that its dashboards work; the rest is
//! `tenbin_*`. Counting is atomic adds; names and text exist only when `/metrics` is read.

pub mod exposition;
pub mod process;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tenbin_promql::value::QueryStats;

/// Upper bounds of the request duration histogram, seconds: Prometheus' own.
pub const HTTP_BOUNDS_S: [f64; 9] = [0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];

/// All counters that are not the store's.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Requests.
    pub http: HttpTelemetry,
    /// Queries.
    pub query: QueryTelemetry,
    /// Series entries skipped for invalid labels.
    pub invalid_label_entries: AtomicU64,
}

impl Telemetry {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// Upper bounds of the response size histogram, bytes: Prometheus' own.
pub const HTTP_BOUNDS_BYTES: [f64; 8] = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// A classic histogram.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Counts per bucket, not cumulative; the last is beyond all bounds.
    pub buckets: Vec<u64>,
    /// Sum of what was observed.
    pub sum: f64,
}

impl Histogram {
    fn observe(&mut self, bounds: &[f64], value: f64) {
        self.buckets.resize(bounds.len() + 1, 0);
        let bucket = bounds.iter().position(|bound| value <= *bound);
        self.buckets[bucket.unwrap_or(bounds.len())] += 1;
        self.sum += value;
    }
}

/// One route's requests.
#[derive(Debug, Clone, Default)]
pub struct RouteTelemetry {
    /// Requests by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Durations, seconds.
    pub durations: Histogram,
    /// Sizes of bodies of answers as they went out, bytes.
    pub sizes: Histogram,
}

/// Requests by route.
#[derive(Debug, Default)]
pub struct HttpTelemetry {
    routes: Mutex<BTreeMap<String, RouteTelemetry>>,
}

impl HttpTelemetry {
    /// Counts a request whose answer is about to go out.
    pub fn observe(&self, route: &str, status: u16, took: Duration) {
        self.with(route, |entry| {
            *entry.by_status.entry(status).or_default() += 1;
            entry.durations.observe(&HTTP_BOUNDS_S, took.as_secs_f64());
        });
    }

    /// Counts the body of an answer once it is out, or broken off.
    pub fn observe_size(&self, route: &str, bytes: u64) {
        self.with(route, |entry| {
            entry.sizes.observe(&HTTP_BOUNDS_BYTES, bytes as f64);
        });
    }

    fn with(&self, route: &str, change: impl FnOnce(&mut RouteTelemetry)) {
        let mut routes = self.routes.lock();
        match routes.get_mut(route) {
            Some(entry) => change(entry),
            None => change(routes.entry(route.to_owned()).or_default()),
        }
    }

    /// A copy of all counts.
    #[must_use]
    pub fn read(&self) -> BTreeMap<String, RouteTelemetry> {
        self.routes.lock().clone()
    }
}

/// Upper bounds of the query duration histogram, seconds: Prometheus' own.
pub const QUERY_BOUNDS_S: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// One part of the time that queries take.
#[derive(Debug, Default)]
pub struct SliceTelemetry {
    /// Queries per duration bucket, not cumulative; the last is beyond all bounds.
    pub buckets: [AtomicU64; QUERY_BOUNDS_S.len() + 1],
    /// Sum of durations, microseconds.
    pub micros: AtomicU64,
}

impl SliceTelemetry {
    fn observe(&self, seconds: f64) {
        let bucket = QUERY_BOUNDS_S.iter().position(|b| seconds <= *b);
        Telemetry::add(&self.buckets[bucket.unwrap_or(QUERY_BOUNDS_S.len())], 1);
        Telemetry::add(&self.micros, (seconds * 1e6) as u64);
    }
}

/// Queries.
#[derive(Debug, Default)]
pub struct QueryTelemetry {
    /// Failed queries.
    pub failed: AtomicU64,
    /// Time in the queue.
    pub queue: SliceTelemetry,
    /// Time until the first sample.
    pub prepare: SliceTelemetry,
    /// Time in evaluation.
    pub inner_eval: SliceTelemetry,
    /// Time in sorting the result.
    pub result_sort: SliceTelemetry,
    /// Samples touched, counted per step.
    pub samples: AtomicU64,
    /// Samples read from the store.
    pub samples_read: AtomicU64,
    /// Queries that could not be logged.
    pub log_failures: AtomicU64,
}

impl QueryTelemetry {
    /// The parts by Prometheus' names.
    #[must_use]
    pub fn slices(&self) -> [(&'static str, &SliceTelemetry); 4] {
        [
            ("inner_eval", &self.inner_eval),
            ("prepare_time", &self.prepare),
            ("queue_time", &self.queue),
            ("result_sort", &self.result_sort),
        ]
    }

    /// Counts a finished query; no stats for a failed one, whose whole time counts as evaluation.
    pub fn observe(&self, waited: Duration, took: Duration, stats: Option<&QueryStats>) {
        self.queue.observe(waited.as_secs_f64());
        match stats {
            Some(stats) => {
                self.prepare.observe(stats.preparation_s);
                self.inner_eval.observe(stats.inner_eval_s);
                self.result_sort.observe(stats.result_sort_s);
                Telemetry::add(&self.samples, stats.total_queryable_samples);
                Telemetry::add(&self.samples_read, stats.samples_read);
            }
            None => {
                self.inner_eval.observe(took.as_secs_f64());
                Telemetry::add(&self.failed, 1);
            }
        }
    }
}
