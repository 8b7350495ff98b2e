//! Sorting that looks up from its work, for lists as long as a store has series.

use std::cmp::Ordering;

/// Elements sorted between two looks.
const RUN: usize = 1 << 13;

/// Sorts a list, stably. `check` is called now and then and may end it; the list is in some order
/// then.
///
/// # Errors
/// Those of `check`.
pub fn sort_checked<T, E>(
    list: &mut [T],
    order: impl Fn(&T, &T) -> Ordering,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    let mut run = RUN;
    for part in list.chunks_mut(run) {
        check()?;
        part.sort_by(&order);
    }
    // Sorting two sorted runs merges them.
    while run < list.len() {
        run *= 2;
        for part in list.chunks_mut(run) {
            check()?;
            part.sort_by(&order);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of few keys and their position.
    fn mixed(count: u64) -> Vec<(u64, u64)> {
        let key = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50, at);
        (0..count).map(key).collect()
    }

    #[test]
    fn lists_of_any_length_are_sorted_stably() {
        for count in [0, 1, 100, RUN, RUN + 1, 3 * RUN, 40_000] {
            let mut list = mixed(count as u64);
            let mut expected = list.clone();
            expected.sort_by_key(|pair| pair.0);
            sort_checked(&mut list, |a, b| a.0.cmp(&b.0), || Ok::<_, ()>(())).unwrap();
            assert!(list == expected, "{count}");
        }
    }

    #[test]
    fn any_look_can_end_it() {
        let looks = |limit: usize| {
            let mut looks = 0;
            let result = sort_checked(&mut mixed(30_000), Ord::cmp, || {
                looks += 1;
                if looks > limit { Err(()) } else { Ok(()) }
            });
            (looks, result)
        };
        let (all, result) = looks(usize::MAX);
        assert!(all > 6 && result.is_ok(), "{all}");
        for limit in 0..all {
            assert_eq!(looks(limit), (limit + 1, Err(())));
        }
    }
}
