//! Native histograms as the store holds them: an interned layout and a row of 64-bit fields.
//!
//! The layout is what seldom changes (form, schema, zero threshold, spans, custom bounds). The
//! fields are `count, zero count, sum, positive buckets, negative buckets`. In the integer form
//! buckets are absolute counts (wrapping sums of the deltas that came, so the deltas come back
//! exactly) and only the sum is a float; in the float form all fields are the bits of floats.
//! Source of the counter reset rules: Prometheus `tsdb/chunkenc/histogram.go`.

pub(crate) mod point;
pub(crate) mod reset;
pub(crate) mod wire;

use std::sync::Arc;

use tenbin_model::write::HistogramValue;
use tenbin_model::{BucketSpan, FloatHistogram, Histogram};

/// Fields before the buckets.
pub(crate) const HEAD_FIELDS: usize = 3;
pub(crate) const COUNT: usize = 0;
pub(crate) const ZERO_COUNT: usize = 1;
pub(crate) const SUM: usize = 2;

/// Most buckets, spans and custom bounds that a stored histogram has, each.
pub(crate) const MAX_BUCKETS: usize = 1 << 16;

/// What the histograms of a series share as a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Layout {
    /// Counts are floats.
    pub(crate) float: bool,
    pub(crate) schema: i32,
    /// Bits of the zero threshold.
    pub(crate) zero_threshold: u64,
    pub(crate) positive_spans: Vec<BucketSpan>,
    pub(crate) negative_spans: Vec<BucketSpan>,
    /// Bits of the custom bounds.
    pub(crate) custom_values: Vec<u64>,
}

fn covered(spans: &[BucketSpan]) -> usize {
    spans.iter().map(|span| span.length as usize).sum()
}

fn to_bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn from_bits(bits: &[u64]) -> Vec<f64> {
    bits.iter().map(|bits| f64::from_bits(*bits)).collect()
}

fn same_bits(values: &[f64], bits: &[u64]) -> bool {
    values.len() == bits.len() && values.iter().zip(bits).all(|(v, b)| v.to_bits() == *b)
}

impl Layout {
    pub(crate) fn of(histogram: &HistogramValue) -> Self {
        match histogram {
            HistogramValue::Integer(h) => Self {
                float: false,
                schema: h.schema,
                zero_threshold: h.zero_threshold.to_bits(),
                positive_spans: h.positive_spans.clone(),
                negative_spans: h.negative_spans.clone(),
                custom_values: to_bits(&h.custom_values),
            },
            HistogramValue::Float(h) => Self {
                float: true,
                schema: h.schema,
                zero_threshold: h.zero_threshold.to_bits(),
                positive_spans: h.positive_spans.clone(),
                negative_spans: h.negative_spans.clone(),
                custom_values: to_bits(&h.custom_values),
            },
        }
    }

    /// Whether [`Layout::of`] a histogram would be this.
    pub(crate) fn fits(&self, histogram: &HistogramValue) -> bool {
        match histogram {
            HistogramValue::Integer(h) => {
                !self.float
                    && self.schema == h.schema
                    && self.zero_threshold == h.zero_threshold.to_bits()
                    && self.positive_spans == h.positive_spans
                    && self.negative_spans == h.negative_spans
                    && same_bits(&h.custom_values, &self.custom_values)
            }
            HistogramValue::Float(h) => {
                self.float
                    && self.schema == h.schema
                    && self.zero_threshold == h.zero_threshold.to_bits()
                    && self.positive_spans == h.positive_spans
                    && self.negative_spans == h.negative_spans
                    && same_bits(&h.custom_values, &self.custom_values)
            }
        }
    }

    pub(crate) fn positive_buckets(&self) -> usize {
        covered(&self.positive_spans)
    }

    /// Fields of a histogram of this layout.
    pub(crate) fn width(&self) -> usize {
        HEAD_FIELDS + self.positive_buckets() + covered(&self.negative_spans)
    }

    /// Whether a field holds the bits of a float.
    pub(crate) fn is_float(&self, field: usize) -> bool {
        self.float || field == SUM
    }

    /// Bytes of memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        size_of::<Self>() + 8 * (spans + self.custom_values.len())
    }
}

/// The largest of what [`MAX_BUCKETS`] limits. Meant for valid histograms: as many buckets as the
/// spans cover.
pub(crate) fn size(histogram: &HistogramValue) -> usize {
    let largest = |parts: [usize; 4]| parts.into_iter().max().unwrap_or(0);
    match histogram {
        HistogramValue::Integer(h) => largest([
            h.positive_deltas.len() + h.negative_deltas.len(),
            h.positive_spans.len(),
            h.negative_spans.len(),
            h.custom_values.len(),
        ]),
        HistogramValue::Float(h) => largest([
            h.positive_buckets.len() + h.negative_buckets.len(),
            h.positive_spans.len(),
            h.negative_spans.len(),
            h.custom_values.len(),
        ]),
    }
}

/// Replaces `out` by the fields of a valid histogram.
pub(crate) fn fields_into(histogram: &HistogramValue, out: &mut Vec<u64>) {
    out.clear();
    match histogram {
        HistogramValue::Integer(h) => {
            out.extend([h.count, h.zero_count, h.sum.to_bits()]);
            for deltas in [&h.positive_deltas, &h.negative_deltas] {
                let mut count = 0_i64;
                out.extend(deltas.iter().map(|delta| {
                    count = count.wrapping_add(*delta);
                    count as u64
                }));
            }
        }
        HistogramValue::Float(h) => {
            out.extend([h.count.to_bits(), h.zero_count.to_bits(), h.sum.to_bits()]);
            let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
            out.extend(buckets.map(|count| count.to_bits()));
        }
    }
}

/// The deltas of absolute counts.
fn deltas(counts: &[u64]) -> Vec<i64> {
    let mut before = 0_i64;
    let delta = |count: &u64| {
        let delta = (*count as i64).wrapping_sub(before);
        before = *count as i64;
        delta
    };
    counts.iter().map(delta).collect()
}

/// The histogram in the form in which it came. `fields` are as many as [`Layout::width`] says.
pub(crate) fn to_value(
    layout: &Layout,
    fields: &[u64],
    hint: tenbin_model::CounterResetHint,
) -> HistogramValue {
    if layout.float {
        return HistogramValue::Float(Box::new(to_float(layout, fields, hint)));
    }
    let (positive, negative) = fields[HEAD_FIELDS..].split_at(layout.positive_buckets());
    HistogramValue::Integer(Box::new(Histogram {
        counter_reset_hint: hint,
        schema: layout.schema,
        zero_threshold: f64::from_bits(layout.zero_threshold),
        zero_count: fields[ZERO_COUNT],
        count: fields[COUNT],
        sum: f64::from_bits(fields[SUM]),
        positive_spans: layout.positive_spans.clone(),
        negative_spans: layout.negative_spans.clone(),
        positive_deltas: deltas(positive),
        negative_deltas: deltas(negative),
        custom_values: from_bits(&layout.custom_values),
    }))
}

/// The histogram with float counts, as [`Histogram::to_float`] makes it.
pub(crate) fn to_float(
    layout: &Layout,
    fields: &[u64],
    hint: tenbin_model::CounterResetHint,
) -> FloatHistogram {
    let (positive, negative) = fields[HEAD_FIELDS..].split_at(layout.positive_buckets());
    let number = |field: u64| {
        if layout.float {
            f64::from_bits(field)
        } else {
            field as f64
        }
    };
    let bucket = |field: &u64| {
        if layout.float {
            f64::from_bits(*field)
        } else {
            *field as i64 as f64
        }
    };
    FloatHistogram {
        counter_reset_hint: hint,
        schema: layout.schema,
        zero_threshold: f64::from_bits(layout.zero_threshold),
        zero_count: number(fields[ZERO_COUNT]),
        count: number(fields[COUNT]),
        sum: f64::from_bits(fields[SUM]),
        positive_spans: layout.positive_spans.clone(),
        negative_spans: layout.negative_spans.clone(),
        positive_buckets: positive.iter().map(bucket).collect(),
        negative_buckets: negative.iter().map(bucket).collect(),
        custom_values: from_bits(&layout.custom_values),
    }
}

/// Layouts in use, each once.
#[derive(Debug, Default)]
pub(crate) struct Layouts(hashbrown::HashSet<Arc<Layout>, foldhash::fast::RandomState>);

impl Layouts {
    /// The shared copy of a layout.
    pub(crate) fn intern(&mut self, layout: Layout) -> Arc<Layout> {
        if let Some(known) = self.0.get(&layout) {
            return Arc::clone(known);
        }
        let shared = Arc::new(layout);
        self.0.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets layouts that nobody else holds.
    pub(crate) fn prune(&mut self) {
        self.0.retain(|layout| Arc::strong_count(layout) > 1);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|layout| layout.bytes() as u64).sum()
    }
}
