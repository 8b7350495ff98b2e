//! From the histograms of a series to chunks: which of them may stand in one chunk.
//!
//! A reader takes every histogram of a chunk but the first for one without a counter reset, and all
//! of them for ones of a single layout; so a chunk ends before another layout, another kind, a
//! counter reset, and anything but a stale histogram after a stale one.

use tenbin_model::write::{HistogramSample, HistogramValue};
use tenbin_model::{CounterResetHint, FloatHistogram};

use super::histogram::ResetHeader;
use super::{CHUNK_SAMPLES, EncodedChunk, Encoding, float_histogram, histogram, layout};

/// What decides whether a histogram may follow another.
struct Shape {
    float: bool,
    gauge: bool,
    stale: bool,
    layout: layout::Layout,
    /// For comparing counts.
    counts: FloatHistogram,
}

fn shape(value: &HistogramValue) -> Shape {
    let (float, layout, counts) = match value {
        HistogramValue::Integer(h) => (false, histogram::layout_of(h), h.to_float()),
        HistogramValue::Float(h) => (true, float_histogram::layout_of(h), (**h).clone()),
    };
    Shape {
        float,
        gauge: counts.counter_reset_hint == CounterResetHint::Gauge,
        stale: counts.is_stale(),
        layout,
        counts,
    }
}

/// Whether the counter was reset between the two. What a hint says against it is not trusted.
fn was_reset(before: &Shape, after: &Shape) -> bool {
    let mut counts = after.counts.clone();
    if counts.counter_reset_hint != CounterResetHint::Reset {
        counts.counter_reset_hint = CounterResetHint::Unknown;
    }
    counts.detect_reset(&before.counts)
}

/// How a histogram stands to the one before it.
enum Place {
    /// In the same chunk.
    Same,
    /// At the front of another one.
    New(ResetHeader),
}

fn place(before: &Shape, after: &Shape) -> Place {
    if before.float == after.float && after.stale {
        return Place::Same;
    }
    if after.gauge {
        let same = before.gauge && !before.stale && before.float == after.float;
        return if same && before.layout == after.layout {
            Place::Same
        } else {
            Place::New(ResetHeader::Gauge)
        };
    }
    if before.gauge || before.stale {
        return Place::New(ResetHeader::Unknown);
    }
    if was_reset(before, after) {
        return Place::New(ResetHeader::Reset);
    }
    if before.float == after.float && before.layout == after.layout {
        return Place::Same;
    }
    Place::New(ResetHeader::NotReset)
}

fn first_header(shape: &Shape) -> ResetHeader {
    match shape.counts.counter_reset_hint {
        CounterResetHint::Gauge => ResetHeader::Gauge,
        CounterResetHint::Reset => ResetHeader::Reset,
        _ => ResetHeader::Unknown,
    }
}

/// Chunks of the histograms of a series, which are valid and ascend in time.
pub(in crate::interchange) fn encode_histograms(samples: &[HistogramSample]) -> Vec<EncodedChunk> {
    let mut chunks = Vec::new();
    let Some(first) = samples.first() else {
        return chunks;
    };
    let mut before = shape(&first.histogram);
    let (mut start, mut header) = (0, first_header(&before));
    for (at, sample) in samples.iter().enumerate().skip(1) {
        let after = shape(&sample.histogram);
        let new = match place(&before, &after) {
            Place::New(header) => Some(header),
            Place::Same if at - start < CHUNK_SAMPLES => None,
            Place::Same if after.gauge => Some(ResetHeader::Gauge),
            Place::Same if after.stale => Some(ResetHeader::Unknown),
            Place::Same => Some(ResetHeader::NotReset),
        };
        if let Some(new) = new {
            chunks.push(encode(&samples[start..at], before.float, header));
            (start, header) = (at, new);
        }
        before = after;
    }
    chunks.push(encode(&samples[start..], before.float, header));
    chunks
}

/// One chunk of histograms that may stand together.
fn encode(samples: &[HistogramSample], float: bool, header: ResetHeader) -> EncodedChunk {
    let (encoding, data) = if float {
        let floats = samples.iter().filter_map(|s| match &s.histogram {
            HistogramValue::Float(h) => Some((s.timestamp_ms, &**h)),
            HistogramValue::Integer(_) => None,
        });
        let floats: Vec<_> = floats.collect();
        let data = float_histogram::encode(&floats, header);
        (Encoding::FloatHistogram, data)
    } else {
        let integers = samples.iter().filter_map(|s| match &s.histogram {
            HistogramValue::Integer(h) => Some((s.timestamp_ms, &**h)),
            HistogramValue::Float(_) => None,
        });
        let integers: Vec<_> = integers.collect();
        (Encoding::Histogram, histogram::encode(&integers, header))
    };
    EncodedChunk {
        encoding,
        min_ms: samples.first().map_or(0, |s| s.timestamp_ms),
        max_ms: samples.last().map_or(0, |s| s.timestamp_ms),
        samples: samples.len(),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::merge::Columns;
    use proptest::prelude::*;
    use tenbin_model::{BucketSpan, Histogram, stale_nan};

    /// A step of a series: which kind of change, and how much.
    #[derive(Debug, Clone)]
    enum Step {
        Grow(Vec<u32>),
        Reset,
        Layout(u32),
        Gauge(bool),
        Stale,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => prop::collection::vec(0_u32..2000, 5).prop_map(Step::Grow),
            1 => Just(Step::Reset),
            1 => (1_u32..4).prop_map(Step::Layout),
            1 => any::<bool>().prop_map(Step::Gauge),
            1 => Just(Step::Stale),
        ]
    }

    /// Integer histograms with consistent counts.
    fn series(steps: &[Step]) -> Vec<HistogramSample> {
        let (mut counts, mut width, mut gauge) = ([3_i64; 5], 2_usize, false);
        let mut at_ms = 1_700_000_000_000;
        let mut samples = Vec::new();
        for step in steps {
            at_ms += 15_000 + (samples.len() as i64 % 3);
            let mut stale = false;
            match step {
                Step::Grow(by) => counts
                    .iter_mut()
                    .zip(by)
                    .for_each(|(c, b)| *c += i64::from(*b)),
                Step::Reset => counts = [1; 5],
                Step::Layout(new) => width = *new as usize,
                Step::Gauge(new) => gauge = *new,
                Step::Stale => stale = true,
            }
            let deltas = |counts: &[i64]| {
                let before = std::iter::once(&0).chain(counts);
                counts
                    .iter()
                    .zip(before)
                    .map(|(c, b)| c - b)
                    .collect::<Vec<_>>()
            };
            let positive = deltas(&counts[..width]);
            let total: i64 = counts[..width].iter().sum::<i64>() + counts[4] + counts[3];
            let histogram = if stale {
                histogram::stale_histogram(stale_nan())
            } else {
                Histogram {
                    counter_reset_hint: if gauge {
                        CounterResetHint::Gauge
                    } else {
                        CounterResetHint::Unknown
                    },
                    schema: 2,
                    zero_threshold: 0.001,
                    zero_count: counts[3] as u64,
                    count: total as u64,
                    sum: total as f64 * 0.7,
                    positive_spans: vec![BucketSpan {
                        offset: -2,
                        length: width as u32,
                    }],
                    negative_spans: vec![BucketSpan {
                        offset: 4,
                        length: 1,
                    }],
                    positive_deltas: positive,
                    negative_deltas: vec![counts[4]],
                    custom_values: vec![],
                }
            };
            samples.push(HistogramSample {
                timestamp_ms: at_ms,
                start_timestamp_ms: 0,
                histogram: HistogramValue::Integer(Box::new(histogram)),
            });
        }
        samples
    }

    fn to_float(samples: &[HistogramSample]) -> Vec<HistogramSample> {
        let convert = |sample: &HistogramSample| {
            let histogram = match &sample.histogram {
                HistogramValue::Integer(h) => HistogramValue::Float(Box::new(h.to_float())),
                float @ HistogramValue::Float(_) => float.clone(),
            };
            HistogramSample {
                histogram,
                ..sample.clone()
            }
        };
        samples.iter().map(convert).collect()
    }

    /// Decodes chunks; a hint other than gauge is forgotten, since it depends on the chunk.
    fn decoded(chunks: &[EncodedChunk]) -> Vec<HistogramSample> {
        let mut back = Vec::new();
        for chunk in chunks {
            let before = back.len();
            super::super::decode(
                chunk.encoding,
                &chunk.data,
                &mut Columns::default(),
                &mut |s| back.push(s),
            )
            .unwrap();
            assert_eq!(back.len() - before, chunk.samples);
            assert!(chunk.samples <= CHUNK_SAMPLES);
            assert_eq!(back[before].timestamp_ms, chunk.min_ms);
            for pair in back[before..].windows(2) {
                let (a, b) = (shape(&pair[0].histogram), shape(&pair[1].histogram));
                let ignored = b.stale || b.gauge;
                assert!(
                    ignored
                        || !was_reset(
                            &a,
                            &Shape {
                                counts: forgotten(&b.counts),
                                ..b
                            }
                        )
                );
            }
        }
        back.into_iter().map(forget).collect()
    }

    fn forgotten(h: &FloatHistogram) -> FloatHistogram {
        let mut h = h.clone();
        if h.counter_reset_hint != CounterResetHint::Gauge {
            h.counter_reset_hint = CounterResetHint::Unknown;
        }
        h
    }

    fn forget(mut sample: HistogramSample) -> HistogramSample {
        match &mut sample.histogram {
            HistogramValue::Integer(h) if h.counter_reset_hint != CounterResetHint::Gauge => {
                h.counter_reset_hint = CounterResetHint::Unknown;
            }
            HistogramValue::Float(h) => **h = forgotten(h),
            HistogramValue::Integer(_) => {}
        }
        sample
    }

    fn text(samples: &[HistogramSample]) -> String {
        format!("{samples:?}")
    }

    proptest! {
        #[test]
        fn histograms_come_back(steps in prop::collection::vec(step(), 0..200)) {
            let samples = series(&steps);
            prop_assert_eq!(text(&decoded(&encode_histograms(&samples))), text(&samples));
            let floats = to_float(&samples);
            prop_assert_eq!(text(&decoded(&encode_histograms(&floats))), text(&floats));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), code in 1_u8..=6) {
            let encoding = Encoding::from_byte(code).unwrap();
            let mut count = 0_u32;
            let _ = super::super::decode(encoding, &bytes, &mut Columns::default(), &mut |_| count += 1);
            prop_assert!(count <= 65_535);
        }
    }
}
