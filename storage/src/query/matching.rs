//! Matchers to sets of series: bitmap algebra over any label index.
//!
//! Semantics of Prometheus' `PostingsForMatchers`: a label that a series lacks has the empty value;
//! so a matcher that accepts the empty value subtracts the series whose value it refuses, and any
//! other matcher intersects with the series whose value it accepts.

use croaring::Bitmap;
use tenbin_model::{MatchOp, Matcher, StoreError};

/// What matching needs to know of a lane or a block. Series are numbers local to it.
pub(crate) trait LabelIndex {
    /// All series.
    fn all(&self) -> Bitmap;

    /// Adds the series that have the pair to `target`.
    fn add_pair(&self, name: &str, value: &str, target: &mut Bitmap) -> Result<(), StoreError>;

    /// Adds to `target` the series of every value of `name` that `accept` takes.
    fn add_values(
        &self,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
        target: &mut Bitmap,
    ) -> Result<(), StoreError>;

    /// Calls `each` for every value of `name` that a series of `within` (all series: `None`) has.
    fn values(
        &self,
        name: &str,
        within: Option<&Bitmap>,
        each: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError>;

    /// Calls `each` for every label name that a series of `within` (all series: `None`) has.
    fn names(&self, within: Option<&Bitmap>, each: &mut dyn FnMut(&str)) -> Result<(), StoreError>;
}

/// The series that satisfy all matchers.
pub(crate) fn select(index: &dyn LabelIndex, matchers: &[Matcher]) -> Result<Bitmap, StoreError> {
    let mut selected: Option<Bitmap> = None;
    // Equality first: it is cheap and leaves little for the rest.
    for matcher in matchers.iter().filter(|m| !m.matches_empty()) {
        let mut accepted = Bitmap::new();
        if matcher.op() == MatchOp::Equal {
            index.add_pair(matcher.name(), matcher.value(), &mut accepted)?;
        } else {
            index.add_values(matcher.name(), &mut |v| matcher.matches(v), &mut accepted)?;
        }
        if accepted.is_empty() {
            return Ok(accepted);
        }
        match &mut selected {
            Some(so_far) => so_far.and_inplace(&accepted),
            None => selected = Some(accepted),
        }
    }
    let mut selected = selected.unwrap_or_else(|| index.all());
    for matcher in matchers.iter().filter(|m| m.matches_empty()) {
        let mut refused = Bitmap::new();
        if matcher.op() == MatchOp::NotEqual {
            index.add_pair(matcher.name(), matcher.value(), &mut refused)?;
        } else {
            index.add_values(matcher.name(), &mut |v| !matcher.matches(v), &mut refused)?;
        }
        selected.andnot_inplace(&refused);
    }
    Ok(selected)
}
