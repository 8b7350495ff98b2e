//! Functions of time: the evaluation time, samples' timestamps, parts of dates (UTC).

use tenbin_model::Labels;

use crate::error::EvalError;
use crate::eval::binary::totals;
use crate::eval::column::{Data, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::plan::{Call, Kind, Selector};
use crate::eval::selector::{Found, current_values};
use crate::eval::{Evaluator, names};
use crate::functions::math::on_floats;

const SECONDS_PER_DAY: i64 = 86_400;

/// A date and time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// Days since the epoch.
    days: i64,
    second_of_day: i64,
}

/// The days from the epoch to a date of the proleptic Gregorian calendar, counted in eras of 400
/// years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The earliest second that Go's `time` can tell: the first of March of the year -292277022400, in
/// seconds since the Unix epoch. It counts from there without a sign, so what lies before wraps
/// around to the far future.
const GO_ZERO_SECOND: i128 = -((730_692_556 * 146_097 + 306) * 86_400) - 62_135_596_800;

impl Civil {
    fn from_seconds(seconds: i64) -> Self {
        let seconds = i128::from(seconds);
        let wrapped = if seconds < GO_ZERO_SECOND {
            seconds + (1 << 64)
        } else {
            seconds
        };
        let seconds_per_day = i128::from(SECONDS_PER_DAY);
        // At most 2^64 seconds from the epoch: the days fit easily.
        let days = wrapped.div_euclid(seconds_per_day) as i64;
        let second_of_day = wrapped.rem_euclid(seconds_per_day) as i64;
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = (march_month + 2) % 12 + 1;
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            days,
            second_of_day,
        }
    }

    fn day_of_year(self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1) + 1
    }

    fn days_in_month(self) -> i64 {
        let (year, month) = if self.month == 12 {
            (self.year + 1, 1)
        } else {
            (self.year, self.month + 1)
        };
        days_from_civil(year, month, 1) - days_from_civil(self.year, self.month, 1)
    }

    /// 0 is Sunday.
    fn day_of_week(self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }
}

/// `2006-01-02T15:04:05Z`, to the second.
pub(crate) fn rfc3339_seconds(time_ms: i64) -> String {
    let civil = Civil::from_seconds(time_ms / 1000);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        civil.year,
        civil.month,
        civil.day,
        civil.second_of_day / 3600,
        civil.second_of_day / 60 % 60,
        civil.second_of_day % 60
    )
}

/// The second that a value names, as Go converts floats on amd64: what does not fit becomes the
/// smallest integer.
fn second_of(value: f64) -> i64 {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if (-TWO_TO_63..TWO_TO_63).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}

fn date_part(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
    part: fn(Civil) -> i64,
) -> Result<Data, EvalError> {
    if call.args.is_empty() {
        let mut series = Series::new(Labels::empty(), grid.steps);
        for step in 0..grid.steps {
            let civil = Civil::from_seconds(grid.time(step) / 1000);
            series.set_float(step, part(civil) as f64);
        }
        evaluator.budget.charge_series(&series)?;
        return Ok(Data::Vector(vec![series]));
    }
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    on_floats(evaluator, all, 0, grid, |series| {
        for value in &mut series.values {
            *value = part(Civil::from_seconds(second_of(*value))) as f64;
        }
    })
}

macro_rules! date_function {
    ($name:ident, $part:expr) => {
        pub(crate) fn $name(
            evaluator: &mut Evaluator<'_>,
            call: &Call<'_>,
            grid: &Grid,
        ) -> Result<Data, EvalError> {
            date_part(evaluator, call, grid, $part)
        }
    };
}

date_function!(minute, |civil| civil.second_of_day / 60 % 60);
date_function!(hour, |civil| civil.second_of_day / 3600);
date_function!(day_of_week, Civil::day_of_week);
date_function!(day_of_month, |civil| civil.day);
date_function!(day_of_year, Civil::day_of_year);
date_function!(days_in_month, Civil::days_in_month);
date_function!(month, |civil| civil.month);
date_function!(year, |civil| civil.year);

pub(crate) fn time(
    _evaluator: &mut Evaluator<'_>,
    _call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let values = (0..grid.steps)
        .map(|step| grid.time(step) as f64 / 1000.0)
        .collect();
    Ok(Data::Scalar(Scalars::PerStep(values)))
}

/// The time of every sample: its own for a plain selector, else the evaluation time.
pub(crate) fn timestamp(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    if let Kind::Selector(selector) = &call.args[0].kind {
        return times_of_selector(evaluator, selector, grid, false);
    }
    let mut all = evaluator.eval_vector(&call.args[0], grid)?;
    for series in &mut all {
        evaluator.budget.check()?;
        let before = series.size();
        series.floats = series.occupied();
        series.histograms = None;
        for step in 0..grid.steps {
            series.values[step] = grid.time(step) as f64 / 1000.0;
        }
        evaluator.budget.adjust(before, series.size())?;
        evaluator.drop_name(series);
    }
    let delayed = evaluator.delayed_name_removal();
    names::settle_duplicates(all, grid, delayed, &evaluator.budget).map(Data::Vector)
}

/// The start time of every sample of a plain selector; nothing for other expressions.
pub(crate) fn start_timestamp(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    if let Kind::Selector(selector) = &call.args[0].kind
        && evaluator.options.features.use_start_timestamps
    {
        return times_of_selector(evaluator, selector, grid, true);
    }
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    evaluator.budget.release_series(&all);
    Ok(Data::Vector(Vec::new()))
}

fn times_of_selector(
    evaluator: &mut Evaluator<'_>,
    selector: &Selector<'_>,
    grid: &Grid,
    of_start: bool,
) -> Result<Data, EvalError> {
    let set = evaluator.select(selector, grid, 0)?;
    let range = evaluator.lookback_range(selector.time, grid);
    let lookback_ms = evaluator.options.lookback_ms;
    let mut samples = std::mem::take(&mut evaluator.buffer);
    let mut all = Vec::new();
    for at in 0..set.len() {
        evaluator.budget.check()?;
        set.read(at, range, &mut samples)?;
        let mut series = Series::new(Labels::empty(), grid.steps);
        let tally = &mut evaluator.tally;
        current_values(&samples, grid, selector.time, lookback_ms, |step, found| {
            let (times, starts, at) = match found {
                Found::Float(at, _) => (&samples.timestamps_ms, &samples.start_timestamps_ms, at),
                Found::Histogram(at, _) => (
                    &samples.histogram_timestamps_ms,
                    &samples.histogram_start_timestamps_ms,
                    at,
                ),
            };
            let time_ms = if of_start {
                starts.get(at).copied().unwrap_or(0)
            } else {
                times[at]
            };
            tally.sample(step, 1);
            series.set_float(step, time_ms as f64 / 1000.0);
        });
        if series.floats.is_empty() {
            continue;
        }
        series.labels = set.labels(at)?;
        evaluator.drop_name(&mut series);
        evaluator.budget.charge_series(&series)?;
        all.push(series);
    }
    evaluator.buffer = samples;
    evaluator.budget.touch(totals(&all, grid).1)?;
    let delayed = evaluator.delayed_name_removal();
    names::settle_duplicates(all, grid, delayed, &evaluator.budget).map(Data::Vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        let leap_day = Civil::from_seconds(951_782_400); // 2000-02-29
        assert_eq!((leap_day.year, leap_day.month, leap_day.day), (2000, 2, 29));
        assert_eq!(leap_day.days_in_month(), 29);
        assert_eq!(leap_day.day_of_year(), 60);
        assert_eq!(leap_day.day_of_week(), 2);
        let before = Civil::from_seconds(-1);
        assert_eq!((before.year, before.month, before.day), (1969, 12, 31));
        assert_eq!(before.second_of_day, 86_399);
        assert_eq!(before.day_of_year(), 365);
        assert_eq!(before.days_in_month(), 31);
        assert_eq!(rfc3339_seconds(1_000_000_000_000), "2001-09-09T01:46:40Z");
    }

    #[test]
    fn every_day_round_trips() {
        for days in (-800_000..800_000).step_by(37) {
            let civil = Civil::from_seconds(days * SECONDS_PER_DAY);
            assert_eq!(days_from_civil(civil.year, civil.month, civil.day), days);
        }
    }

    #[test]
    fn values_beyond_time_wrap_as_in_go() {
        // time.Unix(math.MinInt64, 0).UTC() is 292277026596-12-04 15:30:08, a Sunday.
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e300, 1e300] {
            let civil = Civil::from_seconds(second_of(value));
            assert_eq!(
                (civil.year, civil.month, civil.day),
                (292_277_026_596, 12, 4)
            );
            assert_eq!(civil.second_of_day, 15 * 3600 + 30 * 60 + 8);
            assert_eq!(civil.day_of_week(), 0);
            assert_eq!(civil.days_in_month(), 31);
        }
    }
}
