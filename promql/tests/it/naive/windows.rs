//! Functions over the samples of one window.
//!
//! Source: Prometheus' `promql/functions.go` of the time before extended selectors.

use tenbin_model::kahan::add;

use super::Samples;

/// The samples in `(start, end]`, at least one.
pub(super) struct Window<'s> {
    pub(super) samples: &'s Samples,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) param: f64,
}

type Function = fn(&Window<'_>) -> Option<f64>;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "rate" => |w| growth(w, true, true),
        "increase" => |w| growth(w, true, false),
        "delta" => |w| growth(w, false, false),
        "irate" => |w| instant(w, true),
        "idelta" => |w| instant(w, false),
        "deriv" => deriv,
        "count_over_time" => |w| Some(w.samples.len() as f64),
        "sum_over_time" => |w| Some(sum(w)),
        "avg_over_time" => |w| Some(mean(w)),
        "min_over_time" => |w| Some(extreme(w, |a, b| a < b)),
        "max_over_time" => |w| Some(extreme(w, |a, b| a > b)),
        "last_over_time" => |w| w.samples.last().map(|(_, v)| *v),
        "first_over_time" => |w| w.samples.first().map(|(_, v)| *v),
        "present_over_time" => |_| Some(1.0),
        "stdvar_over_time" => |w| Some(variance(w)),
        "stddev_over_time" => |w| Some(variance(w).sqrt()),
        "quantile_over_time" => |w| {
            let values = w.samples.iter().map(|(_, v)| *v).collect();
            Some(super::operators::quantile(w.param, values))
        },
        "changes" => |w| Some(pairs(w, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        "resets" => |w| Some(pairs(w, |a, b| b < a)),
        _ => return None,
    })
}

fn pairs(window: &Window<'_>, counts: fn(f64, f64) -> bool) -> f64 {
    let neighbours = window.samples.windows(2);
    neighbours.filter(|p| counts(p[0].1, p[1].1)).count() as f64
}

fn growth(window: &Window<'_>, counter: bool, per_second: bool) -> Option<f64> {
    let samples = window.samples;
    if samples.len() < 2 {
        return None;
    }
    let (first_ms, first) = samples[0];
    let (last_ms, last) = samples[samples.len() - 1];
    let mut result = last - first;
    if counter {
        for pair in samples.windows(2) {
            if pair[1].1 < pair[0].1 {
                result += pair[0].1;
            }
        }
    }
    let mut to_start = (first_ms - window.start) as f64 / 1000.0;
    let mut to_end = (window.end - last_ms) as f64 / 1000.0;
    let sampled = (last_ms - first_ms) as f64 / 1000.0;
    let average = sampled / (samples.len() - 1) as f64;
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if counter && result > 0.0 && first >= 0.0 {
        let to_zero = sampled * (first / result);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= (window.end - window.start) as f64 / 1000.0;
    }
    Some(result * factor)
}

fn instant(window: &Window<'_>, per_second: bool) -> Option<f64> {
    let [.., (before_ms, before), (last_ms, last)] = window.samples.as_slice() else {
        return None;
    };
    if !per_second {
        return Some(last - before);
    }
    let grown = if last < before { *last } else { last - before };
    Some(grown / ((last_ms - before_ms) as f64 / 1000.0))
}

fn sum(window: &Window<'_>) -> f64 {
    let (mut sum, mut lost) = (window.samples[0].1, 0.0);
    for (_, value) in &window.samples[1..] {
        (sum, lost) = add(*value, sum, lost);
    }
    sum + lost
}

fn mean(window: &Window<'_>) -> f64 {
    let (mut sum, mut lost, mut mean, mut incremental) = (window.samples[0].1, 0.0, 0.0, false);
    for (at, (_, value)) in window.samples.iter().enumerate().skip(1) {
        let count = (at + 1) as f64;
        if !incremental {
            let (new_sum, new_lost) = add(*value, sum, lost);
            if !new_sum.is_infinite() {
                (sum, lost) = (new_sum, new_lost);
                continue;
            }
            incremental = true;
            mean = sum / (count - 1.0);
            lost /= count - 1.0;
        }
        let q = (count - 1.0) / count;
        (mean, lost) = add(*value / count, q * mean, q * lost);
    }
    if incremental {
        return mean + lost;
    }
    let count = window.samples.len() as f64;
    sum / count + lost / count
}

fn extreme(window: &Window<'_>, better: fn(f64, f64) -> bool) -> f64 {
    let mut best = window.samples[0].1;
    for (_, value) in window.samples {
        if better(*value, best) || best.is_nan() {
            best = *value;
        }
    }
    best
}

fn variance(window: &Window<'_>) -> f64 {
    let (mut mean, mut mean_lost, mut aux, mut aux_lost) = (0.0, 0.0, 0.0, 0.0);
    let mut count = 0.0;
    for (_, value) in window.samples {
        count += 1.0;
        let delta = value - (mean + mean_lost);
        (mean, mean_lost) = add(delta / count, mean, mean_lost);
        (aux, aux_lost) = add(delta * (value - (mean + mean_lost)), aux, aux_lost);
    }
    (aux + aux_lost) / count
}

fn deriv(window: &Window<'_>) -> Option<f64> {
    if window.samples.len() < 2 {
        return None;
    }
    let (origin, first) = window.samples[0];
    let mut sums = [(0.0, 0.0); 4];
    for (t, value) in window.samples {
        let x = (t - origin) as f64 / 1e3;
        for (sum, term) in sums.iter_mut().zip([x, *value, x * value, x * x]) {
            *sum = add(term, sum.0, sum.1);
        }
    }
    if window.samples.iter().all(|(_, value)| *value == first) {
        return Some(if first.is_infinite() { f64::NAN } else { 0.0 });
    }
    let n = window.samples.len() as f64;
    let [x, y, xy, xx] = sums.map(|(sum, lost)| sum + lost);
    Some((xy - x * y / n) / (xx - x * x / n))
}
