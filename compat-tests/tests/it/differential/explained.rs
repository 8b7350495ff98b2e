//! Differences between 3.5 and 3.14, or between stores, that are no mistakes: each with its reason, as
//! docs/COMPAT.md lists them.

use std::collections::BTreeMap;

use serde_json::Value;
use tenbin_compat_tests::answers::{
    is_infinite_for_nan, is_smaller, same, same_but, same_but_histograms,
};
use tenbin_compat_tests::dataset::START_MS;
use tenbin_compat_tests::http::Answer;
use tenbin_compat_tests::rewrite::{
    aggregations_of, calls_of, counted_operands, subqueries_of, with_equalities_first,
    with_kept_names, without_counted_values,
};

use super::ask::Ask;
use super::fresh::Fresh;
use super::{STEPS, comparable, with_texts, without, without_metric_name};

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
pub(super) fn explained_error(query: &str, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
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

/// Why the answers to a question differ, if the reason is known. Asks more where the answers alone
/// cannot tell.
pub(super) fn explain(
    ask: &Ask<'_>,
    fresh: &mut Option<Fresh>,
    path: &str,
    parameters: &[(&str, &str)],
    ours: &Answer,
    theirs: &Answer,
) -> Option<&'static str> {
    let query = parameters[0].1;
    if ours.status != 200 || theirs.status != 200 {
        let ours_alone = ours.status == 200 && path == "query_range";
        if ours_alone && query.contains("predict_linear((") && agree_at_every_step(ask, query) {
            return Some("Prometheus evaluates pinned subqueries in predict_linear too far");
        }
        return explained_error(query, ours, theirs);
    }
    if let Some(reason) = explained_values(query, ours, theirs) {
        return Some(reason);
    }
    if extrapolates_less(ask, path, parameters) {
        return Some("3.14 extrapolates no histogram below a count of zero");
    }
    if averages_infinities(ask, path, parameters) {
        return Some("3.14 sums up histograms with a compensation that knows infinities");
    }
    if spreads_nan(ask, path, parameters) {
        return Some("3.14's mad_over_time is NaN when any sample is NaN");
    }
    if picks_among_equals(ask, path, parameters) {
        return Some("which of equal values topk and bottomk pick depends on series order");
    }
    if query.contains("absent") {
        let reordered = with_equalities_first(query);
        let mut parameters = parameters.to_vec();
        parameters[0].1 = &reordered;
        let agree =
            |(ours, theirs): (Answer, Answer)| same(&comparable(&ours), &comparable(&theirs));
        if reordered != query && ask.both(path, &parameters).is_ok_and(agree) {
            return Some("3.5 sorts the matchers that absent reads only where it has data");
        }
    }
    if last_digits_count(ask, fresh, path, parameters) {
        return Some("count_values tells values apart that differ in the last digits of sums");
    }
    if last_digits_reset(ask, fresh, path, parameters) {
        return Some("resets are seen in the last digits of sums, which depend on series order");
    }
    if !query.contains('[') || !query.contains("nh") {
        return None;
    }
    if ask.agree_again(path, &comparable(ours), parameters) {
        return Some("3.5 mixes histograms in windows up, differently from time to time");
    }
    ask.agree_afresh(fresh, path, parameters)
        .then_some("3.5 mixes histograms in windows up, but not right after its start")
}

/// When questions are asked that cover all times at which a subquery may look.
fn often<'a>(
    query: &'a str,
    start: &'a str,
    parameters: &[(&'a str, &'a str)],
) -> [(&'a str, &'a str); 4] {
    let value = |name| parameters.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let end = value("end").or_else(|| value("time")).unwrap_or(start);
    [
        ("query", query),
        ("start", start),
        ("end", end),
        ("step", "1"),
    ]
}

/// The start of the data.
fn first_time() -> String {
    (START_MS / 1000 - 30).to_string()
}

/// Whether one of the rates in the query differs, and does so by nothing but a factor per
/// histogram, by which ours is smaller.
pub(super) fn extrapolates_less(ask: &Ask<'_>, path: &str, parameters: &[(&str, &str)]) -> bool {
    parameters[0].1.contains("nh")
        && call_differs(
            ask,
            path,
            parameters,
            &calls_of(parameters[0].1, &["rate", "increase"]),
            &|ours, theirs| same_but_histograms(ours, theirs, &is_smaller),
        )
}

/// Whether one of the `mad_over_time` in the query differs, and is NaN where it does.
fn spreads_nan(ask: &Ask<'_>, path: &str, parameters: &[(&str, &str)]) -> bool {
    let nan = |ours: f64, _: f64| ours.is_nan();
    let calls = calls_of(parameters[0].1, &["mad_over_time"]);
    call_differs(ask, path, parameters, &calls, &|ours, theirs| {
        !same(ours, theirs) && same_but(ours, theirs, &nan)
    })
}

/// Whether both servers agree about an instant query at every step of the range.
fn agree_at_every_step(ask: &Ask<'_>, query: &str) -> bool {
    STEPS.step_by(37).all(|time| {
        let answers = ask.both("query", &[("query", query), ("time", &time.to_string())]);
        answers.is_ok_and(|(ours, theirs)| same(&comparable(&ours), &comparable(&theirs)))
    })
}

/// Whether one of the aggregations that pick series differs, but not in how many it picks and what
/// they add up to.
fn picks_among_equals(ask: &Ask<'_>, path: &str, parameters: &[(&str, &str)]) -> bool {
    let start = first_time();
    let agree = |path: &str, query: &str, parameters: &[(&str, &str)]| {
        let mut parameters = parameters.to_vec();
        parameters[0].1 = query;
        ask.both(path, &parameters)
            .is_ok_and(|(ours, theirs)| same(&comparable(&ours), &comparable(&theirs)))
    };
    let equals = |path: &str, call: &str, parameters: &[(&str, &str)]| {
        !agree(path, call, parameters)
            && agree(path, &format!("sum({call})"), parameters)
            && agree(path, &format!("count({call})"), parameters)
    };
    aggregations_of(parameters[0].1, &["topk", "bottomk"])
        .into_iter()
        .any(|call| {
            equals(path, call, parameters)
                || equals("query_range", call, &often(call, &start, parameters))
        })
}

/// Whether an average of native histograms differs: ours is infinite where theirs is NaN.
fn averages_infinities(ask: &Ask<'_>, path: &str, parameters: &[(&str, &str)]) -> bool {
    let mut calls = calls_of(parameters[0].1, &["avg_over_time"]);
    calls.extend(aggregations_of(parameters[0].1, &["avg"]));
    parameters[0].1.contains("nh")
        && call_differs(ask, path, parameters, &calls, &|ours, theirs| {
            same_but_histograms(ours, theirs, &is_infinite_for_nan)
        })
}

/// Whether one of the calls differs in a way, when it is asked for alone.
fn call_differs(
    ask: &Ask<'_>,
    path: &str,
    parameters: &[(&str, &str)],
    calls: &[&str],
    way: &dyn Fn(&str, &str) -> bool,
) -> bool {
    let start = first_time();
    let differs = |path: &str, parameters: &[(&str, &str)]| {
        let answers = ask.both(path, parameters);
        answers.is_ok_and(|(ours, theirs)| way(&comparable(&ours), &comparable(&theirs)))
    };
    calls.iter().any(|call| {
        let mut alone = parameters.to_vec();
        alone[0].1 = call;
        differs(path, &alone) || differs("query_range", &often(call, &start, parameters))
    })
}

/// Whether both servers agree about an operand, but for the last digits somewhere.
fn last_digits_differ(
    ask: &Ask<'_>,
    fresh: &mut Option<Fresh>,
    path: &str,
    operand: &str,
    parameters: &[(&str, &str)],
) -> bool {
    let start = first_time();
    let mut alone = parameters.to_vec();
    alone[0].1 = operand;
    // Subqueries ask at times of their own.
    let often = often(operand, &start, parameters);
    let mut exactly = true;
    for (path, parameters) in [(path, alone.as_slice()), ("query_range", &often)] {
        let Ok((ours, theirs)) = ask.both(path, parameters) else {
            return false;
        };
        let (our_text, their_text) = (comparable(&ours), comparable(&theirs));
        let agree = same(&our_text, &their_text)
            || explain(ask, fresh, path, parameters, &ours, &theirs).is_some();
        if !agree {
            return false;
        }
        exactly &= our_text == their_text;
    }
    !exactly
}

/// Whether both servers agree when `count_values` only counts, and what one of them counts differs in
/// the last digits.
fn last_digits_count(
    ask: &Ask<'_>,
    fresh: &mut Option<Fresh>,
    path: &str,
    parameters: &[(&str, &str)],
) -> bool {
    let operands = counted_operands(parameters[0].1);
    let counted = without_counted_values(parameters[0].1);
    let mut counting = parameters.to_vec();
    counting[0].1 = &counted;
    let mut agree = || {
        let Ok((ours, theirs)) = ask.both(path, &counting) else {
            return false;
        };
        same(&comparable(&ours), &comparable(&theirs))
            || explain(ask, fresh, path, &counting, &ours, &theirs).is_some()
    };
    !operands.is_empty()
        && agree()
        && (operands.iter())
            .any(|operand| last_digits_differ(ask, fresh, path, operand, parameters))
}

/// Whether a function that sees a reset in every decrease looks at values that differ in the last
/// digits.
fn last_digits_reset(
    ask: &Ask<'_>,
    fresh: &mut Option<Fresh>,
    path: &str,
    parameters: &[(&str, &str)],
) -> bool {
    let functions = ["rate", "increase", "irate", "resets", "changes"];
    subqueries_of(parameters[0].1, &functions)
        .into_iter()
        .any(|operand| last_digits_differ(ask, fresh, path, operand, parameters))
}

/// Why delayed name removal makes a difference, if the reason is known.
pub(super) fn explained_names(
    path: &str,
    query: &str,
    ours: &Answer,
    theirs: &Answer,
) -> Option<&'static str> {
    const EQUAL: &str = "vector cannot contain metrics with the same labelset";
    let joined = ours.status == 200 && json_text(theirs) == EQUAL;
    if joined && path == "query_range" && query.contains(" or ") {
        return Some("3.14 joins series that become equal when they never meet");
    }
    None
}

/// Whether 3.5 answers what we answer when we are asked to keep the names of subqueries inside
/// `last_over_time`: it forgets that they are to be dropped.
pub(super) fn explained_kept_names(
    ask: &Ask<'_>,
    fresh: &mut Option<Fresh>,
    path: &str,
    parameters: &[(&str, &str)],
) -> Option<&'static str> {
    with_kept_names(parameters[0].1)?;
    let ask = ask.keeping_names();
    let (ours, theirs) = ask.both(path, parameters).ok()?;
    let agree = same(&comparable(&ours), &comparable(&theirs))
        || explain(&ask, fresh, path, parameters, &ours, &theirs).is_some();
    agree.then_some("3.5 forgets in last_over_time that a name is to be dropped")
}

/// The error text without JSON's escapes.
fn json_text(answer: &Answer) -> String {
    answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Why the results of a query differ, if the reason is known.
pub(super) fn explained_values(
    query: &str,
    ours: &Answer,
    theirs: &Answer,
) -> Option<&'static str> {
    let has = |names: &[&str]| names.iter().any(|name| query.contains(name));
    let (our_text, their_text) = (ours.text(), theirs.text());
    let grows = has(&["rate(", "increase("]);
    if query.contains("nh_schema") && (grows || query.contains("resets(")) {
        return Some("3.5 overlooks resets where the new histogram has fewer buckets");
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
    let close = |a: f64, b: f64| (a - b).abs() <= f64::max(1e-15, 1e-9 * a.abs());
    if has(&["stddev", "stdvar"]) && same_but(&our_values, &their_values, &close) {
        return Some("of the spread of nearly equal values only rounding is left");
    }
    let texts = [ours, theirs].map(without_nan_texts);
    if query.contains("count_values") && texts[0] == texts[1] {
        return Some("which empty buckets count_values shows as NaN depends on the chunk");
    }
    let gauge = ["native histogram metric is not a"];
    if same(&without(ours, &gauge), &without(theirs, &gauge)) {
        return Some("3.14 takes differences and negative multiples of histograms for gauges");
    }
    let [our_mix, their_mix] = [ours, theirs].map(without_mixed_name);
    if same(&our_mix, &their_mix) {
        return Some("of a group that mixes buckets one metric is named, by series order");
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

/// What `count_values` counted by metric and time, without buckets that are NaN in its texts.
fn without_nan_texts(answer: &Answer) -> String {
    let mut body: Value = answer.json();
    let mut counts: BTreeMap<(String, String), f64> = BTreeMap::new();
    let all = body.pointer_mut("/data/result").map(Value::take);
    for series in all.iter().filter_map(Value::as_array).flatten() {
        let mut metric = series["metric"].clone();
        if let Some(text) = metric["value"].as_str() {
            let parts = text.trim_end_matches('}').split(", ");
            let kept = parts.filter(|part| part.starts_with('{') || !part.ends_with(":NaN"));
            metric["value"] = kept.collect::<Vec<_>>().join(", ").into();
        }
        let one = std::slice::from_ref(&series["value"]);
        for point in series["values"].as_array().map_or(one, Vec::as_slice) {
            let count = point[1].as_str().and_then(|text| text.parse::<f64>().ok());
            let counted = counts
                .entry((metric.to_string(), point[0].to_string()))
                .or_default();
            *counted += count.unwrap_or(f64::NAN);
        }
    }
    let mut rest = answer.clone();
    rest.body = body.to_string().into_bytes();
    format!("{} {counts:?}", comparable(&rest))
}

/// The answer without the metric's name in warnings about groups that mix kinds of buckets.
fn without_mixed_name(answer: &Answer) -> String {
    with_texts(answer, |texts| {
        for text in texts {
            if let Some(full) = text
                .as_str()
                .filter(|t| t.contains("contains a mix of histograms"))
            {
                *text = without_metric_name(full).into();
            }
        }
    })
}
