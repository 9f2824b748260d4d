//! Tokens as clients see them.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vicar_rules::Micros;
use vicar_rules::delegation::{Chain, Trust};

use super::token::{Token, TokenScope};
use crate::args;
use crate::clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::application_credentials::StoredRule;
use crate::facts::catalog::{Endpoint, Service};
use crate::facts::terms::THUMBPRINT;
use crate::facts::{self, ProjectFacts, RoleRef, UserFacts};
use crate::store::memory::AnswerKey;
use crate::store::{Row, Tx};

fn user(u: &UserFacts) -> Value {
    json!({
        "domain": {"id": u.domain_id, "name": u.domain_name},
        "id": u.id,
        "name": u.name,
        "password_expires_at": u.password_expires_at.map(clock::iso_bare),
    })
}

fn project(p: &ProjectFacts) -> Value {
    // A domain that is used as a project stands for its own domain.
    let domain = match (&p.domain_id, &p.domain_name) {
        (Some(id), name) => json!({"id": id, "name": name}),
        (None, _) => json!({"id": p.id, "name": p.name}),
    };
    json!({"domain": domain, "id": p.id, "name": p.name})
}

fn role(r: &RoleRef, whole: bool) -> Value {
    let mut out = json!({"id": r.id, "name": r.name});
    if whole {
        extra::set(&mut out, "domain_id", Value::Null);
        extra::set(&mut out, "description", r.description.clone());
        let options = r.immutable.map_or_else(|| json!({}), |i| json!({"immutable": i}));
        extra::set(&mut out, "options", options);
    }
    out
}

/// The catalog of a token, as clients see it, in JSON. Of a trust's token it is the trustor's of its last link.
///
/// # Errors
/// When the database fails.
pub async fn catalog(tx: &mut Tx, config: &Config, token: &Token) -> Result<Arc<String>> {
    let user = token.trust.as_ref().map_or(token.user.id.as_str(), |t| &t.chain().leaf().trustor);
    let project = token.project().map(|p| p.id.as_str());
    let of = |user: &str| Sha256::digest(format!("{} {user}", project.unwrap_or_default())).into();
    // Mostly its URLs name no user, and all on a project share it.
    let shared = AnswerKey::new("catalog on a project", of(""));
    let own = AnswerKey::new("catalog of a user", of(user));
    for key in [&shared, &own] {
        if let Some(known) = tx.known(key, Micros::MIN).await? {
            return Ok(known);
        }
    }
    let mark = tx.begin_answer();
    let services = facts::catalog::catalog(tx, user, project, config.all_endpoints_unless_named).await?;
    let text = Arc::new(services.iter().map(service).collect::<Value>().to_string());
    let key = if services.iter().any(Service::names_user) { own } else { shared };
    tx.remember(mark, key, (&text, text.len()));
    Ok(text)
}

fn service(s: &Service) -> Value {
    let endpoints: Vec<Value> = s.endpoints.iter().map(endpoint).collect();
    json!({"endpoints": endpoints, "id": s.id, "type": s.kind, "name": s.name})
}

fn endpoint(e: &Endpoint) -> Value {
    extra::overlay(
        &e.extra,
        json!({
            "id": e.id,
            "interface": e.interface,
            "region_id": e.region_id,
            "url": e.url,
            "region": e.region_id,
        }),
    )
}

/// The enabled service providers, which tokens of every kind name.
async fn service_providers(tx: &mut Tx) -> Result<Vec<Value>> {
    let sql = "SELECT id, auth_url, sp_url FROM service_provider WHERE enabled = ? ORDER BY id";
    let read = |r: &mut Row| {
        let (id, auth_url, sp_url): (String, String, String) = (r.take()?, r.take()?, r.take()?);
        Ok(json!({"auth_url": auth_url, "id": id, "sp_url": sp_url}))
    };
    Ok(tx.map(sql, args![true], read).await?)
}

/// A token as clients see it.
#[derive(Debug)]
pub struct Shown {
    /// All but the catalog: a JSON object.
    fields: String,
    /// A JSON list, which many share.
    catalog: Option<Arc<String>>,
}

impl Shown {
    /// How many bytes it takes, without what is shared.
    pub fn size(&self) -> usize {
        self.fields.len()
    }

    /// The body of an answer that shows it.
    pub fn body(&self) -> Bytes {
        let Some(catalog) = &self.catalog else { return format!("{{\"token\":{}}}", self.fields).into() };
        let open = self.fields.strip_suffix('}').unwrap_or(&self.fields);
        format!("{{\"token\":{open},\"catalog\":{catalog}}}}}").into()
    }
}

/// The access rules of a trust's token. Services read them where those of application credentials are: so
/// keystonemiddleware enforces them as it is.
fn limited(token: &Token) -> Option<Value> {
    let trust = token.trust_id()?;
    let mut shown = json!({"id": trust, "name": format!("trust {trust}"), "restricted": true});
    extra::set(&mut shown, "access_rules", facts::terms::rules_to_json(&token.access)?);
    Some(shown)
}

/// Who acts by a chain, and who did before them: nested, as RFC 8693 has it in section 4.1.
fn actors(chain: &Chain) -> Value {
    let nest = |before: Option<Value>, link: &Trust| {
        let mut actor = json!({"sub": link.trustee});
        if let Some(before) = before {
            extra::set(&mut actor, "act", before);
        }
        Some(actor)
    };
    chain.links().iter().fold(None, nest).unwrap_or_default()
}

/// Who acts by a chain, and all of it.
fn acting(chain: &Chain) -> [(String, Value); 2] {
    [("act".into(), actors(chain)), ("delegation_chain".into(), chain.links().iter().map(link).collect())]
}

/// What those who keep an audit trail are told of a token of a trust; nothing of others.
pub fn delegation(token: &Token) -> Option<Map<String, Value>> {
    let mut out = facts::origin::to_json(&token.origin);
    out.extend(acting(token.trust.as_ref()?.chain()));
    Some(out)
}

/// A link of a chain with what it lets whoever uses it do.
fn link(t: &Trust) -> Value {
    let mut out = json!({
        "trust_id": t.id,
        "delegator": t.trustor,
        "delegatee": t.trustee,
        "impersonation": t.impersonation,
        "roles": t.roles,
        "expires_at": t.until.to_option().map(clock::iso),
        "redelegation_count": t.hops,
    });
    if let Some(id) = &t.credential {
        extra::set(&mut out, "application_credential_id", id.as_str());
    }
    if let Some(adoption) = &t.adoption {
        extra::set(&mut out, "adopted_by", adoption.by.as_str());
    }
    extra::add(&mut out, facts::terms::shown(t.terms.as_ref()));
    out
}

/// The `token` object, with the catalog unless it is not wanted.
pub async fn render(tx: &mut Tx, config: &Config, token: &Token, with_catalog: bool) -> Result<Shown> {
    let mut out = Map::new();
    let mut shown_catalog = None;
    out.insert("methods".into(), json!(token.payload.methods));
    let mut shown = user(&token.user);
    if let (Some(from), Value::Object(shown)) = (&token.payload.federated, &mut shown) {
        let groups: Vec<Value> = from.groups.iter().map(|id| json!({"id": id})).collect();
        shown.remove("password_expires_at");
        shown.insert(
            "OS-FEDERATION".into(),
            json!({
                "groups": groups,
                "identity_provider": {"id": from.provider},
                "protocol": {"id": from.protocol},
            }),
        );
    }
    out.insert("user".into(), shown);
    out.insert("audit_ids".into(), json!(token.payload.audit_ids));
    out.insert("expires_at".into(), clock::iso(token.payload.expires).into());
    out.insert("issued_at".into(), clock::iso(token.payload.issued).into());
    if let Some(judged) = &token.trust {
        let leaf = judged.chain().leaf();
        let mut trust = json!({
            "id": leaf.id,
            "trustor_user": {"id": leaf.trustor},
            "trustee_user": {"id": leaf.trustee},
            "impersonation": leaf.impersonation,
        });
        if leaf.parent.is_some() {
            let chain: Vec<Value> = judged
                .chain()
                .links()
                .iter()
                .map(|t| {
                    json!({
                        "trust_id": t.id,
                        "trustor_user_id": t.trustor,
                        "trustee_user_id": t.trustee,
                        "impersonation": t.impersonation,
                    })
                })
                .collect();
            extra::set(&mut trust, "redelegated_trust_id", leaf.parent.clone());
            extra::set(&mut trust, "redelegation_count", leaf.hops);
            extra::set(&mut trust, "chain", chain);
        }
        extra::add(&mut trust, facts::origin::to_json(&token.origin));
        out.insert("OS-TRUST:trust".into(), trust);
        out.extend(acting(judged.chain()));
    }
    match &token.scope {
        TokenScope::Unscoped => {}
        TokenScope::Project(p) => {
            out.insert("project".into(), project(p));
            if token.trust.is_none() {
                out.insert("is_domain".into(), p.is_domain.into());
            }
        }
        TokenScope::Domain(d) => {
            out.insert("domain".into(), json!({"id": d.id, "name": d.name}));
        }
        TokenScope::System => {
            out.insert("system".into(), json!({"all": true}));
        }
    }
    if !matches!(token.scope, TokenScope::Unscoped) {
        // In tokens of trusts and of federated users, Keystone shows whole roles.
        let whole = token.trust.is_some() || token.payload.federated.is_some();
        let roles: Vec<Value> = token.roles.iter().map(|r| role(r, whole)).collect();
        out.insert("roles".into(), roles.into());
        if with_catalog {
            shown_catalog = Some(catalog(tx, config, token).await?);
        }
    }
    let providers = service_providers(tx).await?;
    if !providers.is_empty() {
        out.insert("service_providers".into(), providers.into());
    }
    if let Some(a) = &token.access_token {
        out.insert("OS-OAUTH1".into(), json!({"access_token_id": a.id, "consumer_id": a.consumer}));
    }
    if let Some(stored) = &token.application_credential {
        let own = &stored.credential;
        let mut shown = json!({"id": own.id, "name": stored.name, "restricted": !own.unrestricted});
        if !stored.access_rules.is_empty() {
            let rules: Vec<Value> = stored.access_rules.iter().map(StoredRule::to_json).collect();
            extra::set(&mut shown, "access_rules", rules);
        }
        out.insert("application_credential".into(), shown);
    }
    if let Some(shown) = limited(token) {
        out.insert("application_credential".into(), shown);
    }
    if let Some(thumbprint) = token.certificate() {
        out.insert("oauth2_credential".into(), json!({THUMBPRINT: thumbprint}));
    }
    // Not by `Display`, which writes byte by byte through a formatter.
    let fields = serde_json::to_string(&out).map_err(|e| Error::Internal(format!("a token in JSON: {e}")))?;
    Ok(Shown { fields, catalog: shown_catalog })
}
