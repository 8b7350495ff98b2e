//! A disk that fills up under ingest, flushes and merges: writes are refused and come back by
//! themselves, reads go on, nothing acknowledged is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Load, check};
use super::mount::Mount;
use crate::http::Client;
use crate::process::Tenbin;

/// What the run showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Times that writes were refused for lack of space and resumed.
    pub rounds: usize,
    /// Answers 503.
    pub refused: usize,
    /// Acknowledged samples, all found again.
    pub samples: usize,
    /// The longest time from free space to the next acknowledged write.
    pub slowest_resume: Duration,
}

/// Fills a tmpfs of 64 MiB so many times; every other time while flushing and merging.
///
/// # Errors
/// The first thing that is lost, wrong, or needs a hand.
pub fn run(program: &Path, rounds: usize) -> Result<Report, String> {
    let work = tempfile::tempdir().map_err(|e| e.to_string())?;
    let medium = Mount::tmpfs(&work.path().join("medium"), 64)?;
    let mut server = Tenbin::start(program, &medium.dir, &["--web.enable-admin-api"])?;
    let ballast = medium.dir.join("ballast");
    let mut report = Report::default();
    let mut all = Ledger::new();
    for round in 0..rounds {
        let first = round as u64 * 4;
        let load = Load::start(&server.url, first..first + 4);
        std::thread::sleep(Duration::from_millis(300));
        fill(&ballast)?;
        if !round.is_multiple_of(2) {
            maintain(&server.url);
        }
        wait_for(&server.url, "a refused write", |status| status == 503)?;
        if Client::default()
            .get(&format!("{}/api/v1/query?query=count(ledger)", server.url))?
            .status
            != 200
        {
            return Err(format!("round {round}: a query fails on a full disk"));
        }
        std::fs::remove_file(&ballast).map_err(|e| e.to_string())?;
        let freed = Instant::now();
        wait_for(&server.url, "writes to resume", |status| status == 204)?;
        report.slowest_resume = report.slowest_resume.max(freed.elapsed());
        std::thread::sleep(Duration::from_millis(200));
        if round % 3 == 2 {
            server.process.kill();
        }
        let ledger = load.finish()?;
        report.refused += ledger.values().map(|sent| sent.refused).sum::<usize>();
        all.extend(ledger);
        if round % 3 == 2 {
            server.restart()?;
        }
        maintain(&server.url);
        let checked = check(&server.url, &all).map_err(|e| format!("round {round}: {e}"))?;
        if let Some((sender, at_ms, _)) = checked.lost.first() {
            return Err(format!("round {round}: sender {sender} lost {at_ms}"));
        }
        report.samples = checked.samples;
        report.rounds += 1;
    }
    Ok(report)
}

fn maintain(url: &str) {
    for what in ["flush", "compact"] {
        let _ = Client::default().post(&format!("{url}/api/v1/admin/tsdb/{what}"), &[], &[]);
    }
}

/// Takes all the space there is.
fn fill(ballast: &Path) -> Result<(), String> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(ballast).map_err(|e| e.to_string())?;
    for size in [1 << 20, 4096] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
    Ok(())
}

/// Writes a sample again and again until the answer is as wanted.
fn wait_for(url: &str, what: &str, wanted: impl Fn(u16) -> bool) -> Result<(), String> {
    let client = Client::default();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        let now_ms = super::ledger::now_ms();
        let probe = crate::sender::series(&[("__name__", "probe")], &[(now_ms, 1.0)]);
        let answer = crate::sender::send(&client, url, vec![probe])?;
        if wanted(answer.status) {
            return match answer.status {
                503 if answer.retry_after.is_empty() => Err("503 without Retry-After".into()),
                _ => Ok(()),
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("waited 30 s for {what}"))
}
