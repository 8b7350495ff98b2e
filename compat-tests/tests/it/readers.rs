//! Real readers that are not tested elsewhere: `prometheus-api-client` for Python and `promtool query
//! analyze` understand Tenbin as they do Prometheus; vmctl takes blocks that Tenbin exported.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::answers::first_difference;
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::{Peers, optional, python};
use tenbin_compat_tests::process::{Process, Tenbin, free_port};
use tenbin_compat_tests::prometheus::Prometheus;
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::{failed, tenbin};

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let ignored = |name: &str, reason: &str| {
        Trial::test(name, || Ok(()))
            .with_kind(format!("skipped: {reason}"))
            .with_ignored_flag(true)
    };
    let with_peers = peers.clone();
    let analyze = Trial::test("readers::promtool_analyzes", move || {
        promtool_analyzes(&with_peers)
    });
    let name = "readers::the_python_client_understands";
    let with_peers = peers.clone();
    let client = match python() {
        Some(python) => Trial::test(name, move || python_client(&with_peers, &python)),
        None => ignored(name, "TENBIN_PYTHON names no Python"),
    };
    let name = "readers::vmctl_takes_exported_blocks";
    let blocks = match (optional("vmctl"), optional("victoria-metrics")) {
        (Some(vmctl), Some(victoria)) => {
            Trial::test(name, move || vmctl_takes_blocks(&vmctl, &victoria))
        }
        _ => ignored(name, "no vmctl"),
    };
    vec![analyze, client, blocks]
}

/// The time of the newest sample, seconds.
fn newest() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64) - 30
}

/// Counters and buckets over two minutes.
fn samples(at: i64) -> Vec<TimeSeries> {
    let over = |factor: f64| -> Vec<(i64, f64)> {
        let times = (0..9).map(|i| ((at - 120 + 15 * i) * 1000, i as f64 * factor));
        times.collect()
    };
    let ups = [("a:1", "node"), ("b:1", "node"), ("c:1", "other")];
    let mut all: Vec<TimeSeries> = ups
        .into_iter()
        .map(|(instance, job)| {
            series(
                &[("__name__", "up"), ("instance", instance), ("job", job)],
                &over(1.0),
            )
        })
        .collect();
    for code in ["200", "500"] {
        let labels = [
            ("__name__", "requests_total"),
            ("code", code),
            ("job", "node"),
        ];
        all.push(series(&labels, &over(2.5)));
    }
    for (le, factor) in [("0.1", 1.0), ("0.5", 3.0), ("+Inf", 4.0)] {
        let labels = [("__name__", "lat_bucket"), ("job", "node"), ("le", le)];
        all.push(series(&labels, &over(factor)));
    }
    all
}

/// A Tenbin and a Prometheus that hold the same samples.
fn pair(peers: &Peers, directory: &Path, at: i64) -> Result<(Tenbin, Prometheus), Failed> {
    let ours = Tenbin::start(&tenbin(), directory, &[]).map_err(failed)?;
    let started = Prometheus::start(peers, directory, "prometheus", "{}\n", &[]);
    let theirs = started.map_err(failed)?;
    for url in [&ours.url, &theirs.url] {
        let answer = send(&Client::default(), url, samples(at)).map_err(failed)?;
        if answer.status / 100 != 2 {
            return Err(failed(answer.text()));
        }
    }
    Ok((ours, theirs))
}

/// What a program prints; fails when it does.
fn printed(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}\n{text}\n{errors}", output.status)))
}

fn equal(ours: &str, theirs: &str) -> Result<(), Failed> {
    if ours == theirs {
        return Ok(());
    }
    Err(failed(first_difference(ours, theirs)))
}

fn promtool_analyzes(peers: &Peers) -> Result<(), Failed> {
    let (directory, at) = (tempfile::tempdir()?, newest());
    let (ours, theirs) = pair(peers, directory.path(), at)?;
    let ask = |url: &str| {
        printed(
            Command::new(&peers.promtool)
                .args(["query", "analyze", "--type=histogram", "--match=lat_bucket"])
                .args(["--duration=2m", &format!("--time={at}"), "--server", url]),
        )
    };
    let answer = ask(&ours.url)?;
    assert!(answer.contains("lat_bucket"), "{answer}");
    equal(&answer, &ask(&theirs.url)?)
}

fn python_client(peers: &Peers, python: &Path) -> Result<(), Failed> {
    let (directory, at) = (tempfile::tempdir()?, newest());
    let (ours, theirs) = pair(peers, directory.path(), at)?;
    let script = directory.path().join("client.py");
    std::fs::write(&script, include_str!("prometheus_client.py"))?;
    let ask = |url: &str| {
        printed(
            Command::new(python)
                .arg(&script)
                .args([url, &at.to_string()]),
        )
    };
    let answer = ask(&ours.url)?;
    let (connected, answer) = answer.split_once('\n').ok_or("nothing printed")?;
    assert_eq!(connected, "connected: True", "{answer}");
    // Asks for the page at `/`, which packages of Prometheus may lack.
    let theirs = ask(&theirs.url)?;
    equal(answer, theirs.split_once('\n').map_or("", |(_, rest)| rest))
}

fn vmctl_takes_blocks(vmctl: &Path, victoria: &Path) -> Result<(), Failed> {
    let (directory, at) = (tempfile::tempdir()?, newest());
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let sent = send(&Client::default(), &server.url, samples(at)).map_err(failed)?;
    assert_eq!(sent.status, 204);
    let query = "sum by (__name__) (count_over_time({job=\"node\"}[1h]))";
    let ours = answer(&server.url, query, at)?;
    server.process.terminate();
    let out: PathBuf = directory.path().join("exported");
    let data = directory.path().join("data");
    printed(
        Command::new(tenbin())
            .args(["export", "prometheus"])
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--out={}", out.display())),
    )?;
    let port = free_port().map_err(failed)?;
    let url = format!("http://127.0.0.1:{port}");
    let mut target = Process::start(
        "victoria-metrics",
        Command::new(victoria)
            .arg(format!(
                "-storageDataPath={}",
                directory.path().join("vm").display()
            ))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}")),
        &directory.path().join("vm.log"),
    )
    .map_err(failed)?;
    let ready = target.wait_ready(&format!("{url}/health"), Duration::from_secs(30));
    ready.map_err(failed)?;
    printed(
        Command::new(vmctl)
            .args(["prometheus", "-s", "--disable-progress-bar"])
            .arg(format!("--prom-snapshot={}", out.display()))
            .arg(format!("--vm-addr={url}")),
    )?;
    let flushed = Client::default().get(&format!("{url}/internal/force_flush"));
    flushed.map_err(failed)?;
    equal(&ours, &answer(&url, query, at)?)
}

/// Metrics and values of an instant query, sorted.
fn answer(url: &str, query: &str, at: i64) -> Result<String, Failed> {
    let parameters = [("query", query), ("time", &at.to_string())];
    let url = format!("{url}/api/v1/query?{}", form(&parameters));
    let answer = Client::default().get(&url).map_err(failed)?.json();
    let list = answer["data"]["result"].as_array().cloned();
    let mut lines: Vec<String> = list
        .unwrap_or_default()
        .iter()
        .map(|one| format!("{} {}", one["metric"], one["value"][1]))
        .collect();
    lines.sort();
    assert!(!lines.is_empty(), "{answer}");
    Ok(lines.join("\n"))
}
