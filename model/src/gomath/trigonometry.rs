//! Sine, cosine, tangent.
//!
//! Source: Cephes' `sin.c` and `tan.c`.

use super::reduction::octant;

const SIN: [f64; 6] = [
    f64::from_bits(0x3de5_d8fd_1fd1_9ccd),
    f64::from_bits(0xbe5a_e5e5_a929_1f5d),
    f64::from_bits(0x3ec7_1de3_567d_48a1),
    f64::from_bits(0xbf2a_01a0_19bf_df03),
    f64::from_bits(0x3f81_1111_1110_f7d0),
    f64::from_bits(0xbfc5_5555_5555_5548),
];

const COS: [f64; 6] = [
    f64::from_bits(0xbda8_fa49_a086_1a9b),
    f64::from_bits(0x3e21_ee9d_7b4e_3f05),
    f64::from_bits(0xbe92_7e4f_7eac_4bc6),
    f64::from_bits(0x3efa_01a0_19c8_44f5),
    f64::from_bits(0xbf56_c16c_16c1_4f91),
    f64::from_bits(0x3fa5_5555_5555_554b),
];

const TAN_P: [f64; 3] = [
    f64::from_bits(0xc0c9_92d8_d24f_3f38),
    f64::from_bits(0x4131_99ec_a5fc_9ddd),
    f64::from_bits(0xc171_1fea_d329_9176),
];

const TAN_Q: [f64; 4] = [
    f64::from_bits(0x40ca_b8a5_eeb3_6572),
    f64::from_bits(0xc134_27bc_582a_bc96),
    f64::from_bits(0x4177_d98f_c2ea_d8ef),
    f64::from_bits(0xc189_afe0_3cbe_5a31),
];

/// A polynomial, coefficients from the highest.
fn horner(coefficients: &[f64], x: f64) -> f64 {
    let mut sum = 0.0;
    for coefficient in coefficients {
        sum = sum * x + coefficient;
    }
    sum
}

/// The sine of an angle of at most an eighth of a turn.
fn small_sine(z: f64) -> f64 {
    let square = z * z;
    z + z * square * horner(&SIN, square)
}

/// The cosine of an angle of at most an eighth of a turn.
fn small_cosine(z: f64) -> f64 {
    let square = z * z;
    1.0 - 0.5 * square + square * square * horner(&COS, square)
}

fn negated_if(negative: bool, value: f64) -> f64 {
    if negative { -value } else { value }
}

/// The sine of an angle in radians.
#[must_use]
pub fn sin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (number, rest) = octant(x.abs());
    let negative = (x < 0.0) != (number > 3);
    let value = match number & 3 {
        1 | 2 => small_cosine(rest),
        _ => small_sine(rest),
    };
    negated_if(negative, value)
}

/// The cosine of an angle in radians.
#[must_use]
pub fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    let (number, rest) = octant(x.abs());
    let negative = (number > 3) != (number & 3 > 1);
    let value = match number & 3 {
        1 | 2 => small_sine(rest),
        _ => small_cosine(rest),
    };
    negated_if(negative, value)
}

/// The tangent of an angle in radians.
#[must_use]
pub fn tan(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (number, z) = octant(x.abs());
    let square = z * z;
    let mut value = z;
    if square > 1e-14 {
        let below = (((square + TAN_Q[0]) * square + TAN_Q[1]) * square + TAN_Q[2]) * square;
        value += z * (square * horner(&TAN_P, square) / (below + TAN_Q[3]));
    }
    if number & 2 == 2 {
        value = -1.0 / value;
    }
    negated_if(x < 0.0, value)
}
