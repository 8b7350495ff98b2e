//! A day in miniature: samples of 24 hours sent as fast as they are taken, with turnover of series and
//! a short retention time; memory, file descriptors, files and bytes must level off.

use std::path::Path;

use super::ledger::now_ms;
use crate::http::Client;
use crate::process::Tenbin;
use crate::random::Random;
use crate::sender::{send, series};

const HOUR_MS: i64 = 60 * 60 * 1000;
const SCRAPE_MS: i64 = 15_000;
const TARGETS: usize = 10;
const SERIES_PER_TARGET: usize = 50;

/// What stood at the end of a simulated hour.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hour {
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Files of the data directory.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
}

/// Sends so many hours of samples with a retention time of a quarter of them.
///
/// # Errors
/// When something fails, or does not level off.
pub fn run(program: &Path, hours: usize, seed: u64) -> Result<Vec<Hour>, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let retention = format!("--storage.tsdb.retention.time={}h", (hours / 4).max(1));
    let mut server = Tenbin::start(program, directory.path(), &[&retention])?;
    let client = Client::default();
    let mut random = Random::new(seed);
    let mut generations = [0_usize; TARGETS];
    let start_ms = now_ms() - hours as i64 * HOUR_MS;
    let mut report = Vec::new();
    for hour in 0..hours as i64 {
        for scrape in 0..HOUR_MS / SCRAPE_MS {
            let at_ms = start_ms + hour * HOUR_MS + scrape * SCRAPE_MS;
            for (target, generation) in generations.iter_mut().enumerate() {
                // About three times an hour a target is replaced.
                if random.one_in(800) {
                    *generation += 1;
                }
                let pod = format!("pod-{target}-{generation}");
                let batch = (0..SERIES_PER_TARGET).map(|index| {
                    let value = (scrape * index as i64) as f64 + random.below(10) as f64 * 0.1;
                    let labels = [
                        ("__name__", &*format!("metric_{index}")),
                        ("pod", &*pod),
                        ("job", "soak"),
                    ];
                    series(&labels, &[(at_ms, value)])
                });
                let answer = send(&client, &server.url, batch.collect())?;
                if answer.status != 204 {
                    return Err(format!("{} {}", answer.status, answer.text()));
                }
            }
        }
        if hour % 7 == 5 {
            server.process.kill();
            server.restart()?;
        }
        report.push(look(server.process.id(), &directory.path().join("data"))?);
    }
    levelled(&report)?;
    Ok(report)
}

fn look(pid: u32, data: &Path) -> Result<Hour, String> {
    let text = |e: std::io::Error| e.to_string();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(text)?;
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|l| l.split_whitespace().next()?.parse().ok());
    let mut hour = Hour {
        resident_kib: resident.unwrap_or(0),
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))
            .map_err(text)?
            .count(),
        ..Hour::default()
    };
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(text)? {
            let entry = entry.map_err(text)?;
            // A file may go while we look.
            let Ok(kind) = entry.metadata() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                hour.files += 1;
                hour.bytes += kind.len();
            }
        }
    }
    Ok(hour)
}

/// A name, how to read it, and how much more is nothing.
type Kind = (&'static str, fn(&Hour) -> u64, u64);

/// The last third must not stand far above the middle one.
fn levelled(report: &[Hour]) -> Result<(), String> {
    let third = report.len() / 3;
    let (middle, last) = (&report[third..2 * third], &report[2 * third..]);
    let most = |hours: &[Hour], of: fn(&Hour) -> u64| hours.iter().map(of).max().unwrap_or(0);
    let kinds: [Kind; 4] = [
        ("memory", |h| h.resident_kib, 16 << 10),
        ("descriptors", |h| h.descriptors as u64, 8),
        ("files", |h| h.files as u64, 8),
        ("bytes", |h| h.bytes, 4 << 20),
    ];
    for (what, of, slack) in kinds {
        let (before, after) = (most(middle, of), most(last, of));
        if after > before + before / 4 + slack {
            return Err(format!("{what} did not level off: {before}, then {after}"));
        }
    }
    Ok(())
}
