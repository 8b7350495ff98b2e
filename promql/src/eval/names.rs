//! Metric names that operations drop, and series that become equal by it.
//!
//! With delayed name removal the name only gets a mark and goes at the end of the query; without,
//! it goes at once. Source: Prometheus `rangeEval`, `mergeSeriesWithSameLabelset`.

use hashbrown::{HashMap, HashSet};
use tenbin_model::{Labels, METRIC_NAME};

use crate::error::EvalError;
use crate::eval::budget::Budget;
use crate::eval::column::Series;
use crate::eval::grid::Grid;

/// Whether `name` is a label that describes the metric and goes with its name.
pub(crate) fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// The labels without the metric's name, type and unit.
pub(crate) fn without_name(labels: &Labels) -> Labels {
    labels.filter(|name| !is_metadata_label(name))
}

/// The error for two samples of equal labels at one time.
pub(crate) fn same_labelset() -> EvalError {
    EvalError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Whether two series have equal labels.
pub(crate) fn has_duplicates(all: &[Series], budget: &Budget) -> Result<bool, EvalError> {
    have_duplicates(all.iter().map(|series| &series.labels), budget)
}

/// Whether two of the labels are equal.
pub(crate) fn have_duplicates<'l>(
    all: impl ExactSizeIterator<Item = &'l Labels>,
    budget: &Budget,
) -> Result<bool, EvalError> {
    let mut seen = HashSet::with_capacity(all.len());
    for (at, labels) in all.enumerate() {
        budget.check_at(at)?;
        if !seen.insert(labels) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Joins series of equal labels, in order of first appearance.
///
/// # Errors
/// When two of them have a sample at the same step.
pub(crate) fn join_duplicates(all: Vec<Series>, budget: &Budget) -> Result<Vec<Series>, EvalError> {
    if !has_duplicates(&all, budget)? {
        return Ok(all);
    }
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut joined: Vec<Series> = Vec::with_capacity(all.len());
    for (at, series) in all.into_iter().enumerate() {
        budget.check_at(at)?;
        match places.get(&series.labels) {
            Some(at) => {
                let first = &mut joined[*at];
                if !first.occupied().and(&series.occupied()).is_empty() {
                    return Err(same_labelset());
                }
                first.absorb(&series);
            }
            None => {
                places.insert(series.labels.clone(), joined.len());
                joined.push(series);
            }
        }
    }
    Ok(joined)
}

/// What a node that works step by step does with series of equal labels: in a range query they
/// become one, in an instant query they are an error unless names are dropped later.
pub(crate) fn settle_duplicates(
    all: Vec<Series>,
    grid: &Grid,
    delayed_name_removal: bool,
    budget: &Budget,
) -> Result<Vec<Series>, EvalError> {
    if grid.is_instant() {
        if !delayed_name_removal && has_duplicates(&all, budget)? {
            return Err(same_labelset());
        }
        return Ok(all);
    }
    join_duplicates(all, budget)
}

/// Removes the names that were marked for it and joins what became equal.
pub(crate) fn drop_marked_names(
    mut all: Vec<Series>,
    budget: &Budget,
) -> Result<Vec<Series>, EvalError> {
    for (at, series) in all.iter_mut().enumerate() {
        budget.check_at(at)?;
        if series.drop_name {
            series.labels = without_name(&series.labels);
        }
    }
    join_duplicates(all, budget)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CancelToken;
    use crate::options::EngineOptions;

    #[test]
    fn comparing_labels_ends_when_told_to() {
        let cancel = CancelToken::default();
        let budget = Budget::new(&EngineOptions::default(), &cancel);
        let all = || {
            vec![
                Series::new(Labels::empty(), 1),
                Series::new(Labels::empty(), 1),
            ]
        };
        assert_eq!(join_duplicates(all(), &budget).unwrap().len(), 1);
        cancel.cancel();
        assert!(join_duplicates(all(), &budget).is_err());
        assert!(drop_marked_names(all(), &budget).is_err());
    }
}
