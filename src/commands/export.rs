//! `tenbin export prometheus`: samples of a data directory as blocks of Prometheus.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tenbin_model::Matcher;
use tenbin_promql::options::Features;
use tenbin_storage::vfs::OsVfs;
use tenbin_storage::{ExportOptions, ExportProgress};

use super::output::{Ticker, count, fail, say, size, tell, time};
use crate::api::times::parse_time_ms;
use crate::config::duration;

/// What to export, and where to.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Data directory to read. No server may have it open.
    #[arg(long = "storage.tsdb.path", value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Folder for the blocks; made when it is not there.
    #[arg(long = "out", value_name = "DIR")]
    out: PathBuf,
    /// First time, RFC 3339 or Unix seconds; without it from the oldest sample on.
    #[arg(long = "start", value_name = "TIME", value_parser = parse_time_ms, allow_hyphen_values = true)]
    start_ms: Option<i64>,
    /// Last time, RFC 3339 or Unix seconds; without it up to the newest sample.
    #[arg(long = "end", value_name = "TIME", value_parser = parse_time_ms, allow_hyphen_values = true)]
    end_ms: Option<i64>,
    /// Only series that this selector takes. Repeatable: series that one of them takes.
    #[arg(long = "match", value_name = "SELECTOR", value_parser = selector)]
    selectors: Vec<Selector>,
    /// Longest block; blocks are as long as Prometheus makes them: 2h, 6h, 18h, and so on.
    #[arg(long = "max-block-duration", value_name = "DURATION", default_value = "2h",
          value_parser = duration)]
    max_block_ms: i64,
}

/// The matchers of a selector.
#[derive(Debug, Clone)]
struct Selector(Vec<Matcher>);

fn selector(text: &str) -> Result<Selector, String> {
    tenbin_promql::parse_matchers(text, &Features::default())
        .map(Selector)
        .map_err(|error| error.to_string())
}

/// Runs the export.
pub(super) fn run(arguments: &ExportArgs) -> ExitCode {
    let (start_ms, end_ms) = (
        arguments.start_ms.unwrap_or(i64::MIN),
        arguments.end_ms.unwrap_or(i64::MAX),
    );
    if start_ms > end_ms {
        tell("error: --start lies after --end");
        return ExitCode::from(2);
    }
    // Reading changes nothing, so no retention is in force.
    let opened =
        super::is_data_dir(&arguments.data_dir).and_then(|()| super::open(&arguments.data_dir, 0));
    let db = match opened {
        Ok(db) => db,
        Err(error) => return fail(error),
    };
    let options = ExportOptions {
        out: arguments.out.clone(),
        start_ms,
        end_ms,
        selectors: arguments.selectors.iter().map(|s| s.0.clone()).collect(),
        max_block_ms: arguments.max_block_ms,
    };
    let mut ticker = Ticker::new();
    let mut progress = |at: &ExportProgress| {
        ticker.tick(|| {
            let (blocks, samples) = (count(at.blocks), count(at.samples));
            let from = time(at.window_ms);
            format!("block from {from} on; {blocks} blocks, {samples} samples so far")
        });
    };
    let exported = db.export_prometheus(&OsVfs, &options, &mut progress);
    let closed = db.close();
    let report = match (exported, closed) {
        (Ok(report), Ok(())) => report,
        (Err(error), _) => return fail(error),
        (_, Err(error)) => return fail(error),
    };
    for block in &report.blocks {
        say(&block.display().to_string());
    }
    tell(&format!(
        "exported {} blocks: {} series, {} samples, {} histogram samples, {} chunks, {}",
        count(report.blocks.len() as u64),
        count(report.series),
        count(report.samples),
        count(report.histogram_samples),
        count(report.chunks),
        size(report.bytes)
    ));
    ExitCode::SUCCESS
}
