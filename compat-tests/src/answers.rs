//! Comparing the answers of two servers.
//!
//! Status, content type and JSON must be equal after what has no defined order or content is
//! normalised: instant vectors and series lists are sorted by labels, query statistics removed.
//! Sample values may differ by 1e-12 of their size: a sum over series depends in its last digit on
//! the order in which a store returns the series, and that order is each store's own.

use serde_json::Value;

use crate::http::Answer;

/// An answer in comparable form: status, content type and the normalised body.
#[must_use]
pub fn normalised(answer: &Answer) -> String {
    let mut body = answer.json();
    if body.is_null() {
        return format!(
            "{} {}\n{}",
            answer.status,
            answer.content_type,
            answer.text()
        );
    }
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
    format!("{} {}\n{body}", answer.status, answer.content_type)
}

/// The largest relative difference of two sample values that count as equal.
const TOLERANCE: f64 = 1e-12;

/// Whether two normalised answers say the same.
#[must_use]
pub fn same(ours: &str, theirs: &str) -> bool {
    same_but(ours, theirs, &|_, _| false)
}

/// Whether two normalised answers say the same, but for numbers that `allowed` lets differ.
#[must_use]
pub fn same_but(ours: &str, theirs: &str, allowed: &dyn Fn(f64, f64) -> bool) -> bool {
    if ours == theirs {
        return true;
    }
    match (parts(ours), parts(theirs)) {
        (Some((our_head, ours)), Some((their_head, theirs))) => {
            our_head == their_head && same_value(&ours, &theirs, allowed)
        }
        _ => false,
    }
}

/// Whether two normalised answers say the same, but for native histograms that differ in a way, and
/// at least one does.
#[must_use]
pub fn same_but_histograms(ours: &str, theirs: &str, way: &dyn Fn(&Value, &Value) -> bool) -> bool {
    match (parts(ours), parts(theirs)) {
        (Some((our_head, ours)), Some((their_head, theirs))) => {
            let mut differ = false;
            our_head == their_head && same_or(&ours, &theirs, way, &mut differ) && differ
        }
        _ => false,
    }
}

fn same_or(
    ours: &Value,
    theirs: &Value,
    way: &dyn Fn(&Value, &Value) -> bool,
    differ: &mut bool,
) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && (a.iter().zip(b)).all(|(a, b)| same_or(a, b, way, differ))
        }
        (Value::Object(a), Value::Object(_)) if a.contains_key("count") => {
            let same = same_value(ours, theirs, &|_, _| false);
            *differ |= !same;
            same || way(ours, theirs)
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && (a.iter()).all(|(key, a)| b.get(key).is_some_and(|b| same_or(a, b, way, differ)))
        }
        _ => same_value(ours, theirs, &|_, _| false),
    }
}

/// Whether our histogram is theirs times a factor from 0 to 1.
#[must_use]
pub fn is_smaller(ours: &Value, theirs: &Value) -> bool {
    scaled(ours, theirs).is_some()
}

/// Whether our histogram counts infinitely much, and theirs NaN.
#[must_use]
pub fn is_infinite_for_nan(ours: &Value, theirs: &Value) -> bool {
    let ours = ours["count"].as_str().unwrap_or_default();
    ours.ends_with("Inf") && theirs["count"] == "NaN"
}

/// That our histogram is theirs times a factor below 1.
fn scaled(ours: &Value, theirs: &Value) -> Option<()> {
    const CLOSE: f64 = 1e-9;
    let number = |value: &Value| value.as_str()?.parse::<f64>().ok();
    let (our_count, their_count) = (number(&ours["count"])?, number(&theirs["count"])?);
    let factor = our_count / their_count;
    let close = |a: &Value, b: &Value| {
        let (a, b) = (number(a)?, number(b)? * factor);
        ((a - b).abs() <= CLOSE * a.abs().max(b.abs()).max(our_count.abs())).then_some(())
    };
    close(&ours["sum"], &theirs["sum"])?;
    let no_bucket = Vec::new();
    let buckets = |value: &'_ Value| value["buckets"].as_array().cloned();
    let (a, b) = (
        buckets(ours).unwrap_or_else(|| no_bucket.clone()),
        buckets(theirs).unwrap_or(no_bucket),
    );
    if !(0.0..1.0).contains(&factor) || a.len() != b.len() {
        return None;
    }
    for (a, b) in a.iter().zip(&b) {
        ((0..3).all(|at| a[at] == b[at])).then_some(())?;
        close(&a[3], &b[3])?;
    }
    Some(())
}

/// What comes before the body, and the body.
fn parts(text: &str) -> Option<(String, Value)> {
    let (head, body) = text.split_once('\n')?;
    Some((head.to_owned(), serde_json::from_str(body).ok()?))
}

fn same_value(ours: &Value, theirs: &Value, allowed: &dyn Fn(f64, f64) -> bool) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b, allowed))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b, allowed)))
        }
        (Value::String(a), Value::String(b)) => a == b || same_number(a, b, allowed),
        _ => ours == theirs,
    }
}

/// Numbers that are the same to the bit must be written the same, too.
fn same_number(ours: &str, theirs: &str, allowed: &dyn Fn(f64, f64) -> bool) -> bool {
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(a), Ok(b)) if a.to_bits() == b.to_bits() => false,
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()) || allowed(a, b),
        _ => false,
    }
}

/// Where two texts first differ, with a little of what surrounds the place.
#[must_use]
pub fn first_difference(ours: &str, theirs: &str) -> String {
    let at = ours.bytes().zip(theirs.bytes()).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| ours.len().min(theirs.len()));
    let around = |text: &str| {
        let (from, to) = (at.saturating_sub(150), (at + 150).min(text.len()));
        String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()
    };
    format!(
        "at byte {at}\n   tenbin: ...{}\n     peer: ...{}",
        around(ours),
        around(theirs)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_may_be_smaller_by_one_factor() {
        let answer = |count: &str, bucket: &str, float: &str| {
            format!(
                "200 json\n{{\"v\":[[1,{{\"count\":\"{count}\",\"sum\":\"{count}\",\"buckets\":[[0,\"1\",\"2\",\"{bucket}\"]]}}],[1,\"{float}\"]]}}"
            )
        };
        let theirs = answer("-8", "-4", "7");
        let smaller = |ours: &str| same_but_histograms(ours, &theirs, &is_smaller);
        assert!(smaller(&answer("-6", "-3", "7")));
        assert!(!smaller(&theirs), "nothing differs");
        assert!(!smaller(&answer("-6", "-3.1", "7")), "not one factor");
        assert!(!smaller(&answer("-9", "-4.5", "7")), "greater");
        assert!(!smaller(&answer("6", "3", "7")), "another sign");
        assert!(!smaller(&answer("-6", "-3", "6")), "a float differs");
        let infinite = |ours: &str, theirs: &str| {
            let [ours, theirs] = [ours, theirs].map(|count| answer(count, "1", "7"));
            same_but_histograms(&ours, &theirs, &is_infinite_for_nan)
        };
        assert!(infinite("+Inf", "NaN") && infinite("-Inf", "NaN"));
        assert!(!infinite("NaN", "+Inf") && !infinite("1", "NaN") && !infinite("NaN", "NaN"));
    }

    #[test]
    fn only_the_last_digits_of_numbers_may_differ() {
        let answer = |value: &str| format!("200 application/json\n{{\"v\":[1,\"{value}\"]}}");
        assert!(same(
            &answer("944542.6496625"),
            &answer("944542.6496624999")
        ));
        assert!(!same(&answer("944542.64966"), &answer("944542.64967")));
        assert!(!same(&answer("a"), &answer("b")));
        assert!(!same(&answer("1e3"), &answer("1000")));
        assert!(same_but(&answer("NaN"), &answer("5"), &|a, _| a.is_nan()));
        assert!(!same(&answer("1"), &answer("1").replace("200", "400")));
        assert!(!same(&answer("1"), &answer("1").replace("[1,", "[2,")));
    }
}
