//! Tenbin beside its peers on the same work in one run.
//!
//! Every system gets the same request bodies in the same order over HTTP; cost is read from outside
//! (`/proc`), so all of a system's background work counts. Ratios within one run are what matters:
//! absolute figures depend on the machine. Build the server first: `cargo build --release`.

#![allow(clippy::print_stdout, reason = "a program that prints its results")]

mod all;
mod bodies;
mod capture;
mod client;
mod costs;
mod dashboard;
mod figures;
mod flags;
mod generate;
mod goals;
mod guard;
mod ingest;
mod labels;
mod load;
mod measure;
mod query;
mod report;
mod setup;
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
    /// Asks for twenty panels at once, idle and while samples come in.
    Dashboard(dashboard::DashboardFlags),
    /// Asks for label names, label values and series at many series.
    Labels(labels::LabelFlags),
    /// All of these, and the table of goals.
    All(all::AllFlags),
    /// Counts instructions, allocations and bytes of the hot paths against `benches/guard.json`.
    Guard(guard::GuardFlags),
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().command {
        Command::Ingest(flags) => ingest::run(&flags),
        Command::Query(flags) => query::run(&flags),
        Command::Dashboard(flags) => dashboard::run(&flags),
        Command::Labels(flags) => labels::run(&flags),
        Command::All(flags) => all::run(&flags),
        Command::Guard(flags) => guard::run(&flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
