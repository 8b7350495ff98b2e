//! Requests by an independent encoder, every cut of them, and scattered fields.

use super::*;
use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct PbRequest {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<PbSeries>,
}
#[derive(Clone, PartialEq, Message)]
struct PbSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<PbSample>,
}
#[derive(Clone, Copy, PartialEq, Message)]
struct PbSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

fn request(refs: &[&[u32]]) -> Vec<u8> {
    let symbols = ["", "__name__", "up", "job", "x", "down"]
        .map(str::to_owned)
        .to_vec();
    let sample = PbSample {
        value: 1.0,
        timestamp: 5,
        start_timestamp: 2,
    };
    let timeseries = refs.iter().map(|r| PbSeries {
        labels_refs: r.to_vec(),
        samples: vec![sample],
    });
    PbRequest {
        symbols,
        timeseries: timeseries.collect(),
    }
    .encode_to_vec()
}

fn labels_of<'r>(
    request: &'r RemoteWriteV2<'_>,
    entry: usize,
) -> Result<Vec<(&'r str, &'r str)>, InvalidLabels> {
    let mut out = Vec::new();
    request.labels(entry, &mut out).map(|()| out)
}

#[test]
fn series_are_read_through_the_symbol_table() {
    let body = request(&[&[3, 4, 1, 2], &[1, 5], &[1, 2, 3], &[1, 99], &[3, 4]]);
    let limits = WriteLimits::default();
    let decoded = RemoteWriteV2::decode(&body, &limits).unwrap();
    assert_eq!(
        labels_of(&decoded, 0).unwrap(),
        [("__name__", "up"), ("job", "x")]
    );
    assert_eq!(labels_of(&decoded, 1).unwrap(), [("__name__", "down")]);
    assert_eq!(
        labels_of(&decoded, 2).unwrap_err().to_string(),
        "invalid labelRefs length 3"
    );
    assert_eq!(
        labels_of(&decoded, 3).unwrap_err().to_string(),
        "label ref 99 outside of symbols table (size 6)"
    );
    assert_eq!(labels_of(&decoded, 4), Err(InvalidLabels::NoMetricName));
    assert_eq!(decoded.samples(0)[0].start_timestamp_ms, 2);
}

#[test]
fn identities_depend_on_order_and_text_alone() {
    let limits = WriteLimits::default();
    let body = request(&[&[1, 2, 3, 4], &[1, 4, 3, 2], &[3, 4, 1, 2]]);
    let decoded = RemoteWriteV2::decode(&body, &limits).unwrap();
    let hashes: Vec<u64> = (0..3)
        .map(|entry| decoded.identity_hash(entry, 7))
        .collect();
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    assert_eq!(decoded.identity_hash(0, 7), hashes[0]);
    assert_ne!(decoded.identity_hash(0, 8), hashes[0]);
    // Another table, the same text.
    let symbols = ["job", "x", "", "up", "__name__"]
        .map(str::to_owned)
        .to_vec();
    let series = PbSeries {
        labels_refs: vec![4, 3, 0, 1],
        samples: vec![],
    };
    let other = PbRequest {
        symbols,
        timeseries: vec![series],
    }
    .encode_to_vec();
    let other = RemoteWriteV2::decode(&other, &limits).unwrap();
    assert_eq!(other.identity_hash(0, 7), hashes[0]);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let limits = WriteLimits::default();
        if let Ok(decoded) = RemoteWriteV2::decode(&body, &limits) {
            for entry in 0..decoded.len() {
                let _ = labels_of(&decoded, entry);
                let _ = decoded.identity_hash(entry, 0);
            }
        }
    }

    #[test]
    fn agrees_with_prost(
        symbols in prop::collection::vec(".{0,4}", 0..6),
        series in prop::collection::vec(
            (prop::collection::vec(0..8_u32, 0..6), any::<f64>(), any::<i64>(), any::<i64>()),
            0..5,
        ),
    ) {
        let timeseries = series.into_iter().map(|(labels_refs, value, timestamp, start)| {
            let sample = PbSample { value, timestamp, start_timestamp: start };
            PbSeries { labels_refs, samples: vec![sample] }
        });
        let body = PbRequest { symbols, timeseries: timeseries.collect() }.encode_to_vec();
        let pb = PbRequest::decode(&body[..]).unwrap();
        let limits = WriteLimits::default();
        let decoded = RemoteWriteV2::decode(&body, &limits).unwrap();
        prop_assert_eq!(decoded.len(), pb.timeseries.len());
        for (entry, series) in pb.timeseries.iter().enumerate() {
            prop_assert_eq!(decoded.label_refs(entry), &series.labels_refs[..]);
            let (ours, theirs) = (decoded.samples(entry)[0], series.samples[0]);
            prop_assert_eq!(ours.value.to_bits(), theirs.value.to_bits());
            prop_assert_eq!(ours.timestamp_ms, theirs.timestamp);
            prop_assert_eq!(ours.start_timestamp_ms, theirs.start_timestamp);
        }
    }
}
