//! Real senders at once: Prometheus 3.5 by remote write 1.0 and 2.0, vmagent, `promtool push metrics`,
//! Influx and OpenMetrics lines, and the OpenTelemetry SDK where there is one, while Tenbin is killed
//! and started again. What was acknowledged, and all that senders with a queue scraped, is there.
//!
//! `TENBIN_SENDERS_SECONDS` makes it longer.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::{Peers, optional};
use tenbin_compat_tests::process::{Process, Tenbin, free_port};
use tenbin_compat_tests::prometheus::Prometheus;

use super::{failed, tenbin};

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    let name = "senders::nothing_acknowledged_is_lost";
    vec![match optional("vmagent") {
        Some(vmagent) => Trial::test(name, move || senders(&peers, &vmagent)),
        None => Trial::test(name, || Ok(()))
            .with_kind("skipped: no vmagent")
            .with_ignored_flag(true),
    }]
}

/// What is counted of that which is scraped.
const METRICS: [&str; 5] = [
    "up",
    "node_cpu_seconds_total",
    "node_scrape_collector_duration_seconds",
    "scrape_samples_scraped",
    "go_gc_duration_seconds",
];

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

fn seconds() -> u64 {
    let set = std::env::var("TENBIN_SENDERS_SECONDS").ok();
    set.and_then(|s| s.parse().ok()).unwrap_or(16)
}

/// The value of an instant query that gives one element.
fn single(url: &str, query: &str, time_s: f64) -> Option<f64> {
    let parameters = [("query", query), ("time", &time_s.to_string())];
    let url = format!("{url}/api/v1/query?{}", form(&parameters));
    let answer = Client::default().get(&url).ok()?.json();
    answer["data"]["result"][0]["value"][1]
        .as_str()?
        .parse()
        .ok()
}

/// Sends numbered lines until told to stop, each until it is taken; gives how many there were.
fn push_lines(
    url: String,
    stop: Arc<AtomicBool>,
    line: fn(u64) -> (String, &'static str),
) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let client = Client::default();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let (body, path) = line(number);
            loop {
                let headers = [("Content-Type", "application/x-www-form-urlencoded")];
                let answer = client.post(&format!("{url}{path}"), &headers, body.as_bytes());
                if answer.is_ok_and(|answer| answer.status == 204) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        number
    })
}

/// The same by promtool, which has no loop of its own.
fn push_by_promtool(
    promtool: PathBuf,
    directory: PathBuf,
    url: String,
    stop: Arc<AtomicBool>,
) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let file = directory.join("pushed.txt");
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            // It sends the time of sending.
            let text = format!("# TYPE pushed_total counter\npushed_total {number}\n");
            let _ = std::fs::write(&file, text);
            loop {
                let pushed = Command::new(&promtool)
                    .args(["push", "metrics", "--label=sender=promtool"])
                    .arg(format!("{url}/api/v1/write"))
                    .arg(&file)
                    .output();
                if pushed.is_ok_and(|output| output.status.success()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        number
    })
}

struct Scrapers {
    _exporter: Process,
    prometheus: Vec<(&'static str, Prometheus)>,
    vmagent: Process,
}

fn start_scrapers(
    peers: &Peers,
    vmagent: &Path,
    directory: &Path,
    url: &str,
) -> Result<Scrapers, String> {
    let port = free_port()?;
    let mut exporter = Process::start(
        "node_exporter",
        Command::new(&peers.node_exporter).arg(format!("--web.listen-address=127.0.0.1:{port}")),
        &directory.join("node_exporter.log"),
    )?;
    let target = format!("http://127.0.0.1:{port}/metrics");
    exporter.wait_ready(&target, Duration::from_secs(20))?;
    let scrape = |sender: &str| {
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {{sender: {sender}}}}}\n\
             scrape_configs:\n- job_name: node\n  \
             static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
        )
    };
    let mut prometheus = Vec::new();
    for (sender, message) in [
        ("rw1", "prometheus.WriteRequest"),
        ("rw2", "io.prometheus.write.v2.Request"),
    ] {
        let config = scrape(sender)
            + &format!(
                "remote_write:\n- url: {url}/api/v1/write\n  protobuf_message: {message}\n  \
                 queue_config: {{batch_send_deadline: 500ms, max_backoff: 500ms}}\n"
            );
        let flags = ["--enable-feature=native-histograms,exemplar-storage"];
        let started = Prometheus::start(peers, directory, sender, &config, &flags)?;
        prometheus.push((sender, started));
    }
    let file = directory.join("vmagent.yml");
    std::fs::write(&file, scrape("vmagent")).map_err(|e| e.to_string())?;
    let own = free_port()?;
    let mut vmagent = Process::start(
        "vmagent",
        Command::new(vmagent)
            .arg(format!("-promscrape.config={}", file.display()))
            .arg(format!("-remoteWrite.url={url}/api/v1/write"))
            .arg("-remoteWrite.forcePromProto")
            .arg("-remoteWrite.flushInterval=500ms")
            .arg("-remoteWrite.retryMaxInterval=1s")
            .arg(format!(
                "-remoteWrite.tmpDataPath={}",
                directory.join("vmagent").display()
            ))
            .arg(format!("-httpListenAddr=127.0.0.1:{own}")),
        &directory.join("vmagent.log"),
    )?;
    vmagent.wait_ready(
        &format!("http://127.0.0.1:{own}/health"),
        Duration::from_secs(20),
    )?;
    Ok(Scrapers {
        _exporter: exporter,
        prometheus,
        vmagent,
    })
}

/// Waits until a query has the value; says what it had at last.
fn wait_for(url: &str, query: &str, time_s: f64, value: f64) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let found = single(url, query, time_s);
        if found == Some(value) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(failed(format!(
                "{query} at {time_s}: {found:?}, expected {value}"
            )));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn senders(peers: &Peers, vmagent: &Path) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let scrapers = start_scrapers(peers, vmagent, directory.path(), &server.url);
    let scrapers = scrapers.map_err(failed)?;
    let stop = Arc::new(AtomicBool::new(false));
    let influx = push_lines(server.url.clone(), Arc::clone(&stop), |number| {
        (
            format!("lines,kind=influx number={number}i {}", now_ms()),
            "/write?precision=ms",
        )
    });
    let metrics = push_lines(server.url.clone(), Arc::clone(&stop), |number| {
        let time = now_ms() as f64 / 1000.0;
        let text = format!("# TYPE om counter\nom_total {number} {time:.3}\n# EOF\n");
        (text, "/api/v1/import/prometheus")
    });
    let (promtool, folder) = (peers.promtool.clone(), directory.path().to_owned());
    let pushed = push_by_promtool(promtool, folder, server.url.clone(), Arc::clone(&stop));
    let length = seconds();
    let sdk = std::env::var_os("TENBIN_OTEL_PYTHON").map(|python| {
        let script = directory.path().join("otel_sdk.py");
        let _ = std::fs::write(&script, include_str!("otel_sdk.py"));
        let endpoint = format!("{}/api/v1/otlp/v1/metrics", server.url);
        let seconds = (length * 3 / 4).to_string();
        std::thread::spawn(move || {
            Command::new(python)
                .arg(&script)
                .args([&endpoint, &seconds])
                .output()
        })
    });
    // What was scraped before the senders' queues were up is not sent.
    std::thread::sleep(Duration::from_secs(4));
    let from_s = now_ms() as f64 / 1000.0;
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(length.saturating_sub(4) / 3));
        server.restart().map_err(failed)?;
    }
    std::thread::sleep(Duration::from_secs(length.saturating_sub(4) / 3));
    stop.store(true, Ordering::Relaxed);
    let at_s = (now_ms() as f64 / 1000.0 - 1.0).floor();
    let window = format!("[{}s]", (at_s - from_s).floor());
    let mut figures = Vec::new();
    for (sender, own) in &scrapers.prometheus {
        // One after the other: without their names the series of several could not be told apart.
        let mut scraped = 0.0;
        for metric in METRICS {
            let query = |more: &str| format!("sum(count_over_time({metric}{{{more}}}{window}))");
            let own_count = single(&own.url, &query(""), at_s);
            let count = own_count.ok_or_else(|| failed(own.process.output()))?;
            wait_for(
                &server.url,
                &query(&format!("sender=\"{sender}\"")),
                at_s,
                count,
            )?;
            scraped += count;
        }
        figures.push(format!("{sender}: {scraped} samples"));
        let log = own.process.output();
        if let Some(line) = log
            .lines()
            .find(|l| l.contains("level=ERROR") || l.contains("non-recoverable"))
        {
            return Err(failed(format!("{sender}: {line}")));
        }
    }
    // A scrape a second, whatever happened in between.
    let up = format!("count_over_time(up{{sender=\"vmagent\"}}{window})");
    let least = (at_s - from_s).floor() - 2.0;
    let deadline = Instant::now() + Duration::from_secs(40);
    while single(&server.url, &up, at_s).is_none_or(|count| count < least) {
        if Instant::now() > deadline {
            let found = single(&server.url, &up, at_s);
            let log = scrapers.vmagent.output();
            return Err(failed(format!("vmagent: {found:?} of {least}\n{log}")));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    figures.push(format!("vmagent: {least} scrapes or more"));
    let later_s = now_ms() as f64 / 1000.0 + 1.0;
    for (name, query, thread) in [
        ("influx", "count_over_time(lines_number[1d])", influx),
        ("openmetrics", "count_over_time(om_total[1d])", metrics),
        ("promtool", "max_over_time(pushed_total[1d])", pushed),
    ] {
        let sent = thread.join().map_err(|_| failed("a sender panicked"))?;
        // The last promtool run may have been after the question's time.
        let later_s = later_s.max(now_ms() as f64 / 1000.0 + 1.0);
        // A line that was stored, but not answered before the kill, comes again at another time.
        let found = single(&server.url, query, later_s).unwrap_or(0.0);
        if found < sent as f64 || found > sent as f64 + 4.0 {
            return Err(failed(format!("{name}: {found} of {sent}")));
        }
        figures.push(format!("{name}: {sent} acknowledged, {found} stored"));
    }
    if let Some(sdk) = sdk {
        let output = sdk
            .join()
            .map_err(|_| failed("the SDK's thread panicked"))??;
        let raised: f64 = String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .unwrap_or(-1.0);
        if raised < 0.0 {
            return Err(failed(String::from_utf8_lossy(&output.stderr)));
        }
        // While nobody listens it tries again; in the end all is there.
        let all = "max_over_time(sdk_requests_total[1d])";
        wait_for(&server.url, all, now_ms() as f64 / 1000.0 + 1.0, raised)?;
        figures.push(format!("OpenTelemetry: counter at {raised}"));
    }
    let log = server.process.output();
    if let Some(line) = log
        .lines()
        .find(|line| line.contains("ERROR") || line.contains("panicked"))
    {
        return Err(failed(format!("Tenbin: {line}")));
    }
    eprintln!("{length} s, two kills: {}", figures.join("; "));
    Ok(())
}
