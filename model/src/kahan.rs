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

#[cfg(test)]
mod tests {
    use super::*;

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
