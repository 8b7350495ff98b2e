//! How OTLP metrics become series: the block `otlp` of the configuration file, with Prometheus' names
//! and defaults.

/// How names are translated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TranslationStrategy {
    /// Characters outside `[a-zA-Z0-9:_]` become `_`; units and types become suffixes.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Characters outside `[a-zA-Z0-9:_]` become `_`; no suffixes.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are; units and types become suffixes.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl TranslationStrategy {
    /// The strategy of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "UnderscoreEscapingWithSuffixes" => Some(Self::UnderscoreEscapingWithSuffixes),
            "UnderscoreEscapingWithoutSuffixes" => Some(Self::UnderscoreEscapingWithoutSuffixes),
            "NoUTF8EscapingWithSuffixes" => Some(Self::NoUtf8EscapingWithSuffixes),
            "NoTranslation" => Some(Self::NoTranslation),
            _ => None,
        }
    }

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

/// The block `otlp`.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of the configuration file, by their names"
)]
pub struct OtlpSettings {
    /// Resource attributes that become labels of every series.
    pub promote_resource_attributes: Vec<String>,
    /// All resource attributes become labels, except `ignore_resource_attributes`.
    pub promote_all_resource_attributes: bool,
    /// Resource attributes that stay out.
    pub ignore_resource_attributes: Vec<String>,
    /// How names are translated.
    pub translation_strategy: TranslationStrategy,
    /// `target_info` also has `service.name`, `service.namespace` and `service.instance.id`.
    pub keep_identifying_resource_attributes: bool,
    /// Histograms with explicit bounds become native ones with custom buckets.
    pub convert_histograms_to_nhcb: bool,
    /// The scope's name, version, schema and attributes become labels `otel_scope_*`.
    pub promote_scope_metadata: bool,
    /// Label names that begin with one `_` get `key` in front.
    pub label_name_underscore_sanitization: bool,
    /// Several `_` in a row stay in label names.
    pub label_name_preserve_multiple_underscores: bool,
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
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            translation_strategy: TranslationStrategy::default(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
            native_delta: false,
            type_and_unit_labels: false,
            lookback_ms: 300_000,
        }
    }
}
