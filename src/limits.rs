//! Every limit on what a client may ask: name, default, unit, flag.
//!
//! A breach is answered by a text that names the limit, the value and the flag.

use tenbin_model::write::InvalidLabels;

/// Limits on one write request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteLimits {
    /// Compressed body, bytes (`--web.max-body-bytes`). Prometheus' 32 MiB.
    pub max_body_bytes: usize,
    /// Decompressed body, bytes (`--web.max-decoded-body-bytes`). Prometheus' 32 MiB.
    pub max_decoded_body_bytes: usize,
    /// Series entries (`--web.max-series-per-request`).
    pub max_series_per_request: usize,
    /// Samples (`--web.max-samples-per-request`).
    pub max_samples_per_request: usize,
    /// Labels on one series (`--storage.max-labels-per-series`).
    pub max_labels_per_series: usize,
    /// Bytes of a label name (`--storage.max-label-name-bytes`).
    pub max_label_name_bytes: usize,
    /// Bytes of a label value (`--storage.max-label-value-bytes`).
    pub max_label_value_bytes: usize,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_decoded_body_bytes: 32 << 20,
            max_series_per_request: 1_000_000,
            max_samples_per_request: 2_000_000,
            max_labels_per_series: 128,
            max_label_name_bytes: 1024,
            max_label_value_bytes: 16 << 10,
        }
    }
}

impl WriteLimits {
    /// Checks that a request with `count` series entries may take one more.
    ///
    /// # Errors
    /// When it is full.
    #[inline]
    pub fn check_room_for_series(&self, count: usize) -> Result<(), String> {
        if count < self.max_series_per_request {
            return Ok(());
        }
        Err(format!(
            "request holds more than {} series (flag --web.max-series-per-request)",
            self.max_series_per_request
        ))
    }

    /// Checks that a request with `count` samples and histograms may take one more.
    ///
    /// # Errors
    /// When it is full.
    #[inline]
    pub fn check_room_for_sample(&self, count: usize) -> Result<(), String> {
        if count < self.max_samples_per_request {
            return Ok(());
        }
        Err(format!(
            "request holds more than {} samples (flag --web.max-samples-per-request)",
            self.max_samples_per_request
        ))
    }

    /// Checks a running count of labels on one series.
    ///
    /// # Errors
    /// When it is above the limit.
    #[inline]
    pub fn check_label_count(&self, count: usize) -> Result<(), InvalidLabels> {
        if count <= self.max_labels_per_series {
            return Ok(());
        }
        Err(InvalidLabels::Limit(format!(
            "series has more than {} labels (flag --storage.max-labels-per-series)",
            self.max_labels_per_series
        )))
    }

    /// Checks the lengths of names and values.
    ///
    /// # Errors
    /// Names the first label above a limit.
    pub fn check_labels(&self, labels: &[(&str, &str)]) -> Result<(), InvalidLabels> {
        for (name, value) in labels {
            if name.len() > self.max_label_name_bytes {
                return Err(InvalidLabels::Limit(format!(
                    "label name of {} bytes exceeds {} bytes (flag --storage.max-label-name-bytes)",
                    name.len(),
                    self.max_label_name_bytes
                )));
            }
            if value.len() > self.max_label_value_bytes {
                return Err(InvalidLabels::Limit(format!(
                    "value of label {name:?} has {} bytes, more than {} \
                     (flag --storage.max-label-value-bytes)",
                    value.len(),
                    self.max_label_value_bytes
                )));
            }
        }
        Ok(())
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
