//! Who waits for which LSN, and what became of it.
//!
//! The state is one of: healthy; no space (waiting requests fail, their frames stay queued and are
//! written when there is space, so a repeated request is a true duplicate); failed (a write or fsync
//! failed: nothing is acknowledged any more); closed.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::error::AppendError;

type Callback = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

#[derive(Default)]
struct State {
    durable_lsn: u64,
    failure: Option<AppendError>,
    waiting: Vec<(u64, Callback)>,
}

/// Shared between the WAL writer and all [`Commit`]s.
#[derive(Default)]
pub(crate) struct Commits {
    state: Mutex<State>,
    changed: Condvar,
}

impl Commits {
    /// Everything up to `lsn` is durable by the policy.
    pub(crate) fn advance(&self, lsn: u64) {
        let mut state = self.state.lock();
        state.durable_lsn = state.durable_lsn.max(lsn);
        let durable = state.durable_lsn;
        let (ready, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|(lsn, _)| *lsn <= durable);
        state.waiting = rest;
        drop(state);
        self.changed.notify_all();
        for (_, callback) in ready {
            callback(Ok(()));
        }
    }

    /// Fails everything that waits, and what comes later until [`Commits::recover`].
    pub(crate) fn fail(&self, error: &AppendError) {
        let mut state = self.state.lock();
        // The first final failure stays: it is the one that explains the rest.
        if !matches!(state.failure, Some(AppendError::WalFailed { .. })) {
            state.failure = Some(error.clone());
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.changed.notify_all();
        for (_, callback) in waiting {
            callback(Err(error.clone()));
        }
    }

    /// Ends a lack of space.
    pub(crate) fn recover(&self) {
        let mut state = self.state.lock();
        if matches!(state.failure, Some(AppendError::NoSpace { .. })) {
            state.failure = None;
        }
    }

    /// Why no append is accepted now, if so.
    pub(crate) fn failure(&self) -> Option<AppendError> {
        self.state.lock().failure.clone()
    }

    pub(crate) fn durable_lsn(&self) -> u64 {
        self.state.lock().durable_lsn
    }
}

/// The durability of one request. Dropping it changes nothing.
pub struct Commit {
    commits: Arc<Commits>,
    lsn: u64,
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commit(lsn {})", self.lsn)
    }
}

impl Commit {
    pub(crate) fn new(commits: Arc<Commits>, lsn: u64) -> Self {
        Self { commits, lsn }
    }

    /// Blocks until the request is durable by the configured policy.
    ///
    /// # Errors
    /// When it could not be made durable (yet): it must not be acknowledged.
    pub fn wait(self) -> Result<(), AppendError> {
        let mut state = self.commits.state.lock();
        loop {
            if state.durable_lsn >= self.lsn {
                return Ok(());
            }
            if let Some(error) = &state.failure {
                return Err(error.clone());
            }
            self.commits.changed.wait(&mut state);
        }
    }

    /// Calls `f` once with what [`Commit::wait`] would return: at once when that is known, else
    /// later on the WAL's thread, so `f` must be quick and must not block.
    pub fn on_durable(self, f: Box<dyn FnOnce(Result<(), AppendError>) + Send>) {
        let mut state = self.commits.state.lock();
        let known = if state.durable_lsn >= self.lsn {
            Ok(())
        } else if let Some(error) = &state.failure {
            Err(error.clone())
        } else {
            state.waiting.push((self.lsn, f));
            return;
        };
        drop(state);
        f(known);
    }
}

/// The error of a full disk below `dir`.
pub(crate) fn no_space(dir: &std::path::Path) -> AppendError {
    AppendError::NoSpace {
        dir: PathBuf::from(dir),
    }
}
