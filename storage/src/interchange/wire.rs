//! Samples of a series as the chunks that Prometheus' remote read streams: the bytes of a chunk in a
//! block, without length, encoding byte and checksum. Encodings that Prometheus 3.5 knows, so
//! without start timestamps.

use tenbin_model::query::RawSamples;

use super::chunk::encode_series;

/// A chunk for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireChunk {
    /// Timestamp of the first sample, milliseconds.
    pub min_ms: i64,
    /// Timestamp of the last sample, milliseconds.
    pub max_ms: i64,
    /// Prometheus' number of the encoding: 1 = XOR, 2 = histograms, 3 = float histograms.
    pub encoding: u8,
    /// The samples.
    pub data: Vec<u8>,
}

/// The chunks of a series in time order.
#[must_use]
pub fn wire_chunks(samples: &RawSamples) -> Vec<WireChunk> {
    let chunks = encode_series(samples).into_iter();
    let wire = chunks.map(|chunk| WireChunk {
        min_ms: chunk.min_ms,
        max_ms: chunk.max_ms,
        encoding: chunk.encoding as u8,
        data: chunk.data,
    });
    wire.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interchange::chunk::{Encoding, decode};
    use crate::query::merge::Columns;

    #[test]
    fn chunks_hold_the_samples_in_order() {
        let samples = RawSamples {
            timestamps_ms: (0..300).map(|i| i * 1000).collect(),
            values: (0..300).map(f64::from).collect(),
            ..RawSamples::default()
        };
        let chunks = wire_chunks(&samples);
        assert_eq!(chunks.len(), 3);
        let mut back = Columns::default();
        for chunk in &chunks {
            let from = back.times.len();
            let encoding = Encoding::from_byte(chunk.encoding).unwrap();
            decode(encoding, &chunk.data, &mut back, &mut |_| ()).unwrap();
            assert_eq!(back.times[from], chunk.min_ms);
            assert_eq!(back.times.last(), Some(&chunk.max_ms));
        }
        assert_eq!(
            (back.times, back.values),
            (samples.timestamps_ms, samples.values)
        );
    }
}
