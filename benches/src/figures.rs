//! What is measured, by name, and what Tenbin is to reach.

use crate::generate::Protocol;
use crate::workload::{Name, Plan};

/// One measured quantity. In all of them less is better, except where [`Metric::is_cost`] says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// CPU seconds per million samples until the last acknowledgement.
    IngestCpu,
    /// The same with every later flush and merge.
    TotalCpu,
    /// Seconds of sending.
    Wall,
    /// Peak resident bytes until the last acknowledgement.
    IngestRss,
    /// Peak resident bytes with flush and merge.
    PeakRss,
    /// Peak of the anonymous part with flush and merge, bytes.
    PeakAnon,
    /// Peak resident bytes with flush and merge per series that was active at the end.
    RssPerSeries,
    /// The anonymous part of it.
    AnonPerSeries,
    /// Allocated bytes of the settled form per sample.
    Disk,
    /// Seconds from `exec` after `kill -9` to the first answer.
    Restart,
    /// Acknowledged samples that no query finds after `kill -9`.
    Lost,
    /// Acknowledged samples that no query finds without any kill.
    Missing,
    /// 1 when the first answer after the kill was right.
    FirstAnswerRight,
}

impl Metric {
    pub(crate) const ALL: [Self; 13] = [
        Self::TotalCpu,
        Self::IngestCpu,
        Self::Wall,
        Self::RssPerSeries,
        Self::AnonPerSeries,
        Self::PeakRss,
        Self::PeakAnon,
        Self::IngestRss,
        Self::Disk,
        Self::Restart,
        Self::Lost,
        Self::Missing,
        Self::FirstAnswerRight,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::TotalCpu => "CPU-s / M samples, with flush and merge",
            Self::IngestCpu => "CPU-s / M samples, until the last 2xx",
            Self::Wall => "wall s, sending",
            Self::RssPerSeries => "peak RSS bytes / active series, with flush and merge",
            Self::AnonPerSeries => "anonymous part of it",
            Self::PeakRss => "peak RSS MB, with flush and merge",
            Self::PeakAnon => "peak anonymous MB, with flush and merge",
            Self::IngestRss => "peak RSS MB, until the last 2xx",
            Self::Disk => "disk bytes / sample, settled, all files",
            Self::Restart => "kill -9, exec to first answer, s",
            Self::Lost => "acknowledged samples lost by kill -9",
            Self::Missing => "acknowledged samples not found, no kill",
            Self::FirstAnswerRight => "first answer after kill -9 was right (1 = yes)",
        }
    }

    /// The name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::TotalCpu => "cpu_s_per_million_total",
            Self::IngestCpu => "cpu_s_per_million_ingest",
            Self::Wall => "wall_s",
            Self::RssPerSeries => "peak_rss_bytes_per_series",
            Self::AnonPerSeries => "peak_anon_bytes_per_series",
            Self::PeakRss => "peak_rss_bytes",
            Self::PeakAnon => "peak_anon_bytes",
            Self::IngestRss => "ingest_peak_rss_bytes",
            Self::Disk => "disk_bytes_per_sample",
            Self::Restart => "restart_s",
            Self::Lost => "lost_samples",
            Self::Missing => "missing_samples",
            Self::FirstAnswerRight => "first_answer_right",
        }
    }

    /// Whether a ratio to the better peer makes sense.
    pub(crate) fn is_cost(self) -> bool {
        !matches!(self, Self::Lost | Self::Missing | Self::FirstAnswerRight)
    }

    /// The value as the table shows it.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::PeakRss | Self::PeakAnon | Self::IngestRss => format!("{:.1}", value / 1e6),
            Self::Lost | Self::Missing | Self::FirstAnswerRight => format!("{value:.0}"),
            Self::RssPerSeries | Self::AnonPerSeries => format!("{value:.0}"),
            _ => format!("{value:.3}"),
        }
    }

    /// The goal of the design for this workload at full scale, where there is one.
    pub(crate) fn goal(self, plan: &Plan) -> Option<f64> {
        let goal = match (self, plan.name, plan.protocol) {
            (Self::TotalCpu, Name::Steady, Protocol::Rw1) => 0.25,
            (Self::TotalCpu, Name::Steady, Protocol::Rw2) => 0.20,
            (Self::TotalCpu, Name::Newseries, _) => 1.2,
            (Self::TotalCpu, Name::Churn, _) => 0.35,
            (Self::TotalCpu, Name::Capture, _) => 0.20,
            (Self::RssPerSeries, Name::Newseries, _) => 400.0,
            (Self::Disk, Name::Steady, _) => 0.55,
            (Self::Disk, Name::Churn, _) => 1.0,
            (Self::Disk, Name::Capture, _) => 0.30,
            (Self::Disk, Name::Newseries, _) => 8.0,
            (Self::Restart, Name::Steady, _) => 0.3,
            (Self::Restart, Name::Newseries, _) => 1.0,
            (Self::Lost | Self::Missing, _, _) => 0.0,
            _ => return None,
        };
        Some(goal)
    }
}

/// One system's figures of one repetition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) values: Vec<(Metric, f64)>,
    /// Bytes on disk by part, and whether the part belongs to the settled form.
    pub(crate) parts: Vec<(&'static str, u64, bool)>,
}

impl Figures {
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        let found = self.values.iter().find(|(m, _)| *m == metric);
        found.map(|(_, value)| *value)
    }
}
