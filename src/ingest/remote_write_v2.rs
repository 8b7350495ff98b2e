//! Remote write 2.0: `io.prometheus.write.v2.Request`, decoded without copying.
//!
//! All strings of a request stand once in a symbol table; a series names its labels by pairs of
//! references into it. The identity of a series is folded from the hashes of its symbols, each
//! computed once per request, so the steady state touches no string per series.
//!
//! Schema (field numbers): Request{symbols=4, timeseries=5}, TimeSeries{labels_refs=1 packed,
//! samples=2, histograms=3, exemplars=4, metadata=5, 6 reserved (was the created timestamp)},
//! Sample{value=1 double, timestamp=2, start_timestamp=3}, Exemplar{labels_refs=1, value=2,
//! timestamp=3}, Metadata{type=1, help_ref=3, unit_ref=4}. Source: <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.

use std::cell::{OnceCell, RefCell};

use tenbin_model::write::{
    Exemplar, HistogramSample, InvalidLabels, MetadataEntry, MetricType, WriteRequest,
    canonicalise, canonicalise_any,
};
use tenbin_model::{METRIC_NAME, Sample};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::histogram::decode_histogram;
use super::protobuf::{Tag, Walker, WireError, wire};
use super::{DecodeError, recycle};
use crate::limits::WriteLimits;

/// One series of the request: ranges in the flat lists.
#[derive(Debug, Clone, Copy)]
struct Entry {
    refs: (u32, u32),
    samples: (u32, u32),
    histograms: (u32, u32),
    exemplars: (u32, u32),
}

/// What an entry says about its metric, as references; that of the metric's name is found later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct MetadataRefs {
    metric: u32,
    kind: MetricType,
    help: u32,
    unit: u32,
}

thread_local! {
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    static REFS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static SAMPLES: RefCell<Vec<Sample>> = const { RefCell::new(Vec::new()) };
}

/// A decoded request that borrows the body.
#[derive(Debug)]
pub struct RemoteWriteV2<'a> {
    limits: &'a WriteLimits,
    symbols: Vec<&'a [u8]>,
    entries: Vec<Entry>,
    refs: Vec<u32>,
    samples: Vec<Sample>,
    histograms: Vec<HistogramSample>,
    /// Encoded exemplars: read when the store asks for them.
    exemplars: Vec<&'a [u8]>,
    /// Metadata by entry; of entries that have any.
    metadata: Vec<(u32, MetadataRefs)>,
    /// Entries that were emptied since their metadata refers to nothing, with the reason.
    bad_metadata: Vec<(usize, String)>,
    /// Hash per symbol with the seed that it was computed for.
    symbol_hashes: OnceCell<(u64, Vec<u64>)>,
}

/// Mixes one symbol hash into a series identity. Order matters: names and values must not commute.
#[inline]
fn fold(identity: u64, symbol: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(identity.rotate_left(23) ^ symbol) * u128::from(MULTIPLIER);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Drop for RemoteWriteV2<'_> {
    fn drop(&mut self) {
        recycle::keep(&ENTRIES, std::mem::take(&mut self.entries));
        recycle::keep(&REFS, std::mem::take(&mut self.refs));
        recycle::keep(&SAMPLES, std::mem::take(&mut self.samples));
    }
}

impl<'a> RemoteWriteV2<'a> {
    /// Walks the decompressed body.
    ///
    /// # Errors
    /// When it is no `Request` or exceeds a limit. References are checked per series later, since
    /// a bad one spoils only its series.
    pub fn decode(body: &'a [u8], limits: &'a WriteLimits) -> Result<Self, DecodeError> {
        let mut request = Self {
            limits,
            symbols: Vec::new(),
            entries: recycle::take(&ENTRIES),
            refs: recycle::take(&REFS),
            samples: recycle::take(&SAMPLES),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
            bad_metadata: Vec::new(),
            symbol_hashes: OnceCell::new(),
        };
        let mut walker = Walker::new(body);
        while !walker.is_done() {
            let tag = walker.tag()?;
            match (tag.field, tag.wire_type) {
                (4, wire::BYTES) => {
                    let symbol = walker.bytes()?;
                    request.push_symbol(symbol)?;
                }
                (5, wire::BYTES) => {
                    let message = walker.bytes()?;
                    request.series(message)?;
                }
                (4 | 5, _) => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        request.refuse_bad_metadata();
        Ok(request)
    }

    /// Empties the entries whose metadata refers to nothing: as Prometheus, which skips such series.
    fn refuse_bad_metadata(&mut self) {
        let size = self.symbols.len();
        let outside = |reference: u32| reference as usize >= size;
        let bad = |refs: &MetadataRefs| match refs {
            // A table without any symbol is only a problem for what refers to it.
            MetadataRefs {
                unit: 0, help: 0, ..
            } => None,
            refs if outside(refs.unit) => Some(("unit_ref", refs.unit)),
            refs if outside(refs.help) => Some(("help_ref", refs.help)),
            _ => None,
        };
        self.metadata.retain(|(entry, refs)| {
            let Some((field, reference)) = bad(refs) else {
                return true;
            };
            let entry = *entry as usize;
            let text =
                format!("metadata {field} {reference} outside of symbols table (size {size})");
            self.bad_metadata.push((entry, text));
            let emptied = &mut self.entries[entry];
            emptied.samples.1 = emptied.samples.0;
            emptied.histograms.1 = emptied.histograms.0;
            emptied.exemplars.1 = emptied.exemplars.0;
            false
        });
    }

    /// Entries without effect since their metadata refers to nothing, with the reason.
    #[must_use]
    pub fn bad_metadata(&self) -> &[(usize, String)] {
        &self.bad_metadata
    }

    /// Whether an entry carries neither samples nor histograms.
    #[must_use]
    pub fn has_no_points(&self, entry: usize) -> bool {
        let entry = &self.entries[entry];
        entry.samples.0 == entry.samples.1 && entry.histograms.0 == entry.histograms.1
    }

    /// The label references of an entry, for error texts.
    #[must_use]
    pub fn label_refs(&self, entry: usize) -> &[u32] {
        let (start, end) = self.entries[entry].refs;
        &self.refs[start as usize..end as usize]
    }

    fn push_symbol(&mut self, symbol: &'a [u8]) -> Result<(), DecodeError> {
        let limit = self.limits.max_samples_per_request;
        if self.symbols.len() >= limit {
            return Err(DecodeError::Limit(format!(
                "request holds more than {limit} symbols (flag --web.max-samples-per-request)"
            )));
        }
        self.symbols.push(symbol);
        Ok(())
    }

    fn series(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        self.limits
            .check_room_for_series(self.entries.len())
            .map_err(DecodeError::Limit)?;
        let starts = (self.refs.len(), self.samples.len(), self.histograms.len());
        let exemplars = self.exemplars.len() as u32;
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            match (tag.field, tag.wire_type) {
                (1, _) => take_refs(&mut walker, tag, &mut self.refs)?,
                (2, wire::BYTES) => {
                    let sample = decode_sample(walker.bytes()?)?;
                    self.check_points()?;
                    self.samples.push(sample);
                }
                (3, wire::BYTES) => {
                    let histogram = decode_histogram(walker.bytes()?)?;
                    self.check_points()?;
                    self.histograms.push(histogram);
                }
                (4, wire::BYTES) => {
                    let exemplar = walker.bytes()?;
                    self.check_points()?;
                    self.exemplars.push(exemplar);
                }
                (5, wire::BYTES) => {
                    let entry = self.entries.len() as u32;
                    self.metadata.push((entry, metadata_refs(walker.bytes()?)?));
                }
                (2..=5, found) if found != wire::BYTES => {
                    return Err(walker.wrong_type(tag).into());
                }
                _ => walker.skip(tag)?,
            }
        }
        self.entries.push(Entry {
            refs: (starts.0 as u32, self.refs.len() as u32),
            samples: (starts.1 as u32, self.samples.len() as u32),
            histograms: (starts.2 as u32, self.histograms.len() as u32),
            exemplars: (exemplars, self.exemplars.len() as u32),
        });
        Ok(())
    }

    fn check_points(&self) -> Result<(), DecodeError> {
        let count = self.samples.len() + self.histograms.len() + self.exemplars.len();
        self.limits
            .check_room_for_sample(count)
            .map_err(DecodeError::Limit)
    }

    /// An exemplar: labels_refs=1, value=2, timestamp=3.
    fn exemplar(&self, message: &[u8]) -> Result<Exemplar<'_>, InvalidLabels> {
        let malformed = |_: WireError| InvalidLabels::Malformed;
        let mut refs = Vec::new();
        let (mut value, mut timestamp_ms) = (0.0, 0);
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag().map_err(malformed)?;
            match (tag.field, tag.wire_type) {
                (1, _) => take_refs(&mut walker, tag, &mut refs).map_err(malformed)?,
                (2, wire::FIXED64) => value = f64::from_bits(walker.fixed64().map_err(malformed)?),
                (3, wire::VARINT) => timestamp_ms = walker.varint().map_err(malformed)? as i64,
                _ => walker.skip(tag).map_err(malformed)?,
            }
        }
        if !refs.len().is_multiple_of(2) {
            let len = refs.len();
            let text = format!("invalid labelRefs length {len}");
            return Err(InvalidLabels::Reference(text));
        }
        let mut labels = Vec::with_capacity(refs.len() / 2);
        for pair in refs.chunks_exact(2) {
            labels.push((self.symbol(pair[0])?, self.symbol(pair[1])?));
        }
        canonicalise_any(&mut labels)?;
        Ok(Exemplar {
            labels,
            value,
            timestamp_ms,
        })
    }

    /// The reference to the metric's name of an entry; 0 where it has none.
    fn metric_ref(&self, entry: usize) -> u32 {
        let name = |pair: &&[u32]| {
            let symbol = self.symbols.get(pair[0] as usize);
            symbol.is_some_and(|symbol| *symbol == METRIC_NAME.as_bytes())
        };
        let named = self.label_refs(entry).chunks_exact(2).find(name);
        named.map_or(0, |pair| pair[1])
    }

    fn symbol(&self, reference: u32) -> Result<&'a str, InvalidLabels> {
        let bytes = self.symbols.get(reference as usize).ok_or_else(|| {
            InvalidLabels::Reference(format!(
                "label ref {reference} outside of symbols table (size {})",
                self.symbols.len()
            ))
        })?;
        std::str::from_utf8(bytes).map_err(|_| InvalidLabels::Utf8)
    }
}

/// What an entry says about its metric: type=1, help_ref=3, unit_ref=4.
fn metadata_refs(message: &[u8]) -> Result<MetadataRefs, WireError> {
    let mut found = MetadataRefs {
        metric: 0,
        kind: MetricType::Unknown,
        help: 0,
        unit: 0,
    };
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (1, wire::VARINT) => found.kind = MetricType::from_number(walker.varint()?),
            (3, wire::VARINT) => found.help = walker.varint()? as u32,
            (4, wire::VARINT) => found.unit = walker.varint()? as u32,
            _ => walker.skip(tag)?,
        }
    }
    Ok(found)
}

/// References, packed or single.
fn take_refs(walker: &mut Walker<'_>, tag: Tag, refs: &mut Vec<u32>) -> Result<(), WireError> {
    match tag.wire_type {
        wire::VARINT => refs.push(walker.varint()? as u32),
        wire::BYTES => {
            let mut packed = Walker::new(walker.bytes()?);
            while !packed.is_done() {
                refs.push(packed.varint()? as u32);
            }
        }
        _ => return Err(walker.wrong_type(tag)),
    }
    Ok(())
}

/// The family of a series: of a histogram or summary without the suffix of its part.
fn family(metric: &str, kind: MetricType) -> &str {
    let suffixes: &[&str] = match kind {
        MetricType::Histogram => &["_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum", "_count", "_sum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    let stripped = suffixes.iter().find_map(|s| metric.strip_suffix(s));
    stripped.filter(|name| !name.is_empty()).unwrap_or(metric)
}

fn decode_sample(message: &[u8]) -> Result<Sample, WireError> {
    let mut sample = Sample::new(0, 0.0);
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (1, wire::FIXED64) => sample.value = f64::from_bits(walker.fixed64()?),
            (2, wire::VARINT) => sample.timestamp_ms = walker.varint()? as i64,
            (3, wire::VARINT) => sample.start_timestamp_ms = walker.varint()? as i64,
            (1..=3, _) => return Err(walker.wrong_type(tag)),
            _ => walker.skip(tag)?,
        }
    }
    Ok(sample)
}

impl WriteRequest for RemoteWriteV2<'_> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn identity_hash(&self, entry: usize, seed: u64) -> u64 {
        let (known_seed, hashes) = self.symbol_hashes.get_or_init(|| {
            (
                seed,
                self.symbols
                    .iter()
                    .map(|s| xxh3_64_with_seed(s, seed))
                    .collect(),
            )
        });
        let hash = |reference: u32| match hashes.get(reference as usize) {
            Some(hash) if *known_seed == seed => *hash,
            // Another seed than the table's, or a bad reference that `labels` will refuse.
            _ => {
                let symbol = self.symbols.get(reference as usize).copied();
                xxh3_64_with_seed(symbol.unwrap_or(b"\xff"), seed)
            }
        };
        self.label_refs(entry)
            .iter()
            .fold(seed, |identity, r| fold(identity, hash(*r)))
    }

    fn labels<'r>(
        &'r self,
        entry: usize,
        out: &mut Vec<(&'r str, &'r str)>,
    ) -> Result<(), InvalidLabels> {
        out.clear();
        let refs = self.label_refs(entry);
        if !refs.len().is_multiple_of(2) {
            return Err(InvalidLabels::Reference(format!(
                "invalid labelRefs length {}",
                refs.len()
            )));
        }
        self.limits.check_label_count(refs.len() / 2)?;
        for pair in refs.chunks_exact(2) {
            out.push((self.symbol(pair[0])?, self.symbol(pair[1])?));
        }
        self.limits.check_labels(out)?;
        canonicalise(out)
    }

    #[inline]
    fn samples(&self, entry: usize) -> &[Sample] {
        let (start, end) = self.entries[entry].samples;
        &self.samples[start as usize..end as usize]
    }

    fn histograms(&self, entry: usize) -> &[HistogramSample] {
        let (start, end) = self.entries[entry].histograms;
        &self.histograms[start as usize..end as usize]
    }

    #[inline]
    fn exemplar_count(&self, entry: usize) -> usize {
        let (start, end) = self.entries[entry].exemplars;
        (end - start) as usize
    }

    fn exemplars<'r>(&'r self, entry: usize, out: &mut Vec<Result<Exemplar<'r>, InvalidLabels>>) {
        out.clear();
        let (start, end) = self.entries[entry].exemplars;
        let messages = &self.exemplars[start as usize..end as usize];
        out.extend(messages.iter().map(|message| self.exemplar(message)));
    }

    /// Statements without a metric's name, or that say nothing at all, are left out.
    fn metadata(&self) -> Vec<MetadataEntry<'_>> {
        let mut seen = std::collections::HashSet::new();
        let mut statements = Vec::new();
        for (entry, refs) in &self.metadata {
            if (refs.kind, refs.help, refs.unit) == (MetricType::Unknown, 0, 0) {
                continue;
            }
            let refs = MetadataRefs {
                metric: self.metric_ref(*entry as usize),
                ..*refs
            };
            if !seen.insert(refs) {
                continue;
            }
            let texts = [refs.metric, refs.help, refs.unit].map(|r| self.symbol(r));
            if let [Ok(metric), Ok(help), Ok(unit)] = texts {
                statements.push(MetadataEntry {
                    metric: family(metric, refs.kind),
                    kind: refs.kind,
                    help,
                    unit,
                });
            }
        }
        statements
    }
}

#[cfg(test)]
mod tests;
