//! Binary operations: which shape of operands, and the ones with a scalar.
//!
//! Source: Prometheus `VectorscalarBinop` in `promql/engine.go`.

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::arithmetic::{Operand, Operation, changes_meaning, on_scalars};
use crate::eval::column::{Data, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::names::settle_duplicates;
use crate::eval::plan::{Binary, BinaryShape, Kind};

/// Samples of all series, and those at the last step.
pub(crate) fn totals(all: &[Series], grid: &Grid) -> (u64, u64) {
    let last = grid.steps - 1;
    let at_last = all
        .iter()
        .filter(|series| series.floats.get(last) || series.histogram(last).is_some());
    (all.iter().map(Series::size).sum(), at_last.count() as u64)
}

impl Evaluator<'_> {
    /// Evaluates a chain of binary operations from its first term on. The chain is walked, not
    /// recursed into: it may have a thousand terms.
    pub(crate) fn binary(&mut self, binary: &Binary<'_>, grid: &Grid) -> Result<Data, EvalError> {
        let mut chain = vec![binary];
        let mut first = &binary.lhs;
        while let Kind::Binary(inner) = &first.kind
            && !first.is_shared()
        {
            chain.push(inner);
            first = &inner.lhs;
        }
        let mut lhs = self.eval(first, grid)?;
        for operation in chain.into_iter().rev() {
            self.budget.check()?;
            // Prometheus holds the scalars of the left side meanwhile.
            let held = u64::from(matches!(lhs, Data::Scalar(_))) * grid.steps as u64;
            self.budget.charge(held)?;
            let rhs = self.eval(&operation.rhs, grid)?;
            self.budget.release(held);
            lhs = self.operation(operation, lhs, rhs, grid)?;
        }
        Ok(lhs)
    }

    /// Applies one operation to its operands.
    fn operation(
        &mut self,
        binary: &Binary<'_>,
        lhs: Data,
        rhs: Data,
        grid: &Grid,
    ) -> Result<Data, EvalError> {
        match (binary.shape, lhs, rhs) {
            (BinaryShape::Scalars, Data::Scalar(lhs), Data::Scalar(rhs)) => {
                let f = on_scalars(binary.op).ok_or_else(|| {
                    let op = binary.op.as_str();
                    EvalError::Execution(format!(
                        "operator {op:?} not allowed for Scalar operations"
                    ))
                })?;
                // Prometheus holds a sample per step for each operand and the result.
                self.budget.touch(3 * grid.steps as u64 + 2)?;
                Ok(Data::Scalar(lhs.combine(&rhs, f)))
            }
            (BinaryShape::VectorScalar, Data::Vector(all), Data::Scalar(scalars))
            | (BinaryShape::ScalarVector, Data::Scalar(scalars), Data::Vector(all)) => {
                self.with_scalar(binary, all, &scalars, grid)
            }
            (BinaryShape::Vectors(matching), Data::Vector(lhs), Data::Vector(rhs)) => {
                let result = if binary.op.is_set() {
                    self.set_operation(binary.op, matching, lhs, rhs, grid)
                } else {
                    self.matched(binary, matching, &lhs, &rhs, grid)
                };
                result.map(Data::Vector)
            }
            _ => Err(EvalError::BadQuery(
                "operands of another type than the operator's".to_owned(),
            )),
        }
    }

    fn with_scalar(
        &mut self,
        binary: &Binary<'_>,
        all: Vec<Series>,
        scalars: &Scalars,
        grid: &Grid,
    ) -> Result<Data, EvalError> {
        let swapped = matches!(binary.shape, BinaryShape::ScalarVector);
        let operation = Operation {
            op: binary.op,
            return_bool: binary.return_bool,
            keep_right: swapped && binary.op.is_comparison(),
            span: binary.span,
        };
        let inputs = totals(&all, grid);
        let drops_name = changes_meaning(binary.op) || binary.return_bool;
        let mut kept = Vec::with_capacity(all.len());
        self.notes.begin_operation();
        for mut series in all {
            self.budget.check()?;
            let before = series.size();
            self.apply_scalar(&operation, &mut series, scalars, swapped)?;
            self.budget.adjust(before, series.size())?;
            if series.is_empty() {
                continue;
            }
            if drops_name {
                self.drop_name(&mut series);
            }
            kept.push(series);
        }
        self.notes.end_operation();
        // Prometheus holds operands, those of the step at hand once more, and results.
        let scalar = grid.steps as u64 + 1;
        self.budget.touch(inputs.0 + inputs.1 + scalar)?;
        let delayed = self.delayed_name_removal();
        settle_duplicates(kept, grid, delayed, &self.budget).map(Data::Vector)
    }

    /// Replaces the values of a series by those of the operation.
    fn apply_scalar(
        &mut self,
        operation: &Operation,
        series: &mut Series,
        scalars: &Scalars,
        swapped: bool,
    ) -> Result<(), EvalError> {
        let mut out = Series::new(series.labels.clone(), series.steps());
        out.drop_name = series.drop_name;
        let (column, scalar) = (Operand::Column(series), Operand::Scalars(scalars));
        let (left, right) = if swapped {
            (scalar, column)
        } else {
            (column, scalar)
        };
        operation.apply(left, right, &series.occupied(), &mut out, &mut self.notes)?;
        *series = out;
        Ok(())
    }
}
