//! Parts of a matrix and putting two of them together. Points ascend in time, series are sorted by
//! labels, none is empty and no two have the same labels; that holds for the results too.

use std::cmp::Ordering;

use crate::value::MatrixSeries;

/// Whether a point is a histogram.
pub(super) fn has_histograms(all: &[MatrixSeries]) -> bool {
    all.iter().any(|series| !series.histograms.is_empty())
}

/// The floats of a series at the times `first..=last`.
fn inside(series: &MatrixSeries, (first_ms, last_ms): (i64, i64)) -> &[(i64, f64)] {
    let from = series.floats.partition_point(|(t, _)| *t < first_ms);
    let to = series.floats.partition_point(|(t, _)| *t <= last_ms);
    series.floats.get(from..to).unwrap_or(&[])
}

/// What series have at the times `first..=last`.
pub(super) fn cut(all: &[MatrixSeries], range_ms: (i64, i64)) -> Vec<MatrixSeries> {
    joined(all, range_ms, Vec::new())
}

/// What series have at the times `first..=last`, and behind that a later part.
pub(super) fn joined(
    known: &[MatrixSeries],
    range_ms: (i64, i64),
    later: Vec<MatrixSeries>,
) -> Vec<MatrixSeries> {
    let mut all = Vec::with_capacity(known.len().max(later.len()));
    let mut later = later.into_iter().peekable();
    for series in known {
        let mut tail = Vec::new();
        while let Some(next) = later.next_if(|next| next.labels <= series.labels) {
            match next.labels.cmp(&series.labels) {
                Ordering::Equal => tail = next.floats,
                _ => all.push(next),
            }
        }
        let head = inside(series, range_ms);
        if head.is_empty() && tail.is_empty() {
            continue;
        }
        let mut floats = Vec::with_capacity(head.len() + tail.len());
        floats.extend_from_slice(head);
        floats.append(&mut tail);
        all.push(MatrixSeries {
            labels: series.labels.clone(),
            floats,
            histograms: Vec::new(),
        });
    }
    all.extend(later);
    all
}
