//! Bytes per sample of real traffic after a flush and after compaction.
//!
//! `cargo bench -p tenbin-storage --bench capture -- <file> [replicas] [flushes]`; the file is zstd-compressed
//! and holds records of `u64 arrival ms, u32 length, body` with bodies as sent by remote write 1.0.
//! Each replica has a label of its own and timestamps shifted by an offset of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::path::Path;
use std::time::Instant;

use tenbin_model::Sample;
use tenbin_model::write::{InvalidLabels, WriteRequest, canonicalise};
use tenbin_storage::{Db, Options};
use xxhash_rust::xxh3::xxh3_64_with_seed;

type Pairs = Vec<(String, String)>;

/// A request of one replica.
struct Request(Vec<(Pairs, Vec<Sample>)>);

impl WriteRequest for Request {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn identity_hash(&self, entry: usize, seed: u64) -> u64 {
        let text: Vec<u8> = self.0[entry]
            .0
            .iter()
            .flat_map(|(n, v)| [n.as_bytes(), &[0], v.as_bytes(), &[0]].concat())
            .collect();
        xxh3_64_with_seed(&text, seed)
    }

    fn labels<'r>(
        &'r self,
        entry: usize,
        out: &mut Vec<(&'r str, &'r str)>,
    ) -> Result<(), InvalidLabels> {
        out.clear();
        out.extend(
            self.0[entry]
                .0
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str())),
        );
        canonicalise(out)
    }

    fn samples(&self, entry: usize) -> &[Sample] {
        &self.0[entry].1
    }
}

/// The fields of a protobuf message: number, varint or fixed value, bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let (mut number, mut content): (u64, &[u8]) = (0, &[]);
        match tag & 7 {
            0 => number = varint(&mut bytes),
            1 => {
                number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                bytes = &bytes[8..];
            }
            2 => {
                let len = varint(&mut bytes) as usize;
                (content, bytes) = bytes.split_at(len);
            }
            _ => panic!("no remote write"),
        }
        found.push((tag >> 3, number, content));
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn parse(body: &[u8]) -> Request {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut entries = Vec::new();
    for (_, _, series) in fields(body).into_iter().filter(|f| f.0 == 1) {
        let (mut pairs, mut samples) = (Pairs::new(), Vec::new());
        for (field, _, content) in fields(series) {
            let inner = fields(content);
            if field == 1 {
                pairs.push((text(inner[0].2), text(inner[1].2)));
            } else if field == 2 {
                let of = |number| inner.iter().find(|f| f.0 == number).map_or(0, |f| f.1);
                samples.push(Sample::new(of(2) as i64, f64::from_bits(of(1))));
            }
        }
        entries.push((pairs, samples));
    }
    Request(entries)
}

/// The bodies of a capture.
fn read(path: &Path) -> Vec<Request> {
    let raw = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    let mut rest = &raw[..];
    let mut requests = Vec::new();
    while rest.len() > 12 {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let body = snap::raw::Decoder::new()
            .decompress_vec(&rest[12..12 + len])
            .unwrap();
        requests.push(parse(&body));
        rest = &rest[12 + len..];
    }
    requests
}

/// CPU time of this thread in nanoseconds, which says more than the clock on a busy machine.
fn cpu_ns() -> f64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    times.split(' ').next().unwrap().parse().unwrap()
}

/// Prints what the sections of all blocks take.
fn print_sections(dir: &Path, samples: f64) {
    let mut sums = [0_u64; 16];
    let mut total = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        total += bytes.len();
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let count = u32_at(bytes.len() - 24) as usize;
        for number in 0..count {
            let at = bytes.len() - 24 - (count - number) * 24;
            let len = u64::from_le_bytes(bytes[at + 16..at + 24].try_into().unwrap());
            sums[u32_at(at) as usize & 15] += len;
        }
    }
    let names = [
        "",
        "values",
        "times",
        "series",
        "starts",
        "hashes",
        "pairs",
        "postings directory",
        "postings",
        "order",
        "histograms and starts",
        "histogram index",
        "histogram layouts",
    ];
    println!("  all {:.4} B/sample", total as f64 / samples);
    for (name, sum) in names.iter().zip(sums).skip(1) {
        println!("  {name:20} {:.4} B/sample", sum as f64 / samples);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let Some(path) = arguments.next() else {
        println!("no capture given");
        return;
    };
    let replicas: i64 = arguments.next().map_or(10, |a| a.parse().unwrap());
    let requests = read(Path::new(&path));
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        flush_interval_ms: 1 << 50,
        max_future_ms: 0,
        ..Options::default()
    };
    let db = Db::open(options).unwrap();
    let parts: usize = arguments.next().map_or(1, |a| a.parse().unwrap());
    let part = requests.len().div_ceil(parts);
    for (number, mut request) in requests.into_iter().enumerate() {
        if number > 0 && number % part == 0 {
            db.flush().unwrap();
        }
        for replica in 0..replicas {
            for (pairs, samples) in &mut request.0 {
                pairs.retain(|(name, _)| name != "replica");
                pairs.push(("replica".into(), format!("node-{replica:03}")));
                for sample in samples {
                    sample.timestamp_ms += if replica == 0 { 0 } else { 137 };
                }
            }
            let (report, _) = db.append(replica as u64, &request).unwrap();
            assert_eq!(report.rejected_samples, 0);
        }
    }
    let appended = db.stats().samples_appended;
    let (start, cpu) = (Instant::now(), cpu_ns());
    let report = db.flush().unwrap();
    println!("{appended} samples, {} series", report.series);
    println!(
        "flush: {:.1} ns/sample, CPU {:.1}",
        start.elapsed().as_nanos() as f64 / report.samples as f64,
        (cpu_ns() - cpu) / report.samples as f64
    );
    print_sections(&dir.path().join("data/blocks"), appended as f64);
    let (start, cpu) = (Instant::now(), cpu_ns());
    let report = db.compact().unwrap();
    if report.output_blocks > 0 {
        println!(
            "compaction of {} blocks: {:.1} ns/sample, CPU {:.1}",
            report.input_blocks,
            start.elapsed().as_nanos() as f64 / appended as f64,
            (cpu_ns() - cpu) / appended as f64
        );
        print_sections(&dir.path().join("data/blocks"), appended as f64);
    }
}
