//! Patterns to syntax trees: Go's grammar, with its errors.
//!
//! Groups are kept on a stack of their own, so that nesting costs no recursion here; how deep the
//! tree may be is Go's limit. Names of groups stay out of the tree, since Go lets several groups
//! have the same one.
//! Source: Go 1.24 `regexp/syntax/parse.go`, with the flags `Perl` and `DotNL`.

use regex_syntax::hir::{
    Capture, Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, HirKind, Look, Repetition,
};

use super::RegexError;
use super::class::{Sets, add_cases, bracketed, consumed, escape, next_char, set};

/// Deepest tree, and most groups open at once.
const MAX_HEIGHT: u32 = 1000;
/// Most copies of a part that counted repetitions, nested ones multiplied, may ask for.
const MAX_REPEAT: u32 = 1000;
/// Most ranges in all classes together; a program of the allowed size holds fewer.
const MAX_RANGES: usize = 200_000;
/// Most parts that merging nested sequences may move.
const MAX_MOVED: usize = 2_000_000;

const BAD_COUNT: &str = "invalid repeat count";

/// The least and greatest number of a repetition, and what follows it.
type Bounds<'p> = (u32, Option<u32>, &'p str);

/// A parsed pattern.
pub(super) struct Parsed {
    pub(super) hir: Hir,
    /// The names of the groups; the first is the whole match, which has none.
    pub(super) names: Vec<Option<String>>,
}

#[derive(Clone, Copy)]
struct Flags {
    /// `i`
    fold: bool,
    /// `m`
    multi_line: bool,
    /// `s`
    dot_newline: bool,
    /// `U`
    lazy: bool,
}

/// What stands in a sequence.
enum Part {
    /// Characters, of which only the last is repeated by an operator behind them.
    Text(String),
    Tree(Tree),
}

/// A part of the tree.
struct Tree {
    hir: Hir,
    /// How deep it is.
    height: u32,
    /// Copies of its innermost part that counted repetitions ask for.
    copies: u32,
}

impl Tree {
    fn leaf(hir: Hir) -> Self {
        Self {
            hir,
            height: 1,
            copies: 1,
        }
    }
}

impl From<Part> for Tree {
    fn from(part: Part) -> Self {
        match part {
            Part::Text(text) => Self::leaf(Hir::literal(text.into_bytes())),
            Part::Tree(tree) => tree,
        }
    }
}

/// An open group; the outermost is the pattern itself.
struct Group {
    /// The flags to go back to after it.
    flags: Flags,
    capture: Option<u32>,
    /// Finished alternatives.
    branches: Vec<Tree>,
    /// The alternative being read.
    sequence: Vec<Part>,
}

struct Parser<'p> {
    pattern: &'p str,
    /// What is still to be read.
    rest: &'p str,
    flags: Flags,
    /// The group being read.
    group: Group,
    /// The groups around it.
    outer: Vec<Group>,
    names: Vec<Option<String>>,
    sets: Sets,
    ranges: usize,
    moved: usize,
}

/// Parses a pattern; the dot matches a newline unless the pattern says otherwise.
pub(super) fn parse(pattern: &str) -> Result<Parsed, RegexError> {
    parse_with(pattern, true)
}

/// As [`parse`], but the dot matches no newline unless the pattern says so.
pub(super) fn parse_lines(pattern: &str) -> Result<Parsed, RegexError> {
    parse_with(pattern, false)
}

fn parse_with(pattern: &str, dot_newline: bool) -> Result<Parsed, RegexError> {
    let flags = Flags {
        fold: false,
        multi_line: false,
        dot_newline,
        lazy: false,
    };
    let mut parser = Parser {
        pattern,
        rest: pattern,
        flags,
        group: Group::new(flags, None),
        outer: Vec::new(),
        names: vec![None],
        sets: Sets::default(),
        ranges: 0,
        moved: 0,
    };
    parser.run()?;
    if !parser.outer.is_empty() {
        return Err(RegexError::new("missing closing )", pattern));
    }
    let whole = parser.finish_group()?;
    Ok(Parsed {
        hir: whole.hir,
        names: parser.names,
    })
}

impl Group {
    fn new(flags: Flags, capture: Option<u32>) -> Self {
        Self {
            flags,
            capture,
            branches: Vec::new(),
            sequence: Vec::new(),
        }
    }
}

impl<'p> Parser<'p> {
    fn run(&mut self) -> Result<(), RegexError> {
        // Where the last part was a repetition: what begins with it.
        let mut last_repeat = None;
        while let Some(first) = self.rest.bytes().next() {
            let before = self.rest;
            let bounds = match first {
                b'*' => Some((0, None, &before[1..])),
                b'+' => Some((1, None, &before[1..])),
                b'?' => Some((0, Some(1), &before[1..])),
                b'{' => self.counted()?,
                _ => None,
            };
            if let Some((min, max, after)) = bounds {
                self.rest = after;
                self.repeat(min, max, first == b'{', before, last_repeat)?;
                last_repeat = Some(before);
            } else {
                self.element(first)?;
                last_repeat = None;
            }
        }
        Ok(())
    }

    /// Anything but a repetition; `first` is its first byte.
    fn element(&mut self, first: u8) -> Result<(), RegexError> {
        let ahead = self.rest.get(1..).unwrap_or("");
        match first {
            b'(' if ahead.starts_with('?') => return self.special_group(),
            b'(' => {
                self.rest = ahead;
                return self.open(None, true);
            }
            b')' => {
                self.rest = ahead;
                return self.close();
            }
            b'|' => {
                let branch = self.finish_sequence()?;
                self.group.branches.push(branch);
            }
            b'^' if self.flags.multi_line => self.push_leaf(Hir::look(Look::StartLF)),
            b'^' => self.push_leaf(Hir::look(Look::Start)),
            b'$' if self.flags.multi_line => self.push_leaf(Hir::look(Look::EndLF)),
            b'$' => self.push_leaf(Hir::look(Look::End)),
            b'.' if self.flags.dot_newline => self.push_leaf(Hir::dot(Dot::AnyChar)),
            b'.' => self.push_leaf(Hir::dot(Dot::AnyCharExceptLF)),
            b'[' => {
                let (class, rest) = bracketed(self.rest, self.sets())?;
                self.rest = rest;
                return self.push_class(class);
            }
            b'\\' => return self.escaped(),
            _ => {
                let (c, rest) = next_char(self.rest);
                self.rest = rest;
                self.push_char(u32::from(c));
                return Ok(());
            }
        }
        self.rest = ahead;
        Ok(())
    }

    fn push_leaf(&mut self, hir: Hir) {
        self.group.sequence.push(Part::Tree(Tree::leaf(hir)));
    }

    /// How sets are read here.
    fn sets(&mut self) -> &mut Sets {
        self.sets.fold = self.flags.fold;
        &mut self.sets
    }

    fn push_class(&mut self, class: ClassUnicode) -> Result<(), RegexError> {
        self.ranges += class.ranges().len();
        if self.ranges > MAX_RANGES || self.sets.exhausted() {
            return Err(RegexError::too_large(self.pattern));
        }
        self.push_leaf(Hir::class(Class::Unicode(class)));
        Ok(())
    }

    fn push_char(&mut self, code: u32) {
        let Some(c) = char::from_u32(code) else {
            // A surrogate, which no text contains.
            return self.push_leaf(Hir::fail());
        };
        if self.flags.fold {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            add_cases(&mut class);
            if class.ranges().len() > 1 {
                return self.push_leaf(Hir::class(Class::Unicode(class)));
            }
        }
        if let Some(Part::Text(text)) = self.group.sequence.last_mut() {
            text.push(c);
        } else {
            self.group.sequence.push(Part::Text(c.to_string()));
        }
    }

    fn escaped(&mut self) -> Result<(), RegexError> {
        let letter = self.rest.as_bytes().get(1).copied().unwrap_or(0);
        let look = match letter {
            b'A' => Some(Look::Start),
            b'z' => Some(Look::End),
            b'b' => Some(Look::WordAscii),
            b'B' => Some(Look::WordAsciiNegate),
            b'Q' => {
                let body = &self.rest[2..];
                let (literal, rest) = body.split_once("\\E").unwrap_or((body, ""));
                self.rest = rest;
                literal.chars().for_each(|c| self.push_char(u32::from(c)));
                return Ok(());
            }
            _ => None,
        };
        if let Some(look) = look {
            self.rest = &self.rest[2..];
            self.push_leaf(Hir::look(look));
            return Ok(());
        }
        if let Some((class, rest)) = set(self.rest, false, self.sets())? {
            self.rest = rest;
            return self.push_class(class);
        }
        let (code, rest) = escape(self.rest)?;
        self.rest = rest;
        self.push_char(code);
        Ok(())
    }

    /// What begins with `(?`: a named group, a group without number, or a change of flags.
    fn special_group(&mut self) -> Result<(), RegexError> {
        let text = self.rest;
        let named = (text.strip_prefix("(?P<").filter(|name| !name.is_empty()))
            .or_else(|| text.strip_prefix("(?<").filter(|name| !name.is_empty()));
        if let Some(body) = named {
            const BAD_NAME: &str = "invalid named capture";
            let Some((name, rest)) = body.split_once('>') else {
                return Err(RegexError::new(BAD_NAME, text));
            };
            let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || !name.bytes().all(valid) {
                return Err(RegexError::new(BAD_NAME, consumed(text, rest)));
            }
            self.rest = rest;
            return self.open(Some(name.to_owned()), true);
        }
        self.flag_group(text)
    }

    /// `(?i)`, `(?i-s:`, `(?:`
    fn flag_group(&mut self, text: &str) -> Result<(), RegexError> {
        let mut flags = self.flags;
        let mut rest = &self.rest[2..];
        let mut value = true;
        // A sign needs a flag behind it.
        let mut complete = true;
        while !rest.is_empty() {
            let (c, after) = next_char(rest);
            rest = after;
            match c {
                'i' => flags.fold = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_newline = value,
                'U' => flags.lazy = value,
                '-' if value => {
                    value = false;
                    complete = false;
                    continue;
                }
                ')' | ':' if complete => {
                    self.rest = rest;
                    if c == ':' {
                        self.open(None, false)?;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            complete = true;
        }
        let what = "invalid or unsupported Perl syntax";
        Err(RegexError::new(what, consumed(text, rest)))
    }

    fn open(&mut self, name: Option<String>, captures: bool) -> Result<(), RegexError> {
        let mut capture = None;
        if captures {
            capture = u32::try_from(self.names.len()).ok();
            self.names.push(name);
        }
        let group = Group::new(self.flags, capture);
        self.outer.push(std::mem::replace(&mut self.group, group));
        if self.outer.len() > MAX_HEIGHT as usize {
            return Err(self.too_deep());
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), RegexError> {
        let inside = self.finish_group()?;
        let Some(outer) = self.outer.pop() else {
            return Err(RegexError::new("unexpected )", self.pattern));
        };
        let closed = std::mem::replace(&mut self.group, outer);
        self.flags = closed.flags;
        let Some(index) = closed.capture else {
            self.group.sequence.push(Part::Tree(inside));
            return Ok(());
        };
        let capture = Hir::capture(Capture {
            index,
            name: None,
            sub: Box::new(inside.hir),
        });
        let group = self.composite(capture, inside.height, inside.copies)?;
        self.group.sequence.push(Part::Tree(group));
        Ok(())
    }

    fn too_deep(&self) -> RegexError {
        RegexError::new("expression nests too deeply", self.pattern)
    }

    /// A part above others, the highest of which has `height`.
    fn composite(&self, hir: Hir, height: u32, copies: u32) -> Result<Tree, RegexError> {
        if height >= MAX_HEIGHT {
            return Err(self.too_deep());
        }
        Ok(Tree {
            hir,
            height: height + 1,
            copies,
        })
    }

    /// The alternatives of the group being read, as one part.
    fn finish_group(&mut self) -> Result<Tree, RegexError> {
        let last = self.finish_sequence()?;
        let mut branches = std::mem::take(&mut self.group.branches);
        if branches.is_empty() {
            return Ok(last);
        }
        branches.push(last);
        let nested = |hir: &Hir| matches!(hir.kind(), HirKind::Alternation(_));
        self.join(branches, Hir::alternation, nested)
    }

    /// The alternative being read, as one part.
    fn finish_sequence(&mut self) -> Result<Tree, RegexError> {
        let mut parts = std::mem::take(&mut self.group.sequence);
        if parts.len() > 1 {
            let nested = |hir: &Hir| matches!(hir.kind(), HirKind::Concat(_));
            let parts = parts.into_iter().map(Tree::from).collect();
            return self.join(parts, Hir::concat, nested);
        }
        Ok(parts
            .pop()
            .map_or_else(|| Tree::leaf(Hir::empty()), Tree::from))
    }

    /// Makes one part of several. Those that are `nested` sequences (or alternations) themselves
    /// dissolve into the new one, so they add no height.
    fn join(
        &mut self,
        parts: Vec<Tree>,
        make: fn(Vec<Hir>) -> Hir,
        nested: fn(&Hir) -> bool,
    ) -> Result<Tree, RegexError> {
        let heights = parts
            .iter()
            .map(|part| part.height - u32::from(nested(&part.hir)));
        let height = heights.max().unwrap_or(0);
        let copies = parts.iter().map(|part| part.copies).max().unwrap_or(1);
        let moved = parts.iter().map(|part| match part.hir.kind() {
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.len(),
            HirKind::Literal(literal) => 1 + literal.0.len() / 16,
            _ => 1,
        });
        self.moved += moved.sum::<usize>();
        if self.moved > MAX_MOVED {
            return Err(RegexError::too_large(self.pattern));
        }
        let hir = make(parts.into_iter().map(|part| part.hir).collect());
        self.composite(hir, height, copies)
    }

    /// `{2}`, `{2,}` or `{2,3}` with what follows; nothing where the brace is a plain character.
    fn counted(&self) -> Result<Option<Bounds<'p>>, RegexError> {
        let read = || {
            let (min, rest) = count(self.rest.strip_prefix('{')?)?;
            let (max, rest) = match rest.strip_prefix(',') {
                None => (Some(min), rest),
                Some(rest) if rest.starts_with('}') => (None, rest),
                Some(rest) => count(rest).map(|(max, rest)| (Some(max), rest))?,
            };
            Some((min, max, rest.strip_prefix('}')?))
        };
        let Some((min, max, rest)) = read() else {
            return Ok(None);
        };
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(RegexError::new(BAD_COUNT, consumed(self.rest, rest)));
        }
        Ok(Some((min, max, rest)))
    }

    /// Repeats the last part. `before` begins with the operator, `last_repeat` with the operator
    /// just before it.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        counted: bool,
        before: &str,
        last_repeat: Option<&str>,
    ) -> Result<(), RegexError> {
        let mut greedy = !self.flags.lazy;
        if let Some(after) = self.rest.strip_prefix('?') {
            self.rest = after;
            greedy = !greedy;
        }
        if let Some(last) = last_repeat {
            let what = "invalid nested repetition operator";
            return Err(RegexError::new(what, consumed(last, self.rest)));
        }
        let operator = consumed(before, self.rest);
        let Some(item) = self.last_part() else {
            let what = "missing argument to repetition operator";
            return Err(RegexError::new(what, operator));
        };
        let mut copies = item.copies;
        if counted {
            copies = match max {
                Some(0) => 1,
                _ => copies * max.unwrap_or(min).max(1),
            };
        }
        let hir = Hir::repetition(Repetition {
            min,
            max,
            greedy,
            sub: Box::new(item.hir),
        });
        let repeated = self.composite(hir, item.height, copies)?;
        if copies > MAX_REPEAT {
            return Err(RegexError::new(BAD_COUNT, operator));
        }
        self.group.sequence.push(Part::Tree(repeated));
        Ok(())
    }

    /// Takes what an operator repeats: the last character, or the last part.
    fn last_part(&mut self) -> Option<Tree> {
        let mut last = self.group.sequence.pop()?;
        if let Part::Text(text) = &mut last {
            let c = text.pop()?;
            if !text.is_empty() {
                self.group.sequence.push(last);
            }
            last = Part::Text(c.to_string());
        }
        Some(last.into())
    }
}

/// A decimal number without leading zeros; one too large for any use counts as the largest.
fn count(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}
