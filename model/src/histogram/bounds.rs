//! Bounds of buckets, by schema and index.
//!
//! The bounds of exponential buckets inside `[0.5, 1)` are products of roots of two. Prometheus
//! keeps them in a table whose values are not all correctly rounded; quantiles are interpolated
//! between them, so the same values are needed to the bit. Multiplying the roots from the largest
//! to the smallest, with the square root of two rounded down, yields exactly that table. Source of
//! the semantics: Prometheus `getBoundExponential` in `model/histogram/generic.go`.

use std::sync::LazyLock;

use super::CUSTOM_BUCKETS_SCHEMA;

/// The finest schema with a table.
const MAX_SCHEMA: i32 = 8;

/// The square root of two, rounded down.
const ROOT_OF_TWO: f64 = f64::from_bits(0x3ff6_a09e_667f_3bcc);

/// Bounds of schema 8 inside `[0.5, 1)`; coarser schemas use every 2nd, 4th, ... of them.
static FRACTIONS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut roots = [0.0; MAX_SCHEMA as usize];
    let mut root = 2.0_f64;
    for slot in &mut roots {
        root = root.sqrt();
        *slot = root;
    }
    roots[0] = ROOT_OF_TWO;
    (0..1_usize << MAX_SCHEMA)
        .map(|index| {
            let mut bound = 0.5;
            for (power, root) in roots.iter().enumerate() {
                if index >> (MAX_SCHEMA as usize - 1 - power) & 1 == 1 {
                    bound *= root;
                }
            }
            bound
        })
        .collect()
});

/// `fraction * 2^exponent`, exact, with overflow to infinity and gradual underflow.
fn scale(fraction: f64, exponent: i64) -> f64 {
    // Three steps cover the range of doubles; only the last one can round.
    let mut value = fraction;
    let mut rest = exponent.clamp(-3000, 3000);
    while rest != 0 {
        let step = rest.clamp(-1000, 1000);
        value *= f64::from_bits(((1023 + step) as u64) << 52);
        rest -= step;
    }
    value
}

/// The upper bound of a positive exponential bucket.
#[must_use]
pub fn exponential_bound(index: i32, schema: i32) -> f64 {
    let index = i64::from(index);
    if schema < 0 {
        let exponent = index << schema.unsigned_abs().min(20);
        // The bucket that ends above the greatest double ends at it; the next one is for +Inf.
        return if exponent == 1024 {
            f64::MAX
        } else {
            scale(1.0, exponent)
        };
    }
    let schema = schema.min(40);
    let inside = index & ((1_i64 << schema) - 1);
    let fraction = if schema <= MAX_SCHEMA {
        FRACTIONS[(inside << (MAX_SCHEMA - schema)) as usize]
    } else {
        (inside as f64 / (1_i64 << schema) as f64).exp2() / 2.0
    };
    let exponent = (index >> schema) + 1;
    if fraction == 0.5 && exponent == 1025 {
        f64::MAX
    } else {
        scale(fraction, exponent)
    }
}

/// The upper bound of bucket `index` on the positive side. Custom bounds reach from -Inf before the
/// first to +Inf after the last.
#[must_use]
pub fn bound(index: i32, schema: i32, custom_values: &[f64]) -> f64 {
    if schema != CUSTOM_BUCKETS_SCHEMA {
        return exponential_bound(index, schema);
    }
    match usize::try_from(index) {
        Ok(index) => custom_values.get(index).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// The index that a bucket has in a coarser schema.
#[must_use]
pub fn coarser_index(index: i32, schema: i32, target: i32) -> i32 {
    let shift = schema.saturating_sub(target).clamp(0, 31);
    (index.wrapping_sub(1) >> shift).wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_bounds_in_every_schema() {
        for schema in -4..=8 {
            assert_eq!(exponential_bound(0, schema), 1.0);
        }
        assert_eq!(exponential_bound(1, 0), 2.0);
        assert_eq!(exponential_bound(-1, 0), 0.5);
        assert_eq!(exponential_bound(1, -4), 65_536.0);
        assert_eq!(exponential_bound(2, 1), 2.0);
        assert_eq!(exponential_bound(1024, 0), f64::MAX);
        assert_eq!(exponential_bound(1025, 0), f64::INFINITY);
        assert_eq!(exponential_bound(-1074, 0), 5e-324);
        assert_eq!(exponential_bound(64, -4), f64::MAX);
    }

    #[test]
    fn roots_are_those_of_prometheus() {
        assert_eq!(FRACTIONS[128], 0.707_106_781_186_547_5);
        assert_eq!(FRACTIONS[255], 0.997_296_056_085_469_8);
        assert_eq!(FRACTIONS[64], 0.594_603_557_501_360_5);
    }

    #[test]
    fn custom_bounds_end_at_infinity() {
        let bounds = [1.0, 5.0];
        let all: Vec<f64> = (-1..3)
            .map(|i| bound(i, CUSTOM_BUCKETS_SCHEMA, &bounds))
            .collect();
        assert_eq!(all, [f64::NEG_INFINITY, 1.0, 5.0, f64::INFINITY]);
    }

    #[test]
    fn indexes_coarsen() {
        assert_eq!(coarser_index(1, 1, 0), 1);
        assert_eq!(coarser_index(2, 1, 0), 1);
        assert_eq!(coarser_index(3, 1, 0), 2);
        assert_eq!(coarser_index(0, 1, 0), 0);
        assert_eq!(coarser_index(-1, 1, 0), 0);
    }
}
