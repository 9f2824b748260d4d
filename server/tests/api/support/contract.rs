//! Every answer that a test gets is one that its route declares, and to a request that its route declares.

use serde_json::Value;
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

/// Errors are the same everywhere; every other answer is compared with what its route declares.
#[track_caller]
pub fn check(method: &str, path: &str, body: Option<&[u8]>, answer: &Answer) {
    let Some(route) = route(method, path).filter(|_| answer.status < 400) else { return };
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

fn fits(shape: Shape, answer: &Answer) -> bool {
    let member = shape.member().map(|name| &answer.body[name]);
    match (shape, member) {
        (Shape::Empty, _) => answer.text.is_empty(),
        (Shape::Document, _) => answer.body.is_object(),
        (Shape::Form, _) => answer.text.starts_with("oauth_token="),
        (Shape::Page(_), Some(list)) => list.is_array() && answer.body["links"].get("next").is_some(),
        (Shape::Whole(_), Some(list)) => list.is_array(),
        (_, Some(member)) => member.is_object(),
        (_, None) => false,
    }
}
