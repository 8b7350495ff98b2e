//! Sets of characters: `[a-z]`, `\d`, `[:alpha:]`, `\pL`, `\p{Greek}`; and the escapes that stand
//! for one character inside and outside of brackets.
//!
//! Every function takes the pattern from where its construct begins and returns what follows it.
//! Characters are `u32`, since Go also takes surrogates, which no text contains.
//! Source: Go 1.24 `regexp/syntax`; `\d`, `\s` and `\w` are ASCII there.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use super::RegexError;

pub(super) const BAD_RANGE: &str = "invalid character class range";
const BAD_ESCAPE: &str = "invalid escape sequence";

/// The first and last character that has another case.
const FIRST_CASED: u32 = 0x41;
const LAST_CASED: u32 = 0x1_e943;

/// The scripts of Unicode 15, by the names that Go knows.
const SCRIPTS: &str = "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum \
    Bassa_Vah Batak Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal \
    Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot \
    Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs \
    Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi \
    Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited \
    Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li \
    Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A \
    Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen \
    Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs \
    Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa \
    Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian \
    Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage \
    Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic \
    Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo \
    Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa \
    Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho \
    Warang_Citi Yezidi Yi Zanabazar_Square";

/// The general categories, by the names that Go knows.
const CATEGORIES: &str = "C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf \
    Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";

/// The ranges of a perl or POSIX class.
type Ranges = &'static [(char, char)];

/// Most characters that one pattern's sets may have looked up one by one.
const MAX_LOOKUPS: usize = 2_000_000;
/// What finding a category or script counts for.
const CLASS_LOOKUPS: usize = 2_000;

/// How the sets of a pattern are read, and how much they have cost.
#[derive(Default)]
pub(super) struct Sets {
    /// Whether every character stands for its other cases too.
    pub(super) fold: bool,
    lookups: usize,
    /// Whether no `:]` is left, so that nobody looks for it again and again.
    no_posix_end: bool,
}

impl Sets {
    /// Whether the pattern has asked for too much; its sets are no longer right then.
    pub(super) fn exhausted(&self) -> bool {
        self.lookups > MAX_LOOKUPS
    }
}

/// What a construct stands for, and what follows it.
type Read<'p, T> = Result<(T, &'p str), RegexError>;

/// The first character; U+FFFD at the end of the text, as Go has it.
pub(super) fn next_char(text: &str) -> (char, &str) {
    let mut chars = text.chars();
    match chars.next() {
        Some(c) => (c, chars.as_str()),
        None => (char::REPLACEMENT_CHARACTER, text),
    }
}

/// The part of `text` before `rest`, which is its end.
pub(super) fn consumed<'p>(text: &'p str, rest: &str) -> &'p str {
    &text[..text.len() - rest.len()]
}

/// A bracket expression.
pub(super) fn bracketed<'p>(text: &'p str, sets: &mut Sets) -> Read<'p, ClassUnicode> {
    let mut rest = &text[1..];
    let negated = rest.starts_with('^');
    if negated {
        rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some((class, after)) = set(rest, true, sets)? {
            ranges.extend_from_slice(class.ranges());
            rest = after;
            continue;
        }
        let start = rest;
        let (low, after) = member(rest, text)?;
        let mut high = low;
        rest = after;
        if rest.len() >= 2 && rest.starts_with('-') && !rest[1..].starts_with(']') {
            (high, rest) = member(&rest[1..], text)?;
            if high < low {
                return Err(RegexError::new(BAD_RANGE, consumed(start, rest)));
            }
        }
        ranges.extend(range(low, high));
    }
    let class = ClassUnicode::new(ranges);
    Ok((finish(class, negated, sets), &rest[1..]))
}

/// A set within or without brackets: `[:alpha:]` (`in_brackets` only), `\pL`, `\d`.
pub(super) fn set<'p>(
    text: &'p str,
    in_brackets: bool,
    sets: &mut Sets,
) -> Result<Option<(ClassUnicode, &'p str)>, RegexError> {
    if in_brackets && !sets.no_posix_end && text.len() > 2 && text.starts_with("[:") {
        let Some(end) = text[2..].find(":]") else {
            sets.no_posix_end = true;
            return Ok(None);
        };
        let (name, rest) = text.split_at(end + 4);
        let (ranges, negated) =
            posix(&name[2..name.len() - 2]).ok_or_else(|| RegexError::new(BAD_RANGE, name))?;
        return Ok(Some((finish(ascii(ranges), negated, sets), rest)));
    }
    let Some(escape) = text.strip_prefix('\\') else {
        return Ok(None);
    };
    let (letter, rest) = next_char(escape);
    if let 'p' | 'P' = letter {
        let (class, rest) = unicode(text, rest, letter == 'P', sets)?;
        return Ok(Some((class, rest)));
    }
    let ranges: Ranges = match letter {
        'd' | 'D' => &[('0', '9')],
        's' | 'S' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        'w' | 'W' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return Ok(None),
    };
    let negated = letter.is_ascii_uppercase();
    Ok(Some((finish(ascii(ranges), negated, sets), rest)))
}

/// The POSIX class called `name`, and whether the name began with `^`.
fn posix(name: &str) -> Option<(Ranges, bool)> {
    let (plain, negated) = match name.strip_prefix('^') {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let ranges: Ranges = match plain {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some((ranges, negated))
}

/// `\pN`, `\p{Greek}`, `\p{^Greek}`; `rest` is what follows `\p`.
fn unicode<'p>(
    text: &'p str,
    rest: &'p str,
    mut negated: bool,
    sets: &mut Sets,
) -> Read<'p, ClassUnicode> {
    let (letter, after) = next_char(rest);
    let (mut name, rest) = if letter == '{' {
        let bad = || RegexError::new(BAD_RANGE, text);
        after.split_once('}').ok_or_else(bad)?
    } else {
        (consumed(rest, after), after)
    };
    if let Some(plain) = name.strip_prefix('^') {
        negated = !negated;
        name = plain;
    }
    sets.lookups += CLASS_LOOKUPS;
    if sets.exhausted() {
        return Ok((ClassUnicode::empty(), rest));
    }
    let names = CATEGORIES.split(' ').chain(SCRIPTS.split(' '));
    if name != "Any" && !names.into_iter().any(|known| known == name) {
        return Err(RegexError::new(BAD_RANGE, consumed(text, rest)));
    }
    let class = known_class(name);
    Ok((finish(class, negated, sets), rest))
}

/// The class of a category or script that exists.
pub(super) fn known_class(name: &str) -> ClassUnicode {
    let query = match name {
        // Surrogates, which no text contains.
        "Cs" => return ClassUnicode::empty(),
        "LC" => "Cased_Letter",
        other => other,
    };
    let hir = regex_syntax::parse(&format!("\\p{{{query}}}"));
    match hir.map(regex_syntax::hir::Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        _ => ClassUnicode::empty(),
    }
}

fn ascii(ranges: Ranges) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(a, b)| ClassUnicodeRange::new(a, b)))
}

/// The characters from `low` to `high`, if there are any besides surrogates.
fn range(low: u32, high: u32) -> Option<ClassUnicodeRange> {
    let surrogates = 0xd800..=0xdfff;
    let low = if surrogates.contains(&low) {
        0xe000
    } else {
        low
    };
    let high = if surrogates.contains(&high) {
        0xd7ff
    } else {
        high
    };
    let (low, high) = (char::from_u32(low)?, char::from_u32(high)?);
    (low <= high).then(|| ClassUnicodeRange::new(low, high))
}

/// Folds, then negates.
fn finish(mut class: ClassUnicode, negated: bool, sets: &mut Sets) -> ClassUnicode {
    if sets.fold && !sets.exhausted() {
        sets.lookups += add_cases(&mut class);
    }
    if negated {
        class.negate();
    }
    class
}

/// Adds the other cases of every character; returns how many had to be looked at.
pub(super) fn add_cases(class: &mut ClassUnicode) -> usize {
    let cased = |r: &ClassUnicodeRange| {
        let low = u32::from(r.start()).max(FIRST_CASED);
        let high = u32::from(r.end()).min(LAST_CASED);
        (low <= high).then_some((low, high))
    };
    let parts: Vec<(u32, u32)> = class.iter().filter_map(cased).collect();
    if parts == [(FIRST_CASED, LAST_CASED)] {
        return 0;
    }
    let mut other = ClassUnicode::new(parts.iter().filter_map(|&(low, high)| range(low, high)));
    other.case_fold_simple();
    class.union(&other);
    parts
        .iter()
        .map(|(low, high)| (high - low) as usize + 1)
        .sum()
}

/// One character of a bracket expression, `whole` being all of that.
fn member<'p>(text: &'p str, whole: &str) -> Read<'p, u32> {
    if text.is_empty() {
        return Err(RegexError::new("missing closing ]", whole));
    }
    if text.starts_with('\\') {
        return escape(text);
    }
    let (c, rest) = next_char(text);
    Ok((u32::from(c), rest))
}

/// An escape that stands for one character.
pub(super) fn escape(text: &str) -> Read<'_, u32> {
    let body = &text[1..];
    if body.is_empty() {
        let what = "trailing backslash at end of expression";
        return Err(RegexError::new(what, ""));
    }
    let (c, rest) = next_char(body);
    let is_octal = |text: &str| text.starts_with(|c: char| ('0'..='7').contains(&c));
    let value = match c {
        // A single digit other than 0 would be a reference to a group, which Go has not.
        '0' => return Ok(octal(body)),
        '1'..='7' if is_octal(rest) => return Ok(octal(body)),
        'x' => {
            return hexadecimal(rest)
                .map_err(|rest| RegexError::new(BAD_ESCAPE, consumed(text, rest)));
        }
        'a' => 7,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(RegexError::new(BAD_ESCAPE, consumed(text, rest))),
    };
    Ok((value, rest))
}

/// Up to three octal digits.
fn octal(text: &str) -> (u32, &str) {
    let digits = text
        .bytes()
        .take(3)
        .take_while(|b| (b'0'..=b'7').contains(b));
    let (value, count) = digits.fold((0, 0), |(value, count), b| {
        (value * 8 + u32::from(b - b'0'), count + 1)
    });
    (value, &text[count..])
}

/// `41` or `{10FFFF}`, after `\x`. The error is what follows the first wrong character.
fn hexadecimal(text: &str) -> Result<(u32, &str), &str> {
    if text.is_empty() {
        return Err(text);
    }
    let (first, mut rest) = next_char(text);
    if first != '{' {
        let (second, rest) = next_char(rest);
        let digits = first.to_digit(16).zip(second.to_digit(16));
        return digits.map(|(a, b)| (a * 16 + b, rest)).ok_or(rest);
    }
    let mut value: Option<u32> = None;
    loop {
        if rest.is_empty() {
            return Err(rest);
        }
        let (c, after) = next_char(rest);
        rest = after;
        if c == '}' {
            return value.map(|value| (value, rest)).ok_or(rest);
        }
        let digit = c.to_digit(16).ok_or(rest)?;
        let next = value.unwrap_or(0) * 16 + digit;
        if next > u32::from(char::MAX) {
            return Err(rest);
        }
        value = Some(next);
    }
}
