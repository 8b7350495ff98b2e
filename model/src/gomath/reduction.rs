//! Reducing an angle to its place within an eighth of a turn.
//!
//! Small angles are reduced with pi/4 in three parts (Cephes), large ones with as many binary
//! digits of 4/pi as matter (Payne and Hanek; K. C. Ng, "Argument Reduction for Huge Arguments").

/// From here on, `x * 4/pi` times the leading part of pi/4 is not exact any more.
const LARGE: f64 = (1_u64 << 29) as f64;

/// pi/4 in three parts.
const PI4_A: f64 = f64::from_bits(0x3fe9_21fb_4000_0000);
const PI4_B: f64 = f64::from_bits(0x3e64_442d_0000_0000);
const PI4_C: f64 = f64::from_bits(0x3ce8_4698_98cc_5170);

/// Binary digits of 4/pi; the first word is the part before the point.
const FOUR_OVER_PI: [u64; 20] = [
    0x0000_0000_0000_0001,
    0x45f3_06dc_9c88_2a53,
    0xf84e_afa3_ea69_bb81,
    0xb6c5_2b32_7887_2083,
    0xfca2_c757_bd77_8ac3,
    0x6e48_dc74_849b_a5c0,
    0x0c92_5dd4_13a3_2439,
    0xfc3b_d639_6253_4e7d,
    0xd104_6bea_5d76_8909,
    0xd338_e04d_68be_fc82,
    0x7323_ac73_06a6_73e9,
    0x3908_bf17_7bf2_5076,
    0x3ff1_2fff_bc0b_301f,
    0xde5e_2316_b414_da3e,
    0xda6c_fd9e_4f96_136e,
    0x9e8c_7ecd_3cbf_d45a,
    0xea4f_758f_d7cb_e2f6,
    0x7a0e_73ef_14a5_25d4,
    0xd7f6_bf62_3f1a_ba10,
    0xac06_608d_f8f6_d757,
];

/// For a finite `x >= 0`: the number of the eighth turn nearest below, made even by rounding up,
/// modulo eight, and the angle from there.
pub(super) fn octant(x: f64) -> (u64, f64) {
    if x >= LARGE {
        return octant_of_large(x);
    }
    let mut number = (x * (4.0 / std::f64::consts::PI)) as u64;
    let mut turns = number as f64;
    if number & 1 == 1 {
        number += 1;
        turns += 1.0;
    }
    let rest = ((x - turns * PI4_A) - turns * PI4_B) - turns * PI4_C;
    (number & 7, rest)
}

/// The words of 4/pi, from the bit where the product with the fraction begins to matter.
fn digits(exponent: i32) -> [u64; 3] {
    let from = (exponent + 61) as usize;
    let (word, shift) = (from / 64, from % 64);
    let at = |word: usize| FOUR_OVER_PI.get(word).copied().unwrap_or(0);
    [0, 1, 2].map(|n| {
        let low = at(word + n + 1).checked_shr(64 - shift as u32);
        at(word + n) << shift | low.unwrap_or(0)
    })
}

fn octant_of_large(x: f64) -> (u64, f64) {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1023 - 52;
    let fraction = bits & 0x000f_ffff_ffff_ffff | 1 << 52;
    let [first, second, third] = digits(exponent);
    let wide = |a: u64| u128::from(a) * u128::from(fraction);
    let sum = (wide(second)).wrapping_add(wide(third) >> 64);
    let high = first
        .wrapping_mul(fraction)
        .wrapping_add((sum >> 64) as u64);
    let low = sum as u64;
    let mut number = high >> 61;
    // The fraction of the eighth turn, as a double below one.
    let high = high << 3 | low >> 61;
    let zeros = high.leading_zeros();
    let shift = zeros + 1;
    let mantissa = high.checked_shl(shift).unwrap_or(0) | low.checked_shr(64 - shift).unwrap_or(0);
    let field = u64::from(1023 - shift);
    let mut rest = f64::from_bits(mantissa >> 12 | field << 52);
    if number & 1 == 1 {
        number = (number + 1) & 7;
        rest -= 1.0;
    }
    (number, rest * std::f64::consts::FRAC_PI_4)
}
