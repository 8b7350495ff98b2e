//! From the store's report to the sender's answer, per version of remote write.
//!
//! 1.0: 204, or the first refusal as 400. 2.0: what was written stands in three headers on every
//! answer; all refusals stand in the text, one a line. A series limit is 429 in both, since the
//! sender may try again later. Source: Prometheus `storage/remote/write_handler.go`.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tenbin_model::Labels;
use tenbin_model::write::{
    AppendReport, ExemplarError, InvalidLabels, MAX_REPORTED_REJECTIONS, RejectReason, WriteRequest,
};

use super::response::text_error;
use crate::ingest::remote_write_v2::RemoteWriteV2;
use crate::telemetry::Telemetry;

/// What a 2.0 request left in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Written {
    /// Adds the three headers.
    pub fn push_headers(&self, headers: &mut HeaderMap) {
        for (name, count) in [
            ("x-prometheus-remote-write-samples-written", self.samples),
            (
                "x-prometheus-remote-write-histograms-written",
                self.histograms,
            ),
            (
                "x-prometheus-remote-write-exemplars-written",
                self.exemplars,
            ),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
}

/// A stored request's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    status: StatusCode,
    text: String,
    written: Option<Written>,
    invalid_entries: u64,
    first_invalid: String,
}

fn status_of(reason: &RejectReason) -> StatusCode {
    match reason {
        RejectReason::SeriesLimit { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The labels of an entry for an error text; what can be read of them.
fn labels_text(request: &RemoteWriteV2<'_>, entry: usize) -> String {
    let mut labels = Vec::new();
    // Invalid labels are shown as far as they were decoded.
    let _ = request.labels(entry, &mut labels);
    Labels::from_pairs(&labels).to_string()
}

/// Adds lines for series that hold nothing to store; says how many are left out of the text.
fn push_unusable(lines: &mut Vec<(usize, String)>, request: &RemoteWriteV2<'_>) -> u64 {
    let (mut said, mut unsaid) = (0, 0);
    let mut push = |entry, text: &dyn Fn() -> String| {
        if said < MAX_REPORTED_REJECTIONS {
            said += 1;
            lines.push((entry, text()));
        } else {
            unsaid += 1;
        }
    };
    // Both lists ascend by entry.
    let mut bad_metadata = request.bad_metadata().iter().peekable();
    let mut labels = Vec::new();
    for entry in 0..request.len() {
        if let Some((_, reason)) = bad_metadata.next_if(|(bad, _)| *bad == entry) {
            push(entry, &|| {
                let refs = refs_text(request, entry);
                format!("parsing metadata for series {refs}: {reason}")
            });
        } else if request.has_no_points(entry) && request.labels(entry, &mut labels).is_ok() {
            push(entry, &|| {
                let text = "TimeSeries must contain at least one sample or histogram for series";
                format!("{text} {}", Labels::from_sorted(&labels))
            });
        }
        // A message may come twice in an entry.
        while bad_metadata.next_if(|(bad, _)| *bad == entry).is_some() {}
    }
    unsaid
}

/// The label references of an entry as Go prints a list.
fn refs_text(request: &RemoteWriteV2<'_>, entry: usize) -> String {
    let refs: Vec<String> = request
        .label_refs(entry)
        .iter()
        .map(u32::to_string)
        .collect();
    format!("[{}]", refs.join(" "))
}

fn invalid_text(request: &RemoteWriteV2<'_>, entry: usize, reason: &InvalidLabels) -> String {
    match reason {
        InvalidLabels::Reference(text) => {
            let refs = refs_text(request, entry);
            format!("parsing labels for series {refs}: {text}")
        }
        InvalidLabels::Duplicate(name) => format!(
            "invalid labels for series, labels {}, duplicated label {name}",
            labels_text(request, entry)
        ),
        InvalidLabels::NoMetricName | InvalidLabels::EmptyName | InvalidLabels::Utf8 => {
            format!(
                "invalid metric name or labels, got {}",
                labels_text(request, entry)
            )
        }
        other => other.to_string(),
    }
}

impl Outcome {
    fn new(report: &AppendReport) -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            text: String::new(),
            written: None,
            invalid_entries: report.invalid_entries,
            first_invalid: report
                .invalid
                .first()
                .map(|(_, e)| e.to_string())
                .unwrap_or_default(),
        }
    }

    /// The answer to a 1.0 request: series with invalid labels are skipped without an error.
    #[must_use]
    pub fn v1(report: &AppendReport) -> Self {
        let mut outcome = Self::new(report);
        if let Some((_, reason)) = report.rejections.first() {
            outcome.status = status_of(reason);
            outcome.text = reason.to_string();
        }
        outcome
    }

    /// The answer to a 2.0 request.
    #[must_use]
    pub fn v2(report: &AppendReport, request: &RemoteWriteV2<'_>) -> Self {
        let mut outcome = Self::new(report);
        let mut lines: Vec<(usize, String)> = Vec::new();
        for (entry, reason) in &report.invalid {
            lines.push((*entry, invalid_text(request, *entry, reason)));
        }
        let unsaid = push_unusable(&mut lines, request);
        for (entry, reason) in &report.rejections {
            let series = labels_text(request, *entry);
            lines.push((*entry, format!("{reason} for series {series}")));
        }
        for (entry, reason) in &report.exemplar_errors {
            let series = labels_text(request, *entry);
            match reason {
                ExemplarError::OutOfOrder => {
                    lines.push((*entry, format!("{reason} for series {series}")));
                }
                ExemplarError::Labels => {
                    let text = format!("parsing exemplar for series {series}: {reason}");
                    lines.push((*entry, text));
                }
                // As in Prometheus not the sender's to know.
                _ => tracing::debug!(%reason, series, "remote write: exemplar refused"),
            }
        }
        // In the order of the series; of one, in the order above.
        lines.sort_by_key(|(entry, _)| *entry);
        let mut lines: Vec<String> = lines.into_iter().map(|(_, text)| text).collect();
        if !lines.is_empty() {
            let reason = report.rejections.first().map(|(_, reason)| reason);
            outcome.status = reason.map_or(StatusCode::BAD_REQUEST, status_of);
        }
        let shown = (report.invalid.len() + report.rejections.len()) as u64;
        let all = report.invalid_entries + report.rejected_samples + unsaid;
        if all > shown {
            lines.push(format!("and {} more", all - shown));
        }
        outcome.text = lines.join("\n");
        outcome.written = Some(Written {
            samples: report.samples_written,
            histograms: report.histograms_written,
            exemplars: report.exemplars_written,
        });
        outcome
    }

    /// Counts and logs what was skipped or refused.
    pub fn note(&self, telemetry: &Telemetry) {
        if self.invalid_entries > 0 {
            Telemetry::add(&telemetry.invalid_label_entries, self.invalid_entries);
            tracing::warn!(
                entries = self.invalid_entries,
                first = self.first_invalid,
                "remote write: series with invalid labels skipped"
            );
        }
        if !self.text.is_empty() {
            tracing::debug!(text = self.text, "remote write: samples refused");
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let mut response = if self.status == StatusCode::NO_CONTENT {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        } else {
            text_error(self.status, &self.text)
        };
        if let Some(written) = self.written {
            written.push_headers(response.headers_mut());
        }
        response
    }
}
