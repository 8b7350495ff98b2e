//! How OTLP metrics become series: the block `otlp` of the configuration file, and what flags say.

use crate::settings::file::{OtlpFile, TranslationStrategy};

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

/// The rules in force for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The block `otlp`.
    pub file: OtlpFile,
    /// Delta values are stored as they are (feature `otlp-native-delta-ingestion`).
    pub native_delta: bool,
    /// Labels `__type__` and `__unit__` (feature `type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Milliseconds between samples of `target_info`, twice (`--query.lookback-delta`).
    pub lookback_ms: i64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            file: OtlpFile::default(),
            native_delta: false,
            type_and_unit_labels: false,
            lookback_ms: 300_000,
        }
    }
}
