//! What is sent: the workloads by name, their sizes, and their bodies in files.

use std::path::{Path, PathBuf};

use crate::bodies::{BodyTotals, BodyWriter};
use crate::capture;
use crate::generate::{Fleet, FleetSettings, NativeFleet, Protocol, Request, Totals};

/// Chance of a restart of a target at one scrape: about every 17 hours at 15 s.
const RESTART_CHANCE: f64 = 1.0 / 4000.0;

/// The workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    /// 50,000 series, 900 scrapes: the usual life of a server.
    Steady,
    /// About a million series with 6 samples each: what a new series costs.
    Newseries,
    /// 28,000 series at any time, 85,000 in two hours: pods come and go.
    Churn,
    /// A recorded remote-write stream of a real Prometheus, replicated.
    Capture,
    /// Native histograms, 4,000 series.
    Histograms,
}

impl Name {
    pub(crate) const ALL: [Self; 5] = [
        Self::Steady,
        Self::Newseries,
        Self::Churn,
        Self::Capture,
        Self::Histograms,
    ];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Newseries => "newseries",
            Self::Churn => "churn",
            Self::Capture => "capture",
            Self::Histograms => "histograms",
        }
    }
}

/// One workload with its sizes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: Name,
    pub(crate) protocol: Protocol,
    /// Series at any time (generated workloads).
    pub(crate) series: usize,
    pub(crate) scrapes: usize,
    pub(crate) interval_ms: i64,
    pub(crate) churn_per_hour: f64,
    pub(crate) samples_per_request: usize,
    pub(crate) connections: usize,
    pub(crate) shuffle: bool,
    pub(crate) seed: u64,
    /// Time of the first scrape, milliseconds since the Unix epoch; by default such that the last
    /// scrape is now, since the peers drop what is older than their retention.
    pub(crate) start_ms: Option<i64>,
    /// The recording and how many copies of it (`capture`).
    pub(crate) capture: PathBuf,
    pub(crate) replicas: usize,
}

impl Plan {
    /// The sizes of design section 1, multiplied by `scale`.
    pub(crate) fn new(name: Name, scale: f64) -> Self {
        let (series, scrapes, churn_per_hour) = match name {
            Name::Steady => (50_000.0, 900, 0.0),
            Name::Newseries => (941_000.0, 6, 0.0),
            Name::Churn => (28_000.0, 480, 1.45),
            Name::Capture => (0.0, 0, 0.0),
            Name::Histograms => (4_000.0, 240, 0.0),
        };
        Self {
            name,
            protocol: Protocol::Rw1,
            series: ((series * scale) as usize).max(1),
            scrapes,
            interval_ms: 15_000,
            churn_per_hour,
            samples_per_request: 2000,
            connections: 2,
            shuffle: false,
            seed: 1,
            start_ms: None,
            capture: PathBuf::new(),
            replicas: ((44.0 * scale).round() as usize).max(1),
        }
    }

    /// The name in results: the protocol is part of it.
    pub(crate) fn title(&self) -> String {
        match self.protocol {
            Protocol::Rw1 => self.name.text().to_owned(),
            Protocol::Rw2 => format!("{}, rw2", self.name.text()),
        }
    }
}

/// What was prepared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    pub(crate) totals: Totals,
    pub(crate) bodies: BodyTotals,
    /// First and last sample time.
    pub(crate) span_ms: (i64, i64),
}

/// A workload ready to be sent. The files go with it.
pub(crate) struct Workload {
    pub(crate) plan: Plan,
    pub(crate) streams: Vec<PathBuf>,
    pub(crate) sizes: Sizes,
    _directory: tempfile::TempDir,
}

impl Workload {
    /// Makes the bodies, one thread for each stream.
    pub(crate) fn prepare(plan: Plan, now_ms: i64) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
        let streams: Vec<PathBuf> = (0..plan.connections.max(1))
            .map(|number| directory.path().join(format!("stream-{number}")))
            .collect();
        let recording = match plan.name {
            Name::Capture => Some(capture::Recording::read(&plan.capture)?),
            _ => None,
        };
        let make = |number: usize, path: &Path| match &recording {
            Some(recording) => recording.write(&plan, number, path, now_ms),
            None if plan.name == Name::Histograms => histograms(&plan, number, path, now_ms),
            None => generate(&plan, number, path, now_ms),
        };
        let parts: Vec<Sizes> = std::thread::scope(|scope| {
            let threads: Vec<_> = streams
                .iter()
                .enumerate()
                .map(|(number, path)| scope.spawn(move || make(number, path)))
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().map_err(|_| "making bodies panicked".to_owned())?)
                .collect::<Result<_, String>>()
        })?;
        Ok(Self {
            plan,
            streams,
            sizes: sum(&parts),
            _directory: directory,
        })
    }

    /// Samples that queries count: all but staleness markers.
    pub(crate) fn countable(&self) -> u64 {
        self.sizes.totals.samples - self.sizes.totals.stale_markers
    }

    /// The question whose answer shows that a restarted system is back, with the right answer.
    pub(crate) fn first_question(&self) -> (String, f64) {
        let metric = match self.plan.name {
            Name::Histograms => "http_request_duration_seconds",
            _ => "up",
        };
        let question = format!("sum(count_over_time({metric}[{}s]))", self.range_s());
        (question, self.sizes.totals.up_samples as f64)
    }

    /// A range that reaches from the last sample to before the first, seconds.
    pub(crate) fn range_s(&self) -> i64 {
        let (first, last) = self.sizes.span_ms;
        (last - first) / 1000 + 60
    }

    /// What was sent, in one line.
    pub(crate) fn description(&self) -> String {
        let (totals, bodies) = (self.sizes.totals, self.sizes.bodies);
        let samples = totals.samples.max(1) as f64;
        format!(
            "{} samples ({} staleness markers), {} series, {} at the end, {:.1} h; {}, {} requests, \
             {:.1} B a sample in protobuf, {:.1} on the wire; {} connections{}",
            totals.samples,
            totals.stale_markers,
            totals.series,
            totals.active,
            self.range_s() as f64 / 3600.0,
            self.plan.protocol.name(),
            bodies.requests,
            bodies.message_bytes as f64 / samples,
            bodies.body_bytes as f64 / samples,
            self.plan.connections,
            if self.plan.shuffle { ", shuffled" } else { "" },
        )
    }
}

fn sum(parts: &[Sizes]) -> Sizes {
    let mut all = Sizes {
        span_ms: (i64::MAX, i64::MIN),
        ..Sizes::default()
    };
    for part in parts.iter().filter(|part| part.totals.samples > 0) {
        all.totals.samples += part.totals.samples;
        all.totals.stale_markers += part.totals.stale_markers;
        all.totals.series += part.totals.series;
        all.totals.active += part.totals.active;
        all.totals.up_samples += part.totals.up_samples;
        all.bodies.requests += part.bodies.requests;
        all.bodies.body_bytes += part.bodies.body_bytes;
        all.bodies.message_bytes += part.bodies.message_bytes;
        all.span_ms.0 = all.span_ms.0.min(part.span_ms.0);
        all.span_ms.1 = all.span_ms.1.max(part.span_ms.1);
    }
    all
}

/// One stream of a generated workload.
fn generate(plan: &Plan, stream: usize, path: &Path, now_ms: i64) -> Result<Sizes, String> {
    let length_ms = plan.scrapes as i64 * plan.interval_ms;
    let start_ms = plan.start_ms.unwrap_or(now_ms - length_ms);
    let mut fleet = Fleet::new(FleetSettings {
        series: plan.series.div_ceil(plan.connections.max(1)),
        interval_ms: plan.interval_ms,
        churn_per_hour: plan.churn_per_hour,
        restart_chance: RESTART_CHANCE,
        start_ms,
        seed: plan.seed,
        stream,
        shuffle: plan.shuffle,
    });
    let mut request = Request::new(plan.protocol);
    let mut writer = BodyWriter::create(path)?;
    let (mut round_of_first, mut countable) = (0, 0);
    for round in 0..plan.scrapes as u32 {
        fleet.scrape(|pool, labels, time_ms, value| {
            if request.samples() == 0 {
                (round_of_first, countable) = (round, 0);
            }
            request.push(pool, labels, time_ms, value);
            countable += u32::from(!is_stale(value));
            if request.samples() < plan.samples_per_request {
                return Ok(());
            }
            let (body, message_bytes) = request.take()?;
            writer.push(round_of_first, countable, &body, message_bytes)
        })?;
    }
    if request.samples() > 0 {
        let (body, message_bytes) = request.take()?;
        writer.push(round_of_first, countable, &body, message_bytes)?;
    }
    Ok(Sizes {
        totals: fleet.totals(),
        bodies: writer.finish()?,
        span_ms: (start_ms, start_ms + length_ms),
    })
}

/// One stream of native histograms, a fifth of the usual number to a request.
fn histograms(plan: &Plan, stream: usize, path: &Path, now_ms: i64) -> Result<Sizes, String> {
    let length_ms = plan.scrapes as i64 * plan.interval_ms;
    let start_ms = plan
        .start_ms
        .unwrap_or(now_ms - length_ms - plan.interval_ms);
    let series = plan.series.div_ceil(plan.connections.max(1));
    let mut fleet = NativeFleet::new(series, stream, plan.seed);
    let mut writer = BodyWriter::create(path)?;
    for round in 0..plan.scrapes as u32 {
        let base_ms = start_ms + i64::from(round) * plan.interval_ms;
        fleet.scrape(
            base_ms,
            (plan.samples_per_request / 5).max(1),
            |count, body| {
                let message_bytes = snap::raw::decompress_len(body).map_err(|e| e.to_string())?;
                writer.push(round, count as u32, body, message_bytes)
            },
        )?;
    }
    let samples = (series * plan.scrapes) as u64;
    Ok(Sizes {
        totals: Totals {
            samples,
            stale_markers: 0,
            series: series as u64,
            active: series as u64,
            up_samples: samples,
        },
        bodies: writer.finish()?,
        span_ms: (start_ms, start_ms + length_ms + plan.interval_ms),
    })
}

/// Whether the value is a staleness marker.
pub(crate) fn is_stale(value: f64) -> bool {
    value.to_bits() == crate::generate::STALE.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bodies::{Body, BodyReader};

    #[test]
    fn native_histograms_are_the_same_twice() {
        let bytes = || {
            let plan = Plan {
                series: 40,
                scrapes: 3,
                start_ms: Some(1_700_000_000_000),
                ..Plan::new(Name::Histograms, 1.0)
            };
            let workload = Workload::prepare(plan, 0).unwrap();
            assert_eq!(workload.countable(), 120);
            std::fs::read(&workload.streams[1]).unwrap()
        };
        assert!(bytes() == bytes());
    }

    #[test]
    fn files_hold_what_was_counted() {
        let plan = Plan {
            series: 1500,
            scrapes: 30,
            churn_per_hour: 20.0,
            samples_per_request: 500,
            start_ms: Some(1_700_000_000_000),
            ..Plan::new(Name::Churn, 1.0)
        };
        let workload = Workload::prepare(plan, 0).unwrap();
        assert_eq!(workload.streams.len(), 2);
        let (mut requests, mut samples) = (0, 0);
        for stream in &workload.streams {
            let mut reader = BodyReader::open(stream).unwrap();
            let (mut body, mut last) = (Body::default(), 0);
            while reader.next(&mut body).unwrap() {
                assert!(body.round >= last);
                last = body.round;
                requests += 1;
                samples += u64::from(body.samples);
            }
            assert!(last >= 28);
        }
        assert_eq!(requests, workload.sizes.bodies.requests);
        assert_eq!(samples, workload.countable());
        assert!(workload.sizes.totals.stale_markers > 0);
        assert!(workload.sizes.totals.series > workload.sizes.totals.active);
        assert_eq!(workload.range_s(), 30 * 15 + 60);
    }
}
