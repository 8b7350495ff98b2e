//! `label_replace` and `label_join`: functions that change labels and leave values alone.

use tenbin_model::METRIC_NAME;
use tenbin_model::labels::LabelsBuilder;
use tenbin_model::regex::Pasted;

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::column::{Data, Series};
use crate::eval::grid::Grid;
use crate::eval::names::join_duplicates;
use crate::eval::plan::Call;
use crate::functions::{label_arg, text_arg};

/// Sets a label; writing the metric name makes a dropped name valid again.
fn set_label(series: &mut Series, name: &str, value: &str) {
    let mut builder = LabelsBuilder::from_labels(&series.labels);
    builder.set(name, value);
    series.labels = builder.build();
    if name == METRIC_NAME {
        series.drop_name = false;
    }
}

pub(crate) fn label_replace(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let replacement = text_arg(call, 2)?;
    let source = text_arg(call, 3)?;
    let pattern = text_arg(call, 4)?;
    let regex = Pasted::new(pattern).map_err(|_| {
        EvalError::Execution(format!(
            "invalid regular expression in label_replace(): {pattern}"
        ))
    })?;
    let target = label_arg(call, 1, "destination")?;
    let mut all = evaluator.eval_vector(&call.args[0], grid)?;
    for (at, series) in all.iter_mut().enumerate() {
        evaluator.budget.check_at(at)?;
        let Some(value) = regex
            .captures(series.labels.value_of(source))
            .map(|found| found.expand(replacement))
        else {
            continue;
        };
        set_label(series, target, &value);
    }
    join_duplicates(all, &evaluator.budget).map(Data::Vector)
}

pub(crate) fn label_join(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let separator = text_arg(call, 2)?;
    let sources: Vec<&str> = (3..call.args.len())
        .map(|index| label_arg(call, index, "source"))
        .collect::<Result<_, _>>()?;
    let target = label_arg(call, 1, "destination")?;
    let mut all = evaluator.eval_vector(&call.args[0], grid)?;
    for (at, series) in all.iter_mut().enumerate() {
        evaluator.budget.check_at(at)?;
        let parts: Vec<&str> = sources
            .iter()
            .map(|source| series.labels.value_of(source))
            .collect();
        let value = parts.join(separator);
        set_label(series, target, &value);
    }
    join_duplicates(all, &evaluator.budget).map(Data::Vector)
}
