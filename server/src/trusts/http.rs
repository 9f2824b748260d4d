//! `/v3/OS-TRUST`: making, reading, listing and ending trusts, and seeing who acts for whom.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::delegation::{self, Parties, Presence, TrustRequest};
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::{Act, Kind};

use super::{end, sql, view};
use crate::authority::{self, Judged, Place};
use crate::clock;
use crate::error::{Error, Result};
use crate::http::request::{no_content, take_text};
use crate::http::{Caller, Req};
use crate::ids;
use crate::schema;
use crate::store::Tx;

schema!(CREATE, {
    "type": "object",
    "required": ["trustor_user_id", "trustee_user_id", "impersonation"],
    "properties": {
        "trustor_user_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "trustee_user_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "impersonation": {"type": "boolean"},
        "project_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 64},
        "remaining_uses": {"type": ["integer", "null"], "minimum": 1, "maximum": 2_147_483_647},
        "expires_at": {"type": ["string", "null"], "maxLength": 64},
        "allow_redelegation": {"type": ["boolean", "null"]},
        "redelegation_count": {"type": ["integer", "null"], "minimum": 0, "maximum": 2_147_483_647},
        "roles": crate::http::schema::named_roles(),
    },
});

/// Attributes that are the server's; a client's are ignored.
const OWN: [&str; 6] = ["id", "redelegated_trust_id", "deleted_at", "links", "roles_links", "chain"];

/// `POST /v3/OS-TRUST/trusts`
pub async fn create(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    let mut body = req.member("trust", &CREATE)?;
    let trustor = take_text(&mut body, "trustor_user_id").unwrap_or_default();
    let facts = Facts::none().with(Fact::TrustTrustor, &trustor);
    let permit = caller.permit(&req.app, Op::CreateTrust, &facts)?;
    for own in OWN {
        body.remove(own);
    }
    let until = match take_text(&mut body, "expires_at") {
        None => None,
        Some(text) => Some(clock::from_client(&text).ok_or_else(|| {
            Error::field(
                "expires_at",
                "must be a UTC time like 2027-01-31T12:00:00.000000Z, without an offset",
            )
        })?),
    };
    body.remove("expires_at");
    let named = body.remove("roles");
    let mut tx = req.write().await?;
    let ask = TrustRequest {
        trustor,
        trustee: take_text(&mut body, "trustee_user_id").unwrap_or_default(),
        project: take_text(&mut body, "project_id"),
        impersonation: body.remove("impersonation") == Some(Value::Bool(true)),
        roles: resolve_roles(&mut tx, named.as_ref()).await?,
        until,
        uses: whole(&mut body, "remaining_uses")?,
        allow_redelegation: body.remove("allow_redelegation") == Some(Value::Bool(true)),
        count: whole(&mut body, "redelegation_count")?
            .map(|n| u32::try_from(n).map_err(|_| Error::field("redelegation_count", "out of range")))
            .transpose()?,
    };
    body.remove("project_id");
    let granted = grant(&mut tx, &req, caller, &ask).await?;
    let id = ids::uuid();
    sql::insert(&mut tx, &id, &granted, &body, &permit).await?;
    let made = delegation::Trust { id, ..granted.trust().clone() };
    let shown = sql::body_with_roles(&mut tx, &req, &made, body).await?;
    tx.commit().await?;
    Ok(req.created("trust", shown))
}

/// An optional whole number. JSON Schema takes `1.0` for one; here it is refused rather than read as absent.
fn whole(body: &mut Map<String, Value>, name: &str) -> Result<Option<i64>> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(v) => {
            v.as_i64().map(Some).ok_or_else(|| Error::field(name, "must be an integer without a fraction"))
        }
    }
}

/// `[{"id"} | {"name"}]` → ids. A name that several roles have is ambiguous.
pub async fn resolve_roles(tx: &mut Tx, named: Option<&Value>) -> Result<RoleSet> {
    let mut out = RoleSet::new();
    for role in named.and_then(Value::as_array).into_iter().flatten() {
        if let Some(id) = role["id"].as_str() {
            out.insert(id.to_owned());
        } else if let Some(name) = role["name"].as_str() {
            match sql::roles_named(tx, name).await?.as_slice() {
                [] => return Err(Error::NotFound("role", name.to_owned())),
                [one] => {
                    out.insert(one.clone());
                }
                _ => return Err(Error::field("roles", "several roles have that name; give the id")),
            }
        }
    }
    Ok(out)
}

/// Gathers the facts and asks the rules. The parent is that of the presented token, never the body's.
async fn grant(tx: &mut Tx, req: &Req, caller: &Caller, ask: &TrustRequest) -> Result<delegation::Granted> {
    let now = req.app.clock.now();
    let implications = authority::implications(tx).await?;
    let parent = caller.token().and_then(|t| t.trust_id());
    // Judged again in this transaction: what ended since the token was looked at counts.
    let parent: Option<Judged> = match parent {
        None => None,
        Some(id) => {
            let chain = authority::chain(tx, id).await?.ok_or(Error::Unauthorized)?;
            authority::judge_all(tx, vec![chain], now, &implications).await?.pop()
        }
    };
    let root = parent.as_ref().map_or(ask.trustor.as_str(), |j| &j.chain().root().trustor);
    let (project, root_roles) = match &ask.project {
        None => (Presence::Missing, RoleSet::new()),
        Some(id) => (
            authority::project(tx, id).await?.map_or(Presence::Missing, |p| p.presence),
            authority::effective_roles(tx, root, Place::Project(id), &implications).await?,
        ),
    };
    let parties = Parties {
        token_user: caller.user_id(),
        trustee_exists: authority::user(tx, &ask.trustee).await?.is_some(),
        project,
        root_roles: &root_roles,
        implications: &implications,
        now,
    };
    let limits = req.app.config.trust;
    Ok(match &parent {
        None => delegation::grant(ask, &parties, limits)?,
        Some(j) => delegation::redelegate(ask, &j.evaluated, &parties, limits)?,
    })
}

/// Who has what part in a trust, for the policy. A trust-scoped caller has a part in its own link and
/// below only, whoever he speaks for.
fn facts(caller: &Caller, judged: &Judged) -> Result<Facts> {
    let chain = judged.chain();
    let mut facts = Facts::none()
        .with_all(Fact::TrustTrustor, chain.links().iter().map(|t| t.trustor.as_str()))
        .with(Fact::TrustTrustee, &chain.leaf().trustee);
    if caller.kind() == Kind::Trust {
        if !in_lane(caller, judged) {
            return Err(Refusal::DelegatedToken("see or manage trusts outside its own chain").into());
        }
        // Its own link may be ended by the bearer, with impersonation or without.
        facts = facts.with(Fact::TrustTrustor, caller.user_id());
    }
    Ok(facts)
}

/// Is the trust the caller's own, or below it?
fn in_lane(caller: &Caller, judged: &Judged) -> bool {
    let own = caller.token().and_then(|t| t.trust_id());
    own.is_some_and(|own| judged.chain().links().iter().any(|t| t.id == own))
}

/// The trust that a path names, dead or alive.
async fn load(tx: &mut Tx, req: &Req, id: &str) -> Result<Judged> {
    let missing = || Error::NotFound("trust", id.to_owned());
    let chain = authority::chain(tx, id).await?.ok_or_else(missing)?;
    authority::judge(tx, chain, req.app.clock.now()).await?.ok_or_else(missing)
}

/// The same, but a dead one is not there.
async fn load_living(tx: &mut Tx, req: &Req, id: &str) -> Result<Judged> {
    let judged = load(tx, req, id).await?;
    if judged.status().ended() {
        return Err(Error::NotFound("trust", id.to_owned()));
    }
    Ok(judged)
}

/// `GET /v3/OS-TRUST/trusts/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    let mut tx = req.read().await?;
    let judged = load_living(&mut tx, &req, &id).await?;
    caller.permit(&req.app, Op::GetTrust, &facts(caller, &judged)?)?;
    let (extra, _) = sql::extras(&mut tx, &id).await?;
    let shown = sql::body_with_roles(&mut tx, &req, judged.chain().leaf(), extra).await?;
    Ok(req.one("trust", shown))
}

/// `GET /v3/OS-TRUST/trusts/{id}/roles`
pub async fn roles(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    let mut tx = req.read().await?;
    let judged = load_living(&mut tx, &req, &id).await?;
    caller.permit(&req.app, Op::ListRolesForTrust, &facts(caller, &judged)?)?;
    let roles = sql::role_objects(&mut tx, &req, &judged.chain().leaf().roles).await?;
    req.list("roles", roles, &[])
}

/// `GET /v3/OS-TRUST/trusts/{id}/roles/{role}`
pub async fn role(Path((id, role)): Path<(String, String)>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    let mut tx = req.read().await?;
    let judged = load_living(&mut tx, &req, &id).await?;
    caller.permit(&req.app, Op::GetRoleForTrust, &facts(caller, &judged)?)?;
    let only: RoleSet = judged.chain().leaf().roles.iter().filter(|r| **r == role).cloned().collect();
    let shown = sql::role_objects(&mut tx, &req, &only).await?.pop();
    Ok(req.one("role", shown.ok_or(Error::NotFound("role", role))?))
}

/// Which states a list shows.
const STATES: [&str; 7] = ["live", "expired", "exhausted", "broken", "deleted", "suspended", "all"];

/// `GET /v3/OS-TRUST/trusts`
pub async fn list(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    let (trustor, trustee) = (req.query.get("trustor_user_id"), req.query.get("trustee_user_id"));
    // Both filters together: each names one's own part, so each alone may allow.
    let by_trustor = trustor.map(|u| (Op::ListTrustsForTrustor, Facts::none().with(Fact::TrustTrustor, u)));
    let by_trustee = trustee.map(|u| (Op::ListTrustsForTrustee, Facts::none().with(Fact::TrustTrustee, u)));
    let allowed = [&by_trustor, &by_trustee]
        .into_iter()
        .flatten()
        .any(|(op, facts)| caller.allowed(&req.app, *op, facts));
    if !allowed {
        let (op, facts) = by_trustor.or(by_trustee).unwrap_or((Op::ListTrusts, Facts::none()));
        caller.permit(&req.app, op, &facts)?;
    }
    let state = req.query.get("state").unwrap_or("live");
    if !STATES.contains(&state) {
        return Err(Error::field(
            "state",
            "must be one of live, suspended, expired, exhausted, broken, deleted, all",
        ));
    }
    let mut tx = req.read().await?;
    let found = authority::trusts_where(&mut tx, |q| {
        q.eq("t.trustor_user_id", trustor).eq("t.trustee_user_id", trustee);
        if state == "live" || state == "suspended" {
            q.and("t.deleted_at IS NULL", &[]);
        }
        q.end("ORDER BY t.id");
    })
    .await?;
    let judged = view::judge(&mut tx, &found, req.app.clock.now()).await?;
    let reasons = sql::reasons(&mut tx, &found.iter().map(|t| t.id.as_str()).collect::<Vec<_>>()).await?;
    let mut items = Vec::new();
    for j in &judged {
        let leaf = j.chain().leaf();
        let word = view::word(j.status(), reasons.get(&leaf.id).map(String::as_str));
        let shown = match state {
            "all" => true,
            // A suspended trust lives; it is listed with the living.
            "live" => !j.status().ended(),
            other => word == other,
        };
        if shown && (caller.kind() != Kind::Trust || in_lane(caller, j)) {
            let (extra, _) = sql::extras(&mut tx, &leaf.id).await?;
            let mut body = sql::body(&req, leaf, extra);
            if state != "live" {
                body.insert("state".into(), word.into());
            }
            items.push(Value::Object(body));
        }
    }
    req.list("trusts", items, &[])
}

/// `DELETE /v3/OS-TRUST/trusts/{id}`, with `?dry_run=true` and `?renounce=true`
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    let renounce = req.query.flag("renounce");
    let dry = req.query.flag("dry_run");
    let mut tx = if dry { req.read().await? } else { req.write().await? };
    let judged = load(&mut tx, &req, &id).await?;
    if judged.chain().leaf().deleted_at.is_some() {
        return Err(Error::NotFound("trust", id));
    }
    let facts = facts(caller, &judged)?;
    let permit = match caller.permit(&req.app, Op::DeleteTrust, &facts) {
        Err(Error::Forbidden(_)) if renounce => caller.permit(&req.app, Op::RenounceTrust, &facts)?,
        other => other?,
    };
    if dry {
        let shown = view::would_end(&mut tx, &id).await?;
        return Ok(req.one("would_end", shown));
    }
    let why = if renounce { end::Why::Renounced } else { end::Why::Deleted };
    let ended = end::subtree(&mut tx, &id, why, req.app.clock.now(), &permit).await?;
    tx.commit().await?;
    req.app.metrics.trusts_ended.inc_by(ended.len() as u64);
    Ok(no_content())
}

/// `GET /v3/OS-TRUST/trusts/{id}/lineage`: everything above and below, dead or alive.
pub async fn lineage(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    let mut tx = req.read().await?;
    let judged = load(&mut tx, &req, &id).await?;
    caller.permit(&req.app, Op::GetTrustLineage, &facts(caller, &judged)?)?;
    let shown = view::lineage(&mut tx, &req, &judged).await?;
    Ok(req.one("lineage", shown))
}

/// `GET /v3/users/{id}/delegations`: everything that acts for this user, and for whom he acts.
pub async fn delegations(Path(user): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Trusts)?;
    if caller.kind() == Kind::Trust {
        return Err(Refusal::DelegatedToken("see delegations outside its own chain").into());
    }
    caller.permit(&req.app, Op::ListUserDelegations, &Facts::none().with(Fact::PathUser, &user))?;
    let mut tx = req.read().await?;
    if authority::user(&mut tx, &user).await?.is_none() {
        return Err(Error::NotFound("user", user));
    }
    let shown: Map<String, Value> = view::delegations(&mut tx, &req, &user).await?;
    Ok(axum::Json(json!({"delegations": shown})).into_response())
}
