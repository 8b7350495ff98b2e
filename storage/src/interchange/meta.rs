//! The file `meta.json` of a Prometheus block: name, time range, statistics, ancestry.
//!
//! Keys that are not known (Thanos and others add some) are passed over.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Corruption, DbError, IoContext};
use crate::vfs::{Vfs, read_all};

/// File name inside a block.
pub(super) const FILE_NAME: &str = "meta.json";

/// Longest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// What a block says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) ulid: String,
    pub(super) min_ms: i64,
    /// The first millisecond after the block.
    pub(super) end_ms: i64,
    pub(super) level: u64,
    pub(super) stats: Stats,
}

/// Counts, 0 where the file says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stats {
    pub(super) float_samples: u64,
    pub(super) histogram_samples: u64,
    pub(super) series: u64,
    pub(super) chunks: u64,
}

impl Meta {
    pub(super) fn open(vfs: &dyn Vfs, block: &Path, name: &str) -> Result<Self, DbError> {
        let path = block.join(FILE_NAME);
        let bytes = read_all(vfs, &path, MAX_BYTES).doing("reading", &path)?;
        Ok(Self::parse(&bytes, &format!("{name}/{FILE_NAME}"))?)
    }

    fn parse(bytes: &[u8], file: &str) -> Result<Self, Corruption> {
        let wrong = |expected: &str, found: String| Corruption::new(file, 0, expected, found);
        let value: Value =
            serde_json::from_slice(bytes).map_err(|e| wrong("JSON", e.to_string()))?;
        if value["version"] != 1 {
            return Err(wrong("version 1", value["version"].to_string()));
        }
        let time = |key: &str| {
            let time = value[key].as_i64();
            time.ok_or_else(|| wrong(&format!("a whole number {key}"), value[key].to_string()))
        };
        let count = |key: &str| value["stats"][key].as_u64().unwrap_or(0);
        let histogram_samples = count("numHistogramSamples");
        // Old blocks do not tell floats from histograms.
        let float_samples = match count("numFloatSamples") {
            0 => count("numSamples").saturating_sub(histogram_samples),
            floats => floats,
        };
        Ok(Self {
            ulid: value["ulid"].as_str().unwrap_or_default().to_owned(),
            min_ms: time("minTime")?,
            end_ms: time("maxTime")?,
            level: value["compaction"]["level"].as_u64().unwrap_or(1),
            stats: Stats {
                float_samples,
                histogram_samples,
                series: count("numSeries"),
                chunks: count("numChunks"),
            },
        })
    }

    /// The bytes of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let stats = &self.stats;
        let value = json!({
            "ulid": self.ulid,
            "minTime": self.min_ms,
            "maxTime": self.end_ms,
            "stats": {
                "numSamples": stats.float_samples + stats.histogram_samples,
                "numFloatSamples": stats.float_samples,
                "numHistogramSamples": stats.histogram_samples,
                "numSeries": stats.series,
                "numChunks": stats.chunks,
            },
            "compaction": { "level": self.level, "sources": [self.ulid] },
            "version": 1,
        });
        let mut text = format!("{value:#}").into_bytes();
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_writes_is_read_and_what_is_written_comes_back() {
        let text = br#"{
	"ulid": "01ARYZ6S41TSV4RRFFQ69G5FAV", "minTime": -5, "maxTime": 7200000,
	"stats": {"numSamples": 9, "numSeries": 2, "numChunks": 3, "numHistogramSamples": 4},
	"compaction": {"level": 3, "sources": ["01ARYZ6S41TSV4RRFFQ69G5FAV"]},
	"version": 1, "thanos": {"labels": {"a": "b"}}
}"#;
        let meta = Meta::parse(text, "m").unwrap();
        assert_eq!((meta.min_ms, meta.end_ms, meta.level), (-5, 7_200_000, 3));
        assert_eq!(
            (meta.stats.float_samples, meta.stats.histogram_samples),
            (5, 4)
        );
        assert_eq!(Meta::parse(&meta.encode(), "m").unwrap(), meta);
        for wrong in [
            "",
            "{}",
            "[1]",
            r#"{"version": 2}"#,
            r#"{"version": 1, "minTime": "x"}"#,
        ] {
            assert!(Meta::parse(wrong.as_bytes(), "m").is_err(), "{wrong}");
        }
    }
}
