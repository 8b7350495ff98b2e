//! One heavy query on several threads: elements are computed by whoever is free and delivered by
//! the query's own thread, in order, so that results, sums included, are those of one thread.
//!
//! Whether it is worth it is found by measuring: the first elements are always computed alone.
//! Helpers are plain threads that live as long as one call; all queries together have at most one
//! per core beside the queries' own threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::EvalError;
use crate::eval::meter::Meter;

/// Elements computed alone before anything else is considered.
const PROBE: usize = 32;
/// Work that is worth starting threads for: on a busy machine a helper may have to wait for a core,
/// and the query for its helper.
const WORTH_IT: Duration = Duration::from_millis(4);
/// Elements that a thread takes at once.
const CHUNK: usize = 16;
/// Chunks that may be finished ahead of delivery, per thread.
const AHEAD: usize = 3;

/// Helpers at work in this process.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Places for helpers, given back when dropped.
struct Helpers(usize);

impl Helpers {
    /// Takes up to `wanted` places, as many as there are cores to spare.
    fn take(wanted: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spare = cores.saturating_sub(1);
        let mut taken = 0;
        let _ = HELPERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
            taken = wanted.min(spare.saturating_sub(busy));
            (taken > 0).then_some(busy + taken)
        });
        Self(taken)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// What is computed, how, and by how many.
pub(crate) struct Work<'w, S, R> {
    /// Elements `0..count`.
    pub(crate) count: usize,
    /// Threads at most, the caller's included; 0 = one per core.
    pub(crate) threads: usize,
    /// Where helpers count memory.
    pub(crate) meter: &'w Meter,
    /// Makes a helper's own state.
    pub(crate) state: &'w (dyn Fn() -> S + Sync),
    /// Makes a slot, which is used for one element after the other.
    pub(crate) slot: &'w (dyn Fn() -> R + Sync),
    /// Computes an element into a slot.
    pub(crate) compute: &'w (dyn Fn(usize, &mut S, &mut R) -> Result<(), EvalError> + Sync),
}

/// A chunk's number and its slots, or how computing it failed or panicked.
type Finished<R> = (usize, std::thread::Result<Result<Vec<R>, EvalError>>);

/// What the threads share.
struct Shared<R> {
    next: AtomicUsize,
    stop: AtomicBool,
    delivered: Mutex<usize>,
    moved: Condvar,
    /// Slots to use again.
    pool: Mutex<Vec<Vec<R>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells helpers to end, also when delivering panics.
struct StopOnDrop<'s, R>(&'s Shared<R>);

impl<R> Drop for StopOnDrop<'_, R> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        drop(lock(&self.0.delivered));
        self.0.moved.notify_all();
    }
}

impl<S, R: Send> Work<'_, S, R> {
    /// Computes all elements and hands them to `deliver` in order.
    ///
    /// # Errors
    /// The error of the first element that fails, in order of the elements.
    pub(crate) fn run(
        &self,
        state: &mut S,
        deliver: &mut dyn FnMut(&mut R) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let mut slot = (self.slot)();
        let mut spent = Duration::ZERO;
        let probe = if self.threads == 1 || self.count < 2 * PROBE {
            self.count
        } else {
            PROBE
        };
        for at in 0..probe {
            let started = Instant::now();
            (self.compute)(at, state, &mut slot)?;
            spent += started.elapsed();
            deliver(&mut slot)?;
        }
        let rest = self.count - probe;
        let wanted = match self.threads {
            0 => usize::MAX,
            threads => threads - 1,
        };
        let helpers = if spent * (rest / PROBE) as u32 > WORTH_IT {
            Helpers::take(wanted.min(rest / CHUNK))
        } else {
            Helpers(0)
        };
        if helpers.0 == 0 {
            for at in probe..self.count {
                (self.compute)(at, state, &mut slot)?;
                deliver(&mut slot)?;
            }
            return Ok(());
        }
        self.run_with(&helpers, probe, state, deliver)
    }

    fn run_with(
        &self,
        helpers: &Helpers,
        first: usize,
        state: &mut S,
        deliver: &mut dyn FnMut(&mut R) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let shared = Shared {
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            delivered: Mutex::new(0),
            moved: Condvar::new(),
            pool: Mutex::new(Vec::new()),
        };
        let chunks = (self.count - first).div_ceil(CHUNK);
        let ahead = AHEAD * (helpers.0 + 1);
        let (sender, finished) = channel();
        std::thread::scope(|scope| {
            let _stop = StopOnDrop(&shared);
            for _ in 0..helpers.0 {
                let (sender, shared) = (sender.clone(), &shared);
                scope.spawn(move || self.help(shared, first, (chunks, ahead), &sender));
            }
            drop(sender);
            self.deliver_all(&shared, first, (chunks, ahead), &finished, state, deliver)
        })
    }

    /// The slots of a chunk.
    fn chunk(
        &self,
        shared: &Shared<R>,
        first: usize,
        chunk: usize,
        state: &mut S,
    ) -> Result<Vec<R>, EvalError> {
        let from = first + chunk * CHUNK;
        let to = (from + CHUNK).min(self.count);
        let mut slots = lock(&shared.pool).pop().unwrap_or_default();
        slots.resize_with(to - from, || (self.slot)());
        for (at, slot) in (from..to).zip(&mut slots) {
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
            (self.compute)(at, state, slot)?;
        }
        Ok(slots)
    }

    fn help(
        &self,
        shared: &Shared<R>,
        first: usize,
        (chunks, ahead): (usize, usize),
        sender: &Sender<Finished<R>>,
    ) {
        let _metered = self.meter.enter();
        let mut state = (self.state)();
        loop {
            let chunk = shared.next.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                return;
            }
            let mut delivered = lock(&shared.delivered);
            while chunk >= *delivered + ahead && !shared.stop.load(Ordering::Relaxed) {
                let moved = shared.moved.wait(delivered);
                delivered = moved.unwrap_or_else(PoisonError::into_inner);
            }
            drop(delivered);
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let compute = || self.chunk(shared, first, chunk, &mut state);
            // A panic is passed on to the query's thread, which waits for this chunk.
            let result = catch_unwind(AssertUnwindSafe(compute));
            let ends = !matches!(result, Ok(Ok(_)));
            if sender.send((chunk, result)).is_err() || ends {
                return;
            }
        }
    }

    /// Delivers all chunks in order; computes one itself where the next is not there yet.
    fn deliver_all(
        &self,
        shared: &Shared<R>,
        first: usize,
        (chunks, ahead): (usize, usize),
        finished: &Receiver<Finished<R>>,
        state: &mut S,
        deliver: &mut dyn FnMut(&mut R) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let mut waiting = BTreeMap::new();
        for due in 0..chunks {
            let result = loop {
                waiting.extend(finished.try_iter());
                if let Some(result) = waiting.remove(&due) {
                    break result;
                }
                if shared.next.load(Ordering::Relaxed) < chunks.min(due + ahead) {
                    let chunk = shared.next.fetch_add(1, Ordering::Relaxed);
                    if chunk < chunks {
                        let result = self.chunk(shared, first, chunk, state);
                        waiting.insert(chunk, Ok(result));
                    }
                } else if let Ok((chunk, result)) = finished.recv() {
                    waiting.insert(chunk, result);
                } else if !waiting.contains_key(&due) {
                    let text = "a thread of the query ended early";
                    return Err(EvalError::Execution(text.to_owned()));
                }
            };
            let mut slots = result.unwrap_or_else(|panic| resume_unwind(panic))?;
            for slot in &mut slots {
                deliver(slot)?;
            }
            lock(&shared.pool).push(slots);
            *lock(&shared.delivered) = due + 1;
            shared.moved.notify_all();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(count: usize, threads: usize, bad: usize) -> (Vec<usize>, Result<(), EvalError>) {
        let meter = Meter::default();
        let work = Work {
            count,
            threads,
            meter: &meter,
            state: &|| 0_usize,
            slot: &|| 0_usize,
            compute: &|at, state: &mut usize, slot: &mut usize| {
                if at == bad {
                    return Err(EvalError::Canceled("a test"));
                }
                *state += 1;
                // Uneven work.
                std::thread::sleep(Duration::from_micros(500 * (at % 3) as u64));
                *slot = at;
                Ok(())
            },
        };
        let mut seen = Vec::new();
        let result = work.run(&mut 0, &mut |slot| {
            seen.push(*slot);
            Ok(())
        });
        (seen, result)
    }

    #[test]
    fn elements_come_in_order_from_any_number_of_threads() {
        for threads in [0, 1, 2, 5] {
            for count in [0, 1, 63, 64, 500] {
                let (seen, result) = run(count, threads, usize::MAX);
                assert!(result.is_ok());
                assert!(seen.into_iter().eq(0..count), "{threads} {count}");
            }
        }
    }

    #[test]
    fn the_first_failure_ends_it() {
        for bad in [3, 64, 300] {
            let (seen, result) = run(500, 4, bad);
            assert!(result.is_err());
            assert!(seen.len() <= bad && seen.iter().copied().eq(0..seen.len()));
        }
    }
}
