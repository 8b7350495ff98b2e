//! The lines that Tenbin is to reach beside its peers, and how they stand after a run.

use serde_json::{Value, json};

/// One line of the table of goals.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) line: String,
    /// The highest ratio (or value, where there is no peer) that meets it.
    pub(crate) at_most: f64,
    pub(crate) ours: f64,
    /// Of the better peer, or of the one that the goal names; none for absolute goals.
    pub(crate) peer: Option<f64>,
}

impl Goal {
    pub(crate) fn new(line: impl Into<String>, at_most: f64, ours: f64, peer: f64) -> Self {
        Self {
            line: line.into(),
            at_most,
            ours,
            peer: Some(peer),
        }
    }

    pub(crate) fn absolute(line: impl Into<String>, at_most: f64, ours: f64) -> Self {
        Self {
            line: line.into(),
            at_most,
            ours,
            peer: None,
        }
    }

    fn ratio(&self) -> f64 {
        self.peer.map_or(self.ours, |peer| self.ours / peer)
    }

    /// No peer, no verdict.
    fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio();
        (ratio.is_finite() && self.peer.is_none_or(f64::is_finite)).then_some(ratio <= self.at_most)
    }

    fn markdown(&self) -> String {
        let met = match self.is_met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "not measured",
        };
        let number = |value: f64| {
            if value.is_finite() {
                format!("{value:.3}")
            } else {
                "-".to_owned()
            }
        };
        let (peer, ratio) = self.peer.map_or((String::new(), String::new()), |peer| {
            (number(peer), number(self.ratio()))
        });
        format!(
            "| {} | <= {:.3} | {} | {peer} | {ratio} | {met} |",
            self.line,
            self.at_most,
            number(self.ours)
        )
    }
}

/// The table.
pub(crate) fn table(goals: &[Goal]) -> String {
    let mut text = String::from(
        "\n## Goals\n\nA goal is a ratio where a peer's figure stands, a value where none does.\n\n\
         | line | goal | Tenbin | peer | ratio | met |\n|---|---|---|---|---|---|\n",
    );
    for goal in goals {
        text += &goal.markdown();
        text.push('\n');
    }
    let met = goals.iter().filter(|g| g.is_met() == Some(true)).count();
    text + &format!("\n{met} of {} lines are met.\n", goals.len())
}

/// As JSON.
pub(crate) fn to_json(goals: &[Goal]) -> Value {
    let all = goals.iter().map(|g| {
        json!({
            "line": g.line, "goal": g.at_most, "tenbin": g.ours, "peer": g.peer,
            "ratio": g.peer.map(|_| g.ratio()), "met": g.is_met(),
        })
    });
    Value::Array(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_values_are_judged() {
        let goals = [
            Goal::new("cpu", 0.5, 1.0, 3.0),
            Goal::new("disk", 0.5, 2.0, 3.0),
            Goal::new("no peer", 0.5, 2.0, f64::INFINITY),
            Goal::absolute("restart s", 1.0, 0.7),
        ];
        let text = table(&goals);
        assert!(
            text.contains("| cpu | <= 0.500 | 1.000 | 3.000 | 0.333 | yes |"),
            "{text}"
        );
        assert!(text.contains("| 0.667 | **no** |"), "{text}");
        assert!(text.contains("| not measured |"), "{text}");
        assert!(text.contains("2 of 4 lines"), "{text}");
    }
}
