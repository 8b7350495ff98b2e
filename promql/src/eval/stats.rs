//! Counters of samples touched, as Prometheus counts them (`util/stats`, `QuerySamples`).

/// Samples touched so far. A window counts all its samples at every step; a subquery's inner
/// samples count only as read, since its result is counted again by the function around it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Samples touched, over all steps.
    pub(crate) total: u64,
    /// Samples read from the store.
    pub(crate) read: u64,
    /// Samples touched per step, where wanted.
    pub(crate) per_step: Option<Vec<u64>>,
    /// What is read is the result of a subquery, whose samples were counted when it was evaluated.
    pub(crate) nothing_read: bool,
}

impl Tally {
    /// A tally for `steps` steps, counting per step if wanted.
    pub(crate) fn new(steps: usize, per_step: bool) -> Self {
        Self {
            per_step: per_step.then(|| vec![0; steps]),
            ..Self::default()
        }
    }

    /// Counts a window of `all` samples at `step`, of which `new` were not in the one before.
    #[inline]
    pub(crate) fn window(&mut self, step: usize, all: u64, new: u64) {
        self.total += all;
        if !self.nothing_read {
            self.read += new;
        }
        self.at_step(step, all);
    }

    /// Counts the sample of an instant selector at `step`.
    #[inline]
    pub(crate) fn sample(&mut self, step: usize, size: u64) {
        self.total += size;
        self.read += size;
        self.at_step(step, size);
    }

    #[inline]
    fn at_step(&mut self, step: usize, size: u64) {
        if let Some(slot) = self.per_step.as_mut().and_then(|all| all.get_mut(step)) {
            *slot += size;
        }
    }
}
