//! What is wrong with which line of a body: the first few are spelled out, the rest are counted.

/// How many lines are spelled out.
const MAX_SHOWN: usize = 16;

/// Most labels or tags on one line, and most fields: what is listed takes more memory than as text.
pub const MAX_PARTS: usize = 1000;

/// Checks that a line with `count` parts of a kind may have one more.
///
/// # Errors
/// Names the limit.
pub fn check_parts(count: usize, what: &str) -> Result<(), String> {
    if count < MAX_PARTS {
        return Ok(());
    }
    Err(format!("more than {MAX_PARTS} {what}, which is the limit"))
}

/// Lines that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    shown: Vec<(u32, String)>,
    count: u64,
}

impl Problems {
    /// Notes what is wrong with a line.
    pub fn add(&mut self, line: u32, reason: &str) {
        self.count += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.push((line, reason.to_owned()));
        }
    }

    /// Notes lines whose reasons are not known any more.
    pub fn add_unseen(&mut self, count: u64) {
        self.count += count;
    }

    /// Whether all lines could be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One text a line, in order; the last one says how many there are more.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut shown = self.shown.clone();
        shown.sort_by_key(|(line, _)| *line);
        let texts = shown
            .iter()
            .map(|(line, text)| format!("line {line}: {text}"));
        let mut texts: Vec<String> = texts.collect();
        let unseen = self.count - self.shown.len() as u64;
        if unseen > 0 {
            texts.push(format!("and {unseen} more"));
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_stay_short() {
        let mut problems = Problems::default();
        assert!(problems.is_empty());
        for line in 1..=20 {
            problems.add(line, "x");
        }
        problems.add_unseen(5);
        let lines = problems.lines();
        assert_eq!(lines.len(), MAX_SHOWN + 1);
        assert_eq!(
            (lines[0].as_str(), lines[16].as_str()),
            ("line 1: x", "and 9 more")
        );
    }
}
