//! Times, durations and limits in request parameters.
//!
//! Source: Prometheus `web/api/v1/api.go`, `parseTime`, `parseDuration`, `parseLimitParam`.

use tenbin_model::text::duration::parse_duration_ms;
use tenbin_model::text::float::parse_float;
use tenbin_model::text::quote::quoted;

use super::error::ApiError;
use super::params::Params;

/// The smallest time that Prometheus' API knows, milliseconds.
pub const MIN_TIME_MS: i64 = i64::MIN / 1000 + 62_135_596_801;
/// The largest.
pub const MAX_TIME_MS: i64 = i64::MAX / 1000 - 62_135_596_801;

/// How the extreme times are written.
const MIN_TIME_TEXT: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

/// Reads a time in milliseconds: float seconds, RFC 3339, or the two extreme times as printed.
///
/// # Errors
/// The text of the error, without a parameter name.
pub fn parse_time_ms(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_go_float(text) {
        return Ok(seconds_to_ms(seconds));
    }
    if let Some(time_ms) = parse_rfc3339_ms(text) {
        return Ok(time_ms);
    }
    match text {
        MIN_TIME_TEXT => Ok(MIN_TIME_MS),
        MAX_TIME_TEXT => Ok(MAX_TIME_MS),
        _ => Err(format!(
            "cannot parse {} to a valid timestamp",
            quoted(text)
        )),
    }
}

/// Go's `strconv.ParseFloat`, which lets an underscore stand between two digits.
fn parse_go_float(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let between = |at: usize| at > 0 && digit(at - 1) && digit(at + 1);
    let mut underscores = (0..bytes.len()).filter(|at| bytes[*at] == b'_');
    if !underscores.all(between) || text.starts_with("--") || text.starts_with("++") {
        return None;
    }
    parse_float(&text.replace('_', ""))
}

/// Rounds float seconds to milliseconds as Prometheus does: whole seconds and fraction apart.
/// Beyond the range of `i64` it stays at the end (Grafana sends milliseconds as seconds).
fn seconds_to_ms(seconds: f64) -> i64 {
    let whole = seconds.trunc();
    let fraction_ms = ((seconds - whole) * 1000.0).round();
    let whole = whole.clamp(MIN_TIME_MS as f64 / 1000.0, MAX_TIME_MS as f64 / 1000.0);
    (whole as i64)
        .saturating_mul(1000)
        .saturating_add(fraction_ms as i64)
}

/// `2006-01-02T15:04:05[.fraction](Z|+hh:mm)`, as strict as Go's `RFC3339Nano`.
fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = bytes.len() > shape.len()
        && shape.iter().zip(bytes).all(|(s, b)| match s {
            b'd' => b.is_ascii_digit(),
            s => s == b,
        });
    let zone_fits = match bytes.last()? {
        b'Z' => true,
        _ => bytes
            .len()
            .checked_sub(6)
            .is_some_and(|at| matches!(bytes[at], b'+' | b'-')),
    };
    // Go knows no leap seconds, and any number of digits of a fraction.
    if !fits || !zone_fits || &text[17..19] > "59" {
        return None;
    }
    let fraction = bytes[20..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let text = if bytes[19] == b'.' && fraction > 9 {
        &format!("{}{}", &text[..29], &text[20 + fraction..])
    } else {
        text
    };
    text.parse::<jiff::Timestamp>().ok().map(|t| {
        // Truncated towards the past, as Go's Unix seconds plus nanoseconds.
        t.as_nanosecond().div_euclid(1_000_000) as i64
    })
}

/// Reads a duration in milliseconds: float seconds or a Prometheus duration.
///
/// # Errors
/// The text of the error, without a parameter name.
pub fn parse_duration_param_ms(text: &str) -> Result<f64, String> {
    if let Some(seconds) = parse_go_float(text) {
        // Go makes a huge negative number of what is none.
        let seconds = if seconds.is_nan() { -1.0 } else { seconds };
        let nanoseconds = seconds * 1e9;
        if nanoseconds > i64::MAX as f64 || nanoseconds < i64::MIN as f64 {
            return Err(format!(
                "cannot parse {} to a valid duration. It overflows int64",
                quoted(text)
            ));
        }
        // Go keeps whole nanoseconds.
        return Ok(nanoseconds.trunc() / 1e6);
    }
    parse_duration_ms(text)
        .map(|ms| ms as f64)
        .map_err(|_| format!("cannot parse {} to a valid duration", quoted(text)))
}

/// An optional time parameter.
///
/// # Errors
/// A `bad_data` error that names the parameter.
pub fn time_param(params: &Params, name: &str, default_ms: i64) -> Result<i64, ApiError> {
    match params.first(name) {
        "" => Ok(default_ms),
        text => parse_time_ms(text).map_err(|reason| {
            ApiError::invalid_parameter(name, format!("invalid time value for '{name}': {reason}"))
        }),
    }
}

/// The `limit` parameter; 0 = unlimited.
///
/// # Errors
/// A `bad_data` error.
pub fn limit_param(params: &Params) -> Result<usize, ApiError> {
    let text = params.first("limit");
    if text.is_empty() {
        return Ok(0);
    }
    let limit = parse_integer(text).map_err(|e| ApiError::invalid_parameter("limit", e))?;
    usize::try_from(limit)
        .map_err(|_| ApiError::invalid_parameter("limit", "limit must be non-negative"))
}

/// Go's `strconv.Atoi` with its error texts.
///
/// # Errors
/// When the text is no integer or does not fit.
pub fn parse_integer(text: &str) -> Result<i64, String> {
    parse_integer_as("Atoi", text)
}

/// As [`parse_integer`], where the error names another function of Go's `strconv`.
///
/// # Errors
/// When the text is no integer or does not fit.
pub fn parse_integer_as(function: &str, text: &str) -> Result<i64, String> {
    let wrong = |what: &str| format!("strconv.{function}: parsing {}: {what}", quoted(text));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong("invalid syntax"));
    }
    text.parse().map_err(|_| wrong("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_prometheus() {
        for (text, expected) in [
            ("123", 123_000),
            ("123.1234", 123_123),
            ("123.9996", 124_000),
            ("-1.5", -1_500),
            ("1.7e9", 1_700_000_000_000),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("1543578564705", 1_543_578_564_705_000),
            ("-292273086-05-16T16:47:06Z", MIN_TIME_MS),
            ("292277025-08-18T07:12:54.999999999Z", MAX_TIME_MS),
        ] {
            assert_eq!(parse_time_ms(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "foo",
            "30s",
            "2015-06-03 13:21:58Z",
            "2015-06-03T13:21:58",
            "2015-06-03",
        ] {
            assert_eq!(
                parse_time_ms(text),
                Err(format!(
                    "cannot parse {} to a valid timestamp",
                    quoted(text)
                ))
            );
        }
        assert!(parse_time_ms("1e300").is_ok(), "huge times are clamped");
    }

    #[test]
    fn durations_read_as_in_prometheus() {
        assert_eq!(parse_duration_param_ms("123"), Ok(123_000.0));
        assert_eq!(parse_duration_param_ms("123.333"), Ok(123_333.0));
        assert_eq!(parse_duration_param_ms("15s"), Ok(15_000.0));
        assert_eq!(parse_duration_param_ms("1m0s"), Ok(60_000.0));
        assert_eq!(parse_duration_param_ms("0.0001"), Ok(0.1));
        assert_eq!(
            parse_duration_param_ms("1e100").unwrap_err(),
            "cannot parse \"1e100\" to a valid duration. It overflows int64"
        );
        assert_eq!(
            parse_duration_param_ms("").unwrap_err(),
            "cannot parse \"\" to a valid duration"
        );
    }

    #[test]
    fn limits_read_as_in_prometheus() {
        let limit = |text: &str| {
            limit_param(&Params::from_encoded(&format!("limit={text}"))).map_err(|e| e.message)
        };
        assert_eq!(limit(""), Ok(0));
        assert_eq!(limit("5"), Ok(5));
        assert_eq!(
            limit("-1"),
            Err("invalid parameter \"limit\": limit must be non-negative".into())
        );
        assert_eq!(
            limit("x"),
            Err("invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax".into())
        );
    }
}
