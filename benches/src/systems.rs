//! How each system is started, told to settle, and measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::process::{Process, free_port};

use crate::generate::Protocol;
use crate::measure::{disk_bytes, wait_quiet};

/// How long a system may take to finish its background work.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// A system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Tenbin,
    Prometheus,
    VictoriaMetrics,
}

impl System {
    pub(crate) const ALL: [Self; 3] = [Self::Tenbin, Self::Prometheus, Self::VictoriaMetrics];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tenbin => "tenbin",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoriametrics",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tenbin => "Tenbin",
            Self::Prometheus => "Prometheus",
            Self::VictoriaMetrics => "VictoriaMetrics",
        }
    }

    /// Whether the system has a part in a workload: VictoriaMetrics takes no remote write 2.0, and has
    /// no native histograms of Prometheus' kind in its store.
    pub(crate) fn takes(self, protocol: Protocol, is_native: bool) -> bool {
        self != Self::VictoriaMetrics || (protocol == Protocol::Rw1 && !is_native)
    }

    fn program_name(self) -> &'static str {
        match self {
            Self::Tenbin => "tenbin",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }
}

/// One system with its program and settings.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) system: System,
    program: PathBuf,
    /// Tenbin: `--storage.wal-sync`.
    wal_sync: String,
    /// VictoriaMetrics: its result cache is on (questions may still say `nocache=1`).
    caches: bool,
    /// Prometheus: takes native histograms.
    histograms: bool,
}

impl Installed {
    /// Finds the program.
    pub(crate) fn find(
        system: System,
        peers: Option<&Path>,
        tenbin: Option<&Path>,
        wal_sync: &str,
    ) -> Result<Self, String> {
        Ok(Self {
            system,
            program: program(system, peers, tenbin)?,
            wal_sync: wal_sync.to_owned(),
            caches: false,
            histograms: false,
        })
    }

    /// The same with its result cache on.
    pub(crate) fn with_caches(&self) -> Self {
        Self {
            caches: true,
            ..self.clone()
        }
    }

    /// The same, ready for native histograms.
    pub(crate) fn with_histograms(&self) -> Self {
        Self {
            histograms: true,
            ..self.clone()
        }
    }

    /// What an acknowledged sample survives, which every ingest figure must state.
    pub(crate) fn durability(&self) -> String {
        match self.system {
            System::Tenbin if self.wal_sync == "group" => {
                "power loss (fdatasync before 2xx)".to_owned()
            }
            System::Tenbin => format!("process kill (wal-sync={})", self.wal_sync),
            System::Prometheus => "process kill".to_owned(),
            System::VictoriaMetrics => "may lose the last seconds".to_owned(),
        }
    }

    /// The first line of `--version`.
    pub(crate) fn version(&self) -> String {
        let output = Command::new(&self.program).arg("--version").output();
        output.map_or_else(
            |e| e.to_string(),
            |output| {
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text).into_owned();
                let line = text.lines().find(|l| !l.trim().is_empty());
                line.unwrap_or("the build names no version")
                    .trim()
                    .to_owned()
            },
        )
    }
}

/// Where a system's program is.
fn program(system: System, peers: Option<&Path>, tenbin: Option<&Path>) -> Result<PathBuf, String> {
    let path = match (system, tenbin) {
        (System::Tenbin, Some(path)) => path.to_owned(),
        (System::Tenbin, None) => {
            let own = std::env::current_exe().map_err(|e| e.to_string())?;
            own.with_file_name("tenbin")
        }
        _ => {
            let folder = peers.map_or_else(
                || {
                    PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
                        .join(".cache/tenbin-peers/bin")
                },
                Path::to_owned,
            );
            folder.join(system.program_name())
        }
    };
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} not found", path.display()))
    }
}

/// A running system.
pub(crate) struct Running {
    pub(crate) system: System,
    pub(crate) process: Process,
    pub(crate) url: String,
    installed: Installed,
    directory: PathBuf,
    port: u16,
}

impl Running {
    pub(crate) fn start(installed: &Installed, directory: &Path) -> Result<Self, String> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let mut process = spawn(installed, directory, port)?;
        let system = installed.system;
        process.wait_ready(&health_url(system, &url), Duration::from_secs(60))?;
        Ok(Self {
            system,
            process,
            url,
            installed: installed.clone(),
            directory: directory.to_owned(),
            port,
        })
    }

    /// The first line of `--version`.
    pub(crate) fn version(&self) -> String {
        self.installed.version()
    }

    /// `kill -9`, start, and the time until `query` is answered, with
    /// the answer. All three say that they are ready only when their replay is done.
    pub(crate) fn kill_and_restart(
        &mut self,
        query: &str,
        time_ms: i64,
    ) -> Result<(Duration, f64), String> {
        self.process.kill();
        let started = Instant::now();
        self.process = spawn(&self.installed, &self.directory, self.port)?;
        self.process.wait_ready(
            &health_url(self.system, &self.url),
            Duration::from_secs(300),
        )?;
        let value = self.number(query, time_ms)?;
        Ok((started.elapsed(), value))
    }

    /// The value of an instant query that gives one element.
    pub(crate) fn number(&self, query: &str, time_ms: i64) -> Result<f64, String> {
        let time = format!("{:.3}", time_ms as f64 / 1000.0);
        let parameters = [
            ("query", query),
            ("time", &time),
            ("nocache", "1"),
            ("timeout", "300s"),
        ];
        let url = format!("{}/api/v1/query?{}", self.url, form(&parameters));
        let answer = Client::default().get(&url)?;
        let value = answer.json()["data"]["result"][0]["value"][1]
            .as_str()
            .map(str::to_owned);
        match value.and_then(|v| v.parse().ok()) {
            Some(value) => Ok(value),
            None if answer.status == 200 => Ok(0.0),
            None => Err(format!(
                "{}: {query}: {}",
                self.system.name(),
                answer.text()
            )),
        }
    }

    /// Counts every stored sample, one metric name after the other: a function over all names at
    /// once fails on label sets that differ only by name.
    pub(crate) fn count_all(&self, time_ms: i64, range_s: i64) -> Result<f64, String> {
        let url = format!("{}/api/v1/label/__name__/values?start=0", self.url);
        let answer = Client::default().get(&url)?.json();
        let names = answer["data"].as_array().cloned().unwrap_or_default();
        let mut total = 0.0;
        for name in names.iter().filter_map(serde_json::Value::as_str) {
            let query = format!("sum(count_over_time({{__name__=\"{name}\"}}[{range_s}s]))");
            total += self.number(&query, time_ms)?;
        }
        Ok(total)
    }

    /// Makes what was acknowledged visible to queries: VictoriaMetrics shows new samples and series
    /// some seconds later on its own.
    pub(crate) fn make_visible(&self) -> Result<(), String> {
        if self.system == System::VictoriaMetrics {
            Client::default().get(&format!("{}/internal/force_flush", self.url))?;
        }
        wait_quiet(self.process.id(), SETTLE_LIMIT);
        Ok(())
    }

    /// Brings everything into the form that stays on disk and waits until the system rests.
    /// Prometheus: what its head holds is written as a block (the snapshot), besides the blocks that
    /// it made on its own.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let client = Client::default();
        let process_id = self.process.id();
        wait_quiet(process_id, SETTLE_LIMIT);
        let post = |path: &str| {
            let answer = client.post(&format!("{}{path}", self.url), &[], &[])?;
            if answer.status < 300 {
                return Ok(());
            }
            let name = self.system.name();
            Err(format!("{name}: {} {}", answer.status, answer.text()))
        };
        match self.system {
            System::Tenbin => {
                post("/api/v1/admin/tsdb/flush")?;
                post("/api/v1/admin/tsdb/compact")?;
            }
            System::Prometheus => post("/api/v1/admin/tsdb/snapshot")?,
            System::VictoriaMetrics => {
                post("/internal/force_flush")?;
                // parts in memory, of the index too, reach the disk some seconds later
                self.wait_zero(
                    &client,
                    &[
                        "vm_parts{type=\"storage/inmemory\"",
                        "vm_parts{type=\"indexdb/inmemory\"",
                    ],
                )?;
                post("/internal/force_merge")?;
                self.wait_zero(&client, &["vm_active_force_merges", "vm_active_merges"])?;
            }
        }
        wait_quiet(process_id, SETTLE_LIMIT);
        Ok(())
    }

    /// Waits until these metrics are zero: VictoriaMetrics flushes and merges after it has answered.
    fn wait_zero(&self, client: &Client, metrics: &[&str]) -> Result<(), String> {
        let started = Instant::now();
        while started.elapsed() < SETTLE_LIMIT {
            std::thread::sleep(Duration::from_millis(100));
            let text = client.get(&format!("{}/metrics", self.url))?.text();
            let busy = text
                .lines()
                .any(|line| metrics.iter().any(|m| line.starts_with(m)) && !line.ends_with(" 0"));
            if !busy {
                return Ok(());
            }
        }
        println!(
            "{}: {metrics:?} not zero after {SETTLE_LIMIT:?}",
            self.system.name()
        );
        Ok(())
    }

    /// Allocated bytes of the data directory by part; those that do not belong to the settled form
    /// (`false`) repeat samples of a part that does: Prometheus' WAL and head chunks beside the
    /// snapshot.
    pub(crate) fn disk_parts(&self) -> Vec<(&'static str, u64, bool)> {
        let data = self.directory.join("data");
        let bytes = |part: &str| disk_bytes(&data.join(part));
        match self.system {
            System::Tenbin => {
                let (wal, blocks) = (bytes("wal"), bytes("blocks"));
                let rest = disk_bytes(&data).saturating_sub(wal + blocks);
                vec![
                    ("wal", wal, true),
                    ("blocks", blocks, true),
                    ("other", rest, true),
                ]
            }
            System::Prometheus => {
                let (mut chunks, mut all) = (0, 0);
                for snapshot in children(&data.join("snapshots")) {
                    all += disk_bytes(&snapshot);
                    let blocks = children(&snapshot);
                    chunks += blocks
                        .iter()
                        .map(|b| disk_bytes(&b.join("chunks")))
                        .sum::<u64>();
                }
                vec![
                    ("block chunks", chunks, true),
                    ("block index", all - chunks, true),
                    ("wal", bytes("wal"), false),
                    ("chunks_head", bytes("chunks_head"), false),
                ]
            }
            System::VictoriaMetrics => {
                let index = bytes("data/indexdb") + bytes("indexdb");
                let values = bytes("data").saturating_sub(bytes("data/indexdb"));
                let rest = disk_bytes(&data).saturating_sub(index + values);
                vec![
                    ("data", values, true),
                    ("index", index, true),
                    ("other", rest, true),
                ]
            }
        }
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory);
    entries.map_or(vec![], |e| e.flatten().map(|entry| entry.path()).collect())
}

fn health_url(system: System, url: &str) -> String {
    match system {
        System::VictoriaMetrics => format!("{url}/health"),
        _ => format!("{url}/-/ready"),
    }
}

fn spawn(installed: &Installed, directory: &Path, port: u16) -> Result<Process, String> {
    let system = installed.system;
    let mut command = Command::new(&installed.program);
    let data = directory.join("data");
    match system {
        System::Tenbin => {
            command
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg(format!("--storage.wal-sync={}", installed.wal_sync))
                .arg("--web.enable-admin-api");
        }
        System::Prometheus => {
            let config = directory.join("prometheus.yml");
            std::fs::write(&config, "global: {}\n").map_err(|e| e.to_string())?;
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args([
                    "--web.enable-remote-write-receiver",
                    "--web.enable-admin-api",
                ]);
            if installed.histograms {
                command.arg("--enable-feature=native-histograms");
            }
        }
        System::VictoriaMetrics => {
            command
                .arg(format!("-storageDataPath={}", data.display()))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .args(["-retentionPeriod=10y", "-search.latencyOffset=0s"]);
            if !installed.caches {
                command.arg("-search.disableCache");
            }
        }
    }
    Process::start(
        system.name(),
        &mut command,
        &directory.join(format!("{}.log", system.name())),
    )
}
