//! What `tenbin` does besides serving: one file per command.
//!
//! Commands write results to standard output, and progress and trouble to standard error. Exit codes:
//! 0 done, 1 failed or damage found, 2 wrong usage.

mod export;
mod import;
mod inspect;
mod output;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use tenbin_storage::{Db, OpenError, Options};

/// A command of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read data of another database into a data directory that no server has open.
    Import {
        /// Where the data comes from.
        #[command(subcommand)]
        from: ImportFrom,
    },
    /// Write data of a data directory that no server has open for another database.
    Export {
        /// What is written.
        #[command(subcommand)]
        to: ExportTo,
    },
    /// Show what is in a data directory, block, log segment or manifest. Changes nothing.
    Inspect(inspect::InspectArgs),
    /// Read everything, verify every checksum, decode every unit. Changes nothing.
    Verify(verify::VerifyArgs),
}

/// Sources of an import.
#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// Blocks of Prometheus: data directories, snapshots, or single blocks.
    Prometheus(import::ImportArgs),
}

/// Targets of an export.
#[derive(Debug, Subcommand)]
pub enum ExportTo {
    /// Blocks that Prometheus, Thanos, Mimir and promtool read.
    Prometheus(export::ExportArgs),
}

impl Command {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self {
            Self::Import {
                from: ImportFrom::Prometheus(arguments),
            } => import::run(&arguments),
            Self::Export {
                to: ExportTo::Prometheus(arguments),
            } => export::run(&arguments),
            Self::Inspect(arguments) => inspect::run(&arguments),
            Self::Verify(arguments) => verify::run(&arguments),
        }
    }
}

/// Opens a database for one task: nothing is flushed, merged or dropped in the background.
fn open(data_dir: &Path, retention_ms: i64) -> Result<Arc<Db>, String> {
    let options = Options {
        data_dir: data_dir.to_owned(),
        retention_ms,
        maintenance: false,
        ..Options::default()
    };
    Db::open(options).map_err(|error| match error {
        OpenError::Locked { dir, .. } => format!(
            "data directory {} is in use: stop the server on it first",
            dir.display()
        ),
        error => format!("cannot open {}: {error}", data_dir.display()),
    })
}

/// Whether a folder can be a data directory; a command that only reads makes none.
fn is_data_dir(dir: &Path) -> Result<(), String> {
    let manifest: PathBuf = dir.join("MANIFEST");
    if manifest.exists() || dir.join("blocks").exists() {
        return Ok(());
    }
    Err(format!(
        "{} is no data directory (flag --storage.tsdb.path): it has no MANIFEST",
        dir.display()
    ))
}
