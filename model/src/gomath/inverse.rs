//! Inverse trigonometric functions.
//!
//! Source: Cephes' `atan.c`; sine and cosine are reduced to the tangent as Go does.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// pi/2 less its nearest double.
const MORE_BITS: f64 = 6.123_233_995_736_766e-17;
const TAN_3_PI_8: f64 = 2.414_213_562_373_095;

/// The arc tangent in `[0, 0.66]`.
fn atan_near_zero(x: f64) -> f64 {
    let z = x * x;
    let above = (((-8.750_608_600_031_904e-1 * z - 1.615_753_718_733_365_2e1) * z
        - 7.500_855_792_314_705e1)
        * z
        - 1.228_866_684_490_136_1e2)
        * z
        - 6.485_021_904_942_025e1;
    let below = ((((z + 2.485_846_490_142_306_3e1) * z + 1.650_270_098_316_988_5e2) * z
        + 4.328_810_604_912_902_7e2)
        * z
        + 4.853_903_996_359_137e2)
        * z
        + 1.945_506_571_482_614e2;
    x * (z * above / below) + x
}

/// The arc tangent of a positive number.
fn atan_positive(x: f64) -> f64 {
    if x <= 0.66 {
        atan_near_zero(x)
    } else if x > TAN_3_PI_8 {
        FRAC_PI_2 - atan_near_zero(1.0 / x) + MORE_BITS
    } else {
        FRAC_PI_4 + atan_near_zero((x - 1.0) / (x + 1.0)) + 0.5 * MORE_BITS
    }
}

/// The angle whose tangent is `x`.
#[must_use]
pub fn atan(x: f64) -> f64 {
    if x == 0.0 {
        x
    } else if x > 0.0 {
        atan_positive(x)
    } else {
        -atan_positive(-x)
    }
}

/// The angle whose sine is `x`.
#[must_use]
pub fn asin(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let size = x.abs();
    if size > 1.0 {
        return f64::NAN;
    }
    let other = (1.0 - size * size).sqrt();
    let angle = if size > 0.7 {
        FRAC_PI_2 - atan_positive(other / size)
    } else {
        atan_positive(size / other)
    };
    if x < 0.0 { -angle } else { angle }
}

/// The angle whose cosine is `x`.
#[must_use]
pub fn acos(x: f64) -> f64 {
    FRAC_PI_2 - asin(x)
}

/// The angle of the point `(x, y)`.
#[must_use]
pub fn atan2(y: f64, x: f64) -> f64 {
    if y.is_nan() || x.is_nan() {
        return f64::NAN;
    }
    let size = match (y == 0.0, x == 0.0, x.is_infinite(), y.is_infinite()) {
        (true, ..) if x.is_sign_positive() => 0.0,
        (true, ..) => PI,
        (_, true, ..) => FRAC_PI_2,
        (_, _, true, true) if x > 0.0 => FRAC_PI_4,
        (_, _, true, true) => 3.0 * FRAC_PI_4,
        (_, _, true, _) if x > 0.0 => 0.0,
        (_, _, true, _) => PI,
        (.., true) => FRAC_PI_2,
        _ => {
            let angle = atan(y / x);
            return if x >= 0.0 {
                angle
            } else if angle <= 0.0 {
                angle + PI
            } else {
                angle - PI
            };
        }
    };
    size.copysign(y)
}
