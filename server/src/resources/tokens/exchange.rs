//! `POST /v3/ec2tokens` and `/v3/s3tokens`: the request's side of the exchange.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::policy::Op;
use vicar_rules::signature::{S3Request, SignedRequest};
use vicar_rules::token::EC2_METHOD;

use super::http::{enforces_access_rules, note_uses};
use crate::auth::exchange::{BAD_SIGNATURE, Signed, exchange};
use crate::auth::keypair::credential_id;
use crate::auth::render::render;
use crate::auth::token::Known;
use crate::authz::{NoObject, Writing};
use crate::error::{Error, Result};
use crate::http::request::{SUBJECT_TOKEN, rendered, with_header};
use crate::reason::Reason;
use crate::schema;

const NO_SIGNATURE: Error = Error::UnauthorizedBecause(Reason::NoSignature, "EC2 signature not supplied.");

// As Keystone answers it.
const NO_METHOD: Error = Error::NotConfigured(
    "EC2 and S3 credentials yield no tokens here: ec2credential is not among `[auth] methods` of this server.",
);

fn signed() -> Value {
    json!({
        "type": ["object", "null"],
        "properties": {
            "access": {"type": "string"},
            "signature": {"type": "string"},
            "host": {"type": ["string", "null"]},
            "verb": {"type": ["string", "null"]},
            "path": {"type": ["string", "null"]},
            "params": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number"]}},
            "headers": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number"]}},
            "body_hash": {"type": ["string", "null"]},
            "token": {"type": ["string", "null"], "description": "What was signed, for /v3/s3tokens"},
        },
    })
}

// The body is read step by step, since some of what is wrong with it is a 401. This is for readers; the tests
// compare it with every exchange that they make.
schema!(SIGNED, {
    "type": "object",
    "minProperties": 1,
    "properties": {"credentials": signed(), "credential": signed(), "ec2Credentials": signed()},
});

/// `POST /v3/ec2tokens`
pub async fn ec2(s: &mut Writing<'_>) -> Result<Response> {
    let given = credentials(s, Op::Ec2tokensValidate)?;
    let signed = Signed::Ec2(ec2_request(&given)?);
    // Whoever is given the token has to ask about it, and is told then only if they enforce its access rules.
    let (text, response) = answer(s, &signed, true).await?;
    Ok(with_header(response, SUBJECT_TOKEN, &text))
}

/// `POST /v3/s3tokens`: the answer says who it is, and carries no token.
pub async fn s3(s: &mut Writing<'_>) -> Result<Response> {
    let given = credentials(s, Op::S3tokensValidate)?;
    let text = |name| required(&given, name);
    let signed = S3Request::from_token(text("access")?, text("signature")?, text("token")?);
    let signed = Signed::S3(signed.map_err(|_| BAD_SIGNATURE)?);
    // Here the answer is all that there is.
    let enforces = enforces_access_rules(s.request)?;
    Ok(answer(s, &signed, enforces).await?.1)
}

async fn answer(s: &mut Writing<'_>, signed: &Signed, enforces: bool) -> Result<(String, Response)> {
    let known = Known::of_caller(s.caller()?.token());
    let (text, token) = exchange(&mut s.tx, s.app.auth(), signed, known, &s.request.line, s.now).await?;
    if token.access.is_limited() && !enforces {
        return Err(Error::Unauthorized(Reason::AccessRules));
    }
    s.request.line.subject(token.ids());
    let shown = render(&mut s.tx, &s.app.config, &token, true).await?;
    note_uses(s, &token, Some(&credential_id(signed.access())));
    s.after_commit(|metrics| {
        metrics.tokens_issued.inc();
    });
    Ok((text, rendered(StatusCode::OK, shown.body())))
}

/// The caller's right, and the object with the signature under one of the names that clients use.
fn credentials(s: &Writing<'_>, op: Op) -> Result<Map<String, Value>> {
    s.authorize(op, NoObject)?;
    if !s.app.config.auth_methods.iter().any(|m| m == EC2_METHOD) {
        // Without its bit in the methods, the token would not be recognisable as what it is.
        return Err(NO_METHOD);
    }
    if !s.request.has_body() {
        return Err(Error::BadRequest("request must include a request body".into()));
    }
    let mut body = s.request.json()?;
    if body.is_empty() {
        return Err(Error::BadRequest("request must include a request body".into()));
    }
    for name in ["credentials", "credential", "ec2Credentials"] {
        match body.remove(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => return Ok(map),
            Some(_) => return Err(Error::BadRequest(format!("{name}: must be an object"))),
        }
    }
    Err(NO_SIGNATURE)
}

fn required<'a>(map: &'a Map<String, Value>, name: &str) -> Result<&'a str> {
    match map.get(name) {
        Some(Value::String(s)) if !s.is_empty() => Ok(s),
        None | Some(Value::Null | Value::String(_)) => Err(NO_SIGNATURE),
        Some(_) => Err(Error::BadRequest(format!("credentials.{name}: must be a string"))),
    }
}

fn ec2_request(map: &Map<String, Value>) -> Result<SignedRequest> {
    let text = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(s)) => Ok(s.clone()),
        Some(_) => Err(Error::BadRequest(format!("credentials.{name}: must be a string"))),
    };
    let pairs = |name: &str| -> Result<BTreeMap<String, String>> {
        let wrong = || Error::BadRequest(format!("credentials.{name}: must be an object of strings"));
        match map.get(name) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Object(o)) => o
                .iter()
                .map(|(k, v)| match v {
                    Value::String(s) => Ok((k.clone(), s.clone())),
                    // Clients put versions and counts in as numbers; they sign their digits.
                    Value::Number(n) => Ok((k.clone(), n.to_string())),
                    _ => Err(wrong()),
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    };
    Ok(SignedRequest {
        access: required(map, "access")?.to_owned(),
        signature: required(map, "signature")?.to_owned(),
        host: text("host")?,
        verb: text("verb")?,
        path: text("path")?,
        params: pairs("params")?,
        headers: pairs("headers")?,
        body_hash: match map.get("body_hash") {
            Some(Value::String(s)) => Some(s.clone()),
            _ => None,
        },
    })
}
