//! Every answer that a test gets is one that its route declares, and to a request that its route declares.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};
use vicar::dispatch::{Route, Shape};
use vicar::routes::ROUTES;

use super::Answer;

/// The route that serves a path.
pub fn route(method: &str, path: &str) -> Option<&'static Route> {
    let path = path.split('?').next().unwrap_or_default();
    let parts = |path: &'static str| path.split('/').filter(|part| !part.is_empty());
    let asked: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let fits = |route: &&Route| {
        let pattern: Vec<&str> = parts(route.path).collect();
        pattern.len() == asked.len()
            && pattern.iter().zip(&asked).all(|(name, part)| name.starts_with('{') || name == part)
    };
    let of = |method: &str| ROUTES.iter().filter(fits).find(|route| route.method == method);
    of(method).or_else(|| of("GET").filter(|_| method == "HEAD"))
}

/// The document that the server has, which the tests compare with the reviewed one.
static DOCUMENT: LazyLock<Value> = LazyLock::new(vicar::routes::document);

/// Compares an answer with what its route declares, and with the document: its status is there, and its body fits
/// the schema.
#[track_caller]
pub fn check(method: &str, path: &str, body: Option<&[u8]>, answer: &Answer) {
    let Some(route) = route(method, path) else { return };
    // Nothing but a test's own fault makes one of these.
    if answer.status != 500 {
        conforms(method, route, answer);
    }
    if answer.status >= 400 {
        return;
    }
    let home = answer.header("content-type") == Some("application/json-home");
    let is_declared = route.answers.iter().any(|declared| {
        declared.status == answer.status
            && declared.header.is_none_or(|name| answer.header(name).is_some())
            && (method == "HEAD" || fits(declared.shape, answer) || home)
    });
    assert!(is_declared, "{route:?} does not declare its answer {}: {}", answer.status, answer.text);
    let Some(declared) = &route.declared.body else { return };
    let given: Value = serde_json::from_slice(body.unwrap_or_default()).unwrap_or_default();
    let given = declared.member.map_or(&given, |name| &given[name]);
    if let Err(e) = (declared.schema)().check("the body", given) {
        panic!("{route:?} took a body that it does not declare: {e:?}");
    }
}

/// Compares an answer with what the OpenAPI document says of its operation.
#[track_caller]
fn conforms(method: &str, route: &'static Route, answer: &Answer) {
    let operation = &DOCUMENT["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
    let response = resolve(&operation["responses"][answer.status.to_string()]);
    assert!(response.is_object(), "the document has no {} of {route:?}: {}", answer.status, answer.text);
    let content = &response["content"];
    if content.is_null() || method == "HEAD" {
        assert_eq!(answer.text, "", "{route:?} {}", answer.status);
        return;
    }
    let kind = answer.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    assert!(content.get(kind).is_some(), "the document has no {kind} of {route:?} {}", answer.status);
    let schema = &content[kind]["schema"];
    let body = match kind {
        json if json.contains("json") => answer.body.clone(),
        "application/x-www-form-urlencoded" => form(&answer.text),
        _ => Value::from(&*answer.text),
    };
    if let Err(e) =
        validator((route.path, route.method.as_str(), answer.status, kind), schema).validate(&body)
    {
        panic!(
            "{route:?} {} is not as the document says: {}: {e}\n{body:#}",
            answer.status,
            e.instance_path()
        );
    }
}

/// A form as the document describes it. None that is answered has anything to decode.
fn form(text: &str) -> Value {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>().into()
}

/// What a reference of the document leads to.
fn resolve(value: &'static Value) -> &'static Value {
    let to = value["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
    to.map_or(value, |to| DOCUMENT.pointer(to).expect("the reference leads somewhere"))
}

type Key = (&'static str, String, u16, String);

/// The schema of an answer, compiled once.
fn validator(
    (path, method, status, kind): (&'static str, &str, u16, &str),
    schema: &Value,
) -> Arc<Validator> {
    static COMPILED: LazyLock<Mutex<HashMap<Key, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let key = (path, method.to_owned(), status, kind.to_owned());
    let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        let whole = json!({"allOf": [schema], "components": DOCUMENT["components"]});
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.with_draft(Draft::Draft202012).build(&whole).expect("a schema"))
    };
    Arc::clone(all.entry(key).or_insert_with(compile))
}

fn fits(shape: Shape, answer: &Answer) -> bool {
    let member = shape.member().map(|name| &answer.body[name]);
    match (shape, member) {
        (Shape::Empty, _) => answer.text.is_empty(),
        (Shape::Document, _) => answer.body.is_object(),
        (Shape::Html, _) => answer.text.starts_with('<'),
        (Shape::Form, _) => answer.text.starts_with("oauth_token="),
        (Shape::Page(_), Some(list)) => list.is_array() && answer.body["links"].get("next").is_some(),
        (Shape::Whole(_), Some(list)) => list.is_array(),
        (_, Some(member)) => member.is_object(),
        (_, None) => false,
    }
}
