//! From the command line to a running server and an exit code.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::commands::Command;
use crate::config::{Flags, LogLevel};
use crate::log_lines::LogLines;
use crate::server::run::serve;

/// Stack of every thread that parses or evaluates: generous against the parser's bounds on depth and
/// chain length (address space only; pages are touched when used).
const THREAD_STACK_BYTES: usize = 16 << 20;

/// Tenbin: a Prometheus-compatible time-series database in one binary.
///
/// Without a command it is the server: send to http://HOST:9090/api/v1/write (remote write), query at
/// http://HOST:9090 (as Prometheus). The commands move data in and out and look into files.
#[derive(Debug, Parser)]
#[command(
    name = "tenbin",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// Runs a command, or without one starts logging and serves until stopped. Exit codes: 0 after a stop
/// that was asked for, 1 when the server could not start or failed, 2 for wrong flags; those of the
/// commands are theirs.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(command) = cli.command {
        return command.run();
    }
    let flags = cli.flags;
    start_log(&flags);
    let settings = match flags.settings() {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_stack_size(THREAD_STACK_BYTES);
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the async runtime");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting tenbin");
    match runtime.block_on(serve(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(flags: &Flags) {
    let (level, format) = flags.log();
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    builder.event_format(LogLines(format)).init();
}
