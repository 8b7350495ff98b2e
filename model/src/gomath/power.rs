//! `x^y`.
//!
//! Whole exponents by repeated squaring with the powers of two kept apart, the rest by exponential
//! and logarithm. Special cases are those of msun's `e_pow.c` and IEEE 754-2008, section 9.2.1.

use super::bits::{frexp, ldexp};
use super::exponential::exp;
use super::logarithm::ln;

fn is_odd_whole(x: f64) -> bool {
    // Doubles from 2^53 on are even.
    x.abs() < (1_u64 << 53) as f64 && x == x.trunc() && x as i64 & 1 == 1
}

/// Results that do not need computing.
fn special(x: f64, y: f64) -> Option<f64> {
    if y == 0.0 || x == 1.0 {
        return Some(1.0);
    }
    if y == 1.0 {
        return Some(x);
    }
    if x.is_nan() || y.is_nan() {
        return Some(f64::NAN);
    }
    if x == 0.0 || x == f64::NEG_INFINITY {
        // The power of -Inf is that of the inverse, -0, to the opposite exponent.
        let grows = (y < 0.0) == (x == 0.0);
        let size = if grows { f64::INFINITY } else { 0.0 };
        let signed = x.is_sign_negative() && is_odd_whole(y);
        return Some(if signed { -size } else { size });
    }
    if y.is_infinite() {
        return Some(if x == -1.0 { 1.0 } else { limit(x, y) });
    }
    if x == f64::INFINITY {
        return Some(if y < 0.0 { 0.0 } else { f64::INFINITY });
    }
    if y == 0.5 {
        return Some(x.sqrt());
    }
    if y == -0.5 {
        return Some(1.0 / x.sqrt());
    }
    None
}

/// Where powers go as the exponent grows without bound.
fn limit(x: f64, y: f64) -> f64 {
    if (x.abs() < 1.0) == (y > 0.0) {
        0.0
    } else {
        f64::INFINITY
    }
}

/// `x^y`.
#[must_use]
pub fn pow(x: f64, y: f64) -> f64 {
    if let Some(value) = special(x, y) {
        return value;
    }
    let mut whole = y.abs().trunc();
    let mut rest = y.abs() - whole;
    if rest != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    if whole >= (1_u64 << 63) as f64 {
        return if x == -1.0 { 1.0 } else { limit(x, y) };
    }
    let mut result = 1.0;
    if rest != 0.0 {
        if rest > 0.5 {
            rest -= 1.0;
            whole += 1.0;
        }
        result = exp(rest * ln(x));
    }
    let mut exponent: i64 = 0;
    let (mut square, square_exponent) = frexp(x);
    let mut square_exponent = i64::from(square_exponent);
    let mut left = whole as i64;
    while left != 0 {
        if square_exponent.abs() > 1 << 12 {
            // Certain to overflow or underflow.
            exponent += square_exponent;
            break;
        }
        if left & 1 == 1 {
            result *= square;
            exponent += square_exponent;
        }
        square *= square;
        square_exponent *= 2;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        left >>= 1;
    }
    if y < 0.0 {
        result = 1.0 / result;
        exponent = -exponent;
    }
    ldexp(result, exponent)
}
