//! Makes up expressions. The same seed gives the same expression, so that a failure can be
//! repeated; nearly all of them are well typed.

/// A source of expressions.
pub(crate) struct Expressions {
    state: u64,
}

impl Expressions {
    pub(crate) fn new(seed: u64) -> Self {
        // Any odd factor keeps seeds apart; zero would stay zero.
        let state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { state }
    }

    /// A number below `count`, by xorshift.
    fn below(&mut self, count: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % count
    }

    fn one<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let choice = self.below(choices.len() as u64);
        choices[usize::try_from(choice).unwrap()]
    }

    /// Nothing, or one of the choices.
    fn maybe(&mut self, choices: &[&str]) -> String {
        if self.below(3) == 0 {
            self.one(choices).to_owned()
        } else {
            String::new()
        }
    }

    /// An expression of any type, at most `depth` levels deep.
    pub(crate) fn expression(&mut self, depth: u32) -> String {
        match self.below(8) {
            0 => self.scalar(depth),
            1 => self.matrix(depth),
            2 => self.string(),
            _ => self.vector(depth),
        }
    }

    fn string(&mut self) -> String {
        let strings = [
            "\"a\"",
            "'b'",
            "`c\\d`",
            "\"\"",
            "\"\\n\\\"\"",
            "'\"'",
            "\"\\xff\"",
            "\"\u{e9}\"",
        ];
        self.one(&strings).to_owned()
    }

    fn number(&mut self) -> String {
        let numbers = [
            "0", "1", "-1", "2.5", "1e3", "0x1f", "Inf", "-Inf", "(+Inf)", "NaN", "5m", "1h30m",
            "1e-7", "1e21", "010", "1_000",
        ];
        self.one(&numbers).to_owned()
    }

    fn duration(&mut self, depth: u32) -> String {
        if depth == 0 || self.below(3) > 0 {
            let durations = [
                "5m", "1h", "90s", "300", "1.5", "1w2d", "step()", "range()", "1ms",
            ];
            return self.one(&durations).to_owned();
        }
        let (left, right) = (self.duration(depth - 1), self.duration(depth - 1));
        match self.below(8) {
            0 => format!("max_of({left}, {right})"),
            1 => format!("min_of({left}, {right})"),
            2 => format!("({left})"),
            3 => format!("-(-{left})"),
            4 => format!("--{left}"),
            _ => {
                let op = self.one(&["+", "-", "*", "/", "%", "^"]);
                format!("{left} {op} {right}")
            }
        }
    }

    /// `offset` and `@`, in either order.
    fn time(&mut self, depth: u32) -> String {
        let at = self.maybe(&[" @ 1", " @ 1.5", " @ -3", " @ start()", " @ end()"]);
        let offset = match self.below(8) {
            0 => format!(" offset ({})", self.duration(depth)),
            3 => format!(" offset +({})", self.duration(depth)),
            4 => format!(" offset --{}", self.duration(depth)),
            1 => self
                .one(&[" offset 5m", " offset -1h", " offset 30"])
                .to_owned(),
            2 => self
                .one(&[" offset step()", " offset -range()", " offset -(5m)"])
                .to_owned(),
            _ => String::new(),
        };
        if self.below(2) == 0 {
            at + &offset
        } else {
            offset + &at
        }
    }

    /// A selector without what may follow it.
    fn selector(&mut self) -> String {
        let name = self.one(&["a", "b:c", "sum", "offset", "start", "_x", "Step", ""]);
        let mut matchers: Vec<String> = (0..self.below(4))
            .map(|_| {
                let label = self.one(&["l", "m", "by", "\"a.b\"", "inf", "\"\u{e9}\""]);
                let op = self.one(&["=", "!=", "=~", "!~"]);
                let value = self.one(&["\"x\"", "'y|z'", "\"\"", "`\\d+`", "\".+\"", "\"(?i:k)\""]);
                format!("{label}{op}{value}")
            })
            .collect();
        if name.is_empty() {
            matchers.push(
                self.one(&["n=\"1\"", "\"q.r\"", "__name__=~\"a.*\""])
                    .to_owned(),
            );
        }
        if matchers.is_empty() {
            return name.to_owned();
        }
        format!("{name}{{{}}}", matchers.join(","))
    }

    fn matrix(&mut self, depth: u32) -> String {
        if depth > 0 && self.below(3) == 0 {
            let (inner, range) = (self.vector(depth - 1), self.duration(1));
            let step = match self.below(2) {
                0 => String::new(),
                _ => self.duration(1),
            };
            let time = self.time(1);
            // A colon may only follow a written number.
            return format!("({inner})[1*{range}:{step}]{time}");
        }
        let (selector, range) = (self.selector(), self.duration(2));
        let extension = self.maybe(&[" anchored", " smoothed"]);
        format!("{selector}[{range}]{extension}{}", self.time(2))
    }

    fn scalar(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.number();
        }
        match self.below(7) {
            0 => format!("scalar({})", self.vector(depth - 1)),
            1 => self
                .one(&["time()", "pi()", "start()", "end()", "step()"])
                .to_owned(),
            2 => format!("-{}", self.scalar(depth - 1)),
            3 => format!("({})", self.scalar(depth - 1)),
            4 => {
                let op = self.one(&["+", "-", "*", "/", "%", "^", "atan2", "< bool", "== bool"]);
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                format!("({left} {op} {right})")
            }
            _ => self.number(),
        }
    }

    fn labels(&mut self) -> String {
        self.one(&["(a)", "(a, b)", "()", "(\"c.d\", by)", "(sum,)"])
            .to_owned()
    }

    fn aggregation(&mut self, depth: u32) -> String {
        let inner = self.vector(depth - 1);
        let body = match self.below(3) {
            0 => {
                let op = self.one(&["topk", "bottomk", "quantile", "limitk", "limit_ratio"]);
                let parameter = self.scalar(depth - 1);
                (op, format!("({parameter}, {inner})"))
            }
            1 => ("count_values", format!("(\"v\", {inner})")),
            _ => (
                self.one(&["sum", "avg", "MIN", "group", "stddev"]),
                format!("({inner})"),
            ),
        };
        let clause = match self.below(3) {
            0 => String::new(),
            1 => format!(" by {} ", self.labels()),
            _ => format!(" without {} ", self.labels()),
        };
        if self.below(2) == 0 {
            format!("{}{clause}{}", body.0, body.1)
        } else {
            format!("{}{}{clause}", body.0, body.1)
        }
    }

    fn call(&mut self, depth: u32) -> String {
        match self.below(6) {
            0 => format!("rate({})", self.matrix(depth - 1)),
            1 => format!(
                "quantile_over_time({}, {})",
                self.number(),
                self.matrix(depth - 1)
            ),
            2 => format!("abs({})", self.vector(depth - 1)),
            3 => format!("vector({})", self.scalar(depth - 1)),
            4 => format!(
                "label_replace({}, \"x\", '$1', \"y\", `(.*)`)",
                self.vector(depth - 1)
            ),
            _ => format!(
                "round({}, {})",
                self.vector(depth - 1),
                self.scalar(depth - 1)
            ),
        }
    }

    fn vector_binary(&mut self, depth: u32) -> String {
        let (left, right) = (self.vector(depth - 1), self.vector(depth - 1));
        let mut matching = match self.below(3) {
            0 => String::new(),
            1 => format!(" on {}", self.labels()),
            _ => format!(" ignoring {}", self.labels()),
        };
        if self.below(4) == 0 {
            return format!(
                "{left} {}{matching} {right}",
                self.one(&["and", "or", "unless"])
            );
        }
        let op = self.one(&[
            "+", "-", "*", "/", "^", "%", "atan2", "==", "!= bool", "> bool", "<=", "</", ">/",
        ]);
        if !matching.is_empty() && self.below(3) == 0 {
            let group = self.one(&[" group_left", " group_right(x)", " group_left(\"y.z\", w)"]);
            matching.push_str(group);
        }
        matching += &self.maybe(&[
            " fill(0)",
            " fill_left(1)",
            " fill_right(-2.5)",
            " fill_right(1) fill_left(NaN)",
        ]);
        // A parenthesis right behind group_left would be its list of labels.
        if matching.ends_with("group_left") {
            matching.push_str(" ()");
        }
        format!("{left} {op}{matching} {right}")
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            let selector = self.selector();
            let extension = self.maybe(&[" smoothed"]);
            let time = self.time(2);
            return format!("{selector}{extension}{time}");
        }
        match self.below(8) {
            0 => self.aggregation(depth),
            1 => self.call(depth),
            2 => format!("({})", self.vector(depth - 1)),
            3 => format!(
                "{}({})",
                self.one(&["-", "+", "- -"]),
                self.vector(depth - 1)
            ),
            4 => {
                let op = self.one(&["+", "-", "*", "/", "^", "==", "< bool", "</"]);
                format!("{} {op} {}", self.vector(depth - 1), self.scalar(depth - 1))
            }
            5 | 6 => self.vector_binary(depth),
            _ => self.vector(0),
        }
    }
}
