//! Compensated summation: Neumaier's variant of Kahan's, in the exact form that Prometheus uses
//! (`util/kahansum`), so that sums come out equal to the bit.

/// Adds `increment` to the running pair `(sum, compensation)`; the total is their sum.
///
/// Once the sum is infinite the compensation is dropped, since it would turn infinities into NaN.
#[inline(always)]
#[must_use]
pub fn add(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    let lost = if sum.abs() >= increment.abs() {
        (sum - total) + increment
    } else {
        (increment - total) + sum
    };
    let compensation = if total.is_infinite() {
        0.0
    } else {
        compensation + lost
    };
    (total, compensation)
}

/// As [`add`], with the same bits, as long as both results are finite; where one is not, [`add`] is to be asked
/// instead.
///
/// What an addition loses is exact in either form (Knuth's TwoSum; Dekker's needs to know which operand is the
/// larger one). This one has no comparison, so that several sums fit side by side into a vector.
#[inline(always)]
#[must_use]
pub fn add_finite(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    let added = total - sum;
    let lost = (sum - (total - added)) + (increment - added);
    (total, compensation + lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            -1e6..1e6,
            (-1000_i32..1000).prop_map(|i| f64::from(i) / 100.0),
            Just(f64::MAX),
            Just(-f64::MAX),
            Just(-0.0),
            Just(f64::MIN_POSITIVE),
            Just(f64::INFINITY),
        ]
    }

    proptest! {
        #[test]
        fn both_forms_agree_while_finite(values in prop::collection::vec(values(), 1..40)) {
            let (mut sum, mut lost) = (0.0, 0.0);
            for value in values {
                let (total, compensation) = add_finite(value, sum, lost);
                (sum, lost) = add(value, sum, lost);
                if total.is_finite() && compensation.is_finite() {
                    prop_assert_eq!(total.to_bits(), sum.to_bits());
                    prop_assert_eq!(compensation.to_bits(), lost.to_bits());
                }
            }
        }
    }

    #[test]
    fn recovers_what_plain_addition_loses() {
        let (mut sum, mut compensation) = (0.0, 0.0);
        for value in [1e100, 1.0, -1e100] {
            (sum, compensation) = add(value, sum, compensation);
        }
        assert_eq!(sum + compensation, 1.0);
    }

    #[test]
    fn infinities_stay() {
        let (sum, compensation) = add(f64::INFINITY, 1.0, 0.5);
        assert_eq!((sum, compensation), (f64::INFINITY, 0.0));
    }
}
