//! The configuration file in force: external labels and OTLP may change while the server runs, the rest
//! with a restart.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::settings::file::ConfigFile;

/// What the file says, filled up with what the flags say.
#[derive(Debug)]
pub struct LiveConfig {
    path: Option<PathBuf>,
    flags: ConfigFile,
    current: RwLock<Arc<ConfigFile>>,
    last: RwLock<LastReload>,
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
        let file = match &path {
            Some(path) => {
                ConfigFile::load(path).map_err(|e| format!("{e} (flag --config.file)"))?
            }
            None => ConfigFile::default(),
        };
        Ok(Self {
            path,
            current: RwLock::new(Arc::new(fill(file, &flags))),
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

    /// How the last reload went.
    #[must_use]
    pub fn last_reload(&self) -> LastReload {
        *self.last.read()
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// When it is wrong, or changes what only a restart can change; then nothing has changed.
    pub fn reload(&self, now_ms: i64) -> Result<(), String> {
        let loaded = self.load_again();
        let mut last = self.last.write();
        last.succeeded = loaded.is_ok();
        let config = loaded?;
        last.success_ms = now_ms;
        *self.current.write() = Arc::new(config);
        Ok(())
    }

    fn load_again(&self) -> Result<ConfigFile, String> {
        let file = match &self.path {
            Some(path) => ConfigFile::load(path)?,
            None => ConfigFile::default(),
        };
        let (new, old) = (fill(file, &self.flags), self.current());
        if new.storage != old.storage {
            return Err("storage: a change needs a restart".to_owned());
        }
        if new.remote_write_receiver != old.remote_write_receiver {
            return Err("remote_write_receiver: a change needs a restart".to_owned());
        }
        Ok(new)
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
        live.reload(7).unwrap();
        assert_eq!(live.current().global.external_labels["a"], "c");
        let good = LastReload {
            succeeded: true,
            success_ms: 7,
        };
        assert_eq!(live.last_reload(), good);
        for wrong in ["nope: 1\n", "storage: {exemplars: {max_exemplars: 6}}\n"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(live.reload(8).is_err());
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
