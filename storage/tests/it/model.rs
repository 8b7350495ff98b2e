//! Random operations against a map: appends, late samples, duplicates, conflicts, flushes,
//! compactions, deletions, retention, clean reopen, and crash, also while recovering from one.
//!
//! Most seeds switch some kinds of operations and samples off and weigh the others anew, so that
//! unusual mixtures come up. `TENBIN_MODEL_SEEDS` (how many), `TENBIN_MODEL_FIRST`,
//! `TENBIN_MODEL_STEPS` and `TENBIN_MODEL_THREADS` make the run longer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tenbin_model::write::{HistogramSample, RejectReason};
use tenbin_model::{MatchOp, Matcher, Queryable, Sample, TimeRange};
use tenbin_storage::vfs::{CrashMode, SimFault, SimVfs};

use crate::harness::*;

const SERIES: u64 = 12;
const RETENTION_MS: i64 = 3_000_000;

/// What a step does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Append,
    Flush,
    Retention,
    Compact,
    Clean,
    Reopen,
    Crash,
    CrashInRecovery,
    Delete,
    Jump,
}

const KINDS: [(Kind, u64); 10] = [
    (Kind::Append, 80),
    (Kind::Flush, 6),
    (Kind::Retention, 2),
    (Kind::Compact, 2),
    (Kind::Clean, 1),
    (Kind::Reopen, 4),
    (Kind::Crash, 2),
    (Kind::CrashInRecovery, 1),
    (Kind::Delete, 2),
    (Kind::Jump, 1),
];

/// Most crashes while recovering from a crash.
const MAX_CRASH_DEPTH: u64 = 3;

/// What one run does, and how often.
struct Plan {
    weights: [u64; KINDS.len()],
    late: bool,
    floats: bool,
    histograms: bool,
    /// Whether answers are compared after every step.
    checks_always: bool,
}

impl Plan {
    /// A quarter of the runs does everything, a quarter crashes most of the time; all others do a
    /// random part of it.
    fn new(random: &mut Random) -> Self {
        let mut weights = KINDS.map(|(_, weight)| weight);
        let form = random.below(4);
        if form > 0 {
            for weight in &mut weights[1..] {
                *weight = [0, 0, 1, 5, 20][random.below(5) as usize];
            }
            weights[0] = 20 + random.below(40);
        }
        if form == 1 {
            weights[Kind::Crash as usize] = 30;
            weights[Kind::CrashInRecovery as usize] = 30;
        }
        let floats = form == 0 || random.below(4) > 0;
        Self {
            weights,
            late: form == 0 || random.below(3) > 0,
            floats,
            histograms: form == 0 || !floats || random.below(2) > 0,
            checks_always: random.below(4) == 0,
        }
    }

    fn kind(&self, random: &mut Random) -> Kind {
        let mut left = random.below(self.weights.iter().sum());
        for ((kind, _), weight) in KINDS.iter().zip(self.weights) {
            if left < weight {
                return *kind;
            }
            left -= weight;
        }
        Kind::Append
    }
}

struct World {
    plan: Plan,
    disk: SimVfs,
    db: std::sync::Arc<tenbin_storage::Db>,
    oracle: Contents,
    /// Newest sample before the last deletion: retention counts from it still.
    newest_deleted_ms: i64,
    now_ms: i64,
    random: Random,
    /// Versions of the open database and what was in it then.
    versions: Vec<(u64, Contents)>,
}

impl World {
    fn request(&mut self) -> Request {
        let mut request = Request::default();
        for _ in 0..=self.random.below(8) {
            let late_ms = match self.random.below(6) {
                _ if !self.plan.late => 0,
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
            let as_float = self.random.below(4) >= number as u64 % 4 + u64::from(number % 4 == 3);
            if self.plan.floats && (as_float || !self.plan.histograms) {
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
    ///
    /// With `in_recovery` the power goes again, up to three times, after some of the writes of the start.
    fn crash(&mut self, in_recovery: bool) {
        let mut open_requests = Vec::new();
        for _ in 0..self.random.below(4) {
            let request = self.request();
            let (report, _) = self.db.append(0, &request).unwrap();
            let mut stored = Contents::new();
            note(&mut stored, &request, &report);
            open_requests.push(stored);
        }
        self.cut_power();
        if in_recovery {
            for _ in 0..=self.random.below(MAX_CRASH_DEPTH) {
                let last = self.disk.write_count() + self.random.below(12);
                self.disk.set_fault(Some(SimFault::EioFrom(last)));
                drop(open(&self.disk, &retaining()));
                self.cut_power();
            }
        }
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

    fn cut_power(&mut self) {
        let mode = [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random]
            [self.random.below(3) as usize];
        self.disk = self.disk.crash(mode, self.random.next());
    }

    fn newest_ms(&self) -> i64 {
        let newest = self.oracle.values().flat_map(|s| s.keys()).max();
        newest.copied().unwrap_or(0).max(self.newest_deleted_ms)
    }

    /// Deletes some series' samples inside a range, or all of them.
    fn delete(&mut self) {
        self.newest_deleted_ms = self.newest_ms();
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
        let horizon = self.newest_ms() - RETENTION_MS;
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

    /// What an earlier version tells to be unchanged is unchanged, to the bit.
    fn check_versions(&mut self) {
        let querier = self.db.querier(TimeRange::ALL).unwrap();
        let now = everything(&self.db);
        let before = |contents: &Contents, end_ms: i64| {
            let mut contents = contents.clone();
            for samples in contents.values_mut() {
                samples.retain(|at_ms, _| *at_ms < end_ms);
            }
            contents.retain(|_, samples| !samples.is_empty());
            contents
        };
        for (version, then) in &self.versions {
            let end_ms = querier.unchanged_before(*version);
            assert!(self.db.unchanged_before(*version) <= end_ms);
            assert_same(&before(&now, end_ms), &before(then, end_ms));
        }
        self.versions.push((querier.version().unwrap(), now));
        if self.versions.len() > 8 {
            // Old ones and new ones stay; the random choices are those of the operations alone.
            let at = self.versions.len() / 2;
            self.versions.remove(at);
        }
    }

    fn step(&mut self, kind: Kind) {
        if matches!(kind, Kind::Reopen | Kind::Crash | Kind::CrashInRecovery) {
            self.versions.clear();
        }
        match kind {
            Kind::Append => self.append(),
            Kind::Flush => {
                self.db.flush().unwrap();
            }
            Kind::Retention => self.retention(),
            Kind::Clean => {
                self.db.clean_tombstones().unwrap();
                assert_eq!(self.db.stats().tombstones, 0);
            }
            Kind::Compact => {
                self.db.compact().unwrap();
            }
            Kind::Reopen => {
                self.db.close().unwrap();
                self.db = open(&self.disk, &retaining()).unwrap();
            }
            Kind::Crash => self.crash(false),
            Kind::CrashInRecovery => self.crash(true),
            Kind::Delete => self.delete(),
            Kind::Jump => self.now_ms += 1_900_000,
        }
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

/// Runs until `steps` are done or the choices are used up; counts the steps of each kind.
pub(crate) fn run(mut random: Random, steps: usize, counts: &mut [u64; KINDS.len()]) {
    let disk = SimVfs::new();
    let plan = Plan::new(&mut random);
    let mut world = World {
        plan,
        db: open(&disk, &retaining()).unwrap(),
        disk,
        oracle: Contents::new(),
        newest_deleted_ms: 0,
        now_ms: START_MS,
        random,
        versions: Vec::new(),
    };
    for _ in 0..steps {
        if world.random.is_used_up() {
            break;
        }
        let kind = world.plan.kind(&mut world.random);
        counts[kind as usize] += 1;
        world.step(kind);
        if world.plan.checks_always || world.random.below(8) == 0 {
            world.check();
            world.check_versions();
        }
    }
    world.check();
    world.check_versions();
    assert_eq!(world.db.verify(), []);
}

/// As [`run`], with choices from bytes: the fuzz target `db_ops`.
pub(crate) fn run_bytes(data: &[u8]) {
    run(Random::of_bytes(data), 60, &mut [0; KINDS.len()]);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_operations_agree_with_a_map() {
    let first = setting("TENBIN_MODEL_FIRST", 0);
    let seeds = setting("TENBIN_MODEL_SEEDS", 40);
    let steps = setting("TENBIN_MODEL_STEPS", 60);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = setting("TENBIN_MODEL_THREADS", cores as u64);
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let totals = Mutex::new([0; KINDS.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut counts = [0; KINDS.len()];
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let one = || run(Random::new(seed), steps as usize, &mut counts);
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(one)).is_err() {
                        failed.store(true, Ordering::Relaxed);
                        println!(
                            "failed: TENBIN_MODEL_FIRST={seed} TENBIN_MODEL_SEEDS=1 \
                             TENBIN_MODEL_STEPS={steps}"
                        );
                    }
                }
                let mut totals = totals.lock().unwrap();
                totals.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed), "a seed fails, see above");
    let totals = totals.into_inner().unwrap();
    let counts: Vec<(Kind, u64)> = KINDS.iter().map(|k| k.0).zip(totals).collect();
    println!("steps: {counts:?}");
    assert!(
        seeds < 40 || totals.iter().all(|count| *count > 0),
        "every kind of step comes up: {counts:?}"
    );
}

/// Replays the committed inputs of the fuzz target `db_ops`; seeds are written as for the other targets.
#[test]
fn committed_choices_agree_with_a_map() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let corpus = fuzz.join("corpus/db_ops");
    if std::env::var_os("TENBIN_FUZZ_SEEDS").is_some() {
        std::fs::create_dir_all(&corpus).unwrap();
        for seed in 0..8 {
            let mut random = Random::new(seed);
            let choices: Vec<u8> = (0..300).map(|_| random.next() as u8).collect();
            std::fs::write(corpus.join(format!("seed-{seed}")), choices).unwrap();
        }
    }
    let mut count = 0;
    for dir in [corpus, fuzz.join("regressions/db_ops")] {
        for file in std::fs::read_dir(dir).into_iter().flatten() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            run_bytes(&std::fs::read(path).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "no seeds");
}

/// A leftover of a crash in the middle of a start took the manifest's place after the next crash.
#[test]
fn seeds_that_once_failed() {
    for seed in [100_560, 110_614, 122_343, 131_548, 241_456] {
        run(Random::new(seed), 20, &mut [0; KINDS.len()]);
    }
}
