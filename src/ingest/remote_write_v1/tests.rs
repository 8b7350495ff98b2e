//! Requests by an independent encoder, every cut of them, and scattered fields.

use super::*;
use proptest::prelude::*;
use prost::Message;

/// The same messages by prost: the oracle.
#[derive(Clone, PartialEq, Message)]
struct PbRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<PbSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<PbMetadata>,
}
#[derive(Clone, PartialEq, Message)]
struct PbMetadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
}
#[derive(Clone, PartialEq, Message)]
struct PbSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<PbLabel>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<PbSample>,
}
#[derive(Clone, PartialEq, Message)]
struct PbLabel {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}
#[derive(Clone, PartialEq, Message)]
struct PbSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

type SeriesText<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

fn request(series: &[SeriesText<'_>]) -> PbRequest {
    PbRequest {
        timeseries: series
            .iter()
            .map(|(labels, samples)| PbSeries {
                labels: labels
                    .iter()
                    .map(|(n, v)| PbLabel {
                        name: (*n).into(),
                        value: (*v).into(),
                    })
                    .collect(),
                samples: samples
                    .iter()
                    .map(|(t, v)| PbSample {
                        value: *v,
                        timestamp: *t,
                    })
                    .collect(),
            })
            .collect(),
        metadata: vec![PbMetadata {
            kind: 1,
            name: "m".into(),
        }],
    }
}

fn labels_of<'r>(
    request: &'r RemoteWriteV1<'_>,
    entry: usize,
) -> Result<Vec<(&'r str, &'r str)>, InvalidLabels> {
    let mut out = Vec::new();
    request.labels(entry, &mut out).map(|()| out)
}

#[test]
fn decodes_series_and_samples() {
    let body = request(&[
        (
            &[("b", ""), ("__name__", "up"), ("a", "é")],
            &[(1, 1.5), (-2, f64::NAN)],
        ),
        (&[("__name__", "x")], &[]),
        (&[("a", "no name")], &[(3, 0.0)]),
    ])
    .encode_to_vec();
    let limits = WriteLimits::default();
    let decoded = RemoteWriteV1::decode(&body, &limits).unwrap();
    assert_eq!(decoded.len(), 3);
    assert_eq!(
        labels_of(&decoded, 0).unwrap(),
        [("__name__", "up"), ("a", "é")]
    );
    assert_eq!(decoded.samples(0)[0], Sample::new(1, 1.5));
    assert_eq!(decoded.samples(0)[1].timestamp_ms, -2);
    assert!(decoded.samples(1).is_empty());
    assert_eq!(labels_of(&decoded, 2), Err(InvalidLabels::NoMetricName));
    assert_ne!(decoded.identity_hash(0, 1), decoded.identity_hash(1, 1));
}

#[test]
fn scattered_labels_have_the_same_identity() {
    let limits = WriteLimits::default();
    let label = |name: &str, value: &str| {
        let message = PbLabel {
            name: name.into(),
            value: value.into(),
        }
        .encode_to_vec();
        [&[0x0a, message.len() as u8][..], &message].concat()
    };
    let sample = {
        let message = PbSample {
            value: 1.0,
            timestamp: 5,
        }
        .encode_to_vec();
        [&[0x12, message.len() as u8][..], &message].concat()
    };
    let wrap = |series: Vec<u8>| [&[0x0a, series.len() as u8][..], &series].concat();
    let (name, job) = (label("__name__", "up"), label("job", "x"));
    let together = wrap([&name[..], &job, &sample].concat());
    let apart = wrap([&name[..], &sample, &job].concat());
    let together = RemoteWriteV1::decode(&together, &limits).unwrap();
    let apart = RemoteWriteV1::decode(&apart, &limits).unwrap();
    assert_eq!(labels_of(&together, 0), labels_of(&apart, 0));
    assert_eq!(together.identity_hash(0, 7), apart.identity_hash(0, 7));
    assert_eq!(apart.samples(0).len(), 1);
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_request() {
    let body = request(&[
        (&[("__name__", "up"), ("job", "x")], &[(1, 1.0), (2, 2.0)]),
        (&[("__name__", "down")], &[(1, 1.0)]),
    ])
    .encode_to_vec();
    let limits = WriteLimits::default();
    for end in 0..body.len() {
        if let Ok(decoded) = RemoteWriteV1::decode(&body[..end], &limits) {
            assert!(decoded.len() <= 2);
        }
    }
}

#[test]
fn limits_are_named() {
    let series: SeriesText<'_> = (&[("__name__", "up")], &[(1, 1.0), (2, 2.0)]);
    let body = request(&[series; 3]).encode_to_vec();
    let few_series = WriteLimits {
        max_series_per_request: 2,
        ..WriteLimits::default()
    };
    let error = RemoteWriteV1::decode(&body, &few_series)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "request holds more than 2 series (flag --web.max-series-per-request)"
    );
    let few_samples = WriteLimits {
        max_samples_per_request: 5,
        ..WriteLimits::default()
    };
    let error = RemoteWriteV1::decode(&body, &few_samples)
        .unwrap_err()
        .to_string();
    assert!(error.contains("--web.max-samples-per-request"), "{error}");
    let few_labels = WriteLimits {
        max_labels_per_series: 0,
        ..WriteLimits::default()
    };
    let decoded = RemoteWriteV1::decode(&body, &few_labels).unwrap();
    assert!(matches!(
        labels_of(&decoded, 0),
        Err(InvalidLabels::Limit(_))
    ));
}

fn any_request() -> impl Strategy<Value = PbRequest> {
    let label = (".{0,5}", ".{0,5}").prop_map(|(name, value)| PbLabel { name, value });
    let sample =
        (any::<i64>(), any::<f64>()).prop_map(|(timestamp, value)| PbSample { value, timestamp });
    let series = (
        prop::collection::vec(label, 0..4),
        prop::collection::vec(sample, 0..4),
    )
        .prop_map(|(labels, samples)| PbSeries { labels, samples });
    prop::collection::vec(series, 0..5).prop_map(|timeseries| PbRequest {
        timeseries,
        metadata: vec![],
    })
}

proptest! {
    #[test]
    fn agrees_with_prost(request in any_request()) {
        let body = request.encode_to_vec();
        let request = PbRequest::decode(&body[..]).unwrap();
        let limits = WriteLimits::default();
        let decoded = RemoteWriteV1::decode(&body, &limits).unwrap();
        prop_assert_eq!(decoded.len(), request.timeseries.len());
        for (entry, series) in request.timeseries.iter().enumerate() {
            let samples = decoded.samples(entry);
            prop_assert_eq!(samples.len(), series.samples.len());
            for (got, expected) in samples.iter().zip(&series.samples) {
                prop_assert_eq!(got.timestamp_ms, expected.timestamp);
                prop_assert_eq!(got.value.to_bits(), expected.value.to_bits());
            }
            let mut expected: Vec<_> =
                series.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect();
            let valid = canonicalise(&mut expected);
            match labels_of(&decoded, entry) {
                Ok(labels) => prop_assert_eq!(labels, expected),
                Err(error) => prop_assert_eq!(Err(error), valid),
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let limits = WriteLimits::default();
        let ours = RemoteWriteV1::decode(&body, &limits);
        if let Ok(decoded) = &ours {
            for entry in 0..decoded.len() {
                let _ = labels_of(decoded, entry);
                let _ = decoded.identity_hash(entry, 0);
            }
        }
        // What prost reads, the hand decoder reads too.
        if PbRequest::decode(&body[..]).is_ok() {
            prop_assert!(ours.is_ok());
        }
    }
}
