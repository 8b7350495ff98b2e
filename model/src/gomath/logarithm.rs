//! Logarithms.
//!
//! Source: msun's `e_log.c` and `s_log1p.c`; `log2` and `log10` are derived from `ln` as Go derives
//! them. As Go's assembly does, `ln` takes subnormal numbers for normal ones; `log2` does not, since
//! it takes the exponent off first.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E, LOG10_E};

use super::bits::frexp;

const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Coefficients of the approximation in `s = f / (2 + f)`, from the lowest.
const L: [f64; 7] = [
    f64::from_bits(0x3fe5_5555_5555_5593),
    f64::from_bits(0x3fd9_9999_9997_fa04),
    f64::from_bits(0x3fd2_4924_9422_9359),
    f64::from_bits(0x3fcc_71c5_1d8e_78af),
    f64::from_bits(0x3fc7_4664_96cb_03de),
    f64::from_bits(0x3fc3_9a09_d078_c69f),
    f64::from_bits(0x3fc2_f112_df3e_5244),
];

/// The natural logarithm.
#[must_use]
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    let bits = x.to_bits();
    let mut fraction = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3fe0_0000_0000_0000);
    let mut k = ((bits >> 52) as i32 - 0x3fe) as f64;
    if fraction <= FRAC_1_SQRT_2 {
        k -= 1.0;
        fraction *= 2.0;
    }
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let even = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let half_square = 0.5 * f * f;
    let rest = s * (half_square + (odd + even)) + k * LN2_LOW;
    k * LN2_HIGH - ((half_square - rest) - f)
}

/// The logarithm to base two; exact for powers of two.
#[must_use]
pub fn log2(x: f64) -> f64 {
    let (fraction, exponent) = frexp(x);
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    ln(fraction) * LOG2_E + f64::from(exponent)
}

/// The logarithm to base ten.
#[must_use]
pub fn log10(x: f64) -> f64 {
    ln(x) * LOG10_E
}

/// A number `1 + x` as `2^k (1 + f)`, and what rounding `1 + x` lost, relative to it.
struct Reduced {
    k: i32,
    f: f64,
    lost: f64,
    /// `f` is so small that a short series does.
    tiny: bool,
}

fn reduce(x: f64) -> Reduced {
    let (u, k, lost);
    if x.abs() < (1_u64 << 53) as f64 {
        u = 1.0 + x;
        k = (u.to_bits() >> 52) as i32 - 1023;
        let difference = if k > 0 { 1.0 - (u - x) } else { x - (u - 1.0) };
        lost = difference / u;
    } else {
        u = x;
        k = (u.to_bits() >> 52) as i32 - 1023;
        lost = 0.0;
    }
    let fraction = u.to_bits() & 0x000f_ffff_ffff_ffff;
    // The fraction bits of the square root of two.
    if fraction < 0x0006_a09e_667f_3bcd {
        Reduced {
            k,
            f: f64::from_bits(fraction | 0x3ff0_0000_0000_0000) - 1.0,
            lost,
            tiny: fraction == 0,
        }
    } else {
        Reduced {
            k: k + 1,
            f: f64::from_bits(fraction | 0x3fe0_0000_0000_0000) - 1.0,
            lost,
            tiny: (0x0010_0000_0000_0000 - fraction) >> 2 == 0,
        }
    }
}

/// `ln(1 + x)`.
#[must_use]
pub fn log1p(x: f64) -> f64 {
    const SQRT_2_LESS_1: f64 = f64::from_bits(0x3fda_8279_99fc_ef34);
    const SQRT_HALF_LESS_1: f64 = f64::from_bits(0xbfd2_bec3_3301_8866);
    if x < -1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let size = x.abs();
    if size < 1.0 / (1_u64 << 29) as f64 {
        if size < 1.0 / (1_u64 << 54) as f64 {
            return x;
        }
        return x - x * x * 0.5;
    }
    let reduced = if size < SQRT_2_LESS_1 && x > SQRT_HALF_LESS_1 {
        Reduced {
            k: 0,
            f: x,
            lost: 0.0,
            tiny: false,
        }
    } else {
        reduce(x)
    };
    log1p_of(&reduced)
}

fn log1p_of(reduced: &Reduced) -> f64 {
    let (f, lost, k) = (reduced.f, reduced.lost, f64::from(reduced.k));
    let half_square = 0.5 * f * f;
    if reduced.tiny {
        if f == 0.0 {
            return if reduced.k == 0 {
                0.0
            } else {
                k * LN2_HIGH + (lost + k * LN2_LOW)
            };
        }
        let r = half_square * (1.0 - 0.666_666_666_666_666_6 * f);
        return if reduced.k == 0 {
            f - r
        } else {
            k * LN2_HIGH - ((r - (k * LN2_LOW + lost)) - f)
        };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let mut r = L[6];
    for coefficient in L[..6].iter().rev() {
        r = coefficient + z * r;
    }
    r *= z;
    if reduced.k == 0 {
        f - (half_square - s * (half_square + r))
    } else {
        let rest = s * (half_square + r) + (k * LN2_LOW + lost);
        k * LN2_HIGH - ((half_square - rest) - f)
    }
}
