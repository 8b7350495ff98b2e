//! Warnings and infos collected during an evaluation, in Prometheus' words.
//!
//! Equal texts are one annotation; of several positions the last one stays, as when Prometheus
//! merges. Two kinds gather figures over all their occurrences and become text at the end. Source:
//! Prometheus `util/annotations`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hashbrown::HashMap;
use tenbin_model::text::float::format_g;
use tenbin_model::text::quote::quoted;
use tenbin_model::{Annotation, Annotations, Severity};

use crate::ast::Span;
use crate::functions::time::rfc3339_seconds;

/// Where classic buckets had to be made monotonic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForcedMonotonicity {
    /// Lowest bound changed.
    pub(crate) min_bound: f64,
    /// Highest bound changed.
    pub(crate) max_bound: f64,
    /// Largest decrease removed.
    pub(crate) max_diff: f64,
}

#[derive(Debug, Clone)]
struct MonotonicityNote {
    span: Span,
    figures: ForcedMonotonicity,
    min_ms: i64,
    max_ms: i64,
    count: u64,
}

impl MonotonicityNote {
    /// Adds later occurrences.
    fn merge(&mut self, later: &Self) {
        let (figures, more) = (&mut self.figures, &later.figures);
        figures.min_bound = figures.min_bound.min(more.min_bound);
        figures.max_bound = figures.max_bound.max(more.max_bound);
        figures.max_diff = figures.max_diff.max(more.max_diff);
        self.min_ms = self.min_ms.min(later.min_ms);
        self.max_ms = self.max_ms.max(later.max_ms);
        self.count += later.count;
    }
}

#[derive(Debug, Clone)]
struct OverlapNote {
    span: Span,
    count: u64,
}

/// The annotations of one evaluation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    plain: HashMap<(Severity, String), (usize, Span)>,
    monotonicity: HashMap<String, MonotonicityNote>,
    overlaps: HashMap<String, OverlapNote>,
    /// While a binary operation is at work: its last remark at each step.
    last_of_step: Option<LastOfStep>,
}

/// Of the remarks of a binary operation at one step only the last one counts.
#[derive(Debug, Clone, Default)]
struct LastOfStep {
    step: usize,
    remarks: BTreeMap<usize, (Severity, String, Span)>,
}

/// What a histogram operation is called in annotations.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// ` for metric name "m"`, or nothing for a series whose name is gone.
fn for_metric(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" for metric name {}", quoted(name))
    }
}

impl Notes {
    /// From here to [`Notes::end_operation`] only the last remark at each step counts.
    pub(crate) fn begin_operation(&mut self) {
        self.last_of_step = Some(LastOfStep::default());
    }

    /// Remarks made from here on are about `step`.
    pub(crate) fn set_step(&mut self, step: usize) {
        if let Some(last) = &mut self.last_of_step {
            last.step = step;
        }
    }

    /// Takes over the last remarks of all steps.
    pub(crate) fn end_operation(&mut self) {
        let remarks = self.last_of_step.take().unwrap_or_default().remarks;
        for (severity, text, span) in remarks.into_values() {
            self.add(severity, text, span);
        }
    }

    /// Whether nothing was remarked.
    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.monotonicity.is_empty() && self.overlaps.is_empty()
    }

    /// Adds the remarks that a window function made on one series, after those made so far.
    pub(crate) fn append(&mut self, other: Self) {
        let mut plain: Vec<_> = other.plain.into_iter().collect();
        plain.sort_by_key(|(_, (order, _))| *order);
        for ((severity, text), (_, span)) in plain {
            self.add(severity, text, span);
        }
        for (metric, note) in other.overlaps {
            self.start_time_overlap(&metric, note.count, note.span);
        }
        for (metric, note) in other.monotonicity {
            match self.monotonicity.get_mut(&metric) {
                Some(known) => known.merge(&note),
                None => {
                    self.monotonicity.insert(metric, note);
                }
            }
        }
    }

    /// Moves the remarks to other places in the query.
    pub(crate) fn relocate(&mut self, places: &HashMap<Span, Span>) {
        let moved = |span: &mut Span| *span = *places.get(span).unwrap_or(span);
        self.plain.values_mut().for_each(|(_, span)| moved(span));
        let notes = self.monotonicity.values_mut();
        notes.for_each(|note| moved(&mut note.span));
        let notes = self.overlaps.values_mut();
        notes.for_each(|note| moved(&mut note.span));
    }

    fn add(&mut self, severity: Severity, text: String, span: Span) {
        if let Some(last) = &mut self.last_of_step {
            last.remarks.insert(last.step, (severity, text, span));
            return;
        }
        let order = self.plain.len();
        self.plain
            .entry((severity, text))
            .and_modify(|known| known.1 = span)
            .or_insert((order, span));
    }

    fn warn(&mut self, text: &str, span: Span) {
        self.add(Severity::Warning, format!("PromQL warning: {text}"), span);
    }

    fn info(&mut self, text: &str, span: Span) {
        self.add(Severity::Info, format!("PromQL info: {text}"), span);
    }

    pub(crate) fn invalid_ratio(&mut self, ratio: f64, capped: f64, span: Span) {
        let text = format!(
            "ratio value should be between -1 and 1, got {}, capping to {}",
            format_g(ratio),
            format_g(capped)
        );
        self.warn(&text, span);
    }

    pub(crate) fn invalid_quantile(&mut self, quantile: f64, span: Span) {
        let text = format!(
            "quantile value should be between 0 and 1, got {}",
            format_g(quantile)
        );
        self.warn(&text, span);
    }

    pub(crate) fn bad_bucket_label(&mut self, metric: &str, value: &str, span: Span) {
        let text = format!(
            "bucket label \"le\" is missing or has a malformed value of {}{}",
            quoted(value),
            for_metric(metric)
        );
        self.warn(&text, span);
    }

    pub(crate) fn mixed_floats_histograms(&mut self, metric: &str, span: Span) {
        let text = format!(
            "encountered a mix of histograms and floats for metric name {}",
            quoted(metric)
        );
        self.warn(&text, span);
    }

    pub(crate) fn mixed_in_aggregation(&mut self, span: Span) {
        self.warn(
            "encountered a mix of histograms and floats for aggregation",
            span,
        );
    }

    pub(crate) fn mixed_classic_native(&mut self, metric: &str, span: Span) {
        let text = format!(
            "vector contains a mix of classic and native histograms{}",
            for_metric(metric)
        );
        self.warn(&text, span);
    }

    pub(crate) fn histogram_not_counter(&mut self, metric: &str, span: Span) {
        let text = format!(
            "this native histogram metric is not a counter: {}",
            quoted(metric)
        );
        self.warn(&text, span);
    }

    pub(crate) fn histogram_not_gauge(&mut self, metric: &str, span: Span) {
        let text = format!(
            "this native histogram metric is not a gauge: {}",
            quoted(metric)
        );
        self.warn(&text, span);
    }

    pub(crate) fn mixed_bucket_schemas(&mut self, metric: &str, span: Span) {
        let text = format!(
            "vector contains a mix of histograms with exponential and custom buckets schemas \
             for metric name {}",
            quoted(metric)
        );
        self.warn(&text, span);
    }

    pub(crate) fn incompatible_bucket_layout(&mut self, operator: &str, span: Span) {
        let text = format!("incompatible bucket layout encountered for binary operator {operator}");
        self.warn(&text, span);
    }

    pub(crate) fn sort_in_range_query(&mut self, span: Span) {
        self.warn(
            "sort is ineffective for range queries since results are always ordered by labels",
            span,
        );
    }

    pub(crate) fn counter_reset_collision(&mut self, operation: HistogramOperation, span: Span) {
        let text = format!(
            "conflicting counter resets during histogram {}",
            operation.as_str()
        );
        self.warn(&text, span);
    }

    pub(crate) fn maybe_not_counter(&mut self, metric: &str, span: Span) {
        let text = format!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
            quoted(metric)
        );
        self.info(&text, span);
    }

    pub(crate) fn type_not_counter(&mut self, metric: &str, kind: &str, span: Span) {
        let text = format!(
            "metric might not be a counter, __type__ label is not set to \"counter\" or \
             \"histogram\", got {}: {}",
            quoted(kind),
            quoted(metric)
        );
        self.info(&text, span);
    }

    pub(crate) fn incompatible_types(
        &mut self,
        left: &str,
        operator: &str,
        right: &str,
        span: Span,
    ) {
        let text = format!(
            "incompatible sample types encountered for binary operator {}: \
             {left} {operator} {right}",
            quoted(operator)
        );
        self.info(&text, span);
    }

    pub(crate) fn histogram_ignored(&mut self, aggregation: &str, span: Span) {
        let text = format!("ignored histogram in {aggregation} aggregation");
        self.info(&text, span);
    }

    pub(crate) fn histogram_ignored_in_range(&mut self, metric: &str, span: Span) {
        let text = format!(
            "ignored histograms in a range containing both floats and histograms \
             for metric name {}",
            quoted(metric)
        );
        self.info(&text, span);
    }

    pub(crate) fn quantile_is_nan(&mut self, metric: &str, span: Span) {
        let text = format!(
            "input to histogram_quantile has NaN observations, result is NaN{}",
            for_metric(metric)
        );
        self.info(&text, span);
    }

    pub(crate) fn quantile_is_skewed(&mut self, metric: &str, span: Span) {
        let text = format!(
            "input to histogram_quantile has NaN observations, result is skewed higher{}",
            for_metric(metric)
        );
        self.info(&text, span);
    }

    pub(crate) fn fraction_excludes_nan(&mut self, metric: &str, span: Span) {
        let text = format!(
            "input to histogram_fraction has NaN observations, which are excluded from all \
             fractions{}",
            for_metric(metric)
        );
        self.info(&text, span);
    }

    pub(crate) fn custom_buckets_reconciled(&mut self, operation: HistogramOperation, span: Span) {
        let text = format!(
            "mismatched custom buckets were reconciled during {}",
            operation.as_str()
        );
        self.info(&text, span);
    }

    /// Notes `count` samples of `metric` whose start time lies before the sample before them.
    pub(crate) fn start_time_overlap(&mut self, metric: &str, count: u64, span: Span) {
        match self.overlaps.get_mut(metric) {
            Some(known) => known.count += count,
            None => {
                self.overlaps
                    .insert(metric.to_owned(), OverlapNote { span, count });
            }
        }
    }

    /// Notes that the buckets of a classic histogram had to be made monotonic at `time_ms`.
    pub(crate) fn forced_monotonicity(
        &mut self,
        metric: &str,
        time_ms: i64,
        figures: ForcedMonotonicity,
        span: Span,
    ) {
        let note = MonotonicityNote {
            span,
            figures,
            min_ms: time_ms,
            max_ms: time_ms,
            count: 1,
        };
        match self.monotonicity.get_mut(metric) {
            Some(known) => known.merge(&note),
            None => {
                self.monotonicity.insert(metric.to_owned(), note);
            }
        }
    }

    /// The finished set, in order of first appearance.
    pub(crate) fn finish(mut self) -> Annotations {
        for (metric, note) in std::mem::take(&mut self.monotonicity) {
            self.info(&monotonicity_text(&metric, &note), note.span);
        }
        for (metric, note) in std::mem::take(&mut self.overlaps) {
            let mut text = format!(
                "sample has start time that overlaps with previous sample timestamp for metric {}",
                quoted(&metric)
            );
            if note.count > 1 {
                let _ = write!(text, " ({} occurrences)", note.count);
            }
            self.warn(&text, note.span);
        }
        let mut all: Vec<_> = self.plain.into_iter().collect();
        all.sort_by_key(|(_, (order, _))| *order);
        let mut annotations = Annotations::default();
        for ((severity, text), (_, span)) in all {
            annotations.add(Annotation {
                severity,
                text,
                position: Some(span.start..span.end),
            });
        }
        annotations
    }
}

fn monotonicity_text(metric: &str, note: &MonotonicityNote) -> String {
    format!(
        "input to histogram_quantile needed to be fixed for monotonicity (see \
         https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}, \
         from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
        for_metric(metric),
        format_g(note.figures.min_bound),
        format_g(note.figures.max_bound),
        two_significant_digits(note.figures.max_diff),
        note.count,
        rfc3339_seconds(note.min_ms),
        rfc3339_seconds(note.max_ms)
    )
}

/// Go's `%.2g`.
fn two_significant_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    let magnitude = rounded.abs();
    if magnitude != 0.0 && !(1e-4..100.0).contains(&magnitude) {
        let text = format!("{rounded:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format_g(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_gather_over_occurrences() {
        let mut notes = Notes::default();
        let span = Span { start: 3, end: 4 };
        for (time_ms, bound) in [(60_000, 0.5), (0, 0.1)] {
            let figures = ForcedMonotonicity {
                min_bound: bound,
                max_bound: bound,
                max_diff: 12.34,
            };
            notes.forced_monotonicity("m", time_ms, figures, span);
        }
        notes.start_time_overlap("x", 1, span);
        notes.start_time_overlap("x", 2, span);
        let all = notes.finish();
        let infos = all.render(Severity::Info, "abcdef", 0);
        assert!(infos[0].ends_with(
            " for metric name \"m\", from buckets 0.1 to 0.5, with a max diff of 12, over 2 \
             samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:4)"
        ));
        let warnings = all.render(Severity::Warning, "abcdef", 0);
        assert!(warnings[0].ends_with("for metric \"x\" (3 occurrences) (1:4)"));
    }

    #[test]
    fn an_operation_remarks_once_per_step() {
        let mut notes = Notes::default();
        let span = Span::default();
        notes.begin_operation();
        for (step, right) in [(1, "float"), (0, "float"), (0, "histogram")] {
            notes.set_step(step);
            notes.incompatible_types("histogram", "^", right, span);
        }
        notes.end_operation();
        let texts = notes.finish().render(Severity::Info, "", 0);
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("histogram ^ histogram"), "{texts:?}");
    }

    #[test]
    fn two_digits_read_as_in_go() {
        for (value, expected) in [
            (0.0, "0"),
            (12.34, "12"),
            (123.0, "1.2e+02"),
            (100.0, "1e+02"),
            (0.000_012, "1.2e-05"),
            (0.5, "0.5"),
        ] {
            assert_eq!(two_significant_digits(value), expected);
        }
    }
}
