//! Reads runs of integers ([`super::integers`]) block by block, and only the part that is wanted: what lies
//! behind it is not touched, and what lies before it is summed up, or passed over where values do not depend
//! on it.
//!
//! Blocks hold up to 64 integers and stay in the processor's first cache, whatever the run's length.

use super::Malformed;
use super::bytes::Cursor;
use super::integers::{
    HAS_DIVISOR, MINI, PATCHED, RICE, SPARSE, UNIFORM, packed_len, unpack, unpack_block,
};
use super::rice;

/// What stands before the residuals.
struct Head {
    order: usize,
    form: u8,
    divisor: i64,
    /// First value and first difference, as far as there are differences.
    heads: [i64; 2],
}

impl Head {
    fn take(cursor: &mut Cursor<'_>, count: usize) -> Result<Self, Malformed> {
        let options = cursor.u8()?;
        let order = usize::from(options & 3);
        if order > 2 || options > 31 || order > count {
            return Err(Malformed("unknown integer options"));
        }
        let divisor = if options & HAS_DIVISOR != 0 {
            i64::try_from(cursor.uvarint()?).map_err(|_| Malformed("divisor is absurd"))?
        } else {
            1
        };
        let mut heads = [0; 2];
        for head in &mut heads[..order] {
            *head = cursor.varint()?;
        }
        Ok(Self {
            order,
            form: options & RICE,
            divisor,
            heads,
        })
    }
}

/// Residuals that differ from the common one, with their places.
struct Sparse {
    common: i64,
    places: Vec<usize>,
    outliers: Vec<i64>,
    /// Outliers that were read.
    next: usize,
}

impl Sparse {
    fn take(cursor: &mut Cursor<'_>, count: usize) -> Result<Self, Malformed> {
        let common = cursor.varint()?;
        let outlying = cursor.count(1, count)?;
        let mut places = Vec::with_capacity(outlying);
        let mut next = 0_usize;
        for _ in 0..outlying {
            let at = next.saturating_add(cursor.count(0, count)?);
            if at >= count {
                return Err(Malformed("outlier lies outside its run"));
            }
            places.push(at);
            next = at + 1;
        }
        let mut outliers = vec![0; outlying];
        for mini in outliers.chunks_mut(MINI) {
            take_mini(cursor, mini)?;
        }
        Ok(Self {
            common,
            places,
            outliers,
            next: 0,
        })
    }

    fn read(&mut self, at: usize, out: &mut [i64]) {
        out.fill(self.common);
        while let Some(place) = self.places.get(self.next)
            && *place < at + out.len()
        {
            out[place - at] = self.outliers[self.next];
            self.next += 1;
        }
    }
}

/// Reads a mini-block of as many integers as `out` has.
fn take_mini(cursor: &mut Cursor<'_>, out: &mut [i64]) -> Result<(), Malformed> {
    let (width, patched) = take_width(cursor)?;
    let min = cursor.varint()?;
    let packed = cursor.rest();
    cursor.take(packed_len(out.len(), width))?;
    let mut block = [0; MINI];
    let block = &mut block[..out.len()];
    unpack_block(packed, width, block);
    for (out, value) in out.iter_mut().zip(block) {
        *out = min.wrapping_add(*value as i64);
    }
    if patched {
        let (positions, highs, high_width) = take_patches(cursor, width)?;
        for (i, position) in positions.iter().enumerate() {
            let value = out
                .get_mut(usize::from(*position))
                .ok_or(Malformed("patch lies outside its block"))?;
            *value = value.wrapping_add((unpack(highs, i, high_width) << width) as i64);
        }
    }
    Ok(())
}

/// Passes over a mini-block of `len` integers.
fn pass_mini(cursor: &mut Cursor<'_>, len: usize) -> Result<(), Malformed> {
    let (width, patched) = take_width(cursor)?;
    cursor.varint()?;
    cursor.take(packed_len(len, width))?;
    if patched {
        take_patches(cursor, width)?;
    }
    Ok(())
}

/// The sum of a whole mini-block.
fn sum_mini(cursor: &mut Cursor<'_>) -> Result<i64, Malformed> {
    let (width, patched) = take_width(cursor)?;
    let min = cursor.varint()?;
    let packed = cursor.rest();
    cursor.take(packed_len(MINI, width))?;
    let mut block = [0; MINI];
    unpack_block(packed, width, &mut block);
    let mut sum = block
        .iter()
        .fold(0, |sum: u64, value| sum.wrapping_add(*value));
    if patched {
        let (positions, highs, high_width) = take_patches(cursor, width)?;
        for i in 0..positions.len() {
            sum = sum.wrapping_add(unpack(highs, i, high_width) << width);
        }
    }
    Ok(min.wrapping_mul(MINI as i64).wrapping_add(sum as i64))
}

/// A mini-block's width in bits, and whether it has patches.
fn take_width(cursor: &mut Cursor<'_>) -> Result<(u32, bool), Malformed> {
    let tag = cursor.u8()?;
    let width = u32::from(tag & !PATCHED);
    if width > 64 {
        return Err(Malformed("bit width exceeds 64"));
    }
    Ok((width, tag & PATCHED != 0))
}

/// Positions and packed high parts of a mini-block's patches, and how wide these are.
fn take_patches<'a>(
    cursor: &mut Cursor<'a>,
    width: u32,
) -> Result<(&'a [u8], &'a [u8], u32), Malformed> {
    let count = usize::from(cursor.u8()?);
    let high_width = u32::from(cursor.u8()?);
    if count > MINI || high_width + width > 64 || width == 64 {
        return Err(Malformed("patches exceed their block"));
    }
    let positions = cursor.take(count)?;
    let highs = cursor.take(packed_len(count, high_width))?;
    Ok((positions, highs, high_width))
}

/// Where residuals come from.
enum Residuals<'a> {
    Uniform(i64),
    Minis(Cursor<'a>),
    Sparse(Sparse),
    Rice(rice::Reader<'a>),
}

impl<'a> Residuals<'a> {
    fn open(
        mut cursor: Cursor<'a>,
        form: u8,
        count: usize,
    ) -> Result<(Self, Cursor<'a>), Malformed> {
        let opened = match form {
            UNIFORM => Self::Uniform(cursor.varint()?),
            SPARSE => Self::Sparse(Sparse::take(&mut cursor, count)?),
            RICE => Self::Rice(rice::Reader::open(&mut cursor, count)?),
            _ => Self::Minis(cursor.clone()),
        };
        Ok((opened, cursor))
    }

    /// Reads residuals from number `at` on.
    #[inline]
    fn read(&mut self, at: usize, out: &mut [i64]) -> Result<(), Malformed> {
        match self {
            Self::Uniform(common) => out.fill(*common),
            Self::Minis(cursor) => take_mini(cursor, out)?,
            Self::Sparse(sparse) => sparse.read(at, out),
            Self::Rice(reader) => reader.read(out)?,
        }
        Ok(())
    }
}

/// Values from residuals: sums of the order that the run has.
struct Sums {
    order: usize,
    divisor: i64,
    value: i64,
    difference: i64,
}

impl Sums {
    /// Replaces residuals by values.
    #[inline]
    fn integrate(&mut self, block: &mut [i64]) {
        if self.divisor != 1 {
            for residual in &mut *block {
                *residual = residual.wrapping_mul(self.divisor);
            }
        }
        match self.order {
            1 => {
                for place in block {
                    self.value = self.value.wrapping_add(*place);
                    *place = self.value;
                }
            }
            2 => {
                for place in block {
                    self.difference = self.difference.wrapping_add(*place);
                    self.value = self.value.wrapping_add(self.difference);
                    *place = self.value;
                }
            }
            _ => {}
        }
    }
}

/// Hands the values `from..to` of a run of `count` to `emit`, in order and in blocks. Afterwards the cursor
/// stands behind the run if `to` is its end, else anywhere.
///
/// # Errors
/// When bytes that were looked at are no such run.
pub(crate) fn decode_part(
    cursor: &mut Cursor<'_>,
    count: usize,
    (from, to): (usize, usize),
    mut emit: impl FnMut(&[i64]),
) -> Result<(), Malformed> {
    debug_assert!(from <= to && to <= count);
    let Head {
        order,
        form,
        divisor,
        heads: [first, difference],
    } = Head::take(cursor, count)?;
    let second = first.wrapping_add(difference);
    emit(&[first, second][from.min(order)..to.min(order)]);
    let mut sums = Sums {
        order,
        divisor,
        value: if order == 2 { second } else { first },
        difference,
    };
    let residuals = count - order;
    let (skip, end) = (from.saturating_sub(order), to.saturating_sub(order));
    let (mut source, behind) = Residuals::open(cursor.clone(), form, residuals)?;
    *cursor = behind;
    let mut at = 0;
    let passed = skip / MINI * MINI;
    match &mut source {
        Residuals::Minis(cursor) if order == 0 => {
            while at < passed {
                pass_mini(cursor, MINI)?;
                at += MINI;
            }
        }
        Residuals::Minis(cursor) if order == 1 => {
            while at < passed {
                let sum = sum_mini(cursor)?.wrapping_mul(divisor);
                sums.value = sums.value.wrapping_add(sum);
                at += MINI;
            }
        }
        Residuals::Rice(reader) if order < 2 && passed > 0 && reader.has_sums() => {
            let sum = reader.sum(passed)?.wrapping_mul(divisor);
            sums.value = sums.value.wrapping_add(sum);
            at = passed;
        }
        _ => {}
    }
    let mut block = [0; MINI];
    while at < end {
        let block = &mut block[..MINI.min(residuals - at)];
        source.read(at, block)?;
        sums.integrate(block);
        let wanted = skip.saturating_sub(at).min(block.len())..(end - at).min(block.len());
        if !wanted.is_empty() {
            emit(&block[wanted]);
        }
        at += block.len();
    }
    match source {
        Residuals::Minis(behind) => *cursor = behind,
        Residuals::Rice(reader) => *cursor = reader.rest(),
        Residuals::Sparse(_) | Residuals::Uniform(_) => {}
    }
    Ok(())
}

/// First value and difference of a run at the front of `bytes` that is written as a line; of other runs
/// nothing is said.
pub(crate) fn line(cursor: &mut Cursor<'_>) -> Option<(i64, i64)> {
    let head = Head::take(cursor, usize::MAX).ok()?;
    if head.order != 1 || head.form != UNIFORM {
        return None;
    }
    let step = cursor.varint().ok()?.wrapping_mul(head.divisor);
    Some((head.heads[0], step))
}

#[cfg(test)]
mod tests {
    use super::super::integers::encode;
    use super::*;
    use proptest::prelude::*;

    fn part(bytes: &[u8], count: usize, range: (usize, usize)) -> Result<Vec<i64>, Malformed> {
        let mut out = Vec::new();
        decode_part(&mut Cursor::new(bytes), count, range, |block| {
            out.extend_from_slice(block);
        })?;
        Ok(out)
    }

    /// Runs of every form and order.
    fn runs() -> impl Strategy<Value = Vec<i64>> {
        let steps = prop_oneof![
            prop::collection::vec(0_i64..6, 0..400),
            prop::collection::vec(prop_oneof![9 => 0_i64..40, 1 => Just(1_i64 << 30)], 0..400),
            prop::collection::vec(-40_i64..40, 0..400),
            prop::collection::vec(prop_oneof![30 => Just(7_i64), 1 => any::<i64>()], 0..400),
            prop::collection::vec(any::<i64>(), 0..200),
        ];
        (
            steps,
            0_u32..3,
            prop_oneof![Just(1_i64), Just(15), any::<i64>()],
        )
            .prop_map(|(mut steps, order, factor)| {
                for step in &mut steps {
                    *step = step.wrapping_mul(factor);
                }
                for _ in 0..order {
                    let mut sum = 3_i64;
                    for step in &mut steps {
                        sum = sum.wrapping_add(*step);
                        *step = sum;
                    }
                }
                steps
            })
    }

    proptest! {
        #[test]
        fn a_part_is_what_stands_there(values in runs(), a in 0_usize..400, b in 0_usize..400) {
            let mut bytes = Vec::new();
            encode(&mut bytes, &values);
            let (a, b) = (a.min(values.len()), b.min(values.len()));
            let (from, to) = (a.min(b), a.max(b));
            prop_assert_eq!(part(&bytes, values.len(), (from, to)).unwrap(), &values[from..to]);
            prop_assert_eq!(part(&bytes, values.len(), (from, values.len())).unwrap(), &values[from..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100), a in 0_usize..300, b in 0_usize..300
        ) {
            for form in 0..32 {
                let mut bytes = bytes.clone();
                bytes.insert(0, form);
                let _ = part(&bytes, a.max(b), (0, a.min(b)));
                let _ = part(&bytes, a.max(b), (a.min(b), a.max(b)));
            }
        }
    }
}
