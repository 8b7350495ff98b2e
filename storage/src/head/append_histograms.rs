//! Admission of histograms: the same table as for floats, on the same timeline of a series.

use std::borrow::Cow;

use tenbin_model::write::{HistogramSample, HistogramValue, RejectReason};
use tenbin_model::{FloatHistogram, Histogram, Sample};

use super::append::{Admission, Place};
use super::count;
use super::lane::{Lane, Stored};
use super::series::LAST_IS_HISTOGRAM;
use crate::histogram::{MAX_BUCKETS, size};

/// The finest schema that is stored; finer ones are reduced to it.
const FINEST_SCHEMA: i32 = 8;

/// The histogram in a schema that is stored.
fn reduced(value: &HistogramValue) -> Cow<'_, HistogramValue> {
    match value {
        HistogramValue::Integer(h) if h.schema > FINEST_SCHEMA => Cow::Owned(
            HistogramValue::Integer(Box::new(h.to_schema(FINEST_SCHEMA))),
        ),
        HistogramValue::Float(h) if h.schema > FINEST_SCHEMA => {
            let mut coarse = h.to_schema(FINEST_SCHEMA);
            coarse.counter_reset_hint = h.counter_reset_hint;
            Cow::Owned(HistogramValue::Float(Box::new(coarse)))
        }
        _ => Cow::Borrowed(value),
    }
}

/// A staleness marker of either form.
fn stale(float: bool, sum: f64) -> HistogramValue {
    let marker = FloatHistogram {
        sum,
        ..FloatHistogram::default()
    };
    if float {
        return HistogramValue::Float(Box::new(marker));
    }
    HistogramValue::Integer(Box::new(Histogram {
        counter_reset_hint: marker.counter_reset_hint,
        schema: 0,
        zero_threshold: 0.0,
        zero_count: 0,
        count: 0,
        sum,
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        positive_deltas: Vec::new(),
        negative_deltas: Vec::new(),
        custom_values: Vec::new(),
    }))
}

impl Admission<'_> {
    pub(super) fn histogram(
        &mut self,
        lane: &mut Lane,
        entry: usize,
        id: u32,
        sample: &HistogramSample,
    ) {
        if let Err(reason) = sample.histogram.validate() {
            return self.reject(entry, RejectReason::InvalidHistogram(Box::new(reason)));
        }
        let buckets = size(&sample.histogram);
        if buckets > MAX_BUCKETS {
            let limit = MAX_BUCKETS;
            return self.reject(entry, RejectReason::HistogramTooLarge { buckets, limit });
        }
        let value = reduced(&sample.histogram);
        let times = (sample.timestamp_ms, sample.start_timestamp_ms);
        if self.histogram_value(lane, entry, id, times, &value) {
            self.report.histograms_written += 1;
        }
    }

    /// A float staleness marker behind a histogram ends the histogram.
    #[cold]
    pub(super) fn stale_histogram(
        &mut self,
        lane: &mut Lane,
        entry: usize,
        id: u32,
        sample: &Sample,
    ) {
        let float = lane.histograms.newest(id).is_some_and(|(float, _)| float);
        let times = (sample.timestamp_ms, sample.start_timestamp_ms);
        if self.histogram_value(lane, entry, id, times, &stale(float, sample.value)) {
            self.report.samples_written += 1;
        }
    }

    /// Stores a valid histogram; whether it is stored now or was before.
    fn histogram_value(
        &mut self,
        lane: &mut Lane,
        entry: usize,
        id: u32,
        (at_ms, start_ms): (i64, i64),
        value: &HistogramValue,
    ) -> bool {
        let last_is_histogram = lane.series[id as usize].has(LAST_IS_HISTOGRAM);
        match self.place(lane, id, at_ms) {
            Place::InOrder => {
                let after_float = !last_is_histogram;
                let times = (at_ms, start_ms);
                let point = lane.histograms.point(id, times, value, after_float);
                lane.wal_base(id, self.epoch);
                lane.push_histogram(id, &point);
                lane.record.histogram(id, &point, false);
                self.took_in_order(lane, id, at_ms);
                self.histograms += 1;
                true
            }
            Place::Newest => {
                let same = last_is_histogram && lane.histograms.newest_equals(id, value);
                self.repeated(entry, same)
            }
            Place::Late => {
                let point = lane.histograms.point(id, (at_ms, start_ms), value, true);
                match lane.stored_at(id, at_ms) {
                    Some(Stored::Histogram(stored)) => {
                        let same =
                            (&stored.layout, &stored.fields) == (&point.layout, &point.fields);
                        self.repeated(entry, same)
                    }
                    Some(Stored::Float(_)) => self.repeated(entry, false),
                    None => {
                        lane.wal_base(id, self.epoch);
                        lane.record.histogram(id, &point, true);
                        lane.push_late_histogram(id, point);
                        self.took_late(lane, id, at_ms);
                        self.histograms += 1;
                        true
                    }
                }
            }
            Place::Refused(reason) => {
                self.reject(entry, reason);
                false
            }
        }
    }

    fn repeated(&mut self, entry: usize, same: bool) -> bool {
        if same {
            count(&self.head.counters.duplicates, 1);
        } else {
            self.reject(entry, RejectReason::DuplicateTimestamp);
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA;

    #[test]
    fn too_fine_schemas_are_reduced() {
        let fine = FloatHistogram {
            schema: 9,
            ..FloatHistogram::default()
        };
        let HistogramValue::Float(coarse) =
            reduced(&HistogramValue::Float(Box::new(fine))).into_owned()
        else {
            panic!("still a float histogram");
        };
        assert_eq!(coarse.schema, 8);
        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            ..FloatHistogram::default()
        };
        let custom = HistogramValue::Float(Box::new(custom));
        assert!(matches!(reduced(&custom), Cow::Borrowed(_)));
    }
}
