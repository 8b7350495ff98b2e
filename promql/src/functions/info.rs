//! `info`: enriches series with the labels of info series, which share the identifying labels.
//!
//! Info series are looked up at the times that the first selector of the argument looks at. Of
//! several info series of one metric and target the one with the newest sample counts; two of the
//! same age are an error. Source: Prometheus `promql/info.go`.

use hashbrown::{HashMap, HashSet};
use tenbin_model::labels::LabelsBuilder;
use tenbin_model::{Labels, METRIC_NAME, MatchOp, Matcher, SampleBuffer};

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::column::{Data, Presence, Series};
use crate::eval::grid::Grid;
use crate::eval::names::join_duplicates;
use crate::eval::plan::{Call, Kind};
use crate::eval::selector::{Found, current_values};

/// The labels that a series and its info series share.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The info metric when none is asked for.
const DEFAULT_METRIC: &str = "target_info";

fn failed(text: String) -> EvalError {
    EvalError::Execution(text)
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Result<Matcher, EvalError> {
    Matcher::new(op, name, value).map_err(|error| failed(error.to_string()))
}

/// The matchers that choose info metrics: those asked for, with `.+_info` if they only exclude.
fn name_matchers(asked: &[&Matcher]) -> Result<Vec<Matcher>, EvalError> {
    let own = || asked.iter().map(|m| (*m).clone());
    if asked.iter().any(|m| !m.op().is_negative()) {
        return Ok(own().collect());
    }
    if asked.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, DEFAULT_METRIC)]);
    }
    let mut all = vec![matcher(MatchOp::Regex, METRIC_NAME, ".+_info")?];
    all.extend(own());
    Ok(all)
}

/// What is asked for: which metrics, and which of their labels.
struct Wanted<'q> {
    names: Vec<Matcher>,
    /// Matchers on other labels, which are also the only labels taken. None: all are taken.
    data: Vec<&'q Matcher>,
}

impl Wanted<'_> {
    fn takes(&self, label: &str) -> bool {
        self.data.is_empty() || self.data.iter().any(|m| m.name() == label)
    }

    /// Whether a series may stay without any info series.
    fn optional(&self) -> bool {
        self.data.iter().all(|m| m.matches_empty())
    }
}

/// An info series: its labels and the time of the current sample at every step.
struct InfoSeries {
    labels: Labels,
    times: Vec<i64>,
    present: Presence,
}

/// What a base series and its info series share, with the info metric's name.
type Signature<'l> = [&'l str; 3];

fn signature<'l>(name: &'l str, labels: &'l Labels) -> Signature<'l> {
    [
        name,
        labels.value_of(IDENTIFYING[0]),
        labels.value_of(IDENTIFYING[1]),
    ]
}

pub(crate) fn info(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let base = evaluator.eval_vector(&call.args[0], grid)?;
    let matchers = match call.args.get(1).map(|arg| &arg.kind) {
        Some(Kind::Selector(selector)) => selector.matchers,
        _ => &[],
    };
    let (asked, data): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|m| m.name() == METRIC_NAME);
    let wanted = Wanted {
        names: name_matchers(&asked)?,
        data,
    };
    let is_info: Vec<bool> = base
        .iter()
        .map(|series| {
            let name = series.labels.metric_name();
            wanted.names.iter().all(|m| m.matches(name))
        })
        .collect();
    let infos = find_infos(evaluator, call, &base, &is_info, &wanted, grid)?;
    let mut by_signature: HashMap<Signature<'_>, Vec<usize>> = HashMap::new();
    let mut metrics: Vec<&str> = Vec::new();
    for (at, info) in infos.iter().enumerate() {
        let name = info.labels.metric_name();
        if !metrics.contains(&name) {
            metrics.push(name);
        }
        by_signature
            .entry(signature(name, &info.labels))
            .or_default()
            .push(at);
    }
    let chosen = choose_newest(&infos, &by_signature, &base, grid)?;
    let mut result = Vec::new();
    for (series, is_info) in base.iter().zip(is_info) {
        evaluator.budget.check()?;
        if is_info {
            result.push(series.clone());
            continue;
        }
        let candidates: Vec<&Vec<Option<usize>>> = metrics
            .iter()
            .filter_map(|name| chosen.get(&signature(name, &series.labels)))
            .collect();
        enrich(series, &candidates, &infos, &wanted, &mut result)?;
    }
    evaluator.budget.release_series(&base);
    for series in &result {
        evaluator.budget.charge_series(series)?;
    }
    join_duplicates(result, &evaluator.budget).map(Data::Vector)
}

/// Matchers for the info series of all base series that are none themselves; `None` when no base
/// series can have any.
fn info_matchers(base: &[Series], is_info: &[bool], wanted: &Wanted<'_>) -> Option<Vec<Matcher>> {
    let mut matchers = Vec::new();
    let mut any = false;
    for label in IDENTIFYING {
        let values: HashSet<&str> = base
            .iter()
            .zip(is_info)
            .filter(|(_, is_info)| !**is_info)
            .map(|(series, _)| series.labels.value_of(label))
            .filter(|value| !value.is_empty())
            .collect();
        if values.is_empty() {
            continue;
        }
        any = true;
        let mut patterns: Vec<String> = values.into_iter().map(quote_pattern).collect();
        patterns.sort_unstable();
        // Should the pattern be too large, more series are read than needed.
        matchers.extend(matcher(MatchOp::Regex, label, &patterns.join("|")).ok());
    }
    matchers.extend(wanted.data.iter().map(|m| (*m).clone()));
    matchers.extend(wanted.names.iter().cloned());
    any.then_some(matchers)
}

/// Reads the info series of all base series that are none themselves.
fn find_infos(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    base: &[Series],
    is_info: &[bool],
    wanted: &Wanted<'_>,
    grid: &Grid,
) -> Result<Vec<InfoSeries>, EvalError> {
    let Some(matchers) = info_matchers(base, is_info, wanted) else {
        return Ok(Vec::new());
    };
    let set = evaluator.select_for(&matchers, grid, "info")?;
    let range = evaluator.lookback_range(call.info_time, grid);
    let mut samples = std::mem::take(&mut evaluator.buffer);
    let mut infos = Vec::new();
    for at in 0..set.len() {
        evaluator.budget.check()?;
        set.read(at, range, &mut samples)?;
        let info = info_series(evaluator, call, set.labels(at)?, &samples, grid)?;
        if !info.present.is_empty() {
            evaluator.budget.charge(info.present.count() as u64)?;
            infos.push(info);
        }
    }
    evaluator.buffer = samples;
    let held: u64 = infos.iter().map(|info| info.present.count() as u64).sum();
    evaluator.budget.release(held);
    Ok(infos)
}

/// At which steps an info series has a current sample, and of what time.
fn info_series(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    labels: Labels,
    samples: &SampleBuffer,
    grid: &Grid,
) -> Result<InfoSeries, EvalError> {
    let mut info = InfoSeries {
        labels,
        times: vec![0; grid.steps],
        present: Presence::none(grid.steps),
    };
    let mut has_histogram = false;
    let lookback_ms = evaluator.options.lookback_ms;
    let tally = &mut evaluator.tally;
    current_values(
        samples,
        grid,
        call.info_time,
        lookback_ms,
        |step, found| match found {
            Found::Float(at, _) => {
                info.times[step] = samples.timestamps_ms[at];
                info.present.set(step);
                tally.sample(step, 1);
            }
            Found::Histogram(..) => has_histogram = true,
        },
    );
    if has_histogram {
        return Err(failed(format!(
            "this should be an info metric, with float samples: {}",
            info.labels
        )));
    }
    Ok(info)
}

/// For every signature the info series that counts at each step.
fn choose_newest<'s>(
    infos: &[InfoSeries],
    by_signature: &HashMap<Signature<'s>, Vec<usize>>,
    base: &[Series],
    grid: &Grid,
) -> Result<HashMap<Signature<'s>, Vec<Option<usize>>>, EvalError> {
    let mut any_base = Presence::none(grid.steps);
    for series in base {
        any_base.union_with(&series.occupied());
    }
    let mut chosen = HashMap::new();
    let mut duplicate: Option<(usize, String)> = None;
    for (signature, members) in by_signature {
        let mut newest: Vec<Option<usize>> = vec![None; grid.steps];
        for at in members {
            let info = &infos[*at];
            for step in info.present.and(&any_base).iter() {
                let slot = &mut newest[step];
                let Some(known) = *slot else {
                    *slot = Some(*at);
                    continue;
                };
                let (other, time) = (infos[known].times[step], info.times[step]);
                if time > other {
                    *slot = Some(*at);
                } else if time == other && duplicate.as_ref().is_none_or(|d| step < d.0) {
                    let text = format!(
                        "found duplicate series for info metric: existing {} @ {other}, \
                         new {} @ {time}",
                        infos[known].labels, info.labels
                    );
                    duplicate = Some((step, text));
                }
            }
        }
        chosen.insert(*signature, newest);
    }
    match duplicate {
        Some((_, text)) => Err(failed(text)),
        None => Ok(chosen),
    }
}

/// Splits a base series by the info series that count for it and gives each part its labels.
fn enrich(
    series: &Series,
    candidates: &[&Vec<Option<usize>>],
    infos: &[InfoSeries],
    wanted: &Wanted<'_>,
    result: &mut Vec<Series>,
) -> Result<(), EvalError> {
    let mut parts: Vec<(Vec<usize>, Option<usize>)> = Vec::new();
    for step in series.occupied().iter() {
        let matched: Vec<usize> = candidates.iter().filter_map(|all| all[step]).collect();
        let known = parts.iter().find(|(other, _)| *other == matched);
        let place = match known {
            Some((_, place)) => *place,
            None => {
                let labels = enriched_labels(&series.labels, &matched, infos, wanted)?;
                let place = labels.map(|labels| {
                    let mut part = Series::new(labels, series.steps());
                    part.drop_name = series.drop_name;
                    result.push(part);
                    result.len() - 1
                });
                parts.push((matched, place));
                place
            }
        };
        if let (Some(place), Some(value)) = (place, series.get(step)) {
            result[place].set(step, value);
        }
    }
    Ok(())
}

/// The labels of a base series with those of its info series; `None` when it is to be left out.
fn enriched_labels(
    base: &Labels,
    matched: &[usize],
    infos: &[InfoSeries],
    wanted: &Wanted<'_>,
) -> Result<Option<Labels>, EvalError> {
    if matched.is_empty() {
        return Ok(wanted.optional().then(|| base.clone()));
    }
    let mut added: HashMap<&str, &str> = HashMap::new();
    for at in matched {
        for (name, value) in infos[*at].labels.iter() {
            if name == METRIC_NAME || !wanted.takes(name) {
                continue;
            }
            if added.get(name).is_some_and(|other| *other != value) {
                return Err(failed(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.insert(name, value);
            }
        }
    }
    let mut builder = LabelsBuilder::from_labels(base);
    for (name, value) in added {
        builder.set(name, value);
    }
    Ok(Some(builder.build()))
}

/// Go's `regexp.QuoteMeta`.
fn quote_pattern(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_excluding_names_means_any_other_info_metric() {
        let not = Matcher::new(MatchOp::NotEqual, METRIC_NAME, "a_info").unwrap();
        let all = name_matchers(&[&not]).unwrap();
        let matches = |name: &str| all.iter().all(|m| m.matches(name));
        assert!(matches("b_info") && !matches("a_info") && !matches("b"));
        assert!(name_matchers(&[]).unwrap()[0].matches("target_info"));
    }

    #[test]
    fn patterns_are_quoted() {
        assert_eq!(quote_pattern("a.b:9090"), "a\\.b:9090");
    }
}
