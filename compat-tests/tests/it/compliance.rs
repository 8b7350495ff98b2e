//! The standard set of PromQL conformance queries: what a server must answer to be called compatible,
//! here in our own words and over our own data, asked of a real Prometheus 3.5 and of Tenbin.
//!
//! The data is that of a small shop with three instances, scraped every 5 s for 75 minutes. Each query is
//! asked over the last ten minutes in steps of 10 s, and at the end. A template stands for one query
//! per value of each `<placeholder>` in it. Source of what belongs to the set: the project
//! prometheus/compliance.

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::random::Random;
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::differential::{Tally, start_prometheus};
use super::{failed, tenbin};

const START_S: i64 = 1_700_000_000;
const SCRAPE_S: i64 = 5;
const SCRAPES: i64 = 900;
/// Scrapes in one request.
const AT_ONCE: i64 = 60;

/// As many as the set has when all its templates are expanded.
const AT_LEAST: usize = 539;

/// What the placeholders stand for.
const VALUES: &[(&str, &[&str])] = &[
    ("window", &["1s", "15s", "1m", "5m", "15m", "1h"]),
    ("offset", &["1m", "5m", "10m"]),
    (
        "fold",
        &["sum", "avg", "max", "min", "count", "stddev", "stdvar"],
    ),
    (
        "over",
        &[
            "sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last", "present",
        ],
    ),
    ("pick", &["topk", "bottomk"]),
    (
        "q",
        &[
            "-0.5", "0.1", "0.5", "0.75", "0.90", "0.95", "0.99", "1", "1.5",
        ],
    ),
    ("calc", &["+", "-", "*", "/", "%", "^"]),
    ("than", &["==", "!=", "<", ">", "<=", ">="]),
    (
        "op",
        &[
            "+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=",
        ],
    ),
    ("set", &["and", "or", "unless"]),
    (
        "math",
        &[
            "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round", "sgn",
        ],
    ),
    ("growth", &["delta", "rate", "increase"]),
    ("instant", &["idelta", "irate"]),
    ("bound", &["clamp_min", "clamp_max"]),
    (
        "date",
        &[
            "day_of_month",
            "day_of_week",
            "day_of_year",
            "days_in_month",
            "hour",
            "minute",
            "month",
            "year",
        ],
    ),
    ("at", &["1700004000", "start()", "end()"]),
];

const TEMPLATES: &[&str] = &[
    // Numbers.
    "7",
    "2.75",
    ".5",
    "4.2e-2",
    "0xff",
    "Inf",
    "+Inf",
    "-Inf",
    "NaN",
    // Selectors.
    "shop_memory_bytes",
    r#"{__name__="shop_memory_bytes"}"#,
    r#"shop_memory_bytes{kind="cached"}"#,
    r#"shop_memory_bytes{kind!="cached"}"#,
    r#"shop_memory_bytes{instance=~"shop:.*"}"#,
    r#"shop_memory_bytes{instance=~"shop"}"#,
    r#"shop_memory_bytes{instance!~".*:9001"}"#,
    r#"shop_memory_bytes{kind="cached",instance!="shop:9001"}"#,
    r#"{kind="cached",instance!="shop:9001"}"#,
    r#"{__name__=~".*"}"#,
    "shop_nothing",
    "shop_memory_bytes offset <offset>",
    "shop_memory_bytes offset -<offset>",
    "shop_memory_bytes @ <at>",
    "sum(shop_cpu_seconds_total @ <at> offset <offset>)",
    "rate(shop_cpu_seconds_total[5m] @ <at>)",
    "shop_flapping",
    // Aggregations.
    "<fold>(shop_memory_bytes)",
    "<fold>(shop_nothing)",
    "<fold> by () (shop_memory_bytes)",
    "<fold> by (instance) (shop_memory_bytes)",
    "<fold> by (instance, kind) (shop_memory_bytes)",
    "<fold> by (nowhere) (shop_memory_bytes)",
    "<fold> without () (shop_memory_bytes)",
    "<fold> without (instance) (shop_memory_bytes)",
    "<fold> without (instance, kind) (shop_memory_bytes)",
    "<fold> without (nowhere) (shop_memory_bytes)",
    "<fold>(shop_flapping)",
    "group(shop_memory_bytes)",
    "<pick>(3, shop_memory_bytes)",
    "<pick> by (instance) (2, shop_memory_bytes)",
    "<pick> without (instance) (2, shop_memory_bytes)",
    "<pick> without () (2, shop_memory_bytes)",
    "quantile(<q>, shop_memory_bytes)",
    "avg(max by (kind) (shop_memory_bytes))",
    // Operators.
    "3 * 2 + 8 / 6 - 10 % 3 ^ 2",
    "shop_cores + (2 <than> bool 1)",
    "shop_memory_bytes <op> 2.5",
    "shop_memory_bytes <than> bool 2.5",
    "2.5 <than> bool shop_memory_bytes",
    "0.25 <op> shop_memory_bytes",
    "(3 * 2 + 8 / 6 - (11 % 7) ^ 2) <op> shop_memory_bytes",
    "shop_memory_bytes <op> (3 * 2 + 8 / 6 - 11)",
    "timestamp(shop_memory_bytes * 1)",
    "timestamp(-shop_memory_bytes)",
    "shop_memory_bytes <op> on (instance, job, kind) shop_memory_bytes",
    "sum by (instance, kind) (shop_memory_bytes) <op> on (instance, kind) group_left (job) shop_memory_bytes",
    "shop_memory_bytes <than> bool on (instance, job, kind) shop_memory_bytes",
    "shop_memory_bytes <set> on (instance) shop_flapping",
    "shop_memory_bytes / on (instance, job, kind, __name__) shop_memory_bytes",
    "sum without (job) (shop_memory_bytes) / on (instance, kind) shop_memory_bytes",
    "sum without (job) (shop_memory_bytes) / on (instance, kind) group_left shop_memory_bytes",
    "sum without (job) (shop_memory_bytes) / on (instance, kind) group_left (job) shop_memory_bytes",
    "shop_memory_bytes / on (instance, job) group_left shop_cores",
    "shop_memory_bytes / on (instance, kind, job, nowhere) shop_memory_bytes",
    "shop_memory_bytes / on (instance) shop_cores",
    "shop_memory_bytes / on (job) shop_memory_bytes",
    "shop_cores * Inf",
    "shop_cores * -Inf",
    "shop_cores * NaN",
    "shop_memory_bytes + -(1)",
    "-shop_memory_bytes",
    "-2 ^ 2",
    "2 <calc> time()",
    "time() <calc> 2",
    "time() <than> bool 2",
    "2 <than> bool time()",
    "time() <calc> time()",
    "time() <than> bool time()",
    "time() <op> shop_memory_bytes",
    "shop_memory_bytes <op> time()",
    // Functions.
    "<over>_over_time(shop_memory_bytes[<window>])",
    "quantile_over_time(<q>, shop_memory_bytes[<window>])",
    "timestamp(shop_cores)",
    "timestamp(timestamp(shop_cores))",
    "<math>(shop_memory_bytes)",
    "<math>(-shop_memory_bytes)",
    "<growth>(shop_nothing[5m])",
    "<growth>(shop_cpu_seconds_total[<window>])",
    "deriv(shop_disk_bytes[<window>])",
    "predict_linear(shop_disk_bytes[<window>], 900)",
    "time()",
    r#"label_replace(shop_cores, "job", "port-$1", "instance", "shop:(.*)")"#,
    r#"label_replace(shop_cores, "job", "port-$1", "instance", "hop:(.*)")"#,
    r#"label_replace(shop_cores, "job", "$2-$1", "instance", "(.*):(.*)")"#,
    r#"label_replace(shop_cores, "job", "value-$1", "nowhere", "value-(.*)")"#,
    r#"label_replace(shop_cores, "job", "value-$1", "nowhere", "(.*)")"#,
    r#"label_replace(shop_cores, "job", "value-$1", "instance", "else")"#,
    r#"label_replace(shop_cores, "job", "", "dst", ".*")"#,
    r#"label_replace(shop_cores, "job", "value-$1", "src", "(.*")"#,
    r#"label_replace(shop_cores, "~bad", "", "src", "(.*)")"#,
    r#"label_replace(shop_cores, "instance", "", "", "")"#,
    r#"label_join(shop_cores, "both", "-", "instance", "job")"#,
    r#"label_join(shop_cores, "job", "-", "instance", "job")"#,
    r#"label_join(shop_cores, "job", "-", "instance")"#,
    r#"label_join(shop_cores, "~bad", "-", "instance")"#,
    "<date>()",
    "<date>(shop_backup_success_seconds offset <offset>)",
    "<instant>(shop_cpu_seconds_total[<window>])",
    "<bound>(shop_memory_bytes, 2)",
    "clamp(shop_memory_bytes, 0, 1)",
    "clamp(shop_memory_bytes, 0, 1e12)",
    "clamp(shop_memory_bytes, 1e12, 0)",
    "clamp(shop_memory_bytes, 1e12, 1e12)",
    "resets(shop_cpu_seconds_total[<window>])",
    "changes(shop_backup_success_seconds[<window>])",
    "vector(2.75)",
    "vector(time())",
    "scalar(shop_cores)",
    r#"scalar(shop_cores{instance="shop:9000"})"#,
    "histogram_quantile(<q>, rate(shop_request_seconds_bucket[1m]))",
    "histogram_quantile(<q>, sum by (le, path) (rate(shop_request_seconds_bucket[5m])))",
    "histogram_quantile(0.9, shop_nothing)",
    "histogram_quantile(0.9, shop_memory_bytes)",
    r#"histogram_quantile(0.9, {__name__=~"shop_request_seconds_.+"})"#,
    r#"count_values("value", shop_request_seconds_bucket)"#,
    "absent(shop_memory_bytes)",
    "absent(shop_nothing)",
    "sort(shop_cores)",
    // Subqueries.
    "max_over_time((time() - max(shop_backup_success_seconds) < 1000)[5m:10s] offset 5m)",
    "avg_over_time(rate(shop_cpu_seconds_total[1m])[2m:10s])",
    "<over>_over_time(sum(shop_memory_bytes)[3m:15s])",
];

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    vec![Trial::test(
        "compliance::standard_queries_agree",
        move || standard_queries(&peers),
    )]
}

/// All queries that a template stands for.
fn expand(template: &str) -> Vec<String> {
    let placeholder = |text: &str| {
        let mut all = VALUES.iter();
        let name = |name: &str| format!("<{name}>");
        all.find(|(n, _)| text.contains(&name(n)))
            .map(|(n, values)| (name(n), *values))
    };
    let Some((name, values)) = placeholder(template) else {
        return vec![template.to_owned()];
    };
    let filled = values.iter().map(|value| template.replace(&name, value));
    filled.flat_map(|text| expand(&text)).collect()
}

/// Receives the labels of a series and its value.
type Push<'p> = &'p mut dyn FnMut(&[(&str, &str)], f64);

/// The value of every series of an instance at a scrape.
fn scrape(random: &mut Random, instance: usize, at: i64, push: Push<'_>) {
    let time_s = START_S + at * SCRAPE_S;
    let wave = ((at + 37 * instance as i64) % 120) as f64;
    for (place, kind) in ["used", "cached", "free"].into_iter().enumerate() {
        let value = 1e8 * (1.0 + place as f64) + wave * 4096.0 + random.below(65_536) as f64;
        push(&[("__name__", "shop_memory_bytes"), ("kind", kind)], value);
    }
    for (place, mode) in ["user", "system", "idle"].into_iter().enumerate() {
        // One instance restarts now and then.
        let since = if instance == 1 { at % 250 } else { at };
        let value = since as f64 * (0.7 + place as f64) + random.below(100) as f64 / 200.0;
        push(
            &[("__name__", "shop_cpu_seconds_total"), ("mode", mode)],
            value,
        );
    }
    let disk = 5e9 + at as f64 * 12_345.6 + random.below(1 << 20) as f64;
    push(&[("__name__", "shop_disk_bytes")], disk);
    push(&[("__name__", "shop_cores")], [4.0, 8.0, 16.0][instance]);
    let backup = time_s - time_s % (300 + 60 * instance as i64);
    push(
        &[("__name__", "shop_backup_success_seconds")],
        backup as f64,
    );
    if at / 25 % 2 == 0 {
        push(&[("__name__", "shop_flapping")], 1.0 + (at % 7) as f64);
    } else if at % 25 == 0 {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        push(&[("__name__", "shop_flapping")], stale);
    }
    for path in ["/", "/basket"] {
        for status in ["200", "500"] {
            let labels = |name, le| {
                let own = [
                    ("__name__", name),
                    ("path", path),
                    ("status", status),
                    ("le", le),
                ];
                own.into_iter()
                    .filter(|(_, v)| !v.is_empty())
                    .collect::<Vec<_>>()
            };
            let speed = (path.len() * (1 + instance)) as f64;
            let mut seen = 0.0;
            for (place, le) in ["0.01", "0.05", "0.25", "1", "+Inf"]
                .into_iter()
                .enumerate()
            {
                seen += (at as f64 * speed / (1.0 + place as f64)).floor();
                push(&labels("shop_request_seconds_bucket", le), seen);
            }
            push(&labels("shop_request_seconds_count", ""), seen);
            push(&labels("shop_request_seconds_sum", ""), seen * 0.037);
        }
    }
}

/// The requests that write the data.
fn requests() -> Vec<Vec<TimeSeries>> {
    let mut random = Random::new(4);
    let batches = (0..SCRAPES / AT_ONCE).map(|batch| {
        let mut all: Vec<(String, TimeSeries)> = Vec::new();
        for at in batch * AT_ONCE..(batch + 1) * AT_ONCE {
            for number in 0..3 {
                let instance = format!("shop:900{number}");
                scrape(&mut random, number, at, &mut |labels, value| {
                    let mut labels = labels.to_vec();
                    labels.extend([("instance", instance.as_str()), ("job", "shop")]);
                    labels.sort_unstable();
                    let key = format!("{labels:?}");
                    let mut made = series(&labels, &[((START_S + at * SCRAPE_S) * 1000, value)]);
                    match all.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, known)) => known.samples.append(&mut made.samples),
                        None => all.push((key, made)),
                    }
                });
            }
        }
        all.into_iter().map(|(_, series)| series).collect()
    });
    batches.collect()
}

fn standard_queries(peers: &Peers) -> Result<(), Failed> {
    let queries: BTreeSet<String> = TEMPLATES.iter().flat_map(|text| expand(text)).collect();
    if queries.len() < AT_LEAST {
        return Err(failed(format!("only {} queries", queries.len())));
    }
    let directory = tempfile::tempdir()?;
    let flags = ["--storage.tsdb.retention.time=0"];
    let tenbin = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let prometheus = start_prometheus(peers, directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    for request in requests() {
        for url in [&tenbin.url, &prometheus.url] {
            let answer = send(&client, url, request.clone()).map_err(failed)?;
            if answer.status != 204 {
                let (status, text) = (answer.status, answer.text());
                return Err(failed(format!("{url}: {status} {text}")));
            }
        }
    }
    let mut tally = Tally::default();
    let end = START_S + (SCRAPES - 1) * SCRAPE_S;
    let (start, end) = ((end - 600).to_string(), end.to_string());
    for query in &queries {
        let range = [
            ("query", query.as_str()),
            ("start", &start),
            ("end", &end),
            ("step", "10"),
        ];
        tally.compare(&client, &tenbin.url, &prometheus.url, "query_range", &range);
        let instant = [("query", query.as_str()), ("time", &end)];
        tally.compare(&client, &tenbin.url, &prometheus.url, "query", &instant);
    }
    tally.report()
}
