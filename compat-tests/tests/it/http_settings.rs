//! Configuration files, prefixes, listings: on the real server without peers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::process::{Tenbin, free_port};
use tenbin_compat_tests::raw::request;

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("http_settings::wrong_files_end_the_start", wrong_files),
        Trial::test("http_settings::routes_move_under_a_prefix", prefix),
        Trial::test("http_settings::notifications_come_live", live),
        Trial::test("http_settings::blocks_and_features_are_listed", listings),
    ]
}

pub(crate) fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(failed(what())) }
}

pub(crate) fn get(url: &str) -> Result<tenbin_compat_tests::http::Answer, Failed> {
    Client::default().get(url).map_err(failed)
}

/// The exit code and the output of a server that should not start.
fn run_to_end(directory: &Path, flags: &[String]) -> Result<(Option<i32>, String), Failed> {
    let output = Command::new(tenbin())
        .arg(format!(
            "--web.listen-address=127.0.0.1:{}",
            free_port().map_err(failed)?
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.join("data").display()
        ))
        .args(flags)
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), text))
}

fn wrong_files() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("x.yml");
    for (flag, text, says) in [
        ("config", "scrape_configs: []\n", "line 1"),
        ("config", "global:\n  nope: 1\n", "line 2"),
        ("config", "a: [", ""),
        ("web.config", "nope: 1\n", "line 1"),
        (
            "web.config",
            "tls_server_config:\n  cert_file: none.pem\n  key_file: none.pem\n",
            "none.pem",
        ),
        (
            "web.config",
            "tls_server_config: {cert: x, key: y, cipher_suites: [TLS_MAGIC]}\n",
            "TLS_MAGIC",
        ),
        ("web.config", "basic_auth_users: {bob: plain}\n", "bob"),
        ("web.config", "basic_auth_users: {}\n", "no user"),
        (
            "web.config",
            "http_server_config: {headers: {Server: x}}\n",
            "Server",
        ),
    ] {
        std::fs::write(&file, text)?;
        let flags = [format!("--{flag}.file={}", file.display())];
        let (code, output) = run_to_end(directory.path(), &flags)?;
        let is_named = output.contains(says) && output.contains("x.yml");
        check(code == Some(2) && is_named, || {
            format!("{text}: {code:?}\n{output}")
        })?;
    }
    let missing = ["--config.file=/nonexistent.yml".to_owned()];
    let (code, output) = run_to_end(directory.path(), &missing)?;
    check(code == Some(2) && output.contains("nonexistent"), || output)
}

fn prefix() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = ["--web.external-url=http://proxy.example/tenbin/"];
    let server = Tenbin::start_until(&tenbin(), directory.path(), &flags, |address| {
        request(address, "GET", "/tenbin/-/ready", &[], b"").is_ok_and(|a| a.status == 200)
    });
    let server = server.map_err(failed)?;
    let address = server.url.trim_start_matches("http://");
    for (target, status, location) in [
        ("/", 302, "/tenbin"),
        ("/tenbin", 302, "/tenbin/query"),
        ("/tenbin/", 302, "/tenbin/query"),
        ("/tenbin/graph?g0.expr=up", 302, "/tenbin/query?g0.expr=up"),
        ("/tenbin/query", 200, ""),
        ("/tenbin/metrics", 200, ""),
        ("/tenbin/api/v1/labels", 200, ""),
        ("/tenbin/api/v1/nope", 404, ""),
        ("/api/v1/labels", 404, ""),
        ("/-/ready", 404, ""),
        ("/tenbinx", 404, ""),
    ] {
        let answer = request(address, "GET", target, &[], b"").map_err(failed)?;
        let is_right = answer.status == status && answer.header("location") == location;
        check(is_right, || format!("{target}: {answer:?}"))?;
    }
    let metrics = get(&format!("{}/tenbin/metrics", server.url))?.text();
    check(metrics.contains("handler=\"/api/v1/labels\""), || {
        metrics.clone()
    })
}

fn live() -> Result<(), Failed> {
    use std::io::{BufRead, BufReader, Write};
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("tenbin.yml");
    std::fs::write(&file, "")?;
    let flag = format!("--config.file={}", file.display());
    let flags = [flag.as_str(), "--web.enable-lifecycle"];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let mut stream = std::net::TcpStream::connect(server.url.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /api/v1/notifications/live HTTP/1.1\r\nHost: a\r\n\r\n")?;
    std::fs::write(&file, "nope: 1\n")?;
    let reload = format!("{}/-/reload", server.url);
    Client::default().post(&reload, &[], &[]).map_err(failed)?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = |active: bool| -> Result<(), Failed> {
        for line in lines.by_ref() {
            let line = line?;
            let is_wanted = line.starts_with("data: ")
                && line.contains("Configuration reload has failed.")
                && line.contains(&format!("\"active\":{active}"));
            if is_wanted {
                return Ok(());
            }
        }
        Err(failed("the stream ended"))
    };
    next(true)?;
    std::fs::write(&file, "")?;
    Client::default().post(&reload, &[], &[]).map_err(failed)?;
    next(false)
}

fn listings() -> Result<(), Failed> {
    use tenbin_compat_tests::sender::{send, series};
    let directory = tempfile::tempdir()?;
    let flags = [
        "--web.enable-admin-api",
        "--storage.tsdb.retention.time=0",
        "--enable-feature=search-api",
    ];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let t = 1_700_000_000_000;
    let batch = vec![series(&[("__name__", "up")], &[(t, 1.0), (t + 1000, 2.0)])];
    send(&Client::default(), &server.url, batch).map_err(failed)?;
    let flush = format!("{}/api/v1/admin/tsdb/flush", server.url);
    let flushed = Client::default().post(&flush, &[], &[]).map_err(failed)?;
    check(flushed.status == 204, || flushed.text())?;
    let blocks = get(&format!("{}/api/v1/status/tsdb/blocks", server.url))?.json();
    let block = &blocks["data"]["blocks"][0];
    let is_right = block["minTime"] == t
        && block["maxTime"] == t + 1001
        && block["stats"]["numSamples"] == 2
        && block["stats"]["numSeries"] == 1;
    check(is_right, || blocks.to_string())?;
    let features = get(&format!("{}/api/v1/features", server.url))?.json();
    let functions = &features["data"]["promql_functions"];
    searches(&server)?;
    let is_right = functions["rate"] == true && functions["info"] == false;
    check(is_right && features["data"]["api"]["admin"] == true, || {
        features.to_string()
    })
}

fn searches(server: &Tenbin) -> Result<(), Failed> {
    let range = "start=1700000000&end=1700000001";
    for (target, status, body) in [
        (
            "metric_names?search[]=U&case_sensitive=false&include_score=true&",
            200,
            "{\"results\":[{\"name\":\"up\",\"score\":1}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "label_values?label=__name__&search[]=x&",
            200,
            "{\"results\":[]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "label_names?limit=1&",
            200,
            "{\"results\":[{\"name\":\"__name__\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "label_names?limit=0&",
            400,
            "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"invalid limit \\\"0\\\": must be a positive integer\"}",
        ),
        (
            "label_names?limit=10001&sort_by=x&",
            400,
            "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"limit 10001 exceeds the configured maximum (10000, see --web.search.max-limit)\"}",
        ),
        (
            "label_values?sort_by=x&",
            400,
            "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"invalid sort_by \\\"x\\\" for label_values: must be \\\"alpha\\\" or \\\"score\\\"\"}",
        ),
        (
            "label_values?",
            400,
            "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"missing required parameter \\\"label\\\"\"}",
        ),
        ("label_names?batch_size=0&", 400, ""),
    ] {
        let answer = get(&format!("{}/api/v1/search/{target}{range}", server.url))?;
        let is_right = answer.status == status && (body.is_empty() || answer.text() == body);
        check(is_right, || {
            format!("{target}: {} {}", answer.status, answer.text())
        })?;
    }
    let yaml = get(&format!("{}/api/v1/openapi.yaml", server.url))?;
    check(yaml.text().contains("/query_range"), || yaml.text())?;
    let metrics = "status/self_metrics?metric_name_pattern=prometheus_ready";
    let metrics = get(&format!("{}/api/v1/{metrics}", server.url))?.json();
    let value = &metrics["data"][0]["metric"][0]["gauge"]["value"];
    check(*value == 1.0, || metrics.to_string())
}
