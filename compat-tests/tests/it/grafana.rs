//! The dashboards under `docs/grafana`: every query is asked, as Grafana asks it, of a server that holds the metrics of
//! Tenbin itself and of node_exporter.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::{Process, Tenbin, free_port};
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::{failed, tenbin};

pub(crate) fn peerless_trials() -> Vec<Trial> {
    vec![Trial::test(
        "grafana::own_dashboard_has_data",
        own_dashboard,
    )]
}

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    vec![Trial::test("grafana::node_dashboard_has_data", move || {
        node_dashboard(&peers)
    })]
}

/// Queries that are empty where all is well, or on a machine without the thing.
const MAY_BE_EMPTY: [&str; 6] = [
    "prometheus_tsdb_retention_limit_bytes",
    "tenbin_tsdb_block_samples",
    "prometheus_engine_query_duration_seconds_sum",
    "deriv(node_filesystem_avail_bytes",
    "node_disk_",
    "node_network_",
];

/// The samples of a page in the text format, at each of the times.
fn scraped(page: &str, job: &str, times_ms: &[i64]) -> Result<Vec<TimeSeries>, String> {
    let mut all = Vec::new();
    for line in page
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let wrong = || format!("not understood: {line}");
        let (head, value) = line.rsplit_once(' ').ok_or_else(wrong)?;
        let value: f64 = value.parse().map_err(|_| wrong())?;
        let (name, rest) = head.split_once('{').unwrap_or((head, "}"));
        let mut labels = vec![
            ("__name__".to_owned(), name.to_owned()),
            ("instance".to_owned(), "localhost:1".to_owned()),
            ("job".to_owned(), job.to_owned()),
        ];
        let mut rest = rest.trim_end_matches('}');
        while let Some((label, after)) = rest.split_once("=\"") {
            let mut end = after.find('"').ok_or_else(wrong)?;
            while after[..end].ends_with('\\') {
                end += 1 + after[end + 1..].find('"').ok_or_else(wrong)?;
            }
            labels.push((label.to_owned(), after[..end].to_owned()));
            rest = after[end + 1..].trim_start_matches(',');
        }
        labels.sort();
        let labels: Vec<(&str, &str)> = labels
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let samples: Vec<(i64, f64)> = times_ms.iter().map(|t| (*t, value)).collect();
        all.push(series(&labels, &samples));
    }
    Ok(all)
}

fn own_dashboard() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    // Something of everything that is counted.
    send(&client, &server.url, vec![]).map_err(failed)?;
    let asked = client.get(&format!("{}/api/v1/query?query=1", server.url));
    asked.map_err(failed)?;
    let page = client
        .get(&format!("{}/metrics", server.url))
        .map_err(failed)?;
    check_dashboard(&server, "tenbin", &page.text())
}

fn node_dashboard(peers: &Peers) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let url = format!("127.0.0.1:{}", free_port().map_err(failed)?);
    let mut exporter = Process::start(
        "node_exporter",
        Command::new(&peers.node_exporter).arg(format!("--web.listen-address={url}")),
        &directory.path().join("node_exporter.log"),
    )
    .map_err(failed)?;
    let url = format!("http://{url}/metrics");
    exporter
        .wait_ready(&url, Duration::from_secs(20))
        .map_err(failed)?;
    let page = Client::default().get(&url).map_err(failed)?;
    check_dashboard(&server, "node-exporter", &page.text())
}

fn check_dashboard(server: &Tenbin, name: &str, page: &str) -> Result<(), Failed> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs() as i64;
    let times: Vec<i64> = (0..20).map(|i| (now - 15 * i) * 1000).rev().collect();
    let batch = scraped(page, "me", &times).map_err(failed)?;
    let stored = send(&Client::default(), &server.url, batch).map_err(failed)?;
    if stored.status != 204 {
        return Err(failed(stored.text()));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../docs/grafana/dashboards/{name}.json"));
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let mut queries = Vec::new();
    collect(&dashboard["panels"], &mut queries);
    if queries.len() < 20 {
        return Err(failed("the queries were not found"));
    }
    for query in &queries {
        ask(server, query, now)?;
    }
    for variable in dashboard["templating"]["list"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let Some(text) = variable["definition"].as_str() else {
            continue;
        };
        let inner = text
            .trim_start_matches("label_values(")
            .trim_end_matches(')');
        let (selector, label) = inner.rsplit_once(", ").ok_or_else(|| failed(text))?;
        let parameters = [("match[]", selector.replace("$job", "me"))];
        let parameters = parameters.each_ref().map(|(n, v)| (*n, v.as_str()));
        let form = tenbin_compat_tests::http::form(&parameters);
        let url = format!("{}/api/v1/label/{label}/values?{form}", server.url);
        let answer = Client::default().get(&url).map_err(failed)?;
        if answer.json()["data"]
            .as_array()
            .is_none_or(|list| list.len() != 1)
        {
            return Err(failed(format!("{text}: {}", answer.text())));
        }
    }
    Ok(())
}

fn collect(panels: &Value, queries: &mut Vec<String>) {
    for panel in panels.as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.extend(target["expr"].as_str().map(str::to_owned));
        }
        collect(&panel["panels"], queries);
    }
}

/// As a range query over five minutes, with Grafana's variables filled in.
fn ask(server: &Tenbin, query: &str, now: i64) -> Result<(), Failed> {
    let filled = query
        .replace("$__rate_interval", "1m0s")
        .replace("$job", "me")
        .replace("$instance", ".*");
    let (start, end) = ((now - 120).to_string(), now.to_string());
    let parameters = [
        ("query", filled.as_str()),
        ("start", &start),
        ("end", &end),
        ("step", "15"),
    ];
    let url = format!("{}/api/v1/query_range", server.url);
    let answer = Client::default()
        .post_form(&url, &parameters)
        .map_err(failed)?;
    let result = &answer.json()["data"]["result"];
    let has_data = result.as_array().is_some_and(|series| !series.is_empty());
    let may_be_empty = MAY_BE_EMPTY.iter().any(|part| query.contains(part));
    if answer.status != 200 || !(has_data || may_be_empty) {
        return Err(failed(format!("{filled}: {}", answer.text())));
    }
    Ok(())
}
