//! Moving in from a real Prometheus and out to one: the same questions before and after, and
//! Prometheus' own tools on what was written.
//!
//! Three days of history are made by `promtool`, some of it is deleted through the admin API, and the
//! head is put into a block by a snapshot, which is what is imported.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::prometheus::Prometheus;

use super::{failed, tenbin};

/// History, seconds.
const HISTORY: u64 = 60 * 60 * 60;

/// How long the real Prometheus scrapes itself before the snapshot.
const SCRAPES: Duration = Duration::from_secs(12);

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    let round = move || in_and_out(&peers);
    vec![Trial::test(
        "interchange::prometheus_blocks_in_and_out",
        round,
    )]
}

pub(crate) fn peerless_trials() -> Vec<Trial> {
    vec![Trial::test(
        "interchange::commands_say_what_is_wrong",
        wrong_uses,
    )]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program to its end; fails with its output when the exit code is another.
fn run(program: &Path, arguments: &[&str], code: i32) -> Result<Output, Failed> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.code() == Some(code) {
        return Ok(output);
    }
    Err(failed(format!(
        "{} {arguments:?}: {}, expected exit code {code}\n{}\n{}",
        program.display(),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )))
}

/// Sixty hours of counters and gauges with gaps, in the text format that `promtool` takes.
fn history(start: u64) -> String {
    let mut text = String::new();
    let mut seed = 7_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 33
    };
    for (metric, kind) in [("moved_total", "counter"), ("moved_gauge", "gauge")] {
        let family = metric.trim_end_matches("_total");
        let _ = writeln!(text, "# TYPE {family} {kind}");
        for host in 0..6_u64 {
            let mut total = 0;
            for at in (start..start + HISTORY).step_by(60) {
                if (at / 7200) % 5 == host % 5 {
                    continue;
                }
                total = if random() % 2000 == 0 {
                    0
                } else {
                    total + random() % 50
                };
                let value = match (kind, host) {
                    ("counter", _) => total.to_string(),
                    (_, 0) => "NaN".to_owned(),
                    (_, 1) => format!("{:.3}", (at as f64 / 3000.0).sin() * 10.0),
                    _ => (random() as f64 / 77.0).to_string(),
                };
                let _ = writeln!(
                    text,
                    "{metric}{{instance=\"host-{host}\",path=\"a\\\"b\\\\ö\"}} {value} {at}"
                );
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

/// A Prometheus under `directory/name` that scrapes itself.
fn start_prometheus(peers: &Peers, directory: &Path, name: &str) -> Result<Prometheus, String> {
    let config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n\
                  - job_name: self\n  static_configs: [{targets: ['{self}']}]\n";
    let flags = [
        "--storage.tsdb.retention.time=100d",
        "--web.enable-admin-api",
        "--enable-feature=native-histograms",
    ];
    Prometheus::start(peers, directory, name, config, &flags)
}

/// Queries over the history and over what was scraped. Windows ask for `/metrics` alone, whose counts
/// grow with every scrape.
const QUERIES: &[&str] = &[
    "moved_total",
    "moved_gauge",
    "{__name__=~\"moved_.*\", instance!=\"host-3\"}",
    "count_over_time(moved_total[1h])",
    "count_over_time(moved_gauge[3h])",
    "sum(moved_total)",
    "sum by (instance) (rate(moved_total[30m]))",
    "increase(moved_total[2h])",
    "max_over_time(moved_gauge{instance!=\"host-0\"}[1h])",
    "last_over_time(moved_gauge{instance=\"host-2\"}[5m])",
    "count({__name__=~\".+\"})",
    "histogram_count(prometheus_http_request_duration_seconds)",
    "prometheus_http_request_duration_seconds",
    "histogram_quantile(0.9, sum(rate(prometheus_http_request_duration_seconds{handler=\"/metrics\"}[5s])))",
    "increase(prometheus_http_request_duration_seconds{handler=\"/metrics\"}[4s])",
    "count by (__name__) ({job=\"self\"})",
    "up",
    "prometheus_tsdb_head_series",
];

/// Answers to all queries over the last `hours` before `end`, and of labels and series.
fn answers(url: &str, end: u64, hours: u64, step: &str) -> Vec<(String, String)> {
    let client = Client::default();
    let (start, end) = ((end - hours * 3600).to_string(), end.to_string());
    let mut answers = Vec::new();
    let mut ask = |path: &str, parameters: &[(&str, &str)]| {
        let answer = client.get(&format!("{url}/api/v1/{path}?{}", form(parameters)));
        let answer = answer.map_or_else(|e| e, |a| normalised(&a));
        answers.push((format!("{path} {parameters:?}"), answer));
    };
    for query in QUERIES {
        ask(
            "query_range",
            &[
                ("query", query),
                ("start", &start),
                ("end", &end),
                ("step", step),
            ],
        );
        ask("query", &[("query", query), ("time", &end)]);
    }
    let window = [("start", &*start), ("end", &*end)];
    let moved = ("match[]", "{__name__=~\"moved_.*\"}");
    ask("series", &[window[0], window[1], moved]);
    ask("labels", &[window[0], window[1], moved]);
    ask("label/instance/values", &window);
    answers
}

fn differences(ours: &[(String, String)], theirs: &[(String, String)]) -> Result<(), Failed> {
    let pairs = ours.iter().zip(theirs);
    let different: Vec<String> = pairs
        .filter(|(ours, theirs)| !same(&ours.1, &theirs.1))
        .map(|(ours, theirs)| format!("{}\n{}", ours.0, first_difference(&ours.1, &theirs.1)))
        .collect();
    let with_data = theirs
        .iter()
        .filter(|(_, answer)| answer.contains("metric"))
        .count();
    if with_data < QUERIES.len() {
        return Err(failed(format!("only {with_data} answers have data")));
    }
    if different.is_empty() {
        eprintln!("{} answers equal", ours.len());
        return Ok(());
    }
    let (all, shown) = (different.len(), different.len().min(6));
    Err(failed(format!(
        "{all} answers differ:\n{}",
        different[..shown].join("\n\n")
    )))
}

/// `promtool tsdb dump`, sorted.
fn dump(peers: &Peers, data: &Path) -> Result<Vec<String>, Failed> {
    // The tool asks for one, be it empty.
    std::fs::create_dir_all(data.join("wal"))?;
    let output = run(
        &peers.promtool,
        &["tsdb", "dump", &data.display().to_string()],
        0,
    )?;
    let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}

/// Waits until enough was scraped for functions over windows; a busy machine takes its time. The
/// counts of `/metrics` must be well above zero in the last windows: near it, 3.5 extrapolates
/// native histograms below zero, and 3.14 does not.
fn await_scrapes(url: &str) -> Result<(), String> {
    std::thread::sleep(SCRAPES);
    let query = form(&[("query", "count_over_time(up[1m]) >= 14")]);
    for _ in 0..120 {
        let answer = Client::default().get(&format!("{url}/api/v1/query?{query}"))?;
        if answer.text().contains("metric") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Err("nothing is scraped".into())
}

fn unix_seconds() -> Result<u64, Failed> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn copy_blocks(from: &Path, to: &Path) -> Result<(), Failed> {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(failed("cp"))
    }
}

/// A Prometheus with history, a deletion and fresh scrapes; the folder of a snapshot of it, and the
/// last second that it holds completely.
fn snapshot(
    peers: &Peers,
    directory: &Path,
    start: u64,
) -> Result<(Prometheus, PathBuf, u64), Failed> {
    let data = directory.join("prometheus/data");
    std::fs::create_dir_all(&data)?;
    let input = directory.join("history.om");
    std::fs::write(&input, history(start))?;
    let (input, out) = (input.display().to_string(), data.display().to_string());
    let duration = "--max-block-duration=18h";
    let arguments = [
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        duration,
        &input,
        &out,
    ];
    run(&peers.promtool, &arguments, 0)?;
    let prometheus = start_prometheus(peers, directory, "prometheus").map_err(failed)?;
    await_scrapes(&prometheus.url).map_err(failed)?;
    // What is scraped after this second may be missing in the snapshot.
    let end = unix_seconds()? - 3;
    std::thread::sleep(Duration::from_secs(2));
    let client = Client::default();
    let post = |path: &str, parameters: &[(&str, &str)]| {
        let answer = client
            .post_form(
                &format!("{}/api/v1/admin/tsdb/{path}", prometheus.url),
                parameters,
            )
            .map_err(failed)?;
        if answer.status / 100 == 2 {
            Ok(answer)
        } else {
            Err(failed(format!(
                "{path}: {} {}",
                answer.status,
                answer.text()
            )))
        }
    };
    let (from, to) = ((start + 90_000).to_string(), (start + 100_000).to_string());
    post(
        "delete_series",
        &[
            ("match[]", "moved_gauge{instance=~\"host-[23]\"}"),
            ("start", &from),
            ("end", &to),
        ],
    )?;
    let answer = post("snapshot", &[])?.json();
    let name = answer["data"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    Ok((prometheus, data.join("snapshots").join(name), end))
}

fn in_and_out(peers: &Peers) -> Result<(), Failed> {
    let temporary = tempfile::tempdir()?;
    let directory = temporary.path();
    let start = (unix_seconds()? - HISTORY - 3600) / 7200 * 7200;
    let (prometheus, snapshot, end) = snapshot(peers, directory, start)?;
    let path = |path: &Path| path.display().to_string();
    let data = format!("--storage.tsdb.path={}", path(&directory.join("data")));
    let imported = run(
        &tenbin(),
        &[
            "import",
            "prometheus",
            &path(&snapshot),
            &data,
            "--storage.tsdb.retention.time=100d",
        ],
        0,
    )?;
    eprintln!("{}{}", text(&imported.stderr), text(&imported.stdout));
    if text(&imported.stdout).contains(" 0 histogram samples") {
        return Err(failed("no histograms were imported"));
    }
    let theirs = answers(&prometheus.url, end, 62, "170");
    let flags = [
        "--storage.tsdb.retention.time=100d",
        "--query.lookback-delta=5m",
    ];
    let mut server = Tenbin::start(&tenbin(), directory, &flags).map_err(failed)?;
    differences(&answers(&server.url, end, 62, "170"), &theirs)?;

    // A server has the directory: neither in nor out.
    let refused = run(
        &tenbin(),
        &["import", "prometheus", &path(&snapshot), &data],
        1,
    )?;
    if !text(&refused.stderr).contains("stop the server") {
        return Err(failed(text(&refused.stderr)));
    }
    // Looking is possible all the same.
    run(&tenbin(), &["inspect", &path(&directory.join("data"))], 0)?;
    run(&tenbin(), &["verify", &path(&directory.join("data"))], 0)?;
    server.process.terminate();

    // Once more changes nothing.
    run(
        &tenbin(),
        &["import", "prometheus", &path(&snapshot), &data],
        0,
    )?;
    server.restart().map_err(failed)?;
    differences(&answers(&server.url, end, 62, "170"), &theirs)?;
    server.process.terminate();
    drop(prometheus.process);

    let out = directory.join("exported");
    let out_flag = format!("--out={}", path(&out));
    let exported = run(&tenbin(), &["export", "prometheus", &data, &out_flag], 0)?;
    eprintln!("{}", text(&exported.stderr));
    for command in ["list", "analyze"] {
        let output = run(&peers.promtool, &["tsdb", command, &path(&out)], 0)?;
        eprintln!(
            "{}",
            text(&output.stdout)
                .lines()
                .take(8)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    let (before, after) = (dump(peers, &snapshot)?, dump(peers, &out)?);
    if before != after || before.len() < 10_000 {
        let place = first_difference(&after.join("\n"), &before.join("\n"));
        let counts = format!("{} and {} samples", after.len(), before.len());
        return Err(failed(format!("dumps differ: {counts}\n{place}")));
    }
    // A Prometheus on what was exported; compaction of it is part of its work.
    std::fs::create_dir_all(directory.join("second"))?;
    copy_blocks(&out, &directory.join("second/data"))?;
    let second = start_prometheus(peers, directory, "second").map_err(failed)?;
    differences(&answers(&second.url, end, 62, "170"), &theirs)
}

/// What does not work says why, and with the right exit code.
fn wrong_uses() -> Result<(), Failed> {
    let temporary = tempfile::tempdir()?;
    let empty = temporary.path().join("empty");
    std::fs::create_dir_all(&empty)?;
    let empty = empty.display().to_string();
    let data = format!(
        "--storage.tsdb.path={}",
        temporary.path().join("data").display()
    );
    let said = |arguments: &[&str], code: i32, words: &str| {
        let output = run(&tenbin(), arguments, code)?;
        let all = text(&output.stderr) + &text(&output.stdout);
        if all.contains(words) {
            Ok(())
        } else {
            Err(failed(format!("{arguments:?}: no {words:?} in\n{all}")))
        }
    };
    said(&["--help"], 0, "--web.listen-address")?;
    said(&["--help"], 0, "import")?;
    said(&["import", "prometheus", "--help"], 0, "snapshot")?;
    said(&["import", "prometheus"], 2, "PATH")?;
    said(
        &["import", "prometheus", &empty, &data],
        1,
        "holds no Prometheus block",
    )?;
    said(&["export", "prometheus", &data], 2, "--out")?;
    let nowhere = "--storage.tsdb.path=/nonexistent";
    said(
        &["export", "prometheus", nowhere, "--out=/nonexistent"],
        1,
        "is no data directory",
    )?;
    let times = ["--start=10", "--end=5"];
    said(
        &["export", "prometheus", &data, "--out=x", times[0], times[1]],
        2,
        "--start",
    )?;
    said(
        &["export", "prometheus", &data, "--out=x", "--match=up{"],
        2,
        "--match",
    )?;
    said(&["inspect", &empty], 1, "neither a data directory")?;
    said(&["verify", &empty], 2, "neither a data directory")?;
    said(&["nonsense"], 2, "nonsense")?;

    // A server leaves a log; a flipped bit in the middle of it is found.
    let mut server = Tenbin::start(&tenbin(), temporary.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let _ = client.get(&format!("{}/api/v1/query?query=1", server.url));
    server.process.terminate();
    let dir = temporary.path().join("data");
    let dir_text = dir.display().to_string();
    said(&["verify", &dir_text], 0, "all intact")?;
    said(&["verify", "--json", &dir_text], 0, "\"damage\": []")?;
    said(&["inspect", &dir_text], 0, "segment")?;
    said(
        &["inspect", "--json", &dir_text],
        0,
        "\"kind\": \"directory\"",
    )?;
    let manifest = dir.join("MANIFEST");
    let mut bytes = std::fs::read(&manifest)?;
    bytes[3] ^= 1;
    std::fs::write(&manifest, bytes)?;
    said(&["verify", &dir_text], 1, "MANIFEST")?;
    said(&["inspect", &dir_text], 0, "DAMAGE")
}
