//! Random queries, evaluated by a real Prometheus 3.5 and by Tenbin on identical data: gaps, counter
//! resets, staleness markers, NaN, infinities, classic histograms, names that need quotes.
//!
//! `TENBIN_DIFFERENTIAL=<n>` runs n valid and n/5 broken queries (default 5,000 and 1,000; fewer with
//! features that are off by default), each valid one as an instant and as a range query; `TENBIN_SEED=<n>` chooses other ones,
//! `TENBIN_SHOW=<n>` shows more than 25 differences.

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

use self::explained::{explained_error, explained_names, explained_values};
use self::fresh::{FRESH_TIMES, Fresh};
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
    for _ in 0..count {
        let query = generator.query();
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

/// Both answers to a question.
type Answers = (Result<Answer, String>, Result<Answer, String>);

/// Asks both servers at an endpoint.
type Ask<'a> = dyn Fn(&str, &[(&str, &str)]) -> Answers + 'a;

/// The times that range queries ask about.
const STEPS: std::ops::RangeInclusive<i64> =
    START_MS / 1000 - 30..=START_MS / 1000 + (SCRAPES - 3) * 15;

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
            let mut steps = STEPS.step_by(37);
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
        our_url: &str,
        their_url: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) {
        let ask = |path: &str, parameters: &[(&str, &str)]| {
            let [ours, theirs] = [our_url, their_url]
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
        let of_names = self
            .delayed_names
            .then(|| explained_names(path, query, &ours, &theirs));
        let reason = if let Some(reason) = of_names.flatten() {
            Some(reason)
        } else if ours.status == 200 && theirs.status == 200 {
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
        if succeeded
            && query.contains('[')
            && query.contains("nh")
            && self.agree_afresh(client, our_url, path, parameters)
        {
            let reason = "3.5 mixes histograms in windows up, but not right after its start";
            *self.explained.entry(reason).or_default() += 1;
            return;
        }
        let place = first_difference(&our_text, &their_text);
        self.differences
            .push(format!("{path} {}\n{place}", parameters[0].1));
    }

    /// Whether a peer that was just started agrees about every instance alone, at every step: what
    /// 3.5 mixes up comes from earlier queries.
    fn agree_afresh(
        &mut self,
        client: &Client,
        our_url: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> bool {
        let Some(fresh) = &mut self.fresh else {
            return false;
        };
        let value = |name| parameters.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let times: Vec<i64> = match value("time").and_then(|time| time.parse().ok()) {
            Some(time) if path == "query" => vec![time],
            _ => STEPS.step_by(37).collect(),
        };
        (0..FRESH_TIMES).any(|_| {
            let Ok(fresh) = fresh.start() else {
                return false;
            };
            (0..6).all(|number| {
                let alone = of_instance(parameters[0].1, &format!("i{number}"));
                times.iter().all(|time| {
                    let time = time.to_string();
                    let asked = [("query", alone.as_str()), ("time", &time)];
                    let [ours, theirs] = [our_url, &fresh.url]
                        .map(|base| client.post_form(&format!("{base}/api/v1/query"), &asked));
                    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
                        return false;
                    };
                    same(&comparable(&ours), &comparable(&theirs))
                        || explained_values(&alone, &ours, &theirs).is_some()
                })
            })
        })
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
