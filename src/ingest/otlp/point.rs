//! Data points of all kinds, read from the wire.
//!
//! NumberDataPoint{start=2, time=3, as_double=4, exemplars=5, as_int=6, attributes=7, flags=8},
//! HistogramDataPoint{start=2, time=3, count=4, sum=5, bucket_counts=6, explicit_bounds=7, exemplars=8,
//! attributes=9, flags=10}, ExponentialHistogramDataPoint{attributes=1, start=2, time=3, count=4,
//! sum=5, scale=6, zero_count=7, positive=8, negative=9, flags=10, exemplars=11}, Buckets{offset=1,
//! bucket_counts=2}, SummaryDataPoint{start=2, time=3, count=4, sum=5, quantile_values=6,
//! attributes=7, flags=8}, ValueAtQuantile{quantile=1, value=2}. Times are nanoseconds.

use super::any_value::{Attribute, attribute};
use super::buckets::{Dense, MAX_BUCKETS};
use super::{MAX_ATTRIBUTES, MAX_PARTS, OtlpError, check_room};
use crate::ingest::protobuf::{Tag, Walker, WireError, wire};

/// Nanoseconds to milliseconds.
pub(super) fn to_ms(nanoseconds: u64) -> i64 {
    nanoseconds as i64 / 1_000_000
}

/// What every point has.
#[derive(Debug, Clone, Default)]
pub(super) struct Common<'a> {
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    /// There is no value now.
    pub(super) stale: bool,
    pub(super) exemplars: Vec<&'a [u8]>,
}

/// Where a kind of point has what every point has.
struct Fields {
    attributes: u32,
    exemplars: u32,
    flags: u32,
}

/// No field has this number.
const NONE: u32 = u32::MAX;

const NUMBER: Fields = Fields {
    attributes: 7,
    exemplars: 5,
    flags: 8,
};
const HISTOGRAM: Fields = Fields {
    attributes: 9,
    exemplars: 8,
    flags: 10,
};
const EXPONENTIAL: Fields = Fields {
    attributes: 1,
    exemplars: 11,
    flags: 10,
};
const SUMMARY: Fields = Fields {
    attributes: 7,
    exemplars: NONE,
    flags: 8,
};

impl<'a> Common<'a> {
    pub(super) fn start_ms(&self) -> i64 {
        to_ms(self.start_ns)
    }

    pub(super) fn time_ms(&self) -> i64 {
        to_ms(self.time_ns)
    }

    /// Reads a field that every point has; false for one of its own.
    fn field(
        &mut self,
        fields: &Fields,
        walker: &mut Walker<'a>,
        tag: Tag,
    ) -> Result<bool, OtlpError> {
        match (tag.field, tag.wire_type) {
            (2, wire::FIXED64) => self.start_ns = walker.fixed64()?,
            (3, wire::FIXED64) => self.time_ns = walker.fixed64()?,
            (field, wire::BYTES) if field == fields.attributes => {
                check_room(self.attributes.len(), MAX_ATTRIBUTES, "attributes")?;
                self.attributes.push(attribute(walker.bytes()?)?);
            }
            (field, wire::BYTES) if field == fields.exemplars => {
                check_room(self.exemplars.len(), MAX_PARTS, "exemplars")?;
                self.exemplars.push(walker.bytes()?);
            }
            (field, wire::VARINT) if field == fields.flags => {
                self.stale = walker.varint()? & 1 != 0;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn double(walker: &mut Walker<'_>, tag: Tag) -> Result<f64, WireError> {
    fixed64(walker, tag).map(f64::from_bits)
}

fn fixed64(walker: &mut Walker<'_>, tag: Tag) -> Result<u64, WireError> {
    if tag.wire_type != wire::FIXED64 {
        return Err(walker.wrong_type(tag));
    }
    walker.fixed64()
}

/// A number that is a sign and a size.
fn zigzag(walker: &mut Walker<'_>, tag: Tag) -> Result<i32, WireError> {
    if tag.wire_type != wire::VARINT {
        return Err(walker.wrong_type(tag));
    }
    // Bits beyond 32 are dropped first, as every protobuf library does.
    let raw = walker.varint()? as u32;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

fn check_buckets(count: usize) -> Result<(), OtlpError> {
    if count < MAX_BUCKETS {
        return Ok(());
    }
    Err(OtlpError::Limit(format!(
        "a histogram has more than {MAX_BUCKETS} buckets, which is the limit"
    )))
}

/// Repeated numbers of eight bytes, packed or single.
fn fixed_list(walker: &mut Walker<'_>, tag: Tag, out: &mut Vec<u64>) -> Result<(), OtlpError> {
    if tag.wire_type != wire::BYTES {
        check_buckets(out.len())?;
        out.push(fixed64(walker, tag)?);
        return Ok(());
    }
    let mut packed = Walker::new(walker.bytes()?);
    while !packed.is_done() {
        check_buckets(out.len())?;
        out.push(packed.fixed64()?);
    }
    Ok(())
}

/// A point of a gauge or a sum.
#[derive(Debug, Clone, Default)]
pub(super) struct Number<'a> {
    pub(super) common: Common<'a>,
    pub(super) value: f64,
    /// The value, when it came as a whole number.
    pub(super) whole: Option<i64>,
}

impl<'a> Number<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, OtlpError> {
        let mut point = Self::default();
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            if point.common.field(&NUMBER, &mut walker, tag)? {
                continue;
            }
            match tag.field {
                4 => (point.value, point.whole) = (double(&mut walker, tag)?, None),
                6 => {
                    let whole = fixed64(&mut walker, tag)? as i64;
                    (point.value, point.whole) = (whole as f64, Some(whole));
                }
                2..=8 => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        Ok(point)
    }
}

/// A point of a histogram with explicit bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Explicit<'a> {
    pub(super) common: Common<'a>,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
}

impl<'a> Explicit<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, OtlpError> {
        let mut point = Self::default();
        let mut bounds = Vec::new();
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            if point.common.field(&HISTOGRAM, &mut walker, tag)? {
                continue;
            }
            match tag.field {
                4 => point.count = fixed64(&mut walker, tag)?,
                5 => point.sum = Some(double(&mut walker, tag)?),
                6 => fixed_list(&mut walker, tag, &mut point.counts)?,
                7 => fixed_list(&mut walker, tag, &mut bounds)?,
                2..=10 => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        point.bounds = bounds.into_iter().map(f64::from_bits).collect();
        Ok(point)
    }
}

/// A point of an exponential histogram.
#[derive(Debug, Clone, Default)]
pub(super) struct Exponential<'a> {
    pub(super) common: Common<'a>,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    pub(super) positive: Dense,
    pub(super) negative: Dense,
}

impl<'a> Exponential<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, OtlpError> {
        let mut point = Self::default();
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            if point.common.field(&EXPONENTIAL, &mut walker, tag)? {
                continue;
            }
            match (tag.field, tag.wire_type) {
                (4, _) => point.count = fixed64(&mut walker, tag)?,
                (5, _) => point.sum = Some(double(&mut walker, tag)?),
                (6, _) => point.scale = zigzag(&mut walker, tag)?,
                (7, _) => point.zero_count = fixed64(&mut walker, tag)?,
                (8, wire::BYTES) => point.positive = dense(walker.bytes()?)?,
                (9, wire::BYTES) => point.negative = dense(walker.bytes()?)?,
                (1..=11, _) => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        Ok(point)
    }
}

fn dense(message: &[u8]) -> Result<Dense, OtlpError> {
    let mut found = Dense::default();
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (1, _) => found.offset = zigzag(&mut walker, tag)?,
            (2, wire::VARINT) => {
                check_buckets(found.counts.len())?;
                found.counts.push(walker.varint()?);
            }
            (2, wire::BYTES) => {
                let mut packed = Walker::new(walker.bytes()?);
                while !packed.is_done() {
                    check_buckets(found.counts.len())?;
                    found.counts.push(packed.varint()?);
                }
            }
            (2, _) => return Err(walker.wrong_type(tag).into()),
            _ => walker.skip(tag)?,
        }
    }
    Ok(found)
}

/// A point of a summary.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary<'a> {
    pub(super) common: Common<'a>,
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Quantiles and values.
    pub(super) quantiles: Vec<(f64, f64)>,
}

impl<'a> Summary<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, OtlpError> {
        let mut point = Self::default();
        let mut walker = Walker::new(message);
        while !walker.is_done() {
            let tag = walker.tag()?;
            if point.common.field(&SUMMARY, &mut walker, tag)? {
                continue;
            }
            match (tag.field, tag.wire_type) {
                (4, _) => point.count = fixed64(&mut walker, tag)?,
                (5, _) => point.sum = double(&mut walker, tag)?,
                (6, wire::BYTES) => {
                    check_buckets(point.quantiles.len())?;
                    point.quantiles.push(quantile(walker.bytes()?)?);
                }
                (2..=8, _) => return Err(walker.wrong_type(tag).into()),
                _ => walker.skip(tag)?,
            }
        }
        Ok(point)
    }
}

fn quantile(message: &[u8]) -> Result<(f64, f64), OtlpError> {
    let mut found = (0.0, 0.0);
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match tag.field {
            1 => found.0 = double(&mut walker, tag)?,
            2 => found.1 = double(&mut walker, tag)?,
            _ => walker.skip(tag)?,
        }
    }
    Ok(found)
}
