//! The configuration file in force: external labels and OTLP may change while the server runs, the rest
//! with a restart.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tenbin_model::text::quote::quoted;

use super::query_log::QueryLog;
use crate::settings;
use crate::settings::file::ConfigFile;

/// What the file says, filled up with what the flags say.
#[derive(Debug)]
pub struct LiveConfig {
    path: Option<PathBuf>,
    flags: ConfigFile,
    current: RwLock<Arc<ConfigFile>>,
    query_log: RwLock<Option<Arc<QueryLog>>>,
    /// Of the text in force.
    checksum: RwLock<Option<u64>>,
    last: RwLock<LastReload>,
}

/// A file that was read and found right.
#[derive(Debug)]
pub struct Reread {
    config: ConfigFile,
    /// Of its text; absent without a file.
    checksum: Option<u64>,
    query_log: Option<QueryLog>,
}

impl Reread {
    fn load(path: Option<&Path>, flags: &ConfigFile) -> Result<Self, String> {
        let Some(path) = path else {
            return Ok(Self {
                config: fill(ConfigFile::default(), flags),
                checksum: None,
                query_log: None,
            });
        };
        let text = settings::read(path)?;
        let mut file =
            ConfigFile::parse(&text).map_err(|e| format!("parsing {}: {e}", path.display()))?;
        let log_file = &mut file.global.query_log_file;
        let query_log = if log_file.is_empty() {
            None
        } else {
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            let full = folder.join(&*log_file);
            *log_file = full.display().to_string();
            Some(QueryLog::open(&full)?)
        };
        Ok(Self {
            config: fill(file, flags),
            checksum: Some(checksum(&text)),
            query_log,
        })
    }
}

/// Tells texts apart; lives as long as the process.
fn checksum(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// How the last reload went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReload {
    /// Whether it succeeded; true when there was none.
    pub succeeded: bool,
    /// When one last succeeded, milliseconds since the epoch; zero when there was none since the start.
    pub success_ms: i64,
}

/// The file's values over those of the flags.
fn fill(file: ConfigFile, flags: &ConfigFile) -> ConfigFile {
    let mut out = file;
    let (tsdb, flag_tsdb) = (&mut out.storage.tsdb, &flags.storage.tsdb);
    tsdb.out_of_order_time_window = tsdb
        .out_of_order_time_window
        .or(flag_tsdb.out_of_order_time_window);
    // A file with one kind of retention means that one alone, as in Prometheus.
    if tsdb.retention.time.is_none() && tsdb.retention.size.is_none() {
        tsdb.retention = flag_tsdb.retention.clone();
    }
    let exemplars = &mut out.storage.exemplars;
    exemplars.max_exemplars = exemplars
        .max_exemplars
        .or(flags.storage.exemplars.max_exemplars);
    let (receiver, of_flags) = (&mut out.remote_write_receiver, &flags.remote_write_receiver);
    for (value, flag) in [
        (&mut receiver.max_body_bytes, of_flags.max_body_bytes),
        (
            &mut receiver.max_decoded_body_bytes,
            of_flags.max_decoded_body_bytes,
        ),
        (
            &mut receiver.max_series_per_request,
            of_flags.max_series_per_request,
        ),
        (
            &mut receiver.max_samples_per_request,
            of_flags.max_samples_per_request,
        ),
        (
            &mut receiver.max_labels_per_series,
            of_flags.max_labels_per_series,
        ),
        (
            &mut receiver.max_label_name_bytes,
            of_flags.max_label_name_bytes,
        ),
        (
            &mut receiver.max_label_value_bytes,
            of_flags.max_label_value_bytes,
        ),
    ] {
        *value = value.or(flag);
    }
    out
}

impl LiveConfig {
    /// Loads the file; without one the flags alone count.
    ///
    /// # Errors
    /// A text that names file and place.
    pub fn new(path: Option<PathBuf>, flags: ConfigFile) -> Result<Self, String> {
        let read = Reread::load(path.as_deref(), &flags)
            .map_err(|e| format!("{e} (flag --config.file)"))?;
        Ok(Self {
            path,
            current: RwLock::new(Arc::new(read.config)),
            query_log: RwLock::new(read.query_log.map(Arc::new)),
            checksum: RwLock::new(read.checksum),
            flags,
            last: RwLock::new(LastReload {
                succeeded: true,
                success_ms: 0,
            }),
        })
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Arc<ConfigFile> {
        Arc::clone(&self.current.read())
    }

    /// Where queries are logged, if they are.
    #[must_use]
    pub fn query_log(&self) -> Option<Arc<QueryLog>> {
        self.query_log.read().clone()
    }

    /// How the last reload went.
    #[must_use]
    pub fn last_reload(&self) -> LastReload {
        *self.last.read()
    }

    /// Reads the file again; nothing is in force until [`Self::apply`].
    ///
    /// # Errors
    /// When it is wrong, or changes what only a restart can change: Prometheus' text with the reason.
    pub fn read_again(&self) -> Result<Reread, String> {
        self.load_again().map_err(|error| match &self.path {
            Some(path) => format!(
                "couldn't load configuration (--config.file={}): {error}",
                quoted(&path.display().to_string())
            ),
            None => error,
        })
    }

    /// Puts what was read in force.
    pub fn apply(&self, read: Reread, now_ms: i64) {
        let mut last = self.last.write();
        last.succeeded = true;
        last.success_ms = now_ms;
        *self.current.write() = Arc::new(read.config);
        *self.checksum.write() = read.checksum;
        *self.query_log.write() = read.query_log.map(Arc::new);
    }

    /// Notes that a reload failed.
    pub fn reload_failed(&self) {
        self.last.write().succeeded = false;
    }

    /// Whether the file is another than the one in force; a file that cannot be read is.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let Some(path) = &self.path else {
            return false;
        };
        let now = settings::read(path).ok().map(|text| checksum(&text));
        now != *self.checksum.read()
    }

    fn load_again(&self) -> Result<Reread, String> {
        let read = Reread::load(self.path.as_deref(), &self.flags)?;
        let (new, old) = (&read.config, self.current());
        if new.storage != old.storage {
            return Err("storage: a change needs a restart".to_owned());
        }
        if new.remote_write_receiver != old.remote_write_receiver {
            return Err("remote_write_receiver: a change needs a restart".to_owned());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::{DurationText, SizeText};

    #[test]
    fn the_file_wins_over_flags_and_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tenbin.yml");
        let mut flags = ConfigFile::default();
        flags.storage.tsdb.retention.time = Some(DurationText(1000));
        flags.storage.exemplars.max_exemplars = Some(5);
        std::fs::write(&path, "global: {external_labels: {a: b}}\n").unwrap();
        let live = LiveConfig::new(Some(path.clone()), flags).unwrap();
        assert_eq!(live.current().storage.exemplars.max_exemplars, Some(5));
        assert_eq!(
            live.current().storage.tsdb.retention.time,
            Some(DurationText(1000))
        );
        std::fs::write(&path, "global: {external_labels: {a: c}}\n").unwrap();
        assert!(live.has_changed());
        live.apply(live.read_again().unwrap(), 7);
        assert!(!live.has_changed());
        assert_eq!(live.current().global.external_labels["a"], "c");
        let good = LastReload {
            succeeded: true,
            success_ms: 7,
        };
        assert_eq!(live.last_reload(), good);
        for wrong in ["nope: 1\n", "storage: {exemplars: {max_exemplars: 6}}\n"] {
            std::fs::write(&path, wrong).unwrap();
            let error = live.read_again().unwrap_err();
            assert!(
                error.starts_with("couldn't load configuration (--config.file=\""),
                "{error}"
            );
            live.reload_failed();
            assert!(live.has_changed(), "until it is right");
            assert_eq!(live.current().global.external_labels["a"], "c");
            assert!(!live.last_reload().succeeded);
            assert_eq!(live.last_reload().success_ms, 7);
        }
        std::fs::write(&path, "storage: {tsdb: {retention: {size: 1GB}}}\n").unwrap();
        let sized = LiveConfig::new(Some(path), live.flags.clone()).unwrap();
        let retention = sized.current().storage.tsdb.retention.clone();
        assert_eq!(
            (retention.time, retention.size),
            (None, Some(SizeText(1 << 30)))
        );
    }
}
