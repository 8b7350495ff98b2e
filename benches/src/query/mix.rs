//! The 118 queries: eight kinds over 1, 100 and many series, at one time and over 1, 6 and 24 hours
//! in 100 to 1,000 steps; four that ask for presence or repeat themselves; and 18 for label names,
//! label values and series.

use tenbin_compat_tests::http::form;

/// What a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    One,
    Hundred,
    Many,
}

impl Size {
    pub(super) const ALL: [Self; 3] = [Self::One, Self::Hundred, Self::Many];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::One => "1 series",
            Self::Hundred => "100 series",
            Self::Many => "many series",
        }
    }
}

/// The times that a query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Instant,
    Hour,
    SixHours,
    Day,
}

impl Span {
    pub(super) const ALL: [Self; 4] = [Self::Instant, Self::Hour, Self::SixHours, Self::Day];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Hour => "1 h",
            Self::SixHours => "6 h",
            Self::Day => "24 h",
        }
    }

    /// Length and step, seconds.
    pub(super) fn seconds(self) -> Option<(i64, i64)> {
        match self {
            Self::Instant => None,
            Self::Hour => Some((3600, 36)),
            Self::SixHours => Some((6 * 3600, 60)),
            Self::Day => Some((24 * 3600, 90)),
        }
    }
}

/// One query of the mix.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) kind: &'static str,
    pub(super) size: Size,
    pub(super) span: Span,
    pub(super) text: String,
    /// Below `/api/v1/`, of questions for labels and series, which have a selector as text.
    pub(super) metadata: Option<&'static str>,
}

impl Query {
    /// Path and parameters; `back` is how many steps before `end_ms` the answer ends.
    pub(super) fn target(&self, end_ms: i64, back: i64, no_cache: bool) -> String {
        let (length, step) = self.span.seconds().unwrap_or((0, 15));
        let end_s = end_ms / 1000 - back * step;
        let end = end_s.to_string();
        let (start, step) = ((end_s - length).to_string(), step.to_string());
        let mut parameters = Vec::new();
        if no_cache {
            parameters.push(("nocache", "1"));
        }
        if let Some(path) = self.metadata {
            parameters.extend([
                ("match[]", self.text.as_str()),
                ("start", &start),
                ("end", &end),
            ]);
            return format!("/api/v1/{path}?{}", form(&parameters));
        }
        parameters.push(("query", &self.text));
        if self.span == Span::Instant {
            parameters.push(("time", &end));
            return format!("/api/v1/query?{}", form(&parameters));
        }
        parameters.extend([("start", start.as_str()), ("end", &end), ("step", &step)]);
        format!("/api/v1/query_range?{}", form(&parameters))
    }

    /// How tables name it.
    pub(super) fn title(&self) -> String {
        let (span, text) = (self.span.title(), &self.text);
        match self.metadata {
            Some(path) => format!("{path} `{text}` {span}"),
            None => format!("`{text}` {span}"),
        }
    }
}

/// Paths of the questions for labels and series.
const METADATA: [&str; 3] = ["labels", "label/instance/values", "series"];

/// Kinds and their queries; `P` stands for the metrics' prefix, `M` for matchers.
const KINDS: [(&str, &str); 8] = [
    ("selector", "P_temperature{M}"),
    ("rate", "rate(P_requests_total{M}[5m])"),
    ("sum by", "sum by (zone) (rate(P_requests_total{M}[5m]))"),
    ("topk", "topk(5, P_temperature{M})"),
    (
        "histogram",
        "histogram_quantile(0.9, sum by (le, zone) (rate(P_seconds_bucket{M}[5m])))",
    ),
    (
        "join",
        "rate(P_errors_total{M}[5m]) / on (instance, job) rate(P_requests_total{M}[5m])",
    ),
    (
        "subquery",
        "max_over_time(sum(rate(P_requests_total{M}[5m]))[30m:1m])",
    ),
    ("over_time", "avg_over_time(P_temperature{M}[1h])"),
];

/// Queries over many series and six hours.
const EXTRA: [&str; 4] = [
    "count by (zone) (big_temperature)",
    "sum by (job) (count_over_time(big_temperature[5m]))",
    "sum(rate(big_requests_total[5m])) / count(rate(big_requests_total[5m]))",
    "big_temperature and big_temperature > 0",
];

/// All queries.
pub(super) fn queries() -> Vec<Query> {
    let mut all = Vec::new();
    for size in Size::ALL {
        let (prefix, matchers) = match size {
            Size::One => ("small", "instance=\"host-7.example.org:9100\""),
            Size::Hundred => ("small", ""),
            Size::Many => ("big", ""),
        };
        for span in Span::ALL {
            for (kind, text) in KINDS {
                let text = text.replace("{M}", &format!("{{{matchers}}}"));
                all.push(Query {
                    kind,
                    size,
                    span,
                    text: text.replace("P_", &format!("{prefix}_")),
                    metadata: None,
                });
            }
            if matches!(span, Span::Hour | Span::Day) {
                all.extend(METADATA.map(|path| Query {
                    kind: "metadata",
                    size,
                    span,
                    text: format!("{prefix}_temperature{{{matchers}}}"),
                    metadata: Some(path),
                }));
            }
        }
    }
    all.extend(EXTRA.map(|text| Query {
        kind: "presence, repetition",
        size: Size::Many,
        span: Span::SixHours,
        text: text.to_owned(),
        metadata: None,
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_118() {
        let all = queries();
        assert_eq!(all.len(), 118);
        let one = all
            .iter()
            .find(|q| q.span == Span::Hour && q.metadata.is_none());
        let target = one.unwrap().target(7_200_000, 2, true);
        assert!(
            target.contains("nocache=1&query=") && target.ends_with("start=3528&end=7128&step=36")
        );
        assert!(
            all.iter()
                .all(|q| !q.text.contains("P_") && !q.text.contains('M'))
        );
    }
}
