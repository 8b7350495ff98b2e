//! Random queries, evaluated by a real Prometheus 3.5 and by Tenbin on identical data: gaps, counter
//! resets, staleness markers, NaN, infinities, classic histograms, names that need quotes.
//!
//! `TENBIN_DIFFERENTIAL=<n>` runs n valid and n/5 broken queries (default 5,000 and 1,000), each
//! valid one as an instant and as a range query; `TENBIN_SEED=<n>` chooses other ones,
//! `TENBIN_SHOW=<n>` shows more than 25 differences.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::generator::{Generator, Random};
use tenbin_compat_tests::http::{Answer, Client};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::{Process, Tenbin, free_port};
use tenbin_compat_tests::sender::{TimeSeries, send, series};

use super::{failed, tenbin};

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    vec![Trial::test(
        "differential::random_queries_agree",
        move || random_queries(&peers),
    )]
}

const FEATURES: &str = "--enable-feature=promql-experimental-functions";
/// First sample of the data.
const START_MS: i64 = 1_700_000_000_000;
/// Scrapes of 15 s.
const SCRAPES: i64 = 60;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

fn start_prometheus(peers: &Peers, directory: &Path) -> Result<(Process, String), String> {
    let port = free_port()?;
    let config = directory.join("prometheus.yml");
    std::fs::write(&config, "global: {}\n").map_err(|e| e.to_string())?;
    let mut process = Process::start(
        "prometheus",
        Command::new(&peers.prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("prometheus").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            // The data is years old.
            .arg("--storage.tsdb.retention.time=100y")
            .args(["--web.enable-remote-write-receiver", FEATURES]),
        &directory.join("prometheus.log"),
    )?;
    let url = format!("http://127.0.0.1:{port}");
    process.wait_ready(&format!("{url}/-/ready"), Duration::from_secs(30))?;
    Ok((process, url))
}

/// A value for scrape `at` of a series, or none for a gap.
type Shape = fn(&mut Random, i64, f64) -> Option<f64>;

/// The data, one request per scrape so that all series of a scrape share their time.
fn data(seed: u64) -> Vec<Vec<TimeSeries>> {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let counter: Shape = |random, at, previous| {
        if at % 23 == 22 {
            Some(random.below(5) as f64)
        } else {
            Some(previous + random.below(100) as f64)
        }
    };
    let gauge: Shape =
        |random, _, previous| Some(previous + (random.below(2001) as f64 - 1000.0) / 64.0);
    let flags: Shape = |random, _, _| Some(random.below(2) as f64);
    let sparse: Shape =
        |random, _, previous| (!random.one_in(3)).then(|| previous + random.below(3) as f64);
    let specials: Shape = |random, _, _| {
        let all = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            1e300,
            -1e-300,
            5e-324,
            1.5,
        ];
        Some(all[random.below(all.len())])
    };
    let metrics: [(&str, Shape); 7] = [
        ("requests_total", counter),
        ("errors_total", counter),
        ("temperature", gauge),
        ("flags", flags),
        ("sparse", sparse),
        ("specials", specials),
        ("utf8.metric", gauge),
    ];
    let mut random = Random::new(seed);
    let mut values = vec![0.0_f64; metrics.len() * 6];
    let mut buckets = [[0.0_f64; 4]; 6];
    let mut batches = Vec::new();
    for at in 0..SCRAPES {
        let time = START_MS + at * 15_000;
        let mut batch = Vec::new();
        for target in 0..6_usize {
            // One target dies and leaves staleness markers, one is late to come.
            let dies = target == 4 && at >= 40;
            if (dies && at > 40) || (target == 5 && at < 20) {
                continue;
            }
            let instance = format!("i{target}");
            let mut identity = vec![
                ("job", ["a", "b"][target % 2]),
                ("instance", instance.as_str()),
            ];
            if target != 3 {
                identity.push(("zone", ["east", "west", "north"][target % 3]));
            }
            let mut push = |name: &str, more: &[(&str, &str)], value: f64| {
                let mut labels = vec![("__name__", name)];
                labels.extend_from_slice(&identity);
                labels.extend_from_slice(more);
                batch.push(series(&labels, &[(time, if dies { stale } else { value })]));
            };
            for (number, (name, shape)) in metrics.iter().enumerate() {
                let value = &mut values[target * metrics.len() + number];
                if let Some(next) = shape(&mut random, at, *value) {
                    *value = next;
                    push(name, &[], next);
                }
            }
            let mut cumulative = 0.0;
            for (bucket, le) in ["0.1", "0.5", "2.5", "+Inf"].iter().enumerate() {
                buckets[target][bucket] += random.below(10) as f64;
                cumulative += buckets[target][bucket];
                push("latency_bucket", &[("le", le)], cumulative);
            }
            push("latency_count", &[], cumulative);
        }
        batches.push(batch);
    }
    batches
}

fn random_queries(peers: &Peers) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = [FEATURES, "--storage.tsdb.retention.time=0"];
    let tenbin = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let (_prometheus, prometheus_url) =
        start_prometheus(peers, directory.path()).map_err(failed)?;
    let client = Client::default();
    let seed = setting("TENBIN_SEED", 1);
    for batch in data(seed) {
        for url in [&tenbin.url, &prometheus_url] {
            let answer = send(&client, url, batch.clone()).map_err(failed)?;
            if answer.status != 204 {
                return Err(failed(format!(
                    "{url}: {} {}",
                    answer.status,
                    answer.text()
                )));
            }
        }
    }
    let count = setting("TENBIN_DIFFERENTIAL", 5_000);
    let mut generator = Generator::new(seed);
    let mut tally = Tally {
        seed,
        ..Tally::default()
    };
    for _ in 0..count {
        let query = generator.query();
        let end = (START_MS / 1000 + (SCRAPES - 3) * 15).to_string();
        let instant = [("query", query.as_str()), ("time", &end)];
        tally.compare(&client, &tenbin.url, &prometheus_url, "query", &instant);
        let start = (START_MS / 1000 - 30).to_string();
        let range = [
            ("query", query.as_str()),
            ("start", &start),
            ("end", &end),
            ("step", "37"),
        ];
        tally.compare(&client, &tenbin.url, &prometheus_url, "query_range", &range);
    }
    for _ in 0..count / 5 {
        let query = generator.broken();
        let instant = [("query", query.as_str()), ("time", "1700000500")];
        tally.compare(&client, &tenbin.url, &prometheus_url, "query", &instant);
    }
    tally.report()
}

#[derive(Default)]
struct Tally {
    seed: u64,
    equal: usize,
    errors_equal: usize,
    explained: usize,
    differences: Vec<String>,
}

/// Differences that are not ours to mend: a part of the error text, and why.
const EXPLAINED_ERRORS: &[(&str, &str)] = &[
    (
        "found duplicate series for the match group",
        "which group is named depends on series order",
    ),
    (
        "multiple matches for labels",
        "which check fails first depends on series order",
    ),
    (
        "expected number or duration",
        "3.14 also expects step() and range()",
    ),
    ("<Item ", "3.14 names the token instead of its number"),
    (
        "unexpected colon",
        "3.14 words this lexical error differently",
    ),
    (
        "in duration expression",
        "3.14 words this lexical error differently",
    ),
    (
        "duration expression is not enabled",
        "on by default in 3.14",
    ),
    ("unexpected error", "3.5 panics inside its parser"),
    (
        "unexpected result in StepInvariantExpr",
        "3.5 fails on a string in parentheses",
    ),
    (
        "unexpected number of samples",
        "3.5 fails on a pinned range selector in parentheses",
    ),
];

/// 3.14 counts several matches also where the comparison then drops the sample; 3.5 does not.
const MANY_TO_ONE: &str = "multiple matches for labels: many-to-one matching must be explicit";

/// Words that 3.14 lets stand as functions anywhere.
const NEW_FUNCTIONS: [&str; 4] = ["start", "end", "step", "range"];

/// Whether a failed query differs for one of the known reasons.
fn is_explained(query: &str, ours: &Answer, theirs: &Answer) -> bool {
    let (our_text, their_text) = (ours.text(), theirs.text());
    let new_function = NEW_FUNCTIONS.iter().any(|name| query.contains(name));
    (ours.status == 422 && theirs.status == 200 && our_text.contains(MANY_TO_ONE))
        || (theirs.status != 200
            && EXPLAINED_ERRORS
                .iter()
                .any(|(part, _)| json_text(theirs).contains(part)))
        || (theirs.status == 400 && new_function && their_text.contains("unexpected \\\"(\\\""))
}

/// The error text without JSON's escapes.
fn json_text(answer: &Answer) -> String {
    answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Functions whose results differ for a known reason.
const EXPLAINED_FUNCTIONS: &[(&str, &str)] = &[
    ("mad_over_time", "3.14 answers NaN when any sample is NaN"),
    (
        "stddev",
        "of nearly equal values only rounding is left, which depends on series order",
    ),
    ("stdvar", "as stddev"),
];

impl Tally {
    fn compare(
        &mut self,
        client: &Client,
        ours: &str,
        theirs: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) {
        let ask = |base: &str| client.post_form(&format!("{base}/api/v1/{path}"), parameters);
        let (ours, theirs) = match (ask(ours), ask(theirs)) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (ours, theirs) => {
                self.differences
                    .push(format!("{path} {parameters:?}: {ours:?} {theirs:?}"));
                return;
            }
        };
        let (our_text, their_text) = (comparable(&ours), comparable(&theirs));
        if same(&our_text, &their_text) {
            self.equal += 1;
            self.errors_equal += usize::from(ours.status != 200);
            return;
        }
        let query = parameters[0].1;
        let both_succeed = ours.status == 200 && theirs.status == 200;
        if both_succeed
            && EXPLAINED_FUNCTIONS
                .iter()
                .any(|(name, _)| query.contains(name))
        {
            self.explained += 1;
            return;
        }
        if is_explained(query, &ours, &theirs) {
            self.explained += 1;
            return;
        }
        let place = first_difference(&our_text, &their_text);
        self.differences
            .push(format!("{path} {}\n{place}", parameters[0].1));
    }

    fn report(mut self) -> Result<(), Failed> {
        let all = self.equal + self.explained + self.differences.len();
        eprintln!(
            "seed {}: {} of {all} answers equal ({} of them errors), {} differ as explained",
            self.seed, self.equal, self.errors_equal, self.explained
        );
        if self.differences.is_empty() {
            return Ok(());
        }
        let count = self.differences.len();
        self.differences.sort_by_key(String::len);
        self.differences
            .truncate(setting("TENBIN_SHOW", 25) as usize);
        Err(failed(format!(
            "{count} answers differ:\n\n{}",
            self.differences.join("\n\n")
        )))
    }
}

/// The answer without what 3.14 has and 3.5 has not.
fn comparable(answer: &Answer) -> String {
    let mut answer = answer.clone();
    let mut body = answer.json();
    for list in ["warnings", "infos"] {
        let Some(texts) = body.get_mut(list).and_then(|t| t.as_array_mut()) else {
            continue;
        };
        // A warning of 3.14 that 3.5 does not know.
        texts.retain(|t| {
            !t.as_str()
                .is_some_and(|t| t.contains("sort is ineffective"))
        });
        // 3.14 names the metric in these only with delayed name removal.
        for text in texts.iter_mut() {
            let Some(full) = text.as_str() else { continue };
            let known = ["bucket label", "fixed for monotonicity"];
            if known.iter().any(|k| full.contains(k)) {
                *text = without_metric_name(full).into();
            }
        }
        texts.sort_by_key(ToString::to_string);
        texts.dedup();
        if texts.is_empty()
            && let Some(body) = body.as_object_mut()
        {
            body.remove(list);
        }
    }
    if !body.is_null() {
        answer.body = body.to_string().into_bytes();
    }
    normalised(&answer)
}

/// Cuts ` for metric name "..."` out of an annotation.
fn without_metric_name(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" for metric name \"") else {
        return text.to_owned();
    };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{after}")
}
