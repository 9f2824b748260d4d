//! `/v3/OS-TRUST`: making, reading, listing and ending trusts, and seeing who acts for whom.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::application_credential::{CredentialFacts, delegable};
use vicar_rules::binding::Binding;
use vicar_rules::ceiling::Ceilings;
use vicar_rules::delegation::{self, Parties, Presence, Presented, TrustRequest};
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::roles::RoleSet;
use vicar_rules::terms::Terms;
use vicar_rules::token::{Act, Kind};

use super::{end, flush, render, sql, view};
use crate::app::App;
use crate::authz::{Caller, NoObject, Object, Proposed, Reading, Writing};
use crate::clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::facts::evidence::{self, Evidence, Evidences};
use crate::facts::{self, EvaluatedTrust, Place, origin, terms};
use crate::http::request::{created, no_content, one, take_text};
use crate::http::schema::TEXT;
use crate::http::{Links, Request};
use crate::ids;
use crate::notifications::{Action, ObjectKind};
use crate::resources::access_rules;
use crate::resources::limits::{self, Counted};
use crate::resources::{roles, unused_since};
use crate::schema;
use crate::store::Tx;

/// The schema of a span of time.
fn seconds() -> Value {
    json!({"type": ["integer", "null"], "minimum": 1, "maximum": 2_147_483_647, "description": "In seconds"})
}

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
        "access_rules": crate::http::schema::access_rules(),
        "not_before": {"type": ["string", "null"], "maxLength": 64},
        "max_token_ttl": seconds(),
        "max_login_age": seconds(),
        "required_methods": {
            "type": ["array", "null"], "maxItems": 8, "items": {"type": "string", "minLength": 1, "maxLength": 64},
        },
        "external_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 255, "pattern": TEXT},
        "trustee_binding": {
            "type": ["object", "null"], "additionalProperties": false,
            "description": "`issuer` and `subject`, or `x5t#S256` alone",
            "properties": {
                "issuer": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": TEXT},
                "subject": {"type": "string", "minLength": 1, "maxLength": 512, "pattern": TEXT},
                "audience": {"type": ["string", "null"], "minLength": 1, "maxLength": 255, "pattern": TEXT},
                "x5t#S256": {
                    "type": "string", "pattern": "^[A-Za-z0-9_-]{43}=$",
                    "description": "The thumbprint of a certificate, as tokens show it in `oauth2_credential`",
                },
            },
        },
        "source_identity": crate::http::schema::source_identity(),
        "labels": crate::http::schema::labels(),
    },
});

schema!(QUERY, {
    "type": "object",
    "properties": {
        "trustor_user_id": {"type": "string"},
        "trustee_user_id": {"type": "string"},
        "state": {"type": "string", "description": format!("One of {}", STATES.join(", "))},
        "unused_since": unused_since::schema(),
    },
});

schema!(DELETE_QUERY, {
    "type": "object",
    "properties": {"renounce": {"type": "string"}, "dry_run": {"type": "string"}},
});

/// `POST /v3/OS-TRUST/trusts`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let mut body = s.body()?;
    let trustor = take_text(&mut body, "trustor_user_id").unwrap_or_default();
    let proof = s.authorize(Op::CreateTrust, Proposed(sql::NewTrust { trustor: trustor.clone() }))?;
    let terms = Terms {
        access: access_rules::from_body(body.remove("access_rules").as_ref())?,
        not_before: time(&mut body, "not_before")?,
        max_token_ttl: span(&mut body, "max_token_ttl")?,
        max_login_age: span(&mut body, "max_login_age")?,
        required_methods: required_methods(s.app, &mut body)?,
    };
    let external_id = take_text(&mut body, "external_id");
    let binding = body.remove("trustee_binding").filter(|given| !given.is_null());
    let binding = binding.map(|given| {
        let wrong = || Error::field("trustee_binding", "needs issuer and subject, or x5t#S256 alone");
        terms::binding(&given).ok_or_else(wrong)
    });
    let binding = binding.transpose()?;
    if let Some(Binding::Signed { issuer, .. }) = &binding
        && !s.app.providers.has_issuer(issuer)
    {
        let problem = "is that of no provider that this server knows, so nobody could use the trust";
        return Err(Error::field("trustee_binding.issuer", problem));
    }
    let origin = origin::read(&body);
    for own in sql::OWN {
        body.remove(own);
    }
    let until = time(&mut body, "expires_at")?;
    let named = body.remove("roles");
    let ask = TrustRequest {
        trustor,
        trustee: take_text(&mut body, "trustee_user_id").unwrap_or_default(),
        project: take_text(&mut body, "project_id"),
        impersonation: body.remove("impersonation") == Some(Value::Bool(true)),
        roles: roles::named::resolve(&mut s.tx, named.as_ref()).await?,
        until,
        uses: whole(&mut body, "remaining_uses")?,
        allow_redelegation: body.remove("allow_redelegation") == Some(Value::Bool(true)),
        count: whole(&mut body, "redelegation_count")?
            .map(|n| u32::try_from(n).map_err(|_| Error::field("redelegation_count", "is out of range")))
            .transpose()?,
        terms,
        external_id,
        binding,
        origin,
    };
    body.remove("project_id");
    let caller = s.caller()?;
    if let Some(token) = caller.token() {
        s.app.config.trust_login.admit(token.login(&s.app.config), s.now)?;
    }
    let bound = caller.token().and_then(|t| t.trust.as_ref()?.chain().leaf().binding.as_ref());
    let thumbprint = if let Some(Binding::Certificate(_)) = bound { s.thumbprint()? } else { None };
    let granted = grant(&mut s.tx, &s.app.config, caller, &ask, thumbprint.as_deref(), s.now).await?;
    if let Some(limit) = s.app.config.max_trusts_per_user
        && sql::has_given(&mut s.tx, &granted.trust().trustor, limit, s.now).await?
    {
        return Err(Error::Forbidden(format!(
            "The trustor has given {limit} living trusts, and may give no more ([delegation] max_trusts_per_user)."
        )));
    }
    if let Some(project) = &granted.trust().project {
        limits::check_room(&mut s.tx, project, Counted::Trusts, s.now).await?;
    }
    // Read before the first write, and in the rehearsal too: so they are remembered when it is the writer's turn.
    let roles = render::roles(&mut s.tx, &granted.trust().roles).await?;
    s.tx.writes()?;
    let made = delegation::Trust { id: ids::uuid(), ..granted.trust().clone() };
    let token = caller.token();
    let evidence = Evidence::new(token.map(|t| &*t.payload.audit_ids), None, s.now);
    let known = (body.clone(), evidence.to_json(None));
    let shown = render::to_json_with_roles(&s.request.links, &made, known, &roles);
    let parent = token.and_then(|t| t.trust.as_deref());
    sql::insert(&mut s.tx, &proof, &made.id, &granted, &body, parent, &evidence).await?;
    Ok(created("trust", shown))
}

/// An optional number of seconds.
fn span(body: &mut Map<String, Value>, name: &str) -> Result<Option<Micros>> {
    Ok(whole(body, name)?.map(|seconds| seconds.saturating_mul(clock::SECOND)))
}

/// Methods by which whoever uses the trust must have logged in: such that this server has.
fn required_methods(app: &App, body: &mut Map<String, Value>) -> Result<BTreeSet<String>> {
    let named = body.remove("required_methods");
    let named = named.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    named
        .map(|method| match app.config.auth_methods.iter().any(|known| known == method) {
            true => Ok(method.to_owned()),
            false => {
                let known = app.config.auth_methods.join(", ");
                let problem = format!("`{method}` is not among the methods of this server ({known})");
                Err(Error::field("required_methods", &problem))
            }
        })
        .collect()
}

/// An optional time.
fn time(body: &mut Map<String, Value>, name: &str) -> Result<Option<Micros>> {
    let text = take_text(body, name);
    body.remove(name);
    let wrong = "must be a UTC time like 2027-01-31T12:00:00.000000Z, without an offset";
    text.map(|text| clock::from_client(&text).ok_or_else(|| Error::field(name, wrong))).transpose()
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

/// Gathers the facts and asks the rules. The parent is that of the presented token, never the body's.
async fn grant(
    tx: &mut Tx,
    config: &Config,
    caller: &Caller,
    ask: &TrustRequest,
    certificate: Option<&str>,
    now: Micros,
) -> Result<delegation::Granted> {
    let implications = caller.implications(tx).await?;
    // The caller was authenticated in this transaction, and the trust evaluated with it.
    let parent = caller.token().and_then(|t| t.trust.as_ref());
    let root = parent.map_or(ask.trustor.as_str(), |t| t.chain().holder());
    let (project, root_roles) = match &ask.project {
        None => (None, RoleSet::new()),
        Some(id) => (
            facts::project(tx, id).await?,
            facts::effective_roles(tx, root, Place::Project(id), &implications).await?,
        ),
    };
    // Which workload it is counts where the parent is for one.
    let workload = match (caller.token(), parent.and_then(|t| t.chain().leaf().binding.as_ref())) {
        (Some(token), Some(Binding::Signed { .. })) => {
            facts::workloads::of_chain(tx, token.root_audit_id()).await?
        }
        _ => None,
    };
    let trustee = facts::user(tx, &ask.trustee).await?;
    let others = parent.iter().flat_map(|parent| parent.users.values()).chain(&trustee);
    let ceilings = facts::ceilings::over_new(tx, project.as_ref(), root, others).await?;
    let parties = Parties {
        token_user: caller.user_id(),
        trustee_exists: trustee.is_some(),
        project: project.map_or(Presence::Missing, |p| p.presence),
        ceilings: &Ceilings { registered_only: config.registered_trustees_only, ..ceilings },
        root_roles: &root_roles,
        implications: &implications,
        presented: Presented { workload: workload.as_ref(), certificate, external_id: None },
        now,
    };
    Ok(match parent {
        None => match caller.delegating_credential() {
            None => delegation::grant(ask, &parties, config.trust)?,
            Some(own) => {
                // Its token was judged in this transaction: its owner is there, and so is its project.
                let (user, project) = (Presence::Active, parties.project);
                let facts = CredentialFacts { now, held: &root_roles, user, project };
                let may = delegable(own, &implications, &facts);
                let above = may.live().ok_or_else(|| Refusal::ParentNotLive(may.word().to_owned()))?;
                delegation::grant_by_credential(ask, own, above, &parties, config.trust)?
            }
        },
        Some(t) => delegation::redelegate(ask, &t.evaluated, &parties, config.trust)?,
    })
}

impl Object for EvaluatedTrust {
    /// The parts in a trust. A trust-scoped caller has a part in its own link and below only, whoever
    /// it speaks for.
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        let chain = self.chain();
        let mut facts = Facts::none()
            .with_all(Fact::TrustTrustor, chain.delegators())
            .with(Fact::TrustId, &chain.leaf().id)
            .with(Fact::TrustTrustee, &chain.leaf().trustee)
            .and(place(self))
            .with_flag(Fact::TrustImpersonation, chain.leaf().impersonation)
            .with_opt(Fact::TrustParent, chain.leaf().parent.as_deref());
        if caller.kind() == Kind::Trust {
            if !is_own_or_below(caller, self) {
                return Err(Refusal::DelegatedToken("see or manage trusts outside its own chain").into());
            }
            // Its own link may be ended by the bearer, with impersonation or without.
            facts = facts.with(Fact::TrustTrustor, caller.user_id());
        }
        if let Some(own) = caller.delegating_credential()
            && chain.root().credential.as_ref() != Some(&own.id)
        {
            return Err(Refusal::DelegatedToken("see or manage trusts that it did not make").into());
        }
        Ok(facts)
    }
}

/// Where a trust is.
pub fn place(trust: &EvaluatedTrust) -> Facts {
    // A domain that acts as a project is its own.
    let domain = trust.project.as_ref().map(|project| project.domain_id.as_ref().unwrap_or(&project.id));
    Facts::none()
        .with_opt(Fact::TrustProject, trust.chain().leaf().project.as_deref())
        .with_opt(Fact::TrustProjectDomain, domain.map(String::as_str))
}

/// Whether the trust is the caller's own, or below it.
fn is_own_or_below(caller: &Caller, trust: &EvaluatedTrust) -> bool {
    let own = caller.token().and_then(|t| t.trust_id());
    own.is_some_and(|own| trust.chain().links().iter().any(|t| t.id == own))
}

/// Whether a list shows it to the caller: a bearer sees their chain, an application credential what it made.
fn is_in_lane(caller: &Caller, trust: &EvaluatedTrust) -> bool {
    match caller.delegating_credential() {
        Some(own) => trust.chain().root().credential.as_ref() == Some(&own.id),
        None => caller.kind() != Kind::Trust || is_own_or_below(caller, trust),
    }
}

/// The trust that a path names, dead or alive.
async fn load(caller: &Caller, tx: &mut Tx, request: &Request, now: Micros) -> Result<EvaluatedTrust> {
    let id = request.param("trust_id")?;
    let implications = caller.implications(tx).await?;
    let found = facts::evaluated_trust(tx, id, now, &implications).await?;
    found.map(Arc::unwrap_or_clone).ok_or_else(|| Error::NotFound("trust", id.to_owned()))
}

/// The same, but a dead one is not there.
pub async fn load_living(
    caller: &Caller,
    tx: &mut Tx,
    request: &Request,
    now: Micros,
) -> Result<EvaluatedTrust> {
    let trust = load(caller, tx, request, now).await?;
    if trust.status().ended() {
        return Err(Error::NotFound("trust", trust.chain().leaf().id.clone()));
    }
    Ok(trust)
}

/// `GET /v3/OS-TRUST/trusts/{id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let trust = load_living(s.caller()?, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::GetTrust, trust)?;
    Ok(one("trust", shown(&mut s.tx, &s.request.links, trust.chain().leaf()).await?))
}

/// A trust as clients see it, whole.
///
/// # Errors
/// When the database fails.
pub async fn shown(tx: &mut Tx, links: &Links, trust: &delegation::Trust) -> Result<Value> {
    let extra = sql::extras(tx, &[&trust.id]).await?.remove(&trust.id).unwrap_or_default();
    let roles = render::roles(tx, &trust.roles).await?;
    let evidence = Evidences::of(tx, evidence::Kind::Trust, [&trust.id]).await?.to_json(&trust.id);
    Ok(render::to_json_with_roles(links, trust, (extra, evidence), &roles))
}

/// `GET /v3/OS-TRUST/trusts/{id}/roles`
pub async fn roles(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let trust = load_living(s.caller()?, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::ListRolesForTrust, trust)?;
    let roles = render::roles(&mut s.tx, &trust.chain().leaf().roles).await?;
    s.list("roles", render::role_objects(&s.request.links, &roles), &[])
}

/// `GET /v3/OS-TRUST/trusts/{id}/roles/{role}`
pub async fn role(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let role = s.param("role_id")?;
    let trust = load_living(s.caller()?, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::GetRoleForTrust, trust)?;
    let only: RoleSet = trust.chain().leaf().roles.iter().filter(|r| *r == role).cloned().collect();
    let shown = render::role_objects(&s.request.links, &render::roles(&mut s.tx, &only).await?).pop();
    Ok(one("role", shown.ok_or_else(|| Error::NotFound("role", role.to_owned()))?))
}

/// Which states a list shows.
const STATES: [&str; 7] = ["live", "expired", "exhausted", "broken", "deleted", "suspended", "all"];

/// `GET /v3/OS-TRUST/trusts`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let caller = s.caller()?;
    let query = s.query()?;
    let (trustor, trustee) = (query.get("trustor_user_id"), query.get("trustee_user_id"));
    // Both filters together: each names one's own part, so each alone may allow.
    let by_trustor = trustor.map(|u| (Op::ListTrustsForTrustor, Facts::none().with(Fact::TrustTrustor, u)));
    let by_trustee = trustee.map(|u| (Op::ListTrustsForTrustee, Facts::none().with(Fact::TrustTrustee, u)));
    let mut allowed = false;
    for (op, facts) in [&by_trustor, &by_trustee].into_iter().flatten() {
        allowed |= s.allows(*op, facts)?;
    }
    if !allowed {
        let (op, facts) = by_trustor.or(by_trustee).unwrap_or((Op::ListTrusts, Facts::none()));
        s.authorize(op, facts)?;
    }
    let state = query.get("state").unwrap_or("live");
    if !STATES.contains(&state) {
        return Err(Error::field(
            "state",
            "must be one of live, suspended, expired, exhausted, broken, deleted, all",
        ));
    }
    let unused_since = unused_since::of(query)?;
    let now = s.now;
    let implications = s.caller()?.implications(&mut s.tx).await?;
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let ids = facts::trust_ids(&mut s.tx, |q| {
            q.id("t.trustor_user_id", trustor).id("t.trustee_user_id", trustee);
            flush::in_state(q, state, now);
            if let Some(since) = unused_since.filter(|_| !batch.is_one()) {
                evidence::unused(q, evidence::Kind::Trust, "t.id", since);
            }
            q.batch("t.id", &batch);
        })
        .await?;
        paging.read(&batch, ids.len(), ids.last().map(String::as_str));
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let chains = facts::chains(&mut s.tx, &ids).await?;
        let evaluated = facts::evaluate_all(&mut s.tx, chains, now, &implications).await?;
        let reasons = sql::reasons(&mut s.tx, &ids).await?;
        let mut extras = sql::extras(&mut s.tx, &ids).await?;
        let evidence = Evidences::of(&mut s.tx, evidence::Kind::Trust, &ids).await?;
        for trust in &evaluated {
            let leaf = trust.chain().leaf();
            let word = view::word(trust.status(), reasons.get(&leaf.id).map(String::as_str));
            let shown = match state {
                "all" => true,
                // A suspended trust lives; it is listed with the living.
                "live" => !trust.status().ended(),
                other => word == other,
            };
            if shown && is_in_lane(caller, trust) {
                let extra = extras.remove(&leaf.id).unwrap_or_default();
                let mut item = render::to_json(s.links(), leaf, extra, evidence.to_json(&leaf.id));
                if state != "live" {
                    item.insert("state".into(), word.into());
                }
                paging.push(Value::Object(item));
            }
        }
    }
    Ok(s.page("trusts", paging))
}

/// `DELETE /v3/OS-TRUST/trusts/{id}`, with `?dry_run=true` and `?renounce=true`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let query = s.query()?;
    let trust = load(s.caller()?, &mut s.tx, s.request, s.now).await?;
    let id = trust.chain().leaf().id.clone();
    if trust.chain().leaf().deleted_at.is_some() {
        return Err(Error::NotFound("trust", id));
    }
    let renounce = query.flag("renounce");
    let trust = match s.authorize(Op::DeleteTrust, trust.clone()) {
        Err(Error::Forbidden(_) | Error::AboveCeiling(_) | Error::NotPermitted(_)) if renounce => {
            s.authorize(Op::RenounceTrust, trust)?
        }
        // Keystone's rule knows no managers.
        Err(refused @ Error::NotPermitted(_)) => {
            s.authorize(Op::EndTrustOnProject, trust).map_err(|_| refused)?
        }
        other => other?,
    };
    if query.flag("dry_run") {
        return Ok(one("would_end", view::would_end(&mut s.tx, &id).await?));
    }
    let why = if renounce { end::EndReason::Renounced } else { end::EndReason::Deleted };
    let ended = end::subtree(&mut s.tx, &trust, &id, why, s.now).await?;
    s.request.line.ended(&ended);
    let below: Vec<String> = ended.iter().filter(|t| **t != id).rev().cloned().collect();
    s.tell_followed(ObjectKind::Trust, Action::Deleted, below);
    s.tell(ObjectKind::Trust, Action::Deleted, &id);
    let ended = ended.len() as u64;
    s.after_commit(move |metrics| {
        metrics.trusts_ended.inc_by(ended);
    });
    Ok(no_content())
}

/// `GET /v3/OS-TRUST/trusts/{id}/lineage`: everything above and below, dead or alive.
pub async fn lineage(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let trust = load(s.caller()?, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::GetTrustLineage, trust)?;
    Ok(one("lineage", view::lineage(s, &trust).await?))
}

/// `GET /v3/users/{id}/delegations`: everything that acts for this user, and for whom they act.
pub async fn delegations(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let caller = s.caller()?;
    if caller.kind() == Kind::Trust || caller.delegating_credential().is_some() {
        return Err(Refusal::DelegatedToken("see delegations outside its own chain").into());
    }
    s.authorize(Op::ListUserDelegations, NoObject)?;
    let user = s.param("user_id")?;
    if facts::user(&mut s.tx, user).await?.is_none() {
        return Err(Error::NotFound("user", user.to_owned()));
    }
    let shown: Map<String, Value> = view::delegations(s, user).await?;
    Ok(one("delegations", shown.into()))
}
