//! Power cuts on a real kernel: SIGKILL, then the file system is shut down and mounted again, so that
//! everything un-synced is gone.
//!
//! `group` loses nothing, `interval` at most what was acknowledged in its last interval, `segment` any
//! suffix; none has a hole, a wrong value, or a start that needs a hand.

use std::path::Path;
use std::time::{Duration, Instant};

use super::ledger::{Load, check};
use super::mount::Mount;
use crate::process::Tenbin;
use crate::random::Random;

/// What the rounds showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Rounds done.
    pub rounds: usize,
    /// Acknowledged samples that were found again.
    pub samples: usize,
    /// Acknowledged requests that were not, where the policy allows it.
    pub lost: usize,
    /// The oldest of these: how long before the cut it was acknowledged.
    pub oldest_lost: Duration,
}

/// Cuts the power so many times on a file system of a kind (`ext4`, `xfs`), with
/// `--storage.wal-sync=policy`.
///
/// # Errors
/// The first thing that is lost beyond the policy, wrong, or needs a hand.
pub fn run(
    program: &Path,
    rounds: usize,
    kind: &str,
    policy: &str,
    seed: u64,
) -> Result<Report, String> {
    let work = tempfile::tempdir().map_err(|e| e.to_string())?;
    let image = work.path().join("image");
    let medium = Mount::image(&work.path().join("medium"), &image, kind, 512)?;
    let sync = format!("--storage.wal-sync={policy}");
    let flags = [&*sync, "--web.enable-admin-api"];
    let allowed = match policy.split_once('=') {
        _ if policy == "group" => Some(Duration::ZERO),
        Some((_, interval)) => Some(parse_ms(interval)? + Duration::from_millis(50)),
        None => None,
    };
    let mut server = Tenbin::start(program, &medium.dir, &flags)?;
    let mut random = Random::new(seed);
    let mut report = Report::default();
    for round in 0..rounds {
        let first = round as u64 * 3;
        let load = Load::start(&server.url, first..first + 3);
        std::thread::sleep(Duration::from_millis(50 + random.below(350) as u64));
        if random.one_in(3) {
            let url = format!("{}/api/v1/admin/tsdb/flush", server.url);
            let _ = crate::http::Client::default().post(&url, &[], &[]);
        }
        server.process.kill();
        let cut = Instant::now();
        let ledger = load.finish()?;
        medium.power_cut()?;
        server.restart()?;
        let checked = check(&server.url, &ledger).map_err(|e| format!("round {round}: {e}"))?;
        report.samples += checked.samples;
        report.rounds += 1;
        for (sender, at_ms, when) in &checked.lost {
            let age = cut.saturating_duration_since(*when);
            if allowed.is_some_and(|allowed| allowed.is_zero() || age > allowed) {
                return Err(format!(
                    "round {round}: sender {sender} lost {at_ms}, acknowledged {age:?} before the cut"
                ));
            }
            let sent = &ledger[sender].acknowledged;
            let newest_there = sent.iter().rev().map(|s| s.0).find(|t| {
                !checked
                    .lost
                    .iter()
                    .any(|lost| (lost.0, lost.1) == (*sender, *t))
            });
            if newest_there.is_some_and(|newest| newest > *at_ms) {
                return Err(format!(
                    "round {round}: sender {sender} has a hole at {at_ms}"
                ));
            }
            report.lost += 1;
            report.oldest_lost = report.oldest_lost.max(age);
        }
    }
    Ok(report)
}

fn parse_ms(text: &str) -> Result<Duration, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("no duration: {text}"));
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => Ok(Duration::from_millis(number(ms)?)),
        (None, Some(s)) => Ok(Duration::from_secs(number(s)?)),
        _ => Err(format!("no duration: {text}")),
    }
}
