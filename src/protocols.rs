//! Settings of the ways in and out besides remote write and the query API: what a configuration file
//! may change while the server runs, and limits that flags give.

use crate::ingest::otlp::settings::OtlpSettings;

/// What a configuration file says; replaced as a whole when it is read again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProtocolSettings {
    /// Labels that remote read and federation add where a series has none of the name; sorted by name.
    pub external_labels: Vec<(String, String)>,
    /// How OTLP metrics become series.
    pub otlp: OtlpSettings,
}

impl ProtocolSettings {
    /// The value of an external label, empty where there is none.
    #[must_use]
    pub fn external_label(&self, name: &str) -> &str {
        let found = self.external_labels.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// Limits on remote read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Samples in an answer that is not streamed; 0 = no limit
    /// (`--storage.remote.read-sample-limit`).
    pub max_samples: u64,
    /// Requests at once; further ones wait (`--storage.remote.read-concurrent-limit`).
    pub max_concurrent: usize,
    /// Bytes of a frame of a streamed answer, roughly (`--storage.remote.read-max-bytes-in-frame`).
    pub max_frame_bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_samples: 50_000_000,
            max_concurrent: 10,
            max_frame_bytes: 1 << 20,
        }
    }
}
