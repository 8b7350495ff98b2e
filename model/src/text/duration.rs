//! Prometheus durations: `1h30m`, units `y w d h m s ms` from big to small, each at most once.
//!
//! A year is 365 days and a week 7. Source: `prometheus/common/model`, `ParseDuration` and
//! `Duration.String`.

use super::quote::quoted;

/// Units in descending order with their length in milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration: what Go's 64-bit nanoseconds hold.
pub const MAX_DURATION_MS: i64 = i64::MAX / 1_000_000;

/// Why a text is no duration. `Display` gives Prometheus' text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is no text.
    #[error("empty duration string")]
    Empty,
    /// The text does not have the form.
    #[error("not a valid duration string: {}", quoted(.0))]
    Invalid(String),
    /// A unit does not exist.
    #[error("unknown unit {} in duration {}", quoted(.unit), quoted(.text))]
    UnknownUnit {
        /// What stands where a unit should.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// The value does not fit.
    #[error("duration out of range")]
    OutOfRange,
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Parses a duration into milliseconds. `0` needs no unit.
///
/// # Errors
/// When the text is empty, malformed, or beyond [`MAX_DURATION_MS`].
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..digits].parse::<u64>().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let (unit, after) = rest.split_at(rest.find(is_digit).unwrap_or(rest.len()));
        if unit.is_empty() {
            return Err(invalid());
        }
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        };
        if at < next_unit {
            return Err(invalid());
        }
        next_unit = at + 1;
        total = i64::try_from(number)
            .ok()
            .and_then(|number| number.checked_mul(UNITS[at].1))
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_DURATION_MS)
            .ok_or(DurationError::OutOfRange)?;
        rest = after;
    }
    Ok(total)
}

/// Writes a duration as Prometheus does: the largest units that divide it evenly (`90m` is
/// `1h30m`, `1w` stays `1w`, but 8 days are `8d`), `0s` for none.
#[must_use]
pub fn format_duration_ms(duration_ms: i64) -> String {
    if duration_ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = duration_ms.unsigned_abs();
    if duration_ms < 0 {
        out.push('-');
    }
    for (name, length) in UNITS {
        let length = length as u64;
        // Years and weeks are shown only when nothing remains below them.
        let exact_only = name == "y" || name == "w";
        if exact_only && !rest.is_multiple_of(length) {
            continue;
        }
        let count = rest / length;
        if count > 0 {
            out.push_str(&format!("{count}{name}"));
            rest -= count * length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_prometheus_parses() {
        for (text, expected) in [
            ("0", 0),
            ("0s", 0),
            ("1h30m", 5_400_000),
            ("1y2w3d4h5m6s7ms", 33_019_506_007),
            ("300ms", 300),
            ("1m0s", 60_000),
            ("106751d", 106_751 * 86_400_000),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(expected), "{text}");
        }
        for text in ["1", "-1m", "30m1h", "1m1m", "h", "99999999999999999999s"] {
            assert_eq!(
                parse_duration_ms(text),
                Err(DurationError::Invalid(text.into())),
                "{text}"
            );
        }
        for (text, unit) in [("1.5h", "."), ("1 m", " m"), ("5y1hs", "hs"), ("1H", "H")] {
            let unit = unit.to_owned();
            let text = text.to_owned();
            let expected = DurationError::UnknownUnit {
                unit,
                text: text.clone(),
            };
            assert_eq!(parse_duration_ms(&text), Err(expected));
        }
        assert_eq!(parse_duration_ms(""), Err(DurationError::Empty));
        assert_eq!(parse_duration_ms("300y"), Err(DurationError::OutOfRange));
        assert_eq!(
            parse_duration_ms("9999999999999999999s"),
            Err(DurationError::OutOfRange)
        );
    }

    #[test]
    fn prints_what_prometheus_prints() {
        for (duration_ms, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (90_000, "1m30s"),
            (5_400_000, "1h30m"),
            (7 * 86_400_000, "1w"),
            (8 * 86_400_000, "8d"),
            (365 * 86_400_000, "1y"),
            (366 * 86_400_000, "366d"),
            (-300_000, "-5m"),
        ] {
            assert_eq!(format_duration_ms(duration_ms), expected);
        }
    }
}
