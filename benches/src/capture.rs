//! A recorded remote-write stream, replicated.
//!
//! Copy `r` carries the label `cluster="live-r"` and its times are moved by `r * 617` ms, so that
//! copies share no timestamps. All times are moved so that the recording ends now: the peers drop
//! what is older than their retention.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use prost::Message as _;
use tenbin_compat_tests::sender::{TimeSeries, WriteRequest};

use crate::bodies::BodyWriter;
use crate::generate::Totals;
use crate::workload::{Plan, Sizes, is_stale};

/// Milliseconds between the clocks of two copies.
const REPLICA_OFFSET_MS: i64 = 617;
/// Length of what counts as one round, milliseconds.
const ROUND_MS: i64 = 15_000;

/// The recording in memory.
pub(crate) struct Recording {
    requests: Vec<WriteRequest>,
    /// Of one copy.
    totals: Totals,
    span_ms: (i64, i64),
}

impl Recording {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let requests = read(path)?;
        let mut totals = Totals::default();
        let mut series = BTreeSet::new();
        let mut span_ms = (i64::MAX, i64::MIN);
        for entry in requests.iter().flat_map(|r| &r.timeseries) {
            series.insert(encoded_labels(entry));
            let is_up = entry
                .labels
                .iter()
                .any(|l| l.name == "__name__" && l.value == "up");
            for sample in &entry.samples {
                let stale = is_stale(sample.value);
                totals.samples += 1;
                totals.stale_markers += u64::from(stale);
                totals.up_samples += u64::from(is_up && !stale);
                span_ms.0 = span_ms.0.min(sample.timestamp);
                span_ms.1 = span_ms.1.max(sample.timestamp);
            }
        }
        totals.series = series.len() as u64;
        totals.active = totals.series;
        Ok(Self {
            requests,
            totals,
            span_ms,
        })
    }

    /// Writes the bodies of the copies that stream `stream` sends, copies interleaved. A plan's
    /// protocol and sizes other than the number of copies and streams do not apply: bodies stay as
    /// they were recorded.
    pub(crate) fn write(
        &self,
        plan: &Plan,
        stream: usize,
        path: &Path,
        now_ms: i64,
    ) -> Result<Sizes, String> {
        let latest_offset = REPLICA_OFFSET_MS * plan.replicas as i64;
        let shift_ms = now_ms - self.span_ms.1 - latest_offset;
        let replicas: Vec<usize> = (stream..plan.replicas)
            .step_by(plan.connections.max(1))
            .collect();
        let mut writer = BodyWriter::create(path)?;
        let mut snappy = snap::raw::Encoder::new();
        for request in &self.requests {
            let mut copy = request.clone();
            let samples = || request.timeseries.iter().flat_map(|s| &s.samples);
            let countable = samples().filter(|s| !is_stale(s.value)).count() as u32;
            let first_ms = samples()
                .map(|s| s.timestamp)
                .min()
                .unwrap_or(self.span_ms.0);
            let round = ((first_ms - self.span_ms.0) / ROUND_MS) as u32;
            let mut moved_ms = 0;
            for replica in &replicas {
                let target_ms = shift_ms + REPLICA_OFFSET_MS * *replica as i64;
                become_copy(&mut copy, *replica, target_ms - moved_ms);
                moved_ms = target_ms;
                let message = copy.encode_to_vec();
                let body = snappy.compress_vec(&message).map_err(|e| e.to_string())?;
                writer.push(round, countable, &body, message.len())?;
            }
        }
        let copies = replicas.len() as u64;
        Ok(Sizes {
            totals: Totals {
                samples: self.totals.samples * copies,
                stale_markers: self.totals.stale_markers * copies,
                series: self.totals.series * copies,
                active: self.totals.active * copies,
                up_samples: self.totals.up_samples * copies,
            },
            bodies: writer.finish()?,
            span_ms: (
                self.span_ms.0 + shift_ms,
                self.span_ms.1 + shift_ms + latest_offset,
            ),
        })
    }
}

/// The labels of a series as bytes, to count series by.
fn encoded_labels(series: &TimeSeries) -> Vec<u8> {
    series
        .labels
        .iter()
        .flat_map(prost::Message::encode_length_delimited_to_vec)
        .collect()
}

fn read(path: &Path) -> Result<Vec<WriteRequest>, String> {
    let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut bytes = Vec::new();
    zstd::Decoder::new(file)
        .and_then(|mut decoder| decoder.read_to_end(&mut bytes))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let mut rest = &bytes[..];
    let mut requests = Vec::new();
    while let Some((header, after)) = rest.split_at_checked(12) {
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let (body, after) = after
            .split_at_checked(length)
            .ok_or("the recording is cut off")?;
        let message = snap::raw::Decoder::new()
            .decompress_vec(body)
            .map_err(|e| e.to_string())?;
        let request = WriteRequest::decode(&message[..]).map_err(|e| e.to_string())?;
        if !request.timeseries.is_empty() {
            requests.push(request);
        }
        rest = after;
    }
    Ok(requests)
}

/// Turns one copy into another: its `cluster` and its times.
fn become_copy(request: &mut WriteRequest, replica: usize, move_ms: i64) {
    for series in &mut request.timeseries {
        for label in &mut series.labels {
            if label.name == "cluster" {
                label.value = format!("live-{replica}");
            }
        }
        for sample in &mut series.samples {
            sample.timestamp += move_ms;
        }
    }
}
