//! Taking doubles apart and putting them together.
//!
//! Source: C's `frexp` and `ldexp`, with Go's rounding of subnormal results: one multiplication at
//! the end.

const FRACTION_BITS: i32 = 52;
const EXPONENT_MASK: u64 = 0x7ff;
const BIAS: i32 = 1023;

/// Makes a subnormal number normal, and tells by which power of two it was multiplied to do so.
fn normal(x: f64) -> (f64, i32) {
    if x.abs() < f64::MIN_POSITIVE {
        (x * (1_u64 << FRACTION_BITS) as f64, -FRACTION_BITS)
    } else {
        (x, 0)
    }
}

fn exponent_field(bits: u64) -> i32 {
    ((bits >> FRACTION_BITS) & EXPONENT_MASK) as i32
}

fn with_exponent_field(bits: u64, field: i32) -> f64 {
    let cleared = bits & !(EXPONENT_MASK << FRACTION_BITS);
    f64::from_bits(cleared | (field as u64) << FRACTION_BITS)
}

/// Splits `x` into a fraction in `[0.5, 1)` and a power of two. Zero, infinities and NaN stay whole.
#[must_use]
pub fn frexp(x: f64) -> (f64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (scaled, shifted) = normal(x);
    let bits = scaled.to_bits();
    let exponent = shifted + exponent_field(bits) - BIAS + 1;
    (with_exponent_field(bits, BIAS - 1), exponent)
}

/// `fraction * 2^exponent`.
#[must_use]
pub fn ldexp(fraction: f64, exponent: i64) -> f64 {
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    let (scaled, shifted) = normal(fraction);
    let bits = scaled.to_bits();
    let own = i64::from(shifted + exponent_field(bits) - BIAS);
    let exponent = exponent.saturating_add(own);
    if exponent < -1075 {
        return 0.0_f64.copysign(fraction);
    }
    if exponent > i64::from(BIAS) {
        return f64::INFINITY.copysign(fraction);
    }
    if exponent < -1022 {
        let normal = with_exponent_field(bits, exponent as i32 + 53 + BIAS);
        return normal / (1_u64 << 53) as f64;
    }
    with_exponent_field(bits, exponent as i32 + BIAS)
}
