//! `/v3/credentials`: keypairs on their other route, and secrets of other kinds.

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::keypair::KeypairRequest;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::token::{Act, Kind};

use crate::app::App;
use crate::authz::{Authorized, Caller, Proposed, Reading, Session, Writing};
use crate::error::{Error, Result};
use crate::facts::evidence;
use crate::http::Links;
use crate::http::request::{created, no_content, one, take_text};
use crate::ids;
use crate::resources::keypairs::sql::{self, Credential, PLAIN, Whose};
use crate::resources::keypairs::{
    self, CredentialView, Draft, MARKERS, NewCredential, blob_object, refuse_markers,
};
use crate::resources::{access_rules, unused_since};
use crate::schema;
use crate::store::Tx;

schema!(CREATE, {
    "type": "object",
    "required": ["blob", "type", "user_id"],
    "properties": {
        "blob": {"type": "string"},
        "type": {"type": "string", "minLength": 1, "maxLength": 255},
        "user_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "project_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 64},
        "expires_at": {"type": ["string", "null"], "maxLength": 64},
        "roles": crate::http::schema::named_roles(),
        "access_rules": crate::http::schema::access_rules(),
        // The server alone records where a credential comes from; null says nothing.
        "trust_id": {"type": "null"},
        "app_cred_id": {"type": "null"},
        "access_token_id": {"type": "null"},
    },
});

schema!(UPDATE, {
    "type": "object",
    "required": ["blob"],
    "properties": {"blob": {"type": "string"}},
    "additionalProperties": false,
});

schema!(QUERY, {
    "type": "object",
    "properties": {
        "user_id": {"type": "string"}, "type": {"type": "string"}, "unused_since": unused_since::schema(),
    },
});

/// What a token must be good for to touch a credential of this type.
fn act_on(is_keypair: bool) -> Act {
    if is_keypair { Act::Keypairs } else { Act::OtherCredentials }
}

/// A credential as this caller may see it; its blob is null when no key opens it.
fn to_json(view: &CredentialView, app: &App, caller: &Caller, links: &Links) -> Result<Value> {
    let c = &view.credential;
    let mut out: Map<String, Value> =
        c.extra.as_deref().and_then(|e| serde_json::from_str(e).ok()).unwrap_or_default();
    let own = json!({
        "id": c.id,
        "user_id": c.user_id,
        "project_id": c.project_id,
        "type": c.shown_kind(),
        "blob": view.blob_for(app, caller)?,
        "links": {"self": links.of(&["credentials", &c.id])},
    });
    if let Value::Object(own) = own {
        out.extend(own);
    }
    if c.is_keypair() {
        out.insert(evidence::ATTRIBUTE.into(), view.evidence.clone());
    }
    Ok(Value::Object(out))
}

/// `POST /v3/credentials`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let mut body = s.body()?;
    let user_id = take_text(&mut body, "user_id").unwrap_or_default();
    let new = Proposed(NewCredential { user_id });
    let owner = s.authorize(Op::CreateCredential, new.clone())?;
    let kind = take_text(&mut body, "type").unwrap_or_default();
    let is_keypair = kind.eq_ignore_ascii_case(PLAIN) || kind == sql::BOUND;
    s.may(act_on(is_keypair))?;
    body.remove("id");
    body.remove("links");
    body.retain(|name, value| !(value.is_null() && MARKERS.contains(&name.as_str())));
    let blob = take_text(&mut body, "blob").unwrap_or_default();
    let project_id = take_text(&mut body, "project_id");
    let (app, now) = (s.app, s.now);
    let made = if is_keypair {
        body.remove(evidence::ATTRIBUTE);
        // The sibling route asks for more than reading too; both ask the same. It knows no domain scope,
        // but the administrator of a domain makes keypairs here, as Heat's does for its stack users.
        let owner = s.authorize_beside(Op::Ec2CreateCredential, new)?;
        let project = project_id.ok_or_else(|| Error::field("project_id", "is required for type ec2"))?;
        let draft = keypair_draft(&mut s.tx, project, &blob, body).await?;
        keypairs::create(&mut s.tx, &owner, app, caller, draft, now).await?
    } else {
        body.remove("project_id");
        let (encrypted_blob, key_hash) = keypairs::encrypt(app, &kind, &blob)?;
        let credential = Credential {
            id: ids::uuid(),
            user_id: owner.user_id.clone(),
            project_id,
            kind,
            extra: Some(Value::Object(body).to_string()),
            key_hash,
            encrypted_blob,
            bound: None,
        };
        keypairs::create_other(&mut s.tx, &owner, app, credential, now).await?
    };
    Ok(created("credential", to_json(&made, app, caller, s.links())?))
}

async fn keypair_draft(
    tx: &mut Tx,
    project: String,
    blob: &str,
    mut rest: Map<String, Value>,
) -> Result<Draft> {
    let mut blob = keypair_blob(blob)?;
    refuse_markers(&blob)?;
    let access = access_id(&blob).filter(|a| fits(a)).map(str::to_owned).ok_or_else(no_access_id)?;
    blob.remove("access");
    check_secret(&blob)?;
    let until = keypairs::http::until(&mut rest)?;
    let roles = keypairs::http::narrowing(tx, &mut rest).await?;
    rest.remove("expires_at");
    let ask = KeypairRequest {
        project,
        roles,
        until,
        access: access_rules::from_body(rest.remove("access_rules").as_ref())?,
    };
    Ok(Draft { access, blob, extra: rest, ask })
}

/// The credential that a path names, with the right to do `op` to it.
fn authorize<T>(
    s: &Session<'_, T>,
    op: Op,
    found: Option<CredentialView>,
) -> Result<Authorized<CredentialView>> {
    let id = s.param("credential_id")?;
    let missing = || Error::NotFound("credential", id.to_owned());
    if let Some(found) = &found {
        s.may(act_on(found.credential.is_keypair()))?;
    }
    let found = s.authorize_found(op, found, missing)?;
    if found.is_dead(s.now) { Err(missing()) } else { Ok(found) }
}

/// `GET /v3/credentials/{id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let found = keypairs::find(&mut s.tx, s.request.param("credential_id")?, s.now).await?;
    let found = authorize(s, Op::GetCredential, found)?;
    Ok(one("credential", to_json(&found, s.app, s.caller()?, s.links())?))
}

/// `GET /v3/credentials`: everybody sees their own; what else, the policy says item by item.
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let caller = s.caller()?;
    s.authorize(Op::ListCredentials, Facts::none().with(Fact::CredentialUser, caller.user_id()))?;
    let sees_all = s.allows(Op::GetCredential, &Facts::none())?;
    let query = s.query()?;
    let owner = query.get("user_id");
    // Only what the caller can have a part in; whether they have is asked of each.
    let whose = if sees_all { Whose::All } else { Whose::Part(caller.user_id()) };
    // Of keypairs alone it is known when they were used.
    let unused_since = unused_since::of(query)?;
    let mut paging = s.paging(&[], &["user_id", "type"])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let ids = sql::ids(&mut s.tx, whose, &batch, |q| {
            q.id("c.user_id", owner.filter(|_| sees_all));
            if let Some(since) = unused_since.filter(|_| !batch.is_one()) {
                evidence::unused(q, evidence::Kind::Keypair, "c.id", since);
            }
        })
        .await?;
        paging.read(&batch, ids.len(), ids.last().map(String::as_str));
        let mut found = sql::find(&mut s.tx, |q| {
            q.id_in("c.id", &ids).id("c.user_id", owner);
            for name in ["user_id", "type"] {
                query.narrow(name, &format!("c.{name}"), q);
            }
        })
        .await?;
        found.retain(|c| caller.may(s.app, act_on(c.is_keypair())).is_ok());
        found.retain(|c| unused_since.is_none() || c.is_keypair());
        for view in keypairs::with_trusts(&mut s.tx, found, s.now).await? {
            // What is out of reach for the caller's token is not listed.
            let Ok(facts) = view.facts_for(caller) else { continue };
            if s.allows(Op::GetCredential, &facts)? && !view.is_dead(s.now) {
                paging.push(to_json(&view, s.app, caller, s.links())?);
            }
        }
    }
    Ok(s.page("credentials", paging))
}

/// `PATCH /v3/credentials/{id}`: the blob only, and of a keypair's blob the secret only; of a trust's keypair by whoever may see it.
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let stored = keypairs::find(&mut s.tx, s.request.param("credential_id")?, s.now).await?;
    let stored = authorize(s, Op::UpdateCredential, stored)?;
    if caller.kind() == Kind::Trust {
        // A bearer makes another keypair instead; this one stays as it was made.
        s.may(Act::OtherCredentials)?;
    }
    // Who writes a secret knows it, and acts by it in the name that the trust shows.
    if !stored.shows_secret(caller) {
        let why = "The secret of a trust's keypair is changed by those who may see it alone.";
        return Err(Error::Forbidden(why.into()));
    }
    let mut body = s.body()?;
    let blob = take_text(&mut body, "blob").unwrap_or_default();
    if stored.credential.is_keypair() {
        // An administrator may write another access id into another user's plain keypair, as in Keystone,
        // whose tests do; it stays reachable by its first.
        let is_fixed = stored.credential.bound.is_some() || caller.user_id() == stored.credential.user_id;
        check_change(s.app, &stored.credential, &blob, is_fixed)?;
    }
    let (encrypted_blob, key_hash) = keypairs::encrypt(s.app, &stored.credential.kind, &blob)?;
    sql::update_blob(&mut s.tx, &stored, &encrypted_blob, &key_hash).await?;
    let mut view = stored.into_inner();
    (view.credential.encrypted_blob, view.credential.key_hash) = (encrypted_blob, key_hash);
    Ok(one("credential", to_json(&view, s.app, caller, s.links())?))
}

/// Whether a new blob of a keypair is one: it has an access id and a secret, the markers stay as they are,
/// and the access id too if it `is_fixed`.
fn check_change(app: &App, stored: &Credential, blob: &str, is_fixed: bool) -> Result<()> {
    let new = keypair_blob(blob)?;
    let keys = app.credential_keys.current().map_err(Error::Internal)?;
    let old = keypairs::decrypt(&keys, stored).as_deref().and_then(blob_object).unwrap_or_default();
    for name in MARKERS.iter().chain(is_fixed.then_some(&"access")) {
        if old.get(*name).filter(|v| !v.is_null()) != new.get(*name).filter(|v| !v.is_null()) {
            return Err(Error::field(&format!("blob.{name}"), "cannot be changed"));
        }
    }
    // A Keystone may have stored a longer access id; it can be kept.
    access_id(&new).filter(|a| fits(a) || access_id(&old) == Some(a)).ok_or_else(no_access_id)?;
    check_secret(&new)
}

fn keypair_blob(text: &str) -> Result<Map<String, Value>> {
    blob_object(text).ok_or_else(|| Error::field("blob", "must be a JSON object in a string"))
}

/// A blob's access id, if it is a string and not empty.
fn access_id(blob: &Map<String, Value>) -> Option<&str> {
    blob.get("access").and_then(Value::as_str).filter(|a| !a.is_empty())
}

/// Whether an access id is short enough for its column.
fn fits(access: &str) -> bool {
    access.len() <= 255
}

fn no_access_id() -> Error {
    Error::field("blob.access", "is required and must be a string of 1 to 255 bytes")
}

fn check_secret(blob: &Map<String, Value>) -> Result<()> {
    match blob.get("secret") {
        Some(Value::String(s)) if !s.is_empty() => Ok(()),
        _ => Err(Error::field("blob.secret", "is required and must be a string")),
    }
}

/// `DELETE /v3/credentials/{id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let found = keypairs::find(&mut s.tx, s.request.param("credential_id")?, s.now).await?;
    let found = authorize(s, Op::DeleteCredential, found)?;
    keypairs::end(&mut s.tx, &found, &found.credential).await?;
    Ok(no_content())
}
