//! Regular expressions with Go's syntax and Prometheus' anchoring: a pattern `p` means
//! `^(?s:p)$`.
//!
//! `parse.rs` and `class.rs` read the pattern as Go's `regexp/syntax` does, with its errors;
//! `plan.rs` finds the patterns that need no automaton, or that fixed text can rule out first;
//! `pasted.rs` reads patterns together with the text around them;
//! `expand.rs` holds matches and templates. The automaton is `regex-automata`'s, which runs in
//! time linear in the text, as Go's does.
//!
//! Invariants: a pattern of any shape is parsed without recursion and refused once it nests too
//! deeply, names too many characters or compiles to more than [`MAX_PROGRAM_BYTES`]; whatever
//! `plan.rs` decides is what the automaton would decide.
//! Source: Prometheus 3.14 `model/labels/regexp.go`, with the syntax of Go 1.24 that it uses.

mod class;
mod expand;
mod parse;
mod pasted;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};

pub use expand::Match;
pub use pasted::Pasted;
use plan::Plan;

/// The largest compiled program that a pattern may grow to. A dot takes 265 bytes, so this is
/// enough for a list of addresses as long as a query may be, its dots not escaped.
const MAX_PROGRAM_BYTES: usize = 4 << 20;

/// The longest pattern whose automaton may be made later. A pattern that a plan decides takes at
/// most some hundred bytes of program for each of its own, so that this cannot fail then.
const MAX_DEFERRED_BYTES: usize = 1024;

/// The most alternatives that [`Regex::literal_set`] shows, as in Prometheus.
const MAX_LITERAL_SET: usize = 256;

/// A pattern that cannot be compiled. `Display` gives the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}")]
pub struct RegexError {
    /// What is wrong and where, in Go's words.
    pub reason: String,
}

impl RegexError {
    /// The error `what` at the part `part` of a pattern.
    fn new(what: &str, part: &str) -> Self {
        Self {
            reason: format!("{what}: `{part}`"),
        }
    }

    fn too_large(pattern: &str) -> Self {
        Self::new("expression too large", pattern)
    }
}

/// A compiled, anchored pattern. Cheap to clone.
#[derive(Clone)]
pub struct Regex(Arc<Compiled>);

struct Compiled {
    pattern: String,
    plan: Plan,
    /// Made when it is needed first, where the plan answers all but what the groups are.
    automaton: OnceLock<Option<meta::Regex>>,
    /// The names of the groups; the first is the whole match.
    names: Arc<[Option<String>]>,
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regex({:?})", self.0.pattern)
    }
}

impl Regex {
    /// Compiles `pattern` as `^(?s:pattern)$`.
    ///
    /// # Errors
    /// When the pattern is invalid or its program would be too large.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let parsed = parse::parse(pattern)?;
        let plan = Plan::new(&parsed.hir);
        let automaton = OnceLock::new();
        let has_groups = parsed.names.len() > 1;
        if !plan.is_complete() || (has_groups && pattern.len() > MAX_DEFERRED_BYTES) {
            let made = compile(pattern, parsed.hir)?;
            automaton.get_or_init(|| Some(made));
        }
        Ok(Self(Arc::new(Compiled {
            pattern: pattern.to_owned(),
            plan,
            automaton,
            names: parsed.names.into(),
        })))
    }

    fn automaton(&self) -> Option<&meta::Regex> {
        let make = || {
            let parsed = parse::parse(&self.0.pattern).ok()?;
            compile(&self.0.pattern, parsed.hir).ok()
        };
        self.0.automaton.get_or_init(make).as_ref()
    }

    /// The pattern as written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.plan.decide(text).unwrap_or_else(|| {
            let automaton = self.automaton();
            automaton.is_some_and(|automaton| automaton.is_match(text))
        })
    }

    /// Where the whole of `text` matches, the capture groups; group 0 is the whole.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Match<'t>> {
        if self.0.plan.decide(text) == Some(false) {
            return None;
        }
        let names = Arc::clone(&self.0.names);
        if self.0.plan.is_complete() && names.len() == 1 {
            return Some(Match::whole(text, names));
        }
        let automaton = self.automaton()?;
        let mut found = automaton.create_captures();
        automaton.captures(text, &mut found);
        found
            .is_match()
            .then(|| Match::from_captures(text, &found, names))
    }

    /// All texts that match, where they are few and fixed: `a|b`, `pre(a|b)`. Unsorted, each once.
    #[must_use]
    pub fn literal_set(&self) -> Option<&[String]> {
        let set = self.0.plan.literals()?;
        (set.len() <= MAX_LITERAL_SET).then_some(set)
    }

    /// What every matching text begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.plan.prefix()
    }

    /// What every matching text ends with.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.0.plan.suffix()
    }

    /// What every matching text contains, in this order, between its prefix and its suffix.
    pub fn contained(&self) -> impl Iterator<Item = &str> {
        self.0.plan.contained()
    }
}

/// The automaton for `hir`, anchored at both ends.
fn compile(pattern: &str, hir: Hir) -> Result<meta::Regex, RegexError> {
    let anchored = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    program(pattern, &anchored)
}

/// The automaton that finds `hir` anywhere.
fn program(pattern: &str, hir: &Hir) -> Result<meta::Regex, RegexError> {
    meta::Builder::new()
        .configure(meta::Config::new().nfa_size_limit(Some(MAX_PROGRAM_BYTES)))
        .build_from_hir(hir)
        // Of a tree made here, only the size can be wrong.
        .map_err(|_| RegexError::too_large(pattern))
}
