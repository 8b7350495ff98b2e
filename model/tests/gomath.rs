//! `tenbin_model::gomath` against results of a real Prometheus, which `gomath.txt` lists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tenbin_model::gomath;

type Function = fn(f64, f64) -> f64;

fn function(name: &str) -> Function {
    match name {
        "exp" => |x, _| gomath::exp(x),
        "ln" => |x, _| gomath::ln(x),
        "log2" => |x, _| gomath::log2(x),
        "log10" => |x, _| gomath::log10(x),
        "sin" => |x, _| gomath::sin(x),
        "cos" => |x, _| gomath::cos(x),
        "tan" => |x, _| gomath::tan(x),
        "asin" => |x, _| gomath::asin(x),
        "acos" => |x, _| gomath::acos(x),
        "atan" => |x, _| gomath::atan(x),
        "sinh" => |x, _| gomath::sinh(x),
        "cosh" => |x, _| gomath::cosh(x),
        "tanh" => |x, _| gomath::tanh(x),
        "asinh" => |x, _| gomath::asinh(x),
        "acosh" => |x, _| gomath::acosh(x),
        "atanh" => |x, _| gomath::atanh(x),
        "pow" => gomath::pow,
        "atan2" => gomath::atan2,
        "mod" => |x, y| x % y,
        other => panic!("no function {other}"),
    }
}

fn bits(text: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(text, 16).unwrap())
}

#[test]
fn results_are_those_of_prometheus() {
    let mut checked = 0;
    for line in include_str!("gomath.txt").lines() {
        if line.starts_with('#') {
            continue;
        }
        let parts: Vec<&str> = line.split(' ').collect();
        let (x, y, expected) = (bits(parts[1]), bits(parts[2]), bits(parts[3]));
        let got = function(parts[0])(x, y);
        let equal = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
        assert!(
            equal,
            "{}({x:e}, {y:e}) is {got:e}, not {expected:e}",
            parts[0]
        );
        checked += 1;
    }
    assert!(checked > 3000, "only {checked} values were checked");
}

#[test]
fn powers_of_two_are_exact_down_to_the_subnormal() {
    for exponent in -1074..=1023 {
        let power = gomath::ldexp(1.0, exponent);
        assert_eq!(gomath::exp2(exponent as f64), power);
        assert_eq!(gomath::log2(power), exponent as f64);
        assert_eq!(gomath::frexp(power), (0.5, exponent as i32 + 1));
    }
    assert_eq!(gomath::exp2(1024.0), f64::INFINITY);
    assert_eq!(gomath::exp2(-1075.0), 0.0);
    assert_eq!(gomath::ldexp(1.0, -2000), 0.0);
    assert_eq!(gomath::ldexp(-1.0, 2000), f64::NEG_INFINITY);
}
