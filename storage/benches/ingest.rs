//! In-process ingest, flush, query and replay of a synthetic load: what each sample costs.
//!
//! `cargo bench -p tenbin-storage --bench ingest -- [targets] [scrapes] [append]` (the last: nothing else); a target has 500 series
//! scraped every 15 s, one scrape in eleven with jitter. Value mix as on a node_exporter: most series
//! constant, then integer counters, decimal gauges and float counters.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::sync::Arc;
use std::time::Instant;

use tenbin_model::write::{InvalidLabels, WriteRequest};
use tenbin_model::{Matcher, Queryable, Sample, SampleBuffer, SelectHints, TimeRange};
use tenbin_storage::{Db, Options};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const SERIES_PER_TARGET: usize = 500;
const START_MS: i64 = 1_700_000_000_000;

/// One scrape of a target.
struct Scrape {
    labels: Vec<Vec<(String, String)>>,
    /// The encoded labels of all series and where each begins, as in a request's body.
    encoded: Vec<u8>,
    starts: Vec<usize>,
    samples: Vec<Sample>,
}

impl WriteRequest for Scrape {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn identity_hash(&self, entry: usize, seed: u64) -> u64 {
        xxh3_64_with_seed(
            &self.encoded[self.starts[entry]..self.starts[entry + 1]],
            seed,
        )
    }

    fn labels<'r>(
        &'r self,
        entry: usize,
        out: &mut Vec<(&'r str, &'r str)>,
    ) -> Result<(), InvalidLabels> {
        out.clear();
        out.extend(
            self.labels[entry]
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str())),
        );
        Ok(())
    }

    fn samples(&self, entry: usize) -> &[Sample] {
        &self.samples[entry..=entry]
    }
}

fn target(number: usize) -> Scrape {
    let mut scrape = Scrape {
        labels: Vec::new(),
        encoded: Vec::new(),
        starts: vec![0],
        samples: Vec::new(),
    };
    for series in 0..SERIES_PER_TARGET {
        let labels: Vec<(String, String)> = [
            ("__name__", format!("node_metric_{}_total", series / 8)),
            ("cluster", "production-eu-west".into()),
            ("device", format!("dev{}", series % 8)),
            (
                "instance",
                format!("10.0.{}.{}:9100", number / 250, number % 250),
            ),
            ("job", "node-exporter".into()),
            ("namespace", "monitoring".into()),
            ("pod", format!("node-exporter-{number:05}")),
        ]
        .map(|(n, v)| (n.to_owned(), v))
        .into();
        let text: Vec<u8> = labels
            .iter()
            .flat_map(|(n, v)| [n.as_bytes(), &[0], v.as_bytes(), &[0]].concat())
            .collect();
        scrape.encoded.extend(text);
        scrape.starts.push(scrape.encoded.len());
        scrape.labels.push(labels);
        scrape.samples.push(Sample::new(0, 0.0));
    }
    scrape
}

fn noise(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 32)
}

fn fill(scrape: &mut Scrape, number: usize, round: i64) {
    let jitter = match noise(number as u64, round as u64) % 11 {
        0 => (noise(7, round as u64 + number as u64) % 20) as i64 - 10,
        _ => 0,
    };
    let at_ms = START_MS + round * 15_000 + (number as i64 * 37) % 15_000 + jitter;
    for (series, sample) in scrape.samples.iter_mut().enumerate() {
        sample.timestamp_ms = at_ms;
        let random = noise((number * SERIES_PER_TARGET + series) as u64, round as u64);
        match series % 20 {
            0..12 => sample.value = series as f64,
            12..16 => sample.value += (random % 1000) as f64,
            16..19 => sample.value = (random % 10_000) as f64 / 100.0,
            _ => sample.value += (random % 1_000_000) as f64 * 1e-9,
        }
    }
}

fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10.0
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

fn read_all(db: &Arc<Db>) -> (usize, usize) {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let matchers = [Matcher::equal("job", "node-exporter")];
    let set = querier.select(&matchers, &SelectHints::default()).unwrap();
    let mut buffer = SampleBuffer::default();
    let mut samples = 0;
    for series in 0..set.len() {
        set.read(series, TimeRange::ALL, &mut buffer).unwrap();
        samples += buffer.len();
    }
    (set.len(), samples)
}

fn main() {
    let mut numbers = std::env::args().filter_map(|a| a.parse::<usize>().ok());
    let targets = numbers.next().unwrap_or(200);
    let scrapes = numbers.next().unwrap_or(120);
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        flush_interval_ms: 1 << 50,
        max_future_ms: 0,
        ..Options::default()
    };
    let db = Db::open(options.clone()).unwrap();
    let mut load: Vec<Scrape> = (0..targets).map(target).collect();
    let before_mib = rss_mib();
    let (mut append_ns, mut first_ns) = (0, 0);
    let cpu = cpu_ms();
    let mut fill_ns = 0;
    for round in 0..scrapes as i64 {
        for (number, scrape) in load.iter_mut().enumerate() {
            let start = Instant::now();
            fill(scrape, number, round);
            fill_ns += start.elapsed().as_nanos();
            let start = Instant::now();
            let (report, commit) = db.append(number as u64 % 8, scrape).unwrap();
            drop(commit);
            let spent = start.elapsed().as_nanos();
            *(if round == 0 {
                &mut first_ns
            } else {
                &mut append_ns
            }) += spent;
            assert_eq!(report.samples_written, SERIES_PER_TARGET as u64);
        }
    }
    let series = targets * SERIES_PER_TARGET;
    let total = (series * scrapes) as f64;
    let (_, commit) = db.append(0, &target(0)).unwrap();
    let _ = commit.wait();
    let stats = db.stats();
    println!("series {series}, samples {total}");
    println!(
        "first scrape (creation)  {:8.1} ns/series",
        first_ns as f64 / series as f64
    );
    println!(
        "append                   {:8.1} ns/sample",
        append_ns as f64 / (total - series as f64)
    );
    println!(
        "process CPU less filling {:8.1} ns/sample",
        (cpu_ms() - cpu) * 1e6 / total - fill_ns as f64 / total
    );
    println!(
        "WAL                      {:8.3} B/sample, {} fsyncs",
        stats.wal_written_bytes as f64 / total,
        stats.wal_fsyncs
    );
    println!(
        "head chunks              {:8.1} B/series",
        stats.head_chunk_bytes as f64 / series as f64
    );
    println!(
        "anonymous memory grew    {:8.1} B/series",
        (rss_mib() - before_mib) as f64 * 1048576.0 / series as f64
    );
    if std::env::args().any(|a| a == "append") {
        return;
    }
    let start = Instant::now();
    let (found, samples) = read_all(&db);
    println!(
        "head read                {:8.1} ns/sample ({found} series)",
        start.elapsed().as_nanos() as f64 / samples as f64
    );
    db.close().unwrap();
    drop(db);
    let start = Instant::now();
    let db = Db::open(options).unwrap();
    println!(
        "replay and open          {:8.1} ns/sample ({} samples)",
        start.elapsed().as_nanos() as f64 / total,
        db.stats().replayed_samples
    );
    let start = Instant::now();
    let report = db.flush().unwrap();
    println!(
        "flush                    {:8.1} ns/sample",
        start.elapsed().as_nanos() as f64 / total
    );
    println!(
        "block                    {:8.3} B/sample",
        report.block_bytes as f64 / report.samples as f64
    );
    let start = Instant::now();
    let (_, again) = read_all(&db);
    assert_eq!(samples, again);
    println!(
        "block read               {:8.1} ns/sample",
        start.elapsed().as_nanos() as f64 / samples as f64
    );
}
