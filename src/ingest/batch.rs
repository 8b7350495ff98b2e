//! A write request that owns its series: what OTLP, text and Influx lines are translated into.
//!
//! Labels of all series stand encoded in one buffer (`varint length, name, varint length, value`),
//! so that the store can hash a series' bytes as it does with remote write. Translations repeat
//! labels, so the buffer has a limit of its own.

use tenbin_model::Sample;
use tenbin_model::write::{
    Exemplar, HistogramSample, InvalidLabels, MetadataEntry, MetricType, WriteRequest,
    canonicalise, canonicalise_any,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::DecodeError;
use super::protobuf::Walker;
use super::protobuf_writer::put_varint;
use crate::limits::WriteLimits;

/// Most bytes that the labels of one request may take after translation.
const MAX_LABEL_BYTES: usize = 256 << 20;

/// One series of the request: ends of its parts; they begin where those of the one before end.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    labels: u32,
    samples: u32,
    histograms: u32,
    exemplars: u32,
    /// Where it came from, for error texts.
    origin: u32,
}

#[derive(Debug)]
struct OwnedExemplar {
    labels: Vec<(String, String)>,
    value: f64,
    timestamp_ms: i64,
}

#[derive(Debug)]
struct OwnedMetadata {
    metric: String,
    kind: MetricType,
    help: String,
    unit: String,
}

/// A request in the making, and made.
#[derive(Debug)]
pub struct Batch<'a> {
    limits: &'a WriteLimits,
    labels: Vec<u8>,
    entries: Vec<Entry>,
    samples: Vec<Sample>,
    histograms: Vec<HistogramSample>,
    exemplars: Vec<OwnedExemplar>,
    metadata: Vec<OwnedMetadata>,
}

impl<'a> Batch<'a> {
    /// An empty request.
    #[must_use]
    pub fn new(limits: &'a WriteLimits) -> Self {
        Self {
            limits,
            labels: Vec::new(),
            entries: Vec::new(),
            samples: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// Begins a series; what is added afterwards is its own. `origin` is kept for error texts.
    ///
    /// # Errors
    /// When the request is full.
    pub fn series<'l>(
        &mut self,
        origin: u32,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> Result<(), DecodeError> {
        let count = self.entries.len();
        let room = self.limits.check_room_for_series(count);
        room.map_err(DecodeError::Limit)?;
        for (name, value) in labels {
            for text in [name, value] {
                put_varint(&mut self.labels, text.len() as u64);
                self.labels.extend_from_slice(text.as_bytes());
            }
            if self.labels.len() > MAX_LABEL_BYTES {
                return Err(DecodeError::Limit(format!(
                    "labels of the translated series take more than {MAX_LABEL_BYTES} bytes; \
                     send smaller requests"
                )));
            }
        }
        self.entries.push(Entry {
            labels: self.labels.len() as u32,
            samples: self.samples.len() as u32,
            histograms: self.histograms.len() as u32,
            exemplars: self.exemplars.len() as u32,
            origin,
        });
        Ok(())
    }

    fn check_points(&self) -> Result<(), DecodeError> {
        let count = self.samples.len() + self.histograms.len() + self.exemplars.len();
        let room = self.limits.check_room_for_sample(count);
        room.map_err(DecodeError::Limit)
    }

    fn last(&mut self) -> Option<&mut Entry> {
        self.entries.last_mut()
    }

    /// Adds a sample to the newest series.
    ///
    /// # Errors
    /// When the request is full.
    pub fn sample(&mut self, sample: Sample) -> Result<(), DecodeError> {
        self.check_points()?;
        self.samples.push(sample);
        let end = self.samples.len() as u32;
        self.last()
            .into_iter()
            .for_each(|entry| entry.samples = end);
        Ok(())
    }

    /// Adds a histogram to the newest series.
    ///
    /// # Errors
    /// When the request is full.
    pub fn histogram(&mut self, histogram: HistogramSample) -> Result<(), DecodeError> {
        self.check_points()?;
        self.histograms.push(histogram);
        let end = self.histograms.len() as u32;
        self.last()
            .into_iter()
            .for_each(|entry| entry.histograms = end);
        Ok(())
    }

    /// Adds an exemplar to the newest series.
    ///
    /// # Errors
    /// When the request is full.
    pub fn exemplar(
        &mut self,
        labels: Vec<(String, String)>,
        value: f64,
        timestamp_ms: i64,
    ) -> Result<(), DecodeError> {
        self.check_points()?;
        self.exemplars.push(OwnedExemplar {
            labels,
            value,
            timestamp_ms,
        });
        let end = self.exemplars.len() as u32;
        self.last()
            .into_iter()
            .for_each(|entry| entry.exemplars = end);
        Ok(())
    }

    /// Says something about a metric family.
    pub fn describe(&mut self, metric: &str, kind: MetricType, help: &str, unit: &str) {
        // As many as there may be series.
        if self
            .limits
            .check_room_for_series(self.metadata.len())
            .is_ok()
        {
            self.metadata.push(OwnedMetadata {
                metric: metric.to_owned(),
                kind,
                help: help.to_owned(),
                unit: unit.to_owned(),
            });
        }
    }

    /// Where a series came from.
    #[must_use]
    pub fn origin(&self, entry: usize) -> u32 {
        self.entries[entry].origin
    }

    /// How many samples and histograms there are.
    #[must_use]
    pub fn points(&self) -> usize {
        self.samples.len() + self.histograms.len()
    }

    /// The parts of an entry by what an entry's end is.
    fn range(&self, entry: usize, end: impl Fn(&Entry) -> u32) -> std::ops::Range<usize> {
        let start = match entry {
            0 => 0,
            _ => end(&self.entries[entry - 1]),
        };
        start as usize..end(&self.entries[entry]) as usize
    }

    fn label_bytes(&self, entry: usize) -> &[u8] {
        &self.labels[self.range(entry, |e| e.labels)]
    }
}

impl WriteRequest for Batch<'_> {
    fn len(&self) -> usize {
        self.entries.len()
    }

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
        let mut text = || {
            let bytes = walker.bytes().map_err(|_| InvalidLabels::Malformed)?;
            let text = std::str::from_utf8(bytes).map_err(|_| InvalidLabels::Utf8)?;
            Ok::<_, InvalidLabels>((text, walker.is_done()))
        };
        let mut done = self.label_bytes(entry).is_empty();
        while !done {
            let (name, _) = text()?;
            let (value, end) = text()?;
            out.push((name, value));
            done = end;
        }
        self.limits.check_label_count(out.len())?;
        self.limits.check_labels(out)?;
        canonicalise(out)
    }

    fn samples(&self, entry: usize) -> &[Sample] {
        &self.samples[self.range(entry, |e| e.samples)]
    }

    fn histograms(&self, entry: usize) -> &[HistogramSample] {
        &self.histograms[self.range(entry, |e| e.histograms)]
    }

    fn exemplar_count(&self, entry: usize) -> usize {
        self.range(entry, |e| e.exemplars).len()
    }

    fn exemplars<'r>(&'r self, entry: usize, out: &mut Vec<Result<Exemplar<'r>, InvalidLabels>>) {
        out.clear();
        let exemplars = &self.exemplars[self.range(entry, |e| e.exemplars)];
        out.extend(exemplars.iter().map(|exemplar| {
            let labels = exemplar.labels.iter();
            let mut labels = labels.map(|(n, v)| (n.as_str(), v.as_str())).collect();
            canonicalise_any(&mut labels)?;
            Ok(Exemplar {
                labels,
                value: exemplar.value,
                timestamp_ms: exemplar.timestamp_ms,
            })
        }));
    }

    fn metadata(&self) -> Vec<MetadataEntry<'_>> {
        let entries = self.metadata.iter().map(|entry| MetadataEntry {
            metric: &entry.metric,
            kind: entry.kind,
            help: &entry.help,
            unit: &entry.unit,
        });
        entries.collect()
    }
}

#[cfg(test)]
impl Batch<'_> {
    /// Every series with its first sample, for the tests of the readers: `name=value,... value time`.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut labels = Vec::new();
        let text = |entry| {
            self.labels(entry, &mut labels).unwrap();
            let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let sample = self.samples(entry)[0];
            format!(
                "{} {} {}",
                labels.join(","),
                sample.value,
                sample.timestamp_ms
            )
        };
        (0..self.len()).map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels_of<'r>(
        batch: &'r Batch<'_>,
        entry: usize,
    ) -> Result<Vec<(&'r str, &'r str)>, InvalidLabels> {
        let mut out = Vec::new();
        batch.labels(entry, &mut out).map(|()| out)
    }

    #[test]
    fn parts_belong_to_the_series_before_them() {
        let limits = WriteLimits::default();
        let mut batch = Batch::new(&limits);
        batch
            .series(7, [("b", "2"), ("__name__", "x"), ("c", "")].into_iter())
            .unwrap();
        batch.sample(Sample::new(1, 1.0)).unwrap();
        batch.sample(Sample::new(2, 2.0)).unwrap();
        batch.series(8, std::iter::empty()).unwrap();
        batch.series(9, [("__name__", "y")].into_iter()).unwrap();
        batch.sample(Sample::new(3, 3.0)).unwrap();
        batch
            .exemplar(vec![("t".into(), "1".into())], 1.0, 3)
            .unwrap();
        assert_eq!(
            labels_of(&batch, 0).unwrap(),
            [("__name__", "x"), ("b", "2")]
        );
        assert_eq!(labels_of(&batch, 1), Err(InvalidLabels::NoMetricName));
        assert_eq!(labels_of(&batch, 2).unwrap(), [("__name__", "y")]);
        let counts: Vec<usize> = (0..3).map(|e| batch.samples(e).len()).collect();
        assert_eq!(counts, [2, 0, 1]);
        assert_eq!((batch.exemplar_count(0), batch.exemplar_count(2)), (0, 1));
        assert_eq!((batch.origin(1), batch.points()), (8, 3));
        assert_ne!(batch.identity_hash(0, 1), batch.identity_hash(2, 1));
    }

    #[test]
    fn limits_hold() {
        let limits = WriteLimits {
            max_series_per_request: 1,
            max_samples_per_request: 1,
            ..WriteLimits::default()
        };
        let mut batch = Batch::new(&limits);
        batch.series(0, std::iter::empty()).unwrap();
        assert!(batch.series(0, std::iter::empty()).is_err());
        batch.sample(Sample::new(1, 1.0)).unwrap();
        assert!(batch.sample(Sample::new(1, 1.0)).is_err());
    }
}
