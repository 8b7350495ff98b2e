//! Takes an input apart; what is missing is zero.

/// The rest of an input.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `len` bytes, or as many as there are.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    fn number(&mut self, bytes: usize) -> u64 {
        let taken = self.take(bytes).iter().enumerate();
        taken.fold(0, |n, (at, byte)| n | u64::from(*byte) << (8 * at))
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.number(1) as u8
    }

    pub(crate) fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.number(8)
    }

    /// Bytes with their length before them.
    pub(crate) fn part(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.take(usize::from(len))
    }

    /// A number of any size; small ones take few bytes.
    pub(crate) fn varied(&mut self) -> u64 {
        match self.u8() {
            byte @ 0..=199 => u64::from(byte),
            byte @ 200..=229 => u64::from(byte - 200) << 16 | u64::from(self.u16()),
            230..=239 => u64::MAX - u64::from(self.u8()),
            _ => self.u64(),
        }
    }
}

/// Adds bytes as [`Input::part`] takes them.
#[cfg(test)]
pub(crate) fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    let len = u16::try_from(part.len()).expect("a short part");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(part);
}
