//! `/v3/users/{id}/credentials/OS-EC2`

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Value, json};
use vicar_rules::keypair::KeypairRequest;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::roles::RoleSet;
use vicar_rules::token::{Act, Kind};

use super::sql::{self, Credential};
use super::{Draft, blob_object};
use crate::authority;
use crate::clock;
use crate::error::{Error, Result};
use crate::http::request::{no_content, take_text};
use crate::http::{Caller, Req};
use crate::ids;
use crate::schema;
use crate::store::Tx;
use crate::trusts::http::resolve_roles;

schema!(CREATE, {
    "type": "object",
    "required": ["tenant_id"],
    "properties": {
        "tenant_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "expires_at": {"type": ["string", "null"], "maxLength": 64},
        "roles": crate::http::schema::named_roles(),
        // Where a keypair comes from is never the client's to say.
        "trust_id": false,
        "app_cred_id": false,
        "access_token_id": false,
    },
});

/// An optional end in a body.
pub fn until(body: &mut serde_json::Map<String, Value>) -> Result<Option<i64>> {
    match take_text(body, "expires_at") {
        None => Ok(None),
        Some(text) => clock::from_client(&text)
            .map(Some)
            .ok_or_else(|| Error::field("expires_at", "must be a UTC time without an offset")),
    }
}

/// The roles that a body narrows a keypair to, if it does.
pub async fn narrowing(tx: &mut Tx, body: &mut serde_json::Map<String, Value>) -> Result<Option<RoleSet>> {
    match body.remove("roles") {
        None | Some(Value::Null) => Ok(None),
        Some(named) => match resolve_roles(tx, Some(&named)).await? {
            none if none.is_empty() => Err(Error::field("roles", "must name at least one role")),
            some => Ok(Some(some)),
        },
    }
}

/// `POST /v3/users/{id}/credentials/OS-EC2`
pub async fn create(Path(user): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Keypairs)?;
    let facts = Facts::none().with(Fact::CredentialUser, &user);
    let permit = caller.permit(&req.app, Op::Ec2CreateCredential, &facts)?;
    let mut body = req.json()?;
    CREATE.check("request body", &Value::Object(body.clone()))?;
    let until = until(&mut body)?;
    let mut tx = req.write().await?;
    let roles = narrowing(&mut tx, &mut body).await?;
    let project = take_text(&mut body, "tenant_id").unwrap_or_default();
    let mut blob = serde_json::Map::new();
    blob.insert("secret".into(), ids::secret().into());
    let draft = Draft {
        user_id: user,
        access: ids::secret(),
        blob,
        extra: serde_json::Map::new(),
        ask: KeypairRequest { project, roles, until },
    };
    let made = super::create(&mut tx, &req.app, caller, draft, &permit).await?;
    let shown = show(&mut tx, &req, caller, &made, &made.user_id).await?;
    tx.commit().await?;
    Ok(req.created("credential", shown))
}

/// A keypair as this API shows it, under the user id of the path.
async fn show(tx: &mut Tx, req: &Req, caller: &Caller, c: &Credential, under: &str) -> Result<Value> {
    let blob = super::shown_blob(tx, &req.app, caller, c).await?;
    let blob = blob.as_deref().and_then(blob_object).unwrap_or_default();
    let access = blob.get("access").and_then(Value::as_str).unwrap_or_default();
    let mut out = json!({
        "user_id": c.user_id,
        "tenant_id": c.project_id,
        "access": access,
        "secret": blob.get("secret"),
        "trust_id": c.bound.as_ref().map(|b| b.trust_id.as_str()).or_else(|| blob.get("trust_id")?.as_str()),
        "links": {"self": req.link(&format!("/users/{under}/credentials/OS-EC2/{access}"))},
    });
    if blob.get("secret").is_none()
        && let Some(map) = out.as_object_mut()
    {
        map.remove("secret");
    }
    if let Some(b) = &c.bound {
        if let Some(roles) = &b.roles {
            out["roles"] = roles.iter().map(|id| json!({"id": id})).collect();
        }
        if let Some(end) = b.until.to_option() {
            out["expires_at"] = clock::iso(end).into();
        }
    }
    Ok(out)
}

/// The keypair that a path names. It stands under its owner and, when it is a trust's, under the trustee.
async fn load(
    tx: &mut Tx,
    req: &Req,
    caller: &Caller,
    op: Op,
    user: &str,
    access: &str,
) -> Result<Credential> {
    let found = sql::get(tx, &super::credential_id(access)).await?.filter(Credential::is_keypair);
    let missing = || Error::NotFound("credential", access.to_owned());
    let found = found.ok_or_else(missing)?;
    if super::is_dead(tx, &req.app, &found).await? {
        return Err(missing());
    }
    let facts = super::facts(tx, caller, &found).await?;
    caller.permit(&req.app, op, &facts)?;
    let trustee = match &found.bound {
        Some(b) => authority::chain(tx, &b.trust_id).await?.map(|c| c.leaf().trustee.clone()),
        None => None,
    };
    // Who may do it to anybody's keypair need not name the owner; tempest's clean-up does not.
    let anybodys = caller.allowed(&req.app, op, &Facts::none());
    if found.user_id != user && trustee.as_deref() != Some(user) && !anybodys {
        return Err(Error::not_permitted("the credential belongs to another user"));
    }
    Ok(found)
}

/// `GET /v3/users/{id}/credentials/OS-EC2/{access}`
pub async fn get(Path((user, access)): Path<(String, String)>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Keypairs)?;
    let mut tx = req.read().await?;
    let found = load(&mut tx, &req, caller, Op::Ec2GetCredential, &user, &access).await?;
    let shown = show(&mut tx, &req, caller, &found, &user).await?;
    Ok(req.one("credential", shown))
}

/// `GET /v3/users/{id}/credentials/OS-EC2`
pub async fn list(Path(user): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Keypairs)?;
    caller.permit(&req.app, Op::Ec2ListCredentials, &Facts::none().with(Fact::PathUser, &user))?;
    let mut tx = req.read().await?;
    let own = caller.token().and_then(|t| t.trust_id()).filter(|_| caller.kind() == Kind::Trust);
    let found = sql::find(&mut tx, |q| {
        q.and(
            "c.type IN (?, ?) AND (c.user_id = ? OR k.trust_id IN
               (SELECT id FROM trust WHERE trustee_user_id = ?))",
            crate::args![sql::PLAIN, sql::BOUND, &user, &user],
        );
        if let Some(trust) = own {
            q.and("k.trust_id = ?", crate::args![trust]);
        }
    })
    .await?;
    let mut items = Vec::new();
    for c in &found {
        if !super::is_dead(&mut tx, &req.app, c).await? {
            items.push(show(&mut tx, &req, caller, c, &user).await?);
        }
    }
    req.list("credentials", items, &[])
}

/// `DELETE /v3/users/{id}/credentials/OS-EC2/{access}`
pub async fn delete(Path((user, access)): Path<(String, String)>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    caller.may(&req.app, Act::Keypairs)?;
    let mut tx = req.write().await?;
    let found = load(&mut tx, &req, caller, Op::Ec2DeleteCredential, &user, &access).await?;
    let facts = super::facts(&mut tx, caller, &found).await?;
    let permit = caller.permit(&req.app, Op::Ec2DeleteCredential, &facts)?;
    super::end(&mut tx, &req.app, &found, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}
