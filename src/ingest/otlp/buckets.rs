//! Buckets of OpenTelemetry's histograms as those of native histograms.
//!
//! Counts come densely, from an offset; here they become spans, where gaps of more than two empty
//! buckets separate. Scales above 8 are merged down to 8; bucket `i` there is bucket `i + 1` here.

use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use tenbin_model::{BucketSpan, CounterResetHint, Histogram, STALE_NAN_BITS, stale_nan};

/// Observations with an absolute value up to this are in the zero bucket.
const ZERO_THRESHOLD: f64 = 1e-128;

/// The coarsest and the finest schema.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// Most buckets of one side of a histogram, as the store has it.
pub(super) const MAX_BUCKETS: usize = 1 << 16;

/// The layout of one side: spans, and each count less the one before.
type Side = (Vec<BucketSpan>, Vec<i64>);

/// One side that is being laid out.
#[derive(Default)]
struct Layout {
    spans: Vec<BucketSpan>,
    deltas: Vec<i64>,
    before: i64,
}

impl Layout {
    fn span(&mut self, offset: i64) {
        // Indexes beyond 32 bits are no histogram's; the store refuses what becomes of them.
        let offset = offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        self.spans.push(BucketSpan { offset, length: 0 });
    }

    fn push(&mut self, count: i64) {
        if let Some(span) = self.spans.last_mut() {
            span.length += 1;
        }
        self.deltas.push(count.wrapping_sub(self.before));
        self.before = count;
    }

    /// Adds a bucket that is `gap` buckets behind the last one.
    fn push_behind(&mut self, gap: i64, count: i64) {
        if gap > 2 {
            self.span(gap);
        } else {
            (0..gap).for_each(|_| self.push(0));
        }
        self.push(count);
    }
}

/// Adds up 2^`merge` neighbours each; says where the first of the sums stands.
pub(super) fn merged(counts: &[u64], offset: i32, merge: u32) -> (Vec<u64>, i64) {
    let merge = merge.min(31);
    let index = |at: usize| (at as i64 + i64::from(offset)) >> merge;
    let first = index(0);
    let mut sums: Vec<u64> = Vec::new();
    for (at, count) in counts.iter().enumerate() {
        let place = (index(at) - first) as usize;
        if place >= sums.len() {
            sums.resize(place + 1, 0);
        }
        sums[place] = sums[place].wrapping_add(*count);
    }
    (sums, first)
}

/// Lays out counts from `offset` on.
fn side(counts: &[u64], offset: i64) -> Side {
    let mut layout = Layout::default();
    let Some((first, rest)) = counts.split_first() else {
        return (layout.spans, layout.deltas);
    };
    layout.span(offset);
    // How many buckets are empty before the one that is held back.
    let (mut held, mut gap) = (*first as i64, 0);
    for count in rest {
        if held == 0 {
            gap += 1;
        } else {
            layout.push_behind(gap, held);
            gap = 0;
        }
        held = *count as i64;
    }
    layout.push_behind(gap, held);
    (layout.spans, layout.deltas)
}

/// What both kinds of histogram points have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    /// There is no value now.
    pub(super) stale: bool,
    /// It counts since the last point.
    pub(super) delta: bool,
}

impl Totals {
    fn apply(self, histogram: &mut Histogram) {
        if self.stale {
            histogram.sum = stale_nan();
            histogram.count = STALE_NAN_BITS;
        } else {
            histogram.sum = self.sum.unwrap_or(0.0);
            histogram.count = self.count;
        }
        if self.delta {
            // Keeps the store from looking for resets.
            histogram.counter_reset_hint = CounterResetHint::Gauge;
        }
    }
}

fn empty(schema: i32) -> Histogram {
    Histogram {
        counter_reset_hint: CounterResetHint::Unknown,
        schema,
        zero_threshold: 0.0,
        zero_count: 0,
        count: 0,
        sum: 0.0,
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        positive_deltas: Vec::new(),
        negative_deltas: Vec::new(),
        custom_values: Vec::new(),
    }
}

/// One side of an exponential histogram as it comes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Dense {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// A native histogram from an exponential one.
pub(super) fn exponential(
    scale: i32,
    zero_count: u64,
    positive: &Dense,
    negative: &Dense,
    totals: Totals,
) -> Result<Histogram, String> {
    if scale < *SCHEMAS.start() {
        return Err(format!(
            "cannot convert exponential to native histogram. Scale must be >= {}, was {scale}",
            SCHEMAS.start()
        ));
    }
    let merge = scale.saturating_sub(*SCHEMAS.end()).max(0) as u32;
    let mut histogram = empty(scale.min(*SCHEMAS.end()));
    histogram.zero_threshold = ZERO_THRESHOLD;
    histogram.zero_count = zero_count;
    let laid = |dense: &Dense| {
        let (counts, first) = merged(&dense.counts, dense.offset, merge);
        side(&counts, first + 1)
    };
    (histogram.positive_spans, histogram.positive_deltas) = laid(positive);
    (histogram.negative_spans, histogram.negative_deltas) = laid(negative);
    totals.apply(&mut histogram);
    Ok(histogram)
}

/// A native histogram with custom buckets from one with explicit bounds.
pub(super) fn custom(counts: &[u64], bounds: Vec<f64>, totals: Totals) -> Histogram {
    let first = counts
        .iter()
        .position(|count| *count != 0)
        .unwrap_or(counts.len());
    let mut histogram = empty(CUSTOM_BUCKETS_SCHEMA);
    let laid = side(&counts[first..], first as i64);
    (histogram.positive_spans, histogram.positive_deltas) = laid;
    histogram.custom_values = bounds;
    totals.apply(&mut histogram);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(pairs: &[(i32, u32)]) -> Vec<BucketSpan> {
        let span = |(offset, length): &(i32, u32)| BucketSpan {
            offset: *offset,
            length: *length,
        };
        pairs.iter().map(span).collect()
    }

    #[test]
    fn dense_counts_become_spans() {
        assert_eq!(side(&[], 1), (vec![], vec![]));
        let laid = side(&[4, 3, 2, 1], 1);
        assert_eq!(laid, (spans(&[(1, 4)]), vec![4, -1, -1, -1]));
        // A short gap is filled, a long one separates; the last bucket stays, empty or not.
        let laid = side(&[4, 0, 2, 0, 0, 0, 1, 0], -2);
        assert_eq!(laid.0, spans(&[(-2, 3), (3, 2)]));
        assert_eq!(laid.1, [4, -4, 2, -1, -1]);
        let laid = side(&[0, 0, 0, 0, 9], 5);
        assert_eq!(laid, (spans(&[(5, 0), (4, 1)]), vec![9]));
    }

    #[test]
    fn neighbours_are_added_up() {
        assert_eq!(merged(&[1, 2, 3, 4], 0, 1), (vec![3, 7], 0));
        assert_eq!(merged(&[1, 2, 3, 4], -1, 1), (vec![1, 5, 4], -1));
        assert_eq!(merged(&[0, 0, 3, 4], 0, 1), (vec![0, 7], 0));
        for offset in [i32::MIN, i32::MAX] {
            assert_eq!(merged(&[1, 9], offset, 40).0.iter().sum::<u64>(), 10);
        }
    }

    #[test]
    fn what_is_made_is_valid() {
        let totals = Totals {
            count: 13,
            sum: Some(7.5),
            ..Totals::default()
        };
        let positive = Dense {
            offset: -4,
            counts: vec![4, 0, 0, 0, 0, 2, 1],
        };
        let negative = Dense {
            offset: 100,
            counts: vec![3, 1],
        };
        for scale in [-4, 0, 8, 9, 20] {
            let made = exponential(scale, 2, &positive, &negative, totals).unwrap();
            made.validate().unwrap();
            assert_eq!(made.schema, scale.min(8));
        }
        assert!(exponential(-5, 2, &positive, &negative, totals).is_err());
        let made = custom(&[0, 3, 0, 9, 1], vec![1.0, 2.0, 3.0, 4.0], totals);
        made.validate().unwrap();
        assert_eq!(made.positive_spans, spans(&[(1, 4)]));
        let stale = Totals {
            stale: true,
            ..totals
        };
        assert!(custom(&[], vec![], stale).is_stale());
    }
}
