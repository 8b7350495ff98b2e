//! A real Prometheus with a configuration of the test's own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::peers::Peers;
use crate::process::{Process, free_port};

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    /// The process.
    pub process: Process,
    /// `http://127.0.0.1:port`
    pub url: String,
}

impl Prometheus {
    /// Starts one with its files under `directory/name`, the data in `data` there. Data of any age is kept
    /// unless a flag says otherwise, and the remote-write receiver is on. `{self}` in the configuration is
    /// its own address.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(
        peers: &Peers,
        directory: &Path,
        name: &str,
        config: &str,
        flags: &[&str],
    ) -> Result<Self, String> {
        let port = free_port()?;
        let directory = directory.join(name);
        let io = |e: std::io::Error| format!("{}: {e}", directory.display());
        std::fs::create_dir_all(&directory).map_err(io)?;
        let config_file = directory.join("prometheus.yml");
        let config = config.replace("{self}", &format!("127.0.0.1:{port}"));
        std::fs::write(&config_file, config).map_err(io)?;
        let retention = "--storage.tsdb.retention.time";
        let keeps_all = !flags.iter().any(|flag| flag.starts_with(retention));
        let mut process = Process::start(
            name,
            Command::new(&peers.prometheus)
                .arg(format!("--config.file={}", config_file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    directory.join("data").display()
                ))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(keeps_all.then(|| format!("{retention}=100y")))
                .arg("--web.enable-remote-write-receiver")
                .args(flags),
            &directory.join("prometheus.log"),
        )?;
        let url = format!("http://127.0.0.1:{port}");
        process.wait_ready(&format!("{url}/-/ready"), Duration::from_secs(60))?;
        Ok(Self { process, url })
    }
}
