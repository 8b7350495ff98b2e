//! A recorded remote-write stream, replicated.
//!
//! Copy `r` carries the label `cluster="live-r"` and its times are moved by `r * 617` ms, so that
//! copies share no timestamps. All times are moved so that the recording ends now: the peers drop
//! what is older than their retention.

use std::io::Read as _;
use std::path::Path;

use prost::Message as _;
use tenbin_compat_tests::sender::{TimeSeries, WriteRequest};

/// Milliseconds between the clocks of two copies.
const REPLICA_OFFSET_MS: i64 = 617;

/// The bodies of one copy in order.
pub(crate) struct Replica {
    pub(crate) bodies: Vec<Vec<u8>>,
}

/// All that is sent.
pub(crate) struct Workload {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) samples: u64,
    pub(crate) series: usize,
    pub(crate) body_bytes: u64,
    /// First and last sample time.
    pub(crate) span_ms: (i64, i64),
}

/// Reads the recording and makes the copies.
pub(crate) fn load(path: &Path, replicas: usize, now_ms: i64) -> Result<Workload, String> {
    let requests = read(path)?;
    let times = || {
        requests
            .iter()
            .flat_map(|r| &r.timeseries)
            .flat_map(|s| &s.samples)
            .map(|s| s.timestamp)
    };
    let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let latest_offset = REPLICA_OFFSET_MS * replicas as i64;
    let shift = now_ms - last - latest_offset;
    let mut series = std::collections::BTreeSet::new();
    for request in &requests {
        series.extend(request.timeseries.iter().map(encoded_labels));
    }
    let mut workload = Workload {
        replicas: Vec::new(),
        samples: times().count() as u64 * replicas as u64,
        series: series.len() * replicas,
        body_bytes: 0,
        span_ms: (first + shift, last + shift + latest_offset),
    };
    for replica in 0..replicas {
        let bodies: Vec<Vec<u8>> = requests
            .iter()
            .map(|request| rewrite(request, replica, shift + REPLICA_OFFSET_MS * replica as i64))
            .collect();
        workload.body_bytes += bodies.iter().map(|b| b.len() as u64).sum::<u64>();
        workload.replicas.push(Replica { bodies });
    }
    Ok(workload)
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

fn rewrite(request: &WriteRequest, replica: usize, shift_ms: i64) -> Vec<u8> {
    let mut request = request.clone();
    for series in &mut request.timeseries {
        for label in &mut series.labels {
            if label.name == "cluster" {
                label.value = format!("live-{replica}");
            }
        }
        for sample in &mut series.samples {
            sample.timestamp += shift_ms;
        }
    }
    tenbin_compat_tests::sender::body(request.timeseries)
}
