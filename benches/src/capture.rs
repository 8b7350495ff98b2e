//! A recorded remote-write stream, replicated.
//!
//! Copy `r` carries the label `cluster="live-r"` and runs `r * 7,617` ms behind the first, so that at
//! any time each copy is at another place of the recording: no two copies share timestamps, or
//! values of one time. On top, 9 % of a copy's scrapes are off by up to 5 ms, each copy in its own
//! way. All times are moved so that the recording ends now: the peers drop what is older than their
//! retention. Requests of all copies are sent in the order of their times.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use prost::Message as _;
use tenbin_compat_tests::sender::{TimeSeries, WriteRequest};

use crate::bodies::BodyWriter;
use crate::generate::{Random, Totals};
use crate::workload::{Plan, Sizes, is_stale};

/// Milliseconds between the clocks of two copies.
const REPLICA_OFFSET_MS: i64 = 7_617;
/// Share of a copy's scrapes, in percent, whose time is moved, and by how much at most.
const JITTER_PERCENT: u64 = 9;
const JITTER_MS: u64 = 5;
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

    /// Requests of these copies in the order of their times: first time, request, copy.
    fn order(&self, replicas: &[usize]) -> Vec<(i64, usize, usize)> {
        let mut order = Vec::new();
        for (number, request) in self.requests.iter().enumerate() {
            let times = request.timeseries.iter().flat_map(|s| &s.samples);
            let first_ms = times.map(|s| s.timestamp).min().unwrap_or(self.span_ms.0);
            order.extend(replicas.iter().map(|replica| {
                let offset_ms = REPLICA_OFFSET_MS * *replica as i64;
                (first_ms + offset_ms, number, *replica)
            }));
        }
        // requests of a copy stay in the order they were recorded in
        order.sort_by_key(|(first_ms, number, replica)| {
            (*first_ms - first_ms.rem_euclid(1000), *number, *replica)
        });
        order
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
        let latest_offset = REPLICA_OFFSET_MS * plan.replicas as i64 + JITTER_MS as i64;
        let shift_ms = now_ms - self.span_ms.1 - latest_offset;
        let replicas: Vec<usize> = (stream..plan.replicas)
            .step_by(plan.connections.max(1))
            .collect();
        let mut writer = BodyWriter::create(path)?;
        let mut snappy = snap::raw::Encoder::new();
        let mut copies = self.requests.clone();
        for (first_ms, number, replica) in self.order(&replicas) {
            let (original, copy) = (&self.requests[number], &mut copies[number]);
            become_copy(original, copy, replica, shift_ms);
            let samples = original.timeseries.iter().flat_map(|s| &s.samples);
            let countable = samples.filter(|s| !is_stale(s.value)).count() as u32;
            let message = copy.encode_to_vec();
            let body = snappy.compress_vec(&message).map_err(|e| e.to_string())?;
            let round = ((first_ms - self.span_ms.0) / ROUND_MS) as u32;
            writer.push(round, countable, &body, message.len())?;
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

/// Makes `copy`, which is `original` but for cluster and times, the copy with this number.
fn become_copy(original: &WriteRequest, copy: &mut WriteRequest, replica: usize, shift_ms: i64) {
    let move_ms = shift_ms + REPLICA_OFFSET_MS * replica as i64;
    for (series, from) in copy.timeseries.iter_mut().zip(&original.timeseries) {
        for label in &mut series.labels {
            if label.name == "cluster" {
                label.value = format!("live-{replica}");
            }
        }
        for (sample, from) in series.samples.iter_mut().zip(&from.samples) {
            sample.timestamp = from.timestamp + move_ms + jitter_ms(replica, from.timestamp);
        }
    }
}

/// The samples of a scrape share their time, so they share this.
fn jitter_ms(replica: usize, timestamp_ms: i64) -> i64 {
    let seed = (replica as u64) << 48 ^ timestamp_ms.cast_unsigned();
    let mut random = Random::new(seed);
    if random.below(100) >= JITTER_PERCENT {
        return 0;
    }
    random.below(2 * JITTER_MS + 1) as i64 - JITTER_MS as i64
}

#[cfg(test)]
mod tests {
    use tenbin_compat_tests::sender::series;

    use super::*;

    #[test]
    fn copies_are_apart_and_jitter_is_rare_and_small() {
        let off = |replica| (0..10_000).map(move |t| jitter_ms(replica, t * 5_000));
        let moved = off(3).filter(|ms| *ms != 0).count();
        assert!((600..1_000).contains(&moved), "{moved}");
        assert!(off(3).all(|ms| ms.abs() <= 5) && off(3).ne(off(4)));

        let original = WriteRequest {
            timeseries: vec![series(&[("cluster", "live")], &[(1_000, 1.0)])],
        };
        let mut copy = original.clone();
        for replica in [2, 1] {
            become_copy(&original, &mut copy, replica, 500);
            let at = copy.timeseries[0].samples[0].timestamp;
            assert!((at - 1_500 - REPLICA_OFFSET_MS * replica as i64).abs() <= 5);
            assert_eq!(
                copy.timeseries[0].labels[0].value,
                format!("live-{replica}")
            );
        }
    }
}
