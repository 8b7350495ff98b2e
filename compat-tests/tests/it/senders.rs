//! Real senders at once: Prometheus 3.5 by remote write 1.0 and 2.0, vmagent, `promtool push metrics`,
//! curl with Influx lines and with OpenMetrics text, and the OpenTelemetry SDK where there is one, while
//! Tenbin is killed and started again. What was acknowledged, and all that senders with a queue scraped, is
//! there.
//!
//! `TENBIN_SENDERS_SECONDS` makes it longer; it is killed twice, and once more for each 100 s beyond 200.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::{Peers, optional, python};
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

/// Sends a body by curl; says whether it was taken.
fn curl(url: &str, file: &Path) -> bool {
    let sent = Command::new("curl")
        .args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .arg(url)
        .output();
    sent.is_ok_and(|output| output.stdout == b"204")
}

/// Sends numbered lines until told to stop, each until it is taken; gives how many there were.
fn push_lines(
    url: String,
    file: PathBuf,
    stop: Arc<AtomicBool>,
    line: fn(u64) -> String,
) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let _ = std::fs::write(&file, line(number));
            while !curl(&url, &file) {
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
    vmagent_url: String,
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
        vmagent_url: format!("http://127.0.0.1:{own}"),
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

/// The OpenTelemetry SDK for Python, which prints how far it raised its counter.
fn start_sdk(
    python: PathBuf,
    directory: &Path,
    url: &str,
    seconds: u64,
) -> JoinHandle<std::io::Result<Output>> {
    let script = directory.join("otel_sdk.py");
    let _ = std::fs::write(&script, include_str!("otel_sdk.py"));
    let endpoint = format!("{url}/api/v1/otlp/v1/metrics");
    std::thread::spawn(move || {
        Command::new(python)
            .arg(&script)
            .args([&endpoint, &seconds.to_string()])
            .output()
    })
}

/// What it is called, what counts its lines, and how many it sent.
type Pusher = (&'static str, &'static str, JoinHandle<u64>);

fn start_pushers(
    peers: &Peers,
    directory: &Path,
    url: &str,
    stop: &Arc<AtomicBool>,
) -> Vec<Pusher> {
    let influx = push_lines(
        format!("{url}/write?precision=ms"),
        directory.join("influx.txt"),
        Arc::clone(stop),
        |number| format!("lines,kind=influx number={number}i {}", now_ms()),
    );
    let metrics = push_lines(
        format!("{url}/api/v1/import/prometheus"),
        directory.join("openmetrics.txt"),
        Arc::clone(stop),
        |number| {
            let time = now_ms() as f64 / 1000.0;
            format!("# TYPE om counter\nom_total {number} {time:.3}\n# EOF\n")
        },
    );
    let (promtool, folder) = (peers.promtool.clone(), directory.to_owned());
    let pushed = push_by_promtool(promtool, folder, url.to_owned(), Arc::clone(stop));
    vec![
        ("influx", "count_over_time(lines_number[1d])", influx),
        ("openmetrics", "count_over_time(om_total[1d])", metrics),
        ("promtool", "max_over_time(pushed_total[1d])", pushed),
    ]
}

fn senders(peers: &Peers, vmagent: &Path) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let scrapers = start_scrapers(peers, vmagent, directory.path(), &server.url);
    let scrapers = scrapers.map_err(failed)?;
    let stop = Arc::new(AtomicBool::new(false));
    let pushers = start_pushers(peers, directory.path(), &server.url, &stop);
    let length = seconds();
    let sdk = python().map(|python| start_sdk(python, directory.path(), &server.url, length));
    // What was scraped before the senders' queues were up is not sent.
    std::thread::sleep(Duration::from_secs(4));
    let from_s = now_ms() as f64 / 1000.0;
    let kills = (length / 100).max(2);
    let pause = Duration::from_secs(length.saturating_sub(4) / (kills + 1));
    for _ in 0..kills {
        std::thread::sleep(pause);
        server.restart().map_err(failed)?;
    }
    std::thread::sleep(pause);
    stop.store(true, Ordering::Relaxed);
    let at_s = (now_ms() as f64 / 1000.0 - 1.0).floor();
    let span_s = (at_s - from_s).floor();
    let mut figures = check_prometheus(&server.url, &scrapers, at_s, span_s)?;
    figures.push(check_vmagent(&server.url, &scrapers)?);
    figures.extend(check_pushers(&server.url, pushers, kills)?);
    if let Some(sdk) = sdk {
        figures.push(check_sdk(&server.url, sdk)?);
    }
    no_line_with(&server.process, "Tenbin", &["ERROR", "panicked"])?;
    eprintln!("{length} s, {kills} kills: {}", figures.join("; "));
    Ok(())
}

/// Fails with the first line of a program's log that has one of the words.
fn no_line_with(process: &Process, name: &str, words: &[&str]) -> Result<(), Failed> {
    let log = process.output();
    let has_one = |line: &&str| words.iter().any(|word| line.contains(word));
    match log.lines().find(has_one) {
        Some(line) => Err(failed(format!("{name}: {line}"))),
        None => Ok(()),
    }
}

/// All that each Prometheus scraped is there.
fn check_prometheus(
    url: &str,
    scrapers: &Scrapers,
    at_s: f64,
    span_s: f64,
) -> Result<Vec<String>, Failed> {
    let mut figures = Vec::new();
    for (sender, own) in &scrapers.prometheus {
        // One after the other: without their names the series of several could not be told apart.
        let mut scraped = 0.0;
        for metric in METRICS {
            let query = |more: &str| format!("sum(count_over_time({metric}{{{more}}}[{span_s}s]))");
            let own_count = single(&own.url, &query(""), at_s);
            let count = own_count.ok_or_else(|| failed(own.process.output()))?;
            wait_for(url, &query(&format!("sender=\"{sender}\"")), at_s, count)?;
            scraped += count;
        }
        figures.push(format!("{sender}: {scraped} samples"));
        no_line_with(&own.process, sender, &["level=ERROR", "non-recoverable"])?;
    }
    Ok(figures)
}

/// Samples of all series that satisfy a matcher: one metric after the other, since without their names the series
/// of several could not be told apart.
fn count_by_name(url: &str, matcher: &str) -> Result<f64, Failed> {
    let parameters = form(&[("match[]", &format!("{{{matcher}}}"))]);
    let names = format!("{url}/api/v1/label/__name__/values?{parameters}");
    let names = Client::default().get(&names).map_err(failed)?.json();
    let names = names["data"].as_array().cloned().unwrap_or_default();
    let at_s = now_ms() as f64 / 1000.0 + 1.0;
    let mut count = 0.0;
    for name in names.iter().filter_map(|name| name.as_str()) {
        let query = format!("sum(count_over_time({{__name__=\"{name}\",{matcher}}}[1d]))");
        count += single(url, &query, at_s).unwrap_or(0.0);
    }
    Ok(count)
}

/// All rows that vmagent gave to its queue are there, and it dropped none.
fn check_vmagent(url: &str, scrapers: &Scrapers) -> Result<String, Failed> {
    let metrics = Client::default().get(&format!("{}/metrics", scrapers.vmagent_url));
    let metrics = metrics.map_err(failed)?.text();
    let sum = |name: &str| -> f64 {
        let values = metrics.lines().filter(|line| line.starts_with(name));
        let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    };
    let dropped = sum("vmagent_remotewrite_samples_dropped_total")
        + sum("vmagent_remotewrite_packets_dropped_total");
    let pushed = sum("vmagent_remotewrite_rows_pushed_after_relabel_total");
    if dropped > 0.0 || pushed == 0.0 {
        let text = format!("vmagent: {dropped} dropped of {pushed} rows");
        return Err(failed(text));
    }
    // Staleness markers are rows as well, but nothing that a query counts.
    let expected = pushed - sum("vm_promscrape_stale_samples_created_total");
    let deadline = Instant::now() + Duration::from_secs(40);
    let stored = loop {
        let stored = count_by_name(url, "sender=\"vmagent\"")?;
        if stored >= expected {
            break stored;
        }
        if Instant::now() > deadline {
            let log = scrapers.vmagent.output();
            return Err(failed(format!("vmagent: {stored} of {expected}\n{log}")));
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    // While the server starts it is told 503, and says so.
    let mine = |line: &&str| line.contains("\terror\t") && !line.contains("re-sending the block");
    if let Some(line) = scrapers.vmagent.output().lines().find(mine) {
        return Err(failed(format!("vmagent: {line}")));
    }
    Ok(format!(
        "vmagent: {pushed} rows sent, {stored} and later ones stored"
    ))
}

/// What was acknowledged is there.
fn check_pushers(url: &str, pushers: Vec<Pusher>, kills: u64) -> Result<Vec<String>, Failed> {
    let mut figures = Vec::new();
    for (name, query, thread) in pushers {
        let sent = thread.join().map_err(|_| failed("a sender panicked"))?;
        // The last promtool run may have been after the question's time.
        let later_s = now_ms() as f64 / 1000.0 + 1.0;
        // A line that was stored, but not answered before the kill, comes again at another time.
        let found = single(url, query, later_s).unwrap_or(0.0);
        if found < sent as f64 || found > (sent + kills) as f64 {
            return Err(failed(format!("{name}: {found} of {sent}")));
        }
        figures.push(format!("{name}: {sent} acknowledged, {found} stored"));
    }
    Ok(figures)
}

fn check_sdk(url: &str, sdk: JoinHandle<std::io::Result<Output>>) -> Result<String, Failed> {
    let joined = sdk
        .join()
        .map_err(|_| failed("the SDK's thread panicked"))?;
    let output = joined?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let Ok(raised) = printed.trim().parse() else {
        return Err(failed(String::from_utf8_lossy(&output.stderr)));
    };
    // While nobody listens it tries again; in the end all is there.
    let all = "max_over_time(sdk_requests_total[1d])";
    wait_for(url, all, now_ms() as f64 / 1000.0 + 1.0, raised)?;
    Ok(format!("OpenTelemetry: counter at {raised}"))
}
