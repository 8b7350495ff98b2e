//! OTLP metrics on the real server: statuses, texts, gzip, exemplars and metadata, and all of it after
//! SIGKILL; the series of every translation strategy and switch, by Prometheus' rules. The packaged
//! Prometheus has no OTLP receiver; names are compared with those that VictoriaMetrics makes.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use tenbin_compat_tests::http::{Answer, Client, form};
use tenbin_compat_tests::peers::{optional, python};
use tenbin_compat_tests::process::{Process, Tenbin, free_port};

use super::{failed, tenbin};

pub(crate) fn peerless_trials() -> Vec<Trial> {
    vec![
        Trial::test("otlp::statuses_texts_and_extras", alone),
        Trial::test("otlp::strategies_and_switches", configurations),
        Trial::test("otlp::deltas_and_custom_buckets", deltas_and_custom_buckets),
    ]
}

pub(crate) fn trials() -> Vec<Trial> {
    let name = "otlp::names_are_those_of_victoria_metrics";
    let trial = match optional("victoria-metrics") {
        Some(victoria) => Trial::test(name, move || beside_victoria(&victoria)),
        None => Trial::test(name, || Ok(()))
            .with_kind("skipped: no victoria-metrics")
            .with_ignored_flag(true),
    };
    let name = "otlp::the_python_sdk_delivers";
    let sdk = match python() {
        Some(python) => Trial::test(name, move || python_sdk(&python)),
        None => Trial::test(name, || Ok(()))
            .with_kind("skipped: TENBIN_PYTHON names no Python")
            .with_ignored_flag(true),
    };
    vec![trial, sdk]
}

/// The real SDK exports for a few seconds; what it counted is what is stored.
fn python_sdk(python: &Path) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let script = directory.path().join("otel_sdk.py");
    std::fs::write(&script, include_str!("otel_sdk.py"))?;
    let endpoint = format!("{}/api/v1/otlp/v1/metrics", server.url);
    let sent = Command::new(python)
        .arg(&script)
        .args([&endpoint, "3"])
        .output()?;
    let output = String::from_utf8_lossy(&sent.stderr).into_owned();
    if !sent.status.success() {
        return Err(failed(output));
    }
    let raised = String::from_utf8_lossy(&sent.stdout).trim().to_owned();
    server.restart().map_err(failed)?;
    let client = Client::default();
    let ask = |query: &str| {
        let url = format!("{}/api/v1/query?{}", server.url, form(&[("query", query)]));
        client
            .get(&url)
            .map(|a| a.json()["data"]["result"].to_string())
            .map_err(failed)
    };
    let requests = ask("sdk_requests_total")?;
    for expected in [
        "\"route\":\"/a\"",
        "\"job\":\"sdk\"",
        "\"instance\":\"one\"",
        &format!("\"{raised}\""),
    ] {
        assert!(requests.contains(expected), "{expected}: {requests}");
    }
    assert!(ask("sdk_temperature_celsius")?.contains("21.5"));
    assert!(ask("target_info")?.contains("deployment_environment"));
    let third = (raised.parse::<u64>().unwrap_or(0) / 3).to_string();
    assert!(ask("sdk_latency_seconds_count")?.contains(&format!("\"{third}\"")));
    assert!(ask("histogram_count(exp_latency_milliseconds)")?.contains(&format!("\"{third}\"")));
    assert!(ask("sdk_queue")?.contains("sdk_queue"));
    Ok(())
}

pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_nanos() as u64)
}

pub(crate) fn attributes(pairs: &[(&str, Value)]) -> Value {
    pairs
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect()
}

pub(crate) fn text(value: &str) -> Value {
    json!({ "stringValue": value })
}

/// A request with one resource and one scope.
pub(crate) fn request(resource: &[(&str, Value)], metrics: &[Value]) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(resource)},
        "scopeMetrics": [{
            "scope": {"name": "lib", "version": "1.2", "attributes": attributes(&[("s.a", text("v"))])},
            "schemaUrl": "https://example.org/schema",
            "metrics": metrics,
        }],
    }]})
}

pub(crate) fn service() -> Vec<(&'static str, Value)> {
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

pub(crate) fn post(client: &Client, url: &str, body: &Value) -> Result<Answer, Failed> {
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

/// The series of one configuration: names and labels without values, sorted.
fn series_of(config: &str, features: &[&str]) -> Result<Vec<String>, Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("tenbin.yml");
    std::fs::write(&file, config)?;
    let flag = format!("--config.file={}", file.display());
    let flags: Vec<&str> = features.iter().copied().chain([flag.as_str()]).collect();
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let client = Client::default();
    let now = now_ns() - 30_000_000_000;
    let wanted = [
        "cpu.utilization",
        "collisions",
        "odd.labels",
        "http.server.requests",
        "net.io",
    ];
    let all = metrics(now).into_iter();
    let some: Vec<Value> = all
        .filter(|m| wanted.iter().any(|w| m["name"] == *w))
        .collect();
    let answer = post(&client, &server.url, &request(&service(), &some))?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let url = format!(
        "{}/api/v1/series?{}",
        server.url,
        form(&[("match[]", "{__name__=~\".+\"}")])
    );
    let list = client.get(&url).map_err(failed)?.json()["data"].clone();
    let list = list.as_array().cloned().unwrap_or_default();
    let text = |labels: &Value| {
        let labels = labels.as_object().into_iter().flatten();
        let labels = labels.map(|(n, v)| format!("{n}={}", v.as_str().unwrap_or_default()));
        labels.collect::<Vec<_>>().join(" ")
    };
    Ok(list.iter().map(text).collect())
}

/// What Prometheus' rules make of the same metrics under each strategy and switch.
fn configurations() -> Result<(), Failed> {
    let job = "instance=i-1 job=eu/shop";
    let info = "__name__=target_info host_name=h1 instance=i-1 job=eu/shop key_odd=x os_version=12";
    let dotted = "__name__=target_info _odd=x host.name=h1 instance=i-1 job=eu/shop os.version=12";
    let escaped = [
        format!("__name__=collisions a_b=3;1;2 {job}"),
        format!("__name__=cpu_utilization cpu_id=3 {job}"),
        format!("__name__=http_server_requests {job} k=v"),
        format!("__name__=net_io {job} k=v"),
        format!("__name__=odd_labels __f=u __res__=z {job} key_1st=x key_x=y"),
        info.to_owned(),
    ];
    let strategy = |name: &str| format!("otlp: {{translation_strategy: {name}}}\n");
    let check = |config: &str, features: &[&str], expected: &[String]| {
        // In the order of names, whatever they became.
        let sorted = |series: &[String]| {
            let words = series.iter().map(|one| {
                let mut words: Vec<&str> = one.split(' ').collect();
                words.sort_unstable();
                words.join(" ")
            });
            let mut series: Vec<String> = words.collect();
            series.sort();
            series
        };
        let expected = sorted(expected);
        let found = sorted(&series_of(config, features)?);
        if found == expected {
            return Ok(());
        }
        Err(failed(format!(
            "{config}\n{}\nexpected\n{}",
            found.join("\n"),
            expected.join("\n")
        )))
    };
    check(
        &strategy("UnderscoreEscapingWithoutSuffixes"),
        &[],
        &escaped,
    )?;
    let suffixed = escaped.clone().map(|s| {
        s.replace("cpu_utilization", "cpu_utilization_ratio")
            .replace("http_server_requests", "http_server_requests_total")
            .replace("net_io", "net_io_bytes_per_second_total")
    });
    check(&strategy("UnderscoreEscapingWithSuffixes"), &[], &suffixed)?;
    let kept = [
        format!("__name__=collisions a-b=3 a.b=1 a_b=2 {job}"),
        format!("__name__=cpu.utilization cpu.id=3 {job}"),
        format!("__name__=http.server.requests {job} k=v"),
        format!("__name__=net.io {job} k=v"),
        format!("1st=x __name__=odd.labels __res__=z _x=y {job} \u{e9}.f=u"),
        dotted.to_owned(),
    ];
    check(&strategy("NoTranslation"), &[], &kept)?;
    let kept_suffixed = kept.clone().map(|s| {
        s.replace("cpu.utilization", "cpu.utilization_ratio")
            .replace("http.server.requests", "http.server.requests_total")
            .replace("net.io", "net.io_bytes_per_second_total")
    });
    check(&strategy("NoUTF8EscapingWithSuffixes"), &[], &kept_suffixed)?;
    let switches = "otlp:\n  translation_strategy: UnderscoreEscapingWithoutSuffixes\n  \
         promote_resource_attributes: [host.name, service.name]\n  \
         keep_identifying_resource_attributes: true\n  promote_scope_metadata: true\n  \
         label_name_underscore_sanitization: false\n  \
         label_name_preserve_multiple_underscores: false\n";
    let scope = "otel_scope_name=lib otel_scope_s_a=v otel_scope_schema_url=https://example.org/schema \
         otel_scope_version=1.2";
    let promoted = [
        format!("__name__=collisions a_b=3;1;2 host_name=h1 {job} {scope} service_name=shop"),
        format!("__name__=cpu_utilization cpu_id=3 host_name=h1 {job} {scope} service_name=shop"),
        format!("__name__=http_server_requests host_name=h1 {job} k=v {scope} service_name=shop"),
        format!("__name__=net_io host_name=h1 {job} k=v {scope} service_name=shop"),
        format!(
            "__name__=odd_labels __res__=z _f=u _x=y host_name=h1 {job} key_1st=x {scope} service_name=shop"
        ),
        "__name__=target_info _odd=x host_name=h1 instance=i-1 job=eu/shop os_version=12 \
         service_instance_id=i-1 service_name=shop service_namespace=eu"
            .to_owned(),
    ];
    check(switches, &[], &promoted)?;
    let typed = suffixed.map(|s| {
        let kind = match () {
            () if s.contains("target_info") => return s,
            () if s.contains("total") => "__type__=counter",
            () => "__type__=gauge",
        };
        let unit = if s.contains("per_second") {
            " __unit__=bytes_per_second"
        } else {
            ""
        };
        format!("{s} {kind}{unit}")
    });
    let feature = ["--enable-feature=type-and-unit-labels"];
    check("otlp: {}\n", &feature, &typed)
}

/// What needs a feature and a key: deltas as they are, and histograms as native ones.
fn deltas_and_custom_buckets() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("tenbin.yml");
    std::fs::write(&file, "otlp: {convert_histograms_to_nhcb: true}\n")?;
    let flag = format!("--config.file={}", file.display());
    let feature = "--enable-feature=otlp-native-delta-ingestion";
    let server = Tenbin::start(&tenbin(), directory.path(), &[&flag, feature]).map_err(failed)?;
    let client = Client::default();
    let now = now_ns() - 20_000_000_000;
    let time = now.to_string();
    let later = (now + 5_000_000_000).to_string();
    let delta = json!({"name": "jobs", "description": "Since the last.", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
        {"timeUnixNano": time, "asInt": "5"}, {"timeUnixNano": later, "asInt": "3"}]}});
    let buckets = json!({"name": "sizes", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [
        {"timeUnixNano": time, "scale": 1, "count": "3", "sum": 4, "positive": {"offset": 0, "bucketCounts": ["3"]}}]}});
    let unsaid =
        json!({"name": "unsaid", "sum": {"dataPoints": [{"timeUnixNano": time, "asInt": "5"}]}});
    let all = metrics(now).into_iter();
    let latency: Vec<Value> = all.filter(|m| m["name"] == "latency").collect();
    let good = request(&service(), &[delta, buckets, latency[0].clone()]);
    let answer = post(&client, &server.url, &good)?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let answer = post(&client, &server.url, &request(&[], &[unsaid]))?;
    assert_eq!(answer.status, 500, "{}", answer.text());
    let at_s = (now / 1_000_000_000 + 6).to_string();
    let ask = |query: &str| {
        let url = format!(
            "{}/api/v1/query?{}",
            server.url,
            form(&[("query", query), ("time", &at_s)])
        );
        client
            .get(&url)
            .map(|a| a.json()["data"]["result"].to_string())
            .map_err(failed)
    };
    assert!(ask("sum_over_time(jobs_total[1m])")?.contains("\"8\""));
    assert!(ask("histogram_count(sizes)")?.contains("\"3\""));
    let latency = ask("histogram_count(latency_seconds{route=\"/\"})")?;
    assert!(latency.contains("\"11\""), "{latency}");
    let url = format!("{}/api/v1/metadata?metric=jobs_total", server.url);
    let metadata = client.get(&url).map_err(failed)?.text();
    assert!(metadata.contains("\"unknown\""), "{metadata}");
    Ok(())
}

/// VictoriaMetrics has a translation of its own, with the same rules for names.
fn beside_victoria(victoria: &Path) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let port = free_port().map_err(failed)?;
    let url = format!("http://127.0.0.1:{port}");
    let mut theirs = Process::start(
        "victoria-metrics",
        Command::new(victoria)
            .arg(format!(
                "-storageDataPath={}",
                directory.path().join("vm").display()
            ))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg("-opentelemetry.usePrometheusNaming")
            .arg("-opentelemetry.promoteAllResourceAttributes=false")
            .arg("-opentelemetry.promoteScopeMetadata=false"),
        &directory.path().join("vm.log"),
    )
    .map_err(failed)?;
    let ready = theirs.wait_ready(&format!("{url}/health"), Duration::from_secs(30));
    ready.map_err(failed)?;
    let client = Client::default();
    let now = now_ns() - 30_000_000_000;
    // What both translate alike: floats and classic histograms without odd labels.
    let odd = [
        "values",
        "2xx.responses",
        "collisions",
        "odd.labels",
        "stale.gauge",
        "over.resource",
        "empty.value",
        "latency",
    ];
    let alike =
        |m: &Value| !odd.iter().any(|o| m["name"] == *o) && m["exponentialHistogram"].is_null();
    let some: Vec<Value> = metrics(now).into_iter().filter(alike).collect();
    let body = request(&[("service.name", text("shop"))], &some);
    let ours = post(&client, &server.url, &body)?;
    assert_eq!(ours.status, 200, "{}", ours.text());
    // It takes the binary form alone.
    let binary = tenbin::ingest::otlp::json::to_binary(body.to_string().as_bytes())?;
    let headers = [("Content-Type", "application/x-protobuf")];
    let path = format!("{url}/opentelemetry/v1/metrics");
    let answer = client.post(&path, &headers, &binary).map_err(failed)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    client
        .get(&format!("{url}/internal/force_flush"))
        .map_err(failed)?;
    let at_s = now / 1_000_000_000 + 25;
    let names = |url: &str| {
        let list = stored(&client, url, at_s)?;
        let mut names: Vec<String> = list
            .iter()
            .filter_map(|one| serde_json::from_str::<Value>(one).ok())
            .map(|one| {
                let name = one["metric"]["__name__"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                format!("{name} {}", one["values"][0][1])
            })
            .filter(|name| !name.starts_with("target_info"))
            .collect();
        names.sort();
        Ok::<_, Failed>(names)
    };
    let (ours, theirs) = (names(&server.url)?, names(&url)?);
    assert!(ours.len() > 12, "{ours:?}");
    assert_eq!(ours, theirs);
    Ok(())
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
