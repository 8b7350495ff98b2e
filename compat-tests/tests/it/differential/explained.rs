//! Differences between 3.5 and 3.14, or between stores, that are no mistakes: each with its reason, as
//! docs/COMPAT.md lists them.

use tenbin_compat_tests::answers::{same, same_but};
use tenbin_compat_tests::http::Answer;

use super::{comparable, without};

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

/// Why delayed name removal makes a difference, if the reason is known.
pub(super) fn explained_names(
    path: &str,
    query: &str,
    ours: &Answer,
    theirs: &Answer,
) -> Option<&'static str> {
    const EQUAL: &str = "vector cannot contain metrics with the same labelset";
    let of_samples = ["last_over_time", "first_over_time"];
    if of_samples.iter().any(|name| query.contains(name)) && query.contains(':') {
        return Some("3.5 forgets in last_over_time that a name is to be dropped");
    }
    let joined = ours.status == 200 && json_text(theirs) == EQUAL;
    if joined && path == "query_range" && query.contains(" or ") {
        return Some("3.14 joins series that become equal when they never meet");
    }
    None
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
    if query.contains("count_values") && has(&["nh"]) && has(&["avg", "sum"]) {
        return Some("count_values shows the last digits of sums, which depend on series order");
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
