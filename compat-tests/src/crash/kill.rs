//! SIGKILL at random moments: under load with flushes and merges, in the middle of a start, after
//! SIGTERM.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ledger::{Ledger, Load, check, now_ms};
use crate::http::{Client, form};
use crate::process::Tenbin;
use crate::random::Random;

/// Rounds between two checks of everything ever acknowledged.
const FULL_CHECK: usize = 50;

/// What the rounds showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Rounds done.
    pub rounds: usize,
    /// Acknowledged samples, all found again.
    pub samples: usize,
    /// The longest time from start to ready.
    pub slowest_start: Duration,
    /// Starts that were killed themselves.
    pub killed_starts: usize,
}

/// Kills and restarts the server so many times.
///
/// # Errors
/// The first thing that is lost, wrong, or needs a hand.
pub fn run(program: &Path, rounds: usize, seed: u64) -> Result<Report, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let flags = ["--web.enable-admin-api"];
    let mut server = Tenbin::start(program, directory.path(), &flags)?;
    let mut random = Random::new(seed);
    let mut report = Report::default();
    let mut all = Ledger::new();
    for round in 0..rounds {
        let first = round as u64 * 4;
        let load = Load::start(&server.url, first..first + 4);
        let others = Others::start(&server.url, random.next_u64());
        std::thread::sleep(Duration::from_millis(random.below(500) as u64));
        if random.one_in(6) {
            server.process.signal_term();
            std::thread::sleep(Duration::from_millis(random.below(40) as u64));
        }
        server.process.kill();
        let ledger = load.finish()?;
        others.finish()?;
        while random.one_in(3) {
            server.spawn_again()?;
            std::thread::sleep(Duration::from_millis(random.below(60) as u64));
            server.process.kill();
            report.killed_starts += 1;
        }
        let took = server.restart()?;
        report.slowest_start = report.slowest_start.max(took);
        report.samples += all_there(&server.url, &ledger, round)?;
        all.extend(ledger);
        if (round + 1).is_multiple_of(FULL_CHECK) || round + 1 == rounds {
            all_there(&server.url, &all, round)?;
        }
        report.rounds += 1;
    }
    Ok(report)
}

fn all_there(url: &str, ledger: &Ledger, round: usize) -> Result<usize, String> {
    let checked = check(url, ledger).map_err(|e| format!("round {round}: {e}"))?;
    match checked.lost.first() {
        None => Ok(checked.samples),
        Some((sender, at_ms, _)) => Err(format!(
            "round {round}: {} acknowledged requests are lost, first of sender {sender} at {at_ms}",
            checked.lost.len()
        )),
    }
}

/// Readers, and somebody who flushes and merges.
struct Others {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Result<(), String>>>,
}

impl Others {
    fn start(url: &str, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..3)
            .map(|number| {
                let (url, stop) = (url.to_owned(), Arc::clone(&stop));
                let random = Random::new(seed ^ number);
                std::thread::spawn(move || {
                    if number == 0 {
                        maintain(&url, random, &stop);
                        Ok(())
                    } else {
                        read(&url, &stop)
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }

    fn finish(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| "a reader panicked".to_owned())??;
        }
        Ok(())
    }
}

fn maintain(url: &str, mut random: Random, stop: &AtomicBool) {
    let client = Client::default();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(random.below(150) as u64));
        let what = random.pick(&["flush", "flush", "compact", "clean_tombstones"]);
        // The server may be gone at any time.
        let _ = client.post(&format!("{url}/api/v1/admin/tsdb/{what}"), &[], &[]);
    }
}

fn read(url: &str, stop: &AtomicBool) -> Result<(), String> {
    let client = Client::default();
    while !stop.load(Ordering::Relaxed) {
        let time = format!("{}", now_ms() / 1000);
        let query = form(&[
            ("query", "sum(count_over_time(ledger[5m]))"),
            ("time", &time),
        ]);
        if let Ok(answer) = client.get(&format!("{url}/api/v1/query?{query}"))
            && !matches!(answer.status, 200 | 499 | 503)
        {
            return Err(format!("a query got {} {}", answer.status, answer.text()));
        }
    }
    Ok(())
}
