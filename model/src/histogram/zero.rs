//! The zero bucket: widening it, and bringing two histograms to one threshold.
//!
//! A threshold inside a populated bucket moves out to that bucket's far bound, since the bucket
//! cannot be divided. Source: Prometheus `zeroCountForLargerThreshold`, `reconcileZeroBuckets`.

use super::FloatHistogram;
use crate::kahan;

/// A widened zero bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Widened {
    pub(super) threshold: f64,
    pub(super) count: f64,
    /// What the compensated sum lost.
    pub(super) lost: f64,
}

impl FloatHistogram {
    /// The zero bucket for a threshold of at least `threshold`, which is not below the present
    /// one. `lost` holds the losses of a compensated sum with the same layout, if there is one.
    pub(super) fn widened_zero(&self, threshold: f64, lost: Option<&Self>) -> Widened {
        let mut widened = Widened {
            threshold,
            count: self.zero_count,
            lost: lost.map_or(0.0, |lost| lost.zero_count),
        };
        if threshold <= self.zero_threshold {
            return widened;
        }
        // Moving the threshold for the sake of one side starts the count anew, but not what was
        // lost: so it is in Prometheus.
        loop {
            widened.count = self.zero_count;
            self.absorb_positive(&mut widened, lost);
            if !self.absorb_negative(&mut widened, lost) {
                return widened;
            }
        }
    }

    fn absorb_positive(&self, widened: &mut Widened, lost: Option<&Self>) {
        for (at, bucket) in self.positive_side().enumerate() {
            if bucket.lower >= widened.threshold {
                break;
            }
            widened.add(bucket.count, lost.and_then(|l| l.positive_buckets.get(at)));
            if bucket.upper > widened.threshold {
                if bucket.count != 0.0 {
                    widened.threshold = bucket.upper;
                }
                break;
            }
        }
    }

    /// Returns whether the threshold moved, so that everything is to be done again.
    fn absorb_negative(&self, widened: &mut Widened, lost: Option<&Self>) -> bool {
        for (at, bucket) in self.negative_side().enumerate() {
            if bucket.upper <= -widened.threshold {
                break;
            }
            widened.add(bucket.count, lost.and_then(|l| l.negative_buckets.get(at)));
            if bucket.lower < -widened.threshold {
                if bucket.count != 0.0 {
                    widened.threshold = -bucket.lower;
                    return true;
                }
                break;
            }
        }
        false
    }

    /// Removes the buckets inside the zero bucket, which already counts them.
    fn remove_inside_zero(&mut self, lost: Option<&mut Self>) {
        let threshold = self.zero_threshold;
        let positive = self
            .positive_side()
            .take_while(|bucket| bucket.lower < threshold)
            .count();
        let negative = self
            .negative_side()
            .take_while(|bucket| bucket.upper > -threshold)
            .count();
        self.positive_buckets[..positive].fill(0.0);
        self.negative_buckets[..negative].fill(0.0);
        match lost {
            None => self.compact(),
            Some(lost) => {
                let clear = |buckets: &mut Vec<f64>, count: usize| {
                    let count = count.min(buckets.len());
                    buckets[..count].fill(0.0);
                };
                clear(&mut lost.positive_buckets, positive);
                clear(&mut lost.negative_buckets, negative);
                self.compact_with(lost);
            }
        }
    }

    /// Removes buckets that are empty here and in the losses, from both.
    fn compact_with(&mut self, lost: &mut Self) {
        use super::layout::listed_with;
        let keep = |list: &mut Vec<super::layout::Indexed>| {
            list.retain(|bucket| bucket.count != 0.0 || bucket.lost != 0.0);
        };
        let mut list = listed_with(
            &self.positive_spans,
            &self.positive_buckets,
            &lost.positive_buckets,
        );
        keep(&mut list);
        self.set_positive(&list);
        lost.positive_buckets = list.iter().map(|bucket| bucket.lost).collect();
        let mut list = listed_with(
            &self.negative_spans,
            &self.negative_buckets,
            &lost.negative_buckets,
        );
        keep(&mut list);
        self.set_negative(&list);
        lost.negative_buckets = list.iter().map(|bucket| bucket.lost).collect();
    }

    /// Widens the zero bucket until it covers that of `other`, and tells what `other` would have
    /// in a zero bucket as wide: count and loss.
    pub(super) fn reconcile_zero(&mut self, other: &Self, mut lost: Option<&mut Self>) -> Widened {
        let mut theirs = Widened {
            threshold: other.zero_threshold,
            count: other.zero_count,
            lost: 0.0,
        };
        // NaN thresholds compare unequal for ever; the bound ends the loop for them.
        for _ in 0..64 {
            if theirs.threshold == self.zero_threshold {
                break;
            }
            if self.zero_threshold > theirs.threshold {
                theirs = other.widened_zero(self.zero_threshold, None);
            }
            if theirs.threshold > self.zero_threshold {
                let mine = self.widened_zero(theirs.threshold, lost.as_deref());
                self.zero_count = mine.count;
                self.zero_threshold = mine.threshold;
                if let Some(lost) = lost.as_deref_mut() {
                    lost.zero_count = mine.lost;
                }
                self.remove_inside_zero(lost.as_deref_mut());
            }
        }
        theirs
    }
}

impl Widened {
    fn add(&mut self, count: f64, lost: Option<&f64>) {
        (self.count, self.lost) = kahan::add(count, self.count, self.lost);
        if let Some(lost) = lost {
            (self.count, self.lost) = kahan::add(*lost, self.count, self.lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BucketSpan;
    use super::*;

    fn histogram() -> FloatHistogram {
        let spans = vec![BucketSpan {
            offset: 0,
            length: 3,
        }];
        FloatHistogram {
            zero_threshold: 0.25,
            zero_count: 1.0,
            positive_spans: spans.clone(),
            positive_buckets: vec![2.0, 3.0, 4.0],
            negative_spans: spans,
            negative_buckets: vec![10.0, 0.0, 20.0],
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn threshold_moves_out_of_populated_buckets() {
        let widened = histogram().widened_zero(0.6, None);
        assert_eq!((widened.threshold, widened.count), (1.0, 13.0));
        let widened = histogram().widened_zero(1.5, None);
        assert_eq!((widened.threshold, widened.count), (2.0, 16.0));
    }

    #[test]
    fn two_thresholds_meet_at_the_wider() {
        let mut left = histogram();
        let right = FloatHistogram {
            zero_threshold: 0.6,
            zero_count: 5.0,
            ..FloatHistogram::default()
        };
        let theirs = left.reconcile_zero(&right, None);
        assert_eq!(theirs.count, 5.0);
        assert_eq!((left.zero_threshold, left.zero_count), (1.0, 13.0));
        assert_eq!(left.positive_buckets, [3.0, 4.0]);
        assert_eq!(left.negative_buckets, [20.0]);
    }
}
