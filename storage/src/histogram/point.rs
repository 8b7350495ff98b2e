//! A decoded histogram sample on its way between head, blocks and queries, and the merge of such
//! samples: in time order, one per timestamp, the earlier run winning.

use std::sync::Arc;

use tenbin_model::CounterResetHint;
use tenbin_model::write::HistogramSample;

use super::{Layout, to_value};

/// A histogram sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) at_ms: i64,
    /// 0 = unknown.
    pub(crate) start_ms: i64,
    pub(crate) hint: CounterResetHint,
    pub(crate) layout: Arc<Layout>,
    /// As many as the layout is wide.
    pub(crate) fields: Box<[u64]>,
}

impl Point {
    pub(crate) fn to_sample(&self) -> HistogramSample {
        HistogramSample {
            timestamp_ms: self.at_ms,
            start_timestamp_ms: self.start_ms,
            histogram: to_value(&self.layout, &self.fields, self.hint),
        }
    }

    /// Makes the hint what it is when another sample stands before this one than at the time of
    /// the append.
    fn moved(&mut self) {
        if self.hint != CounterResetHint::Gauge {
            self.hint = CounterResetHint::Unknown;
        }
    }
}

/// Keeps the points at the timestamps that `keep` takes.
pub(crate) fn retain_points(points: &mut Vec<Point>, keep: impl Fn(i64) -> bool) {
    let mut gap = false;
    points.retain_mut(|point| {
        let kept = keep(point.at_ms);
        if kept && gap {
            point.moved();
        }
        gap = !kept;
        kept
    });
}

/// The two bits of a hint in files.
pub(crate) fn hint_bits(hint: CounterResetHint) -> u8 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    }
}

/// The inverse of [`hint_bits`]; other bits are ignored.
pub(crate) fn hint_of(bits: u8) -> CounterResetHint {
    match bits & 3 {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        _ => CounterResetHint::Gauge,
    }
}

/// Merges `later` into `first` and empties it. On equal timestamps `first` wins. Where the sample
/// before is of another run, nothing is known about resets any more.
pub(crate) fn merge_points(first: &mut Vec<Point>, later: &mut Vec<Point>) {
    let Some(start) = later.first_mut() else {
        return;
    };
    let Some(end) = first.last() else {
        first.append(later);
        return;
    };
    if end.at_ms < start.at_ms {
        start.moved();
        first.append(later);
        return;
    }
    let mut merged: Vec<Point> = Vec::with_capacity(first.len() + later.len());
    let mut a = std::mem::take(first).into_iter().peekable();
    let mut b = std::mem::take(later).into_iter().peekable();
    let mut from_a = None;
    loop {
        let take_a = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.at_ms == y.at_ms => {
                b.next();
                // What followed the dropped one follows another sample now.
                if let Some(next) = b.peek_mut() {
                    next.moved();
                }
                true
            }
            (Some(x), Some(y)) => x.at_ms < y.at_ms,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        let Some(mut point) = (if take_a { a.next() } else { b.next() }) else {
            break;
        };
        if from_a.is_some_and(|before| before != take_a) {
            point.moved();
        }
        from_a = Some(take_a);
        merged.push(point);
    }
    *first = merged;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn point(at_ms: i64, count: u64) -> Point {
        Point {
            at_ms,
            start_ms: 0,
            hint: CounterResetHint::NotReset,
            layout: Arc::default(),
            fields: [count, 0, 0].into(),
        }
    }

    fn points(samples: &BTreeMap<i64, u64>) -> Vec<Point> {
        samples.iter().map(|(t, c)| point(*t, *c)).collect()
    }

    #[test]
    fn hints_are_kept_inside_a_run_only() {
        let mut first = vec![point(1, 0), point(2, 0), point(5, 0)];
        merge_points(&mut first, &mut vec![point(3, 0), point(4, 0)]);
        let hints: Vec<u8> = first.iter().map(|p| hint_bits(p.hint)).collect();
        assert_eq!(hints, [2, 2, 0, 2, 0]);
        retain_points(&mut first, |at_ms| at_ms != 1 && at_ms != 3);
        let hints: Vec<u8> = first.iter().map(|p| hint_bits(p.hint)).collect();
        assert_eq!(hints, [0, 0, 0]);
        for bits in 0..4 {
            assert_eq!(hint_bits(hint_of(bits)), bits);
        }
    }

    proptest! {
        #[test]
        fn merges_like_a_map(
            a in prop::collection::btree_map(0_i64..60, any::<u64>(), 0..30),
            b in prop::collection::btree_map(0_i64..90, any::<u64>(), 0..30),
        ) {
            let (mut first, mut later) = (points(&a), points(&b));
            merge_points(&mut first, &mut later);
            prop_assert!(later.is_empty());
            let mut model = b;
            model.extend(a);
            let merged: BTreeMap<i64, u64> = first.iter().map(|p| (p.at_ms, p.fields[0])).collect();
            prop_assert_eq!(merged.len(), first.len());
            prop_assert_eq!(merged, model);
        }
    }
}
