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

/// One route's requests.
#[derive(Debug, Clone, Default)]
pub struct RouteTelemetry {
    /// Requests by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests per duration bucket, not cumulative; the last is beyond all bounds.
    pub buckets: [u64; HTTP_BOUNDS_S.len() + 1],
    /// Sum of durations, seconds.
    pub sum_s: f64,
}

/// Requests by route.
#[derive(Debug, Default)]
pub struct HttpTelemetry {
    routes: Mutex<BTreeMap<String, RouteTelemetry>>,
}

impl HttpTelemetry {
    /// Counts a finished request.
    pub fn observe(&self, route: &str, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = HTTP_BOUNDS_S.iter().position(|b| seconds <= *b);
        let mut routes = self.routes.lock();
        let entry = match routes.get_mut(route) {
            Some(entry) => entry,
            None => routes.entry(route.to_owned()).or_default(),
        };
        *entry.by_status.entry(status).or_default() += 1;
        entry.buckets[bucket.unwrap_or(HTTP_BOUNDS_S.len())] += 1;
        entry.sum_s += seconds;
    }

    /// A copy of all counts.
    #[must_use]
    pub fn read(&self) -> BTreeMap<String, RouteTelemetry> {
        self.routes.lock().clone()
    }
}

/// Queries.
#[derive(Debug, Default)]
pub struct QueryTelemetry {
    /// Finished queries, failed ones included.
    pub count: AtomicU64,
    /// Failed queries.
    pub failed: AtomicU64,
    /// Time spent in evaluation, microseconds.
    pub micros: AtomicU64,
    /// Samples touched, counted per step.
    pub samples: AtomicU64,
    /// Samples read from the store.
    pub samples_read: AtomicU64,
}

impl QueryTelemetry {
    /// Counts a finished query; no stats for a failed one.
    pub fn observe(&self, took: Duration, stats: Option<&QueryStats>) {
        Telemetry::add(&self.count, 1);
        Telemetry::add(&self.micros, took.as_micros() as u64);
        match stats {
            Some(stats) => {
                Telemetry::add(&self.samples, stats.total_queryable_samples);
                Telemetry::add(&self.samples_read, stats.samples_read);
            }
            None => Telemetry::add(&self.failed, 1),
        }
    }
}
