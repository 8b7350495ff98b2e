//! Native histograms beside a real Prometheus 3.5: all kinds go to both by remote write 1.0, with
//! resets, growing and changing layouts, staleness markers and floats in between, and both answer
//! the same questions; after a flush and a restart once more. Exemplars and metadata too.

use libtest_mimic::{Failed, Trial};
use prost::Message;
use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::histograms::{CUSTOM, Histogram, Shape, histogram, stale};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::prometheus::Prometheus;
use tenbin_compat_tests::sender::{Label, Sample};

use super::{failed, tenbin};

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    vec![Trial::test(
        "native_histograms::answers_agree_with_prometheus",
        move || answers_agree(&peers),
    )]
}

const START_MS: i64 = 1_700_000_000_000;
const SCRAPES: i64 = 60;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<Series>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    metric_family_name: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

fn named(name: &str, instance: &str) -> Series {
    let label = |name: &str, value: &str| Label {
        name: name.into(),
        value: value.into(),
    };
    Series {
        labels: vec![label("__name__", name), label("instance", instance)],
        ..Series::default()
    }
}

/// One scrape of one target.
fn scrape(at: i64, target: i64) -> Vec<Series> {
    let time = START_MS + at * 15_000;
    let instance = format!("i{target}");
    // Counters start again at 30.
    let age = at % 30 + 1;
    // More buckets with time.
    let grown = 3 + (age / 8) as usize;
    let counts: Vec<i64> = (1..=grown as i64)
        .map(|b| age * (b + target) % 50 + age)
        .collect();
    let plain = Shape {
        schema: 3,
        first: -2,
        positive: &counts,
        negative: &[age, 2 * age],
        zero: age as u64,
        float: false,
        gauge: false,
        bounds: &[],
    };
    let wave: Vec<i64> = (0..4).map(|b| (at * (b + 2) + target) % 9).collect();
    let steady = [age, 2 * age, 3 * age, 5 * age];
    let mut all = Vec::new();
    let mut push = |name: &str, shape: &Shape<'_>| {
        let mut series = named(name, &instance);
        series.histograms.push(histogram(time, shape));
        all.push(series);
    };
    push(
        "nh_float",
        &Shape {
            float: true,
            ..plain
        },
    );
    push(
        "nh_gauge",
        &Shape {
            positive: &wave,
            negative: &[],
            zero: 0,
            gauge: true,
            ..plain
        },
    );
    push(
        "nh_schema",
        &Shape {
            schema: if at < 25 { 3 } else { 1 },
            positive: &steady,
            ..plain
        },
    );
    let bounds: &[f64] = if at < 40 {
        &[0.1, 0.5, 2.5]
    } else {
        &[0.1, 1.0, 2.5]
    };
    let custom = Shape {
        schema: CUSTOM,
        first: 0,
        positive: &steady,
        negative: &[],
        zero: 0,
        bounds,
        ..plain
    };
    push("nh_custom", &custom);
    if target != 2 || at < 45 {
        push("nh_int", &plain);
    } else if at == 45 {
        let mut series = named("nh_int", &instance);
        series.histograms.push(stale(time));
        all.push(series);
    }
    let mut mixed = named("nh_mixed", &instance);
    if (20..40).contains(&at) {
        mixed.histograms.push(histogram(time, &plain));
    } else {
        mixed.samples.push(Sample {
            value: at as f64,
            timestamp: time,
        });
    }
    mixed.exemplars.push(Exemplar {
        labels: vec![Label {
            name: "trace_id".into(),
            value: format!("t{at}"),
        }],
        value: at as f64,
        timestamp: time,
    });
    all.push(mixed);
    all
}

const QUERIES: &[&str] = &[
    "nh_int",
    "{__name__=~\"nh_.*\"}",
    "nh_int[2m]",
    "nh_mixed[10m]",
    "nh_custom[5m]",
    "rate(nh_int[2m])",
    "rate(nh_float[2m])",
    "rate(nh_schema[2m])",
    "rate(nh_custom[2m])",
    "rate(nh_gauge[2m])",
    "rate(nh_mixed[2m])",
    "increase(nh_int[5m])",
    "irate(nh_int[2m])",
    "idelta(nh_gauge[2m])",
    "delta(nh_gauge[2m])",
    "delta(nh_int[2m])",
    "resets(nh_int[10m])",
    "resets(nh_custom[10m])",
    "resets(nh_schema[10m])",
    "resets(nh_mixed[10m])",
    "resets(nh_gauge[10m])",
    "changes(nh_gauge[10m])",
    "histogram_quantile(0.9, nh_int)",
    "histogram_quantile(0.5, rate(nh_float[2m]))",
    "histogram_quantile(0.5, sum(rate(nh_custom[2m])))",
    "histogram_fraction(0, 1, rate(nh_int[2m]))",
    "histogram_count(nh_schema)",
    "histogram_sum(nh_float)",
    "histogram_avg(nh_int)",
    "histogram_stddev(nh_int)",
    "histogram_stdvar(nh_gauge)",
    "sum(nh_int)",
    "sum by (instance) (rate(nh_int[2m]))",
    "sum({__name__=~\"nh_int|nh_float\"})",
    "sum({__name__=~\"nh_int|nh_gauge\"})",
    "sum({__name__=~\"nh_int|nh_custom\"})",
    "sum(nh_mixed)",
    "avg(nh_float)",
    "count(nh_int)",
    "max(nh_mixed)",
    "nh_int + on (instance) nh_float",
    "nh_int - on (instance) nh_schema",
    "nh_int * 2",
    "nh_float / 4",
    "nh_int == nh_int",
    "nh_int > 1",
    "sum_over_time(nh_int[2m])",
    "avg_over_time(nh_custom[2m])",
    "avg_over_time(nh_gauge[10m])",
    "count_over_time(nh_mixed[10m])",
    "last_over_time(nh_mixed[10m])",
    "present_over_time(nh_int[5m])",
    "max_over_time(nh_mixed[10m])",
    "timestamp(nh_int)",
    "absent(nh_int)",
    "topk(3, nh_mixed)",
    "nh_int offset 5m",
    "nh_mixed @ 1700000450",
    "rate(nh_int[1m:15s])",
];

/// Queries whose answers differ from Prometheus 3.5's since the language is that of 3.14.
const KNOWN: &[(&str, &str)] = &[
    ("rate(nh_custom[2m])", CUSTOM_BOUNDS),
    ("resets(nh_custom[10m])", CUSTOM_BOUNDS),
    (
        "histogram_quantile(0.5, sum(rate(nh_custom[2m])))",
        CUSTOM_BOUNDS,
    ),
    ("avg_over_time(nh_custom[2m])", CUSTOM_BOUNDS),
    ("rate(nh_gauge[2m])", TO_ZERO),
    ("increase(nh_int[5m])", TO_ZERO),
];
const CUSTOM_BOUNDS: &str = "3.14 reconciles different custom bounds; 3.5 refuses them";
const TO_ZERO: &str = "3.14 extrapolates no histogram below a count of zero; 3.5 does";

fn send(client: &Client, url: &str, request: &Request) -> Result<(), Failed> {
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?;
    let headers = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", "application/x-protobuf"),
    ];
    let answer = client.post(&format!("{url}/api/v1/write"), &headers, &body);
    let answer = answer.map_err(failed)?;
    if answer.status == 204 {
        return Ok(());
    }
    Err(failed(format!(
        "{url}: {} {}",
        answer.status,
        answer.text()
    )))
}

fn compare(client: &Client, urls: [&str; 2]) -> Result<Vec<String>, Failed> {
    let mut differences = Vec::new();
    let mut ask = |path: &str, parameters: &[(&str, &str)]| {
        let answers = urls.map(|url| {
            let url = format!("{url}/api/v1/{path}?{}", form(parameters));
            client.get(&url).map(|answer| normalised(&answer))
        });
        let [ours, theirs] = answers;
        let (ours, theirs) = (ours.map_err(failed)?, theirs.map_err(failed)?);
        let known = KNOWN.iter().any(|(query, _)| *query == parameters[0].1);
        if !known && !same(&ours, &theirs) {
            let difference = first_difference(&ours, &theirs);
            differences.push(format!("{path} {parameters:?}\n{difference}"));
        }
        Ok::<_, Failed>(())
    };
    let end = (START_MS / 1000 + (SCRAPES - 1) * 15).to_string();
    let start = (START_MS / 1000 - 30).to_string();
    for query in QUERIES {
        for time in [&end, "1700000460", "1700000690"] {
            ask("query", &[("query", query), ("time", time)])?;
        }
        if !query.ends_with("m]") {
            let range = [("start", &*start), ("end", &end), ("step", "37")];
            ask("query_range", &[&[("query", *query)], &range[..]].concat())?;
        }
    }
    let range = [("start", "1700000100"), ("end", "1700000400")];
    ask(
        "query_exemplars",
        &[&[("query", "rate(nh_mixed[1m])")], &range[..]].concat(),
    )?;
    Ok(differences)
}

fn answers_agree(peers: &Peers) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = ["--storage.tsdb.retention.time=0"];
    let mut server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let features = ["--enable-feature=native-histograms,exemplar-storage"];
    let config = "global: {}\n";
    let prometheus = Prometheus::start(peers, directory.path(), "prometheus", config, &features)
        .map_err(failed)?;
    let prometheus_url = prometheus.url.clone();
    let client = Client::default();
    for at in 0..SCRAPES {
        let request = Request {
            timeseries: (0..3).flat_map(|target| scrape(at, target)).collect(),
            metadata: vec![Metadata {
                kind: 3,
                metric_family_name: "nh_int".into(),
                help: "A \"native\" histogram.".into(),
                unit: "seconds".into(),
            }],
        };
        for url in [&server.url, &prometheus_url] {
            send(&client, url, &request)?;
        }
    }
    for round in ["from the head", "from a block, after a restart"] {
        let mut differences = compare(&client, [&server.url, &prometheus_url])?;
        if !differences.is_empty() {
            let all = differences.len();
            differences.truncate(15);
            let text = differences.join("\n\n");
            return Err(failed(format!("{round}: {all} answers differ:\n\n{text}")));
        }
        let url = format!("{}/api/v1/metadata", server.url);
        let metadata = client.get(&url).map_err(failed)?.text();
        let entry = r#"{"type":"histogram","help":"A \"native\" histogram.","unit":"seconds"}"#;
        let expected = format!(r#"{{"status":"success","data":{{"nh_int":[{entry}]}}}}"#);
        if metadata.trim() != expected {
            return Err(failed(format!("{round}: metadata: {metadata}")));
        }
        let flush = format!("{}/api/v1/admin/tsdb/flush", server.url);
        client.post(&flush, &[], b"").map_err(failed)?;
        server.restart().map_err(failed)?;
    }
    Ok(())
}
