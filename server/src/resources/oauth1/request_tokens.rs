//! Request tokens: a consumer asks for one, a user authorizes it, the consumer gets an access token for it.

use axum::http::HeaderName;
use axum::response::Response;
use serde_json::json;
use vicar_rules::access_token::{NotHeld, authorize as may_authorize};
use vicar_rules::policy::{Facts, Op};
use vicar_rules::token::Act;

use super::signed_for_token;
use crate::auth::oauth1;
use crate::authz::{Authorized, Caller, NoObject, Object, Writing};
use crate::error::{Error, Result};
use crate::facts::access_tokens::RequestToken;
use crate::facts::{self, Place};
use crate::http::request::{created_form, one, with_made};
use crate::http::schema;
use crate::notifications::{Action, ObjectKind};
use crate::reason::Reason;
use crate::resources::roles;
use crate::schema;
use crate::store::Update;

const PROJECT: HeaderName = HeaderName::from_static("requested-project-id");

schema!(AUTHORIZE, {
    "type": "object",
    "required": ["roles"],
    "properties": {
        // Without a role nobody could log in.
        "roles": {"type": "array", "minItems": 1, "maxItems": 1000, "items": schema::named_role()},
    },
});

/// `POST /v3/OS-OAUTH1/request_token`
pub async fn request(s: &mut Writing<'_>) -> Result<Response> {
    let signed = signed_for_token(s.request)?;
    let project = s.request.header(&PROJECT)?.filter(|id| !id.is_empty());
    let project = project.ok_or_else(|| Error::field("Requested-Project-Id", "the header is missing"))?;
    let made = oauth1::request(&mut s.tx, s.app.auth(), &signed, project, s.now).await?;
    s.tell(ObjectKind::RequestToken, Action::Created, &made.id);
    Ok(with_made(created_form(made.to_form()), "request_token", made.id))
}

/// `POST /v3/OS-OAUTH1/access_token`
pub async fn exchange(s: &mut Writing<'_>) -> Result<Response> {
    let signed = signed_for_token(s.request)?;
    let made = oauth1::exchange(&mut s.tx, s.app.auth(), &signed, &s.request.line, s.now).await?;
    s.tell(ObjectKind::AccessToken, Action::Created, &made.id);
    Ok(with_made(created_form(made.to_form()), "access_token", made.id))
}

/// A request token that somebody authorizes.
struct Asked(RequestToken);

impl Object for Asked {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

/// `PUT /v3/OS-OAUTH1/authorize/{request_token_id}`: a user lets the consumer have some of their roles.
pub async fn authorize(s: &mut Writing<'_>) -> Result<Response> {
    s.authorize(Op::AuthorizeRequestToken, NoObject)?;
    let body = s.body()?;
    // What is made here lives by itself: no delegated token makes it.
    s.may(Act::OtherDelegations)?;
    let (id, now) = (s.param("request_token_id")?, s.now);
    let asked = oauth1::request_token(&mut s.tx, id, now).await?;
    let asked = s.authorize(Op::AuthorizeRequestToken, Asked(asked))?;
    let wanted = roles::named::resolve(&mut s.tx, body.get("roles")).await?;
    let caller = s.caller()?;
    let implications = caller.implications(&mut s.tx).await?;
    let (user, project) = (caller.user_id().to_owned(), Place::Project(&asked.0.project));
    let held = facts::effective_roles(&mut s.tx, &user, project, &implications).await?;
    // 401, as in Keystone.
    may_authorize(&wanted, &held, &implications)
        .map_err(|NotHeld(_)| Error::UnauthorizedBecause(Reason::NoRoles, NOT_HELD))?;
    let verifier = oauth1::verifier();
    store(s, &asked, &user, &verifier, &json!(wanted).to_string()).await?;
    Ok(one("token", json!({"oauth_verifier": verifier})))
}

const NOT_HELD: &str = "The authorizing user does not hold a role that they would authorize.";

async fn store(
    s: &mut Writing<'_>,
    asked: &Authorized<Asked>,
    user: &str,
    verifier: &str,
    roles: &str,
) -> Result<()> {
    let authorized = Update::of("request_token")
        .set("authorizing_user_id", user)
        .set("verifier", verifier)
        .set("role_ids", roles)
        .key("id", &asked.0.id);
    match s.tx.execute(asked, &authorized).await? {
        1 => Ok(()),
        _ => Err(Error::Retry("the request token was used in between".into())),
    }
}
