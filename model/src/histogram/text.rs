//! The text of a float histogram, as `count_values` and printed results have it.
//!
//! `{count:6, sum:5, [-0.5,0.5]:2, (1,2]:4}`; empty buckets are left out. Source: Prometheus
//! `FloatHistogram.String`.

use std::fmt;

use super::FloatHistogram;
use super::buckets::Bucket;
use crate::text::float::format_g;

fn write_bucket(f: &mut fmt::Formatter<'_>, bucket: &Bucket) -> fmt::Result {
    write!(
        f,
        ", {}{},{}{}:{}",
        if bucket.lower_inclusive { '[' } else { '(' },
        format_g(bucket.lower),
        format_g(bucket.upper),
        if bucket.upper_inclusive { ']' } else { ')' },
        format_g(bucket.count)
    )
}

impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{count:{}, sum:{}",
            format_g(self.count),
            format_g(self.sum)
        )?;
        let negative: Vec<Bucket> = self.negative_side().collect();
        for bucket in negative.iter().rev().filter(|bucket| bucket.count != 0.0) {
            write_bucket(f, bucket)?;
        }
        if self.zero_count != 0.0 {
            write_bucket(f, &self.zero_bucket())?;
        }
        for bucket in self.positive_side().filter(|bucket| bucket.count != 0.0) {
            write_bucket(f, &bucket)?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketSpan, CUSTOM_BUCKETS_SCHEMA};
    use super::*;

    #[test]
    fn buckets_read_as_intervals() {
        let spans = vec![BucketSpan {
            offset: 1,
            length: 2,
        }];
        let histogram = FloatHistogram {
            count: 6.0,
            sum: 5.5,
            zero_threshold: 0.5,
            zero_count: 2.0,
            positive_spans: spans.clone(),
            positive_buckets: vec![4.0, 0.0],
            negative_spans: spans.clone(),
            negative_buckets: vec![1.0, 2.0],
            ..FloatHistogram::default()
        };
        assert_eq!(
            histogram.to_string(),
            "{count:6, sum:5.5, [-4,-2):2, [-2,-1):1, [-0.5,0.5]:2, (1,2]:4}"
        );
        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_values: vec![1.0, 2.0],
            positive_spans: spans,
            positive_buckets: vec![1.0, 2.0],
            ..FloatHistogram::default()
        };
        assert_eq!(custom.to_string(), "{count:0, sum:0, (1,2]:1, (2,+Inf]:2}");
    }
}
