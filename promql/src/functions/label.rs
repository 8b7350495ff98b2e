//! `label_replace`, `label_join` and `info`: functions that change labels and leave values alone.

use tenbin_model::labels::LabelsBuilder;
use tenbin_model::{METRIC_NAME, Regex};

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::column::{Data, Series};
use crate::eval::grid::Grid;
use crate::eval::names::join_duplicates;
use crate::eval::plan::Call;
use crate::functions::text_arg;

fn failed(text: String) -> EvalError {
    EvalError::Execution(text)
}

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
    let target = text_arg(call, 1)?;
    let replacement = text_arg(call, 2)?;
    let source = text_arg(call, 3)?;
    let pattern = text_arg(call, 4)?;
    let regex = Regex::new(pattern).map_err(|_| {
        failed(format!(
            "invalid regular expression in label_replace(): {pattern}"
        ))
    })?;
    if target.is_empty() {
        return Err(failed(format!(
            "invalid destination label name in label_replace(): {target}"
        )));
    }
    let mut all = evaluator.eval_vector(&call.args[0], grid)?;
    for series in &mut all {
        let Some(value) = regex
            .captures(series.labels.value_of(source))
            .map(|found| found.expand(replacement))
        else {
            continue;
        };
        set_label(series, target, &value);
    }
    join_duplicates(all).map(Data::Vector)
}

pub(crate) fn label_join(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let target = text_arg(call, 1)?;
    let separator = text_arg(call, 2)?;
    let mut sources = Vec::new();
    for index in 3..call.args.len() {
        let source = text_arg(call, index)?;
        if source.is_empty() {
            return Err(failed(format!(
                "invalid source label name in label_join(): {source}"
            )));
        }
        sources.push(source);
    }
    if target.is_empty() {
        return Err(failed(format!(
            "invalid destination label name in label_join(): {target}"
        )));
    }
    let mut all = evaluator.eval_vector(&call.args[0], grid)?;
    for series in &mut all {
        let parts: Vec<&str> = sources
            .iter()
            .map(|source| series.labels.value_of(source))
            .collect();
        let value = parts.join(separator);
        set_label(series, target, &value);
    }
    join_duplicates(all).map(Data::Vector)
}

pub(crate) fn info(
    _evaluator: &mut Evaluator<'_>,
    _call: &Call<'_>,
    _grid: &Grid,
) -> Result<Data, EvalError> {
    Err(EvalError::Unsupported("the function info".to_owned()))
}
