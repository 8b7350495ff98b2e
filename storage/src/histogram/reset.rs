//! What is known about a counter reset between a histogram and the one stored before it, decided
//! once, at the append, with the rules by which Prometheus' head appends to or cuts a chunk.

use tenbin_model::CounterResetHint::{self, Gauge, NotReset, Reset, Unknown};
use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA as CUSTOM_BUCKETS;
use tenbin_model::{BucketSpan, is_stale};

use super::{COUNT, HEAD_FIELDS, Layout, SUM, ZERO_COUNT};

/// A histogram, borrowed.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) fields: &'a [u64],
    pub(crate) hint: CounterResetHint,
}

impl View<'_> {
    fn is_stale(&self) -> bool {
        is_stale(f64::from_bits(self.fields[SUM]))
    }

    /// Whether a field holds less than in `before`.
    fn is_less(&self, at: usize, before: u64) -> bool {
        less(self.layout.float, self.fields[at], before)
    }
}

fn less(float: bool, now: u64, before: u64) -> bool {
    if float {
        f64::from_bits(now) < f64::from_bits(before)
    } else {
        now < before
    }
}

/// The hint to store for `now`, whose sender says `now.hint`, after `before`.
pub(crate) fn decide(before: Option<View<'_>>, now: View<'_>) -> CounterResetHint {
    if now.hint == Gauge {
        return Gauge;
    }
    let Some(before) = before else { return Unknown };
    if before.hint == Gauge || before.layout.float != now.layout.float {
        return Unknown;
    }
    if now.hint == Reset {
        return Reset;
    }
    if now.is_stale() {
        return NotReset;
    }
    if before.is_stale() {
        return Unknown;
    }
    if now.is_less(COUNT, before.fields[COUNT]) {
        return Reset;
    }
    let (a, b) = (before.layout, now.layout);
    let thresholds = [a, b].map(|layout| f64::from_bits(layout.zero_threshold));
    if a.schema != b.schema || thresholds[0] != thresholds[1] {
        return Unknown;
    }
    if b.schema == CUSTOM_BUCKETS && a.custom_values != b.custom_values {
        return Reset;
    }
    if now.is_less(ZERO_COUNT, before.fields[ZERO_COUNT]) || buckets_decrease(before, now) {
        return Reset;
    }
    NotReset
}

fn buckets_decrease(before: View<'_>, now: View<'_>) -> bool {
    let sides = |view: View<'_>| view.layout.positive_buckets() + HEAD_FIELDS;
    let (a, b) = (sides(before), sides(now));
    let float = now.layout.float;
    side_decreases(
        float,
        (
            &before.layout.positive_spans,
            &before.fields[HEAD_FIELDS..a],
        ),
        (&now.layout.positive_spans, &now.fields[HEAD_FIELDS..b]),
    ) || side_decreases(
        float,
        (&before.layout.negative_spans, &before.fields[a..]),
        (&now.layout.negative_spans, &now.fields[b..]),
    )
}

type Side<'a> = (&'a [BucketSpan], &'a [u64]);

/// Whether a populated bucket is gone or holds less.
fn side_decreases(float: bool, before: Side<'_>, now: Side<'_>) -> bool {
    if before.0 == now.0 {
        let mut pairs = now.1.iter().zip(before.1);
        return pairs.any(|(now, before)| less(float, *now, *before));
    }
    let mut current = indexed(now).peekable();
    for (index, count) in indexed(before) {
        while current.next_if(|(at, _)| *at < index).is_some() {}
        let same = current.next_if(|(at, _)| *at == index);
        let now = same.map_or(0, |(_, count)| count);
        if less(float, now, count) {
            return true;
        }
    }
    false
}

/// Buckets with their indexes, which fit 64 bits: at most 2^16 spans.
fn indexed((spans, counts): Side<'_>) -> impl Iterator<Item = (i64, u64)> {
    let mut next = 0_i64;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        first..next
    });
    indexes.zip(counts.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenbin_model::stale_nan;

    fn layout(offset: i32, length: u32) -> Layout {
        Layout {
            positive_spans: vec![BucketSpan { offset, length }],
            ..Layout::default()
        }
    }

    fn decided(
        before: (&Layout, &[u64]),
        now: (&Layout, &[u64], CounterResetHint),
    ) -> CounterResetHint {
        let before = View {
            layout: before.0,
            fields: before.1,
            hint: NotReset,
        };
        let now = View {
            layout: now.0,
            fields: now.1,
            hint: now.2,
        };
        decide(Some(before), now)
    }

    #[test]
    fn what_prometheus_cuts_a_chunk_for_is_no_continuation() {
        let two = layout(0, 2);
        let before = (&two, &[5, 1, 0, 2, 2][..]);
        let plain = |fields: &[u64]| decided(before, (&two, fields, Unknown));
        assert_eq!(plain(&[5, 1, 0, 2, 2]), NotReset);
        assert_eq!(plain(&[4, 1, 0, 2, 2]), Reset, "count");
        assert_eq!(plain(&[6, 0, 0, 2, 4]), Reset, "zero count");
        assert_eq!(plain(&[6, 1, 0, 1, 4]), Reset, "bucket");
        let three = layout(-1, 3);
        assert_eq!(
            decided(before, (&three, &[6, 1, 0, 1, 2, 2], Unknown)),
            NotReset
        );
        let one = layout(0, 1);
        assert_eq!(
            decided(before, (&one, &[6, 1, 0, 5], Unknown)),
            Reset,
            "bucket gone"
        );
        let unused = (&two, &[3, 1, 0, 2, 0][..]);
        assert_eq!(decided(unused, (&one, &[6, 1, 0, 5], Unknown)), NotReset);
        let finer = Layout {
            schema: 1,
            ..two.clone()
        };
        assert_eq!(
            decided(before, (&finer, &[9, 9, 9, 9, 9], Unknown)),
            Unknown
        );
        let float = Layout {
            float: true,
            ..two.clone()
        };
        assert_eq!(
            decided(before, (&float, &[9, 9, 9, 9, 9], Unknown)),
            Unknown
        );
    }

    #[test]
    fn senders_and_staleness_have_their_say() {
        let two = layout(0, 2);
        let before = (&two, &[5, 1, 0, 2, 2][..]);
        let same = |hint| decided(before, (&two, before.1, hint));
        assert_eq!(
            (same(Reset), same(Gauge), same(NotReset)),
            (Reset, Gauge, NotReset)
        );
        let stale = [0, 0, stale_nan().to_bits(), 0, 0];
        assert_eq!(decided(before, (&two, &stale, Unknown)), NotReset);
        assert_eq!(decided((&two, &stale), (&two, before.1, Unknown)), Unknown);
        let first = View {
            layout: &two,
            fields: before.1,
            hint: Reset,
        };
        assert_eq!(decide(None, first), Unknown, "nothing before");
        let custom = |bound: f64| Layout {
            schema: CUSTOM_BUCKETS,
            custom_values: vec![bound.to_bits()],
            ..two.clone()
        };
        let (a, b) = (custom(1.0), custom(2.0));
        assert_eq!(decided((&a, before.1), (&b, before.1, Unknown)), Reset);
    }
}
