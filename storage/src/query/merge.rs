//! Sorted runs of samples into one: in time order, one sample per timestamp, the earlier run
//! winning.

/// Samples as columns, reused between series.
#[derive(Debug, Default, Clone)]
pub(crate) struct Columns {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

impl Columns {
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Keeps only the samples whose timestamps `keep` takes.
    pub(crate) fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        let mut kept = 0;
        for at in 0..self.times.len() {
            if keep(self.times[at]) {
                self.times[kept] = self.times[at];
                self.values[kept] = self.values[at];
                kept += 1;
            }
        }
        self.times.truncate(kept);
        self.values.truncate(kept);
    }

    /// Keeps only the samples inside `[min_ms, max_ms]`; the run is sorted.
    pub(crate) fn clip(&mut self, min_ms: i64, max_ms: i64) {
        let from = self.times.partition_point(|t| *t < min_ms);
        let to = self.times.partition_point(|t| *t <= max_ms).max(from);
        self.times.truncate(to);
        self.values.truncate(to);
        if from > 0 {
            self.times.drain(..from);
            self.values.drain(..from);
        }
    }
}

/// Merges `later` into `first`, using `scratch` for memory. On equal timestamps `first` wins.
pub(crate) fn merge(first: &mut Columns, later: &Columns, scratch: &mut Columns) {
    let (Some(start), Some(end)) = (later.times.first(), first.times.last()) else {
        first.times.extend_from_slice(&later.times);
        first.values.extend_from_slice(&later.values);
        return;
    };
    if end < start {
        first.times.extend_from_slice(&later.times);
        first.values.extend_from_slice(&later.values);
        return;
    }
    scratch.clear();
    let (mut a, mut b) = (0, 0);
    while a < first.times.len() || b < later.times.len() {
        let take_first = match (first.times.get(a), later.times.get(b)) {
            (Some(x), Some(y)) => {
                b += usize::from(x == y);
                x <= y
            }
            (Some(_), None) => true,
            _ => false,
        };
        let (from, at) = if take_first {
            (&*first, &mut a)
        } else {
            (later, &mut b)
        };
        scratch.times.push(from.times[*at]);
        scratch.values.push(from.values[*at]);
        *at += 1;
    }
    std::mem::swap(first, scratch);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn columns(samples: &BTreeMap<i64, u32>) -> Columns {
        Columns {
            times: samples.keys().copied().collect(),
            values: samples.values().map(|v| f64::from(*v)).collect(),
        }
    }

    proptest! {
        #[test]
        fn merges_like_a_map(
            a in prop::collection::btree_map(0_i64..100, any::<u32>(), 0..40),
            b in prop::collection::btree_map(0_i64..150, any::<u32>(), 0..40),
            range in (0_i64..150, 0_i64..150),
        ) {
            let mut first = columns(&a);
            merge(&mut first, &columns(&b), &mut Columns::default());
            let mut model = b.clone();
            model.extend(a);
            let expected = columns(&model);
            prop_assert_eq!(&first.times, &expected.times);
            prop_assert_eq!(&first.values, &expected.values);
            first.clip(range.0, range.1);
            model.retain(|t, _| range.0 <= *t && *t <= range.1);
            prop_assert_eq!(first.times, columns(&model).times);
        }
    }
}
