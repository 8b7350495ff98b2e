//! Random queries, evaluated by a real Prometheus 3.5 and by Tenbin on identical data: gaps, counter
//! resets, staleness markers, NaN, infinities, classic histograms, names that need quotes.
//!
//! `TENBIN_DIFFERENTIAL=<n>` runs n valid and n/5 broken queries (default 5,000 and 1,000; fewer with
//! features that are off by default), each valid one as an instant and as a range query; `TENBIN_SEED=<n>` chooses other ones,
//! `TENBIN_SHOW=<n>` shows more than 25 differences. `TENBIN_QUERY=<query>` asks for this one query instead
//! and shows both answers.

mod ask;
mod explained;
mod fresh;

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::dataset::{SCRAPES, START_MS, floats, histograms, typed};
use tenbin_compat_tests::generator::Generator;
use tenbin_compat_tests::http::{Answer, Client};
use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::prometheus::Prometheus;
use tenbin_compat_tests::sender::{TimeSeries, send};

use self::ask::Ask;
use self::explained::{explain, explained_kept_names, explained_names};
use self::fresh::Fresh;
use super::{failed, tenbin};

pub(crate) fn trials(peers: &Peers) -> Vec<Trial> {
    let trial = |name: &str, features: &'static str, count, data: Data| {
        let peers = peers.clone();
        Trial::test(format!("differential::{name}"), move || {
            let seed = setting("TENBIN_SEED", 1);
            let (data, generator) = match data {
                Data::Floats => (floats(seed), Generator::new(seed)),
                Data::Typed => (typed(floats(seed)), Generator::new(seed)),
                Data::Histograms => (histograms(seed), Generator::of_histograms(seed)),
            };
            let count = setting("TENBIN_DIFFERENTIAL", count);
            random_queries(&peers, data, generator, &flag(features), (seed, count))
        })
    };
    let names = ",promql-delayed-name-removal";
    let types = ",type-and-unit-labels";
    let both = ",promql-delayed-name-removal,type-and-unit-labels";
    vec![
        trial("random_queries_agree", "", 5_000, Data::Floats),
        trial(
            "random_histogram_queries_agree",
            "",
            5_000,
            Data::Histograms,
        ),
        trial("delayed_name_removal_agrees", names, 1_000, Data::Floats),
        trial("types_and_units_agree", types, 1_000, Data::Typed),
        trial(
            "all_features_agree_on_histograms",
            both,
            500,
            Data::Histograms,
        ),
    ]
}

/// What the queries are about.
#[derive(Clone, Copy)]
enum Data {
    Floats,
    /// Floats, some of them with type and unit.
    Typed,
    Histograms,
}

/// The features that both servers run with, all that 3.5 has; `TENBIN_FEATURES` adds some.
fn flag(features: &str) -> String {
    let more = std::env::var("TENBIN_FEATURES").unwrap_or_default();
    format!("--enable-feature=promql-experimental-functions,native-histograms{features}{more}")
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// A Prometheus that takes remote writes, with more flags.
pub(crate) fn start_prometheus(
    peers: &Peers,
    directory: &Path,
    flags: &[&str],
) -> Result<Prometheus, String> {
    Prometheus::start(peers, directory, "prometheus", "global: {}\n", flags)
}

fn random_queries(
    peers: &Peers,
    data: Vec<Vec<TimeSeries>>,
    mut generator: Generator,
    features: &str,
    (seed, count): (u64, u64),
) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let flags = [features, "--storage.tsdb.retention.time=0"];
    let tenbin = Tenbin::start(&tenbin(), directory.path(), &flags).map_err(failed)?;
    let prometheus = start_prometheus(peers, directory.path(), &[features]).map_err(failed)?;
    let client = Client::default();
    for batch in data {
        for url in [&tenbin.url, &prometheus.url] {
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
    let mut tally = Tally {
        seed,
        delayed_names: features.contains("delayed-name-removal"),
        fresh: Some(Fresh::new(peers, directory.path(), features)),
        ..Tally::default()
    };
    let only = std::env::var("TENBIN_QUERY").ok();
    let count = if only.is_some() { 1 } else { count };
    for _ in 0..count {
        let query = only.clone().unwrap_or_else(|| generator.query());
        let end = (START_MS / 1000 + (SCRAPES - 3) * 15).to_string();
        let instant = [("query", query.as_str()), ("time", &end)];
        tally.compare(&client, &tenbin.url, &prometheus.url, "query", &instant);
        let start = (START_MS / 1000 - 30).to_string();
        let range = [
            ("query", query.as_str()),
            ("start", &start),
            ("end", &end),
            ("step", "37"),
        ];
        tally.compare(&client, &tenbin.url, &prometheus.url, "query_range", &range);
    }
    for _ in 0..count / 5 {
        let query = generator.broken();
        let instant = [("query", query.as_str()), ("time", "1700000500")];
        tally.compare(&client, &tenbin.url, &prometheus.url, "query", &instant);
    }
    tally.report()
}

/// Answers of both servers, compared.
#[derive(Default)]
pub(crate) struct Tally {
    seed: u64,
    /// Names are dropped at the end of a query.
    delayed_names: bool,
    equal: usize,
    errors_equal: usize,
    /// How often each known reason explained a difference.
    explained: BTreeMap<&'static str, usize>,
    /// Starts further peers with the same data.
    fresh: Option<Fresh>,
    differences: Vec<String>,
}

/// The times that range queries ask about.
const STEPS: std::ops::RangeInclusive<i64> =
    START_MS / 1000 - 30..=START_MS / 1000 + (SCRAPES - 3) * 15;

/// The answer without the annotations that contain one of the texts.
fn without(answer: &Answer, known: &[&str]) -> String {
    with_texts(answer, |texts| {
        texts.retain(|text| !known.iter().any(|k| text.to_string().contains(k)));
    })
}

/// The answer with its annotations changed.
fn with_texts(answer: &Answer, change: impl Fn(&mut Vec<Value>)) -> String {
    let mut answer = answer.clone();
    let mut body = answer.json();
    for list in ["warnings", "infos"] {
        if let Some(texts) = body.get_mut(list).and_then(Value::as_array_mut) {
            change(texts);
        }
    }
    answer.body = body.to_string().into_bytes();
    comparable(&answer)
}

impl Tally {
    /// Asks both servers the same.
    pub(crate) fn compare(
        &mut self,
        client: &Client,
        our_url: &str,
        their_url: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) {
        let ask = Ask::new(client, our_url, their_url);
        let (ours, theirs) = match ask.both(path, parameters) {
            Ok(answers) => answers,
            Err(e) => {
                self.differences.push(format!("{path} {parameters:?}: {e}"));
                return;
            }
        };
        let (our_text, their_text) = (comparable(&ours), comparable(&theirs));
        if std::env::var_os("TENBIN_QUERY").is_some() {
            eprintln!("{path}\ntenbin: {our_text}\npeer: {their_text}");
        }
        if same(&our_text, &their_text) {
            self.equal += 1;
            self.errors_equal += usize::from(ours.status != 200);
            return;
        }
        let fresh = &mut self.fresh;
        let mut reason = explain(&ask, fresh, path, parameters, &ours, &theirs);
        if self.delayed_names && reason.is_none() {
            reason = explained_names(path, parameters[0].1, &ours, &theirs)
                .or_else(|| explained_kept_names(&ask, fresh, path, parameters));
        }
        if let Some(reason) = reason {
            *self.explained.entry(reason).or_default() += 1;
            return;
        }
        let place = first_difference(&our_text, &their_text);
        self.differences
            .push(format!("{path} {}\n{place}", parameters[0].1));
    }

    /// Prints the figures; fails when there are differences.
    pub(crate) fn report(mut self) -> Result<(), Failed> {
        let explained: usize = self.explained.values().sum();
        let all = self.equal + explained + self.differences.len();
        eprintln!(
            "seed {}: {} of {all} answers equal ({} of them errors), {explained} differ as explained",
            self.seed, self.equal, self.errors_equal
        );
        for (reason, count) in &self.explained {
            eprintln!("  {count}: {reason}");
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

/// A remark that 3.5 makes and 3.14 does not: there the type is fine.
const OLD_ANNOTATION: &str = "label is not set to \"counter\", got \"histogram\"";

/// Types that counters may have, in the words of 3.14 and of 3.5.
const KNOWN_TYPES: (&str, &str) = (
    "not set to \"counter\" or \"histogram\", got",
    "not set to \"counter\", got",
);

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
            let old = text.contains(OLD_ANNOTATION);
            !old && !NEW_ANNOTATIONS.iter().any(|known| text.contains(known))
        });
        // 3.14 names the metric in these only with delayed name removal, so that those of several
        // places become one, at the last place.
        for text in texts.iter_mut() {
            let Some(full) = text.as_str() else { continue };
            let known = ["bucket label", "fixed for monotonicity"];
            if known.iter().any(|k| full.contains(k)) {
                *text = without_position(&without_metric_name(full)).into();
            } else if let Some((before, got)) = full.split_once(KNOWN_TYPES.0) {
                *text = format!("{before}{}{got}", KNOWN_TYPES.1).into();
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
