//! The web configuration in force, replaced when its files change.
//!
//! Files are looked at (by size and modification time) at most once a second, when a connection or a
//! request comes; a file that is wrong leaves the old configuration in force and is reported once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};

use super::WebConfig;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Size and time of a file; nothing when it is not there.
type Stamp = Option<(u64, SystemTime)>;

/// The configuration and where it comes from.
#[derive(Debug)]
pub struct LiveWebConfig {
    path: Option<PathBuf>,
    current: RwLock<Arc<WebConfig>>,
    looked: Mutex<Looked>,
    reload_succeeded: AtomicBool,
}

#[derive(Debug)]
struct Looked {
    at: Instant,
    stamps: Vec<(PathBuf, Stamp)>,
}

impl LiveWebConfig {
    /// Loads the file; without one nothing is configured.
    ///
    /// # Errors
    /// When the file or anything that it names is wrong.
    pub fn new(path: Option<PathBuf>) -> Result<Self, String> {
        let current = match &path {
            Some(path) => WebConfig::load(path)?,
            None => WebConfig::default(),
        };
        let stamps = stamps(path.as_ref(), &current);
        Ok(Self {
            path,
            current: RwLock::new(Arc::new(current)),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                stamps,
            }),
            reload_succeeded: AtomicBool::new(true),
        })
    }

    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Arc<WebConfig> {
        if self.path.is_some()
            && let Some(mut looked) = self.looked.try_lock()
            && looked.at.elapsed() >= LOOK_EVERY
        {
            looked.at = Instant::now();
            let current = Arc::clone(&self.current.read());
            let now = stamps(self.path.as_ref(), &current);
            if now != looked.stamps {
                looked.stamps = now;
                match self.read_again() {
                    Ok(read) => self.apply_in_turn(&mut looked, read),
                    Err(error) => tracing::error!(
                        "web configuration not reloaded, the old one stays: {error}"
                    ),
                }
            }
        }
        Arc::clone(&self.current.read())
    }

    /// Whether the last reload, if any, succeeded.
    #[must_use]
    pub fn reload_succeeded(&self) -> bool {
        self.reload_succeeded.load(Ordering::Relaxed)
    }

    /// Reads the file again, changed or not; nothing is in force until [`Self::apply`].
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn read_again(&self) -> Result<Reread, String> {
        let Some(path) = &self.path else {
            return Ok(Reread(None));
        };
        let loaded = WebConfig::load(path).and_then(|config| {
            if config.tls.is_some() == self.current.read().tls.is_some() {
                Ok(Reread(Some(config)))
            } else {
                Err("TLS can be switched on and off by a restart only".to_owned())
            }
        });
        self.reload_succeeded
            .store(loaded.is_ok(), Ordering::Relaxed);
        loaded
    }

    /// Puts what was read in force.
    pub fn apply(&self, read: Reread) {
        self.apply_in_turn(&mut self.looked.lock(), read);
    }

    fn apply_in_turn(&self, looked: &mut Looked, Reread(config): Reread) {
        let (Some(path), Some(config)) = (&self.path, config) else {
            return;
        };
        looked.stamps = stamps(Some(path), &config);
        *self.current.write() = Arc::new(config);
        tracing::info!(file = %path.display(), "web configuration reloaded");
    }
}

/// A file that was read and found right; nothing without a file.
#[derive(Debug)]
pub struct Reread(Option<WebConfig>);

fn stamps(path: Option<&PathBuf>, config: &WebConfig) -> Vec<(PathBuf, Stamp)> {
    let files = config.tls.iter().flat_map(|tls| &tls.files);
    path.into_iter()
        .chain(files)
        .map(|file| {
            let metadata = std::fs::metadata(file).ok();
            let stamp = metadata.and_then(|m| Some((m.len(), m.modified().ok()?)));
            (file.clone(), stamp)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if more than [`LOOK_EVERY`] had passed.
    fn later(live: &LiveWebConfig) -> Arc<WebConfig> {
        live.looked.lock().at -= LOOK_EVERY * 2;
        live.current()
    }

    #[test]
    fn changes_are_taken_and_mistakes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        let with =
            |value: &str| format!("http_server_config: {{headers: {{X-XSS-Protection: {value}}}}}");
        let value = |config: &WebConfig| config.headers[0].1.to_str().unwrap().to_owned();
        std::fs::write(&path, with("a")).unwrap();
        let live = LiveWebConfig::new(Some(path.clone())).unwrap();
        assert_eq!(value(&later(&live)), "a");
        std::fs::write(&path, with("longer")).unwrap();
        assert_eq!(value(&live.current()), "a", "not looked at yet");
        assert_eq!(value(&later(&live)), "longer");
        std::fs::write(&path, "junk: 1").unwrap();
        assert_eq!(value(&later(&live)), "longer");
        assert!(!live.reload_succeeded());
        std::fs::write(&path, with("again")).unwrap();
        assert_eq!(value(&later(&live)), "again");
        assert!(live.reload_succeeded());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(value(&later(&live)), "again");
        assert!(LiveWebConfig::new(Some(path)).is_err());
    }
}
