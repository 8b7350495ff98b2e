//! What the queries are about: counters, gauges and classic histograms of a few series with many
//! samples (`small_*`, every 15 s; `quick` every minute) and of many series (`big_*`, every minute), over 25 hours.
//!
//! Requests follow each other in time, fifteen minutes at once, as all systems take them.

use tenbin_compat_tests::sender::{TimeSeries, series};

use crate::generate::Random;

/// Milliseconds that the data covers.
pub(super) const SPAN_MS: i64 = 25 * 3_600_000;
/// Milliseconds of one request.
const WINDOW_MS: i64 = 15 * 60_000;
/// Series of one request.
const SERIES_AT_ONCE: usize = 1000;
/// Series of each small metric.
const SMALL: usize = 100;
/// Upper bounds of histograms.
const BOUNDS: [&str; 10] = [
    "0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10", "+Inf",
];

/// How a value goes on.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    /// The bucket with this number.
    Bucket(usize),
}

struct Source {
    labels: Vec<(&'static str, String)>,
    kind: Kind,
    interval_ms: i64,
    phase_ms: i64,
    value: f64,
}

/// All series, at the point that was reached.
pub(super) struct Data {
    sources: Vec<Source>,
    random: Random,
    /// Samples handed out.
    pub(super) samples: u64,
}

impl Data {
    /// The series, `big` of each big metric.
    pub(super) fn new(big: usize, small_interval_ms: i64) -> Self {
        let mut data = Self {
            sources: Vec::new(),
            random: Random::new(11),
            samples: 0,
        };
        for (prefix, count, interval_ms) in
            [("small", SMALL, small_interval_ms), ("big", big, 60_000)]
        {
            for (name, kind) in [
                ("requests_total", Kind::Counter),
                ("errors_total", Kind::Counter),
                ("temperature", Kind::Gauge),
            ] {
                for at in 0..count {
                    data.push(format!("{prefix}_{name}"), at, kind, interval_ms);
                }
            }
            for at in 0..count / BOUNDS.len() {
                for bucket in 0..BOUNDS.len() {
                    let name = format!("{prefix}_seconds_bucket");
                    data.push(name, at, Kind::Bucket(bucket), interval_ms);
                }
            }
        }
        data
    }

    fn push(&mut self, name: String, at: usize, kind: Kind, interval_ms: i64) {
        let mut labels = vec![
            ("__name__", name),
            ("instance", format!("host-{at}.example.org:9100")),
            ("job", ["api", "web", "db"][at % 3].to_owned()),
        ];
        if let Kind::Bucket(bucket) = kind {
            labels.push(("le", BOUNDS[bucket].to_owned()));
        }
        labels.push(("zone", format!("zone-{}", at % 10)));
        self.sources.push(Source {
            labels,
            kind,
            interval_ms,
            phase_ms: self.random.below(interval_ms as u64) as i64,
            value: 0.0,
        });
    }

    /// The requests that bring all series from `start_ms` on by one window.
    pub(super) fn window(&mut self, start_ms: i64) -> Vec<Vec<TimeSeries>> {
        let mut requests = Vec::new();
        for sources in self.sources.chunks_mut(SERIES_AT_ONCE) {
            let mut request = Vec::with_capacity(sources.len());
            for source in sources {
                let mut samples = Vec::new();
                let mut at_ms = start_ms + source.phase_ms;
                while at_ms < start_ms + WINDOW_MS {
                    source.advance(&mut self.random);
                    samples.push((at_ms, source.value));
                    at_ms += source.interval_ms;
                }
                self.samples += samples.len() as u64;
                let labels: Vec<(&str, &str)> = source
                    .labels
                    .iter()
                    .map(|(n, v)| (*n, v.as_str()))
                    .collect();
                request.push(series(&labels, &samples));
            }
            requests.push(request);
        }
        requests
    }

    /// Starts of all windows before `end_ms`.
    pub(super) fn starts(end_ms: i64) -> impl Iterator<Item = i64> {
        (0..SPAN_MS / WINDOW_MS).map(move |at| end_ms - SPAN_MS + at * WINDOW_MS)
    }
}

impl Source {
    fn advance(&mut self, random: &mut Random) {
        match self.kind {
            Kind::Counter if random.chance(0.0005) => self.value = 0.0,
            Kind::Counter => self.value += random.below(200) as f64,
            Kind::Gauge => {
                let step = (random.below(2001) as f64 - 1000.0) / 100.0;
                self.value = ((self.value + step) * 100.0).round() / 100.0;
            }
            // Buckets are cumulative: on average the higher ones grow by more.
            Kind::Bucket(bucket) => {
                self.value += (10 * bucket as u64 + random.below(10)) as f64;
            }
        }
    }
}
