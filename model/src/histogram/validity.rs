//! Which histograms a store accepts, with Prometheus' texts.
//!
//! Source: Prometheus `model/histogram/histogram.go` and `float_histogram.go`, `Validate`.

use super::{BucketSpan, CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Histogram};

/// The finest and the coarsest exponential schema that is stored.
const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// Schemas up to this are accepted and reduced to the finest stored one.
const MAX_REDUCIBLE_SCHEMA: i32 = 52;

/// What is wrong with a histogram. `Display` gives Prometheus' text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidHistogram {
    /// Schema out of range.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, \
         or -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// Count and buckets disagree.
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's \
         observation count should equal the number of observations found in the buckets \
         (in absence of NaN)"
    )]
    CountMismatch {
        /// Sum of the buckets.
        found: u64,
        /// The count field.
        count: u64,
    },
    /// More in the buckets than counted, though NaNs may explain fewer.
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's \
         observation count should be at least the number of observations found in the buckets"
    )]
    CountNotBigEnough {
        /// Sum of the buckets.
        found: u64,
        /// The count field.
        count: u64,
    },
    /// A negative bucket.
    #[error(
        "{side} side: bucket number {bucket} has observation count of {count}: \
             histogram has a bucket whose observation count is negative"
    )]
    NegativeBucket {
        /// `positive` or `negative`.
        side: &'static str,
        /// Number of the bucket, from 1.
        bucket: usize,
        /// Its count.
        count: String,
    },
    /// A span after the first goes backwards.
    #[error(
        "{side} side: span number {span} with offset {offset}: \
             histogram has a span whose offset is negative"
    )]
    NegativeOffset {
        /// `positive` or `negative`.
        side: &'static str,
        /// Number of the span, from 1.
        span: usize,
        /// Its offset.
        offset: i32,
    },
    /// Spans and buckets disagree.
    #[error(
        "{side} side: spans need {needed} buckets, have {have} buckets: \
             histogram spans specify different number of buckets than provided"
    )]
    SpanMismatch {
        /// `positive` or `negative`.
        side: &'static str,
        /// Buckets that the spans cover.
        needed: u64,
        /// Buckets present.
        have: usize,
    },
    /// A rule of custom buckets is broken.
    #[error("custom buckets: {0}")]
    Custom(String),
    /// An exponential histogram with custom bounds.
    #[error("histogram with exponential schema must not have custom bounds")]
    CustomBoundsOnExponential,
}

fn check_schema(schema: i32) -> Result<(), InvalidHistogram> {
    let known = schema == CUSTOM_BUCKETS_SCHEMA
        || (*EXPONENTIAL_SCHEMAS.start()..=MAX_REDUCIBLE_SCHEMA).contains(&schema);
    if known {
        Ok(())
    } else {
        Err(InvalidHistogram::Schema(schema))
    }
}

fn check_spans(
    side: &'static str,
    spans: &[BucketSpan],
    buckets: usize,
) -> Result<(), InvalidHistogram> {
    let mut needed = 0_u64;
    for (at, span) in spans.iter().enumerate() {
        if at > 0 && span.offset < 0 {
            return Err(InvalidHistogram::NegativeOffset {
                side,
                span: at + 1,
                offset: span.offset,
            });
        }
        needed += u64::from(span.length);
    }
    if needed != buckets as u64 {
        return Err(InvalidHistogram::SpanMismatch {
            side,
            needed,
            have: buckets,
        });
    }
    Ok(())
}

/// The sum of delta-encoded buckets.
fn sum_deltas(side: &'static str, deltas: &[i64]) -> Result<u64, InvalidHistogram> {
    let (mut count, mut total) = (0_i64, 0_u64);
    for (at, delta) in deltas.iter().enumerate() {
        count = count.wrapping_add(*delta);
        if count < 0 {
            let count = count.to_string();
            return Err(InvalidHistogram::NegativeBucket {
                side,
                bucket: at + 1,
                count,
            });
        }
        total = total.wrapping_add(count as u64);
    }
    Ok(total)
}

fn check_counts(side: &'static str, counts: &[f64]) -> Result<(), InvalidHistogram> {
    match counts.iter().position(|count| *count < 0.0) {
        Some(at) => Err(InvalidHistogram::NegativeBucket {
            side,
            bucket: at + 1,
            count: crate::text::float::format_g(counts[at]),
        }),
        None => Ok(()),
    }
}

fn check_custom_bounds(bounds: &[f64], needed: usize) -> Result<(), InvalidHistogram> {
    let custom = |text: String| Err(InvalidHistogram::Custom(text));
    let mut previous = f64::NEG_INFINITY;
    for bound in bounds {
        if bound.is_nan() {
            return custom("histogram custom bounds must not be NaN".to_owned());
        }
        if *bound <= previous {
            return custom(format!(
                "previous bound is {:.6} and current is {bound:.6}: \
                 histogram custom bounds must be in strictly increasing order",
                previous
            ));
        }
        if bound.is_infinite() {
            return custom(
                "last +Inf bound must not be explicitly defined: \
                 histogram custom bounds must be finite"
                    .to_owned(),
            );
        }
        previous = *bound;
    }
    if needed > bounds.len() + 1 {
        return custom(format!(
            "only {} custom bounds defined which is insufficient to cover total span length of \
             {needed}: histogram custom bounds are too few",
            bounds.len()
        ));
    }
    Ok(())
}

/// What the two forms have in common for [`check_custom`].
struct CustomParts<'a> {
    positive_spans: &'a [BucketSpan],
    custom_values: &'a [f64],
    zero_count_is_zero: bool,
    zero_threshold: f64,
    has_negative_spans: bool,
    has_negative_buckets: bool,
}

fn check_custom(schema: i32, parts: &CustomParts<'_>) -> Result<(), InvalidHistogram> {
    if schema != CUSTOM_BUCKETS_SCHEMA {
        return if parts.custom_values.is_empty() {
            Ok(())
        } else {
            Err(InvalidHistogram::CustomBoundsOnExponential)
        };
    }
    let custom = |text: &str| Err(InvalidHistogram::Custom(text.to_owned()));
    let reach: i64 = parts
        .positive_spans
        .iter()
        .map(|s| i64::from(s.offset) + i64::from(s.length))
        .sum();
    check_custom_bounds(parts.custom_values, usize::try_from(reach).unwrap_or(0))?;
    if !parts.zero_count_is_zero {
        return custom("must have zero count of 0");
    }
    if parts.zero_threshold != 0.0 {
        return custom("must have zero threshold of 0");
    }
    if parts.has_negative_spans {
        return custom("must not have negative spans");
    }
    if parts.has_negative_buckets {
        return custom("must not have negative buckets");
    }
    Ok(())
}

impl Histogram {
    /// Checks the histogram as a store does before it takes it.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        check_schema(self.schema)?;
        let parts = CustomParts {
            positive_spans: &self.positive_spans,
            custom_values: &self.custom_values,
            zero_count_is_zero: self.zero_count == 0,
            zero_threshold: self.zero_threshold,
            has_negative_spans: !self.negative_spans.is_empty(),
            has_negative_buckets: !self.negative_deltas.is_empty(),
        };
        check_custom(self.schema, &parts)?;
        check_spans("positive", &self.positive_spans, self.positive_deltas.len())?;
        check_spans("negative", &self.negative_spans, self.negative_deltas.len())?;
        let negative = sum_deltas("negative", &self.negative_deltas)?;
        let positive = sum_deltas("positive", &self.positive_deltas)?;
        let found = negative
            .wrapping_add(positive)
            .wrapping_add(self.zero_count);
        let count = self.count;
        if self.sum.is_nan() && !self.is_stale() {
            if found > count {
                return Err(InvalidHistogram::CountNotBigEnough { found, count });
            }
        } else if found != count && !self.is_stale() {
            return Err(InvalidHistogram::CountMismatch { found, count });
        }
        Ok(())
    }
}

impl FloatHistogram {
    /// Checks the histogram as a store does before it takes it. Count and buckets may disagree:
    /// float sums round.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        check_schema(self.schema)?;
        let parts = CustomParts {
            positive_spans: &self.positive_spans,
            custom_values: &self.custom_values,
            zero_count_is_zero: self.zero_count == 0.0,
            zero_threshold: self.zero_threshold,
            has_negative_spans: !self.negative_spans.is_empty(),
            has_negative_buckets: !self.negative_buckets.is_empty(),
        };
        check_custom(self.schema, &parts)?;
        check_spans(
            "positive",
            &self.positive_spans,
            self.positive_buckets.len(),
        )?;
        check_spans(
            "negative",
            &self.negative_spans,
            self.negative_buckets.len(),
        )?;
        check_counts("negative", &self.negative_buckets)?;
        check_counts("positive", &self.positive_buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CounterResetHint;

    fn good() -> Histogram {
        Histogram {
            counter_reset_hint: CounterResetHint::Unknown,
            schema: 1,
            zero_threshold: 0.001,
            zero_count: 2,
            count: 12,
            sum: 18.4,
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            negative_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            positive_deltas: vec![1, 1],
            negative_deltas: vec![3, 1],
            custom_values: vec![],
        }
    }

    fn custom() -> FloatHistogram {
        FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            positive_buckets: vec![1.0, 2.0],
            custom_values: vec![0.5],
            ..FloatHistogram::default()
        }
    }

    fn text(change: impl FnOnce(&mut Histogram)) -> String {
        let mut histogram = good();
        change(&mut histogram);
        histogram.validate().unwrap_err().to_string()
    }

    fn custom_text(change: impl FnOnce(&mut FloatHistogram)) -> String {
        let mut histogram = custom();
        change(&mut histogram);
        histogram.validate().unwrap_err().to_string()
    }

    #[test]
    fn good_histograms_pass() {
        assert_eq!(good().validate(), Ok(()));
        assert_eq!(good().to_float().validate(), Ok(()));
        assert_eq!(custom().validate(), Ok(()));
        let mut nan_sum = good();
        nan_sum.sum = f64::NAN;
        nan_sum.count = 20;
        assert_eq!(
            nan_sum.validate(),
            Ok(()),
            "NaN observations are in no bucket"
        );
    }

    #[test]
    fn bad_ones_are_named() {
        assert!(text(|h| h.schema = -5).ends_with("got schema -5"));
        assert!(text(|h| h.schema = 53).ends_with("got schema 53"));
        assert!(text(|h| h.count = 9).starts_with("12 observations found in buckets, but"));
        assert!(text(|h| h.positive_deltas[1] = -2).starts_with("positive side: bucket number 2"));
        assert!(text(|h| h.positive_spans[0].length = 3).contains("spans need 3 buckets, have 2"));
        assert!(
            text(|h| h.negative_spans = vec![
                BucketSpan {
                    offset: 0,
                    length: 1
                },
                BucketSpan {
                    offset: -1,
                    length: 1
                }
            ])
            .contains("span number 2 with offset -1")
        );
        assert_eq!(
            text(|h| h.custom_values = vec![1.0]),
            "histogram with exponential schema must not have custom bounds"
        );
        assert!(custom_text(|h| h.zero_count = 1.0).contains("must have zero count of 0"));
        assert!(custom_text(|h| h.custom_values = vec![]).contains("custom bounds are too few"));
        assert!(custom_text(|h| h.custom_values = vec![2.0, 1.0]).contains("strictly increasing"));
        assert!(custom_text(|h| h.custom_values = vec![f64::INFINITY]).contains("must be finite"));
        assert!(custom_text(|h| h.custom_values = vec![f64::NAN]).contains("must not be NaN"));
    }
}
