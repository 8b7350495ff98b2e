//! OTLP deltas that are added up (`otlp-deltatocumulative`), on the real server: totals, streams, late points,
//! restarts.

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::process::Tenbin;

use super::http_settings::check;
use super::otlp::{attributes, now_ns, post, request, service, text};
use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("otlp_deltas::points_become_totals", totals),
        Trial::test("otlp_deltas::two_features_exclude_each_other", both),
    ]
}

const FEATURE: &str = "--enable-feature=otlp-deltatocumulative";
const SECOND_NS: u64 = 1_000_000_000;

/// All kinds of deltas, `at` seconds behind `start`.
fn deltas(start: u64, at: u64, size: u64) -> Vec<Value> {
    let time = |s: u64| (start + s * SECOND_NS).to_string();
    let point = |more: Value| {
        let mut point = json!({
            "attributes": attributes(&[("k", text("v"))]),
            "startTimeUnixNano": time(at.saturating_sub(1)),
            "timeUnixNano": time(at),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            point[name] = value.clone();
        }
        point
    };
    let delta = |name: &str, kind: &str, data: Value| {
        let mut metric = json!({"name": name, "description": "Added up."});
        metric[kind] = json!({"aggregationTemporality": 1, "dataPoints": [data]});
        metric
    };
    let mut jobs = delta("jobs", "sum", point(json!({"asInt": size.to_string()})));
    jobs["sum"]["isMonotonic"] = json!(true);
    vec![
        jobs,
        delta("level", "sum", point(json!({"asDouble": -0.5}))),
        delta(
            "latency",
            "histogram",
            point(
                json!({"count": "3", "sum": size, "bucketCounts": ["1", "2"], "explicitBounds": [0.5]}),
            ),
        ),
        delta(
            "sizes",
            "exponentialHistogram",
            point(json!({"scale": 1, "count": "3", "sum": 4, "zeroCount": "1",
                "positive": {"offset": at, "bucketCounts": ["2"]}})),
        ),
    ]
}

/// What the queries give at a time, in seconds.
fn expect(server: &Tenbin, at_ns: u64, expected: &[(&str, &str)]) -> Result<(), Failed> {
    let at = (at_ns / SECOND_NS).to_string();
    for (query, value) in expected {
        let asked = form(&[("query", *query), ("time", &at)]);
        let url = format!("{}/api/v1/query?{asked}", server.url);
        let answer = Client::default().get(&url).map_err(failed)?.json();
        let found = &answer["data"]["result"][0]["value"][1];
        check(*found == *value, || format!("{query}: {answer}"))?;
    }
    Ok(())
}

fn totals() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[FEATURE]).map_err(failed)?;
    let client = Client::default();
    let start = now_ns() / SECOND_NS * SECOND_NS - 60 * SECOND_NS;
    let send = |server: &Tenbin, resource: &[(&str, Value)], metrics: &[Value]| {
        let answer = post(&client, &server.url, &request(resource, metrics))?;
        check(answer.status == 200 && answer.text().is_empty(), || {
            format!("{} {}", answer.status, answer.text())
        })
    };
    for (at, size) in [(1, 5), (2, 3), (4, 2)] {
        send(&server, &service(), &deltas(start, at, size))?;
    }
    // Late, sent again, of an older stream: left out without a word.
    for (at, size) in [(3, 100), (4, 100), (0, 100)] {
        send(&server, &service(), &deltas(start, at, size))?;
    }
    // Beside cumulative ones, and of another process.
    let other = [("service.name", text("other"))];
    let cumulative = json!({"name": "whole", "sum": {"aggregationTemporality": 2, "isMonotonic": true,
        "dataPoints": [{"timeUnixNano": (start + 4 * SECOND_NS).to_string(), "asInt": "7"}]}});
    let mut mixed = deltas(start, 4, 70);
    mixed.push(cumulative);
    send(&server, &other, &mixed)?;
    let of = "job=\"eu/shop\"";
    expect(
        &server,
        start + 5 * SECOND_NS,
        &[
            (&format!("jobs_total{{{of}}}"), "10"),
            (&format!("level{{{of}}}"), "-1.5"),
            (&format!("latency_count{{{of}}}"), "9"),
            (&format!("latency_sum{{{of}}}"), "10"),
            (&format!("latency_bucket{{{of},le=\"0.5\"}}"), "3"),
            (&format!("histogram_count(sizes{{{of}}})"), "9"),
            (&format!("histogram_sum(sizes{{{of}}})"), "12"),
            (
                &format!("histogram_fraction(-0.1, 0.1, sizes{{{of}}}) * 9"),
                "3",
            ),
            (&format!("count_over_time(jobs_total{{{of}}}[1m])"), "3"),
            ("jobs_total{job=\"other\"}", "70"),
            ("whole_total", "7"),
        ],
    )?;
    let url = format!("{}/api/v1/metadata?metric=jobs_total", server.url);
    let metadata = client.get(&url).map_err(failed)?.text();
    check(metadata.contains("\"counter\""), || metadata.clone())?;
    let features = client.get(&format!("{}/api/v1/features", server.url));
    let features = features.map_err(failed)?.json();
    let on = &features["data"]["otlp_receiver"]["delta_conversion"];
    check(*on == true, || features.to_string())?;
    // Totals do not survive a restart: a counter reset.
    server.restart().map_err(failed)?;
    send(&server, &service(), &deltas(start, 6, 1))?;
    let at = start + 7 * SECOND_NS;
    let jobs = format!("jobs_total{{{of}}}");
    expect(
        &server,
        at,
        &[(&jobs, "1"), (&format!("resets({jobs}[1m])"), "1")],
    )
}

fn both() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let output = std::process::Command::new(tenbin())
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.path().display()
        ))
        .arg(format!("{FEATURE},otlp-native-delta-ingestion"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let says = "cannot enable otlp-deltatocumulative and otlp-native-delta-ingestion";
    check(
        output.status.code() == Some(2) && text.contains(says),
        || text,
    )
}
