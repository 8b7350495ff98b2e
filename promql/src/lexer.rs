//! Text to tokens.
//!
//! A state machine, one token per call, so that an error in the text surfaces only when the parser
//! gets there: the first error of a query is then the same one that Prometheus reports. Comments
//! and blanks are skipped. Every call moves forward, so lexing is linear in the text.
//!
//! Source of rules, texts and positions: Prometheus 3.14 `promql/parser/lex.go`.

use crate::ast::BinaryOp;
use crate::token::{Token, TokenKind};

/// A text that no token begins with. It spans from `start` to the end of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LexError {
    pub(crate) start: usize,
    pub(crate) message: String,
}

/// What the lexer expects next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Anything; inside braces when one is open.
    Statements,
    /// Right after `[` and the tokens that follow it directly.
    Duration,
}

/// Splits a query into tokens.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    input: &'a str,
    /// Where reading goes on.
    pos: usize,
    /// Where the current token begins.
    start: usize,
    state: State,
    paren_depth: u32,
    brace_open: bool,
    bracket_open: bool,
    /// A `:` was seen since the last `[`.
    got_colon: bool,
    /// A number or duration was seen directly after a `[`.
    got_duration: bool,
}

type LexResult<'a> = Result<Token<'a>, LexError>;

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

fn begins_duration_keyword(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 's' | 'r' | 'm')
}

/// A character in single quotes as Go's `%q` writes it; the end of the input is U+FFFD there.
fn quoted_char(c: Option<char>) -> String {
    match c.unwrap_or('\u{fffd}') {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let text = tenbin_model::text::quote::quoted(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &text[1..text.len() - 1])
        }
    }
}

/// A character as Go's `%#U` writes it: `U+0078 'x'`.
fn code_point(c: char) -> String {
    let quoted = quoted_char(Some(c));
    let number = format!("U+{:04X}", c as u32);
    // Only printable characters are shown beside their number.
    if quoted.starts_with("'\\") && c != '\'' && c != '\\' {
        number
    } else {
        format!("{number} '{c}'")
    }
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str) -> Self {
        Self {
            input,
            pos: 0,
            start: 0,
            state: State::Statements,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
        }
    }

    /// Where reading goes on after the last token.
    #[cfg(feature = "testkit")]
    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    /// The next token; after the last one, the end of the input again and again.
    pub(crate) fn next_token(&mut self) -> LexResult<'a> {
        match self.state {
            State::Duration => self.duration_expression(),
            State::Statements => {
                self.skip_blanks_and_comments();
                if self.brace_open {
                    self.inside_braces()
                } else {
                    self.statement()
                }
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.input[self.pos..].chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek();
        self.pos += c.map_or(0, char::len_utf8);
        c
    }

    fn peek_is(&self, set: &str) -> bool {
        self.peek().is_some_and(|c| set.contains(c))
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek_is(set);
        if found {
            self.advance();
        }
        found
    }

    fn accept_while(&mut self, mut wanted: impl FnMut(char) -> bool) {
        while self.peek().is_some_and(&mut wanted) {
            self.advance();
        }
    }

    fn skip_spaces(&mut self) {
        self.accept_while(is_space);
        self.start = self.pos;
    }

    fn skip_blanks_and_comments(&mut self) {
        self.skip_spaces();
        while self.peek() == Some('#') {
            self.accept_while(|c| c != '\n' && c != '\r');
            self.skip_spaces();
        }
    }

    /// Ends the current token here.
    fn emit(&mut self, kind: TokenKind) -> Token<'a> {
        let token = Token {
            kind,
            start: self.start,
            text: &self.input[self.start..self.pos],
        };
        self.start = self.pos;
        token
    }

    fn error(&self, message: impl Into<String>) -> LexError {
        LexError {
            start: self.start,
            message: message.into(),
        }
    }

    /// The text since the token's start.
    fn word(&self) -> &'a str {
        &self.input[self.start..self.pos]
    }

    fn statement(&mut self) -> LexResult<'a> {
        let Some(c) = self.advance() else {
            if self.paren_depth != 0 {
                return Err(self.error("unclosed left parenthesis"));
            }
            if self.bracket_open {
                return Err(self.error("unclosed left bracket"));
            }
            return Ok(self.emit(TokenKind::EndOfInput));
        };
        match c {
            '(' => {
                self.paren_depth += 1;
                Ok(self.emit(TokenKind::LeftParen))
            }
            ')' => self.right_paren(),
            '{' => {
                self.brace_open = true;
                Ok(self.emit(TokenKind::LeftBrace))
            }
            '[' => {
                if self.bracket_open {
                    return Err(self.error("unexpected left bracket '['"));
                }
                self.got_colon = false;
                self.bracket_open = true;
                self.state = State::Duration;
                Ok(self.emit(TokenKind::LeftBracket))
            }
            ']' => {
                if !self.bracket_open {
                    return Err(self.error("unexpected right bracket ']'"));
                }
                self.bracket_open = false;
                Ok(self.emit(TokenKind::RightBracket))
            }
            '@' => Ok(self.emit(TokenKind::At)),
            ',' => Ok(self.emit(TokenKind::Comma)),
            '=' | '!' | '<' | '>' => self.comparison(c),
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            '.' if self.peek().is_some_and(|d| d.is_ascii_digit()) => self.number_or_duration(),
            c if c.is_ascii_digit() => self.number_or_duration(),
            c if is_alpha(c) || c == ':' => self.word_or_bracket_content(c),
            c => match arithmetic(c) {
                Some(op) => Ok(self.emit(TokenKind::Binary(op))),
                None => Err(self.error(format!("unexpected character: {}", quoted_char(Some(c))))),
            },
        }
    }

    fn right_paren(&mut self) -> LexResult<'a> {
        let token = self.emit(TokenKind::RightParen);
        match self.paren_depth.checked_sub(1) {
            Some(depth) => {
                self.paren_depth = depth;
                Ok(token)
            }
            // The position is behind the parenthesis.
            None => Err(self.error("unexpected right parenthesis ')'")),
        }
    }

    fn comparison(&mut self, first: char) -> LexResult<'a> {
        let op = match (first, self.peek()) {
            ('=', Some('=')) => BinaryOp::Equal,
            ('=', Some('~')) => return Err(self.error("unexpected character after '=': '~'")),
            ('=', _) => return Ok(self.emit(TokenKind::Assign)),
            ('!', Some('=')) => BinaryOp::NotEqual,
            ('!', other) => {
                let found = quoted_char(other);
                return Err(self.error(format!("unexpected character after '!': {found}")));
            }
            ('<', Some('=')) => BinaryOp::LessEqual,
            ('<', Some('/')) => BinaryOp::TrimUpper,
            ('<', _) => return Ok(self.emit(TokenKind::Binary(BinaryOp::Less))),
            (_, Some('=')) => BinaryOp::GreaterEqual,
            (_, Some('/')) => BinaryOp::TrimLower,
            (_, _) => return Ok(self.emit(TokenKind::Binary(BinaryOp::Greater))),
        };
        self.advance();
        Ok(self.emit(TokenKind::Binary(op)))
    }

    /// A letter or colon was read: a word, or inside brackets a colon or keyword.
    fn word_or_bracket_content(&mut self, first: char) -> LexResult<'a> {
        if !self.bracket_open {
            return Ok(self.keyword_or_identifier());
        }
        if first == ':' {
            if self.got_colon {
                return Err(self.error("unexpected colon ':'"));
            }
            self.got_colon = true;
            return Ok(self.emit(TokenKind::Colon));
        }
        if begins_duration_keyword(first)
            && let Some(kind) = self.duration_keyword()
        {
            return Ok(self.emit(kind));
        }
        let found = quoted_char(Some(first));
        Err(self.error(format!("unexpected character: {found}, expected ':'")))
    }

    fn duration_keyword(&mut self) -> Option<TokenKind> {
        self.accept_while(is_alpha);
        TokenKind::duration_keyword(self.word())
    }

    fn keyword_or_identifier(&mut self) -> Token<'a> {
        self.accept_while(|c| is_alphanumeric(c) || c == ':');
        let word = self.word();
        let kind = match TokenKind::keyword(word) {
            // The fill words are so young that queries use them as metric names; only a
            // parenthesis makes them keywords.
            Some(TokenKind::Fill | TokenKind::FillLeft | TokenKind::FillRight)
                if !self.parenthesis_follows() =>
            {
                TokenKind::Identifier
            }
            Some(keyword) => keyword,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        self.emit(kind)
    }

    fn parenthesis_follows(&self) -> bool {
        self.input[self.pos..]
            .trim_start_matches(is_space)
            .starts_with('(')
    }

    /// The content of `[...]` up to the first number and the word tokens around it.
    fn duration_expression(&mut self) -> LexResult<'a> {
        self.skip_spaces();
        let Some(c) = self.advance() else {
            return Err(self.error("unexpected end of input in duration expression"));
        };
        let kind = match c {
            ']' => {
                self.bracket_open = false;
                self.got_colon = false;
                self.state = State::Statements;
                TokenKind::RightBracket
            }
            ':' => return self.colon_in_duration(),
            '(' => {
                self.paren_depth += 1;
                TokenKind::LeftParen
            }
            ')' => return self.right_paren(),
            ',' => TokenKind::Comma,
            c if begins_duration_keyword(c) => match self.duration_keyword() {
                Some(kind) => kind,
                None => return Err(self.unexpected_in_duration(c)),
            },
            c if c.is_ascii_digit()
                || (c == '.' && self.peek().is_some_and(|d| d.is_ascii_digit())) =>
            {
                self.got_duration = true;
                self.state = State::Statements;
                return self.number_or_duration();
            }
            c => match arithmetic(c) {
                Some(op) => TokenKind::Binary(op),
                None => return Err(self.unexpected_in_duration(c)),
            },
        };
        Ok(self.emit(kind))
    }

    fn unexpected_in_duration(&self, c: char) -> LexError {
        let found = quoted_char(Some(c));
        self.error(format!(
            "unexpected character in duration expression: {found}"
        ))
    }

    fn colon_in_duration(&mut self) -> LexResult<'a> {
        let token = self.emit(TokenKind::Colon);
        // The positions are behind the colon.
        if !self.got_duration {
            return Err(self.error("unexpected colon before duration in duration expression"));
        }
        if self.got_colon {
            return Err(self.error("unexpected repeated colon in duration expression"));
        }
        self.got_colon = true;
        Ok(token)
    }

    /// Inside a selector's braces every word is a label name.
    fn inside_braces(&mut self) -> LexResult<'a> {
        let Some(c) = self.advance() else {
            return Err(self.error("unexpected end of input inside braces"));
        };
        let kind = match c {
            ',' => TokenKind::Comma,
            '"' | '\'' => return self.string(c),
            '`' => return self.raw_string(),
            '=' if self.accept("~") => TokenKind::MatchRegex,
            '=' => TokenKind::Assign,
            '!' if self.accept("~") => TokenKind::MatchNotRegex,
            '!' if self.accept("=") => TokenKind::Binary(BinaryOp::NotEqual),
            '!' => {
                let found = quoted_char(self.peek());
                let message = format!("unexpected character after '!' inside braces: {found}");
                return Err(self.error(message));
            }
            '{' => return Err(self.error("unexpected left brace '{'")),
            '}' => {
                self.brace_open = false;
                TokenKind::RightBrace
            }
            c if is_alpha(c) => {
                self.accept_while(is_alphanumeric);
                TokenKind::Identifier
            }
            c => {
                let found = quoted_char(Some(c));
                return Err(self.error(format!("unexpected character inside braces: {found}")));
            }
        };
        Ok(self.emit(kind))
    }

    /// A string whose opening quote has been read.
    fn string(&mut self, quote: char) -> LexResult<'a> {
        loop {
            match self.advance() {
                Some('\\') => self.escape(quote)?,
                // What Go's decoder returns for broken text, and refuses there.
                Some('\u{fffd}') => return Err(self.error("invalid UTF-8 rune")),
                None | Some('\n') => return Err(self.error("unterminated quoted string")),
                Some(c) if c == quote => return Ok(self.emit(TokenKind::String)),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> LexResult<'a> {
        loop {
            match self.advance() {
                Some('\u{fffd}') => return Err(self.error("invalid UTF-8 rune")),
                None => return Err(self.error("unterminated raw string")),
                Some('`') => return Ok(self.emit(TokenKind::String)),
                Some(_) => {}
            }
        }
    }

    /// Checks an escape whose backslash has been read; its value is computed in `literal.rs`.
    fn escape(&mut self, quote: char) -> Result<(), LexError> {
        let unfinished = "escape sequence not terminated";
        let Some(first) = self.advance() else {
            return Err(self.error(unfinished));
        };
        let (mut digits_left, base, max) = match first {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => (3, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, char::MAX as u32),
            'U' => (8, 16, char::MAX as u32),
            c => {
                return Err(self.error(format!("unknown escape sequence {}", code_point(c))));
            }
        };
        let mut value = 0_u32;
        let mut next = if base == 8 {
            Some(first)
        } else {
            self.advance()
        };
        while digits_left > 0 {
            let Some(c) = next else {
                return Err(self.error(unfinished));
            };
            let Some(digit) = c.to_digit(base) else {
                let found = code_point(c);
                return Err(self.error(format!("illegal character {found} in escape sequence")));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
            digits_left -= 1;
            if digits_left > 0 {
                next = self.advance();
            }
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err(self.error("escape sequence is an invalid Unicode code point"));
        }
        Ok(())
    }

    /// A number or duration whose first character has been read.
    fn number_or_duration(&mut self) -> LexResult<'a> {
        self.pos = self.start;
        if self.scan_number() {
            return Ok(self.emit(TokenKind::Number));
        }
        if self.scan_duration() {
            return Ok(self.emit(TokenKind::Duration));
        }
        let found = tenbin_model::text::quote::quoted(self.word());
        Err(self.error(format!("bad number or duration syntax: {found}")))
    }

    /// The units of a duration after its first number. Order and repetition of units are checked
    /// when the value is computed.
    fn scan_duration(&mut self) -> bool {
        const DIGITS: &str = "0123456789";
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept(DIGITS) {
            self.accept_while(|c| c.is_ascii_digit());
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        match self.peek() {
            Some(c) if is_alphanumeric(c) => {
                // The error text shows the character that does not fit.
                self.advance();
                false
            }
            _ => true,
        }
    }

    /// Reads what looks like a number. It need not be one: the parser computes the value. On
    /// failure the position is where Prometheus' lexer gives up, for the error text.
    fn scan_number(&mut self) -> bool {
        let initial = self.pos;
        let mut digits = "0123456789";
        if self.accept("0") && self.accept("xX") {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        }
        let hexadecimal = digits.len() > 10;
        self.accept(".");
        self.accept(digits);
        let (mut dot_seen, mut exponent_seen) = (false, false);
        while self.peek_is(digits) || self.peek_is("._eE") {
            if self.peek() == Some('.') {
                self.advance();
                // One dot, none in hexadecimal numbers, nothing odd behind it.
                if dot_seen || self.accept("_.") || hexadecimal {
                    return false;
                }
                dot_seen = true;
            } else if self.accept("eE") {
                // In a hexadecimal number too, when it directly follows the first digit.
                if exponent_seen {
                    return false;
                }
                exponent_seen = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept("_") {
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else {
                self.accept_while(|c| digits.contains(c));
            }
        }
        self.pos != initial && !self.peek().is_some_and(is_alphanumeric)
    }
}

fn arithmetic(c: char) -> Option<BinaryOp> {
    Some(match c {
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '^' => BinaryOp::Pow,
        _ => return None,
    })
}
