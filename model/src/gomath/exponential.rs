//! Powers of e and of two.
//!
//! `exp` follows Naoki Shibata's SLEEF: a Taylor series at a sixteenth of the reduced argument,
//! squared four times as `(1 + y)^2 - 1 = y (y + 2)`, with fused operations as every x86 processor
//! of the last decade has them. `exp2` follows msun's `e_exp.c`.

use super::bits::ldexp;

const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// The logarithm of two in two parts, as SLEEF splits it.
const LN2_UPPER: f64 = f64::from_bits(0x3fe6_2e42_fefa_3000);
const LN2_LOWER: f64 = 0.282_352_905_630_315_77e-12;
/// Beyond this the result overflows.
const OVERFLOW: f64 = 7.097_827_128_933_84e2;

/// Coefficients of the Taylor series, from the highest: 1/8!, 1/7!, ..., 1/2!, 1.
const TAYLOR: [f64; 8] = [
    2.480_158_730_158_73e-5,
    1.984_126_984_126_984e-4,
    1.388_888_888_888_889e-3,
    8.333_333_333_333_333e-3,
    4.166_666_666_666_666_4e-2,
    1.666_666_666_666_666_6e-1,
    0.5,
    1.0,
];

/// `e^x`.
#[must_use]
pub fn exp(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x == f64::NEG_INFINITY {
        return 0.0;
    }
    if x > OVERFLOW {
        return f64::INFINITY;
    }
    // Saturates for very negative numbers, whose result is zero anyway.
    let exponent = (x * LOG2_E).round_ties_even() as i32;
    let whole = f64::from(exponent);
    let rest = (-whole).mul_add(LN2_UPPER, x);
    let rest = (-whole).mul_add(LN2_LOWER, rest) * 0.0625;
    let mut series = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        series = series.mul_add(rest, *coefficient);
    }
    let mut y = rest * series;
    for _ in 0..3 {
        y *= y + 2.0;
    }
    y = y.mul_add(y + 2.0, 1.0);
    scale(y, exponent)
}

/// `fraction * 2^exponent`, in two steps for subnormal results.
fn scale(fraction: f64, exponent: i32) -> f64 {
    let power = |field: i32| f64::from_bits((field as u64) << 52);
    let field = exponent.saturating_add(0x3ff);
    if field >= 0x7ff {
        f64::INFINITY
    } else if field > 0 {
        fraction * power(field)
    } else if field < -52 {
        0.0
    } else {
        fraction * power(field + 0x3fe) * power(1)
    }
}

/// `2^x`.
#[must_use]
pub fn exp2(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x > 1.023_999_999_999_999_9e3 {
        return f64::INFINITY;
    }
    if x < -1074.0 {
        return 0.0;
    }
    let whole = if x > 0.0 {
        (x + 0.5).trunc()
    } else if x < 0.0 {
        (x - 0.5).trunc()
    } else {
        0.0
    };
    let rest = x - whole;
    exp_of_difference(rest * LN2_HIGH, -rest * LN2_LOW, whole as i64)
}

/// `e^(high - low) * 2^exponent` for a difference of at most half the logarithm of two.
fn exp_of_difference(high: f64, low: f64, exponent: i64) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_666_6e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    ldexp(y, exponent)
}
