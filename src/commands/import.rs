//! `tenbin import prometheus`: blocks of Prometheus into a data directory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tenbin_storage::vfs::OsVfs;
use tenbin_storage::{Clock as _, ImportProgress, ImportReport, SystemClock};

use super::output::{Ticker, count, fail, say, size, tell, time};
use crate::config::duration;

/// Samples this far ahead of the clock are pointed out.
const FUTURE_MS: i64 = 60 * 60 * 1000;

/// What to import, and where to.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Prometheus data directories, snapshots (`data/snapshots/...`) or single blocks.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Data directory to import into; made when it is not there. No server may have it open.
    #[arg(long = "storage.tsdb.path", value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Retention time that the server on this directory runs with; decides the length of blocks and
    /// what is warned of. Nothing is dropped by the import.
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", default_value = "15d",
          value_parser = duration)]
    retention_ms: i64,
}

/// Runs the import.
pub(super) fn run(arguments: &ImportArgs) -> ExitCode {
    let db = match super::open(&arguments.data_dir, arguments.retention_ms) {
        Ok(db) => db,
        Err(error) => return fail(error),
    };
    let mut ticker = Ticker::new();
    let mut progress = |at: &ImportProgress| ticker.tick(|| progress_text(at));
    let imported = db.import_prometheus(&OsVfs, &arguments.paths, &mut progress);
    let newest_ms = db.stats().max_time_ms;
    let closed = db.close();
    let report = match (imported, closed) {
        (Ok(report), Ok(())) => report,
        (Err(error), _) => return fail(error),
        (_, Err(error)) => return fail(error),
    };
    for line in warnings(&report, arguments.retention_ms, newest_ms) {
        tell(&format!("warning: {line}"));
    }
    summary(&report);
    if report.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    for (block, damage) in &report.failed {
        tell(&format!("error: {block}: {damage}"));
    }
    ExitCode::FAILURE
}

fn progress_text(at: &ImportProgress) -> String {
    format!(
        "block {} of {}: {}, series {} of {}; {} samples so far",
        (at.blocks_done + 1).min(at.blocks_total),
        at.blocks_total,
        at.block,
        count(at.series_done as u64),
        count(at.series_total as u64),
        count(at.samples)
    )
}

fn summary(report: &ImportReport) {
    say(&format!(
        "imported {} blocks: {} series, {} samples, {} histogram samples, into {} blocks of {}",
        count(report.blocks),
        count(report.series),
        count(report.samples),
        count(report.histogram_samples),
        count(report.written_blocks),
        size(report.written_bytes)
    ));
    if let (Some(min_ms), Some(max_ms)) = (report.min_ms, report.max_ms) {
        say(&format!(
            "samples from {} to {}",
            time(min_ms),
            time(max_ms)
        ));
    }
    if report.deleted > 0 {
        let deleted = count(report.deleted);
        say(&format!(
            "left out {deleted} samples that Prometheus had deleted"
        ));
    }
}

fn warnings(report: &ImportReport, retention_ms: i64, newest_ms: Option<i64>) -> Vec<String> {
    let mut lines = Vec::new();
    for folder in &report.head_folders {
        lines.push(format!(
            "{} was not read: its samples are in no block yet. To have them in blocks, take a \
             snapshot of the running Prometheus (POST /api/v1/admin/tsdb/snapshot) and import that",
            folder.display()
        ));
    }
    if let (Some(min_ms), Some(newest_ms)) = (report.min_ms, newest_ms)
        && retention_ms > 0
        && min_ms < newest_ms.saturating_sub(retention_ms)
    {
        lines.push(format!(
            "samples before {} are outside the retention time and the server will drop them, unless \
             it runs with a longer --storage.tsdb.retention.time",
            time(newest_ms.saturating_sub(retention_ms))
        ));
    }
    let now_ms = SystemClock.now_ms();
    if let Some(max_ms) = report.max_ms
        && max_ms > now_ms.saturating_add(FUTURE_MS)
    {
        lines.push(format!(
            "the newest sample is of {}, in the future; retention counts back from it",
            time(max_ms)
        ));
    }
    lines
}
