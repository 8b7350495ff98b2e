//! The data of the guard: bodies of one generated fleet, and directories made of them.
//!
//! The same on every machine: seeded, with times of the past, under a clock that stands still.

use std::path::Path;
use std::sync::Arc;

use tenbin::ingest::decompress;
use tenbin::ingest::remote_write_v1::RemoteWriteV1;
use tenbin::limits::WriteLimits;
use tenbin_storage::{Clock, Db, Options, ReplayProgress, WalSync, vfs::OsVfs};

use crate::generate::{Fleet, FleetSettings, Protocol, Request};

/// Time of the first scrape.
pub(super) const START_MS: i64 = 1_700_000_000_000;
pub(super) const INTERVAL_MS: i64 = 15_000;
/// Series of the fleet, about.
const SERIES: usize = 2_000;
/// Scrapes of a block.
pub(super) const SCRAPES: usize = 60;

/// One request.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) samples: usize,
}

/// A clock that stands still behind all data.
struct Still;

impl Clock for Still {
    fn now_ms(&self) -> i64 {
        START_MS + 24 * 3_600_000
    }
}

/// The bodies of each scrape; a body belongs to one scrape.
pub(super) fn scrapes(count: usize) -> Result<Vec<Vec<Body>>, String> {
    let mut fleet = Fleet::new(FleetSettings {
        series: SERIES,
        interval_ms: INTERVAL_MS,
        churn_per_hour: 0.0,
        restart_chance: 1.0 / 4000.0,
        start_ms: START_MS,
        seed: 1,
        stream: 0,
        shuffle: false,
    });
    let mut request = Request::new(Protocol::Rw1);
    let mut all = Vec::new();
    for _ in 0..count {
        let mut bodies = Vec::new();
        fleet.scrape(|pool, labels, time_ms, value| {
            request.push(pool, labels, time_ms, value);
            if request.samples() >= 500 {
                let samples = request.samples();
                bodies.push(Body {
                    bytes: request.take()?.0,
                    samples,
                });
            }
            Ok(())
        })?;
        if request.samples() > 0 {
            let samples = request.samples();
            bodies.push(Body {
                bytes: request.take()?.0,
                samples,
            });
        }
        all.push(bodies);
    }
    Ok(all)
}

/// Samples of these scrapes.
pub(super) fn samples(scrapes: &[Vec<Body>]) -> f64 {
    scrapes.iter().flatten().map(|b| b.samples).sum::<usize>() as f64
}

/// Opens `directory` without background work.
pub(super) fn open(directory: &Path) -> Result<Arc<Db>, String> {
    let options = Options {
        data_dir: directory.to_owned(),
        retention_ms: 0,
        max_future_ms: 0,
        wal_sync: WalSync::Segment,
        maintenance: false,
        ..Options::default()
    };
    let progress = Arc::new(ReplayProgress::default());
    Db::open_with(Arc::new(OsVfs), Arc::new(Still), options, progress).map_err(|e| e.to_string())
}

/// Takes all bodies as the server does: unpacked, decoded, appended.
pub(super) fn append(db: &Db, scrapes: &[Vec<Body>]) -> Result<(), String> {
    let (limits, mut plain, mut last) = (WriteLimits::default(), Vec::new(), None);
    for body in scrapes.iter().flatten() {
        decompress::snappy(&body.bytes, 64 << 20, &mut plain).map_err(|e| e.to_string())?;
        let request = RemoteWriteV1::decode(&plain, &limits).map_err(|e| e.to_string())?;
        let (_, commit) = db.append(1, &request).map_err(|e| e.to_string())?;
        last = Some(commit);
    }
    last.map_or(Ok(()), |commit| commit.wait().map_err(|e| e.to_string()))
}

/// Makes `log/` (all in the write-ahead log) and `blocks/` (two blocks) below `directory`.
pub(super) fn prepare(directory: &Path) -> Result<(), String> {
    let all = scrapes(2 * SCRAPES)?;
    let (first, second) = all.split_at(SCRAPES);
    let log = open(&directory.join("log"))?;
    append(&log, first)?;
    log.close().map_err(|e| e.to_string())?;
    let blocks = open(&directory.join("blocks"))?;
    for part in [first, second] {
        append(&blocks, part)?;
        blocks.flush().map_err(|e| e.to_string())?;
    }
    blocks.close().map_err(|e| e.to_string())
}

/// Copies a directory: every path begins with the same files.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("copying {}: {e}", from.display());
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target).map_err(failed)?;
        }
    }
    Ok(())
}
