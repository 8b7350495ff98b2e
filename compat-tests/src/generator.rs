//! Random PromQL, seeded: the same seed gives the same queries.
//!
//! Valid queries come from a grammar over the metrics of the differential test's data and only use
//! what Prometheus 3.5 knows. Broken ones are valid ones with a token removed, doubled, swapped or
//! replaced; most of them no longer parse.

use crate::random::Random;

const METRICS: &[&str] = &[
    "requests_total",
    "errors_total",
    "temperature",
    "flags",
    "latency_bucket",
    "latency_count",
    "sparse",
    "specials",
    "nonexistent",
];
const HISTOGRAMS: &[&str] = &[
    "nh_int",
    "nh_float",
    "nh_gauge",
    "nh_custom",
    "nh_schema",
    "nh_sparse",
    "nh_mixed",
    "nh_either",
];
const LABELS: &[&str] = &["job", "instance", "zone", "le", "__name__", "absent_label"];
const RANGES: &[&str] = &["10s", "15s", "1m", "90s", "2m30s", "5m", "10m"];
const NUMBERS: &[&str] = &[
    "0", "1", "-1", "2", "0.5", "3.7", "1e3", "NaN", "Inf", "-Inf", "0x1F", "1m", "100", "-0.25",
];
const UNARY_FUNCTIONS: &[&str] = &[
    "abs",
    "ceil",
    "floor",
    "exp",
    "ln",
    "log2",
    "log10",
    "sqrt",
    "sgn",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "deg",
    "rad",
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "timestamp",
    "absent",
    "sort",
    "sort_desc",
    "round",
];
const RANGE_FUNCTIONS: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "changes",
    "resets",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
];
const HISTOGRAM_FUNCTIONS: &[&str] = &[
    "histogram_count",
    "histogram_sum",
    "histogram_avg",
    "histogram_stddev",
    "histogram_stdvar",
];
const HISTOGRAM_RANGE_FUNCTIONS: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "sum_over_time",
    "avg_over_time",
    "count_over_time",
    "last_over_time",
    "resets",
    "changes",
];
const AGGREGATES: &[&str] = &[
    "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar",
];
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: &[&str] = &["==", "!=", ">", "<", ">=", "<="];

/// Makes queries.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    /// Over native histograms instead of floats.
    histograms: bool,
}

impl Generator {
    /// A generator of its own sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            histograms: false,
        }
    }

    /// A generator of queries over native histograms.
    #[must_use]
    pub fn of_histograms(seed: u64) -> Self {
        Self {
            histograms: true,
            ..Self::new(seed)
        }
    }

    fn metric(&mut self) -> String {
        let metrics = if self.histograms { HISTOGRAMS } else { METRICS };
        self.random.pick(metrics).to_owned()
    }

    /// A valid query: usually a vector, sometimes a scalar.
    pub fn query(&mut self) -> String {
        let depth = 1 + self.random.below(4);
        if self.random.one_in(12) {
            self.scalar(depth)
        } else {
            self.vector(depth)
        }
    }

    /// A query that is broken somewhere, more often than not.
    pub fn broken(&mut self) -> String {
        let query = self.query();
        let mut tokens = tokens(&query);
        for _ in 0..=self.random.below(2) {
            let at = self.random.below(tokens.len());
            match self.random.below(5) {
                0 => {
                    tokens.remove(at);
                }
                1 => tokens.insert(at, tokens[at].clone()),
                2 => {
                    let other = self.random.below(tokens.len());
                    tokens.swap(at, other);
                }
                _ => {
                    let odd = [
                        "(", ")", "{", "}", "[", "]", ",", "by", "on", "bool", "offset", "@", "5m",
                        "1", "\"x\"", "foo", "=~", "and", "-", ":", "sum", "rate", "$", "'",
                    ];
                    tokens[at] = self.random.pick(&odd).to_owned();
                }
            }
            if tokens.is_empty() {
                tokens.push("x".to_owned());
            }
        }
        tokens.concat()
    }

    fn number(&mut self) -> String {
        self.random.pick(NUMBERS).to_owned()
    }

    fn label(&mut self) -> String {
        self.random.pick(LABELS).to_owned()
    }

    fn label_list(&mut self) -> String {
        let labels: Vec<String> = (0..self.random.below(3)).map(|_| self.label()).collect();
        format!("({})", labels.join(", "))
    }

    fn selector(&mut self) -> String {
        let mut matchers = Vec::new();
        for _ in 0..self.random.below(3) {
            let matcher = [
                "job=\"a\"",
                "job=~\"a|b\"",
                "job!=\"b\"",
                "zone=~\".+\"",
                "zone!~\"w.*\"",
                "instance=~\"i[0-2]\"",
                "zone=\"\"",
                "absent_label=\"\"",
                "instance!=\"i1\"",
                "job=~\"(?i:A)\"",
                "instance=~\"i1|i3|\"",
            ];
            matchers.push(self.random.pick(&matcher).to_owned());
        }
        let name = match self.random.below(12) {
            0 => {
                let name = if self.histograms {
                    "__name__=~\"nh_(int|float|gauge)\""
                } else {
                    "__name__=~\"req.*|err.*\""
                };
                matchers.insert(0, name.to_owned());
                String::new()
            }
            1 => {
                let name = if self.histograms {
                    "\"nh.utf8 gauge\", \"a label\"=~\"w.*\""
                } else {
                    "\"utf8.metric\""
                };
                matchers.insert(0, name.to_owned());
                String::new()
            }
            _ => self.metric(),
        };
        if matchers.is_empty() {
            name
        } else {
            format!("{name}{{{}}}", matchers.join(", "))
        }
    }

    fn modifiers(&mut self) -> String {
        match self.random.below(10) {
            0 => format!(" offset {}", self.random.pick(&["30s", "1m", "-1m", "7s"])),
            1 => format!(
                " @ {}",
                self.random.pick(&["1700000300", "start()", "end()"])
            ),
            2 => " @ 1700000400 offset 45s".to_owned(),
            _ => String::new(),
        }
    }

    fn matrix(&mut self, depth: usize) -> String {
        if depth > 1 && self.random.one_in(4) {
            let step = self.random.pick(&["", "15s", "7s", "1m"]);
            let range = self.random.pick(RANGES);
            let inner = self.vector(depth - 2);
            return format!("({inner})[{range}:{step}]{}", self.modifiers());
        }
        let range = self.random.pick(RANGES);
        format!("{}[{range}]{}", self.selector(), self.modifiers())
    }

    fn scalar(&mut self, depth: usize) -> String {
        match self.random.below(if depth == 0 { 2 } else { 6 }) {
            0 => self.number(),
            1 => self
                .random
                .pick(&["time()", "pi()", "1700000000"])
                .to_owned(),
            2 => format!("scalar({})", self.vector(depth - 1)),
            3 => format!("-{}", self.scalar(depth - 1)),
            4 => {
                let op = self.random.pick(COMPARISONS);
                format!(
                    "({} {op} bool {})",
                    self.scalar(depth - 1),
                    self.scalar(depth - 1)
                )
            }
            _ => {
                let op = self.random.pick(ARITHMETIC);
                format!(
                    "({} {op} {})",
                    self.scalar(depth - 1),
                    self.scalar(depth - 1)
                )
            }
        }
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            let modifiers = self.modifiers();
            return self.selector() + &modifiers;
        }
        if self.histograms && self.random.one_in(3) {
            return self.of_histogram(depth);
        }
        match self.random.below(12) {
            0 => {
                let modifiers = self.modifiers();
                self.selector() + &modifiers
            }
            1 | 2 => format!(
                "{}({})",
                self.random.pick(RANGE_FUNCTIONS),
                self.matrix(depth)
            ),
            3 => self.call(depth),
            4 | 5 => self.aggregate(depth),
            6 | 7 => self.binary(depth),
            8 => format!(
                "{}({})",
                self.random.pick(UNARY_FUNCTIONS),
                self.vector(depth - 1)
            ),
            9 => format!("-{}", self.vector(depth - 1)),
            10 => format!("vector({})", self.scalar(depth - 1)),
            _ => format!("({})", self.vector(depth - 1)),
        }
    }

    /// What native histograms are for.
    fn of_histogram(&mut self, depth: usize) -> String {
        let number = self.number();
        match self.random.below(9) {
            0 | 1 => format!(
                "{}({})",
                self.random.pick(HISTOGRAM_FUNCTIONS),
                self.vector(depth - 1)
            ),
            2 | 3 => format!(
                "{}({})",
                self.random.pick(HISTOGRAM_RANGE_FUNCTIONS),
                self.matrix(depth)
            ),
            4 => {
                let quantile = self.random.pick(&["0.5", "0.9", "0", "1", "0.99"]);
                format!("histogram_quantile({quantile}, {})", self.vector(depth - 1))
            }
            5 => format!(
                "histogram_fraction({number}, {}, {})",
                self.number(),
                self.vector(depth - 1)
            ),
            6 => {
                let by = self.label_list();
                let op = self.random.pick(&["sum", "avg", "count"]);
                format!("{op} by {by} ({})", self.vector(depth - 1))
            }
            7 => {
                let op = self.random.pick(&["*", "/"]);
                format!("({}) {op} {number}", self.vector(depth - 1))
            }
            _ => {
                let op = self.random.pick(&["+", "-", "==", "!="]);
                let matching = self
                    .random
                    .pick(&[" on (instance)", " ignoring (zone)", ""]);
                let rhs = self.vector(depth - 1);
                format!("({}) {op}{matching} ({rhs})", self.vector(depth - 1))
            }
        }
    }

    fn call(&mut self, depth: usize) -> String {
        let inner = self.vector(depth - 1);
        let number = self.number();
        match self.random.below(12) {
            0 => format!("clamp({inner}, {number}, {})", self.number()),
            1 => format!("clamp_min({inner}, {number})"),
            2 => format!("clamp_max({inner}, {number})"),
            3 => format!(
                "round({inner}, {})",
                self.random.pick(&["1", "0.1", "10", "0.25"])
            ),
            4 => format!("histogram_quantile({number}, {inner})"),
            5 => {
                let range = self.random.pick(RANGES);
                let buckets = if self.histograms {
                    format!("sum by (job) (rate(nh_int[{range}]))")
                } else {
                    format!("sum by (le, job) (rate(latency_bucket[{range}]))")
                };
                format!("histogram_quantile(0.9, {buckets})")
            }
            6 => format!("label_replace({inner}, \"host\", \"$1-x\", \"instance\", \"i(.*)\")"),
            7 => format!("label_join({inner}, \"joined\", \"-\", \"job\", \"zone\")"),
            8 => format!("predict_linear({}, {number})", self.matrix(depth)),
            9 => format!("quantile_over_time({number}, {})", self.matrix(depth)),
            10 => format!(
                "double_exponential_smoothing({}, 0.5, 0.3)",
                self.matrix(depth)
            ),
            _ => format!("sort_by_label({inner}, \"instance\")"),
        }
    }

    fn aggregate(&mut self, depth: usize) -> String {
        let clause = match self.random.below(3) {
            0 => String::new(),
            1 => format!(" by {}", self.label_list()),
            _ => format!(" without {}", self.label_list()),
        };
        let (op, parameter) = match self.random.below(12) {
            0 => (
                "topk",
                Some(self.random.pick(&["1", "2", "3", "0", "100"]).to_owned()),
            ),
            1 => (
                "bottomk",
                Some(self.random.pick(&["1", "2", "5"]).to_owned()),
            ),
            2 => ("quantile", Some(self.number())),
            3 => ("count_values", Some("\"value\"".to_owned())),
            _ => (self.random.pick(AGGREGATES), None),
        };
        // Which of equal values a topk keeps depends on the order of series, so it gets values
        // that differ.
        let inner = match op {
            "topk" | "bottomk" if self.histograms => "histogram_stddev(nh_float)".to_owned(),
            "topk" | "bottomk" => "temperature".to_owned() + &self.modifiers(),
            _ => self.vector(depth - 1),
        };
        let parameter = parameter.map(|p| p + ", ").unwrap_or_default();
        if self.random.one_in(2) {
            format!("{op}{clause} ({parameter}{inner})")
        } else {
            format!("{op}({parameter}{inner}){clause}")
        }
    }

    fn binary(&mut self, depth: usize) -> String {
        let lhs = self.vector(depth - 1);
        match self.random.below(8) {
            0 => format!(
                "({lhs}) {} ({})",
                self.random.pick(ARITHMETIC),
                self.scalar(depth - 1)
            ),
            1 => format!(
                "({}) {} ({lhs})",
                self.scalar(depth - 1),
                self.random.pick(ARITHMETIC)
            ),
            2 => {
                let boolean = self.random.pick(&["", " bool"]);
                let op = self.random.pick(COMPARISONS);
                format!("({lhs}) {op}{boolean} ({})", self.scalar(depth - 1))
            }
            3 => {
                let op = self.random.pick(&["and", "or", "unless"]);
                let matching = self.matching(false);
                format!("({lhs}) {op}{matching} ({})", self.other_side(&lhs, depth))
            }
            4 => {
                let op = self.random.pick(COMPARISONS);
                let boolean = self.random.pick(&["", " bool"]);
                let matching = self.matching(true);
                format!(
                    "({lhs}) {op}{boolean}{matching} ({})",
                    self.other_side(&lhs, depth)
                )
            }
            _ => {
                let op = self.random.pick(ARITHMETIC);
                let matching = self.matching(true);
                format!("({lhs}) {op}{matching} ({})", self.other_side(&lhs, depth))
            }
        }
    }

    /// The right side of an operation: often what stands on the left, too, so that a subtree occurs
    /// twice.
    fn other_side(&mut self, lhs: &str, depth: usize) -> String {
        match self.random.below(10) {
            0 => lhs.to_owned(),
            1 => format!("sum(({lhs}))"),
            2 => format!("({lhs}) > 0"),
            _ => self.vector(depth - 1),
        }
    }

    fn matching(&mut self, grouping: bool) -> String {
        let labels = match self.random.below(4) {
            0 => return String::new(),
            1 => "on (job, instance)".to_owned(),
            2 => format!("ignoring {}", self.label_list()),
            _ => format!("on {}", self.label_list()),
        };
        let group = match self.random.below(4) {
            0 if grouping => " group_left ()",
            1 if grouping => " group_right (zone)",
            _ => "",
        };
        format!(" {labels}{group}")
    }
}

/// Cuts a query into words, strings, spaces and single signs.
fn tokens(query: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_string = false;
    let mut previous_word = false;
    for c in query.chars() {
        let word = c.is_alphanumeric() || c == '_' || c == '.';
        let continues = in_string || (word && previous_word);
        if c == '"' {
            if in_string {
                if let Some(last) = tokens.last_mut() {
                    last.push(c);
                }
            } else {
                tokens.push(c.to_string());
            }
            in_string = !in_string;
            previous_word = false;
            continue;
        }
        match tokens.last_mut() {
            Some(last) if continues => last.push(c),
            _ => tokens.push(c.to_string()),
        }
        previous_word = word && !in_string;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_queries() {
        let queries = |seed| {
            let mut generator = Generator::new(seed);
            (0..50).map(|_| generator.query()).collect::<Vec<_>>()
        };
        assert_eq!(queries(1), queries(1));
        assert_ne!(queries(1), queries(2));
    }

    #[test]
    fn tokens_keep_the_whole_query() {
        let query = "sum by (a) (rate(x{l=\"a b\"}[5m]))";
        assert_eq!(tokens(query).concat(), query);
        assert!(tokens(query).contains(&"\"a b\"".to_owned()));
    }

    #[test]
    fn every_production_occurs() {
        let mut generator = Generator::new(7);
        let mut all: String = (0..5_000).map(|_| generator.query() + "\n").collect();
        let mut generator = Generator::of_histograms(7);
        all.extend((0..5_000).map(|_| generator.query() + "\n"));
        for name in METRICS
            .iter()
            .chain(HISTOGRAMS)
            .chain(HISTOGRAM_FUNCTIONS)
            .chain(HISTOGRAM_RANGE_FUNCTIONS)
            .chain(UNARY_FUNCTIONS)
            .chain(RANGE_FUNCTIONS)
            .chain(AGGREGATES)
        {
            assert!(all.contains(name), "{name} is never generated");
        }
        for text in [
            "group_left",
            "group_right",
            "unless",
            "[5m:15s]",
            "offset -1m",
            "@ start()",
        ] {
            assert!(all.contains(text), "{text} is never generated");
        }
    }
}
