//! How well a name fits what somebody typed: 0 = not at all, 1 = best.
//!
//! Source of the formulas: Prometheus `util/strutil`, `web/api/v1/search_filters.go`.

/// A way to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// All characters of the term, in their order.
    Subsequence,
    /// Contained, or alike by Jaro and Winkler.
    JaroWinkler,
}

/// What is searched for.
#[derive(Debug, Clone)]
pub(super) struct Search {
    terms: Vec<Vec<char>>,
    algorithm: Algorithm,
    /// Least score, 0 to 1.
    threshold: f64,
    case_sensitive: bool,
}

impl Search {
    /// A search for any of the terms; empty ones do not count, and without terms everything fits.
    #[must_use]
    pub(super) fn new(
        terms: &[String],
        algorithm: Algorithm,
        threshold: f64,
        case_sensitive: bool,
    ) -> Self {
        let terms = terms.iter().filter(|term| !term.is_empty());
        Self {
            terms: terms.map(|term| chars(term, case_sensitive)).collect(),
            algorithm,
            threshold,
            case_sensitive,
        }
    }

    /// The score of a name; nothing when it does not fit.
    #[must_use]
    pub(super) fn score(&self, name: &str) -> Option<f64> {
        if self.terms.is_empty() {
            return Some(1.0);
        }
        let name = chars(name, self.case_sensitive);
        self.terms
            .iter()
            .filter_map(|term| self.term_score(term, &name))
            .max_by(f64::total_cmp)
    }

    fn term_score(&self, term: &[char], name: &[char]) -> Option<f64> {
        if name.starts_with(term) {
            return Some(1.0);
        }
        let score = match self.algorithm {
            Algorithm::Subsequence => subsequence(term, name),
            Algorithm::JaroWinkler => {
                if let Some(score) = substring(term, name) {
                    return Some(score);
                }
                if self.threshold == 0.0 {
                    return None;
                }
                jaro_winkler(term, name)
            }
        };
        (score > 0.0 && score >= self.threshold).then_some(score)
    }
}

/// The characters, in lower case unless that matters. Each by itself, as Go does it: `İ` becomes `i`.
fn chars(text: &str, case_sensitive: bool) -> Vec<char> {
    if case_sensitive {
        return text.chars().collect();
    }
    text.chars()
        .map(|c| c.to_lowercase().next().unwrap_or(c))
        .collect()
}

/// The further behind the term stands, the less it counts.
fn substring(term: &[char], name: &[char]) -> Option<f64> {
    let last = name.len().checked_sub(term.len())?;
    let at = name.windows(term.len()).position(|w| w == term)?;
    Some(1.0 - 0.9 * at as f64 / last.max(1) as f64)
}

/// What does not begin with the term stays below 1 by this factor.
const INEXACT: f64 = 0.999;

/// Squares of runs, less the gaps between them by the length of the name, best of all starts.
fn subsequence(term: &[char], name: &[char]) -> f64 {
    let Some(last) = name.len().checked_sub(term.len()) else {
        return 0.0;
    };
    let mut best = 0.0_f64;
    for start in (0..=last).filter(|at| name[*at] == term[0]) {
        match run_score(term, name, start) {
            Some(score) => best = best.max(score),
            None => break,
        }
    }
    best / (term.len() * term.len()) as f64 * INEXACT
}

fn run_score(term: &[char], name: &[char], start: usize) -> Option<f64> {
    let per_char = 1.0 / name.len() as f64;
    let (mut score, mut at, mut found) = (-(start as f64) * per_char, start, 0);
    loop {
        let run = term[found..]
            .iter()
            .zip(&name[at..])
            .take_while(|(a, b)| a == b)
            .count();
        score += (run * run) as f64;
        found += run;
        at += run;
        if found == term.len() {
            return Some(score - (name.len() - at) as f64 * per_char * 0.5);
        }
        let gap = name[at..].iter().position(|c| *c == term[found])?;
        score -= gap as f64 * per_char;
        at += gap;
    }
}

/// The usual measure, a common prefix of up to four characters counting a tenth each. The order of
/// the two and of the sums is Prometheus', so that scores agree in their last digits.
fn jaro_winkler(term: &[char], name: &[char]) -> f64 {
    let (a, b) = if term.len() > name.len() {
        (name, term)
    } else {
        (term, name)
    };
    if a.is_empty() {
        return 0.0;
    }
    let reach = (b.len() / 2).saturating_sub(1);
    let mut taken = vec![false; b.len()];
    let mut matched = Vec::new();
    for (i, c) in a.iter().enumerate() {
        let (from, to) = (i.saturating_sub(reach), (i + reach + 1).min(b.len()));
        if let Some(at) = (from..to).find(|j| !taken[*j] && b[*j] == *c) {
            taken[at] = true;
            matched.push(*c);
        }
    }
    if matched.is_empty() {
        return 0.0;
    }
    let in_b = b.iter().zip(&taken).filter(|(_, taken)| **taken);
    let swapped = in_b.zip(&matched).filter(|((b, _), a)| b != a).count();
    let count = matched.len() as f64;
    let (per_a, per_b) = (1.0 / a.len() as f64, 1.0 / b.len() as f64);
    let jaro = (count * per_a + count * per_b + (count - swapped as f64 * 0.5) / count) / 3.0;
    let prefix = a.iter().zip(b).take(4).take_while(|(a, b)| a == b).count();
    jaro + prefix as f64 * 0.1 * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(algorithm: Algorithm, threshold: f64, term: &str, name: &str) -> Option<f64> {
        Search::new(&[term.to_owned()], algorithm, threshold, false).score(name)
    }

    #[test]
    fn better_fits_score_higher() {
        let sub = |term: &str, name: &str| score(Algorithm::Subsequence, 0.0, term, name);
        assert_eq!(sub("node", "Node_load1"), Some(1.0));
        assert_eq!(sub("", "x"), Some(1.0));
        let two = ["".to_owned(), "y".to_owned()];
        let search = Search::new(&two, Algorithm::Subsequence, 0.0, true);
        assert_eq!(
            search.score("x"),
            None,
            "an empty term beside another does not count"
        );
        assert_eq!(sub("xyz", "node"), None);
        assert_eq!(sub("longer", "long"), None);
        // One gap of two in front, one character behind: (4 - 2/5 - 1/10) / 4, and inexact.
        assert_eq!(
            sub("cd", "abcde"),
            Some((4.0 - 2.0 * 0.2 - 0.2 * 0.5) / 4.0 * 0.999)
        );
        assert_eq!(
            sub("i", "\u{130}x"),
            Some(1.0),
            "one character, one character"
        );
        assert!(sub("cpu", "node_cpu_total") > sub("cpu", "node_compute_pull_up"));
        assert_eq!(
            score(Algorithm::Subsequence, 0.9, "cpu", "c_p_u_and_more"),
            None
        );
    }

    #[test]
    fn alike_is_found_by_jaro_and_winkler() {
        let alike = |a: &str, b: &str| {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            (jaro_winkler(&chars(a), &chars(b)) * 1e4).round() / 1e4
        };
        assert!((alike("martha", "marhta") - 0.9611).abs() < 1e-9);
        assert!((alike("dixon", "dicksonx") - 0.8133).abs() < 1e-9);
        assert!(alike("abc", "xyz").abs() < 1e-9);
        // Three that changed places count as one and a half: (1 + 1 + 4.5/6) / 3.
        assert!((alike("abcdef", "cabdef") - 0.9167).abs() < 1e-9);
        assert!((alike("dicksonx", "dixon") - 0.8133).abs() < 1e-9);
        assert_eq!(score(Algorithm::JaroWinkler, 0.0, "b", "abc"), Some(0.55));
        assert_eq!(score(Algorithm::JaroWinkler, 0.0, "martha", "marhta"), None);
        assert!(score(Algorithm::JaroWinkler, 0.9, "martha", "marhta").is_some());
    }
}
