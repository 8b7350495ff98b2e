//! Classic histograms: which series are the buckets of one.

use hashbrown::HashMap;
use tenbin_model::Labels;
use tenbin_model::text::float::parse_float;

use crate::ast::Span;
use crate::eval::column::Series;
use crate::eval::notes::Notes;
use crate::functions::quantile::Bucket;

/// The label that holds a bucket's upper bound.
const BOUND: &str = "le";

/// A classic histogram: labels without the bound, and the series of its buckets.
pub(super) struct Classic {
    pub(super) labels: Labels,
    /// Positions in the input, with their bounds.
    buckets: Vec<(usize, f64)>,
    /// Steps, ascending, at which a native histogram has the same labels: there is no result.
    pub(super) conflicts: Vec<usize>,
}

impl Classic {
    /// Finds all classic histograms among the series; remarks on floats without a valid bound.
    pub(super) fn all(
        input: &[Series],
        names_are_kept: bool,
        notes: &mut Notes,
        span: Span,
    ) -> Vec<Self> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut all: Vec<Self> = Vec::new();
        for (at, series) in input.iter().enumerate() {
            if series.floats.is_empty() {
                continue;
            }
            let text = series.labels.value_of(BOUND);
            let Some(bound) = parse_float(text) else {
                let metric = if names_are_kept {
                    series.labels.metric_name()
                } else {
                    ""
                };
                notes.bad_bucket_label(metric, text, span);
                continue;
            };
            let labels = series.labels.filter(|name| name != BOUND);
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                all.push(Self {
                    labels: labels.clone(),
                    buckets: Vec::new(),
                    conflicts: Vec::new(),
                });
                all.len() - 1
            });
            all[place].buckets.push((at, bound));
        }
        all
    }

    /// Whether any bucket exists at a step.
    pub(super) fn exists_at(&self, input: &[Series], step: usize) -> bool {
        self.buckets
            .iter()
            .any(|(at, _)| input[*at].floats.get(step))
    }

    /// The buckets that exist at a step.
    pub(super) fn buckets_at(&self, input: &[Series], step: usize, out: &mut Vec<Bucket>) {
        out.clear();
        if self.conflicts.binary_search(&step).is_ok() {
            return;
        }
        out.extend(self.buckets.iter().filter_map(|(at, bound)| {
            input[*at].float(step).map(|count| Bucket {
                upper_bound: *bound,
                count,
            })
        }));
    }
}
