//! The straightforward encoder: it writes every candidate and keeps the shortest. Slow; what the tests measure
//! the real one against. It knows the first forms and codecs only.

use super::bytes::{put_uvarint, put_varint, uvarint_len, zigzag};
use super::integers::{HAS_DIVISOR, MINI, PATCHED, SPARSE, UNIFORM, bit_width, pack};
use super::values::{
    BITS, CONST, DECIMAL_CONST, EXCEPTIONS_PER_CENT, INT, MAX_RUN, RAW, SCALES, ULP, XOR, exact,
    factor, from_integer, nearest,
};
use super::xor;

const MAX_PATCHES: usize = 12;

/// Decimal places tried where values are near decimals, but not exactly.
const ULP_SCALES: [u8; 4] = [3, 6, 9, 11];

/// At this many bytes per hundred values the decimal integers are good enough.
const CHEAP_PER_CENT: usize = 300;

/// How a mini-block is packed.
#[derive(Clone, Copy)]
struct Packing {
    width: u32,
    patches: usize,
    high_width: u32,
    min: i64,
    bytes: usize,
}

/// The cheapest packing of up to 64 residuals.
fn packing(residuals: &[i64]) -> Packing {
    let min = residuals.iter().copied().min().unwrap_or(0);
    let mut histogram = [0_usize; 65];
    let mut widest = 0;
    for residual in residuals {
        let width = bit_width(residual.wrapping_sub(min) as u64);
        histogram[width as usize] += 1;
        widest = widest.max(width);
    }
    let head = 1 + uvarint_len(zigzag(min));
    let plain = head + (residuals.len() * widest as usize).div_ceil(8);
    let mut best = Packing {
        width: widest,
        patches: 0,
        high_width: 0,
        min,
        bytes: plain,
    };
    let (mut above, mut width) = (0, widest);
    while width > 0 {
        above += histogram[width as usize];
        width -= 1;
        if above > MAX_PATCHES {
            break;
        }
        let high_width = widest - width;
        let bytes = head
            + (residuals.len() * width as usize).div_ceil(8)
            + 2
            + above
            + (above * high_width as usize).div_ceil(8);
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

fn put_minis(out: &mut Vec<u8>, residuals: &[i64]) {
    for mini in residuals.chunks(MINI) {
        let p = packing(mini);
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
}

fn minis_len(residuals: &[i64]) -> usize {
    residuals.chunks(MINI).map(|mini| packing(mini).bytes).sum()
}

/// Replaces each value by its difference to the one before, in place; drops the first.
fn difference(values: &mut Vec<i64>) {
    for i in (1..values.len()).rev() {
        values[i] = values[i].wrapping_sub(values[i - 1]);
    }
    values.remove(0);
}

fn common_divisor(values: &[i64]) -> u64 {
    let mut divisor = 0_u64;
    for value in values {
        let (mut a, mut b) = (value.unsigned_abs(), divisor);
        while a != 0 {
            (a, b) = (b % a, a);
        }
        divisor = b;
        if divisor == 1 {
            break;
        }
    }
    divisor
}

/// How residuals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Minis,
    Uniform,
    /// Most residuals are this.
    Sparse(i64),
}

/// The value that more than half of the residuals have, if there is one.
fn majority(residuals: &[i64]) -> Option<i64> {
    let (mut candidate, mut lead) = (0, 0_usize);
    for residual in residuals {
        if lead == 0 {
            candidate = *residual;
        }
        lead = if *residual == candidate {
            lead + 1
        } else {
            lead - 1
        };
    }
    let count = residuals.iter().filter(|r| **r == candidate).count();
    (count * 2 > residuals.len()).then_some(candidate)
}

/// What differs from `common`: gaps between the places, and the values.
fn outliers(residuals: &[i64], common: i64) -> (Vec<u64>, Vec<i64>) {
    let (mut gaps, mut values) = (Vec::new(), Vec::new());
    let mut next = 0;
    for (at, residual) in residuals.iter().enumerate() {
        if *residual != common {
            gaps.push((at - next) as u64);
            values.push(*residual);
            next = at + 1;
        }
    }
    (gaps, values)
}

/// The shortest form and its bytes.
fn best_form(residuals: &[i64]) -> (Form, usize) {
    let minis = (Form::Minis, minis_len(residuals));
    let Some(common) = majority(residuals) else {
        return minis;
    };
    let head = uvarint_len(zigzag(common));
    let (gaps, values) = outliers(residuals, common);
    if values.is_empty() {
        return (Form::Uniform, head);
    }
    let gaps_len: usize = gaps.iter().map(|gap| uvarint_len(*gap)).sum();
    let count_len = uvarint_len(values.len() as u64);
    let sparse = head + count_len + gaps_len + minis_len(&values);
    if sparse < minis.1 {
        (Form::Sparse(common), sparse)
    } else {
        minis
    }
}

/// Residuals of one delta order, ready to be written.
struct Candidate {
    order: usize,
    divisor: u64,
    residuals: Vec<i64>,
    form: Form,
    bytes: usize,
}

fn candidate(order: usize, heads: &[i64], residuals: &[i64]) -> Candidate {
    let divisor = common_divisor(residuals);
    // i64::MIN has no positive twin, so a divisor must stay inside i64.
    let divisible = divisor > 1 && i64::try_from(divisor).is_ok();
    let divisor = if divisible { divisor } else { 1 };
    let scaled: Vec<i64> = if divisible {
        residuals.iter().map(|r| r / divisor as i64).collect()
    } else {
        residuals.to_vec()
    };
    let (form, bytes) = best_form(&scaled);
    let heads: usize = heads.iter().map(|head| uvarint_len(zigzag(*head))).sum();
    let divisor_len = if divisible { uvarint_len(divisor) } else { 0 };
    Candidate {
        order,
        divisor,
        residuals: scaled,
        form,
        bytes: bytes + heads + divisor_len,
    }
}

/// Appends the smallest encoding of `values`.
pub(super) fn encode_integers(out: &mut Vec<u8>, values: &[i64]) {
    let mut heads = [0_i64; 2];
    let mut residuals = values.to_vec();
    let mut best = candidate(0, &[], &residuals);
    for order in 1..=2 {
        // Where every residual is the same, another difference cannot be shorter by much.
        let Some(first) = residuals.first().filter(|_| best.form != Form::Uniform) else {
            break;
        };
        heads[order - 1] = *first;
        difference(&mut residuals);
        let next = candidate(order, &heads[..order], &residuals);
        if next.bytes >= best.bytes {
            // One more difference would only add noise.
            break;
        }
        best = next;
    }
    let divisor_flag = if best.divisor > 1 { HAS_DIVISOR } else { 0 };
    let form_flag = match best.form {
        Form::Minis => 0,
        Form::Uniform => UNIFORM,
        Form::Sparse(_) => SPARSE,
    };
    out.push(best.order as u8 | divisor_flag | form_flag);
    if best.divisor > 1 {
        put_uvarint(out, best.divisor);
    }
    for head in &heads[..best.order] {
        put_varint(out, *head);
    }
    match best.form {
        Form::Minis => put_minis(out, &best.residuals),
        Form::Uniform => put_varint(out, best.residuals[0]),
        Form::Sparse(common) => {
            let (gaps, outlying) = outliers(&best.residuals, common);
            put_varint(out, common);
            put_uvarint(out, gaps.len() as u64);
            for gap in gaps {
                put_uvarint(out, gap);
            }
            put_minis(out, &outlying);
        }
    }
}

/// Integers and exceptions of all values by `integer_of`, or `None` with too many exceptions.
fn integers_of(
    values: &[f64],
    integer_of: impl Fn(f64) -> Option<i64>,
) -> Option<(Vec<i64>, Vec<usize>)> {
    let allowed = values.len() * EXCEPTIONS_PER_CENT / 100 + 1;
    let mut integers = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match integer_of(*value) {
            Some(integer) => integers.push(integer),
            None => {
                exceptions.push(at);
                if exceptions.len() > allowed {
                    return None;
                }
                integers.push(integers.last().copied().unwrap_or(0));
            }
        }
    }
    Some((integers, exceptions))
}

/// Whether a few values spread over the run fit the scale, the cheap test before the full one.
fn plausible(values: &[f64], scale: u8) -> bool {
    let step = values.len().div_ceil(16).max(1);
    let mut misses = 0;
    for value in values.iter().step_by(step) {
        misses += usize::from(exact(*value, scale).is_none());
    }
    misses <= 1
}

fn put_exceptions(out: &mut Vec<u8>, values: &[f64], exceptions: &[usize]) {
    put_uvarint(out, exceptions.len() as u64);
    let mut next = 0;
    for at in exceptions {
        put_uvarint(out, (at - next) as u64);
        out.extend_from_slice(&values[*at].to_bits().to_le_bytes());
        next = at + 1;
    }
}

/// INT at `scale`, unless too many values do not fit.
fn encode_int(values: &[f64], scale: u8) -> Option<Vec<u8>> {
    if !plausible(values, scale) {
        return None;
    }
    let (numbers, exceptions) = integers_of(values, |v| exact(v, scale))?;
    let mut out = vec![INT, scale];
    put_exceptions(&mut out, values, &exceptions);
    encode_integers(&mut out, &numbers);
    Some(out)
}

/// ULP at `scale`, unless too many values are no numbers of that size.
fn encode_ulp(values: &[f64], scale: u8) -> Option<Vec<u8>> {
    let (numbers, exceptions) = integers_of(values, |v| nearest(v, scale))?;
    let factor = factor(scale);
    let mut distances = Vec::with_capacity(values.len());
    for (value, number) in values.iter().zip(&numbers) {
        let near = from_integer(*number, factor).to_bits();
        distances.push(value.to_bits().wrapping_sub(near) as i64);
    }
    for at in &exceptions {
        distances[*at] = 0;
    }
    let mut out = vec![ULP, scale];
    put_exceptions(&mut out, values, &exceptions);
    encode_integers(&mut out, &numbers);
    encode_integers(&mut out, &distances);
    Some(out)
}

fn encode_bits(values: &[f64]) -> Vec<u8> {
    let numbers: Vec<i64> = values.iter().map(|v| v.to_bits() as i64).collect();
    let mut out = vec![BITS];
    encode_integers(&mut out, &numbers);
    out
}

fn encode_const(out: &mut Vec<u8>, value: f64) {
    let mut short = Vec::new();
    if let Some((scale, integer)) = SCALES
        .iter()
        .find_map(|scale| Some((*scale, exact(value, *scale)?)))
    {
        short.extend([DECIMAL_CONST, scale]);
        put_varint(&mut short, integer);
    }
    if short.is_empty() || short.len() > 9 {
        out.push(CONST);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    } else {
        out.extend_from_slice(&short);
    }
}

/// Chooses codecs; remembers what was best for the run before, of the same series as a rule.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    last_scale: u8,
}

impl Chooser {
    /// Appends the smallest encoding of `values` (1 to [`MAX_RUN`] of them).
    pub(super) fn encode(&mut self, out: &mut Vec<u8>, values: &[f64]) {
        debug_assert!(!values.is_empty() && values.len() <= MAX_RUN);
        let Some(first) = values.first() else { return };
        if values.iter().all(|v| v.to_bits() == first.to_bits()) {
            encode_const(out, *first);
            return;
        }
        let best = self.best(values);
        if best.len() > values.len() * 8 + 1 {
            out.push(RAW);
            out.extend(values.iter().flat_map(|v| v.to_bits().to_le_bytes()));
        } else {
            out.extend_from_slice(&best);
        }
    }

    fn best(&mut self, values: &[f64]) -> Vec<u8> {
        // Scales are tried from the likely and small on, so the first that fits is the smallest.
        let mut best = None;
        for scale in SCALES {
            best = encode_int(values, scale);
            if best.is_some() {
                break;
            }
        }
        if let Some(int) = &best
            && int.len() <= values.len() * CHEAP_PER_CENT / 100
        {
            return best.unwrap_or_default();
        }
        let mut keep = |other: Option<Vec<u8>>| {
            let Some(other) = other else { return false };
            let better = best.as_ref().is_none_or(|b| other.len() < b.len());
            if better {
                best = Some(other);
            }
            better
        };
        keep(Some(encode_bits(values)));
        if keep(encode_ulp(values, self.last_scale)) && self.last_scale != 0 {
            // What was best for the last run is good here: no other scale is tried.
        } else {
            for scale in ULP_SCALES {
                if scale != self.last_scale && keep(encode_ulp(values, scale)) {
                    self.last_scale = scale;
                }
            }
        }
        let mut bits = vec![XOR];
        xor::encode(&mut bits, values);
        keep(Some(bits));
        best.unwrap_or_default()
    }
}
