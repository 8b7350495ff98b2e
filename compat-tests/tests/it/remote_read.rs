//! Remote read: alone for statuses and limits, beside a real Prometheus 3.5 for content. A Prometheus
//! that has the data and one that reads it from Tenbin answer the same; both give the same samples to
//! a client of remote read; VictoriaMetrics' vmctl imports through it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::dataset::{SCRAPES, START_MS, floats, histograms};
use tenbin_compat_tests::generator::Generator;
use tenbin_compat_tests::histograms::Span;
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::{Peers, optional};
use tenbin_compat_tests::process::{Process, Tenbin, free_port};
use tenbin_compat_tests::prometheus::Prometheus;
use tenbin_compat_tests::reader::{ReadRequest, ReadResponse, frames, query, read, samples};
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::{failed, tenbin};

pub(crate) fn peerless_trials() -> Vec<Trial> {
    vec![Trial::test("remote_read::statuses_and_limits", limits)]
}

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let (first, second) = (peers.clone(), peers.clone());
    let mut trials = vec![
        Trial::test("remote_read::prometheus_reads_floats", move || {
            prometheus_reads(&first, floats(3), Generator::new(3))
        }),
        Trial::test("remote_read::prometheus_reads_histograms", move || {
            prometheus_reads(&second, histograms(3), Generator::of_histograms(3))
        }),
    ];
    let name = "remote_read::vmctl_imports";
    trials.push(match (optional("vmctl"), optional("victoria-metrics")) {
        (Some(vmctl), Some(victoria)) => {
            Trial::test(name, move || vmctl_imports(&vmctl, &victoria))
        }
        _ => Trial::test(name, || Ok(()))
            .with_kind("skipped: no vmctl")
            .with_ignored_flag(true),
    });
    trials
}

const END_MS: i64 = START_MS + (SCRAPES - 1) * 15_000;

fn fill(client: &Client, urls: &[&str], data: Vec<Vec<TimeSeries>>) -> Result<(), Failed> {
    for batch in data {
        for url in urls {
            let answer = send(client, url, batch.clone()).map_err(failed)?;
            if answer.status != 204 {
                return Err(failed(format!(
                    "{url}: {} {}",
                    answer.status,
                    answer.text()
                )));
            }
        }
    }
    Ok(())
}

fn everything() -> ReadRequest {
    ReadRequest {
        queries: vec![query(START_MS, END_MS, &[(2, "__name__", ".+")])],
        accepted_response_types: vec![],
    }
}

/// The filled buckets of one side by index.
fn filled(spans: &[Span], deltas: &[i64], counts: &[f64]) -> Vec<(i32, f64)> {
    let mut before = 0;
    let absolute = deltas.iter().map(|delta| {
        before += delta;
        before as f64
    });
    let mut counts = absolute.chain(counts.iter().copied());
    let mut next = 0;
    let mut buckets = Vec::new();
    for span in spans {
        next += span.offset;
        for _ in 0..span.length {
            buckets.push((next, counts.next().unwrap_or(f64::NAN)));
            next += 1;
        }
    }
    buckets.retain(|(_, count)| *count != 0.0);
    buckets
}

/// As text. Which empty buckets a histogram has and the hints on counter resets depend on where a store
/// cuts chunks; Prometheus 3.5 forgets the bounds of custom buckets in this form of answer.
fn comparable(response: &ReadResponse) -> Vec<String> {
    let all = response.results.iter().flat_map(|r| &r.timeseries);
    let mut texts: Vec<String> = all
        .map(|series| {
            let mut text = format!("{:?} {:?}", series.labels, series.samples);
            for h in &series.histograms {
                let positive = filled(&h.positive_spans, &h.positive_deltas, &h.positive_counts);
                let negative = filled(&h.negative_spans, &h.negative_deltas, &h.negative_counts);
                let counts = (
                    h.count_int,
                    h.count_float,
                    h.zero_count_int,
                    h.zero_count_float,
                );
                let shape = (h.schema, h.zero_threshold, h.sum, h.reset_hint == 3);
                let time = h.timestamp;
                let _ = write!(
                    text,
                    "\n{time} {counts:?} {shape:?} {positive:?} {negative:?}"
                );
            }
            text
        })
        .collect();
    texts.sort();
    texts
}

fn prometheus_reads(
    peers: &Peers,
    data: Vec<Vec<TimeSeries>>,
    mut generator: Generator,
) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = ["--storage.tsdb.retention.time=0"];
    let mut server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let features = ["--enable-feature=promql-experimental-functions,native-histograms"];
    let start = |name, config: &str| {
        Prometheus::start(peers, directory.path(), name, config, &features).map_err(failed)
    };
    let direct = start("direct", "global: {}\n")?;
    let config = format!(
        "remote_read:\n- url: {}/api/v1/read\n  read_recent: true\n",
        server.url
    );
    let through = start("through", &config)?;
    let client = Client::default();
    fill(&client, &[&server.url, &direct.url], data)?;
    for round in 0..2 {
        let [ours, theirs] = [&server.url, &direct.url].map(|url| {
            let answer = read(&client, url, &everything())?;
            assert_eq!(answer.content_type, "application/x-protobuf");
            samples(&answer).map(|response| comparable(&response))
        });
        let (ours, theirs) = (ours.map_err(failed)?, theirs.map_err(failed)?);
        assert!(ours.len() > 20, "{} series", ours.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if ours != theirs {
                return Err(failed(first_difference(ours, theirs)));
            }
        }
        assert_eq!(ours.len(), theirs.len());
        compare(&client, &mut generator, &through.url, &direct.url)?;
        if round == 0 {
            // The same from blocks, after a restart.
            let flush = format!("{}/api/v1/admin/tsdb/flush", server.url);
            client.post(&flush, &[], b"").map_err(failed)?;
            server.restart().map_err(failed)?;
        }
    }
    Ok(())
}

/// Asks two Prometheus of the same version the same.
fn compare(
    client: &Client,
    generator: &mut Generator,
    through: &str,
    direct: &str,
) -> Result<(), Failed> {
    let (start, end) = (
        (START_MS / 1000).to_string(),
        (END_MS / 1000 - 30).to_string(),
    );
    let mut queries: Vec<String> = vec!["{__name__=~\".+\"}[10m]".into()];
    queries.extend((0..120).map(|_| generator.query()));
    let (mut with_data, mut differences) = (0, Vec::new());
    for query in &queries {
        let instant = [("query", query.as_str()), ("time", &end)];
        let range = [
            ("query", query.as_str()),
            ("start", &start),
            ("end", &end),
            ("step", "41"),
        ];
        for (path, parameters) in [("query", &instant[..]), ("query_range", &range[..])] {
            let ask = |url: &str| {
                let url = format!("{url}/api/v1/{path}?{}", form(parameters));
                client.get(&url).map(|answer| normalised(&answer))
            };
            let (ours, theirs) = (ask(through).map_err(failed)?, ask(direct).map_err(failed)?);
            with_data += usize::from(theirs.contains("\"metric\""));
            // Which of several errors or warnings is named depends on the order of series.
            let refused = theirs.starts_with("422") && ours.starts_with("422");
            // Times NaN even empty buckets count, and which of those there are is each store's own.
            let either = refused || query.to_lowercase().contains("nan");
            if !either && !same(&without_notes(&ours), &without_notes(&theirs)) {
                differences.push(format!(
                    "{path} {query}\n{}",
                    first_difference(&ours, &theirs)
                ));
            }
        }
    }
    if with_data < queries.len() / 2 {
        return Err(failed(format!("only {with_data} answers have data")));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let all = differences.len();
    differences.truncate(8);
    Err(failed(format!(
        "{all} answers differ:\n{}",
        differences.join("\n\n")
    )))
}

fn without_notes(answer: &str) -> String {
    let Some((head, body)) = answer.split_once('\n') else {
        return answer.to_owned();
    };
    let Ok(mut body) = serde_json::from_str::<serde_json::Value>(body) else {
        return answer.to_owned();
    };
    if let Some(fields) = body.as_object_mut() {
        fields.remove("warnings");
        fields.remove("infos");
    }
    format!("{head}\n{body}")
}

fn vmctl_imports(vmctl: &Path, victoria: &Path) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = ["--storage.tsdb.retention.time=0"];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let client = Client::default();
    fill(&client, &[&server.url], floats(5))?;
    let port = free_port().map_err(failed)?;
    let url = format!("http://127.0.0.1:{port}");
    let mut target = Process::start(
        "victoria-metrics",
        Command::new(victoria)
            .arg(format!(
                "-storageDataPath={}",
                directory.path().join("vm").display()
            ))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg("-retentionPeriod=100y"),
        &directory.path().join("vm.log"),
    )
    .map_err(failed)?;
    let ready = target.wait_ready(&format!("{url}/health"), Duration::from_secs(30));
    ready.map_err(failed)?;
    for stream in ["false", "true"] {
        let imported = Command::new(vmctl)
            .args(["remote-read", "-s", "--disable-progress-bar"])
            .arg(format!("--remote-read-src-addr={}", server.url))
            .arg("--remote-read-filter-time-start=2023-11-14T00:00:00Z")
            .arg("--remote-read-filter-time-end=2023-11-15T00:00:00Z")
            .arg("--remote-read-step-interval=hour")
            .arg(format!("--remote-read-use-stream={stream}"))
            .arg(format!("--vm-addr={url}"))
            .arg(format!("--vm-extra-label=stream={stream}"))
            .output()?;
        let output = String::from_utf8_lossy(&imported.stdout).into_owned()
            + &String::from_utf8_lossy(&imported.stderr);
        if !imported.status.success() {
            return Err(failed(output));
        }
        client
            .get(&format!("{url}/internal/force_flush"))
            .map_err(failed)?;
        let time = (END_MS / 1000).to_string();
        let counts = |url: &str, selector: &str| {
            let query = format!("count_over_time({selector}[1h])");
            let parameters = [("query", query.as_str()), ("time", &time)];
            let url = format!("{url}/api/v1/query?{}", form(&parameters));
            let answer = client.get(&url).map_err(failed)?.json();
            let list = answer["data"]["result"].as_array().cloned();
            let list = list.unwrap_or_default();
            let mut counts: Vec<String> = list.iter().map(|v| v["value"][1].to_string()).collect();
            counts.sort();
            Ok::<_, Failed>(counts)
        };
        let ours = counts(&server.url, "requests_total")?;
        let theirs = counts(&url, &format!("requests_total{{stream=\"{stream}\"}}"))?;
        assert!(ours.len() > 3, "{ours:?}");
        assert_eq!(ours, theirs, "{output}");
    }
    Ok(())
}

fn limits() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = [
        "--storage.tsdb.retention.time=0",
        "--storage.remote.read-sample-limit=500",
        "--storage.remote.read-max-bytes-in-frame=300",
    ];
    let server = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let client = Client::default();
    let times = |count: i64| -> Vec<(i64, f64)> {
        (0..count).map(|i| (START_MS + i, i as f64 * 1.1)).collect()
    };
    let data = vec![
        series(&[("__name__", "long"), ("job", "x")], &times(600)),
        series(&[("__name__", "short"), ("job", "x")], &times(3)),
    ];
    fill(&client, &[&server.url], vec![data])?;
    let ask = |query, accepted: &[i32]| {
        let request = ReadRequest {
            queries: vec![query],
            accepted_response_types: accepted.to_vec(),
        };
        read(&client, &server.url, &request).map_err(failed)
    };
    let expect = |answer: tenbin_compat_tests::http::Answer, status: u16, text: &str| {
        assert_eq!((answer.status, answer.text().as_str()), (status, text));
    };
    let all = || query(START_MS, START_MS + 10_000, &[(0, "job", "x")]);
    expect(ask(all(), &[])?, 400, "exceeded sample limit (500)\n");
    expect(
        ask(all(), &[5])?,
        400,
        "server does not support any of the requested response types: [5]; \
         supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]\n",
    );
    let bad = query(0, 1, &[(2, "job", "(")]);
    assert_eq!(ask(bad, &[1])?.status, 500);
    let url = format!("{}/api/v1/read", server.url);
    let garbage = client.post(&url, &[], b"garbage").map_err(failed)?;
    assert_eq!(garbage.status, 400);
    assert_eq!(client.get(&url).map_err(failed)?.status, 405);
    // Both ends of a range are inside.
    let three = samples(&ask(
        query(START_MS, START_MS + 2, &[(0, "__name__", "long")]),
        &[0],
    )?);
    assert_eq!(
        three.map_err(failed)?.results[0].timeseries[0]
            .samples
            .len(),
        3
    );
    let none = samples(&ask(query(0, 1, &[(0, "job", "x")]), &[0])?).map_err(failed)?;
    assert_eq!(
        (none.results.len(), none.results[0].timeseries.len()),
        (1, 0)
    );
    let answer = ask(all(), &[1, 0])?;
    assert_eq!(
        answer.content_type,
        "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    );
    let frames = frames(&answer).map_err(failed)?;
    // 600 samples are 5 chunks, each above the limit of a frame; the short series has one.
    assert_eq!(frames.len(), 6);
    let spans: Vec<(i64, i64)> = frames
        .iter()
        .map(|(_, frame)| &frame.chunked_series[0].chunks[0])
        .map(|chunk| (chunk.min_time_ms - START_MS, chunk.max_time_ms - START_MS))
        .collect();
    assert_eq!(
        spans,
        [
            (0, 119),
            (120, 239),
            (240, 359),
            (360, 479),
            (480, 599),
            (0, 2)
        ]
    );
    Ok(())
}
