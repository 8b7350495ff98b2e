//! Classic histograms to native histograms with custom buckets, for `load_with_nhcb`.
//!
//! Series `x_bucket{le=...}`, `x_count` and `x_sum` with otherwise equal labels become one series
//! `x`. Source: Prometheus 3.14 `util/convertnhcb`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use tenbin_model::labels::LabelsBuilder;
use tenbin_model::text::float::parse_float;
use tenbin_model::{FloatHistogram, Labels, METRIC_NAME};

use super::histogram::spans;
use super::script::Load;
use super::series::SequenceValue;

/// What is known of a classic histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    /// Cumulative counts by upper bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// A part of a classic histogram that one series holds.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// The converted series: labels and histograms by position in the load.
pub(super) type Converted = Vec<(Labels, Vec<(usize, Arc<FloatHistogram>)>)>;

/// Converts what a load command holds.
pub(super) fn convert(load: &Load) -> Result<Converted, String> {
    let mut found: BTreeMap<Labels, BTreeMap<usize, Classic>> = BTreeMap::new();
    for series in &load.series {
        let Some((base, part)) = classify(&series.labels) else {
            continue;
        };
        let by_time = found.entry(base).or_default();
        for (position, value) in series.values.iter().enumerate() {
            let SequenceValue::Float(value) = value else {
                continue;
            };
            let classic = by_time.entry(position).or_default();
            match part {
                Part::Bucket(bound) => classic.buckets.push((bound, *value)),
                Part::Count => classic.count = Some(*value),
                Part::Sum => classic.sum = *value,
            }
        }
    }
    let convert_series = |(labels, by_time): (Labels, BTreeMap<usize, Classic>)| {
        let histograms: Result<Vec<_>, String> = by_time
            .into_iter()
            .map(|(position, classic)| Ok((position, Arc::new(classic.into_native()?))))
            .collect();
        histograms.map(|histograms| (labels, histograms))
    };
    found.into_iter().map(convert_series).collect()
}

/// The labels of the histogram that a series is part of.
fn classify(labels: &Labels) -> Option<(Labels, Part)> {
    let name = labels.metric_name();
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        let bound = parse_float(labels.get("le")?).filter(|bound| !bound.is_nan())?;
        (base, Part::Bucket(bound))
    } else if let Some(base) = name.strip_suffix("_sum") {
        (base, Part::Sum)
    } else {
        (name.strip_suffix("_count")?, Part::Count)
    };
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.set(METRIC_NAME, base).remove("le");
    Some((builder.build(), part))
}

impl Classic {
    fn into_native(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, first| later.0 == first.0);
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or(0.0);
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut counts = Vec::with_capacity(self.buckets.len());
        let mut before = 0.0;
        for (bound, cumulative) in &self.buckets {
            if *cumulative < before {
                return Err(format!("count is not cumulative at le={bound}"));
            }
            counts.push(cumulative - before);
            before = *cumulative;
        }
        if count != before {
            return Err(format!("count mismatch: {count} != {before}"));
        }
        let whole = self.buckets.iter().all(|(_, count)| count.fract() == 0.0);
        // Whole counts make an integer histogram there, which keeps short runs of empty buckets.
        let kept = without_empty_runs(&counts, if whole { 2 } else { 0 });
        let (positive_spans, positive_buckets) = spans(&kept);
        self.buckets.pop();
        Ok(FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans,
            positive_buckets,
            custom_values: self.buckets.iter().map(|(bound, _)| *bound).collect(),
            ..FloatHistogram::default()
        })
    }
}

/// The buckets by index, without leading and trailing empty ones and without longer runs of them
/// than `longest`.
fn without_empty_runs(counts: &[f64], longest: usize) -> BTreeMap<i32, f64> {
    let mut kept = BTreeMap::new();
    let mut empty: Vec<i32> = Vec::new();
    for (index, count) in (0_i32..).zip(counts) {
        if *count == 0.0 {
            empty.push(index);
            continue;
        }
        if !kept.is_empty() && empty.len() <= longest {
            kept.extend(empty.iter().map(|index| (*index, 0.0)));
        }
        empty.clear();
        kept.insert(index, *count);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::script::{Command, parse};

    fn converted(script: &str) -> Result<Converted, String> {
        match parse(script).remove(0) {
            Ok(Command::Load(load)) => convert(&load),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn classic_series_become_one_histogram() {
        let series = converted(
            "load_with_nhcb 1m\n x_bucket{a=\"1\",le=\"1\"} 1 2\n x_bucket{a=\"1\",le=\"5\"} 3 3\n \
             x_bucket{a=\"1\",le=\"+Inf\"} 4 6\n x_sum{a=\"1\"} 9 10\n x_count{a=\"1\"} 4 6\n y 1",
        )
        .unwrap();
        let [(labels, histograms)] = &series[..] else {
            panic!("{series:?}");
        };
        assert_eq!(labels.to_string(), "{__name__=\"x\", a=\"1\"}");
        let (_, first) = &histograms[0];
        assert_eq!(first.custom_values, [1.0, 5.0]);
        assert_eq!(first.positive_buckets, [1.0, 2.0, 1.0]);
        assert_eq!((first.count, first.sum), (4.0, 9.0));
        assert_eq!(histograms[1].1.positive_buckets, [2.0, 1.0, 3.0]);
    }

    #[test]
    fn a_missing_last_bucket_holds_the_rest() {
        let series = converted("load_with_nhcb 1m\n x_bucket{le=\"1\"} 1\n x_count 3").unwrap();
        assert_eq!(series[0].1[0].1.positive_buckets, [1.0, 2.0]);
        assert!(
            converted("load_with_nhcb 1m\n x_bucket{le=\"1\"} 2\n x_bucket{le=\"2\"} 1").is_err()
        );
    }
}
