//! `POST /v3/auth/explain`.

use std::str::FromStr;

use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Facts, OPERATIONS, Op};
use vicar_rules::token::Kind;

use super::{About, Ask, Desk, Question, explain};
use crate::authz::Reading;
use crate::dispatch::{Route, Stage};
use crate::error::{Error, Result};
use crate::http::request::{AUTH_TOKEN, one, take_text};
use crate::http::schema::PRINTABLE;
use crate::schema;

/// The longest path, and the longest id.
const LONGEST: usize = 2_048;

fn printable(longest: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": longest, "pattern": PRINTABLE})
}

schema!(EXPLAIN, {
    "type": "object",
    "properties": {
        "subject": {
            "type": "object",
            "properties": {
                "token": {"type": "string", "minLength": 1, "maxLength": 16_384},
                "trust_id": printable(64),
            },
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "description": "A token or a trust; without it the token that asks",
        },
        "operation": printable(128),
        "service": printable(64),
        "method": {"enum": ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]},
        "path": printable(LONGEST),
        "target": {
            "type": "object",
            "maxProperties": 16,
            "propertyNames": {"pattern": "^[a-z_]{1,64}$"},
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 16_384, "pattern": PRINTABLE},
            "description": "Ids of objects, by the names that they have in paths and bodies",
        },
    },
    "additionalProperties": false,
});

/// `POST /v3/auth/explain`
///
/// # Errors
/// 400 that names the field, 403 or 404 for what the caller may not ask about.
pub async fn answer(s: &mut Reading<'_>, routes: &'static [Route]) -> Result<Response> {
    let caller = s.caller()?;
    let is_operator = caller.kind() == Kind::Login && s.allows(Op::ExplainOthers, &Facts::none())?;
    let question = question(s.body()?)?;
    let desk = Desk {
        routes,
        stage: Stage { app: s.app, policy: s.policy(), at: (s.now, s.epoch) },
        asker: Some(caller),
        is_operator,
        presents: s.request.token_header(&AUTH_TOKEN)?,
        links: s.links(),
        line: &s.request.line,
    };
    // All in one snapshot, and never two connections at once.
    let tx = std::mem::replace(&mut s.tx, s.app.store.read_later());
    let (tx, told) = explain(desk, tx, s.slow, &question).await?;
    s.tx = tx;
    Ok(one("explanation", told.to_json()))
}

fn question(mut body: Map<String, Value>) -> Result<Question> {
    let wrong = |field: &str, problem: &str| Error::field(&format!("explain.{field}"), problem);
    let about = match body.remove("subject") {
        Some(Value::Object(mut subject)) => match take_text(&mut subject, "token") {
            Some(text) => About::Token(text),
            None => About::Trust(take_text(&mut subject, "trust_id").unwrap_or_default()),
        },
        _ => About::Asker,
    };
    let (operation, service) = (take_text(&mut body, "operation"), take_text(&mut body, "service"));
    let ask = match (operation, service, take_text(&mut body, "method"), take_text(&mut body, "path")) {
        (None, None, None, None) => Ask::Nothing,
        (Some(name), None, None, None) => Ask::Operation(
            OPERATIONS
                .iter()
                .find(|row| row.name == name)
                .ok_or_else(|| wrong("operation", "is no operation of this server"))?,
        ),
        (None, Some(service), Some(method), Some(path)) => Ask::Elsewhere { service, method, path },
        (None, None, Some(method), Some(path)) => {
            Ask::Request(Method::from_str(&method).map_err(|_| wrong("method", "is no method"))?, path)
        }
        (None, _, None, _) => return Err(wrong("method", "is required beside a path or a service")),
        (None, _, _, None) => return Err(wrong("path", "is required beside a method or a service")),
        (Some(_), ..) => return Err(wrong("operation", "is either an operation or a method and a path")),
    };
    let target = match body.remove("target") {
        Some(Value::Object(map)) => {
            map.into_iter().filter_map(|(name, id)| Some((name, id.as_str()?.to_owned()))).collect()
        }
        _ => Default::default(),
    };
    Ok(Question { about, ask, target })
}
