//! Floats as Go writes and reads them.
//!
//! Digits come from `zmij` (shortest that read back to the same bits, ties to even, as Go); the
//! layout is ours. Rust's own `{}` is never used for samples: it breaks exact ties differently.
//! Source: Go `strconv`, Prometheus `util/jsonutil`.

/// Whole numbers below this are their own shortest digits.
const WHOLE_LIMIT: f64 = 9_007_199_254_740_992.0;

/// Magnitudes that `zmij` writes without exponent, as Go does but for a trailing `.0`.
const PLAIN: std::ops::Range<f64> = 1e-4..1e15;

/// Where ASCII text is appended: a string, or the bytes of an answer.
pub trait AsciiText {
    /// Appends ASCII bytes.
    fn push_ascii(&mut self, bytes: &[u8]);
}

impl AsciiText for Vec<u8> {
    #[inline]
    fn push_ascii(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl AsciiText for String {
    #[inline]
    fn push_ascii(&mut self, bytes: &[u8]) {
        self.extend(bytes.iter().map(|byte| char::from(*byte)));
    }
}

/// The shortest decimal digits of a positive finite number and the power of ten of the first:
/// `digits[0].digits[1..] * 10^exponent`.
struct Shortest {
    digits: [u8; 20],
    len: usize,
    exponent: i32,
}

impl Shortest {
    fn of(value: f64) -> Self {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value).as_bytes();
        let mut found = Self {
            digits: [0; 20],
            len: 0,
            exponent: -1,
        };
        let mut rest = text.iter();
        let mut behind_point = false;
        for byte in rest.by_ref() {
            match byte {
                b'.' => behind_point = true,
                b'e' | b'E' => break,
                b'0' if found.len == 0 => found.exponent -= i32::from(behind_point),
                digit => {
                    found.exponent += i32::from(!behind_point);
                    if let Some(place) = found.digits.get_mut(found.len) {
                        *place = *digit;
                        found.len += 1;
                    }
                }
            }
        }
        while found.len > 1 && found.digits[found.len - 1] == b'0' {
            found.len -= 1;
        }
        let power = std::str::from_utf8(rest.as_slice()).unwrap_or_default();
        found.exponent += power.parse::<i32>().unwrap_or(0);
        found
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }
}

/// Handles NaN, infinities, zero and the sign; gives digits and exponent of the rest to `layout`.
fn with_layout<T: AsciiText>(out: &mut T, value: f64, layout: impl FnOnce(&mut T, &[u8], i32)) {
    if value.is_nan() {
        out.push_ascii(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.push_ascii(if value > 0.0 { b"+Inf" } else { b"-Inf" });
        return;
    }
    if value.is_sign_negative() {
        out.push_ascii(b"-");
    }
    if value == 0.0 {
        layout(out, b"0", 0);
        return;
    }
    let shortest = Shortest::of(value.abs());
    layout(out, shortest.digits(), shortest.exponent);
}

fn push_zeros(out: &mut impl AsciiText, count: usize) {
    for _ in 0..count {
        out.push_ascii(b"0");
    }
}

fn layout_f(out: &mut impl AsciiText, digits: &[u8], exponent: i32) {
    if exponent < 0 {
        out.push_ascii(b"0.");
        push_zeros(out, (-exponent - 1) as usize);
        out.push_ascii(digits);
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.push_ascii(digits);
        push_zeros(out, whole - digits.len());
    } else {
        out.push_ascii(&digits[..whole]);
        out.push_ascii(b".");
        out.push_ascii(&digits[whole..]);
    }
}

fn layout_e(out: &mut impl AsciiText, digits: &[u8], exponent: i32) {
    out.push_ascii(&digits[..1]);
    if digits.len() > 1 {
        out.push_ascii(b".");
        out.push_ascii(&digits[1..]);
    }
    out.push_ascii(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.push_ascii(b"0");
    }
    out.push_ascii(
        itoa::Buffer::new()
            .format(exponent.unsigned_abs())
            .as_bytes(),
    );
}

/// Appends `value` without exponent: Go's `FormatFloat(v, 'f', -1, 64)`. Used for scalars,
/// `count_values` labels and numbers in printed expressions.
pub fn push_f(out: &mut impl AsciiText, value: f64) {
    let magnitude = value.abs();
    if magnitude < WHOLE_LIMIT && value == (value as i64) as f64 && magnitude != 0.0 {
        out.push_ascii(itoa::Buffer::new().format(value as i64).as_bytes());
    } else if PLAIN.contains(&magnitude) {
        out.push_ascii(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        with_layout(out, value, layout_f);
    }
}

/// [`push_f`] into a new string.
#[must_use]
pub fn format_f(value: f64) -> String {
    let mut out = String::new();
    push_f(&mut out, value);
    out
}

/// Go's `FormatFloat(v, 'e', -1, 64)`: `1e+00`.
#[must_use]
pub fn format_e(value: f64) -> String {
    let mut out = String::new();
    with_layout(&mut out, value, layout_e);
    out
}

/// Go's `FormatFloat(v, 'g', -1, 64)`, which `%v`, `%g` and the text exposition use: an exponent below
/// 1e-4 and from 1e6 on.
#[must_use]
pub fn format_g(value: f64) -> String {
    let mut out = String::new();
    with_layout(&mut out, value, |out, digits, exponent| {
        if !(-4..6).contains(&exponent) {
            layout_e(out, digits, exponent);
        } else {
            layout_f(out, digits, exponent);
        }
    });
    out
}

/// Appends a sample value as the HTTP API writes it: without exponent, except below 1e-6 and from
/// 1e21 on (Prometheus `MarshalFloat`).
pub fn push_sample(out: &mut impl AsciiText, value: f64) {
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude.is_finite() && !(1e-6..1e21).contains(&magnitude) {
        with_layout(out, value, layout_e);
    } else {
        push_f(out, value);
    }
}

/// [`push_sample`] into a new string.
#[must_use]
pub fn format_sample(value: f64) -> String {
    let mut out = String::new();
    push_sample(&mut out, value);
    out
}

/// The value of an `le` or `quantile` label: shortest `'g'` form with `.0` where it would look like
/// an integer (OpenMetrics).
#[must_use]
pub fn format_open_metrics(value: f64) -> String {
    let mut out = format_g(value);
    if value.is_finite() && !out.contains(['.', 'e']) {
        out.push_str(".0");
    }
    out
}

/// Reads a float as Go's `ParseFloat(s, 64)`: decimal and hexadecimal floats, `inf`/`infinity`/`nan`
/// in any case (the sign only on infinity). Underscores are refused, as `ParseFloat` does outside
/// base-prefixed literals. Values beyond the range are refused.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    if lower == "nan" {
        return (body.len() == text.len()).then_some(f64::NAN);
    }
    let magnitude = match lower.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        other if other.starts_with("0x") => parse_hex_float(&other[2..])?,
        _ => {
            let allowed =
                |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
            if !body.bytes().all(allowed) || !body.bytes().any(|b| b.is_ascii_digit()) {
                return None;
            }
            body.parse::<f64>().ok().filter(|v| v.is_finite())?
        }
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// `1.8p-3` after the `0x`: mantissa digits in base 16, a mandatory binary exponent. Exact for up
/// to 16 significant digits; further digits are dropped with correct rounding of what remains.
fn parse_hex_float(body: &str) -> Option<f64> {
    let (mantissa, exponent) = body.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let scaled = value * 2.0_f64.powi(exponent - 4 * fraction.len() as i32);
    scaled.is_finite().then_some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_read_as_in_prometheus() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (1e-6, "0.000001"),
            (1e-7, "1e-07"),
            (123_456_789.125, "123456789.125"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e300, "1.25e+300"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::from_bits(0x42e4_00ca_8704_26f4), "175949043212599.62"),
        ] {
            assert_eq!(format_sample(value), expected);
        }
    }

    #[test]
    fn other_forms_read_as_in_go() {
        assert_eq!(format_f(1e21), "1000000000000000000000");
        assert_eq!(format_f(1e-7), "0.0000001");
        assert_eq!(format_e(1.0), "1e+00");
        assert_eq!(format_e(12345.0), "1.2345e+04");
        assert_eq!(format_g(1e-5), "1e-05");
        assert_eq!(format_g(0.0001), "0.0001");
        // As seen in answers of Prometheus.
        assert_eq!(format_g(1e20), "1e+20");
        assert_eq!(format_g(12_345_678.0), "1.2345678e+07");
        assert_eq!(format_g(4_194_304.0), "4.194304e+06");
        assert_eq!(format_g(999_999.5), "999999.5");
        assert_eq!(format_open_metrics(1e6), "1e+06");
        assert_eq!(format_open_metrics(1.0), "1.0");
        assert_eq!(format_open_metrics(0.5), "0.5");
        assert_eq!(format_open_metrics(1e21), "1e+21");
        assert_eq!(format_open_metrics(f64::INFINITY), "+Inf");
    }

    #[test]
    fn parses_what_go_parses() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("0x1p-2", Some(0.25)),
            ("0x1.8p1", Some(3.0)),
            ("Inf", Some(f64::INFINITY)),
            ("-infinity", Some(f64::NEG_INFINITY)),
            ("0x10", None),
            ("1_000", None),
            ("1e400", None),
            ("+nan", None),
            ("", None),
            (".", None),
            ("e5", None),
            ("1 ", None),
        ] {
            assert_eq!(parse_float(text), expected, "{text}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }

    proptest! {
        #[test]
        fn whole_numbers_need_no_search_for_their_digits(
            whole in -(1_i64 << 53) + 1..1 << 53, shift in 0..53
        ) {
            let value = (whole >> shift) as f64;
            prop_assume!(value != 0.0);
            let mut searched = String::new();
            with_layout(&mut searched, value, layout_f);
            prop_assert_eq!(format_f(value), searched);
        }

        #[test]
        fn plain_numbers_need_no_layout(number in PLAIN, digits in 0..16_i32) {
            let scale = 10_f64.powi(digits);
            let rounded = (number * scale).round() / scale;
            for value in [number, -number, rounded, 1.0 / number, PLAIN.start, PLAIN.end.next_down()] {
                let mut laid_out = String::new();
                with_layout(&mut laid_out, value, layout_f);
                prop_assert_eq!(format_f(value), laid_out);
            }
        }

        #[test]
        fn every_form_reads_back_to_the_same_bits(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            for text in [format_sample(value), format_f(value), format_e(value), format_g(value)] {
                let back = parse_float(&text).map(f64::to_bits);
                prop_assert_eq!(back, Some(bits), "{}", text);
            }
        }
    }
}
