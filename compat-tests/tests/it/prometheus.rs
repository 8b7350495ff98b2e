//! Beside a real Prometheus 3.5: it scrapes node_exporter and itself, writes what it scrapes to
//! Tenbin, and then both answer the same questions about the same past.
//!
//! Questions are asked for a moment a few seconds ago, which both hold completely. Answers are
//! compared as bytes after `answers::normalised`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::{Process, Tenbin, free_port};
use tenbin_compat_tests::prometheus::Prometheus;

use super::{failed, tenbin};

/// How long both run before they are compared. `TENBIN_SOAK_SECONDS` makes it longer.
const RUN: Duration = Duration::from_secs(25);

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let versions = [
        ("1.0", "prometheus.WriteRequest"),
        ("2.0", "io.prometheus.write.v2.Request"),
    ];
    let trial = |(version, message): (&str, &'static str)| {
        let peers = peers.clone();
        let name = format!("prometheus::answers_are_equal_after_remote_write_{version}");
        Trial::test(name, move || answers_are_equal(&peers, message))
    };
    versions.map(trial).into()
}

/// A Prometheus with its target and the Tenbin that it writes to.
struct Pair {
    tenbin: Tenbin,
    prometheus: Prometheus,
    _exporter: Process,
}

fn start_pair(peers: &Peers, directory: &Path, message: &str) -> Result<Pair, String> {
    let tenbin = Tenbin::start(&tenbin(), directory, &[])?;
    let exporter_port = free_port()?;
    let mut exporter = Process::start(
        "node_exporter",
        Command::new(&peers.node_exporter)
            .arg(format!("--web.listen-address=127.0.0.1:{exporter_port}")),
        &directory.join("node_exporter.log"),
    )?;
    let exporter_url = format!("http://127.0.0.1:{exporter_port}/metrics");
    exporter.wait_ready(&exporter_url, Duration::from_secs(20))?;
    let config = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n\
         scrape_configs:\n\
         - job_name: node\n  static_configs: [{{targets: ['127.0.0.1:{exporter_port}']}}]\n\
         - job_name: prometheus\n  static_configs: [{{targets: ['{{self}}']}}]\n\
         - job_name: gone\n  static_configs: [{{targets: ['127.0.0.1:1']}}]\n\
         remote_write:\n- url: {}/api/v1/write\n  protobuf_message: {message}\n  \
         queue_config: {{batch_send_deadline: 500ms}}\n",
        tenbin.url
    );
    let prometheus = Prometheus::start(peers, directory, "prometheus", &config, &[])?;
    Ok(Pair {
        tenbin,
        prometheus,
        _exporter: exporter,
    })
}

/// The value of an instant query that gives one element.
fn single(url: &str, query: &str) -> Option<f64> {
    let answer =
        Client::default().get(&format!("{url}/api/v1/query?{}", form(&[("query", query)])));
    answer.ok()?.json()["data"]["result"][0]["value"][1]
        .as_str()?
        .parse()
        .ok()
}

fn answers_are_equal(peers: &Peers, message: &str) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let pair = start_pair(peers, directory.path(), message).map_err(failed)?;
    let seconds = std::env::var("TENBIN_SOAK_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    std::thread::sleep(seconds.map_or(RUN, Duration::from_secs));
    let newest = |url: &str| single(url, "max(timestamp(node_load1))");
    let at = newest(&pair.prometheus.url)
        .ok_or_else(|| failed(format!("no samples\n{}", pair.prometheus.process.output())))?
        .floor();
    let deadline = Instant::now() + Duration::from_secs(30);
    // Wait until Tenbin holds everything up to `at` of every target.
    while !single(&pair.tenbin.url, "min(timestamp(up))").is_some_and(|t| t > at + 1.0) {
        if Instant::now() > deadline {
            let log = pair.tenbin.process.output();
            return Err(failed(format!("samples do not arrive\n{log}")));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut differences = compare_http(&pair, at);
    differences.extend(compare_promtool(peers, &pair, at));
    if differences.is_empty() {
        return Ok(());
    }
    let all = differences.len();
    differences.truncate(15);
    Err(failed(format!(
        "{all} answers differ:\n\n{}",
        differences.join("\n\n")
    )))
}

/// Instant and range queries over what every node_exporter and Prometheus have.
const QUERIES: &[&str] = &[
    "up",
    "up == 0",
    "node_load1",
    "node_cpu_seconds_total",
    "{__name__=~\"node_memory_.*\"}",
    "{job=\"node\", __name__!~\"node_.*\"}",
    "node_cpu_seconds_total{mode!=\"idle\", cpu=~\"0|1\"}",
    "node_load1 offset 5s",
    "node_load1[8s]",
    "prometheus_tsdb_head_samples_appended_total[6s] offset 3s",
    "rate(node_cpu_seconds_total[15s])",
    "increase(prometheus_http_requests_total[20s])",
    "irate(node_cpu_seconds_total[10s])",
    "idelta(node_memory_MemFree_bytes[10s])",
    "delta(node_memory_MemFree_bytes[15s])",
    "deriv(node_memory_MemFree_bytes[15s])",
    "predict_linear(node_memory_MemFree_bytes[15s], 60)",
    "changes(node_memory_MemFree_bytes[15s])",
    "resets(node_memory_MemFree_bytes[15s])",
    "sum(rate(node_cpu_seconds_total[15s]))",
    "sum by (mode) (rate(node_cpu_seconds_total[15s]))",
    "avg without (cpu) (node_cpu_seconds_total)",
    "min by (job) (scrape_duration_seconds)",
    "max by (job, instance) (scrape_samples_scraped)",
    "count by (job) ({job!=\"\"})",
    "count({__name__=~\"node_.+\"})",
    "stddev by (mode) (node_cpu_seconds_total)",
    "stdvar(node_cpu_seconds_total)",
    "group by (job) (up)",
    "quantile by (mode) (0.5, node_cpu_seconds_total)",
    "topk(3, node_memory_MemTotal_bytes)",
    "bottomk(1, scrape_samples_scraped)",
    "count_values(\"v\", up)",
    "sort(node_cpu_seconds_total{cpu=\"0\"})",
    "sort_desc(scrape_samples_scraped)",
    "avg_over_time(node_load1[15s])",
    "sum_over_time(node_memory_MemFree_bytes[15s])",
    "min_over_time(node_memory_MemFree_bytes[15s])",
    "max_over_time(node_memory_MemFree_bytes[15s])",
    "count_over_time(up[15s])",
    "stddev_over_time(node_memory_MemFree_bytes[15s])",
    "stdvar_over_time(node_memory_MemFree_bytes[15s])",
    "quantile_over_time(0.9, node_memory_MemFree_bytes[15s])",
    "last_over_time(node_load1[15s])",
    "present_over_time(up[15s])",
    "absent(nonexistent{job=\"x\"})",
    "absent_over_time(nonexistent[5m])",
    "node_memory_MemFree_bytes / node_memory_MemTotal_bytes",
    "1 - node_filesystem_avail_bytes / node_filesystem_size_bytes",
    "node_memory_MemFree_bytes * 2 > 10",
    "up == bool 1",
    "node_cpu_seconds_total * on (instance) group_left () up",
    "scrape_samples_scraped / on (job, instance) group_left () up",
    "node_load1 and node_load5",
    "up or nonexistent",
    "up unless up == 1",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[20s])))",
    "histogram_quantile(0.5, prometheus_http_request_duration_seconds_bucket)",
    "label_replace(up, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
    "label_join(up, \"both\", \"-\", \"job\", \"instance\")",
    "clamp(node_load1, 0.1, 0.2)",
    "clamp_min(node_load1, 1)",
    "clamp_max(node_load1, 1)",
    "round(node_load1, 0.05)",
    "abs(-node_load1)",
    "ceil(node_load1)",
    "floor(node_load1)",
    "exp(node_load1)",
    "ln(node_load1)",
    "sqrt(node_memory_MemFree_bytes)",
    "sgn(node_load1)",
    "time()",
    "vector(1)",
    "scalar(node_load1)",
    "hour()",
    "day_of_week(vector(time()))",
    "timestamp(node_load1)",
    "max_over_time(rate(node_cpu_seconds_total{cpu=\"0\"}[5s])[10s:2s])",
    "node_load1 @ start()",
    "rate(node_cpu_seconds_total{cpu=\"0\"}[10s] @ end())",
    "-node_load1",
    "2 ^ 3 ^ 2 - 1",
    "\"a string\"",
    "NaN",
    "1e21",
    "node_load1 / 0",
    "rate(node_load1[15s])",
    "node_load1 + on () node_load5",
    "node_cpu_seconds_total + on (mode) node_cpu_seconds_total",
    "sum(",
    "up{",
    "nonsense(up)",
    "rate(up)",
    "up[5m",
    "{}",
    "1 == 1",
    "sum by (job) (up[5m])",
    "up offset",
    "foo bar",
    "topk(up, 3)",
];

/// Answers that differ from Prometheus 3.5's for a known reason: path, query, reason.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "query_range",
        "sort(node_cpu_seconds_total{cpu=\"0\"})",
        SORT_WARNING,
    ),
    (
        "query_range",
        "sort_desc(scrape_samples_scraped)",
        SORT_WARNING,
    ),
    ("query", "up offset", OFFSET_TEXT),
    ("query_range", "up offset", OFFSET_TEXT),
    ("query", MANY_TO_MANY, ORDER),
    ("query_range", MANY_TO_MANY, ORDER),
];
const SORT_WARNING: &str = "3.14 warns that sort is ineffective for range queries; 3.5 does not";
const OFFSET_TEXT: &str = "3.14 also expects step() and range() after offset";
const MANY_TO_MANY: &str = "node_cpu_seconds_total + on (mode) node_cpu_seconds_total";
const ORDER: &str = "which of several failing groups is named depends on the order of series";

fn compare_http(pair: &Pair, at: f64) -> Vec<String> {
    let time = at.to_string();
    let start = (at - 12.0).to_string();
    let mut requests: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for query in QUERIES {
        requests.push(("query", vec![("query", query), ("time", &time)]));
        let range = vec![
            ("query", *query),
            ("start", &start),
            ("end", &time),
            ("step", "2.5"),
        ];
        requests.push(("query_range", range));
    }
    let window = [("start", start.as_str()), ("end", time.as_str())];
    let with = |more: &[(&'static str, &'static str)]| {
        let mut parameters = window.to_vec();
        parameters.extend_from_slice(more);
        parameters
    };
    requests.push(("labels", with(&[])));
    requests.push((
        "labels",
        with(&[("match[]", "up"), ("match[]", "node_cpu_seconds_total")]),
    ));
    requests.push(("label/__name__/values", with(&[])));
    requests.push((
        "label/mode/values",
        with(&[("match[]", "node_cpu_seconds_total")]),
    ));
    requests.push(("label/nonexistent/values", with(&[])));
    requests.push((
        "series",
        with(&[
            ("match[]", "up"),
            ("match[]", "{__name__=~\"node_load.*\"}"),
        ]),
    ));
    requests.push(("series", with(&[("match[]", "{job=\"node\"}")])));
    requests.push(("series", with(&[])));
    requests.push(("series", with(&[("match[]", "{job=~\".*\"}")])));
    requests.push(("query", vec![("query", "up"), ("time", "x")]));
    requests.push((
        "query_range",
        vec![("query", "up"), ("start", "1"), ("end", "0"), ("step", "1")],
    ));
    requests.push((
        "query_range",
        vec![("query", "up"), ("start", "0"), ("end", "1"), ("step", "")],
    ));
    requests.push(("nope", vec![]));
    let client = Client::default();
    let total = requests.len();
    let (mut differences, mut explained) = (Vec::new(), 0);
    for (path, parameters) in requests {
        let ask = |base: &str| client.get(&format!("{base}/api/v1/{path}?{}", form(&parameters)));
        let (ours, theirs) = match (ask(&pair.tenbin.url), ask(&pair.prometheus.url)) {
            (Ok(ours), Ok(theirs)) => (normalised(&ours), normalised(&theirs)),
            (ours, theirs) => {
                differences.push(format!("{path} {parameters:?}: {ours:?} {theirs:?}"));
                continue;
            }
        };
        let known = KNOWN.iter().find(|(known_path, query, _)| {
            *known_path == path && parameters.contains(&("query", *query))
        });
        match known {
            // The status has to be the same all the same.
            Some(_) if ours.get(..3) == theirs.get(..3) => explained += 1,
            _ if same(&ours, &theirs) => {}
            _ => {
                let place = first_difference(&ours, &theirs);
                differences.push(format!("{path} {parameters:?}\n{place}"));
            }
        }
    }
    let equal = total - differences.len() - explained;
    eprintln!("{equal} of {total} HTTP answers equal, {explained} differ as explained");
    differences
}

/// The same by Prometheus' own client.
fn compare_promtool(peers: &Peers, pair: &Pair, at: f64) -> Vec<String> {
    let (time, start) = (at.to_string(), (at - 12.0).to_string());
    let commands: Vec<Vec<&str>> = vec![
        vec![
            "query",
            "instant",
            "--time",
            &time,
            "URL",
            "sum by (mode) (node_cpu_seconds_total)",
        ],
        vec![
            "query", "range", "--start", &start, "--end", &time, "--step", "3s", "URL", "up",
        ],
        vec![
            "query", "series", "--start", &start, "--end", &time, "--match", "up", "URL",
        ],
        vec![
            "query", "labels", "--start", &start, "--end", &time, "URL", "mode",
        ],
    ];
    let total = commands.len();
    let mut differences = Vec::new();
    for command in commands {
        let run = |url: &str| {
            let arguments = command.iter().map(|a| if *a == "URL" { url } else { a });
            let output = Command::new(&peers.promtool).args(arguments).output();
            output.map_or_else(
                |e| e.to_string(),
                |o| {
                    let mut lines: Vec<String> = String::from_utf8_lossy(&o.stdout)
                        .lines()
                        .map(str::to_owned)
                        .collect();
                    if command[1] == "instant" || command[1] == "series" {
                        lines.sort_unstable();
                    }
                    lines.push(format!(
                        "{} {}",
                        o.status,
                        String::from_utf8_lossy(&o.stderr)
                    ));
                    lines.join("\n")
                },
            )
        };
        let (ours, theirs) = (run(&pair.tenbin.url), run(&pair.prometheus.url));
        if ours != theirs {
            let place = first_difference(&ours, &theirs);
            differences.push(format!("promtool {command:?}\n{place}"));
        }
    }
    eprintln!(
        "{} of {total} promtool outputs equal",
        total - differences.len()
    );
    differences
}
