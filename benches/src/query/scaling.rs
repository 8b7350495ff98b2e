//! Cost against size: ten times the series, ten times the range, of the same queries.
//!
//! `zone="zone-3"` is a tenth of the series of a metric; ranges are 2.4 and 24 hours with one step,
//! so that ten times the range is ten times the steps. Memory is the growth of the peak resident
//! size over what was resident before the first of several runs.

use serde_json::{Value, json};
use tenbin_compat_tests::http::form;

use crate::client::{Connection, Encoded};
use crate::costs::{Costs, Measure, Rounds, ask_all, middles};
use crate::goals::Goal;
use crate::measure::{forget_peak, status_bytes};
use crate::systems::{Running, System};

const HOUR_S: i64 = 3600;
const STEP_S: i64 = 90;

/// Queries; `{Z}` is the place of the matcher.
const QUERIES: [(&str, &str); 6] = [
    ("selector", "big_temperature{Z}"),
    ("rate", "rate(big_requests_total{Z}[5m])"),
    ("sum by", "sum by (job) (rate(big_requests_total{Z}[5m]))"),
    ("over_time", "max_over_time(big_temperature{Z}[1h])"),
    (
        "quantile",
        "histogram_quantile(0.9, sum by (le) (rate(big_seconds_bucket{Z}[5m])))",
    ),
    ("topk", "topk(5, big_temperature{Z})"),
];

fn target(text: &str, tenth_of_series: bool, end_ms: i64, length_s: i64) -> Encoded {
    let zone = if tenth_of_series {
        "{zone=\"zone-3\"}"
    } else {
        ""
    };
    let (query, end_s) = (text.replace("{Z}", zone), end_ms / 1000);
    let (start, end, step) = (
        (end_s - length_s).to_string(),
        end_s.to_string(),
        STEP_S.to_string(),
    );
    let parameters = form(&[
        ("query", query.as_str()),
        ("start", &start),
        ("end", &end),
        ("step", &step),
        ("nocache", "1"),
    ]);
    Encoded::get(&format!("/api/v1/query_range?{parameters}"))
}

/// By how much the peak of the resident size grows while the request runs, bytes.
fn memory(running: &Running, request: &Encoded) -> Result<f64, String> {
    let (id, mut connection) = (running.process.id(), Connection::open(&running.url)?);
    let before = status_bytes(id, "VmRSS");
    if !forget_peak(id) {
        return Ok(f64::NAN);
    }
    for _ in 0..3 {
        connection.ask(request)?;
    }
    Ok(status_bytes(id, "VmHWM").saturating_sub(before) as f64)
}

/// Measures, prints, and gives figures and goals.
pub(super) fn run(
    systems: &[Running],
    rounds: Rounds,
    end_ms: i64,
) -> Result<(Value, Vec<Goal>), String> {
    println!(
        "\n### Cost against size\n\nFactors of median latency and CPU when series or range grow tenfold; MB of peak memory at the large size.\n"
    );
    let names: Vec<String> = systems
        .iter()
        .flat_map(|r| ["latency", "CPU", "MB"].map(|what| format!("{} {what}", r.system.title())))
        .collect();
    println!("| query, tenfold | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let (mut all, mut worst) = (Vec::new(), 0.0_f64);
    for (kind, text) in QUERIES {
        for (what, tenth_of_series, short) in [("series", true, false), ("range", false, true)] {
            let small_s = if short { 24 * HOUR_S / 10 } else { 24 * HOUR_S };
            let small = target(text, tenth_of_series, end_ms, small_s);
            let large = target(text, false, end_ms, 24 * HOUR_S);
            let few: Costs = ask_all(systems, rounds, &|_| small.clone())?;
            let many: Costs = ask_all(systems, rounds, &|_| large.clone())?;
            let (mut cells, mut figures) = (Vec::new(), serde_json::Map::new());
            for (at, running) in systems.iter().enumerate() {
                let factor = |of: Measure| middles(&[&many], of)[at].1 / middles(&[&few], of)[at].1;
                let (time, cpu) = (factor(|c| c.p50), factor(|c| c.cpu));
                let bytes = memory(running, &large)?;
                cells.push(format!("{time:.1} | {cpu:.1} | {:.1}", bytes / 1e6));
                if running.system == System::Tenbin {
                    worst = worst.max(cpu.min(time));
                }
                figures.insert(
                    running.system.name().to_owned(),
                    json!({"latency_factor": time, "cpu_factor": cpu, "peak_growth_bytes": bytes}),
                );
            }
            println!("| {kind}, {what} | {} |", cells.join(" | "));
            all.push(json!({"kind": kind, "tenfold": what, "systems": figures}));
        }
    }
    let goal = Goal::absolute(
        "10x series or 10x range: largest factor of time",
        10.0,
        worst,
    );
    Ok((Value::Array(all), vec![goal]))
}
