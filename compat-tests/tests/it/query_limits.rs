//! Heavy queries against the real server: they end, and free their slot, when the client goes away,
//! when they are out of time, when they hold too much, and when the server stops.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender::{send, series};

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "query_limits::queries_end_with_their_client",
            ended_with_client,
        ),
        Trial::test("query_limits::time_and_memory_are_limited", limited),
        Trial::test("query_limits::a_stop_ends_queries", ended_by_stop),
    ]
}

const START_MS: i64 = 1_700_000_000_000;
const SERIES: usize = 200;
const SAMPLES: i64 = 2_000;
/// A query ends so soon after it was told to. Work between two looks at the switch takes several
/// times as long in unoptimised code.
const SOON: Duration = Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 100 });

/// Queries of which each keeps the server busy in its own way for longer than the test waits.
const HEAVY: &[(&str, &str)] = &[
    ("long windows", "quantile_over_time(0.5, m[30000s])"),
    (
        "one huge window",
        "sum(stddev_over_time(m{n=\"1\"}[3000s:10ms]))",
    ),
    ("an inner query", "max_over_time(sum(m)[3000s:10ms])"),
    ("a join", "(m * on (n) m) * on (n) (m * on (n) m)"),
    ("sorting", "quantile(0.5, m) + on () topk(3, m)"),
    ("writing", "m"),
];

fn start(flags: &[&str]) -> Result<(Tenbin, tempfile::TempDir), Failed> {
    let directory = tempfile::tempdir()?;
    let mut all = vec!["--storage.tsdb.retention.time=0"];
    all.extend_from_slice(flags);
    let server = Tenbin::start(&tenbin(), directory.path(), &all).map_err(failed)?;
    let client = Client::default();
    for first in (0..SAMPLES).step_by(100) {
        let batch = (0..SERIES).map(|n| {
            let samples: Vec<(i64, f64)> = (first..first + 100)
                .map(|at| {
                    (
                        START_MS + at * 15_000,
                        (at * 7 % 1009) as f64 + n as f64 / 3.0,
                    )
                })
                .collect();
            series(&[("__name__", "m"), ("n", &n.to_string())], &samples)
        });
        let answer = send(&client, &server.url, batch.collect()).map_err(failed)?;
        if answer.status != 204 {
            return Err(failed(answer.text()));
        }
    }
    Ok((server, directory))
}

/// The parameters of a range query of 11,000 steps.
fn parameters(query: &str) -> String {
    let (start, end) = ("1700000000", "1700029999");
    form(&[
        ("query", query),
        ("start", start),
        ("end", end),
        ("step", "2.75"),
    ])
}

/// Sends a query and returns the connection without waiting for the answer.
fn ask(server: &Tenbin, query: &str) -> Result<TcpStream, Failed> {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    let parameters = parameters(query);
    let request =
        format!("GET /api/v1/query_range?{parameters} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// How many queries the server says it runs.
fn running(client: &Client, server: &Tenbin) -> Result<u64, Failed> {
    let text = client
        .get(&format!("{}/metrics", server.url))
        .map_err(failed)?
        .text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("prometheus_engine_queries "));
    line.and_then(|count| count.parse().ok())
        .ok_or_else(|| failed("no count of queries"))
}

fn wait_until(
    client: &Client,
    server: &Tenbin,
    count: u64,
    within: Duration,
) -> Result<Duration, Failed> {
    let started = Instant::now();
    while started.elapsed() < within {
        if running(client, server)? == count {
            return Ok(started.elapsed());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(failed(format!("not {count} queries after {within:?}")))
}

/// Asks a heavy query, goes away in the middle of it, and says how long it ran on.
fn time_to_free(client: &Client, server: &Tenbin, query: &str) -> Result<Duration, Failed> {
    let stream = ask(server, query)?;
    wait_until(client, server, 1, Duration::from_secs(10))?;
    std::thread::sleep(Duration::from_millis(150));
    if running(client, server)? != 1 {
        return Err(failed(format!("{query} is not heavy enough")));
    }
    drop(stream);
    wait_until(client, server, 0, Duration::from_secs(30))
}

fn ended_with_client() -> Result<(), Failed> {
    let (server, _directory) = start(&["--query.max-concurrency=1", "--query.max-memory=0"])?;
    let client = Client::default();
    let mut late = Vec::new();
    for (name, query) in HEAVY {
        let mut best = Duration::MAX;
        // On a busy machine a thread may have to wait for its turn.
        for _ in 0..3 {
            best = best.min(time_to_free(&client, &server, query)?);
            if best < SOON {
                break;
            }
        }
        eprintln!("client gone, {name}: slot free after {best:?}");
        if best >= SOON {
            late.push(format!("{name}: {best:?}"));
        }
    }
    if late.is_empty() {
        return Ok(());
    }
    Err(failed(late.join("; ")))
}

fn limited() -> Result<(), Failed> {
    let (server, _directory) = start(&["--query.timeout=300ms"])?;
    let client = Client::default();
    let url = format!("{}/api/v1/query_range", server.url);
    let expected = r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    let (_, query) = HEAVY[2];
    let started = Instant::now();
    let answer = client.get(&format!("{url}?{}", parameters(query)));
    let answer = answer.map_err(failed)?;
    eprintln!("timeout of 300 ms: answer after {:?}", started.elapsed());
    if answer.status != 503 || answer.text().trim() != expected {
        return Err(failed(format!("{} {}", answer.status, answer.text())));
    }
    drop(server);
    let (server, _directory) = start(&["--query.max-memory=20000000"])?;
    let url = format!("{}/api/v1/query_range", server.url);
    let expected = r#"{"status":"error","errorType":"execution","error":"query would hold more than 20000000 bytes in memory (flag --query.max-memory)"}"#;
    for query in ["m{n=~\"1.*\"}", "m * on (n) m"] {
        let form = form(&[
            ("query", query),
            ("start", "1700000000"),
            ("end", "1700029999"),
            ("step", "2.75"),
        ]);
        let answer = client.get(&format!("{url}?{form}")).map_err(failed)?;
        let text = answer.text();
        if answer.status != 422 || text.trim() != expected {
            return Err(failed(format!("{query}: {} {text}", answer.status)));
        }
    }
    Ok(())
}

fn ended_by_stop() -> Result<(), Failed> {
    let (mut server, _directory) = start(&[])?;
    let client = Client::default();
    let streams = [ask(&server, HEAVY[0].1)?, ask(&server, HEAVY[2].1)?];
    wait_until(&client, &server, 2, Duration::from_secs(10))?;
    let started = Instant::now();
    let success = server.process.terminate();
    eprintln!("stopped with two queries after {:?}", started.elapsed());
    drop(streams);
    // Without the cancellation the queries would run for minutes, and the drain for 30 s.
    if success && started.elapsed() < Duration::from_secs(5) {
        return Ok(());
    }
    Err(failed(format!("stop took {:?}", started.elapsed())))
}
