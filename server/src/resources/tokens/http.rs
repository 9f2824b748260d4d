//! `/v3/auth`: login, validation, revocation, and what a token opens.

use axum::http::HeaderName;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::delegation::Until;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::revocation::Event;
use vicar_rules::token::{Act, Kind};

use crate::app::App;
use crate::auth::issue::{self, Identity, ScopeRequest, may_rescope};
use crate::auth::login::{self, Login, Passed, check_mfa};
use crate::auth::render::{self, render};
use crate::auth::token::{self, Known, Token, TokenScope, ValidateOptions};
use crate::authz::{Caller, NoObject, Object, Reading, Writing};
use crate::clock;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::{self, Place};
use crate::http::Request;
use crate::http::request::{AUTH_TOKEN, SUBJECT_TOKEN, created, no_content, ok, one, with_header};
use crate::reason::Reason;
use crate::resources::projects::{Held, list_held};
use crate::schema;
use crate::store::{CHUNK, Tx};

/// The header with the versions of access rules that a middleware enforces.
const ACCESS_RULES: HeaderName = HeaderName::from_static("openstack-identity-access-rules");

// The body of a login is read step by step, since some of what is wrong with it is a 401. These are for readers;
// the tests compare them with every login that they make.
fn reference(and: &Value) -> Value {
    let mut properties = json!({"id": {"type": "string"}, "name": {"type": "string"}});
    if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), and) {
        all.extend(more.clone());
    }
    json!({"type": "object", "properties": properties})
}

fn domain() -> Value {
    json!({"domain": reference(&json!({}))})
}

fn user() -> Value {
    let mut known = domain();
    extra::set(&mut known, "password", json!({"type": "string"}));
    let mut user = reference(&known);
    extra::set(&mut user, "required", json!(["password"]));
    user
}

fn scope() -> Value {
    json!({
        "type": ["object", "string", "null"],
        "properties": {
            "project": reference(&domain()),
            "domain": reference(&json!({})),
            "system": {
                "type": "object",
                "required": ["all"],
                "properties": {"all": {"enum": [true]}},
            },
            "OS-TRUST:trust": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}},
            },
            "unscoped": {"type": "object"},
        },
    })
}

schema!(LOGIN, {
    "type": "object",
    "required": ["identity"],
    "properties": {
        "identity": {
            "type": "object",
            "required": ["methods"],
            "properties": {
                "methods": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                "password": {
                    "type": "object",
                    "required": ["user"],
                    "properties": {"user": user()},
                },
                "token": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": {"type": "string"}},
                },
            },
        },
        "scope": scope(),
    },
});
schema!(ISSUE_QUERY, {"type": "object", "properties": {"nocatalog": {"type": "string"}}});
schema!(VALIDATE_QUERY, {
    "type": "object",
    "properties": {"nocatalog": {"type": "string"}, "allow_expired": {"type": "string"}},
});
schema!(REVOKE_QUERY, {"type": "object", "properties": {"cascade": {"type": "string"}}});
schema!(EVENTS_QUERY, {
    "type": "object",
    "properties": {"since": {"type": "string", "description": "A UTC time without an offset"}},
});

/// `POST /v3/auth/tokens`
pub async fn issue(s: &mut Writing<'_>) -> Result<Response> {
    let mut auth = match s.request.json()?.remove("auth") {
        Some(Value::Object(map)) => map,
        _ => {
            return Err(Error::field("auth", "is required in the request body and must be an object"));
        }
    };
    let scope = auth.remove("scope");
    let (who, passed) = identify(s, auth).await?;
    check_mfa(&mut s.tx, &s.app.config.auth_methods, &who, passed.as_ref()).await?;
    let wanted = match scope_request(&mut s.tx, scope.as_ref()).await {
        Ok(wanted) => wanted,
        // A delegated token is refused before its scope is looked at.
        Err(e) => {
            may_rescope(s.app.config.allow_rescope_scoped_token, &who, &ScopeRequest::Unscoped)?;
            return Err(e);
        }
    };
    let rehash = match &passed {
        Some(passed) => passed.rehash(&s.app.passwords, s.slow)?,
        None => None,
    };
    let (text, token) = issue::issue(&mut s.tx, s.app.auth(), who, &wanted, s.now).await?;
    if let Some(passed) = passed {
        passed.record(&mut s.tx, s.app.auth(), rehash, s.now).await?;
    }
    s.request.line.subject(token.ids());
    let with_catalog = !s.query()?.has("nocatalog");
    let shown = render(&mut s.tx, &s.app.config, &token, with_catalog).await?;
    s.after_commit(|metrics| {
        metrics.tokens_issued.inc();
    });
    Ok(with_header(created("token", shown), SUBJECT_TOKEN, &text))
}

/// Runs the login methods, each once however often it is named. A token that comes along with another method
/// adds its methods, and its end and its chain stay in force. A password that was right is returned too.
async fn identify(s: &mut Writing<'_>, mut auth: Map<String, Value>) -> Result<(Identity, Option<Passed>)> {
    let Some(Value::Object(mut identity)) = auth.remove("identity") else {
        return Err(Error::field("auth.identity", "is required and must be an object"));
    };
    let mut passed = None;
    let mut text = None;
    for method in methods(&mut identity)? {
        if !s.app.config.auth_methods.contains(&method) {
            return Err(UNSUPPORTED);
        }
        match method.as_str() {
            "password" => {
                let data = data(&mut identity, "password")?;
                let login = Login {
                    parts: s.app.auth(),
                    now: s.now,
                    slow: &mut *s.slow,
                    epoch: s.epoch,
                    line: &s.request.line,
                };
                passed = Some(login::password(&mut s.tx, login, data).await?);
            }
            "token" => match data(&mut identity, "token")?.remove("id") {
                Some(Value::String(id)) => text = Some(id),
                _ => {
                    return Err(Error::field("auth.identity.token.id", "is required and must be a string"));
                }
            },
            _ => return Err(UNSUPPORTED),
        }
    }
    let from = match &text {
        Some(text) => Some(issue::from_token(&mut s.tx, s.app.auth(), text, &s.request.line, s.now).await?),
        None => None,
    };
    let who = match (&passed, from) {
        (Some(passed), None) => Identity {
            user: passed.user().to_owned(),
            methods: vec!["password".into()],
            until: Until::Never,
            root_audit_id: None,
            source: None,
            known: Known::default(),
        },
        (None, Some(from)) => from,
        (Some(passed), Some(mut from)) if from.user == passed.user() => {
            if !from.methods.iter().any(|m| m == "password") {
                from.methods.push("password".into());
            }
            from
        }
        (Some(_), Some(_)) => return Err(Error::Unauthorized(Reason::OtherUser)),
        (None, None) => return Err(Error::Unauthorized(Reason::NoSuchMethod)),
    };
    Ok((who, passed))
}

const UNSUPPORTED: Error =
    Error::UnauthorizedBecause(Reason::NoSuchMethod, "Attempted to authenticate with an unsupported method.");

/// The methods of a login, each once.
fn methods(identity: &mut Map<String, Value>) -> Result<Vec<String>> {
    let Some(Value::Array(methods)) = identity.remove("methods") else {
        return Err(Error::field("auth.identity.methods", "is required and must be a list"));
    };
    let mut seen: Vec<String> = Vec::new();
    for method in methods {
        let Value::String(method) = method else {
            return Err(Error::field("auth.identity.methods", "must be a list of names"));
        };
        if !seen.contains(&method) {
            if seen.len() >= 8 {
                return Err(Error::field("auth.identity.methods", "more methods than there are"));
            }
            seen.push(method);
        }
    }
    if seen.is_empty() { Err(Error::Unauthorized(Reason::NoSuchMethod)) } else { Ok(seen) }
}

fn data(identity: &mut Map<String, Value>, method: &str) -> Result<Map<String, Value>> {
    match identity.remove(method) {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(Error::BadRequest(format!("auth.identity.{method}: is required and must be an object"))),
    }
}

/// What the body asks for, with names resolved.
async fn scope_request(tx: &mut crate::store::Tx, scope: Option<&Value>) -> Result<ScopeRequest> {
    let map = match scope {
        None | Some(Value::Null) => return Ok(ScopeRequest::Default),
        Some(Value::String(s)) if s == "unscoped" => return Ok(ScopeRequest::Unscoped),
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
        "unscoped" => Ok(ScopeRequest::Unscoped),
        "system" => match inner.get("all") {
            Some(Value::Bool(true)) => Ok(ScopeRequest::System),
            _ => Err(Error::field("auth.scope.system.all", "must be true")),
        },
        "OS-TRUST:trust" => match inner.get("id") {
            Some(Value::String(id)) => Ok(ScopeRequest::Trust(id.clone())),
            _ => Err(Error::field("auth.scope.OS-TRUST:trust.id", "is required and must be a string")),
        },
        "domain" => Ok(ScopeRequest::Domain(login::domain_id(tx, inner, "auth.scope.domain").await?)),
        _ => match (text(inner, "id", "auth.scope.project")?, text(inner, "name", "auth.scope.project")?) {
            (Some(id), _) => Ok(ScopeRequest::Project(id)),
            (None, Some(name)) => {
                let domain = match inner.get("domain") {
                    Some(Value::Object(d)) => login::domain_id(tx, d, "auth.scope.project.domain").await?,
                    _ => {
                        return Err(Error::field("auth.scope.project.domain", "is required with a name"));
                    }
                };
                let found = facts::project_named(tx, &name, &domain).await?;
                Ok(ScopeRequest::Project(found.ok_or(Error::Unauthorized(Reason::NoSuchScope))?.id))
            }
            (None, None) => Err(Error::field("auth.scope.project", "needs an id or a name")),
        },
    }
}

/// An optional string of an object; another type is the client's fault.
fn text(map: &Map<String, Value>, name: &str, at: &str) -> Result<Option<String>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.clone())),
        Some(_) => Err(Error::BadRequest(format!("{at}.{name}: must be a string"))),
    }
}

/// A token that a call is about, and the caller's part in it.
#[derive(Debug)]
pub struct Subject {
    text: String,
    token: Token,
}

impl Object for Subject {
    /// Whose a token is: its user's; of a trust also the trustee's and every trustor's above. A delegated
    /// caller is the subject of its own token only: the bearer stays in its lane.
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        let token = &self.token;
        let own = caller.token().is_some_and(|c| c.payload.audit_ids == token.payload.audit_ids);
        // The bearer of a trust sees and ends no session but its own, whatever roles it carries.
        if caller.kind() == Kind::Trust && !own {
            return Err(Refusal::DelegatedToken("see or end another token").into());
        }
        if caller.token().is_some_and(|c| c.kind != Kind::Login) && !own {
            return Ok(Facts::none());
        }
        let mut facts = Facts::none().with(Fact::TokenUser, &token.user.id);
        if let Some(trust) = &token.trust {
            facts = facts
                .with(Fact::TokenUser, &trust.chain().leaf().trustee)
                .with_all(Fact::TokenUser, trust.chain().links().iter().map(|t| t.trustor.as_str()));
        }
        Ok(facts
            .with(Fact::UserDomain, &token.user.domain_id)
            .with(Fact::TokenUserDomain, &token.user.domain_id))
    }
}

/// The subject token of a call. A dead one is 404 for everybody.
async fn subject(
    tx: &mut Tx,
    app: &App,
    request: &Request,
    caller: &Caller,
    now: Micros,
    window: Micros,
) -> Result<Subject> {
    let text = request
        .token_header(&SUBJECT_TOKEN)?
        .ok_or_else(|| Error::field("X-Subject-Token", "the header is required"))?
        .to_owned();
    let version = request.header(&ACCESS_RULES)?.and_then(|v| v.trim().parse::<f64>().ok());
    let understands_access_rules = version.is_some_and(|v| v >= 1.0);
    let options = ValidateOptions { window, understands_access_rules };
    let own = caller.token().filter(|_| request.token_header(&AUTH_TOKEN).is_ok_and(|t| t == Some(&text)));
    let token = match own {
        // What is valid by default is valid for every asker.
        Some(token) => Ok(token.clone()),
        None => {
            let known = Known::of_caller(caller.token());
            token::validate(tx, app.auth(), &text, known, now, options).await?
        }
    };
    let token = token.map_err(|dead| dead.absent(&request.line))?;
    Ok(Subject { text, token })
}

/// `GET /v3/auth/tokens`
pub async fn validate(s: &mut Reading<'_>) -> Result<Response> {
    show(s, Op::ValidateToken).await
}

/// `HEAD /v3/auth/tokens`
pub async fn check(s: &mut Reading<'_>) -> Result<Response> {
    show(s, Op::CheckToken).await
}

async fn show(s: &mut Reading<'_>, op: Op) -> Result<Response> {
    let query = s.query()?;
    let window = if query.flag("allow_expired") { s.app.config.allow_expired_window } else { 0 };
    let caller = s.caller()?;
    let subject = subject(&mut s.tx, s.app, s.request, caller, s.now, window).await?;
    let subject = s.authorize(op, subject)?;
    s.request.line.subject(subject.token.ids());
    let shown = render(&mut s.tx, &s.app.config, &subject.token, !query.has("nocatalog")).await?;
    Ok(with_header(one("token", shown), SUBJECT_TOKEN, &subject.text))
}

/// `DELETE /v3/auth/tokens`: the token, and what descends from it unless `?cascade=false`.
pub async fn revoke(s: &mut Writing<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let subject = subject(&mut s.tx, s.app, s.request, caller, s.now, 0).await?;
    let subject = s.authorize(Op::RevokeToken, subject)?;
    s.request.line.subject(subject.token.ids());
    let audit = subject.token.payload.audit_id().to_owned();
    let query = s.query()?;
    let by_id = Event { audit: Some(audit.clone()), ..Event::default() };
    facts::revoke(&mut s.tx, &subject, by_id).await?;
    if query.get("cascade").is_none() || query.flag("cascade") {
        let below = Event { audit_chain: Some(audit), ..Event::default() };
        facts::revoke(&mut s.tx, &subject, below).await?;
    }
    Ok(no_content())
}

/// `DELETE /v3/users/{id}/tokens`
pub async fn revoke_for_user(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::RevokeAll)?;
    let user = s.param("user_id")?;
    let found = facts::user(&mut s.tx, user).await?;
    let proof = s.authorize(Op::RevokeTokensForUser, NoObject)?;
    if found.is_none() {
        return Err(Error::NotFound("user", user.to_owned()));
    }
    let event = Event { user: Some(user.to_owned()), ..Event::default() };
    facts::revoke(&mut s.tx, &proof, event).await?;
    Ok(no_content())
}

/// `GET /v3/auth/catalog`
pub async fn catalog(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthCatalog, NoObject)?;
    let token = s.caller()?.token().filter(|t| !matches!(t.scope, TokenScope::Unscoped));
    // A catalog is a scope's: without one there is none to show.
    let token =
        token.ok_or_else(|| Error::Forbidden("The token has no scope, so it has no catalog.".into()))?;
    let catalog = render::catalog(&mut s.tx, &s.app.config, token).await?;
    Ok(ok(json!({
        "catalog": catalog,
        "links": {"next": null, "self": s.links().to("/auth/catalog"), "previous": null},
    })))
}

/// `GET /v3/auth/projects`: the projects that the user could get a token for. A delegated token goes nowhere
/// else.
pub async fn projects(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthProjects, NoObject)?;
    list_held(s, Held::Projects).await
}

/// `GET /v3/auth/domains`
pub async fn domains(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthDomains, NoObject)?;
    list_held(s, Held::Domains).await
}

/// `GET /v3/auth/system`
pub async fn system(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetAuthSystem, NoObject)?;
    let caller = s.caller()?;
    let implications = caller.implications(&mut s.tx).await?;
    let mut held = facts::effective_roles(&mut s.tx, caller.user_id(), Place::System, &implications).await?;
    if caller.kind() != Kind::Login {
        // A delegated token goes nowhere else.
        held.clear();
    }
    let system = if held.is_empty() { vec![] } else { vec![json!({"all": true})] };
    Ok(ok(json!({"system": system, "links": {"self": s.links().to("/auth/system")}})))
}

/// `GET /v3/OS-REVOKE/events`, with `?since=`: what services need to drop remembered tokens.
pub async fn events(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListRevokeEvents, NoObject)?;
    let since = match s.query()?.get("since") {
        None => None,
        Some(text) => Some(
            clock::from_client(text)
                .ok_or_else(|| Error::field("since", "must be a UTC time without an offset"))?,
        ),
    };
    let mut found = facts::events_since(&mut s.tx, since, 0).await?;
    let mut more = found.len() == CHUNK;
    while more {
        s.take_long().await?;
        let last = found.last().map_or(0, |(_, row, _)| *row);
        let next = facts::events_since(&mut s.tx, since, last).await?;
        more = next.len() == CHUNK;
        found.extend(next);
    }
    found.sort_by_key(|(at, row, _)| (*at, *row));
    let items = found.into_iter().map(|(at, _, e)| {
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
    Ok(s.request.whole_list("events", items.collect()))
}
