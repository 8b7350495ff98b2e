//! The data of the differential test: one request per scrape, from a seed.
//!
//! Floats: counters with resets, gauges, gaps, special values, classic histograms. Histograms: all
//! kinds of native ones, with resets, growing and changing layouts, gaps, and floats in between.
//! One target dies and leaves staleness markers, one is late to come.

use crate::histograms::{CUSTOM, Shape as Buckets, histogram, stale};
use crate::random::Random;
use crate::sender::{Label, TimeSeries, series};

/// First sample of the data, milliseconds.
pub const START_MS: i64 = 1_700_000_000_000;
/// Scrapes of 15 s.
pub const SCRAPES: i64 = 60;

/// A value for scrape `at` of a series, or none for a gap.
type Shape = fn(&mut Random, i64, f64) -> Option<f64>;

/// Series of floats, one request per scrape so that all series of a scrape share their time.
#[must_use]
pub fn floats(seed: u64) -> Vec<Vec<TimeSeries>> {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let counter: Shape = |random, at, previous| {
        if at % 23 == 22 {
            Some(random.below(5) as f64)
        } else {
            Some(previous + random.below(100) as f64)
        }
    };
    let gauge: Shape =
        |random, _, previous| Some(previous + (random.below(2001) as f64 - 1000.0) / 64.0);
    let flags: Shape = |random, _, _| Some(random.below(2) as f64);
    let sparse: Shape =
        |random, _, previous| (!random.one_in(3)).then(|| previous + random.below(3) as f64);
    let specials: Shape = |random, _, _| {
        let all = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            1e300,
            -1e-300,
            5e-324,
            1.5,
        ];
        Some(all[random.below(all.len())])
    };
    let metrics: [(&str, Shape); 7] = [
        ("requests_total", counter),
        ("errors_total", counter),
        ("temperature", gauge),
        ("flags", flags),
        ("sparse", sparse),
        ("specials", specials),
        ("utf8.metric", gauge),
    ];
    let mut random = Random::new(seed);
    let mut values = vec![0.0_f64; metrics.len() * 6];
    let mut buckets = [[0.0_f64; 4]; 6];
    let mut batches = Vec::new();
    for at in 0..SCRAPES {
        let time = START_MS + at * 15_000;
        let mut batch = Vec::new();
        for target in 0..6_usize {
            // One target dies and leaves staleness markers, one is late to come.
            let dies = target == 4 && at >= 40;
            if (dies && at > 40) || (target == 5 && at < 20) {
                continue;
            }
            let instance = format!("i{target}");
            let mut identity = vec![
                ("job", ["a", "b"][target % 2]),
                ("instance", instance.as_str()),
            ];
            if target != 3 {
                identity.push(("zone", ["east", "west", "north"][target % 3]));
            }
            let mut push = |name: &str, more: &[(&str, &str)], value: f64| {
                let mut labels = vec![("__name__", name)];
                labels.extend_from_slice(&identity);
                labels.extend_from_slice(more);
                batch.push(series(&labels, &[(time, if dies { stale } else { value })]));
            };
            for (number, (name, shape)) in metrics.iter().enumerate() {
                let value = &mut values[target * metrics.len() + number];
                if let Some(next) = shape(&mut random, at, *value) {
                    *value = next;
                    push(name, &[], next);
                }
            }
            let mut cumulative = 0.0;
            for (bucket, le) in ["0.1", "0.5", "2.5", "+Inf"].iter().enumerate() {
                buckets[target][bucket] += random.below(10) as f64;
                cumulative += buckets[target][bucket];
                push("latency_bucket", &[("le", le)], cumulative);
            }
            push("latency_count", &[], cumulative);
        }
        batches.push(batch);
    }
    batches
}

/// The same series, some of them with their type and unit among the labels.
#[must_use]
pub fn typed(mut batches: Vec<Vec<TimeSeries>>) -> Vec<Vec<TimeSeries>> {
    let known: [(&str, &[(&str, &str)]); 4] = [
        ("requests_total", &[("__type__", "counter")]),
        (
            "temperature",
            &[("__type__", "gauge"), ("__unit__", "celsius")],
        ),
        ("sparse", &[("__type__", "counter"), ("__unit__", "bytes")]),
        ("latency_bucket", &[("__type__", "histogram")]),
    ];
    for series in batches.iter_mut().flatten() {
        let name = &series.labels[0].value;
        let Some((_, labels)) = known.iter().find(|(known, _)| known == name) else {
            continue;
        };
        let labels = labels.iter().map(|(name, value)| Label {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
        series.labels.splice(1..1, labels);
    }
    batches
}

/// What the native histograms of one target have counted so far.
#[derive(Clone, Default)]
struct Counts {
    positive: Vec<i64>,
    negative: Vec<i64>,
    custom: Vec<i64>,
    zero: i64,
}

impl Counts {
    fn observe(&mut self, random: &mut Random, at: i64) {
        if at % 23 == 22 {
            *self = Self::default();
        }
        // More buckets with time. The counts are high enough that no extrapolation of a rate meets
        // zero, which 3.5 does not regard.
        self.positive.resize((3 + at % 23 / 6) as usize, 300);
        self.negative.resize(2, 300);
        self.custom.resize(4, 300);
        let all = [&mut self.positive, &mut self.negative, &mut self.custom];
        for count in all.into_iter().flatten() {
            *count += random.below(7) as i64;
        }
        self.zero += random.below(3) as i64;
    }
}

/// Series of native histograms, one request per scrape.
#[must_use]
pub fn histograms(seed: u64) -> Vec<Vec<TimeSeries>> {
    let mut random = Random::new(seed);
    let mut counts = vec![Counts::default(); 6];
    (0..SCRAPES)
        .map(|at| {
            let mut batch = Vec::new();
            for (target, counts) in counts.iter_mut().enumerate() {
                if (target == 4 && at > 40) || (target == 5 && at < 20) {
                    continue;
                }
                counts.observe(&mut random, at);
                scrape(&mut random, at, target, counts, &mut batch);
            }
            batch
        })
        .collect()
}

/// One scrape of one target.
fn scrape(
    random: &mut Random,
    at: i64,
    target: usize,
    counts: &Counts,
    batch: &mut Vec<TimeSeries>,
) {
    let time = START_MS + at * 15_000;
    let instance = format!("i{target}");
    let mut identity = vec![("job", ["a", "b"][target % 2]), ("instance", &*instance)];
    if target != 3 {
        identity.push(("zone", ["east", "west", "north"][target % 3]));
    }
    let dies = target == 4 && at == 40;
    let mut push = |name: &str, buckets: Option<&Buckets<'_>>, value: f64| {
        let mut labels = vec![("__name__", name)];
        labels.extend_from_slice(&identity);
        if name.contains('.') {
            labels.push(("a label", "w\u{f6}rd"));
        }
        let mut made = series(&labels, &[]);
        match buckets {
            _ if dies => made.histograms.push(stale(time)),
            Some(buckets) => made.histograms.push(histogram(time, buckets)),
            None => made = series(&labels, &[(time, value)]),
        }
        batch.push(made);
    };
    let plain = Buckets {
        schema: 2,
        first: -2,
        positive: &counts.positive,
        negative: &counts.negative,
        zero: counts.zero as u64,
        float: false,
        gauge: false,
        bounds: &[],
    };
    push("nh_int", Some(&plain), 0.0);
    let float = Buckets {
        float: true,
        negative: &[],
        ..plain
    };
    push("nh_float", Some(&float), 0.0);
    let wave: Vec<i64> = (0..4).map(|_| 300 + random.below(9) as i64).collect();
    let gauge = Buckets {
        positive: &wave,
        gauge: true,
        ..plain
    };
    push("nh_gauge", Some(&gauge), 0.0);
    push("nh.utf8 gauge", Some(&gauge), 0.0);
    let schema = Buckets {
        schema: if at < 25 { 3 } else { 1 },
        ..plain
    };
    push("nh_schema", Some(&schema), 0.0);
    let custom = Buckets {
        schema: CUSTOM,
        first: 0,
        positive: &counts.custom,
        negative: &[],
        zero: 0,
        bounds: &[0.1, 0.5, 2.5],
        ..plain
    };
    push("nh_custom", Some(&custom), 0.0);
    if !random.one_in(3) {
        push("nh_sparse", Some(&plain), 0.0);
    }
    let is_float = (at / 10) % 2 == 0;
    push("nh_mixed", (!is_float).then_some(&plain), at as f64);
    // Some targets have floats, some histograms.
    push(
        "nh_either",
        target.is_multiple_of(2).then_some(&plain),
        at as f64,
    );
}
