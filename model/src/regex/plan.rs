//! Deciding without the automaton: patterns that are a few fixed texts (`a|b`), fixed texts with
//! anything between them (`a.*b`, `.+`), and fixed text that a match must have.
//!
//! Invariant: what a plan decides, the automaton would decide likewise. Recursion is bounded by
//! the height of the tree, see `parse.rs`.
//! Source of the idea: Prometheus `model/labels/regexp.go`.

use std::collections::HashSet;

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Most texts that combining alternatives may make: `(a|b)(c|d)` makes four.
const MAX_COMBINED: usize = 256;
/// Most bytes that all fixed texts may have together.
const MAX_BYTES: usize = 1 << 20;
/// From this many texts on, hashing beats comparing.
const MIN_HASHED: usize = 8;

/// How a pattern is decided.
pub(super) enum Plan {
    /// Exactly these texts match.
    Literals {
        list: Vec<String>,
        /// The same texts, where they are many.
        hashed: HashSet<String>,
    },
    /// Exactly the texts of this form match.
    Gaps(Pieces),
    /// Only texts of this form can match; whether they do, the automaton must tell.
    Automaton(Pieces),
}

/// Fixed texts with gaps between them.
#[derive(Default)]
pub(super) struct Pieces {
    prefix: String,
    /// Texts in between, each with the characters that must at least stand before it.
    inner: Vec<(usize, String)>,
    /// Characters that must at least stand before the suffix.
    last_gap: usize,
    suffix: String,
}

impl Plan {
    pub(super) fn new(hir: &Hir) -> Self {
        if let Some(list) = literals(hir, true, true) {
            let mut hashed: HashSet<String> = HashSet::new();
            let list: Vec<String> = list
                .into_iter()
                .filter(|text| hashed.insert(text.clone()))
                .collect();
            if list.len() < MIN_HASHED {
                hashed = HashSet::new();
            }
            return Self::Literals { list, hashed };
        }
        let mut reader = PieceReader::default();
        reader.read(hir);
        // Without a gap it is one text, too long for a list, and the form allows more after it.
        let complete = reader.complete && reader.gap.is_some();
        let pieces = reader.finish();
        if complete {
            Self::Gaps(pieces)
        } else {
            Self::Automaton(pieces)
        }
    }

    /// Whether `text` matches, if that can be told here.
    pub(super) fn decide(&self, text: &str) -> Option<bool> {
        match self {
            Self::Literals { list, hashed } if hashed.is_empty() => {
                Some(list.iter().any(|literal| literal == text))
            }
            Self::Literals { hashed, .. } => Some(hashed.contains(text)),
            Self::Gaps(pieces) => Some(pieces.fit(text)),
            Self::Automaton(pieces) if pieces.fit(text) => None,
            Self::Automaton(_) => Some(false),
        }
    }

    /// Whether the automaton is never asked.
    pub(super) fn is_complete(&self) -> bool {
        !matches!(self, Self::Automaton(_))
    }

    pub(super) fn literals(&self) -> Option<&[String]> {
        match self {
            Self::Literals { list, .. } => Some(list),
            Self::Gaps(_) | Self::Automaton(_) => None,
        }
    }

    fn pieces(&self) -> Option<&Pieces> {
        match self {
            Self::Literals { .. } => None,
            Self::Gaps(pieces) | Self::Automaton(pieces) => Some(pieces),
        }
    }

    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::Literals { list, .. } if list.len() == 1 => &list[0],
            _ => self.pieces().map_or("", |pieces| &pieces.prefix),
        }
    }

    pub(super) fn suffix(&self) -> &str {
        match self {
            Self::Literals { list, .. } if list.len() == 1 => &list[0],
            _ => self.pieces().map_or("", |pieces| &pieces.suffix),
        }
    }

    pub(super) fn contained(&self) -> impl Iterator<Item = &str> {
        let inner = self.pieces().map_or(&[][..], |pieces| &pieces.inner);
        inner.iter().map(|(_, text)| text.as_str())
    }
}

impl Pieces {
    /// Whether the pieces stand in `text` in order, with their gaps. Taking each at its first
    /// place is right, since that leaves the most room for those behind it.
    fn fit(&self, text: &str) -> bool {
        let fits = || {
            let mut rest = text.strip_prefix(self.prefix.as_str())?;
            for (gap, piece) in &self.inner {
                rest = skip(rest, *gap)?;
                let at = rest.find(piece.as_str())?;
                rest = &rest[at + piece.len()..];
            }
            skip(rest, self.last_gap)?.strip_suffix(self.suffix.as_str())
        };
        fits().is_some()
    }
}

/// `text` without its first `count` characters, if it has so many.
fn skip(text: &str, count: usize) -> Option<&str> {
    match count {
        0 => Some(text),
        _ => text
            .char_indices()
            .nth(count - 1)
            .map(|(at, c)| &text[at + c.len_utf8()..]),
    }
}

/// All texts that match `hir`, if they are few. `at_start` and `at_end` tell whether it touches the
/// ends of the whole text, where `^` and `$` hold.
fn literals(hir: &Hir, at_start: bool, at_end: bool) -> Option<Vec<String>> {
    let found = match hir.kind() {
        HirKind::Empty => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8(literal.0.to_vec()).ok()?],
        HirKind::Look(Look::Start) if at_start => vec![String::new()],
        HirKind::Look(Look::End) if at_end => vec![String::new()],
        HirKind::Look(_) => return None,
        HirKind::Class(Class::Unicode(class)) => {
            let mut chars = Vec::new();
            for range in class.iter() {
                if range.len() + chars.len() > MAX_COMBINED {
                    return None;
                }
                chars.extend((range.start()..=range.end()).map(String::from));
            }
            chars
        }
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Capture(capture) => return literals(&capture.sub, at_start, at_end),
        HirKind::Repetition(repetition) => {
            if (repetition.min, repetition.max) != (0, Some(1)) {
                return None;
            }
            let mut found = literals(&repetition.sub, at_start, at_end)?;
            found.push(String::new());
            found
        }
        HirKind::Concat(parts) => return sequence(parts, at_start, at_end),
        HirKind::Alternation(branches) => {
            let mut found = Vec::new();
            for branch in branches {
                found.extend(literals(branch, at_start, at_end)?);
            }
            found
        }
    };
    let bytes: usize = found.iter().map(String::len).sum();
    (bytes <= MAX_BYTES).then_some(found)
}

/// All texts that match `parts` one after the other.
fn sequence(parts: &[Hir], at_start: bool, at_end: bool) -> Option<Vec<String>> {
    let is_empty = |hir: &Hir| hir.properties().maximum_len() == Some(0);
    // An end of the text is touched through parts that can only be empty.
    let first = parts
        .iter()
        .position(|part| !is_empty(part))
        .unwrap_or(parts.len());
    let last = parts.iter().rposition(|part| !is_empty(part)).unwrap_or(0);
    let mut found = vec![String::new()];
    for (i, part) in parts.iter().enumerate() {
        let tails = literals(part, at_start && i <= first, at_end && i >= last)?;
        let count = found.len() * tails.len();
        if found.len() > 1 && tails.len() > 1 && count > MAX_COMBINED {
            return None;
        }
        let heads: usize = found.iter().map(String::len).sum();
        let added: usize = tails.iter().map(String::len).sum();
        if heads * tails.len() + added * found.len() > MAX_BYTES {
            return None;
        }
        let combine = |head: &String| -> Vec<String> {
            tails.iter().map(|tail| format!("{head}{tail}")).collect()
        };
        found = found.iter().flat_map(combine).collect();
    }
    Some(found)
}

/// Reads pieces off a tree, from left to right.
struct PieceReader {
    pieces: Pieces,
    /// Fixed text since the last gap.
    text: String,
    /// The least size of the gap before `text`; none if `text` is the prefix.
    gap: Option<usize>,
    /// Whether the pieces say all that the tree does.
    complete: bool,
}

impl Default for PieceReader {
    fn default() -> Self {
        Self {
            pieces: Pieces::default(),
            text: String::new(),
            gap: None,
            complete: true,
        }
    }
}

impl PieceReader {
    fn read(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.text.push_str(text),
                Err(_) => self.unknown(),
            },
            HirKind::Capture(capture) => self.read(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.read(part)),
            HirKind::Repetition(repetition)
                if repetition.max.is_none()
                    && repetition.min <= 1
                    && is_any_char(&repetition.sub) =>
            {
                self.start_gap(repetition.min as usize);
            }
            // A condition on a place between characters: it takes no text.
            HirKind::Look(_) => self.complete = false,
            HirKind::Class(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => self.unknown(),
        }
    }

    /// Something that takes any amount of text.
    fn unknown(&mut self) {
        self.complete = false;
        self.start_gap(0);
    }

    fn start_gap(&mut self, least: usize) {
        let text = std::mem::take(&mut self.text);
        match self.gap {
            None => {
                self.pieces.prefix = text;
                self.gap = Some(least);
            }
            Some(gap) if text.is_empty() => self.gap = Some(gap + least),
            Some(gap) => {
                self.pieces.inner.push((gap, text));
                self.gap = Some(least);
            }
        }
    }

    fn finish(mut self) -> Pieces {
        // Without any gap, all is prefix, with conditions that only the automaton can check.
        if self.gap.is_none() {
            self.start_gap(0);
        }
        self.pieces.last_gap = self.gap.unwrap_or(0);
        self.pieces.suffix = self.text;
        self.pieces
    }
}

/// Whether `hir` is one character, whichever.
fn is_any_char(hir: &Hir) -> bool {
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else {
        return false;
    };
    matches!(class.ranges(), [range] if range.start() == '\0' && range.end() == char::MAX)
}
