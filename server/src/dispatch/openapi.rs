//! The OpenAPI document of a list of routes.

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::route::{Answer, Auth, Route, Shape};
use crate::http::request::FORM;

/// The name of the security scheme: a token in `X-Auth-Token`.
const TOKEN: &str = "token";

/// The document. What is public API, but says nothing of the server that serves it.
pub fn document(routes: &[Route]) -> Value {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in routes.iter().filter_map(operation_name) {
        *uses.entry(name).or_default() += 1;
    }
    let is_unique = |name: &str| uses.get(name) == Some(&1);
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let id = match operation_name(route) {
            Some(name) if is_unique(name) => name.to_owned(),
            Some(name) => format!("{name}_{}", words(route)),
            None => words(route),
        };
        let path = paths.entry(route.path).or_insert_with(|| path_item(route));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, &id);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Identity API v3",
            "version": "3.14",
            "description": "What this server serves of OpenStack's Identity API v3, with its own additions. \
                Each GET route serves HEAD too, with the same status and headers and no body, unless HEAD \
                is listed beside it.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components(),
    })
}

/// What the operations refer to.
fn components() -> Value {
    json!({
        "securitySchemes": {
            TOKEN: {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
        },
        "parameters": {
            "limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
            "marker": {
                "name": "marker",
                "in": "query",
                "description": "The id of the last item of the page before",
                "schema": {"type": "string"},
            },
        },
        "responses": {"Error": {
            "description": "An error",
            "content": {"application/json": {"schema": reference("schemas", "Error")}},
        }},
        "schemas": {
            "Error": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {
                    "type": "object",
                    "required": ["code", "message", "title"],
                    "properties": {
                        "code": {"type": "integer", "description": "The status"},
                        "message": {"type": "string"},
                        "title": {"type": "string"},
                    },
                }},
            },
            "Links": {
                "type": "object",
                "required": ["next", "previous", "self"],
                "properties": {
                    "next": {"type": ["string", "null"], "description": "The next page"},
                    "previous": {"type": "null"},
                    "self": {"type": "string"},
                },
            },
            "Truncated": {
                "type": "boolean",
                "description": "True when there are more items than the server returns at once",
            },
        },
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// The route's first operation, without the part before the colon.
fn operation_name(route: &Route) -> Option<&'static str> {
    let name = route.declared.ops.first()?.row().name;
    Some(name.split_once(':').map_or(name, |(_, name)| name))
}

/// The method and what the path consists of: different for each route.
fn words(route: &Route) -> String {
    let path: String = route.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
    let mut words = vec![route.method.as_str().to_ascii_lowercase()];
    words.extend(path.split_whitespace().map(str::to_owned));
    words.join("_")
}

fn path_item(route: &Route) -> Value {
    let params: Vec<Value> = route
        .params()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if params.is_empty() { json!({}) } else { json!({"parameters": params}) }
}

fn operation(route: &Route, id: &str) -> Value {
    let ops: Vec<&str> = route.declared.ops.iter().map(|op| op.row().name).collect();
    let mut out = Map::new();
    out.insert("operationId".into(), id.into());
    out.insert("tags".into(), json!([tag(route)]));
    if !ops.is_empty() {
        out.insert("x-policy".into(), ops.into());
    }
    let security = match route.auth {
        Auth::Required => json!([{TOKEN: []}]),
        Auth::Optional => json!([{}, {TOKEN: []}]),
        Auth::Login | Auth::Public => json!([]),
    };
    out.insert("security".into(), security);
    let parameters = parameters(route);
    if !parameters.is_empty() {
        out.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = &route.declared.body {
        let schema = match body.member {
            None => (body.schema)().json().clone(),
            Some(name) => json!({
                "type": "object",
                "required": [name],
                "properties": {name: (body.schema)().json()},
            }),
        };
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        out.insert("requestBody".into(), body);
    }
    let mut responses: Map<String, Value> =
        route.answers.iter().map(|a| (a.status.to_string(), response(route, *a))).collect();
    responses.insert("default".into(), reference("responses", "Error"));
    out.insert("responses".into(), responses.into());
    out.into()
}

/// The first fixed part of the path below the version.
fn tag(route: &Route) -> &'static str {
    match route.path.strip_prefix("/v3").unwrap_or(route.path).split('/').nth(1) {
        None | Some("" | "openapi.json") => "discovery",
        Some(part) => part,
    }
}

/// The parameters that are not of the path.
fn parameters(route: &Route) -> Vec<Value> {
    let mut out = Vec::new();
    if let Some(name) = route.header {
        out.push(json!({"name": name, "in": "header", "required": true, "schema": {"type": "string"}}));
    }
    let query = |name: &str, schema: &Value| json!({"name": name, "in": "query", "schema": schema});
    let schema = route.declared.query.and_then(|schema| schema().json().get("properties"));
    for (name, schema) in schema.and_then(Value::as_object).into_iter().flatten() {
        out.push(query(name, schema));
    }
    if route.answers.iter().any(|a| matches!(a.shape, Shape::Page(_))) {
        out.extend(["limit", "marker"].map(|name| reference("parameters", name)));
    }
    out
}

fn response(route: &Route, answer: Answer) -> Value {
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|s| s.canonical_reason());
    let mut out = Map::new();
    out.insert("description".into(), reason.unwrap_or_default().into());
    if let Some(name) = answer.header {
        out.insert("headers".into(), json!({name: {"schema": {"type": "string"}}}));
    }
    if let Some(schema) = schema(answer.shape)
        && route.method != Method::HEAD
    {
        let kind = if answer.shape == Shape::Form { FORM } else { "application/json" };
        out.insert("content".into(), json!({kind: {"schema": schema}}));
    }
    out.into()
}

fn schema(shape: Shape) -> Option<Value> {
    let one = |name: &str, schema: Value| json!({"type": "object", "required": [name], "properties": {name: schema}});
    match shape {
        Shape::Empty => None,
        Shape::Document => Some(json!({"type": "object"})),
        Shape::Form => {
            let parts = ["oauth_token", "oauth_token_secret", "oauth_expires_at"];
            let properties: Map<String, Value> =
                parts.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
            Some(json!({"type": "object", "required": parts[..2], "properties": properties}))
        }
        Shape::One(name) => Some(one(name, json!({"type": "object"}))),
        Shape::Whole(name) => Some(one(name, json!({"type": "array"}))),
        Shape::Page(name) => Some(json!({
            "type": "object",
            "required": [name, "links"],
            "properties": {
                name: {"type": "array", "items": {"type": "object"}},
                "links": reference("schemas", "Links"),
                "truncated": reference("schemas", "Truncated"),
            },
        })),
    }
}
