//! Latency and CPU of one request in every system: asked in rounds, the systems taking turns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Connection, Encoded};
use crate::measure::{cpu_s, median, middle_and_spread, quantile};
use crate::systems::{Running, System};

/// How often things are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) rounds: usize,
    /// A round of one system lasts at least this long...
    pub(crate) least: Duration,
    /// ...but has no more requests than this, and at least three.
    pub(crate) most: usize,
}

/// What a request costs in one system, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// Median of the rounds' medians.
    pub(crate) p50: f64,
    /// Of all requests of all rounds; the slowest while there are fewer than 100.
    pub(crate) p99: f64,
    /// CPU of the server for one request, median of the rounds.
    pub(crate) cpu: f64,
    /// Half the distance between the rounds' extreme medians, in percent.
    pub(crate) spread: f64,
    pub(crate) requests: usize,
}

/// The costs of one request by system.
pub(crate) type Costs = Vec<(System, Cost)>;

/// Picks one number of a [`Cost`].
pub(crate) type Measure = fn(&Cost) -> f64;

/// The numbers that tables show.
pub(crate) const MEASURES: [(&str, Measure); 3] = [
    ("p50 ms", |c| c.p50),
    ("p99 ms", |c| c.p99),
    ("CPU ms", |c| c.cpu),
];

/// Asks every system; `request` gives the request with this number.
pub(crate) fn ask_all(
    systems: &[Running],
    rounds: Rounds,
    request: &dyn Fn(usize) -> Encoded,
) -> Result<Costs, String> {
    let mut connections = Vec::new();
    for running in systems {
        connections.push(Connection::open(&running.url)?);
    }
    let mut all: Vec<(Vec<f64>, Vec<f64>, Vec<f64>)> = vec![Default::default(); systems.len()];
    let mut asked = vec![0; systems.len()];
    for round in 0..rounds.rounds.max(1) {
        for position in 0..systems.len() {
            let at = (position + round) % systems.len();
            let (running, connection) = (&systems[at], &mut connections[at]);
            connection.ask(&request(asked[at]))?;
            asked[at] += 1;
            let mut latencies = Vec::new();
            let (before, started) = (cpu_s(running.process.id()), Instant::now());
            while latencies.len() < 3
                || (started.elapsed() < rounds.least && latencies.len() < rounds.most)
            {
                let encoded = request(asked[at]);
                asked[at] += 1;
                let begun = Instant::now();
                let status = connection.ask(&encoded)?.status;
                latencies.push(begun.elapsed().as_secs_f64() * 1e3);
                if status != 200 {
                    return Err(format!("{}: status {status}", running.system.name()));
                }
            }
            let cpu = (cpu_s(running.process.id()) - before) * 1e3 / latencies.len() as f64;
            all[at].0.push(quantile(&mut latencies, 0.5));
            all[at].1.extend(latencies);
            all[at].2.push(cpu);
        }
    }
    let costs = systems
        .iter()
        .zip(all)
        .map(|(running, (medians, mut every, cpu))| {
            let (p50, spread) = middle_and_spread(&medians);
            let cost = Cost {
                p50,
                p99: quantile(&mut every, 0.99),
                cpu: median(cpu),
                spread,
                requests: every.len(),
            };
            (running.system, cost)
        });
    Ok(costs.collect())
}

/// The middle over several requests, of one number, by system.
pub(crate) fn middles(costs: &[&Costs], of: Measure) -> Vec<(System, f64)> {
    let systems = costs.first().map_or(&[][..], |c| &c[..]);
    let middle = |system: System| {
        let all = costs.iter().flat_map(|costs| costs.iter());
        median(
            all.filter(|(s, _)| *s == system)
                .map(|(_, c)| of(c))
                .collect(),
        )
    };
    systems.iter().map(|(s, _)| (*s, middle(*s))).collect()
}

/// Ours and the better peer's.
pub(crate) fn ours_and_best(values: &[(System, f64)]) -> (f64, f64) {
    let ours = values.iter().find(|(s, _)| *s == System::Tenbin);
    let peers = values.iter().filter(|(s, _)| *s != System::Tenbin);
    let best = peers.map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    (ours.map_or(f64::NAN, |(_, v)| *v), best)
}

/// Ours by the better peer's.
pub(crate) fn ratio(values: &[(System, f64)]) -> f64 {
    let (ours, best) = ours_and_best(values);
    ours / best
}

/// Head of a table of costs.
pub(crate) fn head(systems: &[System], what: &str) -> String {
    let (mut text, mut rule) = (format!("| {what} | requests |"), "|---|---|".to_owned());
    for (measure, _) in MEASURES {
        for system in systems {
            text += &format!(" {} {measure} |", system.title());
            rule += "---|";
        }
        text += " ratio |";
        rule += "---|";
    }
    format!("{text}\n{rule}")
}

/// One line of it: medians over several requests.
pub(crate) fn line(title: &str, costs: &[&Costs]) -> String {
    let mut text = format!("| {title} | {} |", costs.len());
    for (_, of) in MEASURES {
        let values = middles(costs, of);
        for (_, value) in &values {
            text += &format!(" {value:.2} |");
        }
        text += &format!(" **{:.2}** |", ratio(&values));
    }
    text
}

/// As JSON.
pub(crate) fn to_json(costs: &Costs) -> Value {
    let all = costs.iter().map(|(system, c)| {
        let value = json!({
            "p50_ms": c.p50, "p99_ms": c.p99, "cpu_ms": c.cpu,
            "spread_percent": c.spread, "requests": c.requests,
        });
        (system.name().to_owned(), value)
    });
    Value::Object(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_peer_counts() {
        let cost = |p50| Cost {
            p50,
            p99: p50,
            cpu: p50,
            spread: 0.0,
            requests: 1,
        };
        let costs: Costs = System::ALL
            .into_iter()
            .zip([cost(1.0), cost(4.0), cost(2.0)])
            .collect();
        assert!(ratio(&middles(&[&costs, &costs], |c| c.p50)) == 0.5);
        assert!(line("x", &[&costs]).contains("| 1.00 | 4.00 | 2.00 | **0.50** |"));
    }
}
