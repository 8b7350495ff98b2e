//! Hyperbolic functions and their inverses.
//!
//! Source: Hart and Cheney's approximation #2029 for `sinh`, Cephes' `tanh.c`, msun's `s_asinh.c`,
//! `e_acosh.c` and `e_atanh.c`.

use std::f64::consts::LN_2;

use super::exponential::exp;
use super::logarithm::{ln, log1p};

/// From here on `x*x + 1` and `x*x - 1` are `x*x`.
const LARGE: f64 = (1_u64 << 28) as f64;
const NEAR_ZERO: f64 = 1.0 / LARGE;

fn with_sign_of(x: f64, value: f64) -> f64 {
    if x < 0.0 { -value } else { value }
}

/// The hyperbolic sine.
#[must_use]
pub fn sinh(x: f64) -> f64 {
    let size = if x < 0.0 { -x } else { x };
    let value = if size > 21.0 {
        exp(size) * 0.5
    } else if size > 0.5 {
        let power = exp(size);
        (power - 1.0 / power) * 0.5
    } else {
        let square = size * size;
        let above = ((-2.630_563_213_397_497e1 * square - 2.894_211_355_989_564e3) * square
            - 8.991_272_022_039_509e4)
            * square
            - 6.307_673_640_497_717e5;
        let below = ((square - 1.736_789_535_582_337e2) * square + 1.521_517_378_790_019e4)
            * square
            - 6.307_673_640_497_717e5;
        above * size / below
    };
    with_sign_of(x, value)
}

/// The hyperbolic cosine.
#[must_use]
pub fn cosh(x: f64) -> f64 {
    let size = x.abs();
    if size > 21.0 {
        exp(size) * 0.5
    } else {
        let power = exp(size);
        (power + 1.0 / power) * 0.5
    }
}

/// The hyperbolic tangent.
#[must_use]
pub fn tanh(x: f64) -> f64 {
    /// The logarithm of 2^127.
    const MAX_LOG: f64 = 8.802_969_193_111_305e1;
    let size = x.abs();
    if size > 0.5 * MAX_LOG {
        return with_sign_of(x, 1.0);
    }
    if size >= 0.625 {
        let power = exp(2.0 * size);
        return with_sign_of(x, 1.0 - 2.0 / (power + 1.0));
    }
    if x == 0.0 {
        return x;
    }
    let s = x * x;
    let above =
        (-9.643_991_794_250_523e-1 * s - 9.928_772_310_019_185e1) * s - 1.614_687_684_417_084_5e3;
    let below = ((s + 1.128_116_784_916_329_3e2) * s + 2.235_488_390_601_004_5e3) * s
        + 4.844_063_053_251_255e3;
    x + x * s * above / below
}

/// The inverse hyperbolic sine.
#[must_use]
pub fn asinh(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let size = if x < 0.0 { -x } else { x };
    let value = if size > LARGE {
        ln(size) + LN_2
    } else if size > 2.0 {
        ln(2.0 * size + 1.0 / ((size * size + 1.0).sqrt() + size))
    } else if size < NEAR_ZERO {
        size
    } else {
        log1p(size + size * size / (1.0 + (1.0 + size * size).sqrt()))
    };
    with_sign_of(x, value)
}

/// The inverse hyperbolic cosine.
#[must_use]
pub fn acosh(x: f64) -> f64 {
    if x < 1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == 1.0 {
        return 0.0;
    }
    if x >= LARGE {
        return ln(x) + LN_2;
    }
    if x > 2.0 {
        return ln(2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt()));
    }
    let t = x - 1.0;
    log1p(t + (2.0 * t + t * t).sqrt())
}

/// The inverse hyperbolic tangent.
#[must_use]
pub fn atanh(x: f64) -> f64 {
    let size = if x < 0.0 { -x } else { x };
    if size > 1.0 || x.is_nan() {
        return f64::NAN;
    }
    let value = if size == 1.0 {
        f64::INFINITY
    } else if size < NEAR_ZERO {
        size
    } else if size < 0.5 {
        let twice = size + size;
        0.5 * log1p(twice + twice * size / (1.0 - size))
    } else {
        0.5 * log1p((size + size) / (1.0 - size))
    };
    with_sign_of(x, value)
}
