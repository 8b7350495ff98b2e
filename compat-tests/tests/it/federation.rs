//! Federation beside a real Prometheus 3.5 that has the same data: the bytes of `/federate` are the
//! same in every format and escaping, and a Prometheus that federates from both gets the same.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::answers::first_difference;
use tenbin_compat_tests::histograms::{CUSTOM, Shape, histogram, stale};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::prometheus::Prometheus;
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::{failed, tenbin};

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    vec![Trial::test(
        "federation::bytes_are_those_of_prometheus",
        move || federation(&peers),
    )]
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

/// Floats with odd values, names and labels; histograms of all kinds; stale and old series.
fn data(now: i64) -> Vec<TimeSeries> {
    let stale_nan = f64::from_bits(0x7ff0_0000_0000_0002);
    let one = |labels: &[(&str, &str)], value: f64| series(labels, &[(now - 20_000, value)]);
    let mut all = vec![
        series(
            &[("__name__", "up"), ("instance", "a:1"), ("job", "x")],
            &[(now - 60_000, 0.0), (now - 30_000, 1.0)],
        ),
        one(&[("__name__", "up"), ("job", "no_instance")], -0.0),
        one(&[("__name__", "up"), ("Zone", "upper"), ("job", "y")], 1e6),
        one(
            &[("__name__", "bytes"), ("l", "quote\" back\\slash\nline")],
            12_345_678.0,
        ),
        one(&[("__name__", "bytes"), ("l", "small")], 1e-7),
        one(
            &[
                ("__name__", "odd.name"),
                ("odd.label", "\u{e9}"),
                ("plain", "1"),
            ],
            f64::INFINITY,
        ),
        one(&[("__name__", "odd name 2")], f64::NAN),
        one(&[("__name__", "under_score.dot")], -1.5),
        series(
            &[("__name__", "gone")],
            &[(now - 30_000, 1.0), (now - 20_000, stale_nan)],
        ),
        series(&[("__name__", "old")], &[(now - 400_000, 1.0)]),
    ];
    let counts = [3, 0, 7, 1];
    let shape = Shape {
        schema: 2,
        first: -1,
        positive: &counts,
        negative: &[2],
        zero: 4,
        float: false,
        gauge: false,
        bounds: &[],
    };
    let custom = Shape {
        schema: CUSTOM,
        first: 0,
        negative: &[],
        zero: 0,
        bounds: &[0.1, 0.5, 1_000_000.0],
        ..shape
    };
    let gauge = Shape {
        gauge: true,
        ..shape
    };
    let float = Shape {
        float: true,
        ..shape
    };
    for (name, shape) in [
        ("hist", shape),
        ("hist_custom", custom),
        ("hist_float", float),
        ("hist_gauge", gauge),
    ] {
        let mut made = series(&[("__name__", name), ("instance", "h")], &[]);
        made.histograms.push(histogram(now - 20_000, &shape));
        all.push(made);
    }
    let mut gone = series(&[("__name__", "hist_gone")], &[]);
    gone.histograms.push(histogram(now - 40_000, &shape));
    gone.histograms.push(stale(now - 20_000));
    all.push(gone);
    // One name with floats and histograms.
    let mut mixed = series(&[("__name__", "mixed"), ("instance", "b")], &[]);
    mixed.histograms.push(histogram(now - 20_000, &shape));
    all.push(series(
        &[("__name__", "mixed"), ("instance", "a")],
        &[(now - 20_000, 5.0)],
    ));
    all.push(mixed);
    all.push(series(
        &[("__name__", "mixed"), ("instance", "c")],
        &[(now - 20_000, 6.0)],
    ));
    all
}

const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

fn compare(client: &Client, urls: [&str; 2]) -> Result<(), Failed> {
    let mut accepts = vec![String::new(), "*/*".into(), "text/html".into()];
    accepts.push("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1".into());
    for escaping in ["allow-utf-8", "underscores", "dots", "values", "unheard"] {
        accepts.push(format!("text/plain;version=0.0.4;escaping={escaping}"));
        accepts.push(format!("{PROTOBUF};escaping={escaping}"));
    }
    let selections: [&[(&str, &str)]; 6] = [
        &[("match[]", "{__name__=~\".+\", __name__!=\"hist_custom\"}")],
        &[
            ("match[]", "up"),
            ("match[]", "{__name__=~\"u.*|hist_[fg].*\"}"),
        ],
        &[("match[]", "{\"odd.name\"}")],
        &[("match[]", "nothing")],
        &[],
        &[("match[]", "up{")],
    ];
    let (mut seen, mut differences) = (0, Vec::new());
    for accept in &accepts {
        for selection in selections {
            let [ours, theirs] = urls.map(|url| {
                let url = format!("{url}/federate?{}", form(selection));
                client.get_with(&url, &[("Accept", accept)])
            });
            let (ours, theirs) = (ours.map_err(failed)?, theirs.map_err(failed)?);
            seen += usize::from(theirs.status == 200 && theirs.body.len() > 100);
            let head =
                |a: &tenbin_compat_tests::http::Answer| format!("{} {}", a.status, a.content_type);
            if head(&ours) != head(&theirs) || ours.body != theirs.body {
                differences.push(format!(
                    "{accept} {selection:?}\n{}\n{}\n{}",
                    head(&ours),
                    head(&theirs),
                    first_difference(&ours.text(), &theirs.text())
                ));
            }
        }
    }
    assert!(seen >= 30, "{seen} answers with content");
    if differences.is_empty() {
        return Ok(());
    }
    let all = differences.len();
    differences.truncate(5);
    Err(failed(format!(
        "{all} answers differ:\n{}",
        differences.join("\n\n")
    )))
}

fn federation(peers: &Peers) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    // Labels of the whole server go onto series that have none of the name.
    let config = "global: {external_labels: {dc: a, job: nobody}}\n";
    let file = directory.path().join("tenbin.yml");
    std::fs::write(&file, config)?;
    let flag = format!("--config.file={}", file.display());
    let server = Tenbin::start(&tenbin(), directory.path(), &[&flag]).map_err(failed)?;
    let features = ["--enable-feature=native-histograms"];
    let start = |name, config: &str| {
        Prometheus::start(peers, directory.path(), name, config, &features).map_err(failed)
    };
    let source = start("source", config)?;
    let client = Client::default();
    let now = now_ms();
    for url in [&server.url, &source.url] {
        let answer = send(&client, url, data(now)).map_err(failed)?;
        assert_eq!(answer.status, 204, "{url}: {}", answer.text());
    }
    compare(&client, [&server.url, &source.url])?;
    // Histograms with custom buckets go out as classic ones since 3.14; 3.5 leaves them out of text.
    let custom = format!(
        "{}/federate?{}",
        server.url,
        form(&[("match[]", "hist_custom")])
    );
    let custom = client.get(&custom).map_err(failed)?.text();
    let lines: Vec<&str> = custom
        .lines()
        .filter_map(|l| l.rsplit_once(' ').map(|l| l.0))
        .collect();
    assert_eq!(
        lines,
        [
            "# TYPE hist_custom",
            "hist_custom_bucket{instance=\"h\",dc=\"a\",job=\"nobody\",le=\"0.1\"} 3",
            "hist_custom_bucket{instance=\"h\",dc=\"a\",job=\"nobody\",le=\"0.5\"} 3",
            "hist_custom_bucket{instance=\"h\",dc=\"a\",job=\"nobody\",le=\"1e+06\"} 10",
            "hist_custom_bucket{instance=\"h\",dc=\"a\",job=\"nobody\",le=\"+Inf\"} 11",
            "hist_custom_sum{instance=\"h\",dc=\"a\",job=\"nobody\"} 8.25",
            "hist_custom_count{instance=\"h\",dc=\"a\",job=\"nobody\"} 11",
        ]
    );
    let packed = [("Accept-Encoding", "gzip")];
    let url = format!("{}/federate?match[]=up", server.url).replace("[]", "%5B%5D");
    assert_eq!(client.get_with(&url, &packed).map_err(failed)?.status, 200);
    // Another Prometheus gets the same from both.
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, scrape_protocols: [PrometheusProto]}}\n\
         scrape_configs:\n\
         - job_name: tenbin\n  honor_labels: true\n  metrics_path: /federate\n  \
         params: {{'match[]': ['{{__name__=~\".+\", __name__!=\"hist_custom\"}}']}}\n  \
         static_configs: [{{targets: ['{}'], labels: {{from: t}}}}]\n\
         - job_name: prometheus\n  honor_labels: true\n  metrics_path: /federate\n  \
         params: {{'match[]': ['{{__name__=~\".+\", __name__!=\"hist_custom\"}}']}}\n  \
         static_configs: [{{targets: ['{}'], labels: {{from: p}}}}]\n",
        host(&server.url),
        host(&source.url)
    );
    let global = start("global", &config)?;
    let ask = |query: &str| {
        let url = format!("{}/api/v1/query?{}", global.url, form(&[("query", query)]));
        client
            .get(&url)
            .map(|answer| answer.json()["data"]["result"].clone())
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let get = |from: &str| ask(&format!("{{__name__!~\"scrape_.*|up\", from=\"{from}\"}}"));
        let texts = ["t", "p"].map(|from| {
            let list = get(from).map(|list| list.as_array().cloned().unwrap_or_default());
            let list = list.unwrap_or_default().into_iter().map(|mut one| {
                for own in ["from", "job"] {
                    one["metric"][own] = "".into();
                }
                for kind in ["value", "histogram"] {
                    if let Some(sample) = one.get_mut(kind) {
                        // When it was asked.
                        sample[0] = 0.into();
                    }
                }
                one.to_string()
            });
            let mut list: Vec<String> = list.collect();
            list.sort();
            list
        });
        if texts[0].len() > 8 && texts[0] == texts[1] {
            let text = texts[0].join("\n");
            assert!(
                text.contains("odd_name") && text.contains("\"buckets\""),
                "{text}"
            );
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(failed(format!(
                "from Tenbin {:#?}\nfrom Prometheus {:#?}\n{}",
                texts[0],
                texts[1],
                global.process.output()
            )));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
