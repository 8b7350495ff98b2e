//! The command line of the ingest benchmark and its presets.

use std::path::PathBuf;

use crate::generate::Protocol;
use crate::setup::{Preset, Programs};
use crate::workload::Name;

/// Settings of the ingest benchmark.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IngestFlags {
    /// A ready-made set; other flags refine it.
    #[arg(long)]
    pub(crate) preset: Option<Preset>,
    /// The workloads, in this order.
    #[arg(long = "workload", value_delimiter = ',')]
    names: Vec<Name>,
    /// Multiplies the number of series (and copies of the recording); 0.1 takes seconds.
    #[arg(long)]
    scale: Option<f64>,
    /// The protocol of generated workloads; the recording is always remote write 1.0.
    #[arg(long)]
    protocol: Option<Protocol>,
    /// Samples of a request (generated workloads).
    #[arg(long, default_value_t = 2000)]
    pub(crate) samples_per_request: usize,
    /// Connections that send at once; a series stays on one connection.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Every scrape's series come in another order, so that no order can be learnt.
    #[arg(long)]
    pub(crate) shuffle: bool,
    /// Series at any time, instead of the workload's.
    #[arg(long)]
    pub(crate) series: Option<usize>,
    /// Scrapes, instead of the workload's.
    #[arg(long)]
    pub(crate) scrapes: Option<usize>,
    /// Milliseconds between scrapes, at least 1,000.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1000..))]
    pub(crate) interval_ms: Option<i64>,
    /// Share of pods replaced in an hour, instead of the workload's (1.0 = as many as there are).
    #[arg(long)]
    pub(crate) churn_per_hour: Option<f64>,
    /// Time of the first scrape, milliseconds since the Unix epoch; by default the last one is now.
    #[arg(long)]
    pub(crate) start_ms: Option<i64>,
    /// The same seed, sizes and start give the same bytes.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The recording: zstd-compressed records of (u64 arrival ms, u32 length, body).
    #[arg(long, default_value = "../shared/data/prometheus-5s-45min.rw.zst")]
    pub(crate) capture: PathBuf,
    /// Copies of the recording, each as another cluster with another time offset.
    #[arg(long)]
    pub(crate) replicas: Option<usize>,
    /// How often everything is repeated; medians are printed.
    #[arg(long)]
    pub(crate) repeat: Option<usize>,
    /// `newseries` at its size, all others at two fifths; only `newseries` is killed: what `all` runs.
    #[arg(long)]
    pub(crate) brief: bool,
    /// Leaves out the instance that is killed.
    #[arg(long)]
    pub(crate) no_kill: bool,
    /// Tenbin's `--storage.wal-sync`; `segment` is what Prometheus does.
    #[arg(long, default_value = "group")]
    pub(crate) wal_sync: String,
    /// Writes all figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) programs: Programs,
}

impl IngestFlags {
    /// Workloads with their protocol, in order.
    pub(crate) fn workloads(&self) -> Vec<(Name, Protocol)> {
        let protocol = self.protocol.unwrap_or(Protocol::Rw1);
        let names = if self.names.is_empty() {
            Name::ALL.to_vec()
        } else {
            self.names.clone()
        };
        let mut all: Vec<(Name, Protocol)> = names
            .into_iter()
            .map(|name| match name {
                Name::Capture | Name::Histograms => (name, Protocol::Rw1),
                _ => (name, protocol),
            })
            .collect();
        let is_plain_full =
            self.preset == Some(Preset::Full) && self.names.is_empty() && self.protocol.is_none();
        if is_plain_full {
            all.push((Name::Steady, Protocol::Rw2));
        }
        all
    }

    pub(crate) fn scale(&self, name: Name) -> f64 {
        let usual = match self.preset {
            Some(Preset::Quick) => 0.01,
            Some(Preset::Full) if self.brief && name != Name::Newseries => 0.4,
            Some(Preset::Full) => 1.0,
            None => 0.1,
        };
        self.scale.unwrap_or(usual)
    }

    /// Whether a second instance is killed.
    pub(crate) fn kills(&self, name: Name) -> bool {
        !self.no_kill && (!self.brief || name == Name::Newseries)
    }

    /// By how much a workload's scrapes are divided.
    pub(crate) fn scrapes_divisor(&self) -> usize {
        match self.preset {
            Some(Preset::Quick) => 6,
            _ => 1,
        }
    }

    pub(crate) fn repeat(&self) -> usize {
        self.repeat.unwrap_or(1).max(1)
    }

    pub(crate) fn connections(&self) -> usize {
        usize::from(self.connections)
    }
}
