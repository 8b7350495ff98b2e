//! `/api/v1/features`: what this server can do, in Prometheus' categories.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::response::success_json;
use crate::server::App;

/// `GET /api/v1/features`
pub async fn features(State(app): State<Arc<App>>) -> Response {
    let on = &app.engine.features;
    success_json(&json!({
        "api": {
            "admin": app.admin_enabled,
            "exclude_alerts": true,
            "label_values_match": true,
            "lifecycle": app.lifecycle_enabled,
            "openapi_3.1": true,
            "otlp_write_receiver": true,
            "query_stats": true,
            "query_warnings": true,
            "remote_write_receiver": true,
            "search": app.search_max_limit.is_some(),
            "time_range_labels": true,
            "time_range_series": true,
        },
        "otlp_receiver": {
            "delta_conversion": false,
            "native_delta_ingestion": app.otlp_native_delta,
        },
        "prometheus": {
            "agent_mode": false,
            "auto_reload_config": false,
            "exemplar_storage": app.config.current().storage.exemplars.max_exemplars != Some(0),
        },
        "promql": {
            "anchored": on.extended_range_selectors,
            "at_modifier": true,
            "bool": true,
            "by": true,
            "delayed_name_removal": on.delayed_name_removal,
            "duration_expr": true,
            "fill": on.binop_fill_modifiers,
            "fill_left": on.binop_fill_modifiers,
            "fill_right": on.binop_fill_modifiers,
            "group_left": true,
            "group_right": true,
            "ignoring": true,
            "negative_offset": true,
            "offset": true,
            "on": true,
            "per_query_lookback_delta": true,
            "per_step_stats": on.per_step_stats,
            "smoothed": on.extended_range_selectors,
            "subqueries": true,
            "type_and_unit_labels": on.type_and_unit_labels,
            "use_start_timestamps": on.use_start_timestamps,
            "utf8_metric_names": true,
            "without": true,
        },
        "promql_functions": functions(on.experimental_functions),
        "scrape": {},
        "rules": {},
        "tsdb": {
            "delayed_compaction": false,
            "exemplar_storage": true,
            "isolation": true,
            "native_histograms": true,
            "ooo_native_histograms": true,
        },
        "ui": { "ui_v2": false, "ui_v3": false },
    }))
}

/// Every function of the language, and whether a query may use it.
fn functions(experimental: bool) -> Value {
    tenbin_promql::function_names()
        .map(|(name, is_experimental)| (name.to_owned(), json!(experimental || !is_experimental)))
        .collect()
}
