//! The OpenAPI document of a list of routes.

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::discovery::JSON_HOME;
use super::route::{Answer, Auth, Handler, Route, Shape};
use crate::extra;
use crate::http::request::FORM;

/// The name of the security scheme: a token in `X-Auth-Token`.
const TOKEN: &str = "token";

/// What answers carry under some names, for the document.
#[derive(Debug)]
pub struct Object {
    /// The name of its schema.
    pub name: &'static str,
    /// The names under which answers have it: one of them, or a list.
    pub members: &'static [&'static str],
    /// The beginning of the paths of which it is true; the longest wins. Of a document, the whole path.
    pub at: Option<&'static str>,
    /// Its schema.
    pub schema: fn() -> Value,
}

/// A list of [`Object`]s, one a line:
///
/// ```text
/// Keypair [credential credentials] at "/v3/users/{user_id}/credentials/OS-EC2" = keypair();
/// ```
///
/// - The name of the schema, by which other schemas refer to it.
/// - In brackets the names that it has in the `answers` of `routes.rs`; none for what is only referred to.
/// - `at` is the beginning of the paths where these names mean it. `NAME at "PATH"` without brackets is the document
///   of a route that answers `any`.
/// - The schema of one.
#[macro_export]
macro_rules! objects {
    ($($name:ident $([$($member:ident)*])? $(at $at:literal)? = $schema:expr;)*) => {
        &[$($crate::dispatch::openapi::Object {
            name: stringify!($name),
            members: &[$($(stringify!($member)),*)?],
            at: $crate::routes!(@option $($at)?),
            schema: || $schema,
        }),*]
    };
}

/// A header that an operation takes, and does not need.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Its name.
    pub name: &'static str,
    /// The scheme of HTTP authentication that it is of. `Authorization` is no parameter in a document.
    pub scheme: Option<&'static str>,
    /// What is in it.
    pub text: &'static str,
}

/// What there is to say of an operation besides its name.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The method and the path of its route.
    pub route: (&'static str, &'static str),
    /// What to call it in the place of its name.
    pub name: Option<&'static str>,
    /// A sentence or two.
    pub text: &'static str,
    /// Headers that it takes.
    pub headers: &'static [Header],
}

impl About {
    /// What a route does.
    pub const fn of(method: &'static str, path: &'static str, text: &'static str) -> Self {
        Self { route: (method, path), name: None, text, headers: &[] }
    }

    /// With a name.
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// With headers.
    pub const fn with(mut self, headers: &'static [Header]) -> Self {
        self.headers = headers;
        self
    }

    /// Whether it is about this route.
    pub fn is_of(&self, route: &Route) -> bool {
        self.route == (route.method.as_str(), route.path)
    }
}

/// The name of the schema of what an answer has under a name. The macro's order of two that begin alike does not
/// matter.
fn object_of(objects: &[Object], path: &str, member: Option<&str>) -> Option<&'static str> {
    let fits = |o: &&Object| match member {
        Some(name) => o.members.contains(&name) && o.at.is_none_or(|at| path.starts_with(at)),
        None => o.members.is_empty() && o.at == Some(path),
    };
    objects.iter().filter(fits).max_by_key(|o| o.at.map_or(0, str::len)).map(|o| o.name)
}

/// The answers that no object describes, for a test.
pub fn undescribed(routes: &[Route], objects: &[Object]) -> Vec<String> {
    let described = routes.iter().flat_map(|r| r.answers.iter().map(move |a| (r, a)));
    let answers = described.filter(|(_, a)| a.status < 400).map(|(r, a)| (r, a.shape));
    let missing = answers.filter(|(route, shape)| {
        !matches!(shape, Shape::Empty | Shape::Form | Shape::Html)
            && object_of(objects, route.path, shape.member()).is_none()
    });
    missing.map(|(route, shape)| format!("{route:?}: {shape:?}")).collect()
}

/// The document. What is public API, but says nothing of the server that serves it.
pub fn document(routes: &[Route], objects: &[Object], about: &[About]) -> Value {
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
        path[route.method.as_str().to_ascii_lowercase()] =
            operation(route, &id, objects, about.iter().find(|about| about.is_of(route)));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Identity API v3",
            "version": "3.14",
            "description": "What this server serves of OpenStack's Identity API v3, with its own additions. \
                Each GET route serves HEAD too, with the same status and headers and no body, unless HEAD \
                is listed beside it. Every other method is 405. An answer has its request's id in \
                `x-openstack-request-id`.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components(objects, about),
    })
}

/// What the operations refer to.
fn components(objects: &[Object], about: &[About]) -> Value {
    let mut schemas = json!({
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
    });
    for object in objects {
        extra::set(&mut schemas, object.name, (object.schema)());
    }
    json!({
        "securitySchemes": schemes(about),
        "parameters": {
            "limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
            "marker": {
                "name": "marker",
                "in": "query",
                "description": "The id of the last item of the page before",
                "schema": {"type": "string"},
            },
        },
        "responses": responses(),
        "schemas": schemas,
    })
}

/// How a request says who it is from.
fn schemes(about: &[About]) -> Value {
    let mut all = json!({TOKEN: {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}});
    for header in about.iter().flat_map(|about| about.headers) {
        if let Some(scheme) = header.scheme {
            let one = json!({"type": "http", "scheme": scheme, "description": header.text});
            extra::set(&mut all, scheme, one);
        }
    }
    all
}

/// The errors, each with when it comes.
const ERRORS: [(u16, &str, &str); 8] = [
    (400, "BadRequest", "The request is wrong; the message names the field"),
    (401, "Unauthorized", "No valid token, or a login that failed"),
    (403, "Forbidden", "The policy, or a rule of delegation, refuses it"),
    (404, "NotFound", "Something that the request names is not there, or is over"),
    (408, "TooSlow", "The request did not arrive in time"),
    (409, "Conflict", "It exists already"),
    (413, "TooLarge", "The body is larger than the server accepts"),
    (503, "Unavailable", "Too much is asked for at once, or the database is away"),
];

/// Which of them a route can answer.
fn errors(route: &Route) -> impl Iterator<Item = (u16, &'static str)> {
    // What is signed needs no token.
    let asks = route.auth != Auth::Public || route.method == Method::POST;
    let writes = matches!(route.handler, Handler::Write(_)) && route.method != Method::DELETE;
    ERRORS
        .iter()
        .filter(move |e| match e.0 {
            401 | 403 | 404 => asks,
            409 => writes,
            _ => true,
        })
        .map(|e| (e.0, e.1))
}

fn responses() -> Value {
    let text = json!({"type": "string"});
    let all = ERRORS.iter().map(|(status, name, description)| {
        let mut out = json!({
            "description": description,
            "content": {"application/json": {"schema": reference("schemas", "Error")}},
        });
        match status {
            401 => extra::set(&mut out, "headers", json!({"WWW-Authenticate": {"schema": text}})),
            503 => extra::set(&mut out, "headers", json!({"Retry-After": {"schema": {"type": "integer"}}})),
            _ => {}
        }
        ((*name).to_owned(), out)
    });
    Value::Object(all.collect())
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

fn operation(route: &Route, id: &str, objects: &[Object], about: Option<&About>) -> Value {
    let ops: Vec<&str> = route.declared.ops.iter().map(|op| op.row().name).collect();
    let mut out = Map::new();
    out.insert("operationId".into(), id.into());
    out.insert("summary".into(), summary(route, about).into());
    if let Some(about) = about {
        out.insert("description".into(), about.text.into());
    }
    out.insert("tags".into(), json!([tag(route)]));
    if !ops.is_empty() {
        out.insert("x-policy".into(), ops.into());
    }
    let security = match route.auth {
        Auth::Required => json!([{TOKEN: []}]),
        Auth::Optional => json!([{}, {TOKEN: []}]),
        Auth::Login | Auth::Public => {
            let headers = about.map_or(&[][..], |about| about.headers);
            let mut ways: Vec<Value> =
                headers.iter().filter_map(|header| header.scheme).map(|scheme| json!({scheme: []})).collect();
            if !ways.is_empty() {
                ways.insert(0, json!({}));
            }
            ways.into()
        }
    };
    out.insert("security".into(), security);
    let parameters = parameters(route, about);
    if !parameters.is_empty() {
        out.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = &route.declared.body {
        let mut schema = match body.member {
            None => (body.schema)().json().clone(),
            Some(name) => json!({
                "type": "object",
                "required": [name],
                "properties": {name: (body.schema)().json()},
            }),
        };
        // What the schema takes for null is that there is none.
        let is_required = !schema.get("type").is_some_and(Value::is_array);
        if !is_required {
            extra::set(&mut schema, "type", "object");
        }
        let body = json!({"required": is_required, "content": {"application/json": {"schema": schema}}});
        out.insert("requestBody".into(), body);
    }
    if let Some(form) = route.form {
        let schema = form().json();
        // Where nothing in it is required there need be none.
        let is_required = schema.get("required").is_some();
        out.insert(
            "requestBody".into(),
            json!({"required": is_required, "content": {FORM: {"schema": schema}}}),
        );
    }
    let mut responses: Map<String, Value> =
        route.answers.iter().map(|a| (a.status.to_string(), response(route, *a, objects))).collect();
    for (status, name) in errors(route) {
        responses.entry(status.to_string()).or_insert_with(|| reference("responses", name));
    }
    out.insert("responses".into(), responses.into());
    out.into()
}

/// What the route does, in the words of its operation.
fn summary(route: &Route, about: Option<&About>) -> String {
    if let Some(name) = about.and_then(|about| about.name) {
        return name.to_owned();
    }
    let words = match operation_name(route) {
        Some(name) => name.replace('_', " "),
        None if route.auth == Auth::Login => "log in".to_owned(),
        None => "read the document".to_owned(),
    };
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

/// The first fixed part of the path below the version.
fn tag(route: &Route) -> &'static str {
    match route.path.strip_prefix("/v3").unwrap_or(route.path).split('/').nth(1) {
        None | Some("" | "openapi.json") => "discovery",
        Some(part) => part,
    }
}

/// The parameters that are not of the path.
fn parameters(route: &Route, about: Option<&About>) -> Vec<Value> {
    let mut out = Vec::new();
    if let Some(name) = route.header {
        out.push(json!({"name": name, "in": "header", "required": true, "schema": {"type": "string"}}));
    }
    for header in about.into_iter().flat_map(|about| about.headers).filter(|header| header.scheme.is_none()) {
        out.push(json!({
            "name": header.name,
            "in": "header",
            "description": header.text,
            "schema": {"type": "string"},
        }));
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

fn response(route: &Route, answer: Answer, objects: &[Object]) -> Value {
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|s| s.canonical_reason());
    let mut out = Map::new();
    out.insert("description".into(), reason.unwrap_or_default().into());
    if let Some(name) = answer.header {
        out.insert("headers".into(), json!({name: {"schema": {"type": "string"}}}));
    }
    let schema = match answer.status {
        400.. => {
            let error = reference("schemas", "Error");
            Some(match object_of(objects, route.path, None) {
                Some(name) => json!({"anyOf": [error, reference("schemas", name)]}),
                None => error,
            })
        }
        _ => schema(route, answer.shape, objects),
    };
    if let Some(schema) = schema
        && route.method != Method::HEAD
    {
        let home = json!({"schema": reference("schemas", "JsonHome")});
        let kind = match answer.shape {
            Shape::Form => FORM,
            Shape::Html => "text/html",
            _ => "application/json",
        };
        let content = match (route.path, answer.shape) {
            ("/", Shape::Document) => json!({JSON_HOME: home}),
            ("/v3", Shape::Document) => json!({"application/json": {"schema": schema}, JSON_HOME: home}),
            _ => json!({kind: {"schema": schema}}),
        };
        out.insert("content".into(), content);
    }
    out.into()
}

fn schema(route: &Route, shape: Shape, objects: &[Object]) -> Option<Value> {
    let item = object_of(objects, route.path, shape.member());
    let item = item.map_or_else(|| json!({}), |name| reference("schemas", name));
    let one = |name: &str, schema: Value| json!({"type": "object", "required": [name], "properties": {name: schema}});
    match shape {
        Shape::Empty => None,
        Shape::Document => Some(item),
        Shape::Html => Some(json!({"type": "string"})),
        Shape::Form => {
            let parts = ["oauth_token", "oauth_token_secret", "oauth_expires_at"];
            let properties: Map<String, Value> =
                parts.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
            Some(json!({"type": "object", "required": parts[..2], "properties": properties}))
        }
        Shape::One(name) => Some(one(name, item)),
        Shape::Whole(name) => Some(one(name, json!({"type": "array", "items": item}))),
        Shape::Page(name) => Some(json!({
            "type": "object",
            "required": [name, "links"],
            "properties": {
                name: {"type": "array", "items": item},
                "links": reference("schemas", "Links"),
                "truncated": reference("schemas", "Truncated"),
            },
        })),
    }
}
