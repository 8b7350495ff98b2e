//! Stores that are made of a function.

use tenbin_model::{Matcher, Querier, Queryable, SelectHints, SeriesSet, StoreError, TimeRange};

/// What a selection gives.
pub(crate) type Selected = Result<Box<dyn SeriesSet>, StoreError>;

/// A store whose selections a function answers. It has no names and values to list.
#[derive(Clone)]
pub(crate) struct Store<F>(F);

/// A store whose selections `select` answers.
pub(crate) fn store<F>(select: F) -> Store<F>
where
    F: Fn(&[Matcher], &SelectHints) -> Selected + Clone + Send + Sync + 'static,
{
    Store(select)
}

/// A store that has the same series for all matchers.
pub(crate) fn only<S: SeriesSet + Clone + 'static>(series: S) -> impl Queryable {
    store(move |_, _| Ok(Box::new(series.clone())))
}

impl<F> Queryable for Store<F>
where
    F: Fn(&[Matcher], &SelectHints) -> Selected + Clone + Send + Sync + 'static,
{
    fn querier(&self, _range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl<F> Querier for Store<F>
where
    F: Fn(&[Matcher], &SelectHints) -> Selected + Clone + Send + Sync + 'static,
{
    fn select(&self, matchers: &[Matcher], hints: &SelectHints) -> Selected {
        self.0(matchers, hints)
    }

    fn label_names(&self, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
