//! Tenbin beside its peers on the same work in one run.
//!
//! Every system gets the same request bodies in the same order over HTTP; cost is read from outside
//! (`/proc`), so all of a system's background work counts. Ratios within one run are what matters:
//! absolute figures depend on the machine. Build the server first: `cargo build --release`.

#![allow(clippy::print_stdout, reason = "a program that prints its results")]

mod bodies;
mod capture;
mod figures;
mod flags;
mod generate;
mod ingest;
mod load;
mod measure;
mod query;
mod report;
mod systems;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use flags::IngestFlags;

/// Runs Tenbin, Prometheus and VictoriaMetrics on the same work and prints ratios.
#[derive(Debug, Parser)]
#[command(name = "tenbin-bench")]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends generated and recorded traffic into each system.
    Ingest(Box<IngestFlags>),
    /// Asks each system the same queries.
    Query(Box<query::QueryFlags>),
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().command {
        Command::Ingest(flags) => ingest::run(&flags),
        Command::Query(flags) => query::run(&flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
