//! Results as a Markdown table and one JSON line, with the ratio to the better peer.

/// One system's results.
pub(crate) struct Row {
    pub(crate) system: &'static str,
    pub(crate) durability: &'static str,
    pub(crate) columns: Vec<(&'static str, f64)>,
}

/// Prints both forms.
pub(crate) fn print_table(rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    let names: Vec<&str> = rows.iter().map(|row| row.system).collect();
    println!("\n| | {} | ours / better peer |", names.join(" | "));
    println!("|---|{}---|", "---|".repeat(rows.len()));
    for (at, (title, _)) in first.columns.iter().enumerate() {
        let values: Vec<f64> = rows.iter().map(|row| row.columns[at].1).collect();
        let peers = rows
            .iter()
            .zip(&values)
            .filter(|(row, _)| row.system != "tenbin");
        let best = peers.map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
        let ours = rows
            .iter()
            .zip(&values)
            .find(|(row, _)| row.system == "tenbin");
        let ratio = match ours {
            Some((_, ours)) if best.is_finite() => format!("{:.2}", ours / best),
            _ => String::new(),
        };
        let texts: Vec<String> = values.iter().map(|v| number(*v)).collect();
        println!("| {title} | {} | {ratio} |", texts.join(" | "));
    }
    let durability: Vec<&str> = rows.iter().map(|row| row.durability).collect();
    println!(
        "| acknowledged samples survive | {} | |\n",
        durability.join(" | ")
    );
    let json: serde_json::Value = rows
        .iter()
        .map(|row| {
            let columns: serde_json::Map<String, serde_json::Value> = row
                .columns
                .iter()
                .map(|(name, v)| ((*name).to_owned(), (*v).into()))
                .collect();
            (row.system.to_owned(), serde_json::Value::Object(columns))
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    println!("{json}");
}

fn number(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}
