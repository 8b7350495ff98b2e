//! Operations between two vectors: which series match, at which steps, and what the result is
//! called.
//!
//! Signatures and result labels are computed once per series or pair; presence bitmaps then tell at
//! which steps a pair meets, and where a match is ambiguous. Prometheus works step by step and
//! fails at the first step that is ambiguous; so does this, by looking for the earliest such step.
//! Source: Prometheus `VectorBinop`, `resultMetric`.

use hashbrown::HashMap;
use tenbin_model::labels::LabelsBuilder;
use tenbin_model::{Labels, METRIC_NAME};

use crate::ast::{MatchCardinality, VectorMatching};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::arithmetic::{Operand, Operation, changes_meaning};
use crate::eval::binary::totals;
use crate::eval::budget::Budget;
use crate::eval::column::{Presence, Series};
use crate::eval::grid::Grid;
use crate::eval::grouping::{Grouping, Groups};
use crate::eval::names::{is_metadata_label, settle_duplicates};
use crate::eval::plan::Binary;

/// The signatures of a matching: numbers for the labels that two sides must share.
pub(crate) struct Signatures<'m> {
    names: Vec<&'m str>,
    on: bool,
    groups: Groups,
    bytes: u64,
}

impl<'m> Signatures<'m> {
    pub(crate) fn new(matching: &'m VectorMatching) -> Self {
        let mut names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
        names.sort_unstable();
        Self {
            names,
            on: matching.on,
            groups: Groups::default(),
            bytes: 0,
        }
    }

    /// The numbers of all series, equal for equal signatures. What is kept for them is charged.
    pub(crate) fn numbers(
        &mut self,
        all: &[Series],
        budget: &mut Budget,
    ) -> Result<Vec<usize>, EvalError> {
        let grouping = Grouping {
            names: &self.names,
            without: !self.on,
        };
        let mut numbers = Vec::with_capacity(all.len());
        for (at, series) in all.iter().enumerate() {
            budget.check_at(at)?;
            numbers.push(self.groups.number(&grouping, &series.labels));
            // Key, number, and a bit per step.
            let bytes = 64 + series.labels.byte_len() + series.steps() / 8;
            budget.charge_bytes(bytes as u64)?;
            self.bytes += bytes as u64;
        }
        Ok(numbers)
    }

    /// What was charged for numbers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many signatures there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }
}

/// The labels by which a series is matched.
fn match_labels(matching: &VectorMatching, labels: &Labels) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    if matching.on {
        labels.filter(listed)
    } else {
        labels.filter(|name| name != METRIC_NAME && !listed(name))
    }
}

/// The series of one signature.
#[derive(Default)]
struct Bucket {
    many: Vec<usize>,
    one: Vec<usize>,
}

/// An ambiguity at a step. Of several at one step the one found first counts.
struct Ambiguity {
    step: usize,
    text: String,
}

/// Keeps the earliest of two ambiguities.
fn earliest(known: &mut Option<Ambiguity>, step: usize, text: impl FnOnce() -> String) {
    if known.as_ref().is_none_or(|other| step < other.step) {
        *known = Some(Ambiguity { step, text: text() });
    }
}

/// Both sides, seen as the side that may have many series per signature and the one that may not.
struct Sides<'s> {
    matching: &'s VectorMatching,
    many: &'s [Series],
    one: &'s [Series],
    many_steps: Vec<Presence>,
    one_steps: Vec<Presence>,
    buckets: Vec<Bucket>,
    /// The sides are swapped: the many side is the right operand.
    swapped: bool,
}

impl Sides<'_> {
    /// The fill values for a missing series of the many side and of the one side. As in
    /// Prometheus, `group_right` does not swap them: `fill_left` is for the many side.
    fn fills(&self) -> (Option<f64>, Option<f64>) {
        (self.matching.fill_left, self.matching.fill_right)
    }

    /// The steps at which any matching takes place.
    fn active(&self, steps: usize) -> Presence {
        let union = |all: &[Presence]| {
            let mut union = Presence::none(steps);
            for present in all {
                union.union_with(present);
            }
            union
        };
        let mut active = union(&self.many_steps);
        match self.fills() {
            (None, None) => active.intersect_with(&union(&self.one_steps)),
            _ => active.union_with(&union(&self.one_steps)),
        }
        active
    }

    /// Forgets what is present from `step` on.
    fn forget_from(&mut self, step: usize) {
        for present in self.many_steps.iter_mut().chain(&mut self.one_steps) {
            present.truncate(step);
        }
    }

    /// Finds the first step at which two series of the one side have the same signature.
    fn find_duplicate(&self, steps: usize) -> Option<Ambiguity> {
        let active = self.active(steps);
        let mut found: Option<usize> = None;
        for bucket in self.buckets.iter().filter(|bucket| bucket.one.len() > 1) {
            let mut seen = Presence::none(steps);
            for at in &bucket.one {
                let present = self.one_steps[*at].and(&active);
                if let Some(step) = seen.and(&present).first() {
                    found = Some(found.map_or(step, |other| other.min(step)));
                }
                seen.union_with(&present);
            }
        }
        let step = found?;
        self.duplicate_at(step)
    }

    /// Words the first duplicate of the one side at a step.
    fn duplicate_at(&self, step: usize) -> Option<Ambiguity> {
        let mut first_of: HashMap<usize, usize> = HashMap::new();
        let mut bucket_of: HashMap<usize, usize> = HashMap::new();
        for (number, bucket) in self.buckets.iter().enumerate() {
            for at in &bucket.one {
                bucket_of.insert(*at, number);
            }
        }
        for (at, series) in self.one.iter().enumerate() {
            if !self.one_steps[at].get(step) {
                continue;
            }
            let number = *bucket_of.get(&at)?;
            let Some(first) = first_of.insert(number, at) else {
                continue;
            };
            let mut both = [
                series.labels.to_string(),
                self.one[first].labels.to_string(),
            ];
            both.sort();
            let side = if self.swapped { "left" } else { "right" };
            return Some(Ambiguity {
                step,
                text: format!(
                    "found duplicate series for the match group {} on the {side} hand-side of \
                     the operation: [{}, {}];many-to-many matching not allowed: matching labels \
                     must be unique on one side",
                    match_labels(self.matching, &series.labels),
                    both[0],
                    both[1]
                ),
            });
        }
        None
    }
}

/// A pair of series, one of which may be a fill value, and the steps at which they meet.
struct Pair {
    many: Option<usize>,
    one: Option<usize>,
    signature: usize,
    steps: Presence,
}

impl Evaluator<'_> {
    /// Evaluates an arithmetic operation or comparison between two vectors.
    pub(crate) fn matched(
        &mut self,
        binary: &Binary<'_>,
        matching: &VectorMatching,
        lhs: &[Series],
        rhs: &[Series],
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let swapped = matching.cardinality == MatchCardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let mut signatures = Signatures::new(matching);
        let many_numbers = signatures.numbers(many, &mut self.budget)?;
        let one_numbers = signatures.numbers(one, &mut self.budget)?;
        let mut buckets: Vec<Bucket> = Vec::new();
        buckets.resize_with(signatures.len(), Bucket::default);
        for (at, number) in many_numbers.iter().enumerate() {
            buckets[*number].many.push(at);
        }
        for (at, number) in one_numbers.iter().enumerate() {
            buckets[*number].one.push(at);
        }
        let mut sides = Sides {
            matching,
            many,
            one,
            many_steps: many.iter().map(Series::occupied).collect(),
            one_steps: one.iter().map(Series::occupied).collect(),
            buckets,
            swapped,
        };
        let mut ambiguity = sides.find_duplicate(grid.steps);
        if let Some(found) = &ambiguity {
            // Earlier steps may fail for another reason; later ones do not matter, and could pair
            // everything with everything.
            sides.forget_from(found.step);
        }
        let pairs = self.pairs_of(&sides, &many_numbers, &one_numbers)?;
        self.notes.begin_operation();
        let result = self.combine_pairs(binary, &sides, &pairs, &mut ambiguity, grid)?;
        self.notes.end_operation();
        if let Some(found) = ambiguity {
            return Err(EvalError::Execution(found.text));
        }
        for series in &result {
            self.budget.charge_series(series)?;
        }
        // Those of the step at hand are held once more.
        let at_step = totals(lhs, grid).1 + totals(rhs, grid).1;
        self.budget.touch(at_step)?;
        self.budget.release_series(lhs);
        self.budget.release_series(rhs);
        self.budget.release_bytes(signatures.bytes());
        let delayed = self.delayed_name_removal();
        settle_duplicates(result, grid, delayed, &self.budget)
    }

    fn combine_pairs(
        &mut self,
        binary: &Binary<'_>,
        sides: &Sides<'_>,
        pairs: &[Pair],
        ambiguity: &mut Option<Ambiguity>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let operation = Operation {
            op: binary.op,
            return_bool: binary.return_bool,
            keep_right: false,
            span: binary.span,
        };
        let one_to_one = sides.matching.cardinality == MatchCardinality::OneToOne;
        // Steps matched so far: per signature, and per signature and result in many-to-one.
        let mut matched: HashMap<(usize, Option<Labels>), Presence> = HashMap::new();
        let mut result = Vec::with_capacity(pairs.len());
        for pair in pairs {
            self.budget.check()?;
            let mut out = Series::new(self.result_labels(binary, sides, pair), grid.steps);
            out.drop_name = binary.return_bool;
            let (many_fill, one_fill) = sides.fills();
            let many = operand(pair.many.map(|at| &sides.many[at]), many_fill);
            let one = operand(pair.one.map(|at| &sides.one[at]), one_fill);
            let (left, right) = if sides.swapped {
                (one, many)
            } else {
                (many, one)
            };
            let failed = operation.apply(left, right, &pair.steps, &mut out, &mut self.notes)?;
            let mut steps = pair.steps.clone();
            if let Some(failed) = failed {
                steps.subtract(&failed);
            }
            // A signature with a single pair cannot be ambiguous.
            let bucket = &sides.buckets[pair.signature];
            if bucket.many.len() > 1 || bucket.one.len() > 1 {
                let key = (!one_to_one).then(|| out.labels.clone());
                let seen = matched
                    .entry((pair.signature, key))
                    .or_insert_with(|| Presence::none(grid.steps));
                if let Some(step) = seen.and(&steps).first() {
                    earliest(ambiguity, step, || ambiguity_text(one_to_one));
                }
                seen.union_with(&steps);
            }
            if !out.is_empty() {
                result.push(out);
            }
        }
        Ok(result)
    }

    /// The labels of a pair's result.
    fn result_labels(&self, binary: &Binary<'_>, sides: &Sides<'_>, pair: &Pair) -> Labels {
        let matching = sides.matching;
        let (many, one) = match (pair.many, pair.one) {
            (Some(many), Some(one)) => (
                sides.many[many].labels.clone(),
                sides.one[one].labels.clone(),
            ),
            (Some(many), None) => {
                let labels = &sides.many[many].labels;
                (labels.clone(), match_labels(matching, labels))
            }
            (None, Some(one)) => {
                let labels = &sides.one[one].labels;
                (match_labels(matching, labels), labels.clone())
            }
            (None, None) => return Labels::empty(),
        };
        let drops_name =
            changes_meaning(binary.op) || (binary.return_bool && !self.delayed_name_removal());
        let one_to_one = matching.cardinality == MatchCardinality::OneToOne;
        let kept = many.filter(|name| {
            if drops_name && is_metadata_label(name) {
                return false;
            }
            !one_to_one || matching.on == matching.labels.iter().any(|label| label == name)
        });
        if matching.include.is_empty() {
            return kept;
        }
        let mut builder = LabelsBuilder::from_labels(&kept);
        for name in &matching.include {
            builder.set(name, one.value_of(name));
        }
        builder.build()
    }
}

/// A series, or the fill value for a missing one.
fn operand(series: Option<&Series>, fill: Option<f64>) -> Operand<'_> {
    match series {
        Some(series) => Operand::Column(series),
        None => Operand::Fill(fill.unwrap_or(0.0)),
    }
}

fn ambiguity_text(one_to_one: bool) -> String {
    if one_to_one {
        "multiple matches for labels: many-to-one matching must be explicit \
         (group_left/group_right)"
            .to_owned()
    } else {
        "multiple matches for labels: grouping labels must ensure unique matches".to_owned()
    }
}

impl Evaluator<'_> {
    /// All pairs in the order in which Prometheus meets them: by series of the many side, then what
    /// is left of the one side.
    fn pairs_of(
        &self,
        sides: &Sides<'_>,
        many_numbers: &[usize],
        one_numbers: &[usize],
    ) -> Result<Vec<Pair>, EvalError> {
        let (many_fill, one_fill) = sides.fills();
        let mut pairs = Vec::with_capacity(many_numbers.len());
        for (many, signature) in many_numbers.iter().enumerate() {
            self.budget.check()?;
            if sides.many_steps[many].is_empty() {
                continue;
            }
            let mut rest = sides.many_steps[many].clone();
            for one in &sides.buckets[*signature].one {
                let steps = sides.many_steps[many].and(&sides.one_steps[*one]);
                rest.subtract(&steps);
                if !steps.is_empty() {
                    pairs.push(Pair {
                        many: Some(many),
                        one: Some(*one),
                        signature: *signature,
                        steps,
                    });
                }
            }
            if one_fill.is_some() && !rest.is_empty() {
                pairs.push(Pair {
                    many: Some(many),
                    one: None,
                    signature: *signature,
                    steps: rest,
                });
            }
        }
        if many_fill.is_none() {
            return Ok(pairs);
        }
        for (one, signature) in one_numbers.iter().enumerate() {
            let mut rest = sides.one_steps[one].clone();
            for many in &sides.buckets[*signature].many {
                rest.subtract(&sides.many_steps[*many]);
            }
            if !rest.is_empty() {
                pairs.push(Pair {
                    many: None,
                    one: Some(one),
                    signature: *signature,
                    steps: rest,
                });
            }
        }
        Ok(pairs)
    }
}
