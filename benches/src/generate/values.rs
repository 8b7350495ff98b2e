//! How the values of one series move from scrape to scrape.
//!
//! The kinds follow what exporters expose: counters of events, bytes and seconds, gauges in whole
//! pages, gauges with two decimals, durations in nanoseconds, floats with every digit, constants,
//! and the parts of classic histograms, which draw from one number of observations per scrape. A
//! share of counters is idle, as on real hosts, where most samples repeat the one before.

use super::random::Random;

/// Share of counters (and of whole histograms) that never move.
const IDLE_SHARE: f64 = 0.4;

/// Additions to a histogram's sum per scrape at most.
const SUM_ADDITIONS: f64 = 8.0;

/// The nearest duration in whole nanoseconds, in seconds.
fn nanoseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}

/// What a series measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Always this.
    Constant(f64),
    /// A whole number drawn once, below this bound: sizes, limits, start times.
    Drawn(f64),
    /// 0 or 1, changing about once in a thousand scrapes.
    Flag,
    /// A counter of seconds with two decimals (CPU time), growing this much per second.
    Seconds(f64),
    /// A counter of seconds with all digits (CPU time in nanoseconds, as cAdvisor gives it).
    FineSeconds(f64),
    /// A counter of events per second.
    Events(f64),
    /// A counter of bytes per second, moving in packets.
    Bytes(f64),
    /// A gauge of memory in pages of 4,096 bytes around this many bytes.
    Pages(f64),
    /// A gauge with two decimals around this (load, temperature).
    Decimal(f64),
    /// A gauge with all digits around this (ages, ratios).
    Fraction(f64),
    /// A gauge of seconds in nanoseconds around this: what Go's `Duration.Seconds` gives, and all
    /// durations of the recorded stream.
    Duration(f64),
    /// A small whole number that wanders around this (threads, sockets).
    Level(f64),
    /// A bucket of a classic histogram: its share of the observations that higher buckets have not
    /// taken; the first bucket also draws how many there are. The `+Inf` bucket has the share 1.
    Bucket {
        share: f64,
        first: bool,
        per_second: f64,
    },
    /// The histogram's count.
    HistogramCount,
    /// The histogram's sum of durations in nanoseconds, with the rounding errors of their addition;
    /// the mean of an observation.
    HistogramSum(f64),
}

impl Kind {
    fn is_counter(self) -> bool {
        matches!(
            self,
            Self::Seconds(_)
                | Self::FineSeconds(_)
                | Self::Events(_)
                | Self::Bytes(_)
                | Self::Bucket { .. }
        )
    }

    /// Whether a restart of the target begins this series again at zero.
    fn resets(self) -> bool {
        self.is_counter() || matches!(self, Self::HistogramCount | Self::HistogramSum(_))
    }
}

/// One series' present value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    value: f64,
    idle: bool,
}

/// What the series of one target share within one scrape.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scrape {
    /// Seconds since the scrape before.
    elapsed_s: f64,
    /// How busy the target is; 1 = usual.
    activity: f64,
    /// Observations of the present histogram that no bucket has taken.
    remaining: f64,
    /// Observations that the buckets so far have taken.
    taken: f64,
}

impl Scrape {
    pub(crate) fn new(elapsed_s: f64, activity: f64) -> Self {
        Self {
            elapsed_s,
            activity,
            ..Self::default()
        }
    }

    /// A bucket takes its share of what is left; gives what all buckets so far have taken.
    fn take(&mut self, share: f64, random: &mut Random) -> f64 {
        let mine = if share >= 1.0 {
            self.remaining
        } else {
            random.events(self.remaining * share).min(self.remaining)
        };
        self.remaining -= mine;
        self.taken += mine;
        self.taken
    }
}

impl State {
    /// The state at the first scrape. A target that has just begun starts its counters at zero.
    pub(crate) fn new(kind: Kind, begins: bool, random: &mut Random) -> Self {
        let age_s = if begins { 0.0 } else { 3e5 * random.unit() };
        let value = match kind {
            Kind::Constant(value) => value,
            Kind::Drawn(bound) => (bound * random.unit()).floor(),
            Kind::Flag => f64::from(random.chance(0.5)),
            Kind::Seconds(rate) => (rate * age_s * 100.0).floor(),
            Kind::FineSeconds(rate) => (rate * age_s * 1e9).floor(),
            Kind::Events(rate) | Kind::Bytes(rate) => (rate * age_s).floor(),
            Kind::Pages(mean) => (mean / 4096.0 * (0.5 + random.unit())).floor(),
            Kind::Decimal(mean) => (mean * 100.0 * (0.5 + random.unit())).floor(),
            Kind::Fraction(mean) | Kind::Duration(mean) => mean,
            Kind::Level(mean) => (mean * (0.5 + random.unit())).floor(),
            Kind::Bucket { .. } | Kind::HistogramCount | Kind::HistogramSum(_) => 0.0,
        };
        Self {
            value,
            idle: kind.is_counter() && random.chance(IDLE_SHARE),
        }
    }

    /// The counters begin again, as when the target's process was started anew.
    pub(crate) fn reset(&mut self, kind: Kind) {
        if kind.resets() {
            self.value = 0.0;
        }
    }

    /// A counter grows by a whole number with this mean, unless it is idle.
    fn grow(&mut self, random: &mut Random, mean: f64) -> f64 {
        if !self.idle {
            self.value += random.events(mean);
        }
        self.value
    }

    /// Moves to the next scrape and gives the value. Series of one histogram follow each other in
    /// the order buckets, sum, count.
    pub(crate) fn step(&mut self, kind: Kind, scrape: &mut Scrape, random: &mut Random) -> f64 {
        let amount = scrape.elapsed_s * scrape.activity;
        match kind {
            Kind::Constant(_) | Kind::Drawn(_) => self.value,
            Kind::Flag => {
                if random.chance(0.001) {
                    self.value = 1.0 - self.value;
                }
                self.value
            }
            Kind::Seconds(rate) => self.grow(random, 100.0 * rate * amount) / 100.0,
            Kind::FineSeconds(rate) => self.grow(random, 1e9 * rate * amount) / 1e9,
            Kind::Events(rate) => self.grow(random, rate * amount),
            Kind::Bytes(rate) => {
                if !self.idle {
                    let packets = random.events(rate * amount / 600.0);
                    self.value += packets * (40.0 + random.below(1460) as f64);
                }
                self.value
            }
            Kind::Pages(mean) => {
                if random.chance(0.7) {
                    let spread = (mean / 4096.0 / 200.0).max(4.0);
                    let moved = self.value + ((random.unit() - 0.5) * spread).round();
                    self.value = moved.max(0.0);
                }
                self.value * 4096.0
            }
            Kind::Decimal(mean) => {
                let moved = self.value + ((random.unit() - 0.5) * mean * 20.0).round();
                self.value = moved.clamp(0.0, mean * 400.0);
                self.value / 100.0
            }
            Kind::Fraction(mean) => mean * (0.7 + 0.6 * random.unit() * random.unit()),
            Kind::Duration(mean) => nanoseconds(mean * (0.7 + 0.6 * random.unit() * random.unit())),
            Kind::Level(mean) => {
                if random.chance(0.4) {
                    let step = (mean / 20.0).max(1.0);
                    let moved = self.value + ((random.unit() - 0.5) * 2.0 * step).round();
                    self.value = moved.clamp(0.0, mean * 3.0);
                }
                self.value
            }
            Kind::Bucket {
                share,
                first,
                per_second,
            } => {
                if first {
                    scrape.taken = 0.0;
                    let rate = if self.idle { 0.0 } else { per_second };
                    scrape.remaining = random.events(rate * amount);
                }
                self.value += scrape.take(share, random);
                self.value
            }
            Kind::HistogramCount => {
                self.value += scrape.taken;
                self.value
            }
            Kind::HistogramSum(mean) => {
                // Some of the additions that the observations of a scrape are.
                let additions = scrape.taken.min(SUM_ADDITIONS);
                for _ in 0..additions as u32 {
                    let share = scrape.taken / additions * mean;
                    self.value += nanoseconds(share * (0.5 + random.unit()));
                }
                self.value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_to_the_count() {
        let kinds = [
            Kind::Bucket {
                share: 0.5,
                first: true,
                per_second: 3.0,
            },
            Kind::Bucket {
                share: 1.0,
                first: false,
                per_second: 3.0,
            },
            Kind::HistogramSum(0.1),
            Kind::HistogramCount,
        ];
        let mut random = Random::new(1);
        let mut states = kinds.map(|_| State {
            value: 0.0,
            idle: false,
        });
        for _ in 0..50 {
            let mut scrape = Scrape::new(15.0, 1.0);
            let values: Vec<f64> = states
                .iter_mut()
                .zip(kinds)
                .map(|(s, kind)| s.step(kind, &mut scrape, &mut random))
                .collect();
            assert!(values[0] <= values[1] && values[1] == values[3] && values[3] > 0.0);
            assert!(values[2] > 0.0);
        }
    }

    #[test]
    fn counters_only_grow_until_they_reset() {
        let mut random = Random::new(2);
        for kind in [Kind::Seconds(0.3), Kind::Events(2.5), Kind::Bytes(1e4)] {
            let mut state = State::new(kind, false, &mut random);
            let mut scrape = Scrape::new(15.0, 1.0);
            let mut last = 0.0;
            for _ in 0..100 {
                let value = state.step(kind, &mut scrape, &mut random);
                assert!(value >= last);
                last = value;
            }
            state.reset(kind);
            assert!(state.step(kind, &mut scrape, &mut random) < last || state.idle);
        }
    }
}
