//! `/v3/credentials`: keypairs by their other door, and secrets of other kinds.

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::keypair::KeypairRequest;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::token::{Act, Kind};

use crate::error::{Error, Result};
use crate::http::request::{no_content, take_text};
use crate::http::{Caller, Permit, Req};
use crate::ids;
use crate::keypairs::sql::{self, Credential, PLAIN};
use crate::keypairs::{self, Draft, MARKERS, blob_object};
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
        // Where a credential comes from is never the client's to say.
        "trust_id": false,
        "app_cred_id": false,
        "access_token_id": false,
    },
});

schema!(UPDATE, {
    "type": "object",
    "required": ["blob"],
    "properties": {"blob": {"type": "string"}},
    "additionalProperties": false,
});

/// May this kind of token touch a credential of this type?
fn may_touch(req: &Req, caller: &Caller, keypair: bool) -> Result<()> {
    let act = if keypair { Act::Keypairs } else { Act::OtherCredentials };
    Ok(caller.may(&req.app, act)?)
}

/// A credential as this caller may see it; nothing when no key opens it.
async fn show(tx: &mut Tx, req: &Req, caller: &Caller, c: &Credential) -> Result<Value> {
    let mut out: Map<String, Value> =
        c.extra.as_deref().and_then(|e| serde_json::from_str(e).ok()).unwrap_or_default();
    let blob = keypairs::shown_blob(tx, &req.app, caller, c).await?;
    let own = json!({
        "id": c.id,
        "user_id": c.user_id,
        "project_id": c.project_id,
        "type": c.shown_kind(),
        "blob": blob,
        "links": {"self": req.link(&format!("/credentials/{}", c.id))},
    });
    if let Value::Object(own) = own {
        out.extend(own);
    }
    Ok(Value::Object(out))
}

/// `POST /v3/credentials`
pub async fn create(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut body = req.member("credential", &CREATE)?;
    let user = take_text(&mut body, "user_id").unwrap_or_default();
    let facts = Facts::none().with(Fact::CredentialUser, &user);
    let permit = caller.permit(&req.app, Op::CreateCredential, &facts)?;
    let kind = take_text(&mut body, "type").unwrap_or_default();
    let keypair = kind.eq_ignore_ascii_case(PLAIN) || kind == sql::BOUND;
    may_touch(&req, caller, keypair)?;
    body.remove("id");
    body.remove("links");
    let blob = take_text(&mut body, "blob").unwrap_or_default();
    let project = take_text(&mut body, "project_id");
    let mut tx = req.write().await?;
    let made = if keypair {
        // The sibling door asks for more than reading too; both ask the same. It knows no domain scope,
        // but the administrator of a domain makes keypairs here, as Heat's does for its stack users.
        let permit = caller.permit_beside(&req.app, Op::Ec2CreateCredential, &facts)?;
        let project = project.ok_or_else(|| Error::field("project_id", "is required for type ec2"))?;
        create_keypair(&mut tx, &req, caller, user, project, &blob, body, &permit).await?
    } else {
        body.remove("project_id");
        create_other(&mut tx, &req, user, project, kind, &blob, body, &permit).await?
    };
    let shown = show(&mut tx, &req, caller, &made).await?;
    tx.commit().await?;
    Ok(req.created("credential", shown))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one body")]
async fn create_keypair(
    tx: &mut Tx,
    req: &Req,
    caller: &Caller,
    user_id: String,
    project: String,
    blob: &str,
    mut rest: Map<String, Value>,
    permit: &Permit,
) -> Result<Credential> {
    let mut blob =
        blob_object(blob).ok_or_else(|| Error::field("blob", "must be a JSON object in a text"))?;
    if let Some(marker) = MARKERS.iter().find(|m| blob.contains_key(**m)) {
        return Err(Error::BadRequest(format!("blob.{marker}: is the server's to say")));
    }
    let access =
        take_text(&mut blob, "access").filter(|a| !a.is_empty() && a.len() <= 255).ok_or_else(|| {
            Error::field("blob.access", "is required and must be a text of at most 255 characters")
        })?;
    check_secret(&blob)?;
    let until = keypairs::http::until(&mut rest)?;
    let roles = keypairs::http::narrowing(tx, &mut rest).await?;
    rest.remove("expires_at");
    let draft = Draft { user_id, access, blob, extra: rest, ask: KeypairRequest { project, roles, until } };
    keypairs::create(tx, &req.app, caller, draft, permit).await
}

#[expect(clippy::too_many_arguments, reason = "the parts of one body")]
async fn create_other(
    tx: &mut Tx,
    req: &Req,
    user_id: String,
    project_id: Option<String>,
    kind: String,
    blob: &str,
    rest: Map<String, Value>,
    permit: &Permit,
) -> Result<Credential> {
    let (encrypted_blob, key_hash) = keypairs::encrypt(&req.app, &kind, blob)?;
    let made = Credential {
        id: ids::uuid(),
        user_id,
        project_id,
        kind,
        extra: Some(Value::Object(rest).to_string()),
        key_hash,
        encrypted_blob,
        bound: None,
    };
    sql::insert(tx, &made, "", req.app.clock.now(), permit).await?;
    Ok(made)
}

/// The credential that a path names, with the right to do `op` to it.
async fn load(tx: &mut Tx, req: &Req, caller: &Caller, op: Op, id: &str) -> Result<(Credential, Permit)> {
    let Some(found) = sql::get(tx, id).await? else {
        caller.permit(&req.app, op, &Facts::none())?;
        return Err(Error::NotFound("credential", id.to_owned()));
    };
    may_touch(req, caller, found.is_keypair())?;
    let facts = keypairs::facts(tx, caller, &found).await?;
    let permit = caller.permit(&req.app, op, &facts)?;
    if keypairs::is_dead(tx, &req.app, &found).await? {
        return Err(Error::NotFound("credential", id.to_owned()));
    }
    Ok((found, permit))
}

/// `GET /v3/credentials/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let (found, _) = load(&mut tx, &req, caller, Op::GetCredential, &id).await?;
    let shown = show(&mut tx, &req, caller, &found).await?;
    Ok(req.one("credential", shown))
}

/// `GET /v3/credentials`: everybody sees his own; what else, the policy says item by item.
pub async fn list(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.permit(
        &req.app,
        Op::ListCredentials,
        &Facts::none().with(Fact::CredentialUser, caller.user_id()),
    )?;
    let mut tx = req.read().await?;
    let found = sql::find(&mut tx, |q| {
        q.eq("c.user_id", req.query.get("user_id"));
        if !caller.allowed(&req.app, Op::GetCredential, &Facts::none()) {
            // Only what the caller can have a part in; whether he has is asked of each.
            let me = caller.user_id();
            q.and(
                "(c.user_id = ? OR k.trust_id IN (
                    WITH RECURSIVE mine(id) AS (
                        SELECT id FROM trust WHERE trustor_user_id = ? OR trustee_user_id = ?
                        UNION
                        SELECT t.id FROM trust t JOIN mine ON t.redelegated_trust_id = mine.id)
                    SELECT id FROM mine))",
                crate::args![me, me, me],
            );
        }
    })
    .await?;
    let mut items = Vec::new();
    for c in &found {
        if may_touch(&req, caller, c.is_keypair()).is_err() {
            continue;
        }
        // What is not the bearer's is not there for him.
        let Ok(facts) = keypairs::facts(&mut tx, caller, c).await else { continue };
        if caller.allowed(&req.app, Op::GetCredential, &facts)
            && !keypairs::is_dead(&mut tx, &req.app, c).await?
        {
            items.push(show(&mut tx, &req, caller, c).await?);
        }
    }
    req.list("credentials", items, &["user_id", "type"])
}

/// `PATCH /v3/credentials/{id}`: the blob only, and of a keypair's blob the secret only.
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.write().await?;
    let (mut found, permit) = load(&mut tx, &req, caller, Op::UpdateCredential, &id).await?;
    if caller.kind() == Kind::Trust {
        // A bearer makes another keypair instead; what stands stays as it was made.
        caller.may(&req.app, Act::OtherCredentials)?;
    }
    let mut body = req.member("credential", &UPDATE)?;
    let blob = take_text(&mut body, "blob").unwrap_or_default();
    if found.is_keypair() {
        // An administrator may write another access id into somebody's plain keypair, as in Keystone,
        // whose tests do; it stays reachable by its first.
        let fixed = found.bound.is_some() || caller.user_id() == found.user_id;
        check_same(&req, &found, &blob, fixed)?;
    }
    (found.encrypted_blob, found.key_hash) = keypairs::encrypt(&req.app, &found.kind, &blob)?;
    sql::update_blob(&mut tx, &found, &permit).await?;
    let shown = show(&mut tx, &req, caller, &found).await?;
    tx.commit().await?;
    Ok(req.one("credential", shown))
}

/// The markers of a keypair stay as they are, and its access id if that is `fixed`.
fn check_same(req: &Req, found: &Credential, blob: &str, fixed: bool) -> Result<()> {
    let new = blob_object(blob).ok_or_else(|| Error::field("blob", "must be a JSON object in a text"))?;
    let old = keypairs::decrypt(&req.app, found)?.as_deref().and_then(blob_object).unwrap_or_default();
    for name in MARKERS.iter().chain(fixed.then_some(&"access")) {
        if old.get(*name).filter(|v| !v.is_null()) != new.get(*name).filter(|v| !v.is_null()) {
            return Err(Error::BadRequest(format!("blob.{name}: cannot be changed")));
        }
    }
    check_secret(&new)
}

fn check_secret(blob: &Map<String, Value>) -> Result<()> {
    match blob.get("secret") {
        Some(Value::String(s)) if !s.is_empty() => Ok(()),
        _ => Err(Error::field("blob.secret", "is required and must be a text")),
    }
}

/// `DELETE /v3/credentials/{id}`
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut tx = req.write().await?;
    let (found, permit) = load(&mut tx, &req, caller, Op::DeleteCredential, &id).await?;
    keypairs::end(&mut tx, &req.app, &found, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}
