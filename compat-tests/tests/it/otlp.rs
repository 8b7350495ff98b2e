//! OTLP metrics: the same payloads, as JSON and in binary form, go to Tenbin and to a real Prometheus
//! 3.5 with `--web.enable-otlp-receiver`; the same statuses and the same series come out. Alone:
//! statuses, texts, gzip, exemplars and metadata, and all of it after SIGKILL.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use tenbin_compat_tests::http::{Answer, Client, form};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::prometheus::Prometheus;

use super::{failed, tenbin};

pub(crate) fn peerless_trials() -> Vec<Trial> {
    vec![Trial::test("otlp::statuses_texts_and_extras", alone)]
}

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    vec![Trial::test(
        "otlp::series_are_those_of_prometheus",
        move || beside(&peers),
    )]
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_nanos() as u64)
}

fn attributes(pairs: &[(&str, Value)]) -> Value {
    pairs
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect()
}

fn text(value: &str) -> Value {
    json!({ "stringValue": value })
}

/// A request with one resource and one scope.
fn request(resource: &[(&str, Value)], metrics: &[Value]) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(resource)},
        "scopeMetrics": [{
            "scope": {"name": "lib", "version": "1.2", "attributes": attributes(&[("s.a", text("v"))])},
            "schemaUrl": "https://example.org/schema",
            "metrics": metrics,
        }],
    }]})
}

fn service() -> Vec<(&'static str, Value)> {
    vec![
        ("service.name", text("shop")),
        ("service.namespace", text("eu")),
        ("service.instance.id", text("i-1")),
        ("host.name", text("h1")),
        ("os.version", json!({"intValue": "12"})),
        ("_odd", text("x")),
    ]
}

/// Metrics of all kinds; times are `now` less a little.
#[expect(clippy::too_many_lines, reason = "a table")]
fn metrics(now: u64) -> Vec<Value> {
    let (time, start) = (now.to_string(), (now - 60_000_000_000).to_string());
    let point = |attributes_of: &[(&str, Value)], more: Value| {
        let mut point = json!({
            "attributes": attributes(attributes_of),
            "startTimeUnixNano": start,
            "timeUnixNano": time,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            point[name] = value.clone();
        }
        point
    };
    let list = json!({"arrayValue": {"values": [text("a<b"), {"intValue": 2}, {"boolValue": true}, {"doubleValue": 1.5}, {}]}});
    let map = json!({"kvlistValue": {"values": [
        {"key": "z", "value": {"doubleValue": 1e-7}}, {"key": "a", "value": text("\"q\"")}]}});
    let sum = |name: &str, unit: &str, monotonic: bool, temporality: u32| {
        json!({"name": name, "unit": unit, "description": format!("About {name}."), "sum": {
            "aggregationTemporality": temporality, "isMonotonic": monotonic,
            "dataPoints": [point(&[("k", text("v"))], json!({"asInt": "42"}))]}})
    };
    let gauge = |name: &str, unit: &str, attributes_of: &[(&str, Value)], value: Value| json!({"name": name, "unit": unit, "gauge": {"dataPoints": [point(attributes_of, value)]}});
    let exponential = |name: &str, scale: i32, offset: i32, counts: &[u32], more: Value| {
        let all: u32 = counts.iter().sum::<u32>() + 5;
        let mut data = point(
            &[],
            json!({
            "scale": scale, "count": all.to_string(), "sum": 12.5, "zeroCount": "2",
            "positive": {"offset": offset, "bucketCounts": counts.iter().map(ToString::to_string).collect::<Vec<_>>()},
            "negative": {"offset": 3, "bucketCounts": ["3"]}}),
        );
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        json!({"name": name, "unit": "s", "exponentialHistogram": {
            "aggregationTemporality": 2, "dataPoints": [data]}})
    };
    vec![
        gauge("plain", "", &[], json!({"asDouble": 1.5})),
        gauge(
            "cpu.utilization",
            "1",
            &[("cpu.id", json!({"intValue": 3}))],
            json!({"asDouble": 0.25}),
        ),
        gauge(
            "memory.usage",
            "By",
            &[("state", text("used"))],
            json!({"asInt": "1048576"}),
        ),
        gauge("stale.gauge", "", &[], json!({"asDouble": 1.0, "flags": 1})),
        gauge("empty.value", "", &[("e", text(""))], json!({})),
        gauge(
            "values",
            "",
            &[
                ("list", list),
                ("map", map),
                ("bool", json!({"boolValue": false})),
                ("float", json!({"doubleValue": 1e21})),
                ("bytes", json!({"bytesValue": "aGVsbG8="})),
                ("none", json!({})),
                ("int", json!({"intValue": -7})),
            ],
            json!({"asInt": -1}),
        ),
        gauge(
            "collisions",
            "",
            &[("a.b", text("1")), ("a_b", text("2")), ("a-b", text("3"))],
            json!({"asInt": 1}),
        ),
        gauge(
            "odd.labels",
            "",
            &[
                ("1st", text("x")),
                ("_x", text("y")),
                ("__res__", text("z")),
                ("\u{e9}.f", text("u")),
            ],
            json!({"asInt": 1}),
        ),
        gauge(
            "over.resource",
            "",
            &[
                ("job", text("mine")),
                ("instance", text("mine")),
                ("host.name", text("own")),
            ],
            json!({"asInt": 1}),
        ),
        gauge("2xx.responses", "{response}", &[], json!({"asInt": 1})),
        gauge("__many..dots__", "", &[], json!({"asInt": 1})),
        sum("http.server.requests", "1", true, 2),
        sum("requests.total", "{request}", true, 2),
        sum("queue.length", "{item}", false, 2),
        sum("net.io", "By/s", true, 2),
        sum("total.time", "ms", true, 2),
        json!({"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            point(&[("route", text("/"))], json!({
                "count": "11", "sum": 3.25, "bucketCounts": ["3", "0", "7", "1"], "explicitBounds": [0.005, 0.1, 2.5],
                "exemplars": [
                    {"timeUnixNano": time, "asDouble": 0.001, "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708"},
                    {"timeUnixNano": time, "asDouble": 1.0, "filteredAttributes": attributes(&[("user", text("u1"))])},
                    {"timeUnixNano": time, "asInt": "9"}],
            })),
            point(&[("route", text("/nosum"))], json!({"count": "2", "bucketCounts": ["2"]})),
            point(&[("route", text("/stale"))], json!({"count": "2", "sum": 1, "flags": 1, "bucketCounts": ["1", "1"], "explicitBounds": [1]})),
        ]}}),
        exponential("exp.low", 0, 0, &[4, 3, 2, 1], json!({})),
        exponential("exp.gaps", 3, -10, &[1, 0, 0, 5, 0, 0, 0, 0, 2], json!({})),
        exponential("exp.fine", 10, -4, &[1, 2, 3, 4, 5, 6, 7, 8], json!({})),
        exponential("exp.stale", 0, 0, &[1], json!({"flags": 1})),
        json!({"name": "rpc.time", "unit": "ms", "summary": {"dataPoints": [point(&[("m", text("get"))], json!({
            "count": "10", "sum": 55.5, "quantileValues": [{"quantile": 0.5, "value": 4.5}, {"quantile": 0.99, "value": 9}]}))]}}),
    ]
}

fn post(client: &Client, url: &str, body: &Value) -> Result<Answer, Failed> {
    let url = format!("{url}/api/v1/otlp/v1/metrics");
    let headers = [("Content-Type", "application/json")];
    client
        .post(&url, &headers, body.to_string().as_bytes())
        .map_err(failed)
}

/// All that was stored, as text.
fn stored(client: &Client, url: &str, at_s: u64) -> Result<Vec<String>, Failed> {
    let parameters = [
        ("query", "{__name__=~\".+\"}[10m]"),
        ("time", &at_s.to_string()),
    ];
    let url = format!("{url}/api/v1/query?{}", form(&parameters));
    let list = client.get(&url).map_err(failed)?.json()["data"]["result"].clone();
    let list = list.as_array().cloned().unwrap_or_default();
    let mut texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    texts.sort();
    Ok(texts)
}

/// One configuration of `otlp` beside Prometheus, by its lines.
fn compare(peers: &Peers, name: &str, lines: &str) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let config = format!("otlp: {{{lines}}}\n");
    let features = [
        "--web.enable-otlp-receiver",
        "--enable-feature=native-histograms",
    ];
    let theirs = Prometheus::start(peers, directory.path(), "prometheus", &config, &features);
    let theirs = theirs.map_err(failed)?;
    let file = directory.path().join("tenbin.yml");
    std::fs::write(&file, &config)?;
    let flag = format!("--config.file={}", file.display());
    let flags: Vec<&str> = if lines.is_empty() {
        vec![]
    } else {
        vec![&flag]
    };
    let ours = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let client = Client::default();
    let now = now_ns() - 30_000_000_000;
    let mut sent = 0;
    for metric in metrics(now) {
        for resource in [
            service(),
            vec![("service.name", text("alone"))],
            vec![("x.y", text("z"))],
            vec![],
        ] {
            let body = request(&resource, std::slice::from_ref(&metric));
            let ours = post(&client, &ours.url, &body)?;
            let theirs = post(&client, &theirs.url, &body)?;
            // What cannot be translated: the texts of 3.14 have grown.
            if ours.status != theirs.status || (ours.status == 200 && ours.body != theirs.body) {
                return Err(failed(format!(
                    "{name}: {body}\n{} {}\n{} {}",
                    ours.status,
                    ours.text(),
                    theirs.status,
                    theirs.text()
                )));
            }
            sent += 1;
        }
    }
    // Everything in one request, later: target_info over a span of time.
    let mut all = metrics(now + 10_000_000_000);
    all.extend(metrics(now + 20_000_000_000));
    let body = request(&service(), &all);
    for url in [&ours.url, &theirs.url] {
        let answer = post(&client, url, &body)?;
        assert_eq!(answer.status, 200, "{name} {url}: {}", answer.text());
    }
    let at_s = now / 1_000_000_000 + 25;
    let (ours, theirs) = (
        stored(&client, &ours.url, at_s)?,
        stored(&client, &theirs.url, at_s)?,
    );
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|one| !those.contains(one))
            .take(6)
            .cloned()
            .collect()
    };
    assert!(
        theirs.len() > 60 && sent > 80,
        "{name}: {} series",
        theirs.len()
    );
    if ours != theirs {
        return Err(failed(format!(
            "{name}: {} and {} series\nonly Tenbin:\n{}\nonly Prometheus:\n{}",
            ours.len(),
            theirs.len(),
            only(&ours, &theirs).join("\n"),
            only(&theirs, &ours).join("\n")
        )));
    }
    Ok(())
}

fn beside(peers: &Peers) -> Result<(), Failed> {
    compare(peers, "defaults", "")
}

fn alone() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let now = now_ns() - 20_000_000_000;
    let url = format!("{}/api/v1/otlp/v1/metrics", server.url);
    let body = request(&service(), &metrics(now)).to_string();
    let send =
        |headers: &[(&str, &str)], body: &[u8]| client.post(&url, headers, body).map_err(failed);
    let expect = |answer: &Answer, status: u16, text: &str| {
        assert_eq!((answer.status, answer.text().as_str()), (status, text));
    };
    expect(
        &send(&[("Content-Type", "text/plain")], b"")?,
        400,
        "unsupported content type: text/plain, supported: [application/json, application/x-protobuf]\n",
    );
    let json_type = ("Content-Type", "application/json");
    expect(
        &send(&[json_type, ("Content-Encoding", "br")], b"")?,
        400,
        "unsupported compression: br. Only \"gzip\" or no compression supported\n",
    );
    let binary = ("Content-Type", "application/x-protobuf");
    for (header, garbage) in [
        (json_type, &b"{"[..]),
        (binary, b"\xff\xff"),
        (json_type, b"[]"),
    ] {
        assert_eq!(send(&[header], garbage)?.status, 400);
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(body.as_bytes())?;
    let packed = packed.finish()?;
    expect(
        &send(&[json_type, ("Content-Encoding", "gzip")], &packed)?,
        200,
        "",
    );
    expect(&send(&[binary], b"")?, 200, "");
    // A delta is refused, what is beside it is stored.
    let time = now.to_string();
    let delta = json!({"name": "d", "sum": {"aggregationTemporality": 1, "dataPoints": [{"timeUnixNano": time, "asInt": "1"}]}});
    let good =
        json!({"name": "beside", "gauge": {"dataPoints": [{"timeUnixNano": time, "asInt": "1"}]}});
    let coarse = json!({"name": "c", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": time, "scale": -5}]}});
    let mixed = request(&[], &[delta, good.clone(), coarse]).to_string();
    expect(
        &send(&[json_type], mixed.as_bytes())?,
        500,
        "invalid temporality and type combination for metric \"d\"\n\
         cannot convert exponential to native histogram. Scale must be >= -4, was -5\n",
    );
    let mut changed = good;
    changed["gauge"]["dataPoints"][0]["asInt"] = "2".into();
    let answer = send(
        &[json_type],
        request(&[], &[changed]).to_string().as_bytes(),
    )?;
    let expected = format!(
        "duplicate sample for timestamp {}; overrides not allowed: existing 1, new value 2\n",
        now / 1_000_000
    );
    expect(&answer, 400, &expected);
    server.restart().map_err(failed)?;
    let at_s = (now / 1_000_000_000 + 1).to_string();
    let ask = |path: &str, parameters: &[(&str, &str)]| {
        let url = format!("{}/api/v1/{path}?{}", server.url, form(parameters));
        Ok::<_, Failed>(client.get(&url).map_err(failed)?.json()["data"].clone())
    };
    let exemplars = ask("query_exemplars", &[("query", "latency_seconds_bucket")])?.to_string();
    for expected in [
        "0102030405060708090a0b0c0d0e0f10",
        "\"le\":\"2.5\"",
        "\"user\":\"u1\"",
        "\"value\":\"9\"",
    ] {
        assert!(exemplars.contains(expected), "{expected}: {exemplars}");
    }
    let metadata = ask("metadata", &[])?;
    assert_eq!(
        metadata["net_io_bytes_per_second_total"],
        json!([{"type": "counter", "help": "About net.io.", "unit": "bytes_per_second"}])
    );
    assert_eq!(metadata["target_info"][0]["help"], "Target metadata");
    for name in ["beside", "exp_low_seconds", "rpc_time_milliseconds_sum"] {
        let found = ask("query", &[("query", name), ("time", &at_s)])?;
        assert_eq!(found["result"].as_array().map(Vec::len), Some(1), "{name}");
    }
    Ok(())
}
