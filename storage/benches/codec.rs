//! The codecs of values alone: bytes and nanoseconds per sample of encoding and decoding, by kind of series.
//!
//! `cargo bench -p tenbin-storage --bench codec [-- <samples a run>]`. Times are the least of
//! several rounds, since other work disturbs the most.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    dead_code,
    unused_imports,
    reason = "a benchmark, which has the codecs as a module of its own and uses a part of them"
)]

#[path = "../src/codec/mod.rs"]
mod codec;

use std::time::Instant;

use codec::values::{Chooser, MAX_RUN, decode};

const SERIES: u64 = 300;

const ROUNDS: usize = 15;

/// How the values of a series move.
type Step = fn(&mut Random, f64) -> f64;

const KINDS: [(&str, Step); 9] = [
    ("constant", |_, last| last),
    ("idle counter", |r, last| {
        last + f64::from(u8::from(r.below(50) == 0))
    }),
    ("events", |r, last| {
        last + (-(r.unit() + 1e-9).ln() * 3.0).floor()
    }),
    ("bytes", |r, last| last + r.below(1_000_000) as f64),
    ("pages", |r, last| {
        last + (r.below(41) as f64 - 20.0) * 4096.0
    }),
    ("two decimals", |r, _| r.below(10_000) as f64 / 100.0),
    ("nanoseconds", |r, _| r.below(10_000_000) as f64 * 1e-9),
    ("sum of floats", |r, last| last + r.unit() * 0.3),
    ("all digits", |r, _| r.unit() * r.unit()),
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }
}

fn main() {
    let run = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(240);
    let run = usize::min(run, MAX_RUN);
    println!("runs of {run}          B/sample  encode ns  decode ns");
    for (name, step) in KINDS {
        let column = |seed: u64| {
            let mut random = Random(seed * 0x9e37_79b9_7f4a_7c15 + 1);
            let mut last = random.below(1 << 20) as f64;
            let next = |_| {
                last = step(&mut random, last);
                last
            };
            (0..run).map(next).collect::<Vec<f64>>()
        };
        let columns: Vec<Vec<f64>> = (1..=SERIES).map(column).collect();
        let mut chooser = Chooser::default();
        let (mut bytes, mut ends, mut back) = (Vec::new(), Vec::new(), Vec::new());
        let (mut encode_ns, mut decode_ns) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            bytes.clear();
            ends.clear();
            let start = Instant::now();
            for values in &columns {
                chooser.encode(&mut bytes, values);
                ends.push(bytes.len());
            }
            encode_ns = encode_ns.min(start.elapsed().as_nanos() as f64);
            let start = Instant::now();
            let mut from = 0;
            for end in &ends {
                back.clear();
                decode(&bytes[from..*end], run, &mut back).unwrap();
                from = *end;
            }
            decode_ns = decode_ns.min(start.elapsed().as_nanos() as f64);
        }
        let samples = SERIES as f64 * run as f64;
        println!(
            "{name:20} {:8.3} {:10.1} {:10.1}",
            bytes.len() as f64 / samples,
            encode_ns / samples,
            decode_ns / samples
        );
    }
}
