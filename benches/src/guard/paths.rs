//! The hot paths: what each prepares, and what of it is counted.

use std::path::Path;
use std::sync::Arc;

use tenbin::api::json::push_value;
use tenbin_model::{Matcher, Queryable as _, SampleBuffer, SelectHints, TimeRange};
use tenbin_promql::options::EngineOptions;
use tenbin_promql::value::Value;
use tenbin_promql::{CancelToken, QueryRange, evaluate, parse};
use tenbin_storage::Db;

use super::count::{Counted, measure};
use super::data::{self, INTERVAL_MS, SCRAPES, START_MS};
use crate::measure::disk_bytes;

/// One counted path.
pub(super) struct HotPath {
    pub(super) name: &'static str,
    /// What the counts are divided by.
    pub(super) unit: &'static str,
    /// Which prepared directory it begins with, if any: `log` or `blocks`.
    pub(super) from: Option<&'static str>,
    /// It runs on several threads: the instructions of the whole process count.
    pub(super) whole: bool,
    pub(super) run: fn(&Path) -> Result<Counted, String>,
}

const fn path(
    name: &'static str,
    unit: &'static str,
    from: Option<&'static str>,
    run: fn(&Path) -> Result<Counted, String>,
) -> HotPath {
    HotPath {
        name,
        unit,
        from,
        whole: false,
        run,
    }
}

/// All of them.
pub(super) const PATHS: [HotPath; 16] = [
    path(
        "decode and append, known series",
        "sample",
        None,
        append_known,
    ),
    path("decode and append, new series", "series", None, append_new),
    path("flush", "sample", Some("log"), flush),
    path("block merge", "sample", Some("blocks"), merge),
    HotPath {
        whole: true,
        ..path("replay", "sample", Some("log"), replay)
    },
    path("select and decode, head", "sample", Some("log"), |d| {
        read(d, SCRAPES)
    }),
    path("select and decode, blocks", "sample", Some("blocks"), |d| {
        read(d, 2 * SCRAPES)
    }),
    path(
        "selection by regular expression",
        "series",
        Some("blocks"),
        by_regex,
    ),
    path("rate over a range", "point", Some("blocks"), |d| {
        query(d, "rate(node_cpu_seconds_total[5m])", true)
    }),
    path("sum by (rate) over a range", "query", Some("blocks"), |d| {
        query(d, "sum by (mode) (rate(node_cpu_seconds_total[5m]))", true)
    }),
    path(
        "histogram_quantile over a range",
        "query",
        Some("blocks"),
        |d| {
            query(
                d,
                "histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
                true,
            )
        },
    ),
    path(
        "instant selection over blocks",
        "point",
        Some("blocks"),
        |d| query(d, "{__name__=~\"container_.*\"}", false),
    ),
    path(
        "instant sum over one series of blocks",
        "query",
        Some("blocks"),
        |d| query(d, "sum(node_load1)", false),
    ),
    path("JSON of a range", "point", Some("blocks"), json_range),
    path("label values", "value", Some("blocks"), |d| {
        label_values(d, false)
    }),
    path(
        "label values with a matcher",
        "value",
        Some("blocks"),
        |d| label_values(d, true),
    ),
];

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn append_known(directory: &Path) -> Result<Counted, String> {
    let all = data::scrapes(12)?;
    let db = data::open(directory)?;
    let (known, rest) = all.split_at(2);
    data::append(&db, known)?;
    let before = db.stats().wal_written_bytes;
    let (mut counted, outcome) = measure(data::samples(rest), || data::append(&db, rest));
    outcome?;
    counted.stored_bytes = Some((db.stats().wal_written_bytes - before) as f64);
    Ok(counted)
}

fn append_new(directory: &Path) -> Result<Counted, String> {
    let first = data::scrapes(1)?;
    let db = data::open(directory)?;
    let (mut counted, outcome) = measure(data::samples(&first), || data::append(&db, &first));
    outcome?;
    counted.stored_bytes = Some(db.stats().wal_written_bytes as f64);
    Ok(counted)
}

fn flush(directory: &Path) -> Result<Counted, String> {
    let db = data::open(directory)?;
    let (mut counted, report) = measure(1.0, || db.flush());
    let report = report.map_err(text)?;
    counted.units = report.samples as f64;
    counted.stored_bytes = Some(report.block_bytes as f64);
    Ok(counted)
}

fn merge(directory: &Path) -> Result<Counted, String> {
    let db = data::open(directory)?;
    let (mut counted, report) = measure(1.0, || db.compact());
    report.map_err(text)?;
    counted.units = stored_samples(&db)? as f64;
    counted.stored_bytes = Some(disk_bytes(&directory.join("blocks")) as f64);
    Ok(counted)
}

fn replay(directory: &Path) -> Result<Counted, String> {
    let (mut counted, db) = measure(1.0, || data::open(directory));
    counted.units = db?.stats().replayed_samples as f64;
    Ok(counted)
}

/// All series of one job with every sample.
fn select(db: &Arc<Db>) -> Result<(usize, usize), String> {
    let querier = db.querier(TimeRange::ALL).map_err(text)?;
    let matchers = [Matcher::equal("cluster", "prod-eu-west-1")];
    let set = querier
        .select(&matchers, &SelectHints::default())
        .map_err(text)?;
    let (mut buffer, mut samples) = (SampleBuffer::default(), 0);
    for series in 0..set.len() {
        set.read(series, TimeRange::ALL, &mut buffer)
            .map_err(text)?;
        samples += buffer.len();
    }
    Ok((set.len(), samples))
}

fn stored_samples(db: &Arc<Db>) -> Result<usize, String> {
    Ok(select(db)?.1)
}

fn read(directory: &Path, scrapes: usize) -> Result<Counted, String> {
    let db = data::open(directory)?;
    let (mut counted, found) = measure(1.0, || select(&db));
    let (series, samples) = found?;
    if samples != series * scrapes {
        return Err(format!(
            "{samples} samples of {series} series, {scrapes} scrapes"
        ));
    }
    counted.units = samples as f64;
    Ok(counted)
}

fn by_regex(directory: &Path) -> Result<Counted, String> {
    let db = data::open(directory)?;
    let matchers = tenbin_promql::parse_matchers(
        "{__name__=~\"container_memory_.+|kube_pod_.*\",namespace!~\"team-[0-3]\"}",
        &EngineOptions::default().features,
    )
    .map_err(text)?;
    let (mut counted, count) = measure(1.0, || {
        let querier = db.querier(TimeRange::ALL).map_err(text)?;
        let set = querier
            .select(&matchers, &SelectHints::default())
            .map_err(text)?;
        for series in 0..set.len() {
            std::hint::black_box(set.labels(series).map_err(text)?);
        }
        Ok::<_, String>(set.len())
    });
    counted.units = count?.max(1) as f64;
    Ok(counted)
}

fn value_of(db: &Arc<Db>, query: &str, is_range: bool) -> Result<Value, String> {
    let options = EngineOptions {
        threads: 1,
        ..EngineOptions::default()
    };
    let expr = parse(query, &options.features).map_err(text)?;
    let end_ms = START_MS + 2 * SCRAPES as i64 * INTERVAL_MS;
    let range = if is_range {
        QueryRange {
            start_ms: START_MS + 5 * 60_000,
            end_ms,
            step_ms: INTERVAL_MS,
        }
    } else {
        QueryRange::instant(end_ms)
    };
    let cancel = CancelToken::default();
    let result = evaluate(&**db, query, &expr, &range, &options, &cancel).map_err(text)?;
    Ok(result.value)
}

fn points(value: &Value) -> usize {
    match value {
        Value::Matrix(series) => series.iter().map(|s| s.floats.len()).sum(),
        Value::Vector(samples) => samples.len(),
        _ => 1,
    }
}

fn query(directory: &Path, query: &str, is_range: bool) -> Result<Counted, String> {
    let db = data::open(directory)?;
    let (mut counted, value) = measure(1.0, || value_of(&db, query, is_range));
    let points = points(&value?);
    if points == 0 {
        return Err(format!("{query} found nothing"));
    }
    if !query.starts_with("sum") && !query.starts_with("histogram") {
        counted.units = points as f64;
    }
    Ok(counted)
}

fn json_range(directory: &Path) -> Result<Counted, String> {
    let db = data::open(directory)?;
    let value = value_of(&db, "{__name__=~\"node_disk.*|node_memory.*\"}", true)?;
    let points = points(&value) as f64;
    let (counted, written) = measure(points, || {
        let mut out = Vec::new();
        push_value::<String>(&mut out, value, &mut |_, _| Ok(())).map(|()| out.len())
    });
    written?;
    Ok(counted)
}

fn label_values(directory: &Path, with_matcher: bool) -> Result<Counted, String> {
    let db = data::open(directory)?;
    let matchers = [Matcher::equal("job", "node-exporter")];
    let matchers = if with_matcher { &matchers[..] } else { &[] };
    let (mut counted, values) = measure(1.0, || {
        let querier = db.querier(TimeRange::ALL).map_err(text)?;
        querier.label_values("__name__", matchers).map_err(text)
    });
    counted.units = values?.len().max(1) as f64;
    Ok(counted)
}
