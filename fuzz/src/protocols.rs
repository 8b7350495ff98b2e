//! Any body of remote read, OTLP (binary and JSON), exposition text, OpenMetrics and Influx lines is read or
//! refused; what is read has labels that can be asked for; a sample of text is read again from how it
//! is written. Used by the fuzz target and by a test that replays the committed inputs.
//!
//! The first byte chooses the form, the second the switches.

use std::sync::Arc;

use tenbin_model::write::WriteRequest;

use crate::ingest::batch::Batch;
use crate::ingest::otlp::settings::{Deltas, OtlpFile, OtlpSettings, TranslationStrategy};
use crate::ingest::read_request::ReadRequest;
use crate::ingest::{exposition, influx, otlp};
use crate::limits::WriteLimits;

/// Asks for everything that a store asks for.
fn ask(batch: &Batch<'_>) {
    let (mut labels, mut exemplars) = (Vec::new(), Vec::new());
    for entry in 0..batch.len() {
        if batch.labels(entry, &mut labels).is_ok() {
            assert!(labels.windows(2).all(|w| w[0].0 < w[1].0));
            assert!(
                labels
                    .iter()
                    .all(|(name, value)| !name.is_empty() && !value.is_empty())
            );
        }
        let points = batch.samples(entry).len() + batch.histograms(entry).len();
        assert!(points <= batch.points());
        batch.exemplars(entry, &mut exemplars);
        assert_eq!(exemplars.len(), batch.exemplar_count(entry));
        let _ = (batch.identity_hash(entry, 1), batch.origin(entry));
        for histogram in batch.histograms(entry) {
            let _ = histogram.histogram.validate();
        }
    }
    let _ = batch.metadata();
}

fn settings(switches: u8) -> OtlpSettings {
    let bit = |at: u8| switches & 1 << at != 0;
    let strategies = [
        TranslationStrategy::UnderscoreEscapingWithSuffixes,
        TranslationStrategy::UnderscoreEscapingWithoutSuffixes,
        TranslationStrategy::NoUtf8EscapingWithSuffixes,
        TranslationStrategy::NoTranslation,
    ];
    OtlpSettings {
        file: OtlpFile {
            translation_strategy: strategies[usize::from(switches & 3)],
            promote_all_resource_attributes: bit(2),
            convert_histograms_to_nhcb: bit(3),
            promote_scope_metadata: bit(4),
            keep_identifying_resource_attributes: bit(5),
            label_name_preserve_multiple_underscores: bit(6),
            ..OtlpFile::default()
        },
        deltas: match (bit(7), bit(3)) {
            (false, _) => Deltas::Refused,
            (true, false) => Deltas::AsTheyAre,
            (true, true) => Deltas::Summed(Arc::default()),
        },
        type_and_unit_labels: bit(6),
        lookback_ms: 300_000,
    }
}

fn otlp(message: &[u8], switches: u8, limits: &WriteLimits) {
    if let Ok(translated) = otlp::translate(message, &settings(switches), limits) {
        ask(&translated.batch);
    }
}

fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}

/// Every sample as a line of its own, which is read to the same.
fn read_again(batch: &Batch<'_>, limits: &WriteLimits) {
    let reading = exposition::Reading {
        open_metrics: false,
        now_ms: 0,
        extra_labels: &[],
    };
    let mut labels = Vec::new();
    for entry in 0..batch.len() {
        if batch.labels(entry, &mut labels).is_err() {
            continue;
        }
        let sample = batch.samples(entry)[0];
        let pairs = labels
            .iter()
            .map(|(n, v)| format!("{}={}", quoted(n), quoted(v)));
        let pairs: Vec<String> = pairs.collect();
        let value = tenbin_model::text::float::format_g(sample.value);
        let line = format!("{{{}}} {value} {}", pairs.join(","), sample.timestamp_ms);
        let mut second = Batch::new(limits);
        let problems = exposition::read(line.as_bytes(), &reading, &mut second);
        assert!(problems.is_ok_and(|p| p.is_empty()), "{line:?}");
        let mut again = Vec::new();
        assert_eq!(second.labels(0, &mut again), Ok(()));
        assert_eq!(labels, again);
        let back = second.samples(0)[0];
        assert_eq!(back.timestamp_ms, sample.timestamp_ms);
        assert_eq!(back.value.to_bits(), sample.value.to_bits(), "{line:?}");
    }
}

/// Runs one input.
pub(crate) fn target(data: &[u8]) {
    let [form, switches, body @ ..] = data else {
        return;
    };
    let limits = WriteLimits {
        max_series_per_request: 10_000,
        max_samples_per_request: 10_000,
        ..WriteLimits::default()
    };
    let mut batch = Batch::new(&limits);
    match form % 6 {
        0 => {
            let _ = ReadRequest::decode(body);
        }
        1 => otlp(body, *switches, &limits),
        2 => {
            if let Ok(binary) = otlp::json::to_binary(body) {
                otlp(&binary, *switches, &limits);
            }
        }
        form @ (3 | 4) => {
            let extra = [("job".to_owned(), "x".to_owned())];
            let reading = exposition::Reading {
                open_metrics: form == 4,
                now_ms: 5,
                extra_labels: if switches & 1 == 0 { &[] } else { &extra },
            };
            if exposition::read(body, &reading, &mut batch).is_ok() {
                ask(&batch);
                read_again(&batch, &limits);
            }
        }
        _ => {
            let units = [1, 1_000, 1_000_000, 3_600_000_000_000];
            let reading = influx::Reading {
                unit_ns: units[usize::from(switches & 3)],
                now_ms: 5,
                database: if switches & 4 == 0 { "" } else { "db" },
            };
            if influx::read(body, &reading, &mut batch).is_ok() {
                ask(&batch);
            }
        }
    }
}

/// Inputs to begin with.
#[must_use]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let json = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}},
        {"key":"a.b","value":{"arrayValue":{"values":[{"intValue":"1"},{"doubleValue":0.5}]}}}]},"scopeMetrics":[{"scope":{"name":"n"},
        "metrics":[{"name":"g","unit":"By","gauge":{"dataPoints":[{"timeUnixNano":"1700000000000000000","asDouble":1.5}]}},
        {"name":"c","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"1","asInt":"3",
        "exemplars":[{"asDouble":1,"traceId":"0102030405060708090a0b0c0d0e0f10"}]}]}},
        {"name":"h","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"3","sum":1,"bucketCounts":["1","2"],"explicitBounds":[1]}]}},
        {"name":"e","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{"scale":9,"count":"4","zeroCount":"1","positive":{"offset":-3,"bucketCounts":["1","0","2"]}}]}},
        {"name":"q","summary":{"dataPoints":[{"count":"1","sum":2,"quantileValues":[{"quantile":0.5,"value":1}]}]}}]}]}]}"#;
    let read =
        b"\x0a\x16\x08\x01\x10\x02\x1a\x09\x08\x02\x12\x01a\x1a\x02.+\x22\x05\x12\x03sum\x10\x01";
    let text = b"# TYPE a counter\n# HELP a b\\n\na_total{l=\"x\\\"\"} 1 5 # {t=\"1\"} 2 3\n{\"odd.name\"} NaN\n# EOF\n";
    let influx =
        b"cpu,host=a\\ b usage=0.5,n=3i,s=\"x, y\",t=true 1700000000000000000\n# c\nm v=1\n";
    let mut seeds = Vec::new();
    let mut push = |form: u8, switches: u8, body: &[u8]| {
        seeds.push([&[form, switches], body].concat());
    };
    push(0, 0, read);
    if let Ok(binary) = otlp::json::to_binary(json) {
        push(1, 0, &binary);
        push(1, 0xff, &binary);
    }
    push(2, 0x82, json);
    push(3, 1, text);
    push(4, 0, text);
    push(5, 4, influx);
    seeds
}
