//! Kernels that work on several windows side by side: a compensated sum is a chain of dependent operations,
//! several of which fit into the time of one. Neighbouring windows of equal length go together.
//!
//! Results are those of the kernels for one window, to the bit: while everything is finite by construction, and
//! where something is not, those kernels are asked.

use tenbin_model::{SampleBuffer, StoreError, kahan};

use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::window::{CallState, Frame, slide};

/// How many windows are worked on side by side.
const LANES: usize = 8;
/// Values that a lane takes at once, so that its bounds are checked once for all of them.
const BLOCK: usize = 8;
/// Longer windows go alone: their kernels look up on the way.
const LONGEST: usize = 1 << 14;

/// One number for each window.
type Lanes = [f64; LANES];

/// Calls `each` with the next value of all windows, which begin at `starts`, until they end. `None` when they are
/// not all among the values.
#[inline(always)]
fn walk(
    values: &[f64],
    starts: &[usize; LANES],
    len: usize,
    mut each: impl FnMut(&Lanes),
) -> Option<()> {
    let mut lanes = [&values[..0]; LANES];
    for (lane, start) in lanes.iter_mut().zip(starts) {
        *lane = values.get(*start..start + len)?;
    }
    let split = lanes.map(<[f64]>::as_chunks::<BLOCK>);
    for number in 0..split[0].0.len() {
        let mut blocks = [&[0.0; BLOCK]; LANES];
        for (block, (whole, _)) in blocks.iter_mut().zip(&split) {
            *block = whole.get(number)?;
        }
        #[expect(clippy::needless_range_loop, reason = "one value of each block")]
        for at in 0..BLOCK {
            each(&std::array::from_fn(|lane| blocks[lane][at]));
        }
    }
    for at in 0..split[0].1.len() {
        each(&std::array::from_fn(|lane| {
            split[lane].1.get(at).copied().unwrap_or(0.0)
        }));
    }
    Some(())
}

/// Adds a value to the sum of each lane.
#[inline(always)]
fn add(values: &Lanes, sums: &mut Lanes, lost: &mut Lanes) {
    for lane in 0..LANES {
        (sums[lane], lost[lane]) = kahan::add_finite(values[lane], sums[lane], lost[lane]);
    }
}

/// An infinity on the way leaves its trace in a sum, or NaN in it or in what it lost.
fn all_finite(numbers: &[&Lanes]) -> Option<()> {
    let mut all = numbers.iter().copied().flatten();
    all.all(|number| number.is_finite()).then_some(())
}

/// Compensated sums of windows.
pub(super) fn sums(values: &[f64], starts: &[usize; LANES], len: usize) -> Option<Lanes> {
    let (mut sums, mut lost) = ([0.0; LANES], [0.0; LANES]);
    walk(values, starts, len, |values| {
        add(values, &mut sums, &mut lost);
    })?;
    all_finite(&[&sums, &lost])?;
    Some(std::array::from_fn(|lane| sums[lane] + lost[lane]))
}

/// Averages of windows, by way of their sums from the first value on.
pub(super) fn averages(values: &[f64], starts: &[usize; LANES], len: usize) -> Option<Lanes> {
    let mut sums = [0.0; LANES];
    for (sum, start) in sums.iter_mut().zip(starts) {
        *sum = *values.get(*start)?;
    }
    let (mut lost, n) = ([0.0; LANES], len as f64);
    let later = starts.map(|start| start + 1);
    walk(values, &later, len - 1, |values| {
        add(values, &mut sums, &mut lost);
    })?;
    all_finite(&[&sums, &lost])?;
    Some(std::array::from_fn(|lane| sums[lane] / n + lost[lane] / n))
}

/// Population variances of windows, by Welford's method with compensated sums.
pub(super) fn variances(values: &[f64], starts: &[usize; LANES], len: usize) -> Option<Lanes> {
    let (mut mean, mut mean_lost) = ([0.0; LANES], [0.0; LANES]);
    let (mut squares, mut squares_lost) = ([0.0; LANES], [0.0; LANES]);
    let mut count = 0.0;
    walk(values, starts, len, |values| {
        count += 1.0;
        let delta: Lanes =
            std::array::from_fn(|lane| values[lane] - (mean[lane] + mean_lost[lane]));
        add(&delta.map(|delta| delta / count), &mut mean, &mut mean_lost);
        let products = std::array::from_fn(|lane| {
            delta[lane] * (values[lane] - (mean[lane] + mean_lost[lane]))
        });
        add(&products, &mut squares, &mut squares_lost);
    })?;
    all_finite(&[&mean, &mean_lost, &squares, &squares_lost])?;
    let variance = |lane| (squares[lane] + squares_lost[lane]) / count;
    Some(std::array::from_fn(variance))
}

/// Roots of [`variances`].
pub(super) fn deviations(values: &[f64], starts: &[usize; LANES], len: usize) -> Option<Lanes> {
    variances(values, starts, len).map(|all| all.map(f64::sqrt))
}

/// What a kernel for several windows makes of them: the values, where the windows begin, and their length.
type Several = fn(&[f64], &[usize; LANES], usize) -> Option<Lanes>;

/// Windows of one length that wait for each other.
struct Waiting {
    /// Step and start of each.
    windows: [(usize, usize); LANES],
    count: usize,
    len: usize,
}

/// Puts the results of all windows into `out`: of `several` where neighbours have equal lengths and nothing
/// overflows, else of `single`.
pub(super) fn slide_side_by_side(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
    several: Several,
    mut single: impl FnMut(&[f64]) -> Result<f64, StoreError>,
) -> Result<(), EvalError> {
    let values = &samples.values;
    let mut waiting = Waiting {
        windows: [(0, 0); LANES],
        count: 0,
        len: 0,
    };
    let mut results: Vec<(usize, f64)> = Vec::new();
    let mut given_up = Ok(());
    let mut flush = |waiting: &mut Waiting| {
        let (windows, len) = (&waiting.windows[..waiting.count], waiting.len);
        waiting.count = 0;
        if windows.len() == LANES
            && len < LONGEST
            && let Some(found) = several(values, &waiting.windows.map(|(_, low)| low), len)
        {
            let steps = windows.iter().map(|(step, _)| *step);
            results.extend(steps.zip(found));
            return;
        }
        for (step, low) in windows {
            match single(&values[*low..low + len]) {
                Ok(value) => results.push((*step, value)),
                Err(error) => {
                    given_up = Err(error.into());
                    return;
                }
            }
        }
    };
    slide(samples, frame, state.tally, out, |window| {
        let len = window.values.len();
        if waiting.count == LANES || len != waiting.len || len >= LONGEST {
            flush(&mut waiting);
        }
        waiting.len = len;
        waiting.windows[waiting.count] = (window.step, window.first);
        waiting.count += 1;
        Some(0.0)
    });
    flush(&mut waiting);
    for (step, value) in results {
        out.values[step] = value;
    }
    given_up
}

#[cfg(test)]
mod tests {
    use super::super::over_time::{average_of, deviation_of, sum_of, variance_of};
    use super::*;
    use proptest::prelude::*;
    use tenbin_model::Interrupt;

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let plain = prop_oneof![
            -1e3..1e3,
            (-999_i32..999).prop_map(|i| f64::from(i) / 100.0)
        ];
        let any = prop_oneof![20 => -1e9..1e9, 1 => any::<f64>(), 1 => Just(f64::INFINITY), 1 => Just(f64::MAX)];
        prop_oneof![
            prop::collection::vec(plain, 40..200),
            prop::collection::vec(any, 40..200)
        ]
    }

    proptest! {
        #[test]
        fn side_by_side_is_one_after_the_other(values in values(), len in 1_usize..32, gap in 0_usize..2) {
            let starts: [usize; LANES] = std::array::from_fn(|lane| lane * gap);
            let single = |kernel: &dyn Fn(&[f64]) -> f64| {
                starts.map(|start| kernel(&values[start..start + len]).to_bits())
            };
            let never = Interrupt::default();
            let kernels: [(Several, [u64; LANES]); 4] = [
                (sums, single(&sum_of)),
                (averages, single(&average_of)),
                (variances, single(&|window| variance_of(window, &never).unwrap())),
                (deviations, single(&|window| deviation_of(window, &never).unwrap())),
            ];
            for (several, expected) in kernels {
                if let Some(found) = several(&values, &starts, len) {
                    prop_assert_eq!(found.map(f64::to_bits), expected);
                } else {
                    // Zero times anything finite is zero, so only overflow is an excuse.
                    let small = values.iter().all(|value| value.abs() < 1e100);
                    prop_assert!(!small);
                }
            }
        }
    }

    #[test]
    fn windows_beyond_the_values_are_none() {
        assert_eq!(sums(&[1.0; 20], &[0, 1, 2, 3, 4, 5, 6, 19], 2), None);
    }
}
