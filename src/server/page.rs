//! The page at `/query` and what it loads: embedded, and nothing from elsewhere.
//!
//! Script and style are files of their own, so that [`CONTENT_SECURITY_POLICY`] can forbid everything written
//! into a page.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::App;
use super::paths::escape_html;

const PAGE: &str = include_str!("../../ui/query.html");
const STYLE: &str = include_str!("../../ui/query.css");
const SCRIPT: &str = include_str!("../../ui/query.js");

/// What a page of this server may do: load its own script and style, and ask this server.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// The page's routes.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/query", get(page))
        .route("/assets/query.css", get(asset("text/css", STYLE)))
        .route("/assets/query.js", get(asset("text/javascript", SCRIPT)))
}

async fn page(State(app): State<Arc<App>>) -> Html<String> {
    Html(PAGE.replacen("{{title}}", &escape_html(&app.page_title), 1))
}

fn asset(
    media_type: &'static str,
    text: &'static str,
) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    move || {
        let content_type = format!("{media_type}; charset=utf-8");
        std::future::ready(([(header::CONTENT_TYPE, content_type)], text).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_nothing_that_its_policy_forbids() {
        assert_eq!(PAGE.matches("{{title}}").count(), 1);
        for forbidden in [
            "<style",
            "<script>",
            " style=",
            " onclick=",
            "http:",
            "https:",
        ] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        for forbidden in ["innerHTML", "eval(", "document.write"] {
            assert!(!SCRIPT.contains(forbidden), "{forbidden}");
        }
    }
}
