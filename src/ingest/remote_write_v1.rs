//! Remote write 1.0: `prometheus.WriteRequest`, decoded without copying.
//!
//! One pass notes for every series where its label bytes stand and reads its samples into one flat
//! list. The label bytes of a series are contiguous in what every known sender writes; a message
//! that interleaves other fields is legal too, and gets its label fields copied together.
//! Labels are parsed only when the store asks for them.
//!
//! Schema (field numbers): WriteRequest{timeseries=1, metadata=3}, TimeSeries{labels=1, samples=2,
//! exemplars=3, histograms=4}, Exemplar{labels=1, value=2, timestamp=3}, MetricMetadata{type=1,
//! metric_family_name=2, help=4, unit=5}, Label{name=1, value=2}, Sample{value=1 double, timestamp=2 int64}.
//! Source: <https://prometheus.io/docs/specs/prw/remote_write_spec/>.

use std::cell::RefCell;

use tenbin_model::Sample;
use tenbin_model::write::{
    Exemplar, HistogramSample, InvalidLabels, MetadataEntry, MetricType, WriteRequest,
    canonicalise, canonicalise_any,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::histogram::decode_histogram;
use super::protobuf::{Walker, WireError, wire};
use super::{DecodeError, recycle};
use crate::limits::WriteLimits;

/// Field 1 of a series, length-delimited.
const LABELS_TAG: u8 = 0x0a;

/// Field 1 of a sample, fixed 64-bit, and field 2, a varint.
const VALUE_TAG: u8 = 0x09;
const TIMESTAMP_TAG: u8 = 0x10;

/// One series of the request.
#[derive(Debug, Clone, Copy)]
struct Entry {
    labels_start: u32,
    labels_end: u32,
    samples_start: u32,
    samples_end: u32,
    histograms_start: u32,
    histograms_end: u32,
    exemplars_start: u32,
    exemplars_end: u32,
    /// The label bytes stand in the side buffer instead of the body.
    copied: bool,
}

thread_local! {
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    static SAMPLES: RefCell<Vec<Sample>> = const { RefCell::new(Vec::new()) };
}

/// A decoded request that borrows the body.
#[derive(Debug)]
pub struct RemoteWriteV1<'a> {
    body: &'a [u8],
    limits: &'a WriteLimits,
    entries: Vec<Entry>,
    samples: Vec<Sample>,
    copied_labels: Vec<u8>,
    histograms: Vec<HistogramSample>,
    /// Encoded exemplars: read when the store asks for them.
    exemplars: Vec<&'a [u8]>,
    metadata: Vec<MetadataEntry<'a>>,
}

impl Drop for RemoteWriteV1<'_> {
    fn drop(&mut self) {
        recycle::keep(&ENTRIES, std::mem::take(&mut self.entries));
        recycle::keep(&SAMPLES, std::mem::take(&mut self.samples));
    }
}

impl<'a> RemoteWriteV1<'a> {
    /// Walks the decompressed body.
    ///
    /// # Errors
    /// When it is no `WriteRequest` or exceeds a limit.
    pub fn decode(body: &'a [u8], limits: &'a WriteLimits) -> Result<Self, DecodeError> {
        let mut request = Self {
            body,
            limits,
            entries: recycle::take(&ENTRIES),
            samples: recycle::take(&SAMPLES),
            copied_labels: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
        };
        let mut walker = Walker::new(body);
        while !walker.is_done() {
            let tag = walker.tag()?;
            match (tag.field, tag.wire_type) {
                (1, wire::BYTES) => {
                    let message = walker.bytes()?;
                    request.series(walker.position() - message.len(), message)?;
                }
                (3, wire::BYTES) => {
                    let entry = decode_metadata(walker.bytes()?)?;
                    request.metadata.extend(entry);
                }
                (1 | 3, _) => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        Ok(request)
    }

    fn series(&mut self, base: usize, message: &'a [u8]) -> Result<(), DecodeError> {
        let samples_start = self.samples.len() as u32;
        let histograms_start = self.histograms.len() as u32;
        let exemplars_start = self.exemplars.len() as u32;
        let mut walker = Walker::new(message);
        // Every known sender writes the labels first.
        walker.skip_short_fields(LABELS_TAG);
        let (mut first_label, mut after_label) = (0, walker.position());
        let mut contiguous = true;
        while !walker.is_done() {
            let field_start = walker.position();
            let tag = walker.tag()?;
            match (tag.field, tag.wire_type) {
                (1, wire::BYTES) => {
                    walker.bytes()?;
                    if after_label == 0 {
                        first_label = field_start;
                    } else if after_label != field_start {
                        contiguous = false;
                    }
                    after_label = walker.position();
                }
                (2, wire::BYTES) => {
                    let sample = decode_sample(walker.bytes()?)?;
                    self.check_points()?;
                    self.samples.push(sample);
                }
                (3, wire::BYTES) => {
                    let exemplar = walker.bytes()?;
                    self.check_points()?;
                    self.exemplars.push(exemplar);
                }
                (4, wire::BYTES) => {
                    let histogram = decode_histogram(walker.bytes()?)?;
                    self.check_points()?;
                    self.histograms.push(histogram);
                }
                (1..=4, _) => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        let (labels_start, labels_end) = if contiguous {
            ((base + first_label) as u32, (base + after_label) as u32)
        } else {
            self.copy_labels(message)?
        };
        self.push_entry(Entry {
            labels_start,
            labels_end,
            samples_start,
            samples_end: self.samples.len() as u32,
            histograms_start,
            histograms_end: self.histograms.len() as u32,
            exemplars_start,
            exemplars_end: self.exemplars.len() as u32,
            copied: !contiguous,
        })
    }

    fn check_points(&self) -> Result<(), DecodeError> {
        let count = self.samples.len() + self.histograms.len() + self.exemplars.len();
        self.limits
            .check_room_for_sample(count)
            .map_err(DecodeError::Limit)
    }

    fn push_entry(&mut self, entry: Entry) -> Result<(), DecodeError> {
        self.limits
            .check_room_for_series(self.entries.len())
            .map_err(DecodeError::Limit)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Gathers scattered label fields in the side buffer.
    fn copy_labels(&mut self, message: &[u8]) -> Result<(u32, u32), WireError> {
        let start = self.copied_labels.len();
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let field_start = walker.position();
            let tag = walker.tag()?;
            walker.skip(tag)?;
            if tag.field == 1 {
                self.copied_labels
                    .extend_from_slice(&message[field_start..walker.position()]);
            }
        }
        Ok((start as u32, self.copied_labels.len() as u32))
    }

    /// The encoded label fields of an entry.
    fn label_bytes(&self, entry: usize) -> &[u8] {
        let entry = &self.entries[entry];
        let buffer = if entry.copied {
            &self.copied_labels
        } else {
            self.body
        };
        &buffer[entry.labels_start as usize..entry.labels_end as usize]
    }
}

fn decode_sample(message: &[u8]) -> Result<Sample, WireError> {
    // As every known sender writes it: value, then timestamp.
    if let Some((value, [TIMESTAMP_TAG, timestamp @ ..])) = message.split_first_chunk::<9>()
        && value[0] == VALUE_TAG
        && let Some(timestamp_ms) = whole_varint(timestamp)
    {
        let bits = u64::from_le_bytes(std::array::from_fn(|i| value[1 + i]));
        return Ok(Sample::new(timestamp_ms as i64, f64::from_bits(bits)));
    }
    let mut sample = Sample::new(0, 0.0);
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (1, wire::FIXED64) => sample.value = f64::from_bits(walker.fixed64()?),
            (2, wire::VARINT) => sample.timestamp_ms = walker.varint()? as i64,
            (1 | 2, _) => return Err(walker.wrong_type(tag)),
            _ => walker.skip(tag)?,
        }
    }
    Ok(sample)
}

/// A varint of up to nine bytes that takes all of `bytes`.
#[inline]
fn whole_varint(bytes: &[u8]) -> Option<u64> {
    let (last, first) = bytes.split_last()?;
    if *last >= 0x80 || first.len() > 8 || first.iter().any(|byte| *byte < 0x80) {
        return None;
    }
    let low = |number: u64, byte: &u8| number << 7 | u64::from(byte & 0x7f);
    Some(bytes.iter().rev().fold(0, low))
}

fn decode_label(message: &[u8]) -> Result<(&str, &str), InvalidLabels> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut walker = Walker::new(message);
    let malformed = |_: WireError| InvalidLabels::Malformed;
    while !walker.is_done() {
        let tag = walker.tag().map_err(malformed)?;
        match (tag.field, tag.wire_type) {
            (1, wire::BYTES) => name = walker.bytes().map_err(malformed)?,
            (2, wire::BYTES) => value = walker.bytes().map_err(malformed)?,
            _ => walker.skip(tag).map_err(malformed)?,
        }
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| InvalidLabels::Utf8);
    Ok((text(name)?, text(value)?))
}

/// An exemplar: labels=1, value=2, timestamp=3.
fn decode_exemplar(message: &[u8]) -> Result<Exemplar<'_>, InvalidLabels> {
    let malformed = |_: WireError| InvalidLabels::Malformed;
    let mut exemplar = Exemplar {
        labels: Vec::new(),
        value: 0.0,
        timestamp_ms: 0,
    };
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag().map_err(malformed)?;
        match (tag.field, tag.wire_type) {
            (1, wire::BYTES) => {
                let label = decode_label(walker.bytes().map_err(malformed)?)?;
                exemplar.labels.push(label);
            }
            (2, wire::FIXED64) => {
                exemplar.value = f64::from_bits(walker.fixed64().map_err(malformed)?);
            }
            (3, wire::VARINT) => {
                exemplar.timestamp_ms = walker.varint().map_err(malformed)? as i64;
            }
            _ => walker.skip(tag).map_err(malformed)?,
        }
    }
    canonicalise_any(&mut exemplar.labels)?;
    Ok(exemplar)
}

/// A statement about a metric family: type=1, name=2, help=4, unit=5; none when a text is no UTF-8.
fn decode_metadata(message: &[u8]) -> Result<Option<MetadataEntry<'_>>, WireError> {
    let mut kind = MetricType::Unknown;
    let mut texts: [&[u8]; 3] = [b"", b"", b""];
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (1, wire::VARINT) => kind = MetricType::from_number(walker.varint()?),
            (2, wire::BYTES) => texts[0] = walker.bytes()?,
            (4, wire::BYTES) => texts[1] = walker.bytes()?,
            (5, wire::BYTES) => texts[2] = walker.bytes()?,
            _ => walker.skip(tag)?,
        }
    }
    let [metric, help, unit] = texts.map(std::str::from_utf8);
    let (Ok(metric), Ok(help), Ok(unit)) = (metric, help, unit) else {
        return Ok(None);
    };
    Ok(Some(MetadataEntry {
        metric,
        kind,
        help,
        unit,
    }))
}

impl WriteRequest for RemoteWriteV1<'_> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn identity_hash(&self, entry: usize, seed: u64) -> u64 {
        xxh3_64_with_seed(self.label_bytes(entry), seed)
    }

    fn labels<'r>(
        &'r self,
        entry: usize,
        out: &mut Vec<(&'r str, &'r str)>,
    ) -> Result<(), InvalidLabels> {
        out.clear();
        let mut walker = Walker::new(self.label_bytes(entry));
        while !walker.is_done() {
            let field = walker.tag().and_then(|_| walker.bytes());
            let message = field.map_err(|_| InvalidLabels::Malformed)?;
            out.push(decode_label(message)?);
            self.limits.check_label_count(out.len())?;
        }
        self.limits.check_labels(out)?;
        canonicalise(out)
    }

    #[inline]
    fn samples(&self, entry: usize) -> &[Sample] {
        let entry = &self.entries[entry];
        &self.samples[entry.samples_start as usize..entry.samples_end as usize]
    }

    fn histograms(&self, entry: usize) -> &[HistogramSample] {
        let entry = &self.entries[entry];
        &self.histograms[entry.histograms_start as usize..entry.histograms_end as usize]
    }

    #[inline]
    fn exemplar_count(&self, entry: usize) -> usize {
        let entry = &self.entries[entry];
        (entry.exemplars_end - entry.exemplars_start) as usize
    }

    fn exemplars<'r>(&'r self, entry: usize, out: &mut Vec<Result<Exemplar<'r>, InvalidLabels>>) {
        out.clear();
        let entry = &self.entries[entry];
        let messages =
            &self.exemplars[entry.exemplars_start as usize..entry.exemplars_end as usize];
        out.extend(messages.iter().map(|message| decode_exemplar(message)));
    }

    fn metadata(&self) -> Vec<MetadataEntry<'_>> {
        self.metadata.clone()
    }
}

#[cfg(test)]
mod tests;
