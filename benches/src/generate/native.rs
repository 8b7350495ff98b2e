//! Native histograms as the Go client library keeps them: request durations of applications, schema
//! 3, about forty populated buckets, integer counts that only grow, a few new buckets over time.
//!
//! Each stream has series of its own; the same settings give the same bytes.

use tenbin_compat_tests::histograms::{Shape, histogram};
use tenbin_compat_tests::sender::{TimeSeries, body, series};

use super::Random;

/// Buckets that may be populated.
const BUCKETS: usize = 44;
/// Index of the first of them at schema 3: about a millisecond.
const FIRST: i32 = -80;
/// Series that one pod exposes.
const SERIES_PER_POD: usize = 5;

/// One series.
struct Source {
    labels: Vec<(&'static str, String)>,
    counts: Vec<i64>,
    zero: u64,
    per_scrape: u64,
    phase_ms: i64,
}

/// All native histograms of one stream.
pub(crate) struct NativeFleet {
    sources: Vec<Source>,
    random: Random,
}

impl NativeFleet {
    pub(crate) fn new(count: usize, stream: usize, seed: u64) -> Self {
        let mut random = Random::new(seed ^ (stream as u64 + 7) << 32);
        let sources = (0..count).map(|at| {
            let pod = at / SERIES_PER_POD;
            let labels = vec![
                ("__name__", "http_request_duration_seconds".to_owned()),
                ("cluster", "prod-eu-west-1".to_owned()),
                (
                    "handler",
                    format!("/api/v1/resource-{}", at % SERIES_PER_POD),
                ),
                ("instance", format!("10.128.{stream}.{pod}:8080")),
                ("job", ["checkout", "cart", "search"][pod % 3].to_owned()),
                ("pod", format!("pod-{}", random.hex(10))),
            ];
            Source {
                labels,
                counts: vec![0; BUCKETS],
                zero: 0,
                per_scrape: [0, 3, 20, 150][random.below(4) as usize],
                phase_ms: random.below(15_000) as i64,
            }
        });
        let sources = sources.collect();
        Self { sources, random }
    }

    /// One scrape of all series as bodies of `at_once` histograms; `give` gets the histograms'
    /// number and the body.
    pub(crate) fn scrape(
        &mut self,
        base_ms: i64,
        at_once: usize,
        mut give: impl FnMut(usize, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        for sources in self.sources.chunks_mut(at_once) {
            let mut request = Vec::with_capacity(sources.len());
            for source in sources {
                request.push(source.next(base_ms, &mut self.random));
            }
            give(request.len(), &body(request))?;
        }
        Ok(())
    }
}

impl Source {
    fn next(&mut self, base_ms: i64, random: &mut Random) -> TimeSeries {
        let observed = if self.per_scrape == 0 {
            0
        } else {
            random.below(2 * self.per_scrape)
        };
        for _ in 0..observed {
            // the sum of four even numbers is near enough to a bell around the middle bucket
            let at: u64 = (0..4).map(|_| random.below(BUCKETS as u64 / 4)).sum();
            match self.counts.get_mut(at as usize) {
                Some(count) => *count += 1,
                None => self.zero += 1,
            }
        }
        let jitter_ms = if random.chance(0.09) {
            random.below(5) as i64
        } else {
            0
        };
        let shape = Shape {
            schema: 3,
            first: FIRST,
            positive: &self.counts,
            negative: &[],
            zero: self.zero,
            float: false,
            gauge: false,
            bounds: &[],
        };
        let labels: Vec<(&str, &str)> = self.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut entry = series(&labels, &[]);
        entry.histograms = vec![histogram(base_ms + self.phase_ms + jitter_ms, &shape)];
        entry
    }
}
