//! Peers that were just started, on copies of a running one's data: 3.5 reuses the memory of
//! histograms from query to query, and is only sure to be right before it has any.

use std::path::{Path, PathBuf};

use tenbin_compat_tests::peers::Peers;
use tenbin_compat_tests::prometheus::Prometheus;

use super::start_prometheus;

/// Times a peer is started for one question.
pub(super) const FRESH_TIMES: usize = 3;

/// Starts peers on copies of a running one's data.
pub(super) struct Fresh {
    peers: Peers,
    directory: PathBuf,
    features: String,
    count: usize,
}

impl Fresh {
    pub(super) fn new(peers: &Peers, directory: &Path, features: &str) -> Self {
        Self {
            peers: peers.clone(),
            directory: directory.to_owned(),
            features: features.to_owned(),
            count: 0,
        }
    }

    /// A new peer.
    pub(super) fn start(&mut self) -> Result<Prometheus, String> {
        self.count += 1;
        let directory = self.directory.join(format!("fresh-{}", self.count));
        let from = self.directory.join("prometheus");
        copy(&from, &directory.join("prometheus")).map_err(|e| format!("copying: {e}"))?;
        start_prometheus(&self.peers, &directory, &[&self.features])
    }
}

/// Copies a directory, without the lock of who runs on it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_name() != "lock" {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
