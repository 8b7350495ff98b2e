//! How OTLP metrics become series: the block `otlp` of the configuration file, and what flags say.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sums::Sums;

/// `otlp`: how OTLP metrics become series. Names and defaults are Prometheus'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools)] // The file's keys.
pub struct OtlpFile {
    /// Resource attributes that become labels.
    pub promote_resource_attributes: Vec<String>,
    /// Whether all of them do.
    pub promote_all_resource_attributes: bool,
    /// All but these, with `promote_all_resource_attributes`.
    pub ignore_resource_attributes: Vec<String>,
    /// How names are changed.
    pub translation_strategy: TranslationStrategy,
    /// Whether identifying attributes stay in `target_info`.
    pub keep_identifying_resource_attributes: bool,
    /// Whether explicit histograms become native ones with custom buckets.
    pub convert_histograms_to_nhcb: bool,
    /// Whether scope name, version and attributes become labels.
    pub promote_scope_metadata: bool,
    /// Whether a label name that begins with `_` gets `key` in front.
    pub label_name_underscore_sanitization: bool,
    /// Whether runs of underscores stay.
    pub label_name_preserve_multiple_underscores: bool,
}

impl Default for OtlpFile {
    fn default() -> Self {
        Self {
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            translation_strategy: TranslationStrategy::default(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

/// What happens to names that come by OTLP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TranslationStrategy {
    /// Classic characters, unit and type appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Classic characters.
    UnderscoreEscapingWithoutSuffixes,
    /// Any characters, unit and type appended.
    #[serde(rename = "NoUTF8EscapingWithSuffixes")]
    NoUtf8EscapingWithSuffixes,
    /// As they come.
    NoTranslation,
}

impl TranslationStrategy {
    /// Whether odd characters become `_`.
    #[must_use]
    pub fn escapes(self) -> bool {
        matches!(
            self,
            Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes
        )
    }

    /// Whether units and types become suffixes.
    #[must_use]
    pub fn adds_suffixes(self) -> bool {
        matches!(
            self,
            Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes
        )
    }
}

/// What becomes of values that count since the last one.
#[derive(Debug, Clone, Default)]
pub enum Deltas {
    /// They are refused.
    #[default]
    Refused,
    /// They are stored as they are (feature `otlp-native-delta-ingestion`).
    AsTheyAre,
    /// They are added up (feature `otlp-deltatocumulative`).
    Summed(Arc<Sums>),
}

/// The rules in force for a request.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// The block `otlp`.
    pub file: OtlpFile,
    /// What becomes of delta values.
    pub deltas: Deltas,
    /// Labels `__type__` and `__unit__` (feature `type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Milliseconds between samples of `target_info`, twice (`--query.lookback-delta`).
    pub lookback_ms: i64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            file: OtlpFile::default(),
            deltas: Deltas::Refused,
            type_and_unit_labels: false,
            lookback_ms: 300_000,
        }
    }
}
