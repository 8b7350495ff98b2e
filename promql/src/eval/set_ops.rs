//! Set operators: `and`, `or`, `unless`.
//!
//! Samples pass unchanged; what counts is at which steps the other side has any sample of the same
//! signature. Source: Prometheus `VectorAnd`, `VectorOr`, `VectorUnless`.

use crate::ast::{BinaryOp, VectorMatching};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::binary::totals;
use crate::eval::column::{Presence, Series};
use crate::eval::grid::Grid;
use crate::eval::matching::Signatures;
use crate::eval::names::settle_duplicates;

/// At which steps each signature occurs.
fn steps_of(numbers: &[usize], all: &[Series], count: usize, steps: usize) -> Vec<Presence> {
    let mut present = vec![Presence::none(steps); count];
    for (number, series) in numbers.iter().zip(all) {
        present[*number].union_with(&series.occupied());
    }
    present
}

impl Evaluator<'_> {
    /// Evaluates a set operator.
    pub(crate) fn set_operation(
        &mut self,
        op: BinaryOp,
        matching: &VectorMatching,
        lhs: Vec<Series>,
        rhs: Vec<Series>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let inputs = [totals(&lhs, grid), totals(&rhs, grid)];
        let mut signatures = Signatures::new(matching);
        let left = signatures.numbers(&lhs, &mut self.budget)?;
        let right = signatures.numbers(&rhs, &mut self.budget)?;
        let count = signatures.len();
        let mut result = Vec::new();
        if op == BinaryOp::Or {
            let present = steps_of(&left, &lhs, count, grid.steps);
            result.extend(lhs);
            for (at, (number, mut series)) in right.iter().zip(rhs).enumerate() {
                self.budget.check_at(at)?;
                let mut keep = series.occupied();
                keep.subtract(&present[*number]);
                self.keep_steps(&mut series, &keep)?;
                result.push(series);
            }
        } else {
            let present = steps_of(&right, &rhs, count, grid.steps);
            for (at, (number, mut series)) in left.iter().zip(lhs).enumerate() {
                self.budget.check_at(at)?;
                let mut keep = series.occupied();
                if op == BinaryOp::And {
                    keep.intersect_with(&present[*number]);
                } else {
                    keep.subtract(&present[*number]);
                }
                self.keep_steps(&mut series, &keep)?;
                result.push(series);
            }
            self.budget.release_series(&rhs);
        }
        // Prometheus holds operands, those of the step at hand once more, and results.
        let held: u64 = inputs.iter().map(|(all, last)| all + last).sum();
        self.budget.touch(held)?;
        result.retain(|series| !series.is_empty());
        self.budget.release_bytes(signatures.bytes());
        let delayed = self.delayed_name_removal();
        settle_duplicates(result, grid, delayed, &self.budget)
    }

    fn keep_steps(&mut self, series: &mut Series, keep: &Presence) -> Result<(), EvalError> {
        let before = series.size();
        series.retain(keep);
        self.budget.adjust(before, series.size())
    }
}
