//! Chunks of Prometheus blocks: bytes to samples and back.
//!
//! Pure: no file. Decoders take untrusted bytes and hand out one histogram at a time, so that a small
//! chunk cannot ask for much memory. A chunk of floats has at most 120 samples here, as Prometheus
//! writes them.

mod bits;
mod float;
mod float_histogram;
mod histogram;
mod layout;
mod runs;

use tenbin_model::query::RawSamples;
use tenbin_model::write::HistogramSample;

use crate::codec::Malformed;
use crate::query::merge::Columns;

pub(super) use runs::encode_histograms;

/// Most samples in a chunk that is written.
pub(super) const CHUNK_SAMPLES: usize = 120;

/// How a chunk is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Xor = 1,
    Histogram = 2,
    FloatHistogram = 3,
    Xor2 = 4,
    HistogramStart = 5,
    FloatHistogramStart = 6,
}

impl Encoding {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Xor,
            Self::Histogram,
            Self::FloatHistogram,
            Self::Xor2,
            Self::HistogramStart,
            Self::FloatHistogramStart,
        ]
        .into_iter()
        .find(|encoding| *encoding as u8 == byte)
    }
}

/// A chunk that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EncodedChunk {
    pub(super) encoding: Encoding,
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
    pub(super) samples: usize,
    pub(super) data: Vec<u8>,
}

/// Appends the floats of a chunk to `floats` and calls `each` with its histograms.
pub(super) fn decode(
    encoding: Encoding,
    data: &[u8],
    floats: &mut Columns,
    each: &mut dyn FnMut(HistogramSample),
) -> Result<(), Malformed> {
    match encoding {
        Encoding::Xor => float::decode_xor(data, floats),
        Encoding::Xor2 => float::decode_xor2(data, floats),
        Encoding::Histogram => histogram::decode(data, false, each),
        Encoding::HistogramStart => histogram::decode(data, true, each),
        Encoding::FloatHistogram => float_histogram::decode(data, false, each),
        Encoding::FloatHistogramStart => float_histogram::decode(data, true, each),
    }
}

/// Chunks of the float samples of a series.
pub(super) fn encode_floats<'a>(
    times_ms: &'a [i64],
    values: &'a [f64],
) -> impl Iterator<Item = EncodedChunk> + 'a {
    let runs = times_ms
        .chunks(CHUNK_SAMPLES)
        .zip(values.chunks(CHUNK_SAMPLES));
    runs.map(|(times_ms, values)| EncodedChunk {
        encoding: Encoding::Xor,
        min_ms: times_ms.first().copied().unwrap_or(0),
        max_ms: times_ms.last().copied().unwrap_or(0),
        samples: times_ms.len(),
        data: float::encode_xor(times_ms, values),
    })
}

/// The chunks of a series in time order: a run of floats, a run of histograms, and so on.
pub(super) fn encode_series(samples: &RawSamples) -> Vec<EncodedChunk> {
    let (floats, others) = (&samples.timestamps_ms, &samples.histograms);
    let mut chunks = Vec::new();
    let (mut float, mut other) = (0, 0);
    while float < floats.len() || other < others.len() {
        let end = match others.get(other) {
            Some(next) => float + floats[float..].partition_point(|t| *t < next.timestamp_ms),
            None => floats.len(),
        };
        let values = &samples.values[float..end];
        chunks.extend(encode_floats(&floats[float..end], values));
        float = end;
        let end = match floats.get(float) {
            Some(next) => other + others[other..].partition_point(|s| s.timestamp_ms <= *next),
            None => others.len(),
        };
        chunks.extend(encode_histograms(&others[other..end]));
        other = end;
    }
    chunks
}
