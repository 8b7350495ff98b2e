//! Matchers to sets of series: bitmap algebra over any label index.
//!
//! Semantics of Prometheus' `PostingsForMatchers`: a label that a series lacks has the empty value;
//! so a matcher that accepts the empty value subtracts the series whose value it refuses, and any
//! other matcher intersects with the series whose value it accepts.

use croaring::Bitmap;
use tenbin_model::{Interrupt, MatchOp, Matcher, StoreError};

/// What matching needs to know of a lane or a block. Series are numbers local to it.
pub(crate) trait LabelIndex {
    /// All series.
    fn all(&self) -> Bitmap;

    /// Adds the series that have the pair to `target`.
    fn add_pair(&self, name: &str, value: &str, target: &mut Bitmap) -> Result<(), StoreError>;

    /// Adds to `target` the series of every value of `name` that begins with `prefix` and that
    /// `accept` takes, until that fails.
    fn add_values(
        &self,
        name: &str,
        prefix: &str,
        accept: &mut dyn FnMut(&str) -> Result<bool, StoreError>,
        target: &mut Bitmap,
    ) -> Result<(), StoreError>;

    /// What [`LabelIndex::remember`] was told of a matcher, if the index never changes.
    fn remembered(&self, _matcher: &Matcher) -> Option<Bitmap> {
        None
    }

    /// Keeps the result of a matcher that was costly to find.
    fn remember(&self, _matcher: &Matcher, _series: &Bitmap) {}

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

/// The series whose value decides: of a matcher that accepts the empty value those that it refuses,
/// of any other those that it accepts.
fn decided(
    index: &dyn LabelIndex,
    matcher: &Matcher,
    interrupt: &Interrupt,
) -> Result<Bitmap, StoreError> {
    let mut series = Bitmap::new();
    let (name, value) = (matcher.name(), matcher.value());
    if matches!(matcher.op(), MatchOp::Equal | MatchOp::NotEqual) && !value.is_empty() {
        index.add_pair(name, value, &mut series)?;
        return Ok(series);
    }
    if let Some(known) = index.remembered(matcher) {
        return Ok(known);
    }
    let wanted = !matcher.matches_empty();
    let mut looked_at = 0;
    let mut accept = |value: &str| {
        interrupt.check_at(looked_at)?;
        looked_at += 1;
        Ok(matcher.matches(value) == wanted)
    };
    // Whether the wanted values are those that the pattern itself describes.
    let plain = (matcher.op() == MatchOp::Regex) == wanted;
    match matcher.regex().filter(|_| plain) {
        Some(regex) => match regex.literal_set() {
            Some(literals) => {
                for (at, literal) in literals.iter().filter(|l| !l.is_empty()).enumerate() {
                    interrupt.check_at(at)?;
                    index.add_pair(name, literal, &mut series)?;
                }
            }
            None => index.add_values(name, regex.prefix(), &mut accept, &mut series)?,
        },
        None => index.add_values(name, "", &mut accept, &mut series)?,
    }
    index.remember(matcher, &series);
    Ok(series)
}

/// The series that satisfy all matchers.
pub(crate) fn select(index: &dyn LabelIndex, matchers: &[Matcher]) -> Result<Bitmap, StoreError> {
    select_until(index, matchers, &Interrupt::default())
}

/// As [`select`], for work that may be given up.
pub(crate) fn select_until(
    index: &dyn LabelIndex,
    matchers: &[Matcher],
    interrupt: &Interrupt,
) -> Result<Bitmap, StoreError> {
    let mut selected: Option<Bitmap> = None;
    // Equality first: it is cheap, and nothing is left to do when it finds nothing.
    let is_equal = |m: &&Matcher| m.op() == MatchOp::Equal;
    let (equal, other): (Vec<&Matcher>, Vec<&Matcher>) = matchers
        .iter()
        .filter(|m| !m.matches_empty())
        .partition(is_equal);
    for matcher in equal.into_iter().chain(other) {
        let accepted = decided(index, matcher, interrupt)?;
        match &mut selected {
            Some(so_far) => so_far.and_inplace(&accepted),
            None => selected = Some(accepted),
        }
        if selected.as_ref().is_some_and(Bitmap::is_empty) {
            return Ok(Bitmap::new());
        }
    }
    let mut selected = selected.unwrap_or_else(|| index.all());
    for matcher in matchers.iter().filter(|m| m.matches_empty()) {
        selected.andnot_inplace(&decided(index, matcher, interrupt)?);
    }
    Ok(selected)
}
