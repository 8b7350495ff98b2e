//! Counters of samples touched, as Prometheus counts them (`util/stats`, `QuerySamples`).

use std::time::Instant;

use tenbin_model::Interrupt;

use crate::engine::CancelToken;
use crate::eval::budget::Budget;

/// Samples counted between two looks: a few milliseconds at most.
const WORK_BETWEEN_LOOKS: u64 = 1 << 17;

/// Samples touched so far. A window counts all its samples at every step; a subquery's inner
/// samples count only as read, since its result is counted again by the function around it.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Samples touched, over all steps.
    pub(crate) total: u64,
    /// Samples read from the store.
    pub(crate) read: u64,
    /// Samples touched per step, where wanted.
    pub(crate) per_step: Option<Vec<u64>>,
    /// What is read is the result of a subquery, whose samples were counted when it was evaluated.
    pub(crate) nothing_read: bool,
    /// Samples of the widest window since this was last set to zero.
    pub(crate) widest: u64,
    watch: Watch,
}

/// Looks at clock and switch from inside long loops, which cannot fail themselves.
#[derive(Debug, Clone)]
struct Watch {
    deadline: Option<Instant>,
    cancel: CancelToken,
    interrupt: Interrupt,
    /// Look again when so many samples were counted.
    next: u64,
    stopped: bool,
}

impl Tally {
    /// A tally for `steps` steps, counting per step if wanted.
    pub(crate) fn new(steps: usize, per_step: bool, budget: &Budget) -> Self {
        Self {
            total: 0,
            read: 0,
            per_step: per_step.then(|| vec![0; steps]),
            nothing_read: false,
            widest: 0,
            watch: Watch {
                deadline: budget.deadline(),
                cancel: budget.cancel_token().clone(),
                interrupt: budget.interrupt(),
                next: WORK_BETWEEN_LOOKS,
                stopped: false,
            },
        }
    }

    /// A tally of its own for a subtree.
    pub(crate) fn nested(&self) -> Self {
        Self {
            total: 0,
            read: 0,
            per_step: None,
            nothing_read: false,
            widest: 0,
            watch: Watch {
                next: WORK_BETWEEN_LOOKS,
                ..self.watch.clone()
            },
        }
    }

    /// A tally for a part of the same node: what it counts is added with [`Tally::add`].
    pub(crate) fn part(&self) -> Self {
        Self {
            per_step: self.per_step.as_ref().map(|all| vec![0; all.len()]),
            nothing_read: self.nothing_read,
            ..self.nested()
        }
    }

    /// Adds a part with its counts per step.
    pub(crate) fn add_part(&mut self, part: &Self) {
        self.add(part.total, part.read);
        self.work();
        if let (Some(all), Some(counted)) = (&mut self.per_step, &part.per_step) {
            for (slot, counted) in all.iter_mut().zip(counted) {
                *slot += counted;
            }
        }
    }

    /// Adds what was counted apart.
    pub(crate) fn add(&mut self, total: u64, read: u64) {
        self.total += total;
        self.read += read;
    }

    /// Whether the query is to end: what is computed from here on is of no use.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.watch.stopped
    }

    /// For long work between two counts: its failure becomes the query's.
    pub(crate) fn interrupt(&self) -> Interrupt {
        self.watch.interrupt.clone()
    }

    #[inline]
    fn work(&mut self) {
        if self.total >= self.watch.next {
            self.look();
        }
    }

    #[cold]
    fn look(&mut self) {
        let watch = &mut self.watch;
        watch.next = self.total.saturating_add(WORK_BETWEEN_LOOKS);
        watch.stopped |=
            watch.cancel.is_cancelled() || watch.deadline.is_some_and(|at| Instant::now() >= at);
    }

    /// Counts windows of `all` samples together, of which `new` were not in the one before each and
    /// the widest had `widest`.
    #[inline]
    pub(crate) fn windows(&mut self, all: u64, new: u64, widest: u64) {
        self.total += all;
        self.widest = self.widest.max(widest);
        self.work();
        if !self.nothing_read {
            self.read += new;
        }
    }

    /// Counts a window of `all` samples at `step`, of which `new` were not in the one before.
    #[inline]
    pub(crate) fn window(&mut self, step: usize, all: u64, new: u64) {
        self.total += all;
        self.widest = self.widest.max(all);
        self.work();
        if !self.nothing_read {
            self.read += new;
        }
        self.at_step(step, all);
    }

    /// Counts samples of an instant selector at several steps.
    #[inline]
    pub(crate) fn samples(&mut self, count: u64) {
        self.total += count;
        self.read += count;
        self.work();
    }

    /// Counts the sample of an instant selector at `step`.
    #[inline]
    pub(crate) fn sample(&mut self, step: usize, size: u64) {
        self.total += size;
        self.work();
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
