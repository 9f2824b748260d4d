//! `/v3/users`: users, their passwords, their groups.

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::{Act, Kind};

use super::password::{self, By, New};
use super::sql::{self, Compare, Options, User};
use crate::auth::login::{self, Proven};
use crate::clock;
use crate::error::{Error, Result};
use crate::facts;
use crate::http::page::Query;
use crate::http::request::{AUTH_TOKEN, no_content, take_text};
use crate::http::{Permit, Req, bag, schema};
use crate::ids;
use crate::resources::groups;
use crate::schema;
use crate::store::Tx;

fn options_schema() -> Value {
    let flag = json!({"type": ["boolean", "null"]});
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "ignore_change_password_upon_first_use": flag,
            "ignore_password_expiry": flag,
            "ignore_lockout_failure_attempts": flag,
            "lock_password": flag,
            "ignore_user_inactivity": flag,
            "multi_factor_auth_enabled": flag,
            "multi_factor_auth_rules": {
                "type": ["array", "null"],
                "maxItems": 100,
                "uniqueItems": true,
                "items": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 100,
                    "uniqueItems": true,
                    "items": {"type": "string", "maxLength": 255},
                },
            },
        },
    })
}

fn properties() -> Value {
    json!({
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": schema::NAME},
        "domain_id": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": schema::ID},
        "default_project_id": {"type": ["string", "null"], "maxLength": 64, "pattern": schema::TEXT},
        "description": {"type": ["string", "null"]},
        "enabled": {"type": "boolean"},
        "password": {"type": ["string", "null"]},
        // There is no identity provider here that a user could be linked to.
        "federated": {"type": ["array", "null"], "maxItems": 0},
        "options": options_schema(),
    })
}

schema!(CREATE, {"type": "object", "required": ["name"], "properties": properties()});
schema!(UPDATE, {"type": "object", "minProperties": 1, "properties": properties()});
schema!(PASSWORD, {
    "type": "object",
    "required": ["original_password", "password"],
    "additionalProperties": false,
    "properties": {"original_password": {"type": "string"}, "password": {"type": "string"}},
});

/// Attributes that have a place of their own or are the server's: none of them is kept in `extra`.
const OWN: [&str; 15] = [
    "id",
    "name",
    "domain_id",
    "enabled",
    "default_project_id",
    "password",
    "password_expires_at",
    "options",
    "federated",
    "links",
    "extra",
    "tenants",
    "groups",
    "domains",
    "original_password",
];

/// The facts about a stored user. About one who is not there nothing is known.
pub fn facts(user: Option<&User>) -> Facts {
    Facts::none()
        .with_opt(Fact::UserId, user.map(|u| u.id.as_str()))
        .with_opt(Fact::UserDomain, user.map(|u| u.domain_id.as_str()))
}

/// The user of a path, after the policy was asked.
async fn permitted(req: &Req, op: Op, id: &str) -> Result<(User, Permit)> {
    let caller = req.caller().await?;
    let mut tx = req.read().await?;
    let user = sql::get(&mut tx, id).await?;
    let permit = caller.permit(&req.app, op, &facts(user.as_ref()).with(Fact::PathUser, id))?;
    Ok((user.ok_or_else(|| Error::NotFound("user", id.to_owned()))?, permit))
}

/// A password in a checked body: nothing when none is named.
async fn new_password(req: &Req, body: &mut Map<String, Value>) -> Result<Option<New>> {
    match body.remove("password") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(New::from(&req.app, &text).await?)),
        Some(_) => Ok(Some(New::none())),
    }
}

/// A default project may be unknown, but it must be none that acts as a domain.
async fn check_default_project(tx: &mut Tx, id: Option<&str>) -> Result<()> {
    let Some(id) = id else {
        return Ok(());
    };
    match facts::project(tx, id).await? {
        Some(p) if p.is_domain => Err(Error::BadRequest(format!(
            "default_project_id: User's default project ID cannot be a domain ID: {id}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// A name without the space around it.
pub fn trimmed(name: &str) -> Result<String> {
    match name.trim() {
        "" => Err(Error::field("name", "must not be empty")),
        name => Ok(name.to_owned()),
    }
}

/// `POST /v3/users`
pub async fn create(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let mut body = req.member("user", &CREATE)?;
    let named = take_text(&mut body, "domain_id");
    let permit = caller.permit(
        &req.app,
        Op::CreateUser,
        &Facts::none().with_opt(Fact::UserDomain, named.as_deref()),
    )?;
    let domain_id = match named {
        Some(id) => id,
        None => caller.home_domain(&req.app)?,
    };
    let name = trimmed(&take_text(&mut body, "name").unwrap_or_default())?;
    let secret = new_password(&req, &mut body).await?;
    let mut user = User {
        id: ids::uuid(),
        name,
        domain_id,
        switched_on: body.get("enabled") != Some(&Value::Bool(false)),
        idle: false,
        default_project_id: take_text(&mut body, "default_project_id"),
        password_expires_at: None,
        options: changed_options(Options::default(), &body),
        extra: Map::new(),
    };
    bag::keep(&mut user.extra, body, &OWN);
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    if facts::domain(&mut tx, &user.domain_id).await?.is_none() {
        return Err(Error::NotFound("domain", user.domain_id));
    }
    check_default_project(&mut tx, user.default_project_id.as_deref()).await?;
    sql::insert(&mut tx, &user, now, &permit).await?;
    if let Some(new) = &secret {
        password::set(&mut tx, &req.app, &user, new, By::Administrator, now, &permit).await?;
    }
    let made = sql::get(&mut tx, &user.id).await?.unwrap_or(user);
    tx.commit().await?;
    Ok(req.created("user", made.body(&req)))
}

fn changed_options(options: Options, body: &Map<String, Value>) -> Options {
    match body.get("options") {
        Some(Value::Object(changes)) => options.changed(changes),
        _ => options,
    }
}

/// `GET /v3/users/{id}`
pub async fn get(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (user, _) = permitted(&req, Op::GetUser, &id).await?;
    let mut tx = req.read().await?;
    let mut shown = user.body(&req);
    let federated = sql::federated(&mut tx, &user.id).await?;
    if !federated.is_empty() {
        shown["federated"] = federated.into();
    }
    Ok(req.one("user", shown))
}

/// `GET /v3/users`
pub async fn list(req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    let scope = caller.domain_scope();
    caller.permit(&req.app, Op::ListUsers, &Facts::none().with_opt(Fact::ListDomain, scope))?;
    let ends = Ends::of(&req.query)?;
    let mut tx = req.read().await?;
    let users = sql::list(&mut tx, |q| {
        q.eq("u.domain_id", scope).eq("u.domain_id", req.query.get("domain_id"));
        if let Some(name) = req.query.get("name") {
            q.and(NAMED, crate::args![name, name, name]);
        }
        for filter in PROVIDER_FILTERS {
            if let Some(value) = req.query.get(filter) {
                let link = format!(
                    "EXISTS (SELECT 1 FROM federated_user f WHERE f.user_id = u.id AND f.{filter} = ?)"
                );
                q.and(&link, crate::args![value]);
            }
        }
    })
    .await?;
    bodies(&req, users, &ends)
}

/// Filters on a user's link to an identity provider; each is a column of `federated_user`.
const PROVIDER_FILTERS: [&str; 3] = ["idp_id", "protocol_id", "unique_id"];

/// Users of a name, wherever they came from.
const NAMED: &str = "u.id IN (SELECT user_id FROM local_user WHERE name = ?
    UNION ALL SELECT user_id FROM nonlocal_user WHERE name = ?
    UNION ALL SELECT user_id FROM federated_user WHERE display_name = ?)";

/// The answer with a list of users.
fn bodies(req: &Req, users: Vec<User>, ends: &Ends) -> Result<Response> {
    let users = users.into_iter().filter(|u| ends.fit(u)).map(|u| u.body(req)).collect();
    req.list("users", users, &["domain_id", "enabled", "name"])
}

/// The comparisons of `password_expires_at=<word>:<time>`, all of which must hold.
struct Ends(Vec<(Compare, Micros)>);

impl Ends {
    fn of(query: &Query) -> Result<Self> {
        query
            .all("password_expires_at")
            .map(|text| {
                // A time alone has its first colon further to the right.
                let (word, time) = match text.find(':') {
                    Some(at) if at <= 3 => (&text[..at], &text[at + 1..]),
                    _ => ("eq", text),
                };
                let compare = Compare::named(word).ok_or_else(|| {
                    Error::field(
                        "password_expires_at",
                        "the operator must be one of eq, neq, lt, lte, gt, gte",
                    )
                })?;
                let time = clock::from_client(time)
                    .ok_or_else(|| Error::field("password_expires_at", "is no UTC time"))?;
                Ok((compare, time))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    fn fit(&self, user: &User) -> bool {
        self.0.iter().all(|(compare, time)| compare.holds(user.password_expires_at, *time))
    }
}

/// `PATCH /v3/users/{id}`
pub async fn update(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (user, permit) = permitted(&req, Op::UpdateUser, &id).await?;
    let caller = req.caller().await?;
    let mut body = req.member("user", &UPDATE)?;
    if body.get("id").is_some_and(|other| !other.is_null() && *other != id) {
        return Err(Error::BadRequest("id: Cannot change ID".into()));
    }
    if body.get("domain_id").is_some_and(|other| *other != user.domain_id) {
        return Err(Error::BadRequest("domain_id: Cannot change Domain ID".into()));
    }
    if body.contains_key("password") {
        // The bearer of a delegation takes over nobody's login.
        caller.may(&req.app, Act::Password)?;
    }
    let secret = new_password(&req, &mut body).await?;
    let name = take_text(&mut body, "name").map(|n| trimmed(&n)).transpose()?;
    let mut tx = req.write().await?;
    // Read again: hashing took long.
    let before = sql::get(&mut tx, &id).await?.ok_or_else(|| Error::NotFound("user", id.clone()))?;
    let changes = Changes { body, name, secret };
    changes.apply(&mut tx, &req, &before, &permit).await?;
    let after = sql::get(&mut tx, &id).await?.ok_or_else(|| Error::NotFound("user", id.clone()))?;
    let federated = sql::federated(&mut tx, &id).await?;
    tx.commit().await?;
    let mut shown = after.body(&req);
    // Keystone shows the open bag once more under its own name here, and nowhere else.
    shown["extra"] = Value::Object(after.extra);
    if !federated.is_empty() {
        shown["federated"] = federated.into();
    }
    Ok(req.one("user", shown))
}

/// What a `PATCH` asks for, checked.
struct Changes {
    body: Map<String, Value>,
    name: Option<String>,
    secret: Option<New>,
}

impl Changes {
    async fn apply(self, tx: &mut Tx, req: &Req, before: &User, permit: &Permit) -> Result<()> {
        let now = req.app.clock.now();
        let mut body = self.body;
        let flag = body.get("enabled").and_then(Value::as_bool);
        let mut user = before.clone();
        user.switched_on = flag.unwrap_or(before.switched_on);
        user.options = changed_options(user.options, &body);
        if body.contains_key("default_project_id") {
            user.default_project_id = take_text(&mut body, "default_project_id");
            check_default_project(tx, user.default_project_id.as_deref()).await?;
        }
        bag::keep(&mut user.extra, body, &OWN);
        sql::update(tx, &user, permit).await?;
        if let Some(name) = self.name.filter(|n| *n != before.name) {
            user.name = name;
            sql::rename(tx, &user, permit).await?;
        }
        let woken = flag == Some(true) && before.idle;
        if flag == Some(true) && tx.inactive_since().is_some() {
            sql::seen_today(tx, &user.id, now, permit).await?;
            user.idle = false;
        }
        // As in Keystone, any change to an enabled user unlocks his account.
        if user.enabled() {
            sql::forget_failures(tx, &user.id, permit).await?;
        }
        if let Some(new) = &self.secret {
            password::set(tx, &req.app, &user, new, By::Administrator, now, permit).await?;
        }
        let switched_off = before.switched_on && !user.switched_on;
        // Who counted as disabled and is back gets none of his old tokens back.
        if switched_off || woken || self.secret.is_some() {
            sql::end_tokens(tx, &user.id, now, permit).await?;
        }
        Ok(())
    }
}

/// `DELETE /v3/users/{id}`
pub async fn delete(Path(id): Path<String>, req: Req) -> Result<Response> {
    let (_, permit) = permitted(&req, Op::DeleteUser, &id).await?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    if sql::get(&mut tx, &id).await?.is_none() {
        return Err(Error::NotFound("user", id));
    }
    sql::delete(&mut tx, &id, now, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// `GET /v3/users/{id}/groups`
pub async fn groups(Path(id): Path<String>, req: Req) -> Result<Response> {
    let caller = req.caller().await?;
    if caller.kind() == Kind::Trust && caller.user_id() == id {
        // Whom it speaks for is no reason to show where else he belongs.
        return Err(Refusal::DelegatedToken("see its trustor's groups").into());
    }
    permitted(&req, Op::ListGroupsForUser, &id).await?;
    let scope = req.caller().await?.domain_scope();
    let mut tx = req.read().await?;
    let groups = groups::sql::list(&mut tx, |q| {
        q.eq("g.domain_id", scope)
            .and("g.id IN (SELECT group_id FROM user_group_membership WHERE user_id = ?)", crate::args![&id]);
    })
    .await?;
    let shown = groups
        .iter()
        .map(|g| {
            let mut shown = g.body(&req);
            shown["membership_expires_at"] = Value::Null;
            shown
        })
        .collect();
    req.list("groups", shown, &["name"])
}

/// The users of a group, for its own route.
pub async fn of_group(req: &Req, group: &str) -> Result<Response> {
    let scope = req.caller().await?.domain_scope();
    let ends = Ends::of(&req.query)?;
    let mut tx = req.read().await?;
    let users = sql::list(&mut tx, |q| {
        q.eq("u.domain_id", scope).and(
            "u.id IN (SELECT user_id FROM user_group_membership WHERE group_id = ?)",
            crate::args![group],
        );
    })
    .await?;
    bodies(req, users, &ends)
}

/// `POST /v3/users/{id}/password`: the owner changes his password. The old one is the proof, so no
/// token is needed; one that comes along must be valid and no delegated one.
pub async fn change_password(Path(id): Path<String>, req: Req) -> Result<Response> {
    let began = req.app.clock.now();
    let permit = match req.token_header(&AUTH_TOKEN)? {
        Some(_) => {
            let caller = req.caller().await?;
            caller.may(&req.app, Act::Password)?;
            caller.permit(&req.app, Op::ChangePassword, &Facts::none().with(Fact::PathUser, &id))?
        }
        None => Permit::own("the original password is the proof"),
    };
    let mut body = req.member("user", &PASSWORD)?;
    let old = take_text(&mut body, "original_password").unwrap_or_default();
    let new = take_text(&mut body, "password").unwrap_or_default();
    let proven = login::prove_user(&req.app, &id, &old, began).await?;
    changeable(&req, &proven, &new).await?;
    let new = New::from(&req.app, &new).await?;
    let now = req.app.clock.now();
    let mut tx = req.write().await?;
    // Somebody may have been faster while this one was hashed.
    let same = login::password_of(&mut tx, &id).await? == proven.account.password();
    let user = sql::get(&mut tx, &id).await?.filter(|u| same && u.enabled()).ok_or(Error::Unauthorized)?;
    password::set(&mut tx, &req.app, &user, &new, By::Owner, now, &permit).await?;
    sql::end_tokens(&mut tx, &id, now, &permit).await?;
    tx.commit().await?;
    Ok(no_content())
}

/// May this account's owner change his password to this one, now?
async fn changeable(req: &Req, proven: &Proven, new: &str) -> Result<()> {
    let app = &req.app;
    app.passwords.acceptable(new)?;
    if proven.account.options.is_on("lock_password") {
        return Err(Error::BadRequest(
            "You cannot change your password at this time due to password policy disallowing password \
             changes. Please contact your administrator to reset your password."
                .into(),
        ));
    }
    if proven.account.self_service {
        password::old_enough(app, proven.account.set_at, app.clock.now())?;
    }
    let history = {
        let mut tx = req.read().await?;
        password::history(&mut tx, app, proven.account.local()).await?
    };
    for hash in history {
        if app.passwords.verify(new, Some(&hash)).await? {
            let count = app.config.compliance.unique_last_password_count;
            return Err(Error::BadRequest(format!(
                "The new password cannot be identical to a previous password. The total number which \
                 includes the new password must be unique is {count}."
            )));
        }
    }
    Ok(())
}
