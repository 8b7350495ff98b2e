//! Random operations against a map: appends, late samples, duplicates, conflicts, flushes,
//! compactions, deletions, retention, clean reopen and crash.

use tenbin_model::write::{HistogramSample, RejectReason};
use tenbin_model::{MatchOp, Matcher, Sample, TimeRange};
use tenbin_storage::vfs::{CrashMode, SimVfs};

use crate::harness::*;

const SERIES: u64 = 12;
const RETENTION_MS: i64 = 3_000_000;

struct World {
    disk: SimVfs,
    db: std::sync::Arc<tenbin_storage::Db>,
    oracle: Contents,
    now_ms: i64,
    random: Random,
}

impl World {
    fn request(&mut self) -> Request {
        let mut request = Request::default();
        for _ in 0..=self.random.below(8) {
            let late_ms = match self.random.below(6) {
                0 => self.random.below(1_700_000) as i64,
                1 => self.random.below(4_000_000) as i64,
                2 => 15_000 * self.random.below(20) as i64,
                _ => 0,
            };
            let timestamp_ms = self.now_ms - late_ms;
            let number = self.random.below(SERIES) as usize;
            let start_timestamp_ms = match number % 4 {
                0 | 1 => self.random.start_ms(),
                _ => 0,
            };
            // Floats alone, histograms alone, or both.
            if self.random.below(4) >= number as u64 % 4 + u64::from(number % 4 == 3) {
                let value = self.random.value();
                request.0.push((
                    series(number),
                    vec![Sample {
                        timestamp_ms,
                        value,
                        start_timestamp_ms,
                    }],
                ));
            } else {
                let histogram = self.random.histogram();
                let sample = HistogramSample {
                    timestamp_ms,
                    start_timestamp_ms,
                    histogram,
                };
                request.push_histogram(series(number), sample);
            }
        }
        self.now_ms += [0, 1, 15_000, 15_000, 15_000, 60_000][self.random.below(6) as usize];
        request
    }

    fn append(&mut self) {
        let request = self.request();
        let connection = self.random.below(3);
        let (report, commit) = self.db.append(connection, &request).unwrap();
        let written = report.samples_written + report.histograms_written;
        let total = written + report.rejected_samples;
        let broken = |(_, reason): &(usize, RejectReason)| {
            matches!(reason, RejectReason::InvalidHistogram(_))
        };
        assert!(!report.rejections.iter().any(broken), "{report:?}");
        assert_eq!(
            total,
            request.0.len() as u64,
            "every sample is accounted for"
        );
        note(&mut self.oracle, &request, &report);
        if self.random.below(4) > 0 {
            commit.wait().unwrap();
            let (again, commit) = self.db.append(connection, &request).unwrap();
            commit.wait().unwrap();
            // Only what is in memory is known to be a duplicate; nothing may change either way.
            note(&mut self.oracle.clone(), &request, &again);
        } else {
            // The next acknowledged request is behind it in the log, so it is durable with it.
            let (_, commit) = self.db.append(connection, &Request::default()).unwrap();
            commit.wait().unwrap();
        }
    }

    /// Appends without waiting, then cuts the power: each request is there whole or not at all.
    fn crash(&mut self) {
        let mut open_requests = Vec::new();
        for _ in 0..self.random.below(4) {
            let request = self.request();
            let (report, _) = self.db.append(0, &request).unwrap();
            let mut stored = Contents::new();
            note(&mut stored, &request, &report);
            open_requests.push(stored);
        }
        let mode = [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random]
            [self.random.below(3) as usize];
        self.disk = self.disk.crash(mode, self.random.next());
        self.db = open(&self.disk, &retaining()).unwrap();
        let visible = everything(&self.db);
        for request in open_requests {
            let mut fresh = 0;
            let mut present = 0;
            for (labels, samples) in &request {
                for (at_ms, bits) in samples {
                    let known = self.oracle.get(labels).and_then(|s| s.get(at_ms));
                    if known.is_none() {
                        fresh += 1;
                        if visible.get(labels).and_then(|s| s.get(at_ms)) == Some(bits) {
                            present += 1;
                        }
                    }
                }
            }
            assert!(present == 0 || present == fresh, "{present} of {fresh}");
            if present > 0 {
                for (labels, samples) in request {
                    let series = self.oracle.entry(labels).or_default();
                    for (at_ms, bits) in samples {
                        series.entry(at_ms).or_insert(bits);
                    }
                }
            }
        }
        assert_eq!(self.db.stats().corruptions, [], "a crash is no corruption");
    }

    /// Deletes some series' samples inside a range, or all of them.
    fn delete(&mut self) {
        let number = self.random.below(SERIES) as usize;
        let name = &series(number)[0].1;
        let instance = &series(number)[1].1;
        let matchers = match self.random.below(4) {
            0 => any(),
            1 => vec![Matcher::new(MatchOp::Equal, "__name__", name).unwrap()],
            _ => vec![
                Matcher::new(MatchOp::Equal, "__name__", name).unwrap(),
                Matcher::new(MatchOp::Equal, "instance", instance).unwrap(),
            ],
        };
        let from = self.now_ms - self.random.below(5_000_000) as i64;
        let range = match self.random.below(10) {
            0 => TimeRange::ALL,
            1 => TimeRange::new(i64::MIN, from),
            2..5 => TimeRange::new(from, i64::MAX),
            _ => TimeRange::new(from, from + self.random.below(1_000_000) as i64),
        };
        let hit = contents(&self.db, &matchers, range).unwrap();
        let selections = [matchers];
        self.db.delete_series(&selections, range).unwrap();
        for labels in hit.keys() {
            let samples = self.oracle.get_mut(labels).unwrap();
            samples.retain(|at_ms, _| !range.contains(*at_ms));
        }
        self.oracle.retain(|_, samples| !samples.is_empty());
        assert_same(
            &contents(&self.db, &selections[0], range).unwrap(),
            &Contents::new(),
        );
    }

    fn retention(&mut self) {
        self.db.enforce_retention().unwrap();
        let newest = self.oracle.values().flat_map(|s| s.keys()).max().copied();
        let horizon = newest.unwrap_or(0) - RETENTION_MS;
        let visible = everything(&self.db);
        // Older samples may be gone, block by block; what is gone stays gone.
        for (labels, samples) in &mut self.oracle {
            samples.retain(|at_ms, bits| {
                if *at_ms >= horizon {
                    return true;
                }
                // With the block of the first stored value gone, a later conflicting one shows.
                let left = visible.get(labels).and_then(|s| s.get(at_ms));
                *bits = left.copied().unwrap_or(*bits);
                left.is_some()
            });
        }
        self.oracle.retain(|_, samples| !samples.is_empty());
    }

    fn check(&mut self) {
        assert_same(&everything(&self.db), &self.oracle);
        let a = self.now_ms - self.random.below(5_000_000) as i64;
        let b = a + self.random.below(2_000_000) as i64;
        let mut clipped = self.oracle.clone();
        for samples in clipped.values_mut() {
            samples.retain(|at_ms, _| a <= *at_ms && *at_ms <= b);
        }
        clipped.retain(|_, samples| !samples.is_empty());
        let found = contents(&self.db, &any(), TimeRange::new(a, b)).unwrap();
        assert_same(&found, &clipped);
    }
}

fn retaining() -> tenbin_storage::Options {
    tenbin_storage::Options {
        retention_ms: RETENTION_MS,
        ..options()
    }
}

fn run(seed: u64, steps: usize) {
    let disk = SimVfs::new();
    let mut world = World {
        db: open(&disk, &retaining()).unwrap(),
        disk,
        oracle: Contents::new(),
        now_ms: START_MS,
        random: Random(seed),
    };
    for _ in 0..steps {
        match world.random.below(100) {
            0..80 => world.append(),
            80..86 => {
                world.db.flush().unwrap();
            }
            86..88 => world.retention(),
            88..90 => {
                if world.random.below(3) == 0 {
                    world.db.clean_tombstones().unwrap();
                    assert_eq!(world.db.stats().tombstones, 0);
                } else {
                    world.db.compact().unwrap();
                }
            }
            90..94 => {
                world.db.close().unwrap();
                world.db = open(&world.disk, &retaining()).unwrap();
            }
            94..97 => world.crash(),
            97..99 => world.delete(),
            _ => world.now_ms += 1_900_000,
        }
        if world.random.below(8) == 0 {
            world.check();
        }
    }
    world.check();
    assert_eq!(world.db.verify(), []);
}

#[test]
fn random_operations_agree_with_a_map() {
    let seeds = std::env::var("TENBIN_MODEL_SEEDS").map_or(24, |s| s.parse().unwrap());
    for seed in 0..seeds {
        println!("seed {seed}");
        run(seed, 150);
    }
}
