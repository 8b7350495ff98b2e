//! One list of HTTP requests (`http_cases.txt`) answered by Tenbin and a real Prometheus 3.5 that hold the same samples:
//! status, the headers that clients look at, and the body have to be equal.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::SystemTime;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tenbin_compat_tests::answers::{first_difference, same};
use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::prometheus::Prometheus;
use tenbin_compat_tests::raw::{RawAnswer, request};
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::{failed, tenbin};

/// At least so many have to be compared.
const LEAST: usize = 300;

/// The list; `TENBIN_HTTP_CASES` names a file with another one, to try things out.
const CASES: &str = include_str!("http_cases.txt");

/// Headers that have to be equal.
const HEADERS: [&str; 11] = [
    "content-type",
    "content-encoding",
    "allow",
    "vary",
    "location",
    "retry-after",
    "www-authenticate",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
];

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    vec![Trial::test("http_cases::answers_are_equal", move || {
        answers_are_equal(&peers)
    })]
}

/// One request.
#[derive(Debug, Clone)]
struct Case {
    text: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    known: Option<String>,
}

/// All lines that `<<a,,b>>` in a line stands for.
fn expand(line: &str) -> Vec<String> {
    let Some((before, rest)) = line.split_once("<<") else {
        return vec![line.to_owned()];
    };
    let (choices, after) = rest.split_once(">>").expect("every << has its >>");
    choices
        .split(",,")
        .flat_map(|choice| expand(&format!("{before}{choice}{after}")))
        .collect()
}

fn parse_case(line: &str) -> Case {
    let mut parts = line.split(" ;; ");
    let request = parts.next().unwrap_or_default();
    let (method, target) = request.split_once(' ').expect("method and target");
    let mut case = Case {
        text: line.to_owned(),
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: String::new(),
        known: None,
    };
    for part in parts {
        if let Some(body) = part.strip_prefix("body ") {
            case.body = body.replace("{CRLF}", "\r\n");
        } else if let Some(reason) = part.strip_prefix("known ") {
            case.known = Some(reason.to_owned());
        } else {
            let (name, value) = part.split_once(": ").expect("a header");
            case.headers
                .push((name.to_owned(), value.replace("%2C", ",")));
        }
    }
    let has_type = case.headers.iter().any(|(name, _)| name == "Content-Type");
    if !case.body.is_empty() && !has_type {
        let form = "application/x-www-form-urlencoded";
        case.headers
            .push(("Content-Type".to_owned(), form.to_owned()));
    }
    case
}

/// The cases at a time.
fn cases(text: &str, at: i64) -> Vec<Case> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(expand)
        .map(|line| {
            let line = line.replace("{T}", &at.to_string());
            let line = [-600, -60, 100, 120].iter().fold(line, |line, offset| {
                line.replace(&format!("{{T{offset:+}}}"), &(at + offset).to_string())
            });
            parse_case(&line)
        })
        .collect()
}

/// What both servers hold: five samples a series, the last at `at` seconds.
fn samples(at: i64) -> Vec<TimeSeries> {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let over = |values: [f64; 5]| -> Vec<(i64, f64)> {
        (0_i64..)
            .zip(values)
            .map(|(i, value)| ((at - 60 + 15 * i) * 1000, value))
            .collect()
    };
    let one = |labels: &[(&str, &str)], values: [f64; 5]| series(labels, &over(values));
    let mut all = vec![
        one(
            &[("__name__", "up"), ("instance", "a:1"), ("job", "node")],
            [1.0; 5],
        ),
        one(
            &[("__name__", "up"), ("instance", "b:1"), ("job", "node")],
            [1.0, 0.0, 0.0, 1.0, 0.0],
        ),
        one(
            &[("__name__", "up"), ("instance", "<c>&"), ("job", "prom")],
            [1.0; 5],
        ),
        one(
            &[
                ("__name__", "requests_total"),
                ("code", "200"),
                ("job", "node"),
            ],
            [1.0, 2.5, 4.0, 1.0, 7.0],
        ),
        one(
            &[
                ("__name__", "requests_total"),
                ("code", "500"),
                ("job", "node"),
            ],
            [0.0, 0.0, 0.1, 0.3, 0.3],
        ),
        one(
            &[("__name__", "my.metric"), ("my.label", "x")],
            [1.0, 2.0, 3.0, 4.0, 5.0],
        ),
        one(
            &[("__name__", "gone"), ("job", "node")],
            [1.0, 1.0, 1.0, 1.0, stale],
        ),
    ];
    let weird = [
        ("NaN", f64::NAN),
        ("Inf", f64::INFINITY),
        ("-Inf", f64::NEG_INFINITY),
        ("-0", -0.0),
        ("1e21", 1e21),
        ("1e-7", 1e-7),
        ("denormal", 5e-324),
        ("max", f64::MAX),
    ];
    for (name, value) in weird {
        all.push(one(&[("__name__", "weird"), ("v", name)], [value; 5]));
    }
    for (le, value) in [("0.1", 1.0), ("0.5", 3.0), ("+Inf", 4.0)] {
        all.push(one(&[("__name__", "lat_bucket"), ("le", le)], [value; 5]));
    }
    all
}

fn answers_are_equal(peers: &Peers) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let ours = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let flags = ["--storage.tsdb.retention.time=15d"];
    let started = Prometheus::start(peers, directory.path(), "prometheus", "{}\n", &flags);
    let prometheus = started.map_err(failed)?;
    let theirs = prometheus.url.clone();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let at = now.as_secs() as i64 - 300;
    for url in [&ours.url, &theirs] {
        let answer = send(&Client::default(), url, samples(at)).map_err(failed)?;
        if answer.status / 100 != 2 {
            return Err(failed(format!(
                "{url}: {} {}",
                answer.status,
                answer.text()
            )));
        }
    }
    let other = std::env::var_os("TENBIN_HTTP_CASES").map(std::fs::read_to_string);
    let other = other.transpose()?;
    let all = cases(other.as_deref().unwrap_or(CASES), at);
    let (mut differences, mut explained, mut stale) = (Vec::new(), 0, Vec::new());
    for case in &all {
        let (ours, theirs) = (ask(case, &ours.url)?, ask(case, &theirs)?);
        if ours.header("x-content-type-options") != "nosniff" {
            differences.push(format!("{}\nwithout nosniff", case.text));
        }
        let (ours, theirs) = (comparable(&ours), comparable(&theirs));
        match (same(&ours, &theirs), &case.known) {
            (true, None) => {}
            // The order of series may be the same by chance.
            (true, Some(reason)) if reason == "order of series" => {}
            (true, Some(_)) => stale.push(case.text.clone()),
            (false, Some(_)) => explained += 1,
            (false, None) => differences.push(format!(
                "{}\n{}",
                case.text,
                first_difference(&ours, &theirs)
            )),
        }
    }
    eprintln!(
        "{} of {} answers equal, {explained} differ as explained",
        all.len() - differences.len() - explained,
        all.len()
    );
    if !differences.is_empty() {
        return Err(failed(format!(
            "{} answers differ:\n\n{}",
            differences.len(),
            differences.join("\n\n")
        )));
    }
    if !stale.is_empty() {
        return Err(failed(format!("no longer different: {stale:?}")));
    }
    if other.is_none() && all.len() < LEAST {
        return Err(failed(format!("only {} cases", all.len())));
    }
    Ok(())
}

/// What a server answers.
fn ask(case: &Case, url: &str) -> Result<RawAnswer, Failed> {
    let address = url.trim_start_matches("http://");
    let headers: Vec<(&str, &str)> = case
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = request(
        address,
        &case.method,
        &case.target,
        &headers,
        case.body.as_bytes(),
    );
    answer.map_err(failed)
}

fn comparable(answer: &RawAnswer) -> String {
    let mut head = BTreeMap::new();
    for name in HEADERS {
        let mut value = answer.header(name);
        if name == "vary" {
            // A list without order.
            let mut entries: Vec<String> =
                value.split(',').map(|v| v.trim().to_lowercase()).collect();
            entries.sort_unstable();
            entries.dedup();
            value = entries.join(", ");
        }
        if !value.is_empty() {
            head.insert(name, value);
        }
    }
    let mut body = answer.body.clone();
    let mut plain = Vec::new();
    let decoded = match answer.header("content-encoding").as_str() {
        "gzip" => flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain),
        "deflate" => flate2::read::ZlibDecoder::new(body.as_slice()).read_to_end(&mut plain),
        _ => Ok(0),
    };
    match decoded {
        Ok(0) => {}
        Ok(_) => body = plain,
        Err(error) => body = format!("cannot be decompressed: {error}").into_bytes(),
    }
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(json) if json.is_object() => normalised(json).to_string(),
        _ => String::from_utf8_lossy(&body).into_owned(),
    };
    format!("{} {head:?}\n{body}", answer.status)
}

/// Without what has no defined order or content: see `answers`.
fn normalised(mut body: Value) -> Value {
    if let Some(stats) = body.pointer_mut("/data/stats") {
        *stats = Value::Null;
    }
    let is_vector = body.pointer("/data/resultType").and_then(Value::as_str) == Some("vector");
    if is_vector && let Some(Value::Array(samples)) = body.pointer_mut("/data/result") {
        samples.sort_by_key(|sample| sample["metric"].to_string());
    }
    if let Some(Value::Array(series)) = body.get_mut("data")
        && series.iter().all(Value::is_object)
    {
        series.sort_by_key(Value::to_string);
    }
    for list in ["warnings", "infos"] {
        if let Some(Value::Array(texts)) = body.get_mut(list) {
            texts.sort_by_key(Value::to_string);
        }
    }
    body
}
