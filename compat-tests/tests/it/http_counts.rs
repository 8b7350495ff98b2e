//! Requests that come too slowly, and what `/metrics` says about requests, the log and retention.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender::{send, series};

use super::http_settings::{check, get};
use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("http_counts::slow_requests_are_cut_off", slow),
        Trial::test("http_counts::answers_and_the_store_are_counted", counted),
    ]
}

/// What comes back, and how long it took until the server closed.
fn exchange(address: &str, parts: &[&str]) -> Result<(String, Duration), Failed> {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    for part in parts {
        stream.write_all(part.as_bytes())?;
        std::thread::sleep(Duration::from_millis(300));
    }
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut bytes);
    Ok((
        String::from_utf8_lossy(&bytes).into_owned(),
        started.elapsed(),
    ))
}

fn slow() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = ["--web.read-timeout=2s"];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let address = server.url.trim_start_matches("http://");
    let in_time = Duration::from_millis(1500)..Duration::from_secs(10);
    let ready = "GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n";
    for (what, parts, answer) in [
        ("nothing", &[""][..], ""),
        ("half a head", &["GET /-/ready HTTP/1.1\r\nHo"], ""),
        ("an idle connection", &[ready], "HTTP/1.1 200 OK"),
        (
            "half a second head",
            &[ready, "GET /-/ready"],
            "HTTP/1.1 200 OK",
        ),
        (
            "half a form",
            &[
                "POST /api/v1/query HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\
               Content-Type: application/x-www-form-urlencoded\r\n\r\nque",
            ],
            "HTTP/1.1 503 Service Unavailable",
        ),
        (
            "half a write",
            &[
                "POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\
               Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\r\nab",
            ],
            "HTTP/1.1 503 Service Unavailable",
        ),
    ] {
        let (text, took) = exchange(address, parts)?;
        let is_right = text.starts_with(answer) && (answer.is_empty() == text.is_empty());
        check(is_right && in_time.contains(&took), || {
            format!("{what}: after {took:?}: {text:?}")
        })?;
        let names_the_flag = text.contains("2 s (flag --web.read-timeout)");
        check(answer.contains("503") == names_the_flag, || text.clone())?;
    }
    // Slow is not late.
    let (text, _) = exchange(
        address,
        &[
            "POST /api/v1/query HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nConnection: close\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n",
            "query",
            "=1",
        ],
    )?;
    check(text.starts_with("HTTP/1.1 200 OK"), || text.clone())
}

fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
}

fn counted() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = [
        "--web.enable-admin-api",
        "--storage.tsdb.retention.size=1KB",
    ];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let t = 1_700_000_000_000;
    let batch = vec![series(&[("__name__", "up")], &[(t, 1.0)])];
    send(&Client::default(), &server.url, batch).map_err(failed)?;
    let flush = format!("{}/api/v1/admin/tsdb/flush", server.url);
    Client::default().post(&flush, &[], &[]).map_err(failed)?;
    let healthy = get(&format!("{}/-/healthy", server.url))?;
    let metrics = || Ok::<_, Failed>(get(&format!("{}/metrics", server.url))?.text());
    metrics()?;
    let text = metrics()?;
    let size = "prometheus_http_response_size_bytes";
    for (name, expected) in [
        (
            format!("{size}_bucket{{handler=\"/-/healthy\",le=\"100\"}}"),
            1.0,
        ),
        (
            format!("{size}_bucket{{handler=\"/-/healthy\",le=\"1e+09\"}}"),
            1.0,
        ),
        (
            format!("{size}_sum{{handler=\"/-/healthy\"}}"),
            healthy.text().len() as f64,
        ),
        (
            format!("{size}_bucket{{handler=\"/metrics\",le=\"10000\"}}"),
            0.0,
        ),
        (format!("{size}_count{{handler=\"/metrics\"}}"), 1.0),
        (
            "prometheus_http_requests_total{handler=\"/-/healthy\",code=\"200\"}".into(),
            1.0,
        ),
        ("prometheus_tsdb_head_truncations_total".into(), 1.0),
        ("prometheus_tsdb_wal_truncations_failed_total".into(), 0.0),
        ("prometheus_tsdb_wal_writes_failed_total".into(), 0.0),
        ("prometheus_tsdb_retention_limit_bytes".into(), 1024.0),
        ("prometheus_tsdb_time_retentions_total".into(), 0.0),
    ] {
        check(value(&text, &name) == Some(expected), || {
            format!("{name}\n{text}")
        })?;
    }
    for name in [
        "prometheus_tsdb_wal_fsync_duration_seconds_count",
        "prometheus_tsdb_wal_fsync_duration_seconds_sum",
        "prometheus_tsdb_wal_record_parts_bytes_written_total",
        "prometheus_tsdb_wal_segment_current",
    ] {
        check(value(&text, name) > Some(0.0), || format!("{name}\n{text}"))?;
    }
    Ok(())
}
