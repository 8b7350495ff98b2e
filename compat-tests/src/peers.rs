//! Where the peers' programs are.
//!
//! `TENBIN_PEERS` names a folder with them; without it `~/.cache/tenbin-peers/bin` is looked at.
//! With `TENBIN_REQUIRE_PEERS=1` (as CI sets it) a missing peer is a failure instead of a skip.

use std::path::PathBuf;

/// The programs of the peers.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Prometheus 3.5.
    pub prometheus: PathBuf,
    /// Its command-line client.
    pub promtool: PathBuf,
    /// The host exporter.
    pub node_exporter: PathBuf,
}

fn folder() -> PathBuf {
    match std::env::var_os("TENBIN_PEERS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
            .join(".cache/tenbin-peers/bin"),
    }
}

/// Finds the peers, or says why not.
///
/// # Errors
/// Names the first program that is missing and how to get it.
pub fn find() -> Result<Peers, String> {
    let folder = folder();
    let program = |name: &str| {
        let path = folder.join(name);
        if path.exists() {
            Ok(path)
        } else {
            Err(format!(
                "{name} not found in {}: set TENBIN_PEERS to a folder with prometheus, promtool \
                 and prometheus-node-exporter",
                folder.display()
            ))
        }
    };
    Ok(Peers {
        prometheus: program("prometheus")?,
        promtool: program("promtool")?,
        node_exporter: program("prometheus-node-exporter")?,
    })
}

/// Whether a missing peer is a failure.
#[must_use]
pub fn required() -> bool {
    std::env::var_os("TENBIN_REQUIRE_PEERS").is_some_and(|v| v == "1")
}

/// A further program of the folder, which only some tests need.
#[must_use]
pub fn optional(name: &str) -> Option<PathBuf> {
    let path = folder().join(name);
    path.exists().then_some(path)
}

/// A Python with the clients that some tests need, which `TENBIN_PYTHON` names.
#[must_use]
pub fn python() -> Option<PathBuf> {
    let named = std::env::var_os("TENBIN_PYTHON").map(PathBuf::from);
    named.filter(|path| path.exists())
}
