//! Go's accept and reject sets with its texts, what patterns match, the fast paths against the
//! automaton, and the bounds.

use proptest::prelude::*;

use super::*;

fn error(pattern: &str) -> String {
    match Regex::new(pattern) {
        Ok(_) => panic!("{pattern:?} was accepted"),
        Err(e) => e.to_string(),
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|e| panic!("{pattern:?}: {e}"))
}

/// What the automaton alone says.
fn automaton(pattern: &str) -> meta::Regex {
    compile(pattern, parse::parse(pattern).unwrap().hir).unwrap()
}

#[test]
fn rejects_what_go_rejects_in_its_words() {
    let table = [
        ("(", "missing closing ): `(`"),
        ("a(b|c", "missing closing ): `a(b|c`"),
        ("(?:a", "missing closing ): `(?:a`"),
        ("a)", "unexpected ): `a)`"),
        ("a|b|)c", "unexpected ): `a|b|)c`"),
        ("(a))b(", "unexpected ): `(a))b(`"),
        ("x[a", "missing closing ]: `[a`"),
        ("[]a", "missing closing ]: `[]a`"),
        ("[", "missing closing ]: `[`"),
        ("[a-", "missing closing ]: `[a-`"),
        ("x[z-a]y", "invalid character class range: `z-a`"),
        (
            "[a\\x7f-\\x10]",
            "invalid character class range: `\\x7f-\\x10`",
        ),
        ("[a--b]", "invalid character class range: `a--`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (
            "\\p{IsGreek}",
            "invalid character class range: `\\p{IsGreek}`",
        ),
        ("\\p{greek}", "invalid character class range: `\\p{greek}`"),
        (
            "\\p{Letter}",
            "invalid character class range: `\\p{Letter}`",
        ),
        (
            "\\p{Script=Greek}",
            "invalid character class range: `\\p{Script=Greek}`",
        ),
        ("\\pX1", "invalid character class range: `\\pX`"),
        ("\\p", "invalid character class range: `\\p`"),
        ("\\p{}", "invalid character class range: `\\p{}`"),
        ("[\\p{Gree]", "invalid character class range: `\\p{Gree]`"),
        ("\\", "trailing backslash at end of expression: ``"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("[a\\", "trailing backslash at end of expression: ``"),
        ("\\q", "invalid escape sequence: `\\q`"),
        ("\\1", "invalid escape sequence: `\\1`"),
        ("\\8", "invalid escape sequence: `\\8`"),
        ("\\C", "invalid escape sequence: `\\C`"),
        ("\\Z", "invalid escape sequence: `\\Z`"),
        ("\\u0041", "invalid escape sequence: `\\u`"),
        ("\\\u{e9}", "invalid escape sequence: `\\\u{e9}`"),
        ("\\x", "invalid escape sequence: `\\x`"),
        ("\\x4", "invalid escape sequence: `\\x4`"),
        ("\\xg1", "invalid escape sequence: `\\xg1`"),
        ("\\x{}", "invalid escape sequence: `\\x{}`"),
        ("\\x{4g}", "invalid escape sequence: `\\x{4g`"),
        ("\\x{110000}", "invalid escape sequence: `\\x{110000`"),
        ("\\x{41", "invalid escape sequence: `\\x{41`"),
        ("[\\b]", "invalid escape sequence: `\\b`"),
        ("[a-\\d]", "invalid escape sequence: `\\d`"),
        ("[\\Qa\\E]", "invalid escape sequence: `\\Q`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|*", "missing argument to repetition operator: `*`"),
        ("(+a)", "missing argument to repetition operator: `+`"),
        ("(?i)??b", "missing argument to repetition operator: `??`"),
        ("{2}", "missing argument to repetition operator: `{2}`"),
        ("\\Q\\E*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a+?*b", "invalid nested repetition operator: `+?*`"),
        ("a??+?", "invalid nested repetition operator: `??+?`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("x{1001}", "invalid repeat count: `{1001}`"),
        ("x{2,1001}y", "invalid repeat count: `{2,1001}`"),
        ("x{3,2}", "invalid repeat count: `{3,2}`"),
        ("x{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(x{100}){11}", "invalid repeat count: `{11}`"),
        ("((x{2,}y?){10}|z){51}?", "invalid repeat count: `{51}?`"),
        ("(?z)", "invalid or unsupported Perl syntax: `(?z`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?<", "invalid or unsupported Perl syntax: `(?<`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?-i-s)", "invalid or unsupported Perl syntax: `(?-i-`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("a(?", "invalid or unsupported Perl syntax: `(?`"),
        ("(?<=a)", "invalid named capture: `(?<=a)`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("x(?P<>a)", "invalid named capture: `(?P<>`"),
        ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
        ("(?<\u{e9}>c)", "invalid named capture: `(?<\u{e9}>`"),
    ];
    for (pattern, reason) in table {
        let expected = format!("error parsing regexp: {reason}");
        assert_eq!(error(pattern), expected, "{pattern}");
    }
}

/// Patterns with texts that match and texts that do not.
const MATCHES: &[(&str, &[&str], &[&str])] = &[
    ("", &[""], &["a"]),
    ("a", &["a"], &["", "aa", "ba", "A"]),
    ("a|b", &["a", "b"], &["ab", ""]),
    ("a|", &["a", ""], &["|"]),
    ("^a$", &["a"], &["aa"]),
    ("^a|b$", &["a", "b"], &["ab"]),
    ("a^b", &[], &["ab", "a^b"]),
    ("(?m)a\n^b$", &["a\nb"], &["ab"]),
    ("(?m:^)*a", &["a"], &["\na"]),
    (".", &["x", "\n", "\u{1F600}"], &["", "xy"]),
    ("(?-s).", &["x"], &["\n"]),
    ("(?-s)a(?s).", &["ax", "a\n"], &["\n"]),
    ("(?-s:.).", &["x\n"], &["\nx"]),
    (".*", &["", "x\ny"], &[]),
    (".+", &["x", "\n"], &[""]),
    ("a.*b", &["ab", "a\nb"], &["a", "abc"]),
    ("a.+a", &["aba"], &["aa", "a"]),
    (".*a.+b.*", &["xacb", "a\u{e9}b"], &["ab", "ba"]),
    ("\\d+", &["12"], &["", "\u{0663}"]),
    ("\\D", &["\u{0663}", "x"], &["1"]),
    ("\\w+", &["a_9"], &["\u{e9}", "-"]),
    ("\\s", &[" ", "\t", "\n", "\r", "\x0c"], &["\x0b", "\u{a0}"]),
    ("[[:space:]]", &["\x0b"], &["\u{a0}"]),
    ("[[:^alpha:][:digit:]]", &["1", "-"], &["a"]),
    ("[^[:^alpha:]]", &["a"], &["1"]),
    ("a\\b-", &["a-"], &["ab"]),
    ("\u{e9}\\b-", &[], &["\u{e9}-"]),
    ("a\\B.", &["ab"], &["a-"]),
    ("\\Aa\\z", &["a"], &["b"]),
    ("a{", &["a{"], &["a"]),
    ("{foo}", &["{foo}"], &[]),
    ("a{,5}", &["a{,5}"], &["aa"]),
    ("a{01}", &["a{01}"], &["a"]),
    ("a{1", &["a{1"], &["a"]),
    ("a{2}", &["aa"], &["a", "aaa"]),
    ("a{2,}", &["aa", "aaaa"], &["a"]),
    ("a{1,2}?", &["a", "aa"], &["aaa"]),
    ("a{0}b", &["b"], &["ab"]),
    ("(?:a*)*b", &["aab"], &["a"]),
    ("a*(?i)*", &["aa"], &["A"]),
    ("ab*", &["a", "abb"], &["abab"]),
    ("\\Qa.b*\\E+", &["a.b*", "a.b**"], &["a.b", "axb*"]),
    ("\\Qa\\", &["a\\"], &[]),
    ("\\101\\60\\0", &["A0\0"], &[]),
    ("\\08", &["\08"], &[]),
    ("\\1234", &["S4"], &[]),
    ("\\x41\\x{1F600}", &["A\u{1F600}"], &[]),
    ("\\x{D800}|b", &["b"], &["\u{fffd}"]),
    ("[\\x{D700}-\\x{E000}]", &["\u{d7ff}", "\u{e000}"], &["a"]),
    ("\\a\\f\\n\\r\\t\\v", &["\x07\x0c\n\r\t\x0b"], &[]),
    ("\\_\\-\\<\\>\\/", &["_-<>/"], &[]),
    ("[\\w-.]+", &["a-.b"], &["a+"]),
    ("[]-a]+", &["]^_`a"], &["b"]),
    ("[a-]+", &["-a"], &["b"]),
    ("[^-a]", &["b"], &["-"]),
    ("[a&&b]+", &["a&b"], &["c"]),
    ("[a~~b]+", &["a~b"], &["c"]),
    ("[[a]]", &["[]", "a]"], &["a"]),
    ("[[:a]", &["[", ":", "a"], &["b"]),
    ("\\b{start}", &[], &["{start}", "start"]),
    ("\\pL\\p{Lu}\\PN", &["\u{e9}\u{c9}x"], &["\u{e9}\u{e9}x"]),
    ("\\p{Greek}\\p{^Greek}", &["\u{3b1}a"], &["a\u{3b1}"]),
    ("\\P{^Greek}", &["\u{3b1}"], &["a"]),
    ("[\\pN\\p{Han}]", &["\u{0663}", "\u{6f22}"], &["a"]),
    ("\\p{Any}\\PC", &["xy"], &["x\0"]),
    ("\\p{LC}\\P{Cs}", &["aa"], &["1a"]),
    ("\\p{Old_Italic}", &["\u{10300}"], &["a"]),
    ("(?i)stra\u{df}e", &["STRA\u{1e9e}E"], &["STRASSE"]),
    (
        "(?i)k\u{3c3}",
        &["\u{212a}\u{3c2}", "K\u{3a3}"],
        &["q\u{3c3}"],
    ),
    ("(?i)[a-c]+\\W", &["AbC-"], &["abcd"]),
    ("(?i)\\w\\W", &["\u{17f}-"], &["a\u{212a}"]),
    ("(?i)[^a]", &["b"], &["A", "a"]),
    ("(?i)\\p{Lu}", &["a", "A"], &["1"]),
    ("(?i:a)b|c(?i)d|e", &["Ab", "cD", "E"], &["AB", "C"]),
    ("((?i)a)b", &["Ab"], &["AB"]),
    ("(?i)(?-i)a", &["a"], &["A"]),
    ("(?U)a+", &["aaa"], &["b"]),
    ("(?)a(?:)b()", &["ab"], &[]),
    ("(?P<n>a)(?<n>b)", &["ab"], &[]),
    ("(|a)+", &["", "aa"], &["b"]),
];

#[test]
fn matches_what_go_matches() {
    for (pattern, good, bad) in MATCHES {
        let regex = regex(pattern);
        let plain = automaton(pattern);
        for (texts, expected) in [(good, true), (bad, false)] {
            for text in *texts {
                assert_eq!(regex.is_match(text), expected, "{pattern:?} on {text:?}");
                assert_eq!(plain.is_match(text), expected, "{pattern:?} on {text:?}");
                assert_eq!(regex.captures(text).is_some(), expected, "{pattern:?}");
            }
        }
    }
}

#[test]
fn groups_are_found_as_in_go() {
    let groups = |pattern: &str, text: &str| -> Vec<String> {
        let regex = regex(pattern);
        let found = regex.captures(text).unwrap();
        let all = (1..regex.0.names.len()).map(|i| found.group(i).unwrap_or("-").to_owned());
        all.collect()
    };
    assert_eq!(groups("(a*)(a*)", "aaa"), ["aaa", ""]);
    assert_eq!(groups("(a*?)(a*)", "aaa"), ["", "aaa"]);
    assert_eq!(groups("(?U)(a*)(a*)", "aaa"), ["", "aaa"]);
    assert_eq!(groups("(?U)(a*?)(a*)", "aaa"), ["aaa", ""]);
    assert_eq!(groups("(a)|(b)", "b"), ["-", "b"]);
    assert_eq!(groups("(a){0}(b)(c){0}", "b"), ["-", "b", "-"]);
    assert_eq!(groups("(?:x)(y)", "xy"), ["y"]);
    assert!(groups(".*", "x").is_empty());
    let regex = regex("(?P<n>a)|(?<n>b)");
    let found = regex.captures("b").unwrap();
    assert_eq!(found.named("n"), Some("b"));
    assert_eq!(found.named("m"), None);
    assert_eq!(found.group(3), None);
}

#[test]
fn expands_references_as_go_does() {
    let regex = regex("(?P<host>.*):(\\d+)");
    let found = regex.captures("db1:5432").unwrap();
    for (template, expected) in [
        ("$1", "db1"),
        ("${host}-x", "db1-x"),
        ("$2x", ""),
        ("${2}x", "5432x"),
        ("$$1 $ ${", "$1 $ ${"),
        ("$01 ${} $-", " ${} $-"),
        ("$2\u{b2}", "5432\u{b2}"),
        ("$2\u{e9}", ""),
        ("$0", "db1:5432"),
        ("$9999999999", ""),
    ] {
        assert_eq!(found.expand(template), expected, "{template}");
    }
    assert!(regex.captures("no port").is_none());
}

#[test]
fn fixed_texts_are_recognised() {
    let set = |pattern: &str| regex(pattern).literal_set().map(|set| set.join(" "));
    for (pattern, expected) in [
        ("a", Some("a")),
        ("foo|bar|foo", Some("foo bar")),
        ("pre(a|b)?(x|y)", Some("preax preay prebx preby prex prey")),
        ("^(?:foo|ba[rz])$", Some("foo bar baz")),
        ("(^a|b)c$", Some("ac bc")),
        ("a\\.b", Some("a.b")),
        ("", Some("")),
        ("foo|b.r", None),
        ("a^", None),
        ("[^a]", None),
    ] {
        assert_eq!(set(pattern).as_deref(), expected, "{pattern}");
    }
    let many: Vec<String> = (0..10_000).map(|i| format!("host-{i}")).collect();
    let regex = regex(&many.join("|"));
    assert!(regex.literal_set().is_none(), "too many to list");
    // As long as a query may be, and with dots that nobody escaped.
    let addresses: Vec<String> = (0..1100)
        .map(|i| format!("10.0.{}.{}", i % 256, i / 4))
        .collect();
    for flags in ["", "(?i)"] {
        let pattern = format!("{flags}(?:{}):.*", addresses.join("|"));
        assert!(self::regex(&pattern).is_match("10.0.255.63:9100"));
    }
    assert!(regex.is_match("host-9999") && !regex.is_match("host-10000"));
}

#[test]
fn fixed_parts_are_recognised() {
    let parts = |pattern: &str| {
        let regex = regex(pattern);
        let inner: Vec<&str> = regex.contained().collect();
        format!("{} {} {}", regex.prefix(), inner.join(","), regex.suffix())
    };
    for (pattern, expected) in [
        ("foo.*bar.+baz", "foo bar baz"),
        ("foo(.*)[a-z]+bar(x|y)z", "foo bar z"),
        ("\\bfoo(?:-\\d+)-x$", "foo-  -x"),
        ("(?i)foo.*", "  "),
        (".*", "  "),
        ("foo", "foo  foo"),
    ] {
        assert_eq!(parts(pattern), expected, "{pattern}");
    }
}

/// Processor time of this thread, milliseconds: whatever else the machine does takes none of it.
fn thread_cpu_ms() -> u64 {
    let on_cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    on_cpu.tv_sec as u64 * 1000 + on_cpu.tv_nsec as u64 / 1_000_000
}

#[test]
fn patterns_of_any_shape_are_bounded() {
    let large = [
        format!("{}a{}", "(".repeat(1000), ")".repeat(1000)),
        format!("{}a{}", "(?:".repeat(1000), ")*".repeat(1000)),
        format!("{}a{}", "(".repeat(500_000), ")".repeat(500_000)),
        "\\pL{500}".to_owned(),
        "[a-z\u{e9}]{1000}".repeat(1000),
        "\\PL".repeat(300_000),
        format!("(?i)[{}]", "\\PL".repeat(300_000)),
        "(?i)[\\x00-\\x{ffff}]".repeat(50_000),
        "(?:".repeat(999) + &".a".repeat(50_000) + &".a)".repeat(999),
        format!("{}[", "a.*".repeat(300_000)),
        "(?:a|b".repeat(200_000),
        "a|".repeat(100_000) + "(",
        "[".repeat(1_000_000),
        "\\Q".repeat(500_000) + "\\",
        "[[:".repeat(300_000),
    ];
    for pattern in large {
        let start_ms = thread_cpu_ms();
        let head: String = pattern.chars().take(20).collect();
        let _ = Regex::new(&pattern);
        let took_ms = thread_cpu_ms() - start_ms;
        assert!(took_ms < 3000, "{head} {took_ms} ms");
    }
    let nested = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    assert!(error(&nested(1000)).contains("expression nests too deeply: `((("));
    assert!(error("\\pL{500}").contains("expression too large: `\\pL{500}`"));
    assert!(error(&"\\PL".repeat(2000)).contains("expression too large"));
    // Nested as deeply as allowed, on a stack as small as a thread's usually is.
    let deep = std::thread::Builder::new().stack_size(2 << 20);
    let deep = deep
        .spawn(move || regex(&nested(999)).is_match("a"))
        .unwrap();
    assert!(deep.join().unwrap());
}

/// Pieces of which patterns are put together.
const PIECES: &[&str] = &[
    "a",
    "b",
    "ab",
    "\u{e9}",
    ".",
    ".*",
    ".+",
    ".*?",
    "x?",
    "^",
    "$",
    "\\b",
    "\\B",
    "[ab]",
    "[^a]",
    "\\d",
    "|",
    "|a",
    "(?i)",
    "(?-s)",
    "(",
    ")",
    "(?:",
    ")*",
    ")?",
    "){2}",
    "(?P<n>",
    "{",
    "\\.",
    "\n",
    "\\PL",
    "(?m)",
    "\\Q.\\E",
    "\\x{D800}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn fast_paths_agree_with_the_automaton(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..8),
        texts in prop::collection::vec("[abAx.1\u{e9}\n-]{0,6}", 1..12),
    ) {
        let pattern = pieces.concat();
        if let Ok(regex) = Regex::new(&pattern) {
            let plain = automaton(&pattern);
            for text in texts.iter().map(String::as_str).chain(["", "a", "ab", "abab"]) {
                let expected = plain.is_match(text);
                prop_assert_eq!(regex.is_match(text), expected, "{:?} {:?}", pattern, text);
                prop_assert_eq!(regex.captures(text).is_some(), expected);
                if expected {
                    prop_assert!(text.starts_with(regex.prefix()), "{:?}", pattern);
                    prop_assert!(text.ends_with(regex.suffix()), "{:?}", pattern);
                    prop_assert!(regex.contained().all(|part| text.contains(part)));
                    if let Some(set) = regex.literal_set() {
                        prop_assert!(set.iter().any(|literal| literal == text));
                    }
                }
            }
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(pattern in "\\PC*") {
        let _ = Regex::new(&pattern);
    }
}
