//! The cases of Prometheus' remote-write receiver compliance suite, one by one, on the real server:
//! bad headers and bodies, float samples, exemplars, native histograms, metadata, and their
//! combinations by remote write 2.0; two cases by 1.0.
//!
//! Each case that must succeed is sent twice, as the suite does (its MUST and its SHOULD variant);
//! both have to be answered with exactly 204 and exact written counts, except where a repetition is
//! rightly refused. Labels are not sorted. A restart by SIGKILL loses nothing of it.

mod cases;

use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use prost::Message;
use tenbin_compat_tests::http::{Answer, Client, form};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender;
use tenbin_compat_tests::sender_v2::{
    CONTENT_TYPE, Exemplar, Histogram, Metadata, Request, Sample, TimeSeries,
};

use super::{failed, tenbin};
use cases::{ALL, histogram};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("write_compliance::bad_requests", bad_requests),
        Trial::test("write_compliance::every_case", every_case),
        Trial::test("write_compliance::remote_write_1_0", version_1),
        Trial::test("write_compliance::refused_parts_are_named", refused_parts),
    ]
}

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The single value of a series in a request.
#[derive(Clone)]
enum Point {
    None,
    Float(f64),
    Histogram(Box<Histogram>),
}

/// One `TimeSeries` of a case; times are offsets from the time of sending.
#[derive(Clone)]
struct Series<'a> {
    labels: Labels<'a>,
    point: Point,
    offset_ms: i64,
    exemplars: Vec<(Labels<'a>, f64, i64)>,
    metadata: Option<(i32, &'a str, &'a str)>,
    created_ms: Option<i64>,
}

impl<'a> Series<'a> {
    fn new(labels: &[(&'a str, &'a str)], point: Point) -> Self {
        Self {
            labels: labels.to_vec(),
            point,
            offset_ms: 0,
            exemplars: vec![],
            metadata: None,
            created_ms: None,
        }
    }

    fn float(labels: &[(&'a str, &'a str)], value: f64) -> Self {
        Self::new(labels, Point::Float(value))
    }

    fn histogram(labels: &[(&'a str, &'a str)], histogram: Histogram) -> Self {
        Self::new(labels, Point::Histogram(Box::new(histogram)))
    }

    fn at(mut self, offset_ms: i64) -> Self {
        self.offset_ms = offset_ms;
        self
    }

    fn exemplar(mut self, labels: &[(&'a str, &'a str)], value: f64) -> Self {
        self.exemplars
            .push((labels.to_vec(), value, self.offset_ms));
        self
    }

    fn about(mut self, kind: i32, help: &'a str, unit: &'a str) -> Self {
        self.metadata = Some((kind, help, unit));
        self
    }

    fn created(mut self, offset_ms: i64) -> Self {
        self.created_ms = Some(offset_ms);
        self
    }
}

/// What has to come back.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// 204 with these counts: samples, histograms, exemplars.
    Stored(u64, u64, u64),
    /// As `Stored`, or 400 with no more than these counts: what is an hour old is too old once the
    /// head has gone into a block, and when newer samples of the series are there.
    StoredOrOld(u64, u64, u64),
    /// 400 with no more than these counts.
    Refused(u64, u64, u64),
}
use Expected::{Refused, Stored, StoredOrOld};

struct Case<'a> {
    name: String,
    series: Vec<Series<'a>>,
    expected: Expected,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

/// The request of a case; `turn` decides the order of labels.
fn request(series: &[Series<'_>], now_ms: i64, turn: usize) -> Request {
    let mut request = Request::new();
    for one in series {
        let mut labels = one.labels.clone();
        if !labels.is_empty() {
            let by = turn % labels.len();
            labels.rotate_left(by);
        }
        let refs = |request: &mut Request, labels: &Labels<'_>| {
            let pairs = labels.iter();
            let refs = pairs.flat_map(|(n, v)| [request.symbol(n), request.symbol(v)]);
            refs.collect::<Vec<u32>>()
        };
        let mut made = TimeSeries {
            labels_refs: refs(&mut request, &labels),
            created_timestamp: one.created_ms.map_or(0, |ms| now_ms + ms),
            ..TimeSeries::default()
        };
        match &one.point {
            Point::None => {}
            Point::Float(value) => made.samples.push(Sample {
                value: *value,
                timestamp: now_ms + one.offset_ms,
                start_timestamp: made.created_timestamp,
            }),
            Point::Histogram(histogram) => made.histograms.push(Histogram {
                timestamp: now_ms + one.offset_ms,
                start_timestamp: made.created_timestamp,
                ..(**histogram).clone()
            }),
        }
        for (labels, value, offset_ms) in &one.exemplars {
            let exemplar = Exemplar {
                labels_refs: refs(&mut request, labels),
                value: *value,
                timestamp: now_ms + offset_ms,
            };
            made.exemplars.push(exemplar);
        }
        // The suite's encoder always writes the message, empty or not.
        let (kind, help, unit) = one.metadata.unwrap_or((0, "", ""));
        made.metadata = Some(Metadata {
            kind,
            help_ref: request.symbol(help),
            unit_ref: request.symbol(unit),
        });
        request.timeseries.push(made);
    }
    request
}

/// Judges an answer.
fn judge(answer: &Answer, expected: Expected) -> Result<(), String> {
    let written = answer.written.ok_or("no written-count headers")?;
    let within =
        |most: (u64, u64, u64)| written.0 <= most.0 && written.1 <= most.1 && written.2 <= most.2;
    let ok = match expected {
        Stored(s, h, e) => answer.status == 204 && written == (s, h, e),
        StoredOrOld(s, h, e) if answer.status == 204 => written == (s, h, e),
        StoredOrOld(s, h, e) | Refused(s, h, e) => answer.status == 400 && within((s, h, e)),
    };
    if ok {
        return Ok(());
    }
    Err(format!(
        "expected {expected:?}, got {} {written:?} {}",
        answer.status,
        answer.text()
    ))
}

fn ask(
    client: &Client,
    url: &str,
    path: &str,
    parameters: &[(&str, &str)],
) -> Result<String, Failed> {
    let url = format!("{url}/api/v1/{path}?{}", form(parameters));
    Ok(client.get(&url).map_err(failed)?.text())
}

fn every_case() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let texts: Vec<[String; 4]> = (0..50)
        .map(|i| {
            [
                format!("many_{i}"),
                format!("series_{i}"),
                format!("trace_{i}"),
                format!("Metric number {i}"),
            ]
        })
        .collect();
    let mut cases = cases::sample_cases();
    cases.extend(cases::exemplar_cases());
    cases.extend(cases::histogram_cases());
    cases.extend(cases::metadata_cases());
    cases.extend(cases::combined_cases());
    cases.extend(cases::many_cases(&texts));
    let mut wrong = Vec::new();
    let mut last_ms = 0;
    for (turn, case) in cases.iter().enumerate() {
        for _ in 0..2 {
            // Each request has a time of its own, as the suite's pauses see to.
            while now_ms() <= last_ms {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            last_ms = now_ms();
            let request = request(&case.series, last_ms, turn);
            let answer = request.send(&client, &server.url).map_err(failed)?;
            if let Err(text) = judge(&answer, case.expected) {
                wrong.push(format!("{}: {text}", case.name));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(failed(wrong.join("\n")));
    }
    assert!(cases.len() > 90, "{} cases", cases.len());
    let end = (last_ms / 1000 + 1).to_string();
    let questions: [(&str, Vec<(&str, &str)>); 5] = [
        (
            "query",
            vec![("query", "count({__name__=~\".+\"})"), ("time", &end)],
        ),
        (
            "query",
            vec![("query", "{__name__=~\".+\"}[2h]"), ("time", &end)],
        ),
        ("query_exemplars", vec![("query", "{__name__=~\".+\"}")]),
        ("metadata", vec![]),
        ("series", vec![("match[]", "{__name__=~\".+\"}")]),
    ];
    let all = |url: &str| -> Result<Vec<String>, Failed> {
        let answers = questions
            .iter()
            .map(|(path, with)| ask(&client, url, path, with));
        answers.collect()
    };
    let before = all(&server.url)?;
    assert!(before[1].contains("custom_latency_hist") && before[1].contains("\"histograms\""));
    assert!(before[2].contains("unicode_trace_"), "{}", before[2]);
    assert!(
        before[3].contains("Temperature distribution"),
        "{}",
        before[3]
    );
    server.restart().map_err(failed)?;
    for (before, after) in before.iter().zip(all(&server.url)?) {
        assert_eq!(*before, after);
    }
    Ok(())
}

fn bad_requests() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let series = [Series::float(&[("__name__", "up")], 1.0)];
    let body =
        snap::raw::Encoder::new().compress_vec(&request(&series, now_ms(), 0).encode_to_vec())?;
    let mut corrupt = body.clone();
    corrupt[0] = b'0';
    let cases = [
        ("snappy", "application/json", 415),
        ("snappy", "image/png", 415),
        ("gzip", CONTENT_TYPE, 415),
        ("deflate", CONTENT_TYPE, 415),
        ("snappy", CONTENT_TYPE, 400),
    ];
    let url = format!("{}/api/v1/write", server.url);
    for (encoding, content_type, status) in cases {
        let headers = [
            ("Content-Encoding", encoding),
            ("Content-Type", content_type),
            ("X-Prometheus-Remote-Write-Version", "2.0.0"),
        ];
        let answer = client.post(&url, &headers, &corrupt).map_err(failed)?;
        if answer.status != status || answer.written.is_some_and(|w| w != (0, 0, 0)) {
            return Err(failed(format!(
                "{encoding} {content_type}: {} {:?} {}",
                answer.status,
                answer.written,
                answer.text()
            )));
        }
    }
    Ok(())
}

fn version_1() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let now = now_ms();
    let series = vec![
        sender::series(
            &[
                ("__name__", "up"),
                ("job", "testjob"),
                ("instance", "localhost:9090"),
            ],
            &[(now, 1.0)],
        ),
        sender::series(&[("__name__", "http_requests_total")], &[(now, 100.0)]),
    ];
    let body = sender::body(series);
    let url = format!("{}/api/v1/write", server.url);
    // Such senders do not name a version.
    let headers = &sender::HEADERS[..2];
    let answer = client.post(&url, headers, &body).map_err(failed)?;
    assert_eq!((answer.status, answer.written), (204, None));
    let mut corrupt = body;
    corrupt[0] = 0xff;
    let answer = client.post(&url, headers, &corrupt).map_err(failed)?;
    assert_eq!(
        (answer.status, answer.written),
        (400, None),
        "{}",
        answer.text()
    );
    Ok(())
}

/// Beyond the suite: what is refused in 2.0 is named as Prometheus names it, and the rest stays.
fn refused_parts() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let client = Client::default();
    let now = now_ms();
    let send = |url: &str, request: &Request| request.send(&client, url).map_err(failed);
    let plain = |name, value: f64| {
        Series::float(&[("__name__", name)], value).about(1, "Good help.", "seconds")
    };
    // References of metadata that lead nowhere spoil their series alone.
    let mut bad = request(&[plain("a_total", 1.0), plain("b_total", 2.0)], now, 0);
    let size = bad.symbols.len();
    bad.timeseries[0].metadata = Some(Metadata {
        kind: 1,
        help_ref: 0,
        unit_ref: 77,
    });
    let refs = format!("{:?}", bad.timeseries[0].labels_refs).replace(',', "");
    let answer = send(&server.url, &bad)?;
    assert_eq!((answer.status, answer.written), (400, Some((1, 0, 0))));
    assert_eq!(
        answer.text(),
        format!(
            "parsing metadata for series {refs}: metadata unit_ref 77 outside of symbols table \
             (size {size})\n"
        )
    );
    bad.timeseries[0].metadata = Some(Metadata {
        kind: 1,
        help_ref: 78,
        unit_ref: 0,
    });
    let text = send(&server.url, &bad)?.text();
    assert!(
        text.contains("metadata help_ref 78 outside of symbols table"),
        "{text}"
    );
    // An exemplar out of order is named, and the sample beside it is stored.
    let exemplar = |at_ms: i64, offset: i64, value| {
        let mut series = Series::float(&[("__name__", "late_total")], value);
        series
            .exemplars
            .push((vec![("trace_id", "t")], value, offset));
        request(&[series], at_ms, 0)
    };
    assert_eq!(send(&server.url, &exemplar(now, 0, 1.0))?.status, 204);
    let late = send(&server.url, &exemplar(now + 1, -HOUR, 2.0))?;
    assert_eq!((late.status, late.written), (400, Some((1, 0, 0))));
    assert_eq!(
        late.text(),
        "out of order exemplar for series {__name__=\"late_total\"}\n"
    );
    // A histogram out of bounds and a good one.
    let good = Series::histogram(&[("__name__", "good_hist")], histogram(1.0, &ALL));
    let far = Series::histogram(&[("__name__", "far_hist")], histogram(1.0, &ALL)).at(HOUR);
    let mixed = send(&server.url, &request(&[far, good], now, 0))?;
    assert_eq!((mixed.status, mixed.written), (400, Some((0, 1, 0))));
    assert_eq!(
        mixed.text(),
        "out of bounds: timestamp is too far in the future for series {__name__=\"far_hist\"}\n"
    );
    server.restart().map_err(failed)?;
    let time = ((now + 2000) / 1000).to_string();
    let text = ask(
        &client,
        &server.url,
        "query",
        &[("query", "{__name__=~\".+\"}"), ("time", &time)],
    )?;
    for (name, there) in [
        ("a_total", false),
        ("b_total", true),
        ("late_total", true),
        ("good_hist", true),
        ("far_hist", false),
    ] {
        assert_eq!(
            text.contains(&format!("\"{name}\"")),
            there,
            "{name}: {text}"
        );
    }
    let metadata = ask(&client, &server.url, "metadata", &[])?;
    assert_eq!(
        metadata,
        "{\"status\":\"success\",\"data\":{\"b_total\":[{\"type\":\"counter\",\"help\":\"Good help.\",\"unit\":\"seconds\"}]}}"
    );
    Ok(())
}
