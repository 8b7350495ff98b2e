//! Random queries, evaluated by a real Prometheus 3.5 and by Tenbin on identical data: gaps, counter
//! resets, staleness markers, NaN, infinities, classic histograms, names that need quotes.
//!
//! `TENBIN_DIFFERENTIAL=<n>` runs n valid and n/5 broken queries (default 5,000 and 1,000), each
//! valid one as an instant and as a range query; `TENBIN_SEED=<n>` chooses other ones,
//! `TENBIN_SHOW=<n>` shows more than 25 differences.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tenbin_compat_tests::answers::{first_difference, normalised, same, same_but};
use tenbin_compat_tests::dataset::{SCRAPES, START_MS, floats, histograms};
use tenbin_compat_tests::generator::Generator;
use tenbin_compat_tests::http::{Answer, Client};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::{Process, Tenbin, free_port};
use tenbin_compat_tests::sender::{TimeSeries, send};

use super::{failed, tenbin};

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let peers = peers.clone();
    let again = peers.clone();
    vec![
        Trial::test("differential::random_queries_agree", move || {
            let seed = setting("TENBIN_SEED", 1);
            random_queries(&peers, floats(seed), Generator::new(seed), seed)
        }),
        Trial::test("differential::random_histogram_queries_agree", move || {
            let seed = setting("TENBIN_SEED", 1);
            let generator = Generator::of_histograms(seed);
            random_queries(&again, histograms(seed), generator, seed)
        }),
    ]
}

/// The features that both servers run with; `TENBIN_FEATURES` adds some.
fn features() -> String {
    let more = std::env::var("TENBIN_FEATURES").unwrap_or_default();
    format!("--enable-feature=promql-experimental-functions,native-histograms{more}")
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// A Prometheus that takes remote writes, with more flags, and its address.
pub(crate) fn start_prometheus(
    peers: &Peers,
    directory: &Path,
    flags: &[&str],
) -> Result<(Process, String), String> {
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
            .arg("--web.enable-remote-write-receiver")
            .args(flags),
        &directory.join("prometheus.log"),
    )?;
    let url = format!("http://127.0.0.1:{port}");
    process.wait_ready(&format!("{url}/-/ready"), Duration::from_secs(30))?;
    Ok((process, url))
}

fn random_queries(
    peers: &Peers,
    data: Vec<Vec<TimeSeries>>,
    mut generator: Generator,
    seed: u64,
) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let features = features();
    let flags = [features.as_str(), "--storage.tsdb.retention.time=0"];
    let tenbin = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let (_prometheus, prometheus_url) =
        start_prometheus(peers, directory.path(), &[&features]).map_err(failed)?;
    let client = Client::default();
    for batch in data {
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

/// Answers of both servers, compared.
#[derive(Default)]
pub(crate) struct Tally {
    seed: u64,
    equal: usize,
    errors_equal: usize,
    /// How often each known reason explained a difference.
    explained: BTreeMap<&'static str, usize>,
    /// Queries over windows of histograms where 3.5 came to no agreement with itself.
    unsettled: Vec<String>,
    differences: Vec<String>,
}

/// So many queries may stay unsettled.
const UNSETTLED_AT_MOST: usize = 12;

/// Differences that are not ours to mend: a part of the error text, and why.
const EXPLAINED_ERRORS: &[(&str, &str)] = &[
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

/// Two checks of a matching; which group or check fails first depends on series order.
const MATCH_ERRORS: [&str; 2] = [
    "found duplicate series for the match group",
    "multiple matches for labels",
];

const MANY_TO_ONE: &str = "multiple matches for labels: many-to-one matching must be explicit";

/// Words that 3.14 lets stand as functions anywhere.
const NEW_FUNCTIONS: [&str; 4] = ["start", "end", "step", "range"];

/// Why a query that failed on one side differs, if the reason is known.
fn explained_error(query: &str, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    let (our_text, their_text) = (json_text(ours), json_text(theirs));
    if ours.status == 422 && theirs.status == 200 && our_text.contains(MANY_TO_ONE) {
        return Some("3.14 counts several matches also where the comparison drops the sample");
    }
    let new_function = NEW_FUNCTIONS.iter().any(|name| query.contains(name));
    if theirs.status == 400 && new_function && their_text.contains("unexpected \"(\"") {
        return Some("3.14 lets start, end, step and range stand as functions");
    }
    if MATCH_ERRORS.iter().any(|text| our_text.contains(text))
        && MATCH_ERRORS.iter().any(|text| their_text.contains(text))
    {
        return Some("which match group is named depends on series order");
    }
    let known = EXPLAINED_ERRORS.iter();
    let mut known = known.filter(|(part, _)| theirs.status != 200 && their_text.contains(part));
    known.next().map(|(_, why)| *why)
}

/// The error text without JSON's escapes.
fn json_text(answer: &Answer) -> String {
    answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Why the results of a query differ, if the reason is known.
fn explained_values(query: &str, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    let has = |names: &[&str]| names.iter().any(|name| query.contains(name));
    let (our_text, their_text) = (ours.text(), theirs.text());
    let grows = has(&["rate(", "increase("]);
    if query.contains("nh_schema") && (grows || query.contains("resets(")) {
        return Some("3.5 overlooks resets where the new histogram has fewer buckets");
    }
    if has(&["nh_gauge", "nh.utf8 gauge", "float|gauge"]) && grows {
        return Some("3.14 extrapolates no histogram below a count of zero");
    }
    if our_text.contains("conflicting counter resets") {
        return Some("3.14 leaves out sums of histograms with conflicting resets");
    }
    let layout = "incompatible bucket layout";
    if has(&["histogram_count(", "histogram_sum(", "histogram_avg("])
        && our_text.contains(layout)
        && !their_text.contains(layout)
    {
        return Some("3.5 forgets custom buckets where only count and sum are wanted");
    }
    let (our_values, their_values) = (comparable(ours), comparable(theirs));
    let nan = |ours: f64, _: f64| ours.is_nan();
    if query.contains("mad_over_time") && same_but(&our_values, &their_values, &nan) {
        return Some("3.14's mad_over_time is NaN when any sample is NaN");
    }
    let close = |a: f64, b: f64| (a - b).abs() <= f64::max(1e-15, 1e-9 * a.abs());
    if has(&["stddev", "stdvar"]) && same_but(&our_values, &their_values, &close) {
        return Some("of the spread of nearly equal values only rounding is left");
    }
    let gauge = ["native histogram metric is not a"];
    if same(&without(ours, &gauge), &without(theirs, &gauge)) {
        return Some("3.14 takes differences and negative multiples of histograms for gauges");
    }
    let remarks = ["incompatible sample types", "incompatible bucket layout"];
    if same(&without(ours, &remarks), &without(theirs, &remarks)) {
        return Some("of several remarks at a step the one on the last series counts");
    }
    let negative_quantile = query.contains("histogram_quantile(") && query.contains('-');
    if has(&["nh"]) && (has(&[" == ", " != "]) || negative_quantile) {
        return Some("whether empty buckets make a difference depends on the chunk");
    }
    None
}

/// Both answers to a question.
type Answers = (Result<Answer, String>, Result<Answer, String>);

/// Asks both servers at an endpoint.
type Ask<'a> = dyn Fn(&str, &[(&str, &str)]) -> Answers + 'a;

/// Times a question is repeated.
const TIMES: usize = 12;

/// Whether 3.5 comes to our answer when it is asked again, or both agree when every instance is
/// asked for alone, or so at every step: it reuses the memory of histograms that are still in a
/// window.
fn agree_again(ask: &Ask<'_>, path: &str, ours: &str, parameters: &[(&str, &str)]) -> bool {
    // Other questions change what memory is at hand.
    let churn = |at: usize| {
        let range = ["nh_int[10m]", "nh_custom[3m]", "nh_float[1m]"][at % 3];
        let query = format!("count(sum_over_time({range}))");
        let _ = ask("query", &[("query", &query), ("time", "1700000855")]);
    };
    let agree = |path: &str, parameters: &[(&str, &str)]| {
        (0..TIMES).any(|at| {
            churn(at);
            match ask(path, parameters) {
                (Ok(ours), Ok(theirs)) => {
                    same(&comparable(&ours), &comparable(&theirs))
                        || explained_values(parameters[0].1, &ours, &theirs).is_some()
                }
                _ => false,
            }
        })
    };
    let again = (0..TIMES).any(|at| {
        churn(at);
        match ask(path, parameters) {
            (_, Ok(theirs)) => same(ours, &comparable(&theirs)),
            _ => false,
        }
    });
    let alone_at = |query: &str, time: i64| {
        let time = time.to_string();
        agree("query", &[("query", query), ("time", &time)])
    };
    again
        || (0..6).all(|number| {
            let alone = of_instance(parameters[0].1, &format!("i{number}"));
            let mut parameters = parameters.to_vec();
            parameters[0].1 = &alone;
            let mut steps =
                (START_MS / 1000 - 30..=START_MS / 1000 + (SCRAPES - 3) * 15).step_by(37);
            agree(path, &parameters)
                || (path == "query_range" && steps.all(|time| alone_at(&alone, time)))
        })
}

/// The answer without the annotations that contain one of the texts.
fn without(answer: &Answer, known: &[&str]) -> String {
    let mut answer = answer.clone();
    let mut body = answer.json();
    for list in ["warnings", "infos"] {
        if let Some(texts) = body.get_mut(list).and_then(Value::as_array_mut) {
            texts.retain(|text| !known.iter().any(|k| text.to_string().contains(k)));
        }
    }
    answer.body = body.to_string().into_bytes();
    comparable(&answer)
}

/// The query with every selector of native histograms limited to one instance.
fn of_instance(query: &str, instance: &str) -> String {
    let mut out = String::new();
    let (mut rest, mut in_string, mut word) = (query, false, String::new());
    let matcher = format!("instance=\"{instance}\"");
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        in_string ^= c == '"';
        out.push(c);
        if in_string || c == '"' {
            word.clear();
            continue;
        }
        if c == '{' {
            out.push_str(&matcher);
            out.push(',');
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            if ends && word.starts_with("nh_") && !rest.starts_with('{') {
                out.push_str(&format!("{{{matcher}}}"));
            }
        } else {
            word.clear();
        }
    }
    out
}

impl Tally {
    /// Asks both servers the same.
    pub(crate) fn compare(
        &mut self,
        client: &Client,
        ours: &str,
        theirs: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) {
        let ask = |path: &str, parameters: &[(&str, &str)]| {
            let [ours, theirs] = [ours, theirs]
                .map(|base| client.post_form(&format!("{base}/api/v1/{path}"), parameters));
            (ours, theirs)
        };
        let (ours, theirs) = match ask(path, parameters) {
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
        let reason = if ours.status == 200 && theirs.status == 200 {
            explained_values(query, &ours, &theirs).or_else(|| {
                let over_windows = query.contains('[') && query.contains("nh");
                (over_windows && agree_again(&ask, path, &our_text, parameters))
                    .then_some("3.5 mixes histograms in windows up, differently from time to time")
            })
        } else {
            explained_error(query, &ours, &theirs)
        };
        if let Some(reason) = reason {
            *self.explained.entry(reason).or_default() += 1;
            return;
        }
        let succeeded = ours.status == 200 && theirs.status == 200;
        if succeeded && query.contains('[') && query.contains("nh") {
            self.unsettled.push(format!("{path} {query}"));
            return;
        }
        let place = first_difference(&our_text, &their_text);
        self.differences
            .push(format!("{path} {}\n{place}", parameters[0].1));
    }

    /// Prints the figures; fails when there are differences.
    pub(crate) fn report(mut self) -> Result<(), Failed> {
        let explained: usize = self.explained.values().sum();
        let all = self.equal + explained + self.unsettled.len() + self.differences.len();
        eprintln!(
            "seed {}: {} of {all} answers equal ({} of them errors), {explained} differ as explained",
            self.seed, self.equal, self.errors_equal
        );
        for (reason, count) in &self.explained {
            eprintln!("  {count}: {reason}");
        }
        for query in &self.unsettled {
            eprintln!("  not settled by asking again: {query}");
        }
        if self.unsettled.len() > UNSETTLED_AT_MOST {
            self.differences.append(&mut self.unsettled);
        }
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

/// Annotations that 3.14 has and 3.5 has not.
const NEW_ANNOTATIONS: [&str; 2] = ["sort is ineffective", "conflicting counter resets"];

/// The answer without what 3.14 has and 3.5 has not.
fn comparable(answer: &Answer) -> String {
    let mut answer = answer.clone();
    let mut body = answer.json();
    for list in ["warnings", "infos"] {
        let Some(texts) = body.get_mut(list).and_then(|t| t.as_array_mut()) else {
            continue;
        };
        texts.retain(|text| {
            let text = text.as_str().unwrap_or_default();
            !NEW_ANNOTATIONS.iter().any(|known| text.contains(known))
        });
        // 3.14 names the metric in these only with delayed name removal, so that those of several
        // places become one, at the last place.
        for text in texts.iter_mut() {
            let Some(full) = text.as_str() else { continue };
            let known = ["bucket label", "fixed for monotonicity"];
            if known.iter().any(|k| full.contains(k)) {
                *text = without_position(&without_metric_name(full)).into();
            } else if full.contains("ignored histogram in") || full.contains("for aggregation") {
                // 3.14 points at what is inside parentheses.
                *text = without_position(full).into();
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
    without_nan_buckets(&mut body);
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

/// Cuts ` (line:column)` off the end of an annotation.
fn without_position(text: &str) -> String {
    let before = text.rsplit_once(" (").map(|(before, _)| before);
    before.unwrap_or(text).to_owned()
}

/// Removes buckets that hold NaN: empty ones times NaN. Which empty buckets a histogram has depends
/// on what else is in its chunk, and on how it was stored.
fn without_nan_buckets(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(without_nan_buckets),
        Value::Object(fields) => {
            if let Some(Value::Array(buckets)) = fields.get_mut("buckets") {
                buckets.retain(|bucket| bucket[3] != "NaN");
            }
            let no_bucket = |buckets: &Value| buckets.as_array().is_some_and(Vec::is_empty);
            if fields.get("buckets").is_some_and(no_bucket) {
                fields.remove("buckets");
            }
            fields.values_mut().for_each(without_nan_buckets);
        }
        _ => {}
    }
}
