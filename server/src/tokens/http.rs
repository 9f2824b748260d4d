//! `/v3/auth`: login, validation, revocation, and what a token opens.

use std::sync::Arc;

use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::delegation::Until;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::revocation::Event;
use vicar_rules::token::{Act, Kind};

use super::body;
use super::issue::{self, Identity, Wanted};
use super::model::{Asked, Token, TokenScope, validate};
use crate::authority::{self, Place};
use crate::clock;
use crate::error::{Error, Result};
use crate::http::Req;
use crate::http::request::{SUBJECT_TOKEN, no_content, with_header};
use crate::users::login;

/// Says which versions of access rules a middleware enforces.
const ACCESS_RULES: HeaderName = HeaderName::from_static("openstack-identity-access-rules");

/// `POST /v3/auth/tokens`
pub async fn post(req: Req) -> Result<Response> {
    let mut auth = match req.json()?.remove("auth") {
        Some(Value::Object(map)) => map,
        _ => {
            return Err(Error::field("auth", "is required in the request body and must be an object"));
        }
    };
    let wanted_raw = auth.remove("scope");
    let app = Arc::clone(&req.app);
    let (text, token) = issue::settled(&app, || async {
        let (who, deferred) = identify(&req, auth.clone()).await?;
        // A counted trust is consumed in the transaction of its token; everything else only reads.
        let counts = match wanted_raw.as_ref().and_then(|s| s["OS-TRUST:trust"]["id"].as_str()) {
            Some(trust) => issue::is_counted(&mut app.store.read().await?, trust).await?,
            None => false,
        };
        let mut tx = if counts { app.store.write().await? } else { app.store.read().await? };
        let who = match (&who, &deferred) {
            (Some(who), _) => who.clone(),
            (None, Some(text)) => {
                let from = issue::from_token(&mut tx, &app, text).await?;
                // Rules that were made since the token was issued count.
                login::satisfies_mfa_in(&mut tx, &app, &from).await?;
                from
            }
            (None, None) => return Err(Error::Unauthorized),
        };
        let wanted = match wanted(&mut tx, wanted_raw.as_ref()).await {
            Ok(w) => w,
            // A delegated token is refused before its scope is looked at.
            Err(e) => {
                issue::may_rescope(&app, &who, &Wanted::Unscoped)?;
                return Err(e);
            }
        };
        let issued = issue::issue(&mut tx, &app, &who, &wanted).await?;
        if counts {
            tx.commit().await?;
        }
        Ok(issued)
    })
    .await?;
    req.line().subject(&token);
    let mut tx = req.read().await?;
    let shown = body::render(&mut tx, &token, !req.query.has("nocatalog")).await?;
    let response = (StatusCode::CREATED, axum::Json(json!({"token": shown}))).into_response();
    Ok(with_header(response, SUBJECT_TOKEN, &text))
}

/// Runs the login methods, each once however often it is named. Gives the identity, or the text of a
/// token that is to be judged in the transaction of the new one.
async fn identify(req: &Req, mut auth: Map<String, Value>) -> Result<(Option<Identity>, Option<String>)> {
    let Some(Value::Object(mut identity)) = auth.remove("identity") else {
        return Err(Error::field("auth.identity", "is required and must be an object"));
    };
    let methods = match identity.remove("methods") {
        Some(Value::Array(list)) => list,
        _ => {
            return Err(Error::field("auth.identity.methods", "is required and must be a list"));
        }
    };
    let mut seen: Vec<String> = Vec::new();
    for m in methods {
        let Value::String(m) = m else {
            return Err(Error::field("auth.identity.methods", "must be a list of names"));
        };
        if !seen.contains(&m) {
            if seen.len() >= 8 {
                return Err(Error::field("auth.identity.methods", "more methods than there are"));
            }
            seen.push(m);
        }
    }
    if seen.is_empty() {
        return Err(Error::Unauthorized);
    }
    let proved_at = req.app.clock.now();
    let mut proved: Option<Identity> = None;
    let mut token = None;
    for m in &seen {
        if !req.app.config.auth_methods.contains(m) {
            return Err(Error::UnauthorizedBecause("Attempted to authenticate with an unsupported method."));
        }
        match m.as_str() {
            "password" => {
                let data = data(&mut identity, "password")?;
                let user = login::password(&req.app, data).await?;
                match &mut proved {
                    Some(p) if p.user != user => return Err(Error::Unauthorized),
                    Some(p) => p.methods.push("password".into()),
                    None => {
                        proved = Some(Identity {
                            user,
                            methods: vec!["password".into()],
                            until: Until::Never,
                            root_audit_id: None,
                            source: None,
                            proved_at,
                        });
                    }
                }
            }
            "token" => match data(&mut identity, "token")?.remove("id") {
                Some(Value::String(id)) => token = Some(id),
                _ => {
                    return Err(Error::field("auth.identity.token.id", "is required and must be a text"));
                }
            },
            _ => {
                return Err(Error::UnauthorizedBecause(
                    "Attempted to authenticate with an unsupported method.",
                ));
            }
        }
    }
    match (proved, token) {
        (Some(who), None) => {
            login::satisfies_mfa(&req.app, &who).await?;
            Ok((Some(who), None))
        }
        (None, Some(text)) => Ok((None, Some(text))),
        // Both: the token adds its methods, and its end and its chain stay in force.
        (Some(who), Some(text)) => {
            let mut tx = req.read().await?;
            let mut from = issue::from_token(&mut tx, &req.app, &text).await?;
            if from.user != who.user {
                return Err(Error::Unauthorized);
            }
            from.methods
                .extend(who.methods.into_iter().filter(|m| !from.methods.contains(m)).collect::<Vec<_>>());
            from.proved_at = proved_at;
            login::satisfies_mfa(&req.app, &from).await?;
            Ok((Some(from), None))
        }
        (None, None) => Err(Error::Unauthorized),
    }
}

fn data(identity: &mut Map<String, Value>, method: &str) -> Result<Map<String, Value>> {
    match identity.remove(method) {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(Error::BadRequest(format!("auth.identity.{method}: is required and must be an object"))),
    }
}

/// What the body asks for, with names resolved.
async fn wanted(tx: &mut crate::store::Tx, scope: Option<&Value>) -> Result<Wanted> {
    let map = match scope {
        None | Some(Value::Null) => return Ok(Wanted::Default),
        Some(Value::String(s)) if s == "unscoped" => return Ok(Wanted::Unscoped),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(Error::field("auth.scope", "must be an object")),
    };
    let kinds = ["project", "domain", "OS-TRUST:trust", "system", "unscoped"];
    let mut named = kinds.iter().filter(|k| map.contains_key(**k));
    let (Some(kind), None) = (named.next(), named.next()) else {
        return Err(Error::field(
            "auth.scope",
            "must name exactly one of project, domain, OS-TRUST:trust, system, unscoped",
        ));
    };
    let inner = match &map[*kind] {
        Value::Object(o) => o,
        _ => {
            return Err(Error::BadRequest(format!("auth.scope.{kind}: must be an object")));
        }
    };
    match *kind {
        "unscoped" => Ok(Wanted::Unscoped),
        "system" => match inner.get("all") {
            Some(Value::Bool(true)) => Ok(Wanted::System),
            _ => Err(Error::field("auth.scope.system.all", "must be true")),
        },
        "OS-TRUST:trust" => match inner.get("id") {
            Some(Value::String(id)) => Ok(Wanted::Trust(id.clone())),
            _ => Err(Error::field("auth.scope.OS-TRUST:trust.id", "is required and must be a text")),
        },
        "domain" => Ok(Wanted::Domain(login::domain_id(tx, inner, "auth.scope.domain").await?)),
        _ => match (text(inner, "id", "auth.scope.project")?, text(inner, "name", "auth.scope.project")?) {
            (Some(id), _) => Ok(Wanted::Project(id)),
            (None, Some(name)) => {
                let domain = match inner.get("domain") {
                    Some(Value::Object(d)) => login::domain_id(tx, d, "auth.scope.project.domain").await?,
                    _ => {
                        return Err(Error::field("auth.scope.project.domain", "is required with a name"));
                    }
                };
                let found = authority::project_named(tx, &name, &domain).await?;
                Ok(Wanted::Project(found.ok_or(Error::Unauthorized)?.id))
            }
            (None, None) => Err(Error::field("auth.scope.project", "needs an id or a name")),
        },
    }
}

/// An optional text of an object; another type is the client's fault.
fn text(map: &Map<String, Value>, name: &str, at: &str) -> Result<Option<String>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.clone())),
        Some(_) => Err(Error::BadRequest(format!("{at}.{name}: must be a text"))),
    }
}

/// The subject token of a call, and the caller's right to see it. A dead subject is 404 for everybody.
async fn subject(req: &Req, op: Op, window: i64) -> Result<(String, Token)> {
    let caller = req.caller().await?;
    let text = req
        .token_header(&SUBJECT_TOKEN)?
        .ok_or_else(|| Error::field("X-Subject-Token", "the header is required"))?
        .to_owned();
    let understands =
        req.header(&ACCESS_RULES)?.and_then(|v| v.trim().parse::<f64>().ok()).is_some_and(|v| v >= 1.0);
    let mut tx = req.read().await?;
    let asked = Asked { window, understands_access_rules: understands };
    let token = validate(&mut tx, &req.app, &text, asked)
        .await?
        .ok_or_else(|| Error::NotFoundBecause("Failed to validate token".into()))?;
    // The bearer of a trust sees and ends no session but its own, whatever roles it carries.
    let own = caller.token().is_some_and(|c| c.payload.audit_ids == token.payload.audit_ids);
    if caller.kind() == Kind::Trust && !own {
        return Err(Refusal::DelegatedToken("see or end another token").into());
    }
    caller.permit(&req.app, op, &facts(&token, caller.token()))?;
    req.line().subject(&token);
    Ok((text, token))
}

/// Whose a token is: its user's; of a trust also the trustee's and every trustor's above. A delegated
/// caller is the subject of its own token only: the bearer stays in his lane.
fn facts(token: &Token, caller: Option<&Token>) -> Facts {
    let own = caller.is_some_and(|c| c.payload.audit_ids == token.payload.audit_ids);
    if caller.is_some_and(|c| c.kind != Kind::Login) && !own {
        return Facts::none();
    }
    let mut facts = Facts::none().with(Fact::TokenUser, &token.user.id);
    if let Some(judged) = &token.trust {
        facts = facts
            .with(Fact::TokenUser, &judged.chain().leaf().trustee)
            .with_all(Fact::TokenUser, judged.chain().links().iter().map(|t| t.trustor.as_str()));
    }
    facts.with(Fact::UserDomain, &token.user.domain_id)
}

/// `GET /v3/auth/tokens`, and `HEAD`
pub async fn get(req: Req) -> Result<Response> {
    show(&req, Op::ValidateToken).await
}

/// `HEAD /v3/auth/tokens`
pub async fn head(req: Req) -> Result<Response> {
    show(&req, Op::CheckToken).await
}

async fn show(req: &Req, op: Op) -> Result<Response> {
    let window = if req.query.flag("allow_expired") { req.app.config.allow_expired_window } else { 0 };
    let (text, token) = subject(req, op, window).await?;
    let mut tx = req.read().await?;
    let shown = body::render(&mut tx, &token, !req.query.has("nocatalog")).await?;
    let response = axum::Json(json!({"token": shown})).into_response();
    Ok(with_header(response, SUBJECT_TOKEN, &text))
}

/// `DELETE /v3/auth/tokens`: the token, and what descends from it unless `?cascade=false`.
pub async fn delete(req: Req) -> Result<Response> {
    let (_, token) = subject(&req, Op::RevokeToken, 0).await?;
    let now = req.app.clock.now();
    let audit = token.payload.audit_ids[0].clone();
    let cascade = req.query.get("cascade").is_none() || req.query.flag("cascade");
    let mut tx = req.write().await?;
    let by_id = Event { audit: Some(audit.clone()), issued_before: now, ..Event::default() };
    authority::revoke(&mut tx, &by_id, now).await?;
    if cascade {
        let below = Event { audit_chain: Some(audit), issued_before: now, ..Event::default() };
        authority::revoke(&mut tx, &below, now).await?;
    }
    tx.commit().await?;
    Ok(no_content())
}

/// `DELETE /v3/users/{id}/tokens`
pub async fn delete_for_user(
    axum::extract::Path(user): axum::extract::Path<String>,
    req: Req,
) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::RevokeAll)?;
    caller.permit(&req.app, Op::RevokeTokensForUser, &Facts::none().with(Fact::PathUser, &user))?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    if authority::user(&mut tx, &user).await?.is_none() {
        return Err(Error::NotFound("user", user));
    }
    let event = Event { user: Some(user), issued_before: now, ..Event::default() };
    authority::revoke(&mut tx, &event, now).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `GET /v3/auth/catalog`
pub async fn catalog(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.permit(&req.app, Op::GetAuthCatalog, &Facts::none())?;
    let token = caller.token().filter(|t| !matches!(t.scope, TokenScope::Unscoped));
    // A catalog is a scope's: without one there is none to show.
    let token =
        token.ok_or_else(|| Error::Forbidden("The token has no scope, so it has no catalog.".into()))?;
    let mut tx = req.read().await?;
    let catalog = crate::catalog::for_token(&mut tx, token).await?;
    Ok(axum::Json(json!({
        "catalog": catalog,
        "links": {"next": null, "self": req.link("/auth/catalog"), "previous": null},
    }))
    .into_response())
}

/// `GET /v3/auth/projects`: where the user could go. A delegated token goes nowhere else.
pub async fn projects(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.permit(&req.app, Op::GetAuthProjects, &Facts::none())?;
    let mut tx = req.read().await?;
    let items = crate::projects::held_by(&mut tx, &req, caller, crate::projects::Held::Projects).await?;
    req.list("projects", items, &[])
}

/// `GET /v3/auth/domains`
pub async fn domains(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.permit(&req.app, Op::GetAuthDomains, &Facts::none())?;
    let mut tx = req.read().await?;
    let items = crate::projects::held_by(&mut tx, &req, caller, crate::projects::Held::Domains).await?;
    req.list("domains", items, &[])
}

/// `GET /v3/auth/system`
pub async fn system(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.permit(&req.app, Op::GetAuthSystem, &Facts::none())?;
    let mut tx = req.read().await?;
    let implications = authority::implications(&mut tx).await?;
    let mut held =
        authority::effective_roles(&mut tx, caller.user_id(), Place::System, &implications).await?;
    if caller.kind() != Kind::Login {
        // A delegated token goes nowhere else.
        held.clear();
    }
    let system = if held.is_empty() { vec![] } else { vec![json!({"all": true})] };
    Ok(axum::Json(json!({"system": system, "links": {"self": req.link("/auth/system")}})).into_response())
}

/// `GET /v3/OS-REVOKE/events`, with `?since=`: what services need to drop remembered tokens.
pub async fn events(req: Req) -> Result<Response> {
    req.permit(Op::ListRevokeEvents, &Facts::none()).await?;
    let since = match req.query.get("since") {
        None => None,
        Some(text) => Some(
            clock::from_client(text)
                .ok_or_else(|| Error::field("since", "must be a UTC time without an offset"))?,
        ),
    };
    let mut tx = req.read().await?;
    let items = authority::events_since(&mut tx, since).await?;
    let items = items.into_iter().map(|(e, at)| {
        // With an expiry, the domain is the one that the tokens are scoped to.
        let (domain, scope) = if e.expires.is_some() { (None, e.domain) } else { (e.domain, None) };
        let fields = [
            ("user_id", e.user),
            ("role_id", e.role),
            ("domain_id", domain),
            ("domain_scope_id", scope),
            ("project_id", e.project),
            ("audit_id", e.audit),
            ("audit_chain_id", e.audit_chain),
            ("OS-TRUST:trust_id", e.trust),
            ("OS-OAUTH1:consumer_id", e.consumer),
            ("OS-OAUTH1:access_token_id", e.access_token),
            ("expires_at", e.expires.map(clock::iso)),
            ("issued_before", Some(clock::iso(e.issued_before))),
            ("revoked_at", Some(clock::iso(at))),
        ];
        fields
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), Value::from(v?))))
            .collect::<Map<_, _>>()
            .into()
    });
    req.list("events", items.collect(), &[])
}
