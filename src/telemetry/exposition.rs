//! `/metrics` in the Prometheus text format 0.0.4; `store` has what the store says.

mod store;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use tenbin_model::text::float::format_g;
use tenbin_storage::DbStats;

use super::{HTTP_BOUNDS_BYTES, HTTP_BOUNDS_S, Histogram, QUERY_BOUNDS_S, SliceTelemetry, process};
use crate::server::App;

/// Builds the text.
struct Exposition {
    out: String,
}

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let escaped = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(
                self.out,
                "{}{label}=\"{escaped}\"",
                if i == 0 { "{" } else { "," }
            );
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {}", format_g(value));
    }

    /// A series of a histogram: buckets, sum and count.
    fn histogram(
        &mut self,
        name: &str,
        label: (&str, &str),
        bounds: &[f64],
        histogram: &Histogram,
    ) {
        let mut cumulative = 0;
        for (bucket, count) in histogram.buckets.iter().enumerate() {
            cumulative += count;
            let bound = bounds
                .get(bucket)
                .map_or("+Inf".to_owned(), |bound| format_g(*bound));
            let labels = [label, ("le", bound.as_str())];
            self.sample(&format!("{name}_bucket"), &labels, cumulative as f64);
        }
        self.sample(&format!("{name}_sum"), &[label], histogram.sum);
        self.sample(&format!("{name}_count"), &[label], cumulative as f64);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value as f64);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }
}

/// All metrics; those of the store only once it is open.
#[must_use]
pub fn render(app: &App, stats: Option<&DbStats>) -> String {
    let mut e = Exposition {
        out: String::with_capacity(16 << 10),
    };
    e.family(
        "prometheus_build_info",
        "gauge",
        "Version whose behaviour is promised.",
    );
    let build = [
        ("version", crate::api::status::PROMETHEUS_VERSION),
        ("revision", concat!("tenbin-", env!("CARGO_PKG_VERSION"))),
        ("branch", "tenbin"),
    ];
    e.sample("prometheus_build_info", &build, 1.0);
    e.gauge(
        "prometheus_ready",
        "Whether the store is open.",
        f64::from(u8::from(stats.is_some())),
    );
    push_process(&mut e, app);
    push_config(&mut e, app);
    push_http(&mut e, app);
    push_query(&mut e, app);
    push_ingest(&mut e, app);
    if let Some(stats) = stats {
        store::push(&mut e, stats);
    }
    e.out
}

fn push_process(e: &mut Exposition, app: &App) {
    let facts = process::facts();
    e.family(
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time, seconds.",
    );
    e.sample("process_cpu_seconds_total", &[], facts.cpu_s);
    e.gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        facts.resident_bytes as f64,
    );
    e.gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        facts.virtual_bytes as f64,
    );
    e.gauge(
        "process_open_fds",
        "Number of open file descriptors.",
        facts.open_fds as f64,
    );
    e.gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        facts.max_fds as f64,
    );
    e.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        app.started_ms as f64 / 1000.0,
    );
}

fn push_http(e: &mut Exposition, app: &App) {
    let routes = app.telemetry.http.read();
    e.family(
        "prometheus_http_requests_total",
        "counter",
        "Counter of HTTP requests.",
    );
    for (route, telemetry) in &routes {
        for (status, count) in &telemetry.by_status {
            let labels = [("handler", route.as_str()), ("code", &status.to_string())];
            e.sample("prometheus_http_requests_total", &labels, *count as f64);
        }
    }
    let name = "prometheus_http_request_duration_seconds";
    e.family(
        name,
        "histogram",
        "Histogram of latencies for HTTP requests.",
    );
    for (route, telemetry) in &routes {
        e.histogram(
            name,
            ("handler", route),
            &HTTP_BOUNDS_S,
            &telemetry.durations,
        );
    }
    let name = "prometheus_http_response_size_bytes";
    e.family(
        name,
        "histogram",
        "Histogram of response size for HTTP requests.",
    );
    for (route, telemetry) in &routes {
        e.histogram(
            name,
            ("handler", route),
            &HTTP_BOUNDS_BYTES,
            &telemetry.sizes,
        );
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn push_query(e: &mut Exposition, app: &App) {
    let query = &app.telemetry.query;
    e.gauge(
        "prometheus_engine_queries",
        "Queries currently being executed.",
        app.query_threads.running() as f64,
    );
    e.gauge(
        "prometheus_engine_queries_concurrent_max",
        "The max number of concurrent queries.",
        app.query_threads.max_concurrent() as f64,
    );
    push_query_durations(e, app);
    e.counter(
        "prometheus_engine_query_samples_total",
        "The total number of samples loaded by all queries.",
        read(&query.samples),
    );
    e.counter(
        "prometheus_engine_query_samples_read_total",
        "The total number of samples read from storage by all queries.",
        read(&query.samples_read),
    );
    e.counter(
        "tenbin_engine_queries_failed_total",
        "Queries without result.",
        read(&query.failed),
    );
    push_result_cache(e, app);
}

fn push_result_cache(e: &mut Exposition, app: &App) {
    let counts = app.result_cache.counts();
    e.counter(
        "tenbin_query_result_cache_hits_total",
        "Range queries of which a part was known from earlier ones.",
        counts.hits,
    );
    e.counter(
        "tenbin_query_result_cache_misses_total",
        "Range queries that could have been known from earlier ones, and were not.",
        counts.misses,
    );
    e.counter(
        "tenbin_query_result_cache_evictions_total",
        "Results that left the cache for others.",
        counts.evictions,
    );
    e.gauge(
        "tenbin_query_result_cache_bytes",
        "Bytes of results kept, with their labels and queries.",
        counts.bytes as f64,
    );
}

fn push_query_durations(e: &mut Exposition, app: &App) {
    let slices = app.telemetry.query.slices();
    let count = |slice: &SliceTelemetry| -> u64 { slice.buckets.iter().map(read).sum() };
    let seconds = |slice: &SliceTelemetry| read(&slice.micros) as f64 / 1e6;
    let name = "prometheus_engine_query_duration_seconds";
    e.family(name, "summary", "Query timings.");
    for (label, slice) in slices {
        let labels = [("slice", label)];
        e.sample(&format!("{name}_sum"), &labels, seconds(slice));
        e.sample(&format!("{name}_count"), &labels, count(slice) as f64);
    }
    let name = "prometheus_engine_query_duration_histogram_seconds";
    e.family(
        name,
        "histogram",
        "The duration of various parts of PromQL query execution.",
    );
    for (label, slice) in slices {
        let histogram = Histogram {
            buckets: slice.buckets.iter().map(read).collect(),
            sum: seconds(slice),
        };
        e.histogram(name, ("slice", label), &QUERY_BOUNDS_S, &histogram);
    }
    e.gauge(
        "prometheus_engine_query_log_enabled",
        "State of the query log.",
        f64::from(u8::from(app.config.query_log().is_some())),
    );
    e.counter(
        "prometheus_engine_query_log_failures_total",
        "The number of query log failures.",
        read(&app.telemetry.query.log_failures),
    );
}

/// Configuration: how the last reload went, and limits that dashboards show.
fn push_config(e: &mut Exposition, app: &App) {
    let last = app.config.last_reload();
    e.gauge(
        "prometheus_config_last_reload_successful",
        "Whether the last configuration reload attempt was successful.",
        f64::from(u8::from(last.succeeded)),
    );
    e.gauge(
        "prometheus_config_last_reload_success_timestamp_seconds",
        "Timestamp of the last successful configuration reload.",
        last.success_ms.max(app.started_ms) as f64 / 1000.0,
    );
    e.gauge(
        "tenbin_web_config_last_reload_successful",
        "Whether the web configuration was last read without a mistake.",
        f64::from(u8::from(app.web_config.reload_succeeded())),
    );
    let config = app.config.current();
    let retention = &config.storage.tsdb.retention;
    e.gauge(
        "prometheus_tsdb_retention_limit_bytes",
        "Max number of bytes to be retained in the tsdb blocks, configured 0 means disabled.",
        retention.size.map_or(0, |size| size.0) as f64,
    );
    e.gauge(
        "prometheus_tsdb_retention_limit_seconds",
        "How long to retain samples in storage.",
        retention.time.map_or(0, |time| time.0) as f64 / 1000.0,
    );
    e.gauge(
        "prometheus_tsdb_exemplar_max_exemplars",
        "Total number of exemplars the exemplar storage can store.",
        config.storage.exemplars.max_exemplars.unwrap_or(0) as f64,
    );
}

fn push_ingest(e: &mut Exposition, app: &App) {
    e.counter(
        "prometheus_api_remote_write_invalid_labels_samples_total",
        "Series entries of remote write requests skipped for invalid labels.",
        read(&app.telemetry.invalid_label_entries),
    );
}
