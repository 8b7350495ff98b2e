//! A metric of a message, before its points are read.
//!
//! Metric{name=1, description=2, unit=3, gauge=5, sum=7, histogram=9, exponential_histogram=10,
//! summary=11}; each kind has data_points=1, aggregation_temporality=2, is_monotonic=3 (sum alone).

use tenbin_model::write::MetricType;

use super::names::NameKind;
use super::sums::Identity;
use super::{MAX_PARTS, OtlpError, check_room, utf8};
use crate::ingest::protobuf::{Walker, wire};

/// First and last time of the points of a resource.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
}

/// A metric, before its points are read.
#[derive(Default)]
pub(super) struct Metric<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) unit: &'a str,
    /// Field number of the kind, 0 for none.
    pub(super) kind: u32,
    pub(super) points: Vec<&'a [u8]>,
    pub(super) temporality: u64,
    pub(super) monotonic: bool,
}

impl Metric<'_> {
    /// Whether its points count since the last one.
    pub(super) fn is_delta(&self) -> bool {
        matches!(self.kind, SUM | HISTOGRAM | EXPONENTIAL) && self.temporality == DELTA
    }

    /// What its streams have in common, under what its scope has.
    pub(super) fn identity(&self, scope: Identity) -> Identity {
        let kind = [self.kind as u8, u8::from(self.monotonic)];
        scope
            .and(self.name.as_bytes())
            .and(self.unit.as_bytes())
            .and(&kind)
    }
}

pub(super) const GAUGE: u32 = 5;
pub(super) const SUM: u32 = 7;
pub(super) const HISTOGRAM: u32 = 9;
pub(super) const EXPONENTIAL: u32 = 10;
pub(super) const SUMMARY: u32 = 11;
pub(super) const DELTA: u64 = 1;
pub(super) const CUMULATIVE: u64 = 2;

impl<'a> Metric<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, OtlpError> {
        let mut metric = Self::default();
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            match (tag.field, tag.wire_type) {
                (1, wire::BYTES) => metric.name = utf8(walker.bytes()?)?,
                (2, wire::BYTES) => metric.description = utf8(walker.bytes()?)?,
                (3, wire::BYTES) => metric.unit = utf8(walker.bytes()?)?,
                (GAUGE | SUM | HISTOGRAM | EXPONENTIAL | SUMMARY, wire::BYTES) => {
                    metric.kind = tag.field;
                    metric.data(walker.bytes()?)?;
                }
                (1..=3 | GAUGE | SUM | HISTOGRAM | EXPONENTIAL | SUMMARY, _) => {
                    return Err(walker.wrong_type(tag).into());
                }
                _ => walker.skip(tag)?,
            }
        }
        Ok(metric)
    }

    fn data(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            match (tag.field, tag.wire_type) {
                (1, wire::BYTES) => {
                    check_room(self.points.len(), MAX_PARTS, "points")?;
                    self.points.push(walker.bytes()?);
                }
                (2, wire::VARINT) => self.temporality = walker.varint()?,
                (3, wire::VARINT) => self.monotonic = walker.varint()? != 0,
                (1..=3, _) => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        Ok(())
    }

    pub(super) fn name_kind(&self) -> NameKind {
        match self.kind {
            GAUGE => NameKind::Gauge,
            SUM if self.monotonic => NameKind::Counter,
            _ => NameKind::Other,
        }
    }

    pub(super) fn metric_type(&self) -> MetricType {
        match self.kind {
            _ if self.is_delta() => MetricType::Unknown,
            GAUGE => MetricType::Gauge,
            SUM if self.monotonic => MetricType::Counter,
            SUM => MetricType::Gauge,
            SUMMARY => MetricType::Summary,
            _ => MetricType::Histogram,
        }
    }

    /// Widens a span by the times of the points; those stand in the same field in all kinds.
    pub(super) fn widen(&self, span: &mut Span) -> Result<(), OtlpError> {
        for point in &self.points {
            let mut time_ns = 0;
            let mut walker = Walker::new(point);
            while !walker.is_done() {
                let tag = walker.tag()?;
                match (tag.field, tag.wire_type) {
                    (3, wire::FIXED64) => time_ns = walker.fixed64()?,
                    _ => walker.skip(tag)?,
                }
            }
            span.first_ns = span.first_ns.min(time_ns);
            span.last_ns = span.last_ns.max(time_ns);
        }
        Ok(())
    }
}
