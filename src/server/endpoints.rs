//! The endpoints under `/api/v1`: each is declared once, with its handler and what `openapi.yaml` says
//! about it.
//!
//! Parameters are names with blanks between; `!` marks one that must be given, `[]` one that may be
//! repeated. Names of operations are Prometheus' where it has the endpoint.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::paths::not_found;
use super::router::method_not_allowed;
use super::{App, compression, cors};
use crate::api::openapi::{Endpoint, Methods, openapi};
use crate::api::params::Params;
use crate::api::{
    admin, exemplars, features, import, labels, metadata, notifications, otlp, query, remote_read,
    rules, search, self_metrics, series, status, targets, write,
};

/// Parameters of all searches.
macro_rules! search_parameters {
    ($own:literal) => {
        concat!(
            $own,
            "match[] search[] fuzz_threshold fuzz_alg case_sensitive sort_by sort_dir ",
            "include_score start end limit batch_size"
        )
    };
}

/// Routes and their descriptions, collected together.
#[derive(Default)]
struct Endpoints {
    router: Router<Arc<App>>,
    described: Vec<Endpoint>,
    /// The group of what is added now.
    tag: &'static str,
}

impl Endpoints {
    /// What is added from now on belongs to `tag`.
    fn group(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    fn add(
        mut self,
        methods: Methods,
        route: MethodRouter<Arc<App>>,
        [path, id, parameters, summary]: [&'static str; 4],
    ) -> Self {
        self.router = self.router.route(path, route);
        self.described.push(Endpoint {
            path,
            methods,
            tag: self.tag,
            id,
            parameters,
            summary,
        });
        self
    }

    /// An endpoint for GET: path, name, parameters, summary.
    fn get<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        handler: H,
        about: [&'static str; 4],
    ) -> Self {
        self.add(Methods::Get, get(handler), about)
    }

    /// For GET, and POST with a form.
    fn ask<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        handler: H,
        about: [&'static str; 4],
    ) -> Self {
        self.add(
            Methods::GetAndForm,
            get(handler.clone()).post(handler),
            about,
        )
    }

    /// For POST.
    fn send<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        handler: H,
        about: [&'static str; 4],
    ) -> Self {
        self.add(Methods::Post, post(handler), about)
    }

    /// For POST and PUT.
    fn order<H: Handler<T, Arc<App>>, T: 'static>(
        self,
        handler: H,
        about: [&'static str; 4],
    ) -> Self {
        self.add(
            Methods::PostAndPut,
            post(handler.clone()).put(handler),
            about,
        )
    }
}

/// All of them, with compression and CORS.
pub(super) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let all = Endpoints::default();
    let mut all = operators(status(targets_and_rules(lookups(queries(all)))));
    all.router = all
        .router
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(0)))
        .layer(from_fn(compression::layer));
    let mut all = streams(all);
    all.router = all
        .router
        .layer(from_fn_with_state(Arc::clone(app), only_when_ready));
    let all = at_any_time(all);
    let described: Arc<[Endpoint]> = all.described.into();
    let document = move |State(app): State<Arc<App>>, params: Params| async move {
        match app.store() {
            Some(_) => openapi(&app, &described, &params),
            None => app.not_ready(),
        }
    };
    all.router
        .route("/openapi.yaml", get(document))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(app), cors::layer))
}

/// 503 until the store is open, and once the server stops.
async fn only_when_ready(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.store() {
        Some(_) => next.run(request).await,
        None => app.not_ready(),
    }
}

fn queries(all: Endpoints) -> Endpoints {
    all.group("query")
        .ask(
            query::instant,
            [
                "/query",
                "query",
                "query! time timeout limit lookback_delta stats",
                "Evaluate at one time",
            ],
        )
        .ask(
            query::range,
            [
                "/query_range",
                "query-range",
                "query! start! end! step! timeout limit lookback_delta stats",
                "Evaluate at many times",
            ],
        )
        .ask(
            exemplars::exemplars,
            [
                "/query_exemplars",
                "query-exemplars",
                "query! start end",
                "Exemplars of the selected series",
            ],
        )
        .ask(
            query::format_query,
            [
                "/format_query",
                "format-query",
                "query!",
                "A query, laid out",
            ],
        )
        .ask(
            query::parse_query_tree,
            ["/parse_query", "parse-query", "query!", "A query as a tree"],
        )
}

fn lookups(all: Endpoints) -> Endpoints {
    all.group("labels")
        .ask(
            labels::names,
            [
                "/labels",
                "labels",
                "match[] start end limit",
                "Label names",
            ],
        )
        .get(
            labels::values,
            [
                "/label/{name}/values",
                "label-values",
                "match[] start end limit",
                "Values of a label",
            ],
        )
        .group("series")
        .ask(
            series::series,
            [
                "/series",
                "series",
                "match[]! start end limit",
                "Series by matchers",
            ],
        )
        .group("metadata")
        .get(
            metadata::metadata,
            [
                "/metadata",
                "get-metadata",
                "metric limit limit_per_metric",
                "Type, help and unit of metrics",
            ],
        )
}

fn targets_and_rules(all: Endpoints) -> Endpoints {
    all.group("targets")
        .get(
            targets::scrape_pools,
            [
                "/scrape_pools",
                "get-scrape-pools",
                "",
                "Scrape pools: none",
            ],
        )
        .get(
            targets::scrape_pool_config,
            [
                "/scrape_pools/config",
                "get-scrape-pools-config",
                "scrapePool!",
                "Configuration of a scrape pool: none",
            ],
        )
        .get(
            targets::targets,
            [
                "/targets",
                "get-targets",
                "state scrapePool",
                "Targets: none",
            ],
        )
        .get(
            targets::metadata,
            [
                "/targets/metadata",
                "get-targets-metadata",
                "match_target metric limit",
                "Metadata of targets: none",
            ],
        )
        .get(
            targets::relabel_steps,
            [
                "/targets/relabel_steps",
                "get-targets-relabel-steps",
                "scrapePool! labels!",
                "Relabelling: no scrape pool",
            ],
        )
        .group("rules")
        .get(
            rules::rules,
            [
                "/rules",
                "rules",
                "type rule_name[] rule_group[] file[] match[] exclude_alerts group_limit \
                 group_next_token",
                "Rules: none",
            ],
        )
        .group("alerts")
        .get(rules::alerts, ["/alerts", "alerts", "", "Alerts: none"])
        .get(
            targets::alertmanagers,
            ["/alertmanagers", "alertmanagers", "", "Alertmanagers: none"],
        )
}

fn status(all: Endpoints) -> Endpoints {
    all.group("status")
        .get(
            status::config,
            [
                "/status/config",
                "get-status-config",
                "",
                "The configuration in force",
            ],
        )
        .get(
            status::runtimeinfo,
            [
                "/status/runtimeinfo",
                "get-status-runtimeinfo",
                "",
                "The process",
            ],
        )
        .get(
            status::buildinfo,
            [
                "/status/buildinfo",
                "get-status-buildinfo",
                "",
                "The version",
            ],
        )
        .get(
            status::flags,
            [
                "/status/flags",
                "get-status-flags",
                "",
                "The flags in force",
            ],
        )
        .get(
            status::tsdb,
            [
                "/status/tsdb",
                "status-tsdb",
                "limit",
                "What the head consists of",
            ],
        )
        .get(
            status::blocks,
            [
                "/status/tsdb/blocks",
                "status-tsdb-blocks",
                "",
                "The blocks",
            ],
        )
        .get(
            self_metrics::self_metrics,
            [
                "/status/self_metrics",
                "get-status-self-metrics",
                "metric_name_pattern",
                "The server's metrics",
            ],
        )
        .group("features")
        .get(
            features::features,
            ["/features", "get-features", "", "What the server can do"],
        )
}

fn operators(all: Endpoints) -> Endpoints {
    all.group("admin")
        .order(
            admin::delete_series,
            [
                "/admin/tsdb/delete_series",
                "deleteSeries",
                "match[]! start end",
                "Delete samples",
            ],
        )
        .order(
            admin::clean_tombstones,
            [
                "/admin/tsdb/clean_tombstones",
                "cleanTombstones",
                "",
                "Deleted samples leave the files",
            ],
        )
        .order(
            admin::snapshot,
            [
                "/admin/tsdb/snapshot",
                "snapshot",
                "skip_head",
                "A copy of the database",
            ],
        )
        .order(
            admin::flush,
            [
                "/admin/tsdb/flush",
                "flush",
                "",
                "The head goes into blocks",
            ],
        )
        .order(
            admin::compact,
            [
                "/admin/tsdb/compact",
                "compact",
                "",
                "Blocks merge to their final level",
            ],
        )
}

/// What is not compressed, as in Prometheus.
fn streams(all: Endpoints) -> Endpoints {
    all.group("metadata")
        .ask(
            search::metric_names,
            [
                "/search/metric_names",
                "search-metric-names",
                search_parameters!("include_metadata "),
                "Metric names, ranked",
            ],
        )
        .group("labels")
        .ask(
            search::label_names,
            [
                "/search/label_names",
                "search-label-names",
                search_parameters!(""),
                "Label names, ranked",
            ],
        )
        .ask(
            search::label_values,
            [
                "/search/label_values",
                "search-label-values",
                search_parameters!("label! "),
                "Values of a label, ranked",
            ],
        )
        .group("remote")
        .send(
            remote_read::read,
            ["/read", "remoteRead", "", "Remote read"],
        )
        .send(write::write, ["/write", "remoteWrite", "", "Remote write"])
        .send(
            import::prometheus,
            [
                "/import/prometheus",
                "importPrometheus",
                "timestamp extra_label",
                "Exposition text or OpenMetrics",
            ],
        )
        .group("otlp")
        .send(
            otlp::metrics,
            [
                "/otlp/v1/metrics",
                "otlpWrite",
                "",
                "Metrics from OpenTelemetry",
            ],
        )
}

/// What is answered before the store is open, too.
fn at_any_time(all: Endpoints) -> Endpoints {
    all.group("status")
        .get(
            status::walreplay,
            [
                "/status/walreplay",
                "get-status-walreplay",
                "",
                "How the replay at start goes",
            ],
        )
        .group("notifications")
        .get(
            notifications::notifications,
            [
                "/notifications",
                "get-notifications",
                "",
                "What an operator should know",
            ],
        )
        .get(
            notifications::live,
            [
                "/notifications/live",
                "notifications-live",
                "",
                "The same as a stream of events",
            ],
        )
}
