//! Binary operations: which shape of operands, and the ones with a scalar.
//!
//! Source: Prometheus `VectorscalarBinop` in `promql/engine.go`.

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::arithmetic::{Operand, Operation, changes_meaning, on_scalars};
use crate::eval::column::{Data, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::names::settle_duplicates;
use crate::eval::plan::{Binary, BinaryShape, Node};

impl Evaluator<'_> {
    /// Evaluates a binary operation.
    pub(crate) fn binary(&mut self, binary: &Binary<'_>, grid: &Grid) -> Result<Data, EvalError> {
        match binary.shape {
            BinaryShape::Scalars => {
                let lhs = self.eval_scalar(&binary.lhs, grid)?;
                let rhs = self.eval_scalar(&binary.rhs, grid)?;
                let f = on_scalars(binary.op).ok_or_else(|| {
                    let op = binary.op.as_str();
                    EvalError::Execution(format!(
                        "operator {op:?} not allowed for Scalar operations"
                    ))
                })?;
                Ok(Data::Scalar(lhs.combine(&rhs, f)))
            }
            BinaryShape::VectorScalar => self.with_scalar(binary, &binary.lhs, &binary.rhs, grid),
            BinaryShape::ScalarVector => self.with_scalar(binary, &binary.rhs, &binary.lhs, grid),
            BinaryShape::Vectors(matching) => {
                let lhs = self.eval_vector(&binary.lhs, grid)?;
                let rhs = self.eval_vector(&binary.rhs, grid)?;
                let result = if binary.op.is_set() {
                    self.set_operation(binary.op, matching, lhs, rhs, grid)
                } else {
                    self.matched(binary, matching, &lhs, &rhs, grid)
                };
                result.map(Data::Vector)
            }
        }
    }

    fn with_scalar(
        &mut self,
        binary: &Binary<'_>,
        vector: &Node<'_>,
        scalar: &Node<'_>,
        grid: &Grid,
    ) -> Result<Data, EvalError> {
        let swapped = matches!(binary.shape, BinaryShape::ScalarVector);
        // Operands are evaluated from left to right.
        let (all, scalars) = if swapped {
            let scalars = self.eval_scalar(scalar, grid)?;
            (self.eval_vector(vector, grid)?, scalars)
        } else {
            let all = self.eval_vector(vector, grid)?;
            (all, self.eval_scalar(scalar, grid)?)
        };
        let operation = Operation {
            op: binary.op,
            return_bool: binary.return_bool,
            keep_right: swapped && binary.op.is_comparison(),
            span: binary.span,
        };
        let drops_name = changes_meaning(binary.op) || binary.return_bool;
        let mut kept = Vec::with_capacity(all.len());
        for mut series in all {
            self.budget.check()?;
            let before = series.size();
            self.apply_scalar(&operation, &mut series, &scalars, swapped)?;
            self.budget.adjust(before, series.size())?;
            if series.is_empty() {
                continue;
            }
            if drops_name {
                self.drop_name(&mut series);
            }
            kept.push(series);
        }
        let delayed = self.delayed_name_removal();
        settle_duplicates(kept, grid, delayed).map(Data::Vector)
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
