//! Child processes that end with the test, on ports that were free a moment ago.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it is called in messages.
    pub name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self, String> {
        let open = || {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)
                .map_err(|e| format!("log of {name}: {e}"))
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .map_err(|e| format!("starting {name}: {e}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    /// Waits until `url` answers 200.
    ///
    /// # Errors
    /// When the program ends or does not answer in time; the text holds its output.
    pub fn wait_ready(&mut self, url: &str, within: Duration) -> Result<Duration, String> {
        let (client, started) = (Client::default(), Instant::now());
        while started.elapsed() < within {
            if client.get(url).is_ok_and(|answer| answer.status == 200) {
                return Ok(started.elapsed());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!(
                    "{} ended with {status}:\n{}",
                    self.name,
                    self.output()
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!(
            "{} not ready after {within:?}:\n{}",
            self.name,
            self.output()
        ))
    }

    /// What the program printed.
    #[must_use]
    pub fn output(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, without waiting.
    pub fn signal_term(&self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
    }

    /// SIGTERM, and waits for the end; true when the program ended with success.
    pub fn terminate(&mut self) -> bool {
        self.signal_term();
        self.child.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nothing listens on.
///
/// # Errors
/// When the machine has none.
pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener
        .local_addr()
        .map(|a| a.port())
        .map_err(|e| e.to_string())
}

/// A running Tenbin.
#[derive(Debug)]
pub struct Tenbin {
    /// The process.
    pub process: Process,
    /// `http://127.0.0.1:port`
    pub url: String,
    program: PathBuf,
    port: u16,
    directory: PathBuf,
    flags: Vec<String>,
}

impl Tenbin {
    /// Starts the server on a free port with its data under `directory`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(program: &Path, directory: &Path, flags: &[&str]) -> Result<Self, String> {
        let port = free_port()?;
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        let mut process = Self::spawn(program, directory, port, &flags)?;
        let url = format!("http://127.0.0.1:{port}");
        process.wait_ready(&format!("{url}/-/ready"), Duration::from_secs(60))?;
        let (program, directory) = (program.to_owned(), directory.to_owned());
        Ok(Self {
            process,
            url,
            program,
            port,
            directory,
            flags,
        })
    }

    /// As [`Tenbin::start`], where `is_ready` says of an address whether the server is up.
    ///
    /// # Errors
    /// When the program ends or does not become ready within a minute; the text holds its output.
    pub fn start_until(
        program: &Path,
        directory: &Path,
        flags: &[&str],
        is_ready: impl Fn(&str) -> bool,
    ) -> Result<Self, String> {
        let port = free_port()?;
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        let mut process = Self::spawn(program, directory, port, &flags)?;
        let (address, started) = (format!("127.0.0.1:{port}"), Instant::now());
        while !is_ready(&address) {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("tenbin ended with {status}:\n{}", process.output()));
            }
            if started.elapsed() > Duration::from_secs(60) {
                return Err(format!("tenbin not ready:\n{}", process.output()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            process,
            url: format!("http://{address}"),
            program: program.to_owned(),
            port,
            directory: directory.to_owned(),
            flags,
        })
    }

    fn spawn(
        program: &Path,
        directory: &Path,
        port: u16,
        flags: &[String],
    ) -> Result<Process, String> {
        let mut command = Command::new(program);
        command
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--storage.tsdb.path")
            .arg(directory.join("data"))
            .args(flags);
        Process::start("tenbin", &mut command, &directory.join("tenbin.log"))
    }

    /// Starts the server again on the same data, without waiting for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_again(&mut self) -> Result<(), String> {
        self.process.kill();
        self.process = Self::spawn(&self.program, &self.directory, self.port, &self.flags)?;
        Ok(())
    }

    /// Starts the server again on the same data; says how long it took until ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self) -> Result<Duration, String> {
        self.spawn_again()?;
        self.process
            .wait_ready(&format!("{}/-/ready", self.url), Duration::from_secs(60))
    }
}
