//! What all benchmarks share: presets, where programs are found, the machine, and started systems.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::floor_us;
use crate::systems::{Installed, Running, System};

/// Ready-made sets of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// Tiny: whether the program works, and roughly where things stand.
    Quick,
    /// The sizes of the goals.
    Full,
}

/// Which programs run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Programs {
    /// Folder with the peers' programs; peers that are missing are left out and named.
    #[arg(long, env = "TENBIN_PEERS")]
    pub(crate) peers: Option<PathBuf>,
    /// The server; by default the one beside this program.
    #[arg(long)]
    pub(crate) tenbin: Option<PathBuf>,
    /// Only these systems (tenbin, prometheus, victoriametrics).
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
}

impl Programs {
    /// Those that are there; names the others.
    pub(crate) fn installed(&self, wal_sync: &str) -> Vec<Installed> {
        let wanted =
            |s: &System| self.only.is_empty() || self.only.iter().any(|only| only == s.name());
        let mut found = Vec::new();
        for system in System::ALL.into_iter().filter(wanted) {
            let (peers, tenbin) = (self.peers.as_deref(), self.tenbin.as_deref());
            match Installed::find(system, peers, tenbin, wal_sync) {
                Ok(installed) => found.push(installed),
                Err(reason) => println!("left out: {} ({reason})", system.name()),
            }
        }
        found
    }

    /// Starts all of them with caches as their users have them, each in a folder below `directory`.
    pub(crate) fn start(&self, directory: &Path) -> Result<Vec<Running>, String> {
        let mut running = Vec::new();
        for installed in self.installed("group") {
            let directory = directory.join(installed.system.name());
            std::fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
            running.push(Running::start(&installed.with_caches(), &directory)?);
        }
        Ok(running)
    }
}

/// The machine, as results name it.
pub(crate) fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or(String::new(), |(_, name)| name.to_owned());
    json!({
        "cores": cores,
        "cpu": cpu,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average_before": read("/proc/loadavg").trim(),
    })
}

/// Prints what the client and a server's HTTP cost without any query, by system.
pub(crate) fn print_floor(systems: &[Running]) -> Result<Value, String> {
    println!("\nA request that does nothing (`/-/healthy`), the floor of every latency below:\n");
    println!("| | median µs | server CPU µs |\n|---|---|---|");
    let mut all = serde_json::Map::new();
    for running in systems {
        let (latency, cpu) = floor_us(&running.url, "/-/healthy", running.process.id())?;
        println!("| {} | {latency:.0} | {cpu:.0} |", running.system.title());
        let value = json!({"latency_us": latency, "cpu_us": cpu});
        all.insert(running.system.name().to_owned(), value);
    }
    println!();
    Ok(Value::Object(all))
}
