//! `/api/v1/features`: what this server can do, in Prometheus' categories and words.
//!
//! Every name that Prometheus 3.14 registers is there, also where the answer is no: who asks for a name
//! gets an answer. The three categories that list what was compiled into Prometheus (service discovery,
//! template functions) or what only it does are there and say so. Source: Prometheus
//! `util/features` and its callers, `promql/parser/features.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::json::push_plain_string;
use super::response::success;
use crate::ingest::otlp::settings::Deltas;
use crate::server::App;

/// Names of a category with whether they are there.
type Category = BTreeMap<&'static str, bool>;

/// Operators that every query may use.
const OPERATORS: [&str; 33] = [
    "!=",
    "!~",
    "%",
    "*",
    "+",
    "-",
    "/",
    "<",
    "</",
    "<=",
    "==",
    "=~",
    ">",
    ">/",
    ">=",
    "@",
    "^",
    "and",
    "atan2",
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "max",
    "min",
    "or",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
    "unless",
];

/// Operators behind `promql-experimental-functions`.
const EXPERIMENTAL_OPERATORS: [&str; 2] = ["limit_ratio", "limitk"];

/// `GET /api/v1/features`
pub async fn features(State(app): State<Arc<App>>) -> Response {
    let all = BTreeMap::from([
        ("api", api(&app)),
        ("otlp_receiver", otlp_receiver(&app)),
        ("prometheus", prometheus(&app)),
        ("promql", promql(&app)),
        ("promql_functions", promql_functions(&app)),
        ("promql_operators", promql_operators(&app)),
        ("rules", rules()),
        ("scrape", scrape()),
        ("service_discovery_providers", Category::new()),
        ("templating_functions", Category::new()),
        ("tsdb", tsdb(&app)),
        ("ui", ui()),
    ]);
    success(|out| {
        push_object(out, &all, |out, category| {
            push_object(out, category, |out, is_on| {
                out.extend_from_slice(if *is_on { b"true" } else { b"false" });
            });
        });
    })
}

/// Operators stand here as they are written: nothing is escaped for HTML.
fn push_object<T>(
    out: &mut Vec<u8>,
    fields: &BTreeMap<&'static str, T>,
    push: impl Fn(&mut Vec<u8>, &T),
) {
    out.push(b'{');
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_plain_string(out, name);
        out.push(b':');
        push(out, value);
    }
    out.push(b'}');
}

fn api(app: &App) -> Category {
    Category::from([
        ("admin", app.admin_enabled),
        ("exclude_alerts", true),
        ("label_values_match", true),
        ("lifecycle", app.lifecycle_enabled),
        ("openapi_3.1", true),
        ("openapi_3.2", true),
        ("otlp_write_receiver", true),
        ("query_stats", true),
        ("query_warnings", true),
        ("remote_write_receiver", true),
        ("search", app.search_max_limit.is_some()),
        ("search_fuzz_alg_jarowinkler", true),
        ("search_fuzz_alg_subsequence", true),
        ("time_range_labels", true),
        ("time_range_series", true),
    ])
}

fn otlp_receiver(app: &App) -> Category {
    Category::from([
        (
            "delta_conversion",
            matches!(app.otlp_deltas, Deltas::Summed(_)),
        ),
        (
            "native_delta_ingestion",
            matches!(app.otlp_deltas, Deltas::AsTheyAre),
        ),
    ])
}

fn prometheus(app: &App) -> Category {
    Category::from([
        ("agent_mode", false),
        ("auto_reload_config", app.auto_reload.is_some()),
        ("server_mode", true),
        // How labels are held: as one string, here too.
        ("stringlabels", true),
    ])
}

fn promql(app: &App) -> Category {
    let on = &app.engine.features;
    Category::from([
        ("anchored", on.extended_range_selectors),
        ("at_modifier", true),
        ("bool", true),
        ("by", true),
        ("delayed_name_removal", on.delayed_name_removal),
        ("duration_expr", true),
        ("fill", on.binop_fill_modifiers),
        ("fill_left", on.binop_fill_modifiers),
        ("fill_right", on.binop_fill_modifiers),
        ("group_left", true),
        ("group_right", true),
        ("ignoring", true),
        ("negative_offset", true),
        ("offset", true),
        ("on", true),
        ("per_query_lookback_delta", true),
        ("per_step_stats", on.per_step_stats),
        ("smoothed", on.extended_range_selectors),
        ("subqueries", true),
        ("type_and_unit_labels", on.type_and_unit_labels),
        ("without", true),
    ])
}

/// Every function of the language, and whether a query may use it.
fn promql_functions(app: &App) -> Category {
    let experimental = app.engine.features.experimental_functions;
    tenbin_promql::function_names()
        .map(|(name, is_experimental)| (name, experimental || !is_experimental))
        .collect()
}

fn promql_operators(app: &App) -> Category {
    let experimental = app.engine.features.experimental_functions;
    let known = OPERATORS.iter().map(|name| (*name, true));
    let further = EXPERIMENTAL_OPERATORS
        .iter()
        .map(|name| (*name, experimental));
    known.chain(further).collect()
}

/// Nothing evaluates rules.
fn rules() -> Category {
    Category::from([
        ("concurrent_rule_eval", false),
        ("keep_firing_for", false),
        ("query_offset", false),
    ])
}

/// Nothing is scraped.
fn scrape() -> Category {
    Category::from([
        ("extra_scrape_metrics", false),
        ("start_timestamp_zero_ingestion", false),
        ("type_and_unit_labels", false),
    ])
}

fn tsdb(app: &App) -> Category {
    let max_exemplars = app.config.current().storage.exemplars.max_exemplars;
    Category::from([
        ("delayed_compaction", false),
        ("exemplar_storage", max_exemplars != Some(0)),
        ("histograms_st_encoding", false),
        ("isolation", true),
        // Metadata is in the log, so that it is there after a restart.
        ("metadata_wal_records", true),
        ("native_histograms", true),
        // Start timestamps are kept with the samples.
        ("st_storage", true),
        ("use_uncached_io", false),
        ("xor2_encoding", false),
    ])
}

fn ui() -> Category {
    Category::from([("ui_v2", false), ("ui_v3", false)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_the_words_and_signs_of_the_language() {
        for name in OPERATORS.iter().chain(&EXPERIMENTAL_OPERATORS) {
            let is_word = name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b"_2".contains(&b));
            let query = match *name {
                "count_values" => "count_values(\"x\", up)".to_owned(),
                "and" | "or" | "unless" | "atan2" => format!("up {name} up"),
                "bottomk" | "topk" | "quantile" | "limitk" | "limit_ratio" => {
                    format!("{name}(1, up)")
                }
                "=~" | "!~" => format!("up{{a{name}\"b\"}}"),
                "@" => "up @ 1".to_owned(),
                _ if is_word => format!("{name}(up)"),
                _ => format!("up {name} up"),
            };
            let on = tenbin_promql::options::Features {
                experimental_functions: true,
                ..Default::default()
            };
            let parsed = tenbin_promql::parse(&query, &on);
            assert!(parsed.is_ok(), "{query}: {parsed:?}");
        }
        assert!(OPERATORS.is_sorted());
    }

    #[test]
    fn functions_are_stable_as_in_3_14() {
        let stable = |name: &str| {
            let mut all = tenbin_promql::function_names();
            all.find(|(known, _)| *known == name)
                .map(|(_, experimental)| !experimental)
        };
        assert_eq!(stable("first_over_time"), Some(true));
        assert_eq!(stable("ts_of_first_over_time"), Some(false));
        assert_eq!(tenbin_promql::function_names().count(), 90);
    }

    #[test]
    fn names_are_written_as_they_are() {
        let mut out = Vec::new();
        let fields = BTreeMap::from([("<", 1), (">=", 2)]);
        push_object(&mut out, &fields, |out, n| {
            out.extend(n.to_string().bytes());
        });
        assert_eq!(out, b"{\"<\":1,\">=\":2}");
    }
}
