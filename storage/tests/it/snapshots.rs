//! A querier sees one moment, whatever is appended, flushed or evicted after it was made.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenbin_model::{Querier, Queryable, SampleBuffer, SelectHints, TimeRange};
use tenbin_storage::Db;
use tenbin_storage::vfs::SimVfs;

use crate::harness::*;

/// What a querier selects now.
fn seen(querier: &dyn Querier) -> Contents {
    let set = querier.select(&any(), &SelectHints::default()).unwrap();
    let mut found = Contents::new();
    let mut buffer = SampleBuffer::default();
    for series in 0..set.len() {
        set.read(series, TimeRange::ALL, &mut buffer).unwrap();
        let bits = buffer.values.iter().map(|v| v.to_bits());
        let samples: BTreeMap<i64, u64> = buffer.timestamps_ms.iter().copied().zip(bits).collect();
        if !samples.is_empty() {
            found.insert(set.labels(series).unwrap().to_string(), samples);
        }
    }
    found
}

#[test]
fn queriers_keep_what_they_saw() {
    for seed in 0..12 {
        let disk = SimVfs::new();
        let db = open(&disk, &options()).unwrap();
        let mut random = Random::new(seed);
        let mut oracle = Contents::new();
        let mut now_ms = START_MS;
        let mut open_queriers: Vec<(Box<dyn Querier>, Contents)> = Vec::new();
        for step in 0..250 {
            match random.below(20) {
                0 => {
                    db.flush().unwrap();
                }
                1 | 2 => {
                    let querier = db.querier(TimeRange::ALL).unwrap();
                    open_queriers.push((querier, oracle.clone()));
                }
                3 if !open_queriers.is_empty() => {
                    open_queriers.remove(random.below(open_queriers.len() as u64) as usize);
                }
                // Silence long enough for a flush to evict series.
                4 => now_ms += 700_000,
                _ => {
                    let mut request = Request::default();
                    for _ in 0..=random.below(6) {
                        let late = [0, 0, 0, 5000, 400_000][random.below(5) as usize];
                        let pairs = series(random.below(9) as usize);
                        let value = random.value();
                        request.0.extend(one(pairs, now_ms - late, value).0);
                    }
                    now_ms += 1000;
                    let (report, _) = db.append(random.below(3), &request).unwrap();
                    note(&mut oracle, &request, &report);
                }
            }
            if step % 5 == 0 {
                for (querier, expected) in &open_queriers {
                    assert_same(&seen(&**querier), expected);
                }
            }
        }
        drop(open_queriers);
        assert_same(&everything(&db), &oracle);
    }
}

#[test]
fn a_request_is_seen_whole_or_not_at_all() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let write = |db: &Arc<Db>, writer: u64, round: i64| {
        let mut request = Request::default();
        for number in 0..600 {
            let pairs = series(writer as usize * 600 + number);
            request
                .0
                .extend(one(pairs, START_MS + round * 1000, round as f64).0);
        }
        let (report, _) = db.append(writer, &request).unwrap();
        assert_eq!(report.samples_written, 600);
    };
    for writer in 0..2 {
        write(&db, writer, 0);
    }
    let writers: Vec<_> = (0..2_u64)
        .map(|writer| {
            let db = Arc::clone(&db);
            std::thread::spawn(move || (1..60).for_each(|round| write(&db, writer, round)))
        })
        .collect();
    for _ in 0..25 {
        let querier = db.querier(TimeRange::ALL).unwrap();
        let first = seen(&*querier);
        for writer in 0..2_usize {
            let newest = |number: usize| {
                let labels = labels(&series(writer * 600 + number)).to_string();
                *first[&labels].keys().last().unwrap()
            };
            let all: Vec<i64> = (0..600).map(newest).collect();
            assert!(all.iter().all(|at| *at == all[0]), "a torn request");
        }
        assert!(seen(&*querier) == first, "two selects differ");
    }
    for writer in writers {
        writer.join().unwrap();
    }
}
