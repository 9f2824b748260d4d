//! Password logins.

use serde_json::{Map, Value};

use crate::app::App;
use crate::args;
use crate::authority;
use crate::error::{Error, Result};
use crate::store::Tx;
use crate::tokens::issue::Identity;

/// The id of a domain that a body names by id or name. An unknown one fails the login, no more is said.
pub async fn domain_id(tx: &mut Tx, map: &Map<String, Value>, at: &str) -> Result<String> {
    match (map.get("id"), map.get("name")) {
        (Some(Value::String(id)), _) => Ok(id.clone()),
        (None | Some(Value::Null), Some(Value::String(name))) => {
            Ok(authority::domain_named(tx, name).await?.ok_or(Error::Unauthorized)?.id)
        }
        _ => Err(Error::BadRequest(format!("{at}: needs an id or a name, as text"))),
    }
}

/// Checks `{"user": {…, "password"}}`; gives the user's id. Unknown, disabled and wrong password look
/// alike, in the answer and in time.
pub async fn password(app: &App, mut data: Map<String, Value>) -> Result<String> {
    let Some(Value::Object(mut user)) = data.remove("user") else {
        return Err(Error::field("auth.identity.password.user", "is required and must be an object"));
    };
    let password = match user.remove("password") {
        Some(Value::String(p)) => p,
        _ => {
            return Err(Error::field(
                "auth.identity.password.user.password",
                "is required and must be a text",
            ));
        }
    };
    if password.len() > app.config.max_password_length {
        return Err(Error::Unauthorized);
    }
    let found = {
        let mut tx = app.store.read().await?;
        match (user.get("id"), user.get("name")) {
            (Some(Value::String(id)), _) => by(&mut tx, "l.user_id = ?", args![id]).await?,
            (None | Some(Value::Null), Some(Value::String(name))) => {
                let domain = match user.get("domain") {
                    Some(Value::Object(d)) => d,
                    _ => {
                        return Err(Error::field(
                            "auth.identity.password.user.domain",
                            "is required with a name and must be an object",
                        ));
                    }
                };
                match domain_id(&mut tx, domain, "auth.identity.password.user.domain").await {
                    Ok(domain) => by(&mut tx, "l.name = ? AND l.domain_id = ?", args![name, domain]).await?,
                    Err(Error::Unauthorized) => None,
                    Err(e) => return Err(e),
                }
            }
            _ => {
                return Err(Error::field("auth.identity.password.user", "needs an id or a name, as text"));
            }
        }
    };
    let hash = found.as_ref().and_then(|f| f.1.as_deref());
    // An empty password is no proof of anything, whatever hash it may fit.
    let fits = app.passwords.verify(&password, hash).await? && !password.is_empty();
    let (id, _) = found.filter(|_| fits).ok_or(Error::Unauthorized)?;
    let mut tx = app.store.read().await?;
    let user = authority::user(&mut tx, &id).await?;
    user.filter(|u| u.presence == vicar_rules::delegation::Presence::Active)
        .map(|u| u.id)
        .ok_or(Error::Unauthorized)
}

/// User id and newest hash.
async fn by(
    tx: &mut Tx,
    condition: &str,
    args: &[crate::store::Value],
) -> Result<Option<(String, Option<String>)>> {
    Ok(tx
        .first(
            &format!(
                "SELECT l.user_id, p.password_hash FROM local_user l
                   LEFT JOIN password p ON p.local_user_id = l.id
                  WHERE {condition} ORDER BY p.created_at_int DESC, p.id DESC LIMIT 1"
            ),
            args,
            |r| Ok((r.take()?, r.take()?)),
        )
        .await?)
}

/// Do the methods satisfy the user's multi-factor rules?
pub async fn satisfies_mfa(_app: &App, _who: &Identity) -> Result<()> {
    Ok(())
}
