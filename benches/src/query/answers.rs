//! Whether the systems agree, before any time counts.

use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::http::{Answer, Client};

use super::mix::Query;
use crate::systems::{Running, System};

/// One answer; anything but 200 is an error.
pub(crate) fn ask(client: &Client, running: &Running, target: &str) -> Result<Answer, String> {
    let answer = client.get(&format!("{}{target}", running.url))?;
    if answer.status == 200 {
        return Ok(answer);
    }
    let (name, text) = (running.system.name(), answer.text());
    Err(format!("{name}: {target}: {} {text}", answer.status))
}

/// Fails when systems do not agree as far as they should: Prometheus' answer must be ours but for
/// the last digits of numbers; VictoriaMetrics, which calculates otherwise by design, must have an
/// answer where we have one.
pub(super) fn compare(systems: &[Running], query: &Query, end_ms: i64) -> Result<(), String> {
    let target = query.target(end_ms, 0, true);
    if query.metadata.is_some() {
        return compare_lists(systems, &target);
    }
    compare_values(systems, &target, query.kind == "topk")
}

/// The same for an evaluated query. Which of several equal values `topk` picks depends on the order
/// of series.
pub(crate) fn compare_values(
    systems: &[Running],
    target: &str,
    is_topk: bool,
) -> Result<(), String> {
    let client = Client::default();
    let mut ours: Option<Answer> = None;
    for running in systems {
        let answer = ask(&client, running, target)?;
        let Some(ours) = &ours else {
            ours = Some(answer);
            continue;
        };
        let count = |answer: &Answer| {
            let series = &answer.json()["data"]["result"];
            series.as_array().map_or(0, Vec::len)
        };
        let (a, b) = (without_remarks(ours), without_remarks(&answer));
        let agree = match running.system {
            System::VictoriaMetrics => (count(ours) == 0) == (count(&answer) == 0),
            _ if is_topk => points(ours) == points(&answer),
            _ => same(&a, &b),
        };
        if !agree {
            let name = running.system.name();
            return Err(format!(
                "{name} disagrees on {target}\n{}",
                first_difference(&a, &b)
            ));
        }
    }
    Ok(())
}

/// The same for lists of labels or series, whose order is free.
pub(crate) fn compare_lists(systems: &[Running], target: &str) -> Result<(), String> {
    let (client, mut ours) = (Client::default(), None);
    for running in systems {
        let list = sorted(&ask(&client, running, target)?);
        let Some(ours) = &ours else {
            ours = Some(list);
            continue;
        };
        let agree = match running.system {
            System::VictoriaMetrics => ours.is_empty() == list.is_empty(),
            _ => *ours == list,
        };
        if !agree {
            let (name, a, b) = (running.system.name(), ours.len(), list.len());
            return Err(format!(
                "{name} disagrees on {target}: {a} elements and {b}"
            ));
        }
    }
    Ok(())
}

fn sorted(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let elements = body["data"].as_array().into_iter().flatten();
    let mut list: Vec<String> = elements.map(ToString::to_string).collect();
    list.sort_unstable();
    list
}

/// Fails when the cache's answer is not the one without it. Tenbin only: VictoriaMetrics moves the
/// times of cached queries to multiples of the step, by design.
pub(super) fn compare_cached(running: &Running, query: &Query, end_ms: i64) -> Result<(), String> {
    let client = Client::default();
    for back in [3, 2, 0] {
        let cached = ask(&client, running, &query.target(end_ms, back, false))?;
        let fresh = ask(&client, running, &query.target(end_ms, back, true))?;
        if normalised(&cached) != normalised(&fresh) {
            let difference = first_difference(&normalised(&cached), &normalised(&fresh));
            return Err(format!("the cache changes {}\n{difference}", query.text));
        }
    }
    Ok(())
}

/// The values of all series with their times, sorted.
fn points(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let series = body["data"]["result"].as_array().into_iter().flatten();
    let mut points: Vec<String> = series
        .flat_map(|series| {
            let many = series["values"].as_array().into_iter().flatten();
            let one = series.get("value").into_iter();
            many.chain(one).map(ToString::to_string).collect::<Vec<_>>()
        })
        .collect();
    points.sort_unstable();
    points
}

/// The answer without infos and warnings, in comparable form.
fn without_remarks(answer: &Answer) -> String {
    let mut answer = answer.clone();
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| name != "infos" && name != "warnings");
    }
    answer.body = body.to_string().into_bytes();
    normalised(&answer)
}
