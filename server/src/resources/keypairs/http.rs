//! `/v3/users/{id}/credentials/OS-EC2`

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::delegation::Chain;
use vicar_rules::keypair::KeypairRequest;
use vicar_rules::policy::Op;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::{Act, Kind};

use super::sql;
use super::{CredentialView, Draft, NewCredential, blob_object};
use crate::app::App;
use crate::authz::{Authorized, Caller, NoObject, Proposed, Reading, Session, Writing};
use crate::clock;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::evidence;
use crate::facts::terms::rules_to_json;
use crate::http::Links;
use crate::http::request::{created, no_content, one, take_text, with_made};
use crate::ids;
use crate::notifications::{Action, ObjectKind};
use crate::resources::{access_rules, roles, unused_since};
use crate::schema;
use crate::store::Tx;

schema!(CREATE, {
    "type": "object",
    "required": ["tenant_id"],
    "properties": {
        "tenant_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "expires_at": {"type": ["string", "null"], "maxLength": 64},
        "roles": crate::http::schema::named_roles(),
        "access_rules": crate::http::schema::access_rules(),
        // The server alone records where a keypair comes from; null says nothing.
        "trust_id": {"type": "null"},
        "app_cred_id": {"type": "null"},
        "access_token_id": {"type": "null"},
    },
});

schema!(QUERY, {"type": "object", "properties": {"unused_since": unused_since::schema()}});

/// An optional end in a body.
///
/// # Errors
/// 400 when it is no time.
pub fn until(body: &mut Map<String, Value>) -> Result<Option<Micros>> {
    match take_text(body, "expires_at") {
        None => Ok(None),
        Some(text) => clock::from_client(&text)
            .map(Some)
            .ok_or_else(|| Error::field("expires_at", "must be a UTC time without an offset")),
    }
}

/// The roles that a body narrows a keypair to, if it does.
///
/// # Errors
/// 400 for an empty list or an ambiguous name, 404 for an unknown name.
pub async fn narrowing(tx: &mut Tx, body: &mut Map<String, Value>) -> Result<Option<RoleSet>> {
    match body.remove("roles") {
        None | Some(Value::Null) => Ok(None),
        Some(named) => match roles::named::resolve(tx, Some(&named)).await? {
            none if none.is_empty() => Err(Error::field("roles", "must name at least one role")),
            some => Ok(Some(some)),
        },
    }
}

/// A keypair as this API shows it, under the user id of the path.
fn to_json(view: &CredentialView, app: &App, caller: &Caller, links: &Links, under: &str) -> Result<Value> {
    let c = &view.credential;
    let blob = view.blob_for(app, caller)?;
    let blob = blob.as_deref().and_then(blob_object).unwrap_or_default();
    let access = blob.get("access").and_then(Value::as_str).unwrap_or_default();
    let mut out = json!({
        "user_id": c.user_id,
        "tenant_id": c.project_id,
        "access": access,
        "secret": blob.get("secret"),
        "trust_id": c.bound.as_ref().map(|b| b.trust_id.as_str()).or_else(|| blob.get("trust_id")?.as_str()),
        "evidence": view.evidence,
        "links": {"self": links.of(&["users", under, "credentials", "OS-EC2", access])},
    });
    if blob.get("secret").is_none()
        && let Some(map) = out.as_object_mut()
    {
        map.remove("secret");
    }
    if let Some(b) = &c.bound {
        if let Some(roles) = &b.roles {
            let roles: Vec<Value> = roles.iter().map(|id| json!({"id": id})).collect();
            extra::set(&mut out, "roles", roles);
        }
        if let Some(rules) = rules_to_json(&b.access_rules) {
            extra::set(&mut out, "access_rules", rules);
        }
        if let Some(end) = b.until.to_option() {
            extra::set(&mut out, "expires_at", clock::iso(end));
        }
    }
    Ok(out)
}

/// `POST /v3/users/{id}/credentials/OS-EC2`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Keypairs)?;
    let user_id = s.param("user_id")?.to_owned();
    let owner = s.authorize(Op::Ec2CreateCredential, Proposed(NewCredential { user_id }))?;
    let mut body = s.body()?;
    let until = until(&mut body)?;
    let roles = narrowing(&mut s.tx, &mut body).await?;
    let access = access_rules::from_body(body.remove("access_rules").as_ref())?;
    let project = take_text(&mut body, "tenant_id").unwrap_or_default();
    let mut blob = Map::new();
    blob.insert("secret".into(), ids::secret().into());
    let draft = Draft {
        access: ids::secret(),
        blob,
        extra: Map::new(),
        ask: KeypairRequest { project, roles, until, access },
    };
    let (app, caller, now) = (s.app, s.caller()?, s.now);
    let made = super::create(&mut s.tx, &owner, app, caller, draft, now).await?;
    let shown = to_json(&made, app, caller, s.links(), &owner.user_id)?;
    s.tell_followed(ObjectKind::Credential, Action::Created, [made.credential.id.clone()]);
    Ok(with_made(created("credential", shown), "credential", made.credential.id))
}

/// The keypair that a path names, with the right to do `op` to it. It is found under its owner and, when it
/// is a trust's, under the trustee. One that is not there, or dead, is 404 for everybody, as in Keystone.
fn authorize<T>(
    s: &Session<'_, T>,
    op: Op,
    found: Option<CredentialView>,
) -> Result<Authorized<CredentialView>> {
    let (user, access) = (s.param("user_id")?, s.param("credential_id")?);
    let found = found
        .filter(|f| f.credential.is_keypair() && !f.is_dead(s.now))
        .ok_or_else(|| Error::NotFound("credential", access.to_owned()))?;
    let found = s.authorize(op, found)?;
    // Whoever may do it to any keypair need not name the owner; tempest's clean-up does not.
    let is_anybodys = s.allows_any(op)?;
    let is_named = found.trust.as_ref().is_some_and(|t| t.chain().speaks_for() == user);
    if found.credential.user_id != user && found.trustee() != Some(user) && !is_named && !is_anybodys {
        return Err(Error::NotPermitted("the credential belongs to another user"));
    }
    Ok(found)
}

/// `GET /v3/users/{id}/credentials/OS-EC2/{access}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Keypairs)?;
    let id = super::credential_id(s.param("credential_id")?);
    let found = super::find(&mut s.tx, &id, s.now).await?;
    let found = authorize(s, Op::Ec2GetCredential, found)?;
    let shown = to_json(&found, s.app, s.caller()?, s.links(), s.param("user_id")?)?;
    Ok(one("credential", shown))
}

/// `GET /v3/users/{id}/credentials/OS-EC2`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::Keypairs)?;
    s.authorize(Op::Ec2ListCredentials, NoObject)?;
    let (user, caller) = (s.param("user_id")?, s.caller()?);
    let own = caller.token().and_then(|t| t.trust.as_ref()).filter(|_| caller.kind() == Kind::Trust);
    let own = own.map(|trust| trust.chain());
    // Those of an adopted trust are listed with the name that it shows.
    let owner = own.filter(|chain| chain.speaks_for() == user).map_or(user, Chain::keypair_owner);
    let unused_since = unused_since::of(s.query()?)?;
    let mut paging = s.paging(&[], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let ids = sql::ids(&mut s.tx, sql::Whose::Keypairs(owner), &batch, |q| {
            if let Some(since) = unused_since.filter(|_| !batch.is_one()) {
                evidence::unused(q, evidence::Kind::Keypair, "c.id", since);
            }
        })
        .await?;
        paging.read(&batch, ids.len(), ids.last().map(String::as_str));
        let found = sql::find(&mut s.tx, |q| {
            q.id_in("c.id", &ids).id_in("c.type", [sql::PLAIN, sql::BOUND]);
            if let Some(chain) = own {
                q.id("k.trust_id", Some(&chain.leaf().id));
            }
        })
        .await?;
        for view in super::with_trusts(&mut s.tx, found, s.now).await? {
            if !view.is_dead(s.now) {
                let mut item = to_json(&view, s.app, caller, s.links(), user)?;
                extra::set(&mut item, "id", view.credential.id.as_str());
                paging.push(item);
            }
        }
    }
    // The list is in the order of an id that this API does not show: the pages' links alone tell it.
    let mut page = paging.into_page();
    for item in page.items.iter_mut().filter_map(Value::as_object_mut) {
        item.remove("id");
    }
    Ok(s.request.page("credentials", page))
}

/// `DELETE /v3/users/{id}/credentials/OS-EC2/{access}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Keypairs)?;
    let id = super::credential_id(s.param("credential_id")?);
    let found = super::find(&mut s.tx, &id, s.now).await?;
    let found = authorize(s, Op::Ec2DeleteCredential, found)?;
    super::end(&mut s.tx, &found, &found.credential).await?;
    s.tell_followed(ObjectKind::Credential, Action::Deleted, [found.credential.id.clone()]);
    Ok(no_content())
}
