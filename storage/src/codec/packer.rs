//! Chooses how a run of integers is written, and writes it (layout: [`super::integers`]).
//!
//! Sizes are computed without writing anything, in buffers that are kept from run to run. Delta orders
//! that a cheap estimate rules out are not sized at all.

use super::bytes::{put_uvarint, put_varint, uvarint_len, zigzag};
use super::integers::{
    HAS_DIVISOR, MINI, PATCHED, RICE, SPARSE, UNIFORM, bit_width, pack, packed_len,
};
use super::rice;

const MAX_PATCHES: usize = 12;

/// Shorter runs are sized exactly at every delta order, since an estimate costs as much.
const MIN_ESTIMATED: usize = 24;

/// Residuals that are looked at for a common one.
const SAMPLED: usize = 16;

/// Rice coding decodes slower than mini-blocks, so it has to save a thirty-second at least.
const RICE_SHARE: usize = 32;

/// How a mini-block is packed.
#[derive(Debug, Clone, Copy)]
struct Packing {
    width: u32,
    patches: usize,
    high_width: u32,
    min: i64,
    bytes: usize,
}

/// The cheapest packing of up to 64 residuals.
fn packing(residuals: &[i64]) -> Packing {
    let (min, span) = span(residuals);
    let widest = bit_width(span);
    let head = 1 + uvarint_len(zigzag(min));
    let mut best = Packing {
        width: widest,
        patches: 0,
        high_width: 0,
        min,
        bytes: head + packed_len(residuals.len(), widest),
    };
    let mut widths = [0_u8; MINI];
    for (width, residual) in widths.iter_mut().zip(residuals) {
        *width = bit_width(residual.wrapping_sub(min) as u64) as u8;
    }
    let mut width = widest;
    while width > 0 {
        width -= 1;
        let limit = width as u8;
        let above: u8 = widths.iter().map(|w| u8::from(*w > limit)).sum();
        let above = usize::from(above);
        if above > MAX_PATCHES {
            break;
        }
        let high_width = widest - width;
        let low = head + packed_len(residuals.len(), width);
        let bytes = low + 2 + above + packed_len(above, high_width);
        if bytes < best.bytes {
            best = Packing {
                width,
                patches: above,
                high_width,
                min,
                bytes,
            };
        }
    }
    best
}

/// The least of the residuals and how far the greatest is from it.
fn span(residuals: &[i64]) -> (i64, u64) {
    let Some(first) = residuals.first() else {
        return (0, 0);
    };
    let (mut min, mut max) = (*first, *first);
    for residual in residuals {
        min = min.min(*residual);
        max = max.max(*residual);
    }
    (min, max.wrapping_sub(min) as u64)
}

/// About the bits that mini-blocks without patches take. Neither comparisons nor branches, so that it costs
/// little.
fn estimate(residuals: &[i64]) -> usize {
    let bits = residuals.chunks(MINI).map(|mini| {
        let first = mini[0];
        let differing = mini.iter().fold(0, |all, residual| {
            let distance = residual.wrapping_sub(first);
            // The highest bit in which a number differs from its neighbour tells its width, whatever its sign.
            all | (distance ^ distance << 1)
        });
        mini.len() * bit_width(differing as u64) as usize
    });
    bits.sum()
}

fn put_mini(out: &mut Vec<u8>, mini: &[i64], p: Packing) {
    out.push(p.width as u8 | if p.patches > 0 { PATCHED } else { 0 });
    put_varint(out, p.min);
    let offsets = mini.iter().map(|r| r.wrapping_sub(p.min) as u64);
    pack(out, offsets.clone(), p.width);
    if p.patches > 0 {
        let high = offsets
            .enumerate()
            .filter(|(_, offset)| bit_width(*offset) > p.width);
        out.push(p.patches as u8);
        out.push(p.high_width as u8);
        out.extend(high.clone().map(|(at, _)| at as u8));
        pack(out, high.map(|(_, offset)| offset >> p.width), p.high_width);
    }
}

/// Fills `packings` and returns the bytes of all.
fn plan_minis(residuals: &[i64], packings: &mut Vec<Packing>) -> usize {
    packings.clear();
    packings.extend(residuals.chunks(MINI).map(packing));
    packings.iter().map(|p| p.bytes).sum()
}

fn put_minis(out: &mut Vec<u8>, residuals: &[i64], packings: &[Packing]) {
    for (mini, packing) in residuals.chunks(MINI).zip(packings) {
        put_mini(out, mini, *packing);
    }
}

/// Replaces `out` by the differences of neighbours.
fn differences(values: &[i64], out: &mut Vec<i64>) {
    out.clear();
    out.extend(values.windows(2).map(|w| w[1].wrapping_sub(w[0])));
}

/// The greatest power of two and the greatest odd number that divide all values; zeros are divided by
/// everything.
fn common_divisor(values: &[i64]) -> (u32, u64) {
    let all = values.iter().fold(0, |all, value| all | value);
    if all == 0 {
        return (0, 1);
    }
    let power = all.trailing_zeros();
    let mut odd = 0_u64;
    for value in values {
        let mut b = value.unsigned_abs() >> power;
        if odd == 0 {
            odd = b;
            continue;
        }
        let mut a = odd;
        b %= a;
        // Without divisions, which cost most of it: the difference of odd numbers is even.
        a >>= a.trailing_zeros();
        while b != 0 {
            b >>= b.trailing_zeros();
            (a, b) = (a.min(b), a.abs_diff(b));
        }
        odd = a;
        if odd >> odd.trailing_zeros() == 1 {
            odd = 1;
            break;
        }
    }
    (power, odd >> odd.trailing_zeros())
}

/// What an odd number is to be multiplied by, modulo 2^64, instead of dividing by it.
fn inverse(odd: u64) -> u64 {
    // Each step doubles the right bits; an odd number is its own inverse in the last three.
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

/// How residuals are written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Minis,
    Uniform,
    /// Most residuals are this.
    Sparse(i64),
    Rice(rice::Plan),
}

/// The value that more than half of the residuals have, if there is one. In longer runs it is looked for among
/// a few of them, which misses hardly any that would matter.
fn majority(residuals: &[i64]) -> Option<i64> {
    let mut few = [0; SAMPLED];
    let step = residuals.len().div_ceil(SAMPLED).max(1);
    let mut sampled = 0;
    for (place, residual) in few.iter_mut().zip(residuals.iter().step_by(step)) {
        *place = *residual;
        sampled += 1;
    }
    few[..sampled].sort_unstable();
    let (mut candidate, mut most) = (0, 0);
    for run in few[..sampled].chunk_by(|a, b| a == b) {
        if run.len() > most {
            (candidate, most) = (run[0], run.len());
        }
    }
    if most * 4 < sampled {
        return None;
    }
    let count = residuals.iter().filter(|r| **r == candidate).count();
    (count * 2 > residuals.len()).then_some(candidate)
}

/// Residuals of one delta order and how they are written.
#[derive(Debug)]
struct Candidate {
    order: usize,
    divisor: u64,
    residuals: Vec<i64>,
    form: Form,
    /// Of all residuals, or of those that are not the common one.
    packings: Vec<Packing>,
    gaps: Vec<u64>,
    outliers: Vec<i64>,
    outlier_packings: Vec<Packing>,
    /// For the Rice coding.
    distances: Vec<u64>,
    bytes: usize,
}

impl Default for Candidate {
    fn default() -> Self {
        Self {
            order: 0,
            divisor: 1,
            residuals: Vec::new(),
            form: Form::Minis,
            packings: Vec::new(),
            gaps: Vec::new(),
            outliers: Vec::new(),
            outlier_packings: Vec::new(),
            distances: Vec::new(),
            bytes: 0,
        }
    }
}

impl Candidate {
    fn plan(&mut self, order: usize, heads: &[i64], residuals: &[i64]) {
        self.order = order;
        let (power, odd) = common_divisor(residuals);
        let divisor = odd.checked_shl(power).unwrap_or(0);
        // i64::MIN has no positive twin, so a divisor must stay inside i64.
        let divisible = divisor >> power == odd && divisor > 1 && i64::try_from(divisor).is_ok();
        self.residuals.clear();
        if divisible {
            let factor = inverse(odd) as i64;
            let divided = residuals.iter().map(|r| (r >> power).wrapping_mul(factor));
            self.residuals.extend(divided);
        } else {
            self.residuals.extend_from_slice(residuals);
        }
        self.divisor = if divisible { divisor } else { 1 };
        let heads: usize = heads.iter().map(|head| uvarint_len(zigzag(*head))).sum();
        let divisor_len = if divisible { uvarint_len(divisor) } else { 0 };
        self.bytes = 1 + heads + divisor_len + self.plan_form();
    }

    /// Chooses the form; returns its bytes.
    fn plan_form(&mut self) -> usize {
        self.form = Form::Minis;
        let common = majority(&self.residuals);
        if let Some(common) = common {
            let head = uvarint_len(zigzag(common));
            self.split(common);
            if self.outliers.is_empty() {
                self.form = Form::Uniform;
                return head;
            }
            let gaps: usize = self.gaps.iter().map(|gap| uvarint_len(*gap)).sum();
            let sparse = head
                + uvarint_len(self.gaps.len() as u64)
                + gaps
                + plan_minis(&self.outliers, &mut self.outlier_packings);
            let minis = plan_minis(&self.residuals, &mut self.packings);
            if sparse < minis {
                self.form = Form::Sparse(common);
            }
            return sparse.min(minis);
        }
        plan_minis(&self.residuals, &mut self.packings)
    }

    /// What differs from `common`: gaps between the places, and the values.
    fn split(&mut self, common: i64) {
        self.gaps.clear();
        self.outliers.clear();
        let mut next = 0;
        for (at, residual) in self.residuals.iter().enumerate() {
            if *residual != common {
                self.gaps.push((at - next) as u64);
                self.outliers.push(*residual);
                next = at + 1;
            }
        }
    }

    /// Changes to Rice coding if that is clearly smaller.
    fn try_rice(&mut self) {
        if !matches!(self.form, Form::Minis) || self.residuals.is_empty() {
            return;
        }
        let minis: usize = self.packings.iter().map(|p| p.bytes).sum();
        let least = self.packings.iter().map(|p| p.min).min().unwrap_or(0);
        let most = minis - minis / RICE_SHARE;
        if let Some(plan) = rice::plan(&self.residuals, least, most, &mut self.distances) {
            self.bytes -= minis - plan.bytes;
            self.form = Form::Rice(plan);
        }
    }

    fn write(&self, out: &mut Vec<u8>, heads: &[i64]) {
        let divisor_flag = if self.divisor > 1 { HAS_DIVISOR } else { 0 };
        let form_flag = match self.form {
            Form::Minis => 0,
            Form::Uniform => UNIFORM,
            Form::Sparse(_) => SPARSE,
            Form::Rice(_) => RICE,
        };
        out.push(self.order as u8 | divisor_flag | form_flag);
        if self.divisor > 1 {
            put_uvarint(out, self.divisor);
        }
        for head in heads {
            put_varint(out, *head);
        }
        match self.form {
            Form::Minis => put_minis(out, &self.residuals, &self.packings),
            Form::Uniform => put_varint(out, self.residuals[0]),
            Form::Sparse(common) => {
                put_varint(out, common);
                put_uvarint(out, self.gaps.len() as u64);
                for gap in &self.gaps {
                    put_uvarint(out, *gap);
                }
                put_minis(out, &self.outliers, &self.outlier_packings);
            }
            Form::Rice(plan) => rice::encode(out, &self.residuals, plan),
        }
    }
}

/// Plans the encoding of a run and writes it; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    heads: [i64; 2],
    best: Candidate,
    next: Candidate,
    first: Vec<i64>,
    second: Vec<i64>,
}

impl Packer {
    /// Chooses an encoding of `values`; returns its bytes.
    pub(crate) fn plan(&mut self, values: &[i64]) -> usize {
        let estimated = values.len() >= MIN_ESTIMATED;
        let mut first = std::mem::take(&mut self.first);
        let mut second = std::mem::take(&mut self.second);
        differences(values, &mut first);
        let estimate_of = |residuals: &[i64]| if estimated { estimate(residuals) } else { 0 };
        let estimates = [estimate_of(values), estimate_of(&first)];
        self.heads[0] = values.first().copied().unwrap_or(0);
        if estimated && estimates[1] * 2 < estimates[0] {
            self.best.plan(1, &self.heads[..1], &first);
        } else {
            self.best.plan(0, &[], values);
            self.try_order(1, &first);
        }
        // One more difference than that only adds noise, as a rule.
        if self.best.order == 1 && !matches!(self.best.form, Form::Uniform) {
            differences(&first, &mut second);
            self.heads[1] = first.first().copied().unwrap_or(0);
            if !estimated || estimate_of(&second) < estimates[1] {
                self.try_order(2, &second);
            }
        }
        (self.first, self.second) = (first, second);
        self.best.try_rice();
        self.best.bytes
    }

    /// Takes delta order `order` if it is smaller.
    fn try_order(&mut self, order: usize, residuals: &[i64]) {
        // Where every residual is the same, another difference cannot be shorter by much.
        if residuals.is_empty() || matches!(self.best.form, Form::Uniform) {
            return;
        }
        self.next.plan(order, &self.heads[..order], residuals);
        if self.next.bytes < self.best.bytes {
            std::mem::swap(&mut self.best, &mut self.next);
        }
    }

    /// Appends what was planned last.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let before = out.len();
        self.best.write(out, &self.heads[..self.best.order]);
        debug_assert_eq!(out.len() - before, self.best.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{bytes::Cursor, integers, reference};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn planned_is_written_and_close_to_the_best(
            start in any::<i64>(),
            steps in prop::collection::vec(prop_oneof![4 => -9_i64..9, 1 => -5000_i64..5000], 0..300),
            k in prop_oneof![Just(1_i64), Just(4096), Just(1500), any::<i64>()],
        ) {
            let mut at = start;
            let next = |s: &i64| { at = at.wrapping_add(s.wrapping_mul(k)); at };
            let values: Vec<i64> = steps.iter().map(next).collect();
            let mut packer = Packer::default();
            packer.plan(&[7, 7, 8]);
            let planned = packer.plan(&values);
            let (mut out, mut reference) = (Vec::new(), Vec::new());
            packer.write(&mut out);
            prop_assert_eq!(out.len(), planned);
            reference::encode_integers(&mut reference, &values);
            prop_assert!(out.len() <= reference.len() + reference.len() / 50 + 2);
            for bytes in [out, reference] {
                let mut back = Vec::new();
                integers::decode(&mut Cursor::new(&bytes), values.len(), &mut back).unwrap();
                prop_assert_eq!(&back, &values);
            }
        }
    }

    #[test]
    fn divisors_are_taken_out_exactly() {
        for divisor in [1, 2, 3, 4096, 1_000_000_007, 15 << 40, i64::MAX] {
            let values = [divisor, 0, -divisor];
            let (power, odd) = common_divisor(&values);
            assert_eq!((odd << power) as i64, divisor);
            assert_eq!(odd.wrapping_mul(inverse(odd)), 1);
        }
        assert_eq!(common_divisor(&[i64::MIN, 0]), (63, 1));
    }
}
