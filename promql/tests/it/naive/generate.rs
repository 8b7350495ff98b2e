//! Random series and random queries over them, from a seed.

use tenbin_model::{Labels, stale_nan};

use super::{Data, Samples};

/// A small generator of random numbers (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % n as u64) as usize
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn value(random: &mut Random, before: f64, counter: bool) -> f64 {
    match random.below(24) {
        0 => f64::NAN,
        1 => stale_nan(),
        2 => random.one(&[
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            1e308,
            -1e308,
            5e-324,
        ]),
        3 => 0.0,
        _ if counter => before + random.below(100) as f64 / 8.0,
        4..=9 => random.one(&[1.0, 2.0, 3.0]),
        _ => (random.below(20_000) as f64 - 10_000.0) / 300.0,
    }
}

fn samples(random: &mut Random, counter: bool) -> Samples {
    let interval = random.one(&[15_000, 30_000, 60_000]);
    let mut t = random.below(interval as usize) as i64 - 600_000;
    let (mut last, mut all) = (0.0, Vec::new());
    while t < 1_200_000 {
        let v = value(random, last, counter);
        if v.is_finite() {
            last = v;
        }
        all.push((t, v));
        t += interval + random.one(&[0, 0, 0, 1, -500, 777]);
        if random.below(20) == 0 {
            t += random.one(&[interval * 3, 400_000]);
        }
    }
    all
}

pub(super) fn data(random: &mut Random) -> Data {
    let mut all = Vec::new();
    for name in ["c_total", "m", "n"] {
        for a in ["1", "2"] {
            for b in ["x", "y", ""] {
                if random.below(3) > 0 {
                    let mut pairs = vec![("__name__", name), ("a", a)];
                    if !b.is_empty() {
                        pairs.push(("b", b));
                    }
                    all.push((
                        Labels::from_pairs(&pairs),
                        samples(random, name == "c_total"),
                    ));
                }
            }
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

const AT: &[&str] = &[
    "",
    "",
    "",
    "",
    " offset 1m",
    " offset -2m",
    " @ 300",
    " @ start()",
    " @ end()",
];

fn selector(random: &mut Random, window: &str) -> String {
    let name = random.one(&["m", "n", "c_total", "m", r#"{__name__=~"m|n"}"#]);
    let matchers = random.one(&["", "", "", r#"{a="1"}"#, r#"{b!="x"}"#, r#"{b=~"x|"}"#]);
    let matchers = if name.starts_with('{') { "" } else { matchers };
    format!("{name}{matchers}{window}{}", random.one(AT))
}

const WINDOW_FUNCTIONS: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "count_over_time",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "last_over_time",
    "present_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "changes",
    "resets",
    "rate",
    "increase",
];

fn window_call(random: &mut Random, depth: usize) -> String {
    let range = random.one(&["1m", "2m30s", "5m", "17s", "20m"]);
    let input = if depth > 0 && random.below(4) == 0 {
        let step = random.one(&["", "30s", "17s", "1m"]);
        format!(
            "({})[{range}:{step}]{}",
            vector(random, depth - 1),
            random.one(AT)
        )
    } else {
        selector(random, &format!("[{range}]"))
    };
    if random.below(10) == 0 {
        let q = random.one(&["0.9", "0", "1", "0.5", "-1", "2", "NaN"]);
        return format!("quantile_over_time({q}, {input})");
    }
    format!("{}({input})", random.one(WINDOW_FUNCTIONS))
}

fn scalar(random: &mut Random, depth: usize) -> String {
    match random.below(8) {
        0 => "time()".to_owned(),
        1 if depth > 0 => format!("scalar({})", vector(random, depth - 1)),
        2 if depth > 0 => format!(
            "({} + {})",
            scalar(random, depth - 1),
            scalar(random, depth - 1)
        ),
        _ => random
            .one(&["0", "1", "2.5", "-3", "1e300", "Inf", "NaN", "10"])
            .to_owned(),
    }
}

const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: &[&str] = &["==", "!=", ">", "<", ">=", "<="];

fn operator(random: &mut Random) -> String {
    if random.below(2) == 0 {
        return random.one(ARITHMETIC).to_owned();
    }
    let bool_modifier = random.one(&["", " bool"]);
    format!("{}{bool_modifier}", random.one(COMPARISONS))
}

fn between_vectors(random: &mut Random, depth: usize) -> String {
    let lhs = vector(random, depth - 1);
    // Subtrees that occur again are evaluated once.
    let rhs = match random.below(6) {
        0 => lhs.clone(),
        1 => format!("({lhs}) {} {}", operator(random), scalar(random, 1)),
        2 => format!("sum by (a) ({lhs})"),
        _ => vector(random, depth - 1),
    };
    let matching = random.one(&["", "", " on (a)", " on (a, b)", " ignoring (b)", " on ()"]);
    if random.below(4) == 0 {
        let op = random.one(&["and", "or", "unless"]);
        return format!("({lhs}) {op}{matching} ({rhs})");
    }
    let group = if matching.is_empty() {
        ""
    } else {
        random.one(&["", " group_left ()", " group_right ()", " group_left (b)"])
    };
    let group = if matching.contains('b') && group.contains('b') {
        ""
    } else {
        group
    };
    format!("({lhs}) {}{matching}{group} ({rhs})", operator(random))
}

fn aggregation(random: &mut Random, depth: usize) -> String {
    let clause = random.one(&[
        "",
        " by (a)",
        " by (b)",
        " without (b)",
        " by (a, b)",
        " without ()",
    ]);
    let input = vector(random, depth - 1);
    if random.below(8) == 0 {
        // Parameters that change from step to step have quirks of their own in Prometheus.
        let q = random.one(&["0.9", "0.25", "1", "-1", "1.5", "NaN"]);
        return format!("quantile{clause} ({q}, {input})");
    }
    let ops = [
        "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "sum", "avg",
    ];
    format!("{}{clause} ({input})", random.one(&ops))
}

/// A query of vector type.
pub(super) fn vector(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return match random.below(3) {
            0 => window_call(random, 0),
            _ => selector(random, ""),
        };
    }
    match random.below(12) {
        0 => selector(random, ""),
        1..=3 => window_call(random, depth),
        4..=6 => aggregation(random, depth),
        7 | 8 => between_vectors(random, depth),
        9 => format!(
            "({}) {} {}",
            vector(random, depth - 1),
            operator(random),
            scalar(random, 1)
        ),
        10 => {
            let function = random.one(&["abs", "ceil", "floor", "sqrt", "exp", "ln", "sgn"]);
            format!("{function}({})", vector(random, depth - 1))
        }
        _ => random_prefix(random, depth),
    }
}

fn random_prefix(random: &mut Random, depth: usize) -> String {
    match random.below(4) {
        0 => format!("-({})", vector(random, depth - 1)),
        1 => format!(
            "{} {} ({})",
            scalar(random, 1),
            operator(random),
            vector(random, depth - 1)
        ),
        2 => format!("vector({})", scalar(random, depth)),
        _ => format!("timestamp({})", selector(random, "")),
    }
}

/// A query of any type that may stand alone.
pub(super) fn query(random: &mut Random) -> String {
    match random.below(12) {
        0 => scalar(random, 2),
        1 => {
            let op = random.one(&["topk", "bottomk"]);
            let clause = random.one(&["", " by (a)", " without (a)"]);
            format!(
                "{op}{clause} ({}, {})",
                random.one(&["1", "2", "3", "0", "NaN"]),
                vector(random, 2)
            )
        }
        _ => vector(random, 3),
    }
}
