//! Tenbin beside its peers on the same work in one run.
//!
//! Every system gets the same request bodies in the same order over HTTP; cost is read from outside
//! (`/proc`), so all of a system's background work counts. Ratios within one run are what matters:
//! absolute figures depend on the machine. Build the server first: `cargo build --release`.

#![allow(clippy::print_stdout, reason = "a program that prints its results")]

mod capture;
mod ingest;
mod load;
mod measure;
mod report;
mod systems;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs Tenbin, Prometheus and VictoriaMetrics on the same work and prints ratios.
#[derive(Debug, Parser)]
#[command(name = "tenbin-bench")]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replays a recorded remote-write stream into each system.
    Ingest(IngestFlags),
}

/// Settings of the ingest benchmark.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IngestFlags {
    /// The recording: zstd-compressed records of (u64 arrival ms, u32 length, body).
    #[arg(long, default_value = "../shared/data/prometheus-5s-45min.rw.zst")]
    capture: PathBuf,
    /// How many copies of the recording are sent, each as another cluster with another time offset.
    #[arg(long, default_value_t = 10)]
    replicas: usize,
    /// Connections that send at once; each replica stays on one connection.
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// How often everything is repeated; medians are printed.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Folder with the peers' programs; peers that are missing are left out and named.
    #[arg(long, env = "TENBIN_PEERS")]
    peers: Option<PathBuf>,
    /// The server; by default the one beside this program.
    #[arg(long)]
    tenbin: Option<PathBuf>,
    /// Only these systems (tenbin, prometheus, victoriametrics).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().command {
        Command::Ingest(flags) => ingest::run(&flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
