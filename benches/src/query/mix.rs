//! The 100 queries: eight kinds over 1, 100 and many series, at one time and over 1, 6 and 24 hours
//! in 100 to 1,000 steps; and four that ask for presence or repeat themselves.

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
}

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
                });
            }
        }
    }
    all.extend(EXTRA.map(|text| Query {
        kind: "presence, repetition",
        size: Size::Many,
        span: Span::SixHours,
        text: text.to_owned(),
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_a_hundred() {
        let all = queries();
        assert_eq!(all.len(), 100);
        assert!(
            all.iter()
                .all(|q| !q.text.contains("P_") && !q.text.contains('M'))
        );
    }
}
