//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`: the order of instant vectors.
//!
//! In a range query the order has no effect, which is remarked on. Source: Prometheus `funcSort`
//! and `funcSortByLabel`; the natural order of texts is that of `facette/natsort`.

use std::cmp::Ordering;

use tenbin_model::sorting::sort_checked;

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::binary::totals;
use crate::eval::budget::Budget;
use crate::eval::column::{Data, Series};
use crate::eval::grid::Grid;
use crate::eval::plan::Call;
use crate::functions::text_arg;

/// Sorts as Go's `sort.Sort` does for up to twelve elements, which matters where `less` is no
/// order (NaN is less than NaN there). Longer lists are sorted by the order meant.
pub(crate) fn sort_like_go<T>(
    list: &mut [T],
    less: impl Fn(&T, &T) -> bool,
    order: impl Fn(&T, &T) -> Ordering,
    budget: &Budget,
) -> Result<(), EvalError> {
    const INSERTION_MAX: usize = 12;
    if list.len() > INSERTION_MAX {
        return sort_checked(list, order, || budget.check());
    }
    for at in 1..list.len() {
        let mut to = at;
        while to > 0 && less(&list[to], &list[to - 1]) {
            list.swap(to, to - 1);
            to -= 1;
        }
    }
    Ok(())
}

/// Ascending or descending, NaN last in both.
fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
    }
}

/// Sorts `(value, ...)` pairs as Prometheus sorts vectors by value: NaN last.
pub(crate) fn sort_by_value<T>(
    list: &mut [T],
    value: impl Fn(&T) -> f64,
    descending: bool,
    budget: &Budget,
) -> Result<(), EvalError> {
    sort_like_go(
        list,
        |a, b| {
            let (a, b) = (value(a), value(b));
            b.is_nan() || if descending { a > b } else { a < b }
        },
        |a, b| by_value(value(a), value(b), descending),
        budget,
    )
}

fn sorted_by_value(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
    descending: bool,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    warn_in_range_query(evaluator, call, grid);
    let inputs = totals(&all, grid);
    let mut kept = Vec::with_capacity(all.len());
    for (at, mut series) in all.into_iter().enumerate() {
        evaluator.budget.check_at(at)?;
        let before = series.size();
        series.histograms = None;
        evaluator.budget.adjust(before, series.size())?;
        if !series.floats.is_empty() {
            kept.push(series);
        }
    }
    evaluator.budget.touch(inputs.0 + inputs.1)?;
    if grid.is_instant() {
        let value = |series: &Series| series.values[0];
        sort_by_value(&mut kept, value, descending, &evaluator.budget)?;
    }
    Ok(Data::Vector(kept))
}

fn warn_in_range_query(evaluator: &mut Evaluator<'_>, call: &Call<'_>, grid: &Grid) {
    if !grid.is_instant() {
        evaluator.notes.sort_in_range_query(call.span);
    }
}

pub(crate) fn sort(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    sorted_by_value(evaluator, call, grid, false)
}

pub(crate) fn sort_desc(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    sorted_by_value(evaluator, call, grid, true)
}

fn sorted_by_label(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
    descending: bool,
) -> Result<Data, EvalError> {
    let names: Vec<&str> = (1..call.args.len())
        .map(|index| text_arg(call, index))
        .collect::<Result<_, _>>()?;
    let mut all = evaluator.eval_vector(&call.args[0], grid)?;
    warn_in_range_query(evaluator, call, grid);
    let inputs = totals(&all, grid);
    evaluator.budget.touch(inputs.0 + inputs.1)?;
    if grid.is_instant() {
        let less = |a: &Series, b: &Series| match deciding(&names, a, b) {
            Some((a, b)) => precedes(a, b) != descending,
            None => (a.labels.cmp(&b.labels) == Ordering::Less) != descending,
        };
        let order = |a: &Series, b: &Series| {
            let (x, y) = (&a.labels, &b.labels);
            let order =
                deciding(&names, a, b).map_or(Ordering::Equal, |(a, b)| natural_order(a, b));
            let order = order.then_with(|| x.cmp(y));
            if descending { order.reverse() } else { order }
        };
        sort_like_go(&mut all, less, order, &evaluator.budget)?;
    }
    Ok(Data::Vector(all))
}

pub(crate) fn sort_by_label(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    sorted_by_label(evaluator, call, grid, false)
}

pub(crate) fn sort_by_label_desc(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    sorted_by_label(evaluator, call, grid, true)
}

/// The values of the first label by which two series differ.
fn deciding<'s>(names: &[&str], a: &'s Series, b: &'s Series) -> Option<(&'s str, &'s str)> {
    let values = |name: &&str| (a.labels.value_of(name), b.labels.value_of(name));
    names.iter().map(values).find(|(a, b)| a != b)
}

/// Splits a text into runs of digits and runs of other characters.
fn runs(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut runs = Vec::new();
    let mut start = 0;
    for at in 1..=bytes.len() {
        if at == bytes.len() || bytes[at].is_ascii_digit() != bytes[at - 1].is_ascii_digit() {
            runs.push(&text[start..at]);
            start = at;
        }
    }
    runs
}

/// A run as Go's `Atoi` reads it.
fn number(run: &str) -> Option<i64> {
    let digits = run.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| run.parse().ok()).flatten()
}

/// Whether `facette/natsort` puts one text before another that differs from it. It does not order
/// everything: nothing is before or after the empty text, and of `01` and `1` each is before the
/// other.
fn precedes(a: &str, b: &str) -> bool {
    let (left, right) = (runs(a), runs(b));
    for (at, x) in left.iter().enumerate() {
        let Some(y) = right.get(at) else {
            return false;
        };
        let equal = match (number(x), number(y)) {
            (Some(m), Some(n)) if m != n => return m < n,
            (Some(_), Some(_)) => true,
            _ if x != y => return x < y,
            _ => true,
        };
        if equal && at + 1 == left.len() {
            return true;
        }
    }
    false
}

/// An order of all texts that agrees with [`precedes`] where that one is an order.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (left, right) = (runs(a), runs(b));
    for (x, y) in left.iter().zip(&right) {
        let are_digits = [x, y].map(|run| run.bytes().all(|byte| byte.is_ascii_digit()));
        let order = if are_digits == [true, true] {
            let (m, n) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CancelToken;
    use crate::options::EngineOptions;

    #[test]
    fn digits_sort_by_number() {
        assert_eq!(natural_order("a2", "a10"), Ordering::Less);
        assert_eq!(natural_order("a10", "a10"), Ordering::Equal);
        assert_eq!(natural_order("1.10", "1.9"), Ordering::Greater);
        assert_eq!(natural_order("", "a"), Ordering::Less);
        assert_eq!(natural_order("b", "a1"), Ordering::Greater);
    }

    #[test]
    fn texts_precede_each_other_as_in_natsort() {
        assert!(precedes("a2", "a10") && !precedes("a10", "a2"));
        assert!(precedes("1.9", "1.10") && precedes("a", "a1") && !precedes("a1", "a"));
        assert!(precedes("01", "1") && precedes("1", "01"));
        assert!(!precedes("", "a") && !precedes("a", ""));
        // Beyond 63 bits digits are text.
        assert!(precedes("18446744073709551615", "9") && precedes("9", "10"));
        assert!(precedes("a01b", "a1c") && !precedes("a1c", "a01b"));
    }

    #[test]
    fn nan_is_last_either_way() {
        let mut list = [f64::NAN, 1.0, 3.0, 2.0];
        let budget = Budget::new(&EngineOptions::default(), &CancelToken::default());
        sort_by_value(&mut list, |v| *v, false, &budget).unwrap();
        assert_eq!(list[..3], [1.0, 2.0, 3.0]);
        sort_by_value(&mut list, |v| *v, true, &budget).unwrap();
        assert_eq!(list[..3], [3.0, 2.0, 1.0]);
        assert!(list[3].is_nan());
    }
}
