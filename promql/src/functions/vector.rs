//! `vector` and `scalar`: between numbers and vectors.

use tenbin_model::Labels;

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::binary::totals;
use crate::eval::column::{Data, Scalars};
use crate::eval::grid::Grid;
use crate::eval::plan::Call;
use crate::eval::range_call::series_of;
use crate::functions::scalar_arg;

pub(crate) fn vector(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let scalars = scalar_arg(evaluator, call, 0, grid)?;
    let mut series = series_of(&scalars, grid);
    series.labels = Labels::empty();
    evaluator.budget.charge_series(&series)?;
    // Prometheus holds the scalar as samples too, that of the step at hand once more.
    evaluator.budget.touch(grid.steps as u64 + 1)?;
    Ok(Data::Vector(vec![series]))
}

/// The only float of a vector, NaN where there are none or several.
pub(crate) fn scalar(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    let mut values = vec![f64::NAN; grid.steps];
    let mut found = vec![0_u8; grid.steps];
    for series in &all {
        for step in series.floats.iter() {
            values[step] = if found[step] == 0 {
                series.values[step]
            } else {
                f64::NAN
            };
            found[step] = 1;
        }
    }
    // Prometheus holds the result as samples, and operands of the step at hand once more.
    let held = totals(&all, grid).1 + grid.steps as u64;
    evaluator.budget.touch(held)?;
    evaluator.budget.release_series(&all);
    Ok(Data::Scalar(Scalars::PerStep(values)))
}
