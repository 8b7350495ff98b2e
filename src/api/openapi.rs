//! `/api/v1/openapi.yaml`: the endpoints with their methods and parameters, as the router declares them.
//!
//! Names of operations, tags, parameters and their types are those of Prometheus 3.14; texts are ours,
//! and there are no schemas of answers. Source: Prometheus `web/api/v1/openapi*.go`.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::params::Params;
use super::status::PROMETHEUS_VERSION;
use crate::server::App;

/// How an endpoint may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    /// GET alone.
    Get,
    /// GET, or POST with the parameters in a form.
    GetAndForm,
    /// POST alone.
    Post,
    /// POST or PUT.
    PostAndPut,
}

/// What is said about an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Under `/api/v1`.
    pub path: &'static str,
    /// How it may be asked.
    pub methods: Methods,
    /// Its group.
    pub tag: &'static str,
    /// What the names of its operations begin with.
    pub id: &'static str,
    /// Names with blanks between; `!` behind one that must be given.
    pub parameters: &'static str,
    /// What it answers.
    pub summary: &'static str,
}

/// The type of a parameter; it goes with the name.
fn schema(name: &str) -> Value {
    match name {
        "time" | "start" | "end" => json!({ "oneOf": [
            { "type": "string", "format": "date-time" },
            { "type": "number", "format": "unixtime" },
        ]}),
        "step" | "timeout" | "lookback_delta" => json!({ "oneOf": [
            { "type": "string", "format": "duration" },
            { "type": "number", "format": "float" },
        ]}),
        "limit" | "limit_per_metric" | "group_limit" | "fuzz_threshold" | "batch_size" => {
            json!({ "type": "integer", "format": "int64" })
        }
        "case_sensitive" | "include_score" | "include_metadata" => json!({ "type": "boolean" }),
        repeated if repeated.ends_with("[]") => {
            json!({ "type": "array", "items": { "type": "string" } })
        }
        _ => json!({ "type": "string" }),
    }
}

/// Names with whether they must be given.
fn parameters(endpoint: &Endpoint) -> impl Iterator<Item = (&'static str, bool)> {
    endpoint
        .parameters
        .split_whitespace()
        .map(|word| (word.trim_end_matches('!'), word.ends_with('!')))
}

fn operation(endpoint: &Endpoint, id: &str, has_form: bool) -> Value {
    let in_path = endpoint.path.contains("{name}").then(|| {
        json!({ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = parameters(endpoint).filter(|_| !has_form).map(|(name, required)| {
        json!({ "name": name, "in": "query", "required": required, "schema": schema(name) })
    });
    let listed: Vec<Value> = in_path.into_iter().chain(in_query).collect();
    let mut operation = json!({
        "operationId": id,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": listed,
        "responses": {
            "200": { "description": "Success" },
            "default": { "description": "Error" },
        },
    });
    if has_form {
        let properties: BTreeMap<&str, Value> = parameters(endpoint)
            .map(|(name, _)| (name, schema(name)))
            .collect();
        let required: Vec<&str> = parameters(endpoint)
            .filter_map(|(name, required)| required.then_some(name))
            .collect();
        let form = json!({ "type": "object", "properties": properties, "required": required });
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/x-www-form-urlencoded": { "schema": form } },
        });
    }
    operation
}

fn operations(endpoint: &Endpoint) -> BTreeMap<&'static str, Value> {
    let id = endpoint.id;
    let plain = |id: &str| operation(endpoint, id, false);
    match endpoint.methods {
        Methods::Get => BTreeMap::from([("get", plain(id))]),
        Methods::Post => BTreeMap::from([("post", plain(id))]),
        Methods::GetAndForm => BTreeMap::from([
            ("get", plain(id)),
            ("post", operation(endpoint, &format!("{id}-post"), true)),
        ]),
        Methods::PostAndPut => BTreeMap::from([
            ("post", plain(&format!("{id}Post"))),
            ("put", plain(&format!("{id}Put"))),
        ]),
    }
}

/// The document; a stream of events can be described in 3.2 only.
fn document(version: &str, server: &str, endpoints: &[Endpoint]) -> Value {
    let has_streams = version != "3.1.0";
    let paths: BTreeMap<&str, BTreeMap<&str, Value>> = endpoints
        .iter()
        .filter(|endpoint| has_streams || endpoint.path != "/notifications/live")
        .map(|endpoint| (endpoint.path, operations(endpoint)))
        .collect();
    json!({
        "openapi": version,
        "info": { "title": "Tenbin: Prometheus API", "version": PROMETHEUS_VERSION },
        "servers": [{ "url": server }],
        "paths": paths,
    })
}

/// `GET /api/v1/openapi.yaml`: version 3.1 unless 3.2 is asked for.
pub fn openapi(app: &App, endpoints: &[Endpoint], params: &Params) -> Response {
    let version = match params.first("openapi_version") {
        "3.2" | "3.2.0" => "3.2.0",
        _ => "3.1.0",
    };
    let server = format!("{}/api/v1", app.external_url.url.trim_end_matches('/'));
    let mut response = serde_saphyr::to_string(&document(version, &server, endpoints))
        .unwrap_or_default()
        .into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/yaml; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(path: &'static str, methods: Methods, parameters: &'static str) -> Endpoint {
        Endpoint {
            path,
            methods,
            tag: "query",
            id: "query",
            parameters,
            summary: "x",
        }
    }

    #[test]
    fn parameters_of_a_post_stand_in_its_form() {
        let all = [
            endpoint("/query", Methods::GetAndForm, "query! time"),
            endpoint("/label/{name}/values", Methods::Get, "match[]"),
            endpoint("/notifications/live", Methods::Get, ""),
            endpoint("/admin/x", Methods::PostAndPut, ""),
        ];
        let yaml = serde_saphyr::to_string(&document("3.1.0", "http://h/api/v1", &all)).unwrap();
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["openapi"], "3.1.0");
        assert_eq!(read["servers"][0]["url"], "http://h/api/v1");
        let query = &read["paths"]["/query"];
        assert_eq!(query["get"]["operationId"], "query");
        assert_eq!(query["get"]["parameters"][0]["required"], true);
        assert_eq!(query["post"]["operationId"], "query-post");
        assert_eq!(query["post"]["parameters"], json!([]));
        let form = &query["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"];
        assert_eq!(form["schema"]["required"], json!(["query"]));
        assert_eq!(
            form["schema"]["properties"]["time"]["oneOf"][1]["type"],
            "number"
        );
        let values = &read["paths"]["/label/{name}/values"]["get"]["parameters"];
        assert_eq!(
            (&values[0]["in"], &values[1]["schema"]["type"]),
            (&json!("path"), &json!("array"))
        );
        assert_eq!(read["paths"]["/admin/x"]["put"]["operationId"], "queryPut");
        assert!(read["paths"]["/notifications/live"].is_null());
        let newer = document("3.2.0", "", &all);
        assert!(newer["paths"]["/notifications/live"].is_object());
    }
}
