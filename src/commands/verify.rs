//! `tenbin verify`: is everything intact?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tenbin_storage::inspect::verify;
use tenbin_storage::vfs::OsVfs;

use super::inspect::{damage_json, damage_text};
use super::output::{Ticker, count, say, size, tell};

/// What to verify.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A data directory, or a block, log segment or MANIFEST of one.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Write JSON instead of lines.
    #[arg(long)]
    json: bool,
}

/// Verifies; exit code 0 when clean, 1 when something is damaged, 2 when nothing can be said.
pub(super) fn run(arguments: &VerifyArgs) -> ExitCode {
    let mut ticker = Ticker::new();
    let mut progress = |file: &str| ticker.tick(|| format!("reading {file}"));
    let report = match verify(&OsVfs, &arguments.path, &mut progress) {
        Ok(report) => report,
        Err(error) => {
            tell(&format!("error: {error}"));
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        let value = json!({
            "files": report.files,
            "bytes": report.bytes,
            "samples": report.samples,
            "damage": damage_json(&report.damage),
            "notes": report.notes,
        });
        say(&format!("{value:#}"));
    } else {
        for note in &report.notes {
            say(&format!("note: {note}"));
        }
        if !report.damage.is_empty() {
            say(damage_text(&report.damage).trim_end());
        }
        say(&format!(
            "{} files, {}, {} samples: {}",
            count(report.files),
            size(report.bytes),
            count(report.samples),
            match report.damage.len() {
                0 => "all intact".to_owned(),
                1 => "1 DAMAGE".to_owned(),
                many => format!("{many} DAMAGES"),
            }
        ));
    }
    if report.damage.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}
