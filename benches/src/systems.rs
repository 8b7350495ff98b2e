//! How each system is started, told to settle, and measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::process::{Process, free_port};

use crate::measure::disk_bytes;

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

    /// What an acknowledged sample survives, which every ingest figure must state.
    pub(crate) fn durability(self) -> &'static str {
        match self {
            Self::Tenbin => "power loss (fdatasync before 2xx)",
            Self::Prometheus => "process kill",
            Self::VictoriaMetrics => "may lose the last seconds",
        }
    }

    fn program_name(self) -> &'static str {
        match self {
            Self::Tenbin => "tenbin",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }
}

/// Where a system's program is.
pub(crate) fn program(
    system: System,
    peers: Option<&Path>,
    tenbin: Option<&Path>,
) -> Result<PathBuf, String> {
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
    program: PathBuf,
    directory: PathBuf,
    port: u16,
}

impl Running {
    pub(crate) fn start(system: System, program: &Path, directory: &Path) -> Result<Self, String> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let mut process = spawn(system, program, directory, port)?;
        process.wait_ready(&health_url(system, &url), Duration::from_secs(60))?;
        Ok(Self {
            system,
            process,
            url,
            program: program.to_owned(),
            directory: directory.to_owned(),
            port,
        })
    }

    /// `kill -9`, start, and the time until `query` gives `expected`.
    pub(crate) fn kill_and_restart(
        &mut self,
        query: &str,
        time_ms: i64,
    ) -> Result<(Duration, f64), String> {
        self.process.kill();
        let started = std::time::Instant::now();
        self.process = spawn(self.system, &self.program, &self.directory, self.port)?;
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
    pub(crate) fn count_all(&self, time_ms: i64) -> Result<f64, String> {
        let url = format!("{}/api/v1/label/__name__/values?start=0", self.url);
        let answer = Client::default().get(&url)?.json();
        let names = answer["data"].as_array().cloned().unwrap_or_default();
        let mut total = 0.0;
        for name in names.iter().filter_map(serde_json::Value::as_str) {
            let query = format!("sum(count_over_time({{__name__=\"{name}\"}}[3h]))");
            total += self.number(&query, time_ms)?;
        }
        Ok(total)
    }

    /// Brings everything into the form that stays on disk.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let client = Client::default();
        let post = |path: &str| client.post(&format!("{}{path}", self.url), &[], &[]);
        let answers = match self.system {
            System::Tenbin => {
                vec![
                    post("/api/v1/admin/tsdb/flush")?,
                    post("/api/v1/admin/tsdb/compact")?,
                ]
            }
            System::Prometheus => vec![post("/api/v1/admin/tsdb/snapshot")?],
            System::VictoriaMetrics => {
                vec![
                    post("/internal/force_flush")?,
                    post("/internal/force_merge")?,
                ]
            }
        };
        match answers.iter().find(|answer| answer.status >= 300) {
            Some(bad) => Err(format!(
                "{}: {} {}",
                self.system.name(),
                bad.status,
                bad.text()
            )),
            None => Ok(()),
        }
    }

    /// Bytes of the settled form: for Prometheus the snapshot block, since its WAL and head chunks
    /// hold the same samples again.
    pub(crate) fn settled_bytes(&self) -> u64 {
        match self.system {
            System::Prometheus => disk_bytes(&self.directory.join("data/snapshots")),
            _ => disk_bytes(&self.directory.join("data")),
        }
    }
}

fn health_url(system: System, url: &str) -> String {
    match system {
        System::VictoriaMetrics => format!("{url}/health"),
        _ => format!("{url}/-/ready"),
    }
}

fn spawn(system: System, program: &Path, directory: &Path, port: u16) -> Result<Process, String> {
    let mut command = Command::new(program);
    let data = directory.join("data");
    match system {
        System::Tenbin => {
            command
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
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
        }
        System::VictoriaMetrics => {
            command
                .arg(format!("-storageDataPath={}", data.display()))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .args([
                    "-retentionPeriod=10y",
                    "-search.latencyOffset=0s",
                    "-search.disableCache",
                ]);
        }
    }
    Process::start(
        system.name(),
        &mut command,
        &directory.join(format!("{}.log", system.name())),
    )
}
