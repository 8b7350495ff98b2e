//! The generated bodies, read by decoders that know nothing of the encoder: prost's and the
//! server's.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use tenbin::ingest::remote_write_v1::RemoteWriteV1;
use tenbin::ingest::remote_write_v2::RemoteWriteV2;
use tenbin::limits::WriteLimits;
use tenbin_compat_tests::{sender, sender_v2};
use tenbin_model::write::WriteRequest as _;

use super::*;

const START_MS: i64 = 1_700_000_000_000;

fn settings() -> FleetSettings {
    FleetSettings {
        series: 2000,
        interval_ms: 15_000,
        churn_per_hour: 12.0,
        restart_chance: 0.01,
        start_ms: START_MS,
        seed: 7,
        stream: 0,
        shuffle: false,
    }
}

/// The bodies of some scrapes, decompressed.
fn bodies(settings: &FleetSettings, protocol: Protocol, scrapes: usize) -> (Vec<Vec<u8>>, Totals) {
    let mut fleet = Fleet::new(settings.clone());
    let mut request = Request::new(protocol);
    let mut bodies = Vec::new();
    for _ in 0..scrapes {
        fleet
            .scrape(|pool, labels, time_ms, value| {
                request.push(pool, labels, time_ms, value);
                if request.samples() == 700 {
                    bodies.push(request.take()?.0);
                }
                Ok(())
            })
            .unwrap();
    }
    bodies.push(request.take().unwrap().0);
    let decompress = |body: &Vec<u8>| snap::raw::Decoder::new().decompress_vec(body).unwrap();
    (bodies.iter().map(decompress).collect(), fleet.totals())
}

/// Label text, time and the bits of the value.
type Row = (Vec<(String, String)>, i64, u64);

fn rows_v1(bodies: &[Vec<u8>]) -> Vec<Row> {
    let requests = bodies
        .iter()
        .map(|body| sender::WriteRequest::decode(&body[..]).unwrap());
    requests
        .flat_map(|request| request.timeseries)
        .map(|series| {
            let labels = series.labels.into_iter().map(|l| (l.name, l.value));
            assert_eq!(series.samples.len(), 1);
            let sample = series.samples[0];
            (labels.collect(), sample.timestamp, sample.value.to_bits())
        })
        .collect()
}

fn rows_v2(bodies: &[Vec<u8>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for body in bodies {
        let request = sender_v2::Request::decode(&body[..]).unwrap();
        assert_eq!(request.symbols[0], "");
        let distinct: BTreeSet<&String> = request.symbols.iter().collect();
        assert_eq!(distinct.len(), request.symbols.len());
        for series in &request.timeseries {
            let text = |at: u32| request.symbols[at as usize].clone();
            let labels = series
                .labels_refs
                .chunks(2)
                .map(|pair| (text(pair[0]), text(pair[1])));
            let sample = series.samples[0];
            rows.push((labels.collect(), sample.timestamp, sample.value.to_bits()));
        }
    }
    rows
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for protocol in [Protocol::Rw1, Protocol::Rw2] {
        let first = bodies(&settings(), protocol, 8);
        assert!(first == bodies(&settings(), protocol, 8));
        let other = FleetSettings {
            seed: 8,
            ..settings()
        };
        assert!(first.0 != bodies(&other, protocol, 8).0);
    }
}

#[test]
fn both_versions_say_the_same_and_counts_are_right() {
    let (v1, totals) = bodies(&settings(), Protocol::Rw1, 20);
    let (v2, totals_v2) = bodies(&settings(), Protocol::Rw2, 20);
    let rows = rows_v1(&v1);
    assert!(rows == rows_v2(&v2));
    assert_eq!(totals, totals_v2);
    assert_eq!(rows.len() as u64, totals.samples);
    let series: BTreeSet<_> = rows.iter().map(|row| &row.0).collect();
    assert_eq!(series.len() as u64, totals.series);
    let markers = rows.iter().filter(|row| row.2 == STALE.to_bits()).count();
    assert_eq!(markers as u64, totals.stale_markers);
    let is_up = |row: &&Row| row.0[0].1 == "up" && row.2 != STALE.to_bits();
    assert_eq!(rows.iter().filter(is_up).count() as u64, totals.up_samples);
    assert!(totals.active >= 2000 && totals.active < 2900);
}

#[test]
fn labels_are_sorted_and_times_move_on() {
    let (bodies, totals) = bodies(&settings(), Protocol::Rw1, 40);
    assert!(totals.stale_markers > 0 && totals.series > totals.active);
    let mut last: BTreeMap<Vec<(String, String)>, (i64, u64)> = BTreeMap::new();
    let (mut off, mut all, mut resets, mut same) = (0, 0, 0, 0);
    for (labels, time_ms, bits) in rows_v1(&bodies) {
        assert!(labels.is_sorted_by(|a, b| a.0 < b.0));
        assert!((START_MS..START_MS + 40 * 15_000).contains(&time_ms));
        let value = f64::from_bits(bits);
        let is_counter = labels[0].1.ends_with("_total");
        if let Some((before_ms, before)) = last.insert(labels, (time_ms, bits)) {
            assert!(before != STALE.to_bits(), "a sample after the marker");
            assert!(time_ms > before_ms);
            all += 1;
            off += u32::from(time_ms - before_ms != 15_000);
            same += u32::from(bits == before);
            resets += u32::from(is_counter && value < f64::from_bits(before));
        }
    }
    let share = |part: u32| f64::from(part) / f64::from(all);
    // a gap is off when either of its ends is
    assert!((0.10..0.25).contains(&share(off)), "{}", share(off));
    assert!((0.4..0.85).contains(&share(same)), "{}", share(same));
    assert!(resets > 0);
}

#[test]
fn a_shuffled_scrape_holds_the_same_series() {
    let shuffled = FleetSettings {
        shuffle: true,
        churn_per_hour: 0.0,
        ..settings()
    };
    let (bodies, totals) = bodies(&shuffled, Protocol::Rw1, 3);
    let rows = rows_v1(&bodies);
    let scrape = |number: usize| {
        let count = totals.active as usize;
        let rows = &rows[number * count..(number + 1) * count];
        rows.iter().map(|row| &row.0).collect::<Vec<_>>()
    };
    let (first, second) = (scrape(0), scrape(1));
    assert_ne!(first, second);
    assert_eq!(
        first.iter().collect::<BTreeSet<_>>(),
        second.iter().collect::<BTreeSet<_>>()
    );
}

#[test]
fn the_server_decodes_the_bodies() {
    let limits = WriteLimits::default();
    let (v1, totals) = bodies(&settings(), Protocol::Rw1, 4);
    let mut samples = 0;
    for body in &v1 {
        let request = RemoteWriteV1::decode(body, &limits).unwrap();
        let counts = (0..request.len()).map(|entry| request.samples(entry).len());
        samples += counts.sum::<usize>() as u64;
        let mut labels = Vec::new();
        request.labels(0, &mut labels).unwrap();
        assert_eq!(labels[0].0, "__name__");
    }
    assert_eq!(samples, totals.samples);
    let (v2, _) = bodies(&settings(), Protocol::Rw2, 4);
    let mut samples = 0;
    for body in &v2 {
        let request = RemoteWriteV2::decode(body, &limits).unwrap();
        let counts = (0..request.len()).map(|entry| request.samples(entry).len());
        samples += counts.sum::<usize>() as u64;
        let mut labels = Vec::new();
        request.labels(0, &mut labels).unwrap();
        assert_eq!(labels[0].0, "__name__");
    }
    assert_eq!(samples, totals.samples);
}
