//! Delta values added up to cumulative ones (feature `otlp-deltatocumulative`).
//!
//! For every stream of points the total so far is kept in memory. A point becomes the total up to it, with the
//! start of its stream. Left out without a word, as by Prometheus: a point that begins before its stream, or
//! that is not later than the last one. A stream that is silent for [`FORGET_AFTER`] begins anew, and so does
//! every one with a restart; both look like a counter reset. Source: OpenTelemetry Collector
//! `deltatocumulativeprocessor`, which Prometheus runs with its defaults.
//!
//! Different from it: a point without a value is handed on as such and added to nothing, exemplars are those of the
//! point, and memory is limited.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use super::any_value::Attribute;
use super::buckets::{Dense, merged};
use super::point::{Common, Explicit, Exponential, Number};

/// How long a stream is kept after its last point.
const FORGET_AFTER: Duration = Duration::from_mins(5);

/// How often streams are looked through for silent ones.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Most bytes of all streams: two million sums, or some hundred thousand histograms.
const MAX_BYTES: usize = 512 << 20;

/// What a stream takes beside its buckets, bytes.
const STREAM_BYTES: usize = 256;

/// Most buckets of one side of an exponential histogram after adding; beyond it neighbours merge.
const MAX_WIDTH: i64 = 160;

/// What tells streams apart, part by part; 128 bits, so that two never meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Identity(u128);

impl Identity {
    /// With one part more; their order counts.
    pub(super) fn and(self, part: &[u8]) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(part);
        Self(hasher.digest128())
    }

    /// With attributes in any order; values are alike when they are encoded alike.
    pub(super) fn and_attributes(self, attributes: &[Attribute<'_>]) -> Self {
        let mut sorted = attributes.to_vec();
        sorted.sort_unstable();
        let count = sorted.len().to_string();
        let all = sorted.iter();
        all.fold(self.and(count.as_bytes()), |identity, (name, value)| {
            identity.and(name.as_bytes()).and(value)
        })
    }
}

/// What is added up of a point.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Total {
    /// A sum of whole numbers.
    Whole(i64),
    /// A sum of any numbers.
    Float(f64),
    /// A histogram with bounds of its own.
    Explicit {
        count: u64,
        sum: Option<f64>,
        counts: Vec<u64>,
        bounds: Vec<f64>,
    },
    /// An exponential histogram.
    Exponential(Buckets),
}

/// An exponential histogram's content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buckets {
    count: u64,
    sum: Option<f64>,
    scale: i32,
    zero_count: u64,
    positive: Dense,
    negative: Dense,
}

/// A point that can be added up.
pub(super) trait Summable<'a> {
    fn common(&mut self) -> &mut Common<'a>;
    /// Its content, moved out.
    fn take(&mut self) -> Total;
    /// Another content of the same kind.
    fn put(&mut self, total: Total);
}

impl<'a> Summable<'a> for Number<'a> {
    fn common(&mut self) -> &mut Common<'a> {
        &mut self.common
    }

    fn take(&mut self) -> Total {
        self.whole.map_or(Total::Float(self.value), Total::Whole)
    }

    fn put(&mut self, total: Total) {
        match total {
            Total::Whole(value) => self.value = value as f64,
            Total::Float(value) => self.value = value,
            Total::Explicit { .. } | Total::Exponential(_) => {}
        }
    }
}

impl<'a> Summable<'a> for Explicit<'a> {
    fn common(&mut self) -> &mut Common<'a> {
        &mut self.common
    }

    fn take(&mut self) -> Total {
        Total::Explicit {
            count: self.count,
            sum: self.sum,
            counts: std::mem::take(&mut self.counts),
            bounds: std::mem::take(&mut self.bounds),
        }
    }

    fn put(&mut self, total: Total) {
        if let Total::Explicit {
            count,
            sum,
            counts,
            bounds,
        } = total
        {
            (self.count, self.sum) = (count, sum);
            (self.counts, self.bounds) = (counts, bounds);
        }
    }
}

impl<'a> Summable<'a> for Exponential<'a> {
    fn common(&mut self) -> &mut Common<'a> {
        &mut self.common
    }

    fn take(&mut self) -> Total {
        Total::Exponential(Buckets {
            count: self.count,
            sum: self.sum,
            scale: self.scale,
            zero_count: self.zero_count,
            positive: std::mem::take(&mut self.positive),
            negative: std::mem::take(&mut self.negative),
        })
    }

    fn put(&mut self, total: Total) {
        if let Total::Exponential(total) = total {
            (self.count, self.sum) = (total.count, total.sum);
            (self.scale, self.zero_count) = (total.scale, total.zero_count);
            (self.positive, self.negative) = (total.positive, total.negative);
        }
    }
}

/// What there is only when both have it.
fn both(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? + b?)
}

impl Total {
    /// Adds what came since; false when it cannot be added and has to begin anew.
    fn add(&mut self, delta: &Self) -> bool {
        match (self, delta) {
            (Self::Whole(total), Self::Whole(delta)) => *total = total.wrapping_add(*delta),
            (Self::Float(total), Self::Float(delta)) => *total += delta,
            (
                Self::Explicit {
                    count,
                    sum,
                    counts,
                    bounds,
                },
                Self::Explicit {
                    count: more,
                    sum: more_sum,
                    counts: more_counts,
                    bounds: same,
                },
            ) if bounds == same => {
                *count = count.wrapping_add(*more);
                *sum = both(*sum, *more_sum);
                for (total, delta) in counts.iter_mut().zip(more_counts) {
                    *total = total.wrapping_add(*delta);
                }
            }
            (Self::Exponential(total), Self::Exponential(delta)) => total.add(delta.clone()),
            _ => return false,
        }
        true
    }
}

impl Total {
    /// As it is kept: no wider than it may be after the next addition.
    fn kept(mut self) -> Self {
        if let Self::Exponential(buckets) = &mut self {
            let merge = |side| halvings(side, &Dense::default());
            buckets.coarsen(merge(&buckets.positive).max(merge(&buckets.negative)));
        }
        self
    }

    /// What a stream with it takes.
    fn bytes(&self) -> usize {
        let numbers = match self {
            Self::Whole(_) | Self::Float(_) => 0,
            Self::Explicit { counts, bounds, .. } => counts.len() + bounds.len(),
            Self::Exponential(b) => b.positive.counts.len() + b.negative.counts.len(),
        };
        STREAM_BYTES + numbers * size_of::<u64>()
    }
}

impl Buckets {
    fn add(&mut self, mut delta: Self) {
        let scale = self.scale.min(delta.scale);
        self.coarsen(self.scale.abs_diff(scale));
        delta.coarsen(delta.scale.abs_diff(scale));
        let positive = halvings(&self.positive, &delta.positive);
        let negative = halvings(&self.negative, &delta.negative);
        self.coarsen(positive.max(negative));
        delta.coarsen(positive.max(negative));
        self.positive = added(&self.positive, &delta.positive);
        self.negative = added(&self.negative, &delta.negative);
        self.count = self.count.wrapping_add(delta.count);
        self.zero_count = self.zero_count.wrapping_add(delta.zero_count);
        self.sum = both(self.sum, delta.sum);
    }

    /// Merges 2^`merge` neighbours each. They do so too where the scale has no room: the extent of a sum must
    /// be bounded, and such scales are refused later.
    fn coarsen(&mut self, merge: u32) {
        self.scale = self.scale.saturating_sub_unsigned(merge);
        if merge == 0 {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            let (counts, first) = merged(&side.counts, side.offset, merge);
            side.counts = counts;
            side.offset = first.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        }
    }
}

/// Indexes from the first to behind the last bucket of either that is not empty.
fn extent(a: &Dense, b: &Dense) -> Option<(i64, i64)> {
    let of = |side: &Dense| {
        let first = side.counts.iter().position(|count| *count != 0)?;
        let last = side.counts.iter().rposition(|count| *count != 0)?;
        let offset = i64::from(side.offset);
        Some((offset + first as i64, offset + last as i64 + 1))
    };
    match (of(a), of(b)) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}

/// How often neighbours have to merge for the sum to fit.
fn halvings(a: &Dense, b: &Dense) -> u32 {
    let (mut low, mut high) = extent(a, b).unwrap_or_default();
    let mut count = 0;
    while high - low > MAX_WIDTH {
        low /= 2;
        high /= 2;
        count += 1;
    }
    count
}

/// Both of the same scale, without empty ends. Their extent is bounded by [`halvings`].
fn added(a: &Dense, b: &Dense) -> Dense {
    let Some((low, high)) = extent(a, b) else {
        return Dense::default();
    };
    let at = |side: &Dense, index: i64| {
        let place = usize::try_from(index - i64::from(side.offset)).ok();
        place
            .and_then(|place| side.counts.get(place))
            .copied()
            .unwrap_or(0)
    };
    Dense {
        offset: low.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
        counts: (low..high)
            .map(|index| at(a, index).wrapping_add(at(b, index)))
            .collect(),
    }
}

/// One stream.
#[derive(Debug)]
struct Stream {
    start_ns: u64,
    time_ns: u64,
    seen: Instant,
    total: Total,
}

/// What a point became.
#[derive(Debug, PartialEq)]
pub(super) enum Summed {
    /// The total up to it.
    Total(Total),
    /// Nothing: it is too late, or begins before its stream.
    LeftOut,
    /// Nothing: its stream is new, and the others take as many bytes as they may.
    Full(usize),
}

/// The totals of all streams, shared by all requests.
#[derive(Debug)]
pub struct Sums {
    max_bytes: usize,
    streams: Mutex<Streams>,
}

#[derive(Debug)]
struct Streams {
    by_identity: HashMap<Identity, Stream>,
    /// What all of them take.
    bytes: usize,
    looked: Instant,
}

impl Default for Sums {
    fn default() -> Self {
        Self::new(MAX_BYTES)
    }
}

impl Sums {
    fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            streams: Mutex::new(Streams {
                by_identity: HashMap::new(),
                bytes: 0,
                looked: Instant::now(),
            }),
        }
    }

    /// Adds a point to its stream. It gets the start of the stream; its content is what is answered.
    pub(super) fn add(
        &self,
        identity: Identity,
        common: &mut Common<'_>,
        delta: Total,
        now: Instant,
    ) -> Summed {
        if common.stale {
            return Summed::Total(delta);
        }
        let mut streams = self.streams.lock();
        streams.forget(now);
        let Streams {
            by_identity, bytes, ..
        } = &mut *streams;
        let begun = |common: &Common<'_>, total: Total| Stream {
            start_ns: common.start_ns,
            time_ns: common.time_ns,
            seen: now,
            total: total.kept(),
        };
        let mut entry = match by_identity.entry(identity) {
            Entry::Vacant(entry) => {
                let stream = begun(common, delta.clone());
                let more = stream.total.bytes();
                if *bytes + more > self.max_bytes {
                    return Summed::Full(self.max_bytes);
                }
                *bytes += more;
                entry.insert(stream);
                return Summed::Total(delta);
            }
            Entry::Occupied(entry) => entry,
        };
        let stream = entry.get_mut();
        stream.seen = now;
        if common.start_ns < stream.start_ns || common.time_ns <= stream.time_ns {
            return Summed::LeftOut;
        }
        let before = stream.total.bytes();
        if !stream.total.add(&delta) {
            *stream = begun(common, delta);
        }
        *bytes = *bytes - before + stream.total.bytes();
        stream.time_ns = common.time_ns;
        common.start_ns = stream.start_ns;
        Summed::Total(stream.total.clone())
    }
}

impl Streams {
    fn forget(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        self.by_identity
            .retain(|_, stream| now.saturating_duration_since(stream.seen) <= FORGET_AFTER);
        self.bytes = self.by_identity.values().map(|s| s.total.bytes()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(start_ns: u64, time_ns: u64) -> Common<'static> {
        Common {
            start_ns,
            time_ns,
            ..Common::default()
        }
    }

    /// The total after a point, and where it starts; nothing when it is left out.
    fn add(sums: &Sums, times: (u64, u64), delta: Total, now: Instant) -> Option<(Total, u64)> {
        let mut common = common(times.0, times.1);
        match sums.add(Identity::default(), &mut common, delta, now) {
            Summed::Total(total) => Some((total, common.start_ns)),
            Summed::LeftOut => None,
            Summed::Full(_) => panic!("full"),
        }
    }

    #[test]
    fn numbers_add_up_in_order_from_the_first_start() {
        let (sums, now) = (Sums::default(), Instant::now());
        let whole = |n| Total::Whole(n);
        assert_eq!(add(&sums, (10, 20), whole(5), now), Some((whole(5), 10)));
        assert_eq!(add(&sums, (20, 30), whole(3), now), Some((whole(8), 10)));
        assert_eq!(add(&sums, (20, 30), whole(3), now), None, "sent again");
        assert_eq!(add(&sums, (10, 25), whole(3), now), None, "late");
        assert_eq!(
            add(&sums, (9, 40), whole(3), now),
            None,
            "of an older stream"
        );
        assert_eq!(add(&sums, (35, 40), whole(-1), now), Some((whole(7), 10)));
        // A stream of another identity has nothing to do with it.
        let other = Identity::default().and(b"other");
        let summed = sums.add(other, &mut common(0, 1), whole(1), now);
        assert_eq!(summed, Summed::Total(whole(1)));
        // A point without a value changes nothing.
        let mut stale = common(0, 1);
        stale.stale = true;
        let handed = sums.add(Identity::default(), &mut stale, whole(9), now);
        assert_eq!(handed, Summed::Total(whole(9)));
        assert_eq!(add(&sums, (40, 50), whole(1), now), Some((whole(8), 10)));
    }

    #[test]
    fn silent_streams_begin_anew() {
        let (sums, now) = (Sums::default(), Instant::now());
        let float = Total::Float;
        add(&sums, (1, 2), float(1.5), now);
        let soon = now + FORGET_AFTER;
        assert_eq!(add(&sums, (2, 3), float(1.0), soon), Some((float(2.5), 1)));
        let later = soon + FORGET_AFTER + LOOK_EVERY;
        assert_eq!(add(&sums, (3, 4), float(1.0), later), Some((float(1.0), 3)));
        // Another kind of number cannot be added.
        assert_eq!(
            add(&sums, (4, 5), Total::Whole(7), later),
            Some((Total::Whole(7), 4))
        );
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let (sums, now) = (Sums::new(16 << 10), Instant::now());
        let wide = || Total::Explicit {
            count: 0,
            sum: None,
            counts: vec![0; 128],
            bounds: vec![],
        };
        let add = |number: u32, now| {
            let identity = Identity::default().and(&number.to_le_bytes());
            sums.add(identity, &mut common(1, 2), wide(), now)
        };
        let full = (0..).find(|number| add(*number, now) == Summed::Full(16 << 10));
        assert_eq!(full, Some(12), "1,024 and 256 bytes each");
        assert_eq!(add(0, now), Summed::LeftOut, "known streams go on");
        let later = now + FORGET_AFTER + LOOK_EVERY;
        assert!(matches!(add(99, later), Summed::Total(_)));
    }

    #[test]
    fn histograms_add_up_while_their_bounds_agree() {
        let (sums, now) = (Sums::default(), Instant::now());
        let one = |counts: [u64; 3], sum: Option<f64>, bound: f64| Total::Explicit {
            count: counts.iter().sum(),
            sum,
            counts: counts.to_vec(),
            bounds: vec![1.0, bound],
        };
        add(&sums, (1, 2), one([1, 2, 3], Some(4.0), 2.0), now);
        let total = add(&sums, (1, 3), one([1, 0, 1], Some(0.5), 2.0), now);
        assert_eq!(total, Some((one([2, 2, 4], Some(4.5), 2.0), 1)));
        let total = add(&sums, (1, 4), one([1, 0, 0], None, 2.0), now);
        assert_eq!(total, Some((one([3, 2, 4], None, 2.0), 1)));
        let total = add(&sums, (5, 6), one([1, 0, 0], Some(1.0), 3.0), now);
        assert_eq!(total, Some((one([1, 0, 0], Some(1.0), 3.0), 5)));
    }

    fn buckets(scale: i32, offset: i32, counts: &[u64]) -> Buckets {
        Buckets {
            count: counts.iter().sum(),
            sum: Some(1.0),
            scale,
            zero_count: 1,
            positive: Dense {
                offset,
                counts: counts.to_vec(),
            },
            negative: Dense::default(),
        }
    }

    #[test]
    fn exponential_histograms_meet_at_the_coarser_scale() {
        let mut total = buckets(1, 0, &[1, 2, 3, 4]);
        total.add(buckets(0, -1, &[5, 0, 6, 0]));
        assert_eq!((total.scale, total.count, total.zero_count), (0, 21, 2));
        assert_eq!(total.sum, Some(2.0));
        let expected = Dense {
            offset: -1,
            counts: vec![5, 3, 13],
        };
        assert_eq!(total.positive, expected);
        // The wider the extent, the coarser; nothing is lost.
        for (far, scale) in [(159, 0), (160, -1), (i32::MAX, -24)] {
            let mut total = buckets(0, 0, &[1]);
            total.add(buckets(0, far, &[2]));
            assert_eq!(total.scale, scale, "{far}");
            assert_eq!(total.positive.counts.iter().sum::<u64>(), 3);
            assert!(total.positive.counts.len() <= 161);
        }
        for scales in [
            (i32::MAX, i32::MIN),
            (i32::MIN, i32::MAX),
            (i32::MIN, i32::MIN),
        ] {
            let mut total = buckets(scales.0, i32::MIN, &[1]);
            total.add(buckets(scales.1, i32::MAX, &[2]));
            assert_eq!(total.positive.counts.iter().sum::<u64>(), 3);
            assert!(total.positive.counts.len() <= 161, "{scales:?}");
        }
    }

    #[test]
    fn identities_know_order_where_it_counts() {
        let none = Identity::default();
        let (a, b): (Attribute<'_>, Attribute<'_>) = (("a", b"1"), ("b", b"2"));
        assert_eq!(none.and_attributes(&[a, b]), none.and_attributes(&[b, a]));
        assert_ne!(none.and_attributes(&[a]), none.and_attributes(&[a, b]));
        assert_ne!(none.and(b"a").and(b"b"), none.and(b"b").and(b"a"));
        assert_ne!(none.and(b"ab"), none.and(b"a").and(b"b"));
    }
}
