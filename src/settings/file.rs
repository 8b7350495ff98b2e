//! `--config.file`: the sections of Prometheus' configuration file that apply to a server that neither
//! scrapes nor evaluates rules, and limits of its own.
//!
//! What the file says wins over a flag of the same meaning, as in Prometheus. Keys of other sections are errors,
//! since silently ignoring them would look like scraping.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tenbin_model::text::duration::{format_duration_ms, parse_duration_ms};

use crate::config::{format_size, size};
pub use crate::ingest::otlp::settings::{OtlpFile, TranslationStrategy};
use crate::limits::WriteLimits;

/// The file as written; what is missing is decided by flags and defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// `global`
    pub global: GlobalFile,
    /// `storage`
    pub storage: StorageFile,
    /// `otlp`
    pub otlp: OtlpFile,
    /// `remote_write_receiver`, not in Prometheus.
    pub remote_write_receiver: ReceiverFile,
}

/// `global`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalFile {
    /// Labels of this server towards others: federation and remote read.
    pub external_labels: BTreeMap<String, String>,
    /// Where queries are logged; relative to the folder of the file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query_log_file: String,
}

/// `storage`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageFile {
    /// `storage.tsdb`
    pub tsdb: TsdbFile,
    /// `storage.exemplars`
    pub exemplars: ExemplarsFile,
}

/// `storage.tsdb`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TsdbFile {
    /// How late a sample may arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order_time_window: Option<DurationText>,
    /// `storage.tsdb.retention`
    pub retention: RetentionFile,
}

/// `storage.tsdb.retention`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionFile {
    /// How long samples are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<DurationText>,
    /// Most bytes that everything stored may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeText>,
}

/// `storage.exemplars`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExemplarsFile {
    /// Most exemplars kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_exemplars: Option<usize>,
}

/// `remote_write_receiver`: limits on one write request, as the flags of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // The flags say what they mean.
pub struct ReceiverFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_decoded_body_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_series_per_request: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_samples_per_request: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_labels_per_series: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_label_name_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_label_value_bytes: Option<usize>,
}

impl ReceiverFile {
    /// The limits of the flags with those that the file sets.
    #[must_use]
    pub fn over(&self, flags: &WriteLimits) -> WriteLimits {
        WriteLimits {
            max_body_bytes: self.max_body_bytes.unwrap_or(flags.max_body_bytes),
            max_decoded_body_bytes: self
                .max_decoded_body_bytes
                .unwrap_or(flags.max_decoded_body_bytes),
            max_series_per_request: self
                .max_series_per_request
                .unwrap_or(flags.max_series_per_request),
            max_samples_per_request: self
                .max_samples_per_request
                .unwrap_or(flags.max_samples_per_request),
            max_labels_per_series: self
                .max_labels_per_series
                .unwrap_or(flags.max_labels_per_series),
            max_label_name_bytes: self
                .max_label_name_bytes
                .unwrap_or(flags.max_label_name_bytes),
            max_label_value_bytes: self
                .max_label_value_bytes
                .unwrap_or(flags.max_label_value_bytes),
        }
    }

    /// Every limit written out.
    #[must_use]
    pub fn from_limits(limits: &WriteLimits) -> Self {
        Self {
            max_body_bytes: Some(limits.max_body_bytes),
            max_decoded_body_bytes: Some(limits.max_decoded_body_bytes),
            max_series_per_request: Some(limits.max_series_per_request),
            max_samples_per_request: Some(limits.max_samples_per_request),
            max_labels_per_series: Some(limits.max_labels_per_series),
            max_label_name_bytes: Some(limits.max_label_name_bytes),
            max_label_value_bytes: Some(limits.max_label_value_bytes),
        }
    }
}

/// A duration as Prometheus writes it, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DurationText(pub i64);

impl TryFrom<String> for DurationText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration_ms(&text)
            .map(Self)
            .map_err(|e| e.to_string())
    }
}

impl From<DurationText> for String {
    fn from(duration: DurationText) -> Self {
        format_duration_ms(duration.0)
    }
}

/// A size as Prometheus writes it, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SizeText(pub u64);

impl TryFrom<String> for SizeText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        size(&text).map(Self)
    }
}

impl From<SizeText> for String {
    fn from(size: SizeText) -> Self {
        format_size(size.0)
    }
}

impl ConfigFile {
    /// Reads and checks the text of a file; `${VAR}` in external labels is the environment's.
    ///
    /// # Errors
    /// A text that names line and column or key.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::from_text(text, &|name| std::env::var(name).ok())
    }

    fn from_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut file: Self = super::parse(text)?;
        for (name, value) in &mut file.global.external_labels {
            if name.is_empty() || name == "__name__" {
                return Err(format!(
                    "global: external_labels: {name:?} is no label name"
                ));
            }
            *value = expand(value, variable);
        }
        if !file.otlp.ignore_resource_attributes.is_empty()
            && !file.otlp.promote_all_resource_attributes
        {
            return Err(
                "otlp: ignore_resource_attributes needs promote_all_resource_attributes".into(),
            );
        }
        if file.otlp.promote_all_resource_attributes
            && !file.otlp.promote_resource_attributes.is_empty()
        {
            return Err(
                "otlp: promote_resource_attributes and promote_all_resource_attributes \
                        exclude each other"
                    .into(),
            );
        }
        Ok(file)
    }

    /// As YAML, for `/api/v1/status/config`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_default()
    }
}

/// Replaces `$NAME` and `${NAME}` by environment variables, `$$` by a dollar; what is not set is empty.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let braced = after.strip_prefix('{').and_then(|a| a.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            after.split_at(after.bytes().take_while(|b| is_name(*b)).count())
        });
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&variable(name).unwrap_or_default());
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::from_text(text, &|name| (name == "ZONE").then(|| "eu".to_owned()))
    }

    const FULL: &str = "\
global:
  external_labels:
    zone: ${ZONE}-$ZONE-$$-${NONE}x
storage:
  tsdb:
    out_of_order_time_window: 1h30m
    retention:
      time: 30d
      size: 5GB
  exemplars:
    max_exemplars: 7
otlp:
  translation_strategy: NoUTF8EscapingWithSuffixes
  promote_resource_attributes: [service.name]
remote_write_receiver:
  max_body_bytes: 1000
";

    #[test]
    fn all_sections_are_read_and_written_back() {
        let file = load(FULL).unwrap();
        assert_eq!(file.global.external_labels["zone"], "eu-eu-$-x");
        let tsdb = &file.storage.tsdb;
        assert_eq!(tsdb.out_of_order_time_window, Some(DurationText(5_400_000)));
        assert_eq!(tsdb.retention.time, Some(DurationText(30 * 86_400_000)));
        assert_eq!(tsdb.retention.size, Some(SizeText(5 << 30)));
        assert_eq!(file.storage.exemplars.max_exemplars, Some(7));
        assert!(file.otlp.label_name_underscore_sanitization);
        assert_eq!(file.otlp.promote_resource_attributes, ["service.name"]);
        let limits = file.remote_write_receiver.over(&WriteLimits::default());
        assert_eq!(limits.max_body_bytes, 1000);
        assert_eq!(
            limits.max_decoded_body_bytes,
            WriteLimits::default().max_decoded_body_bytes
        );
        let again: ConfigFile = super::super::parse(&file.to_yaml()).unwrap();
        assert_eq!(again, file, "{}", file.to_yaml());
        assert_eq!(load("").unwrap(), ConfigFile::default());
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, says) in [
            ("global:\n  scrape_interval: 1m\n", "scrape_interval"),
            ("scrape_configs: []\n", "scrape_configs"),
            (
                "storage:\n  tsdb:\n    retention:\n      time: 5 days\n",
                "line 4",
            ),
            (
                "storage:\n  tsdb:\n    retention:\n      size: 5XB\n",
                "unit",
            ),
            ("otlp:\n  translation_strategy: Sometimes\n", "Sometimes"),
            (
                "global:\n  external_labels:\n    __name__: x\n",
                "no label name",
            ),
            ("otlp:\n  ignore_resource_attributes: [a]\n", "promote_all"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let unknown = load("global:\n  scrape_interval: 1m\n").unwrap_err();
        assert!(
            unknown.contains("line 2") && unknown.contains("column 3"),
            "{unknown}"
        );
    }
}
