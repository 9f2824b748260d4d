//! `POST /v3/ec2tokens` and `/v3/s3tokens`: a signed request for a token.
//!
//! The caller is a service; the signer is whoever holds the keypair. Everything that is wrong with the
//! signer's side is 401, an unknown access id too: consumers renew and retry on 401 and on nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::delegation::Until;
use vicar_rules::policy::{Facts, Op};
use vicar_rules::signature::{self, S3Request, SignatureVersion, SignedRequest};
use vicar_rules::token::EC2_METHOD;

use super::fernet::PayloadScope;
use super::issue::{self, Draft};
use super::token::Token;
use crate::app::App;
use crate::args;
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::facts;
use crate::http::request::{SUBJECT_TOKEN, with_header};
use crate::http::{Permit, Req};
use crate::ids;
use crate::resources::keypairs;
use crate::resources::keypairs::sql::{self, BoundTo, Credential};
use crate::store::Tx;

/// How far ahead a signer's clock may be.
const AHEAD: Micros = 5 * 60 * SECOND;

const BAD_SIGNATURE: Error = Error::UnauthorizedBecause("The signature does not fit the request.");
const NO_SIGNATURE: Error = Error::UnauthorizedBecause("EC2 signature not supplied.");
const UNTIMED: Error = Error::UnauthorizedBecause("The signed request states no time.");
const TOO_OLD: Error = Error::UnauthorizedBecause("The signed request is too old.");
const TOO_NEW: Error = Error::UnauthorizedBecause("The signed request's time lies in the future.");
const REPLAYED: Error = Error::UnauthorizedBecause("The signed request was used already.");

/// A request of either kind.
#[derive(Debug)]
enum Signed {
    Ec2(SignedRequest),
    S3(S3Request),
}

/// `POST /v3/ec2tokens`
pub async fn ec2(req: Req) -> Result<Response> {
    let given = credentials(&req, Op::Ec2tokensValidate).await?;
    let signed = Signed::Ec2(ec2_request(&given)?);
    let (text, token) = exchange(&req, &signed).await?;
    let response = answer(&req, &token).await?;
    Ok(with_header(response, SUBJECT_TOKEN, &text))
}

/// `POST /v3/s3tokens`: the answer says who it is, and carries no token.
pub async fn s3(req: Req) -> Result<Response> {
    let given = credentials(&req, Op::S3tokensValidate).await?;
    let text = |name| required(&given, name);
    let signed = S3Request::from_token(text("access")?, text("signature")?, text("token")?);
    let (_, token) = exchange(&req, &Signed::S3(signed.map_err(|_| BAD_SIGNATURE)?)).await?;
    answer(&req, &token).await
}

async fn answer(req: &Req, token: &Token) -> Result<Response> {
    req.line().subject(token);
    let mut tx = req.read().await?;
    let shown = crate::auth::render::render(&mut tx, token, true).await?;
    Ok(axum::Json(json!({"token": shown})).into_response())
}

/// The caller's right, and the object with the signature under one of the names that clients use.
async fn credentials(req: &Req, op: Op) -> Result<Map<String, Value>> {
    req.permit(op, &Facts::none()).await?;
    if !req.app.config.auth_methods.iter().any(|m| m == EC2_METHOD) {
        // Without its bit in the methods, the token would not be recognisable as what it is.
        return Err(Error::Unavailable("ec2credential is not among [auth] methods".into(), 60));
    }
    if !req.has_body() {
        return Err(Error::BadRequest("request must include a request body".into()));
    }
    let mut body = req.json()?;
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
        Some(_) => Err(Error::BadRequest(format!("credentials.{name}: must be a text"))),
    }
}

fn ec2_request(map: &Map<String, Value>) -> Result<SignedRequest> {
    let text = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(s)) => Ok(s.clone()),
        Some(_) => Err(Error::BadRequest(format!("credentials.{name}: must be a text"))),
    };
    let pairs = |name: &str| -> Result<BTreeMap<String, String>> {
        let wrong = || Error::BadRequest(format!("credentials.{name}: must be an object of texts"));
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

impl Signed {
    fn access(&self) -> &str {
        match self {
            Self::Ec2(r) => &r.access,
            Self::S3(r) => &r.access,
        }
    }

    /// Checks the signature, then the time that it covers.
    fn verify(&self, secret: &str, app: &App) -> Result<()> {
        let now = app.clock.now();
        match self {
            Self::Ec2(r) => {
                let version = signature::verify_ec2(secret, r).map_err(|_| BAD_SIGNATURE)?;
                if let Some(end) = signature::expires_at(r).map_err(|_| BAD_SIGNATURE)?
                    && end <= now
                {
                    return Err(TOO_OLD);
                }
                match signature::stated_time(r).map_err(|_| BAD_SIGNATURE)? {
                    Some(at) if at.saturating_add(app.config.auth_ttl) < now => Err(TOO_OLD),
                    Some(at) if at > now.saturating_add(AHEAD) => Err(TOO_NEW),
                    Some(_) => Ok(()),
                    // Heat's stored URLs are of version 2 and state none.
                    None if version == SignatureVersion::V2 && app.config.allow_untimed_signatures => Ok(()),
                    None => Err(UNTIMED),
                }
            }
            Self::S3(r) => {
                signature::verify_s3(secret, r).map_err(|_| BAD_SIGNATURE)?;
                if let Some(end) = signature::expires_at_s3(r).map_err(|_| BAD_SIGNATURE)?
                    && end <= now
                {
                    return Err(TOO_OLD);
                }
                // The gateway judges the age: only it knows how long a presigned URL was meant to live.
                match signature::stated_time_s3(r).map_err(|_| BAD_SIGNATURE)? {
                    Some(at) if at > now.saturating_add(AHEAD) => Err(TOO_NEW),
                    _ => Ok(()),
                }
            }
        }
    }

    /// What tells this signed request from any other. S3's are shown again and again by design.
    fn once(&self) -> Option<String> {
        match self {
            Self::Ec2(r) => Some(r.identity()),
            Self::S3(_) => None,
        }
    }
}

/// A keypair with its secret, as read.
struct Found {
    credential: Credential,
    secret: String,
    application_credential: Option<String>,
}

async fn find(tx: &mut Tx, app: &App, access: &str) -> Result<Found> {
    let unknown = || Error::UnauthorizedBecause("EC2 access key not found.");
    let credential = sql::get(tx, &keypairs::credential_id(access)).await?;
    // Exactly the types that this server and Keystone exchange.
    let mut credential =
        credential.filter(|c| c.kind == sql::PLAIN || c.kind == sql::BOUND).ok_or_else(unknown)?;
    let blob = keypairs::decrypt(app, &credential)?.ok_or_else(unknown)?;
    let blob = keypairs::blob_object(&blob).ok_or_else(unknown)?;
    let text = |name: &str| blob.get(name).and_then(Value::as_str).map(str::to_owned);
    let secret = text("secret").filter(|s| !s.is_empty()).ok_or_else(unknown)?;
    // Without its record a trust's keypair is worth nothing; a foreign delegation's is not ours to judge.
    if (credential.kind == sql::BOUND && credential.bound.is_none()) || text("access_token_id").is_some() {
        return Err(Error::Unauthorized);
    }
    if credential.bound.is_none()
        && let Some(trust_id) = text("trust_id")
    {
        // Made by an older Keystone, which wrote the trust into the blob: bound all the same.
        let (until, roles, creator) = (Until::Never, None, None);
        credential.bound = Some(BoundTo { trust_id, access: access.to_owned(), roles, until, creator });
    }
    Ok(Found { application_credential: text("app_cred_id"), credential, secret })
}

/// Verifies a signed request and issues the token that its keypair is worth now.
async fn exchange(req: &Req, signed: &Signed) -> Result<(String, Token)> {
    let app = Arc::clone(&req.app);
    let access = signed.access();
    let (found, counted) = {
        let mut tx = req.read().await?;
        let found = find(&mut tx, &app, access).await?;
        let counted = match &found.credential.bound {
            Some(b) => issue::is_counted(&mut tx, &b.trust_id).await?,
            None => false,
        };
        (found, counted)
    };
    let once = signed.once().filter(|_| app.config.refuse_replay);
    // Made by an older Keystone: its binding has still to be recorded.
    let adopt = found.credential.kind == sql::PLAIN && found.credential.bound.is_some();
    let writes = counted || once.is_some() || adopt;
    issue::settled(&app, || async {
        let mut tx = if writes { app.store.write().await? } else { app.store.read().await? };
        // Read and verified in this transaction: it may have changed hands or ended meanwhile.
        let proved_at = app.clock.now();
        let found = find(&mut tx, &app, access).await?;
        signed.verify(&found.secret, &app)?;
        if let Some(fingerprint) = &once {
            use_once(&mut tx, fingerprint, &app).await?;
        }
        if adopt {
            record_binding(&mut tx, &found.credential, app.clock.now()).await?;
        }
        let issued = issue_for(&mut tx, &app, &found, proved_at).await?;
        if writes {
            tx.commit().await?;
        }
        Ok(issued)
    })
    .await
}

async fn issue_for(tx: &mut Tx, app: &App, found: &Found, proved_at: Micros) -> Result<(String, Token)> {
    let c = &found.credential;
    let project = c.project_id.clone().ok_or(Error::Unauthorized)?;
    let mut until = Until::At(app.clock.now().saturating_add(app.config.token_expiration));
    let mut user = c.user_id.clone();
    let scope = match (&c.bound, &found.application_credential) {
        (Some(b), _) => {
            let chain = facts::chain(tx, &b.trust_id).await?.ok_or(Error::Unauthorized)?;
            let leaf = chain.leaf();
            if leaf.project.as_ref() != Some(&project) || chain.speaks_for() != c.user_id {
                return Err(Error::Unauthorized);
            }
            user.clone_from(&leaf.trustee);
            until = until.min(chain.until()).min(b.until);
            let trust = leaf.id.clone();
            if b.roles.is_some() {
                PayloadScope::Narrowed(project, trust)
            } else {
                PayloadScope::Trust(project, trust)
            }
        }
        (None, Some(a)) => PayloadScope::ApplicationCredential(project, a.clone()),
        (None, None) => PayloadScope::Project(project),
    };
    let audit_ids = vec![ids::audit(), keypairs::audit_chain(&c.id)];
    let methods = vec![EC2_METHOD.to_owned()];
    let draft = Draft { user, methods, scope, until, audit_ids, proved_at };
    let issued = issue::seal(tx, app, draft).await?;
    if let Some(b) = &c.bound {
        issue::consume(tx, &b.trust_id).await?;
    }
    Ok(issued)
}

/// Marks a signed request as used; a second use is refused.
async fn use_once(tx: &mut Tx, fingerprint: &str, app: &App) -> Result<()> {
    let until = app.clock.now().saturating_add(app.config.auth_ttl).saturating_add(AHEAD);
    match tx
        .run("INSERT INTO vicar_replay (fingerprint, seen_until) VALUES (?, ?)", args![fingerprint, until])
        .await
    {
        Ok(_) => Ok(()),
        Err(crate::store::Error::Duplicate) => Err(REPLAYED),
        Err(e) => Err(e.into()),
    }
}

async fn record_binding(tx: &mut Tx, c: &Credential, now: Micros) -> Result<()> {
    let Some(b) = &c.bound else { return Ok(()) };
    let permit = Permit::own("the binding stands in the blob that an older Keystone wrote");
    sql::record(tx, &c.id, b, &keypairs::audit_chain(&c.id), now, &permit).await
}
