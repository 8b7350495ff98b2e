//! Metric names that operations drop, and series that become equal by it.
//!
//! With delayed name removal the name only gets a mark and goes at the end of the query; without,
//! it goes at once. Source: Prometheus `rangeEval`, `mergeSeriesWithSameLabelset`.

use hashbrown::HashMap;
use tenbin_model::{Labels, METRIC_NAME};

use crate::error::EvalError;
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
pub(crate) fn has_duplicates(all: &[Series]) -> bool {
    let mut seen = hashbrown::HashSet::with_capacity(all.len());
    !all.iter().all(|series| seen.insert(&series.labels))
}

/// Joins series of equal labels, in order of first appearance.
///
/// # Errors
/// When two of them have a sample at the same step.
pub(crate) fn join_duplicates(all: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    if !has_duplicates(&all) {
        return Ok(all);
    }
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut joined: Vec<Series> = Vec::with_capacity(all.len());
    for series in all {
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
) -> Result<Vec<Series>, EvalError> {
    if grid.is_instant() {
        if !delayed_name_removal && has_duplicates(&all) {
            return Err(same_labelset());
        }
        return Ok(all);
    }
    join_duplicates(all)
}

/// Removes the names that were marked for it and joins what became equal.
pub(crate) fn drop_marked_names(mut all: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    for series in &mut all {
        if series.drop_name {
            series.labels = without_name(&series.labels);
        }
    }
    join_duplicates(all)
}
