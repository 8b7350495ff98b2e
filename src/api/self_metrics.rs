//! `/api/v1/status/self_metrics`: what `/metrics` says, as JSON in the form of the exposition's protobuf messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenbin_model::Regex;
use tenbin_model::text::float::parse_float;

use super::error::ApiError;
use super::params::Params;
use super::response::success_json;
use crate::server::App;
use crate::telemetry::exposition;

/// Labels of a sample, in their order.
type Labels = Vec<(String, String)>;

/// A family as it is read from the text that we write ourselves.
#[derive(Default)]
struct Family {
    name: String,
    help: String,
    kind: String,
    /// Name suffix, labels, value.
    samples: Vec<(String, Labels, f64)>,
}

/// `GET /api/v1/status/self_metrics`
pub async fn self_metrics(State(app): State<Arc<App>>, params: Params) -> Response {
    let pattern = params.first("metric_name_pattern");
    let pattern = match Regex::new(pattern) {
        Ok(regex) => (!pattern.is_empty()).then_some(regex),
        Err(error) => {
            return ApiError::invalid_parameter("metric_name_pattern", error).into_response();
        }
    };
    let stats = app.store().map(|db| db.stats());
    let text = exposition::render(&app, stats.as_ref());
    let families: Vec<Value> = families(&text)
        .iter()
        .filter(|family| pattern.as_ref().is_none_or(|p| p.is_match(&family.name)))
        .map(family_json)
        .collect();
    success_json(&Value::Array(families))
}

fn families(text: &str) -> Vec<Family> {
    let mut all: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            all.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                ..Family::default()
            });
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            if let (Some(family), Some((_, kind))) = (all.last_mut(), kind.split_once(' ')) {
                family.kind = kind.to_uppercase();
            }
        } else if let (Some(family), Some((head, value))) = (all.last_mut(), line.rsplit_once(' '))
        {
            let (name, labels) = head.split_once('{').unwrap_or((head, ""));
            let suffix = name.strip_prefix(family.name.as_str()).unwrap_or_default();
            let value = parse_float(value).unwrap_or(f64::NAN);
            family
                .samples
                .push((suffix.to_owned(), read_labels(labels), value));
        }
    }
    all
}

fn read_labels(mut text: &str) -> Labels {
    let mut labels = Vec::new();
    while let Some((name, after)) = text.split_once("=\"") {
        let (mut value, mut escaped, mut end) = (String::new(), false, after.len());
        for (at, c) in after.char_indices() {
            match (escaped, c) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = at + 1;
                    break;
                }
                (true, 'n') => {
                    value.push('\n');
                    escaped = false;
                }
                (_, c) => {
                    value.push(c);
                    escaped = false;
                }
            }
        }
        labels.push((name.to_owned(), value));
        text = after[end..].trim_start_matches([',', '}']);
    }
    labels
}

/// A double as protobuf's JSON has it.
fn double(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}

fn family_json(family: &Family) -> Value {
    let metrics: Vec<Value> = match family.kind.as_str() {
        "HISTOGRAM" | "SUMMARY" => grouped(family),
        kind => family
            .samples
            .iter()
            .map(|(_, labels, value)| {
                let value = json!({ "value": double(*value) });
                metric(labels, &kind.to_lowercase(), value)
            })
            .collect(),
    };
    json!({
        "name": family.name,
        "help": family.help,
        "type": family.kind,
        "metric": metrics,
    })
}

fn metric(labels: &[(String, String)], key: &str, value: Value) -> Value {
    let labels: Vec<Value> = labels
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let mut out = json!({});
    if !labels.is_empty() {
        out["label"] = Value::Array(labels);
    }
    out[key] = value;
    out
}

/// Histograms and summaries: the samples of one label set together. Counts are 64-bit and so strings.
fn grouped(family: &Family) -> Vec<Value> {
    let key = family.kind.to_lowercase();
    let mut groups: BTreeMap<Labels, Value> = BTreeMap::new();
    for (suffix, labels, value) in &family.samples {
        let (own, rest): (Labels, Labels) = labels
            .iter()
            .cloned()
            .partition(|(name, _)| name == "le" && suffix == "_bucket");
        let entry = groups.entry(rest).or_insert_with(|| json!({}));
        let count = json!(format!("{value:.0}"));
        match suffix.as_str() {
            "_sum" => entry["sampleSum"] = double(*value),
            "_count" => entry["sampleCount"] = count,
            _ => {
                let bound = own.first().and_then(|(_, le)| parse_float(le));
                let bucket = json!({
                    "cumulativeCount": count,
                    "upperBound": double(bound.unwrap_or(f64::NAN)),
                });
                match entry["bucket"].as_array_mut() {
                    Some(buckets) => buckets.push(bucket),
                    None => entry["bucket"] = json!([bucket]),
                }
            }
        }
    }
    groups
        .into_iter()
        .map(|(labels, value)| metric(&labels, &key, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_become_messages() {
        let text = "# HELP a A b.\n# TYPE a gauge\na{x=\"q\\\"\\\\\\n\"} 1.5\n\
                    # HELP h H.\n# TYPE h histogram\nh_bucket{s=\"1\",le=\"0.5\"} 1\n\
                    h_bucket{s=\"1\",le=\"+Inf\"} 2\nh_sum{s=\"1\"} 3\nh_count{s=\"1\"} 2\n";
        let all: Vec<Value> = families(text).iter().map(family_json).collect();
        let expected = json!([
            { "name": "a", "help": "A b.", "type": "GAUGE", "metric": [
                { "label": [{ "name": "x", "value": "q\"\\\n" }], "gauge": { "value": 1.5 } },
            ] },
            { "name": "h", "help": "H.", "type": "HISTOGRAM", "metric": [
                { "label": [{ "name": "s", "value": "1" }], "histogram": {
                    "sampleCount": "2", "sampleSum": 3.0,
                    "bucket": [
                        { "cumulativeCount": "1", "upperBound": 0.5 },
                        { "cumulativeCount": "2", "upperBound": "Infinity" },
                    ],
                } },
            ] },
        ]);
        assert_eq!(Value::Array(all), expected);
    }
}
