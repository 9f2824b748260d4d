//! `/v3/users`: users, their passwords, their groups.

use axum::response::Response;
use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::{Act, Kind};

use super::password::{self, By, New};
use super::render;
use super::sql::{self, Compare, Link, SetsPassword, User};
use crate::app::App;
use crate::args;
use crate::auth::login::{self, Login, Proven};
use crate::authz::{Authorized, Caller, Object, Proposed, Reading, SlowWork, System, Writing};
use crate::clock;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts;
use crate::facts::options::Options;
use crate::http::page::Query;
use crate::http::request::{created, no_content, one, take_text};
use crate::http::schema;
use crate::ids;
use crate::notifications::{Action, ObjectKind};
use crate::reason::Reason;
use crate::resource::{self, Record};
use crate::resources::groups::{self, Group};
use crate::resources::trusts::acts;
use crate::schema;
use crate::security::Event;
use crate::store::{Id, Select, Tx, WriteTx};

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

/// Links to identity providers.
fn federated_schema() -> Value {
    let name = |most: u32| json!({"type": "string", "maxLength": most, "pattern": schema::TEXT});
    json!({
        "type": "array",
        "maxItems": 100,
        "items": {
            "type": "object",
            "required": ["idp_id", "protocols"],
            "properties": {
                "idp_id": name(64),
                "protocols": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 100,
                    "items": {
                        "type": "object",
                        "required": ["protocol_id", "unique_id"],
                        "properties": {"protocol_id": name(64), "unique_id": name(255)},
                    },
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
        "federated": federated_schema(),
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

schema!(QUERY, {
    "type": "object",
    "properties": {
        "domain_id": {"type": "string"},
        "name": {"type": "string"},
        "enabled": {"type": "string"},
        "password_expires_at": ends_schema(),
        "idp_id": {"type": "string"},
        "protocol_id": {"type": "string"},
        "unique_id": {"type": "string"},
        "sort_dir": resource::sort_dir(),
    },
});
schema!(MEMBERS_QUERY, {
    "type": "object",
    "properties": {
        "domain_id": {"type": "string"},
        "name": {"type": "string"},
        "enabled": {"type": "string"},
        "password_expires_at": ends_schema(),
    },
});
schema!(DELETE_QUERY, {
    "type": "object",
    "properties": {
        "hand_over_to": {"type": "string", "description": "A user who takes over what the user has delegated"},
    },
});
schema!(GROUPS_QUERY, {"type": "object", "properties": {"name": {"type": "string"}}});

fn ends_schema() -> Value {
    json!({"type": "string", "description": "A UTC time after one of eq:, neq:, lt:, lte:, gt:, gte:"})
}

/// Attributes that have a column of their own or are the server's: none of them is kept in `extra`.
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

fn no_user(id: &str) -> Error {
    Error::NotFound("user", id.to_owned())
}

/// The new password in a checked body, if there is one.
fn new_password(app: &App, slow: &mut SlowWork, body: &mut Map<String, Value>) -> Result<Option<New>> {
    match body.remove("password") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(New::from(app, slow, &text)?)),
        Some(_) => Ok(Some(New::none())),
    }
}

/// Checks that a default project does not act as a domain. It need not exist.
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

/// A name without leading and trailing whitespace.
///
/// # Errors
/// 400 when nothing is left.
pub fn trimmed(name: &str) -> Result<String> {
    match name.trim() {
        "" => Err(Error::field("name", "must not be empty")),
        name => Ok(name.to_owned()),
    }
}

/// Checks that users and groups of a domain can be written: not those of a directory.
///
/// # Errors
/// 403 when they cannot.
pub async fn writable(tx: &mut Tx, domain: &str) -> Result<()> {
    if facts::directories::is_served(tx, domain).await? { Err(read_only()) } else { Ok(()) }
}

/// In Keystone's words.
fn read_only() -> Error {
    Error::Forbidden("LDAP does not support write operations".into())
}

/// `POST /v3/users`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    let caller = s.caller()?;
    let mut body = s.body()?;
    let named = take_text(&mut body, "domain_id");
    s.authorize(Op::CreateUser, Facts::none().with_opt(Fact::UserDomain, named.as_deref()))?;
    if names_identity(&body) {
        // Nobody logs in as a new user yet, so that a password and options take no login over. But the owner of this
        // identity would log in as this user, whose password the bearer knows.
        s.may(Act::Password)?;
    }
    let domain_id = match named {
        Some(id) => id,
        None => caller.home_domain(s.app)?,
    };
    let name = trimmed(&take_text(&mut body, "name").unwrap_or_default())?;
    let secret = new_password(s.app, s.slow, &mut body)?;
    let mut user = User {
        id: ids::uuid(),
        name,
        domain_id,
        enabled_flag: body.get("enabled") != Some(&Value::Bool(false)),
        idle: false,
        default_project_id: take_text(&mut body, "default_project_id"),
        password_expires_at: None,
        options: changed_options(Options::default(), &body),
        extra: Map::new(),
    };
    let links = Link::all(&body);
    extra::merge(&mut user.extra, body, &OWN);
    let user = s.authorize(Op::CreateUser, Proposed(user))?;
    if facts::domain(&mut s.tx, &user.domain_id).await?.is_none() {
        return Err(Error::NotFound("domain", user.domain_id.clone()));
    }
    writable(&mut s.tx, &user.domain_id).await?;
    check_default_project(&mut s.tx, user.default_project_id.as_deref()).await?;
    check_links(s, &user.domain_id, &links).await?;
    sql::insert(&mut s.tx, &user, s.now).await?;
    sql::insert_links(&mut s.tx, &user, &user, &links).await?;
    if let Some(new) = &secret {
        password::set(&mut s.tx, &user, s.app, &user, new, By::Administrator, s.now).await?;
    }
    let stored = sql::get(&mut s.tx, &user.id).await?.ok_or_else(|| no_user(&user.id))?;
    let mut json = stored.to_json(s.links());
    let federated = render::federated(&mut s.tx, &user.id).await?;
    if !federated.is_empty() {
        extra::set(&mut json, "federated", federated);
    }
    Ok(created("user", json))
}

/// Whether a body links the user to identities at providers. Without one it leaves them as they are.
fn names_identity(body: &Map<String, Value>) -> bool {
    body.get("federated").and_then(Value::as_array).is_some_and(|links| !links.is_empty())
}

/// Whether a body changes options, each of which is about how the user logs in.
fn names_options(body: &Map<String, Value>) -> bool {
    body.get("options").and_then(Value::as_object).is_some_and(|options| !options.is_empty())
}

/// Whether a body changes a name by which front servers and certificates know the user.
fn renames(stored: &User, body: &Map<String, Value>) -> bool {
    let differs = |name: &str, is: Option<&str>| {
        body.get(name).is_some_and(|new| new.as_str().map(str::trim) != is.map(str::trim))
    };
    differs("name", Some(&stored.name)) || differs("email", stored.extra.get("email").and_then(Value::as_str))
}

/// Checks that the identity providers and protocols of links exist, and are of the user's own domain: whoever logs in there
/// comes to be this user, with the groups that the provider says. Who may change the provider may link to it from elsewhere.
async fn check_links(s: &mut Writing<'_>, domain: &str, links: &[Link]) -> Result<()> {
    for link in links {
        let tx = &mut s.tx;
        let Some(of) = facts::federation::provider_domain(tx, &link.provider).await? else {
            let problem = format!("Could not find Identity Provider: {}", link.provider);
            return Err(Error::field("user.federated", &problem));
        };
        if !facts::federation::has_protocol(tx, &link.provider, &link.protocol).await? {
            return Err(Error::field(
                "user.federated",
                &format!(
                    "Could not find federated protocol {} for Identity Provider: {}.",
                    link.protocol, link.provider
                ),
            ));
        }
        if of != domain && !s.allows(Op::UpdateIdentityProvider, &Facts::none())? {
            return Err(Error::Forbidden(format!(
                "user.federated: the identity provider {} is of another domain than the user",
                link.provider
            )));
        }
    }
    Ok(())
}

fn changed_options(options: Options, body: &Map<String, Value>) -> Options {
    match body.get("options") {
        Some(Value::Object(changes)) => options.changed(changes),
        _ => options,
    }
}

/// `GET /v3/users/{user_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("user_id")?;
    let user = sql::get(&mut s.tx, id).await?;
    let user = s.authorize_found(Op::GetUser, user, || no_user(id))?;
    let mut json = user.to_json(s.links());
    let federated = render::federated(&mut s.tx, &user.id).await?;
    if !federated.is_empty() {
        extra::set(&mut json, "federated", federated);
    }
    Ok(one("user", json))
}

/// `GET /v3/users`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    let scope = s.caller()?.domain_scope();
    s.authorize(Op::ListUsers, Facts::none().with_known(Fact::ListDomain, scope))?;
    let scope = s.listed_domain()?;
    let query = s.query()?;
    let ends = Ends::of(query)?;
    if let Some(domain) = scope.or(query.get("domain_id")) {
        facts::directories::require_whole(&mut s.tx, domain).await?;
    }
    let mut paging = s.paging(&["domain_id", "name"], &["enabled"])?;
    if let Some(limit) = groups::longest(s, scope.or(query.get("domain_id"))).await? {
        paging.limit_to(limit);
    }
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let users = sql::list_batch(&mut s.tx, &batch, |q| {
            queried(q, scope, query);
            for name in query.all("name") {
                q.and(sql::NAMED, args![name, name, name]);
            }
            linked(q, query);
        })
        .await?;
        paging.read(&batch, users.len(), users.last().map(|u| u.id.as_str()));
        for user in users.iter().filter(|u| ends.matches(u)) {
            paging.push(user.to_json(s.links()));
        }
    }
    Ok(s.page("users", paging))
}

/// The conditions that every list of users has: what the caller may see, and the domain that is asked for.
fn queried(q: &mut Select, scope: Option<&str>, query: &Query) {
    q.id("u.domain_id", scope);
    for domain in query.all("domain_id") {
        q.id("u.domain_id", Some(domain));
    }
    query.narrow("domain_id", "u.domain_id", q);
    query.narrow("name", sql::NAME, q);
}

/// Filters on a user's link to an identity provider; each is a column of `federated_user`.
const PROVIDER_FILTERS: [&str; 3] = ["idp_id", "protocol_id", "unique_id"];

fn linked(q: &mut Select, query: &Query) {
    for filter in PROVIDER_FILTERS {
        if let Some(value) = query.get(filter) {
            let link =
                format!("EXISTS (SELECT 1 FROM federated_user f WHERE f.user_id = u.id AND f.{filter} = ?)");
            q.and(&link, args![Id(value)]);
        }
    }
}

/// The comparisons of `password_expires_at=<word>:<time>`, all of which must hold.
struct Ends(Vec<(Compare, Micros)>);

impl Ends {
    fn of(query: &Query) -> Result<Self> {
        query
            .all("password_expires_at")
            .map(|text| {
                // The first colon of a time without an operator is further to the right.
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
                    .ok_or_else(|| Error::field("password_expires_at", "must be a UTC time"))?;
                Ok((compare, time))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    fn matches(&self, user: &User) -> bool {
        self.0.iter().all(|(compare, time)| compare.holds(user.password_expires_at, *time))
    }
}

/// `PATCH /v3/users/{user_id}`
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("user_id")?;
    let stored = sql::get(&mut s.tx, id).await?;
    let stored = s.authorize_found(Op::UpdateUser, stored, || no_user(id))?;
    writable(&mut s.tx, &stored.domain_id).await?;
    let mut body = s.body()?;
    if body.get("id").is_some_and(|other| !other.is_null() && *other != id) {
        return Err(Error::BadRequest("id: Cannot change ID".into()));
    }
    if body.get("domain_id").is_some_and(|other| *other != stored.domain_id) {
        return Err(Error::BadRequest("domain_id: Cannot change Domain ID".into()));
    }
    if body.contains_key("password")
        || names_identity(&body)
        || names_options(&body)
        || renames(&stored, &body)
    {
        // The bearer of a delegation must not be able to take over a login.
        s.may(Act::Password)?;
    }
    if body.contains_key("password") {
        s.request.line.event_is(Event::PasswordReset);
    }
    let secret = new_password(s.app, s.slow, &mut body)?;
    let name = take_text(&mut body, "name").map(|n| trimmed(&n)).transpose()?;
    let enable = body.get("enabled").and_then(Value::as_bool);
    let mut user = User::clone(&stored);
    user.name = name.unwrap_or(user.name);
    user.enabled_flag = enable.unwrap_or(user.enabled_flag);
    user.options = changed_options(user.options, &body);
    if body.contains_key("default_project_id") {
        user.default_project_id = take_text(&mut body, "default_project_id");
        check_default_project(&mut s.tx, user.default_project_id.as_deref()).await?;
    }
    let links = Link::all(&body);
    check_links(s, &stored.domain_id, &links).await?;
    extra::merge(&mut user.extra, body, &OWN);
    let change = Change { user, enable, secret, links };
    change.store(&mut s.tx, s.app, &stored, s.now).await?;
    let after = sql::get(&mut s.tx, &stored.id).await?.ok_or_else(|| no_user(id))?;
    let federated = render::federated(&mut s.tx, &stored.id).await?;
    let mut json = after.to_json(s.links());
    // Keystone shows the extra attributes once more under their own name here, and nowhere else.
    extra::set(&mut json, "extra", after.extra);
    if !federated.is_empty() {
        extra::set(&mut json, "federated", federated);
    }
    Ok(one("user", json))
}

/// What a `PATCH` asks for, checked.
struct Change {
    user: User,
    /// The value of `enabled`, if it is named.
    enable: Option<bool>,
    secret: Option<New>,
    /// Links to identity providers; none: those that there are stay.
    links: Vec<Link>,
}

impl Change {
    async fn store(
        mut self,
        tx: &mut WriteTx,
        app: &App,
        stored: &Authorized<User>,
        now: Micros,
    ) -> Result<()> {
        sql::update(tx, stored, &self.user).await?;
        if self.user.name != stored.name {
            sql::rename(tx, stored, &self.user).await?;
        }
        let enables = self.enable == Some(true);
        let reactivated = enables && stored.idle;
        if enables && tx.inactive_since().is_some() {
            sql::seen_today(tx, stored, now).await?;
            self.user.idle = false;
        }
        // As in Keystone, any change to an enabled user unlocks their account.
        if self.user.is_enabled() {
            sql::forget_failures(tx, stored).await?;
        }
        if let Some(new) = &self.secret {
            password::set(tx, stored, app, &self.user, new, By::Administrator, now).await?;
        }
        let unlinked =
            !self.links.is_empty() && sql::replace_links(tx, stored, &self.user, &self.links).await?;
        let disabled = stored.enabled_flag && !self.user.enabled_flag;
        // An inactive user who is enabled again does not get their old tokens back.
        if disabled || reactivated || unlinked || self.secret.is_some() {
            sql::end_tokens(tx, stored, &stored.id).await?;
        }
        Ok(())
    }
}

/// `DELETE /v3/users/{user_id}`
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let id = s.param("user_id")?;
    let user = sql::get(&mut s.tx, id).await?;
    let user = s.authorize_found(Op::DeleteUser, user, || no_user(id))?;
    writable(&mut s.tx, &user.domain_id).await?;
    if let Some(heir) = s.query()?.get("hand_over_to") {
        let to = sql::get(&mut s.tx, heir).await?.filter(|to| to.id != user.id);
        let to = to.ok_or_else(|| Error::field("hand_over_to", "must be the id of another user"))?;
        if s.caller()?.kind() != Kind::Login {
            return Err(Refusal::DelegatedToken("hand over trusts").into());
        }
        // It is put on their account, so whoever does it may do this to them, too.
        let to = s.authorize(Op::DeleteUser, to)?;
        if !to.is_enabled() {
            return Err(Error::field("hand_over_to", "must be the id of a user who is enabled"));
        }
        // It lasts, as what is made.
        if let Some(token) = s.caller()?.token() {
            s.app.config.trust_login.admit(token.login(&s.app.config), s.now)?;
        }
        let heir = acts::Heir { user: &to.id, is_decided: true, config: &s.app.config, now: s.now };
        let adopted = acts::hand_over(&mut s.tx, &user, &user.id, heir).await?;
        s.tell_followed(ObjectKind::Trust, Action::Updated, adopted);
    }
    let with_them = sql::delete(&mut s.tx, &user, &user.id, s.now).await?;
    s.tell_gone(with_them);
    s.tell(ObjectKind::User, Action::Deleted, &user.id);
    Ok(no_content())
}

/// `GET /v3/users/{user_id}/groups`
pub async fn groups(s: &mut Reading<'_>) -> Result<Response> {
    let id = s.param("user_id")?;
    let caller = s.caller()?;
    if caller.kind() == Kind::Trust && caller.user_id() == id {
        // The token speaks for the trustor, which is no reason to show the trustor's other groups.
        return Err(Refusal::DelegatedToken("see its trustor's groups").into());
    }
    let user = sql::get(&mut s.tx, id).await?;
    let user = s.authorize_found(Op::ListGroupsForUser, user, || no_user(id))?;
    let (scope, query) = (caller.domain_scope(), s.query()?);
    let name = query.get("name");
    let mut passing = groups::sql::passing(&mut s.tx, &user.id).await?;
    let has_passing = !passing.is_empty();
    let mut paging = s.paging(&["name"], &[])?;
    if let Some(limit) = groups::longest(s, Some(&user.domain_id)).await? {
        paging.limit_to(limit);
    }
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let ids = groups::sql::of_user(&mut s.tx, &user.id, name, has_passing, &batch).await?;
        if has_passing {
            for id in groups::sql::for_good(&mut s.tx, &user.id, &ids).await? {
                passing.remove(&id);
            }
        }
        paging.read(&batch, ids.len(), ids.last().map(String::as_str));
        let groups = Record::<Group>::find(&mut s.tx, |q| {
            q.id_in("t.id", &ids).id("t.domain_id", scope);
            for name in query.all("name").skip(1) {
                q.eq("t.name", Some(name));
            }
            query.narrow("name", "t.name", q);
        })
        .await?;
        for group in groups {
            let mut json = group.to_json(s.links());
            let until = passing.get(&group.id).copied().map(clock::iso_bare);
            extra::set(&mut json, "membership_expires_at", until);
            paging.push(json);
        }
    }
    Ok(s.page("groups", paging))
}

/// The users of a group, for the group's own route.
///
/// # Errors
/// 400 for a malformed filter.
pub async fn of_group(s: &mut Reading<'_>, group: &str, domain: Option<&str>) -> Result<Response> {
    let scope = s.caller()?.domain_scope();
    let query = &s.request.query;
    let ends = Ends::of(query)?;
    let mut paging = s.paging(&["domain_id", "name"], &["enabled"])?;
    if let Some(limit) = groups::longest(s, domain).await? {
        paging.limit_to(limit);
    }
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let ids = groups::sql::members(&mut s.tx, group, query.get("name"), &batch).await?;
        paging.read(&batch, ids.len(), ids.last().map(String::as_str));
        let users = sql::list(&mut s.tx, |q| {
            q.id_in("u.id", &ids);
            queried(q, scope, query);
            for name in query.all("name").skip(1) {
                q.and(sql::NAMED, args![name, name, name]);
            }
        })
        .await?;
        for user in users.iter().filter(|u| ends.matches(u)) {
            paging.push(user.to_json(s.links()));
        }
    }
    Ok(s.page("users", paging))
}

/// The owner of a password, who changes it with a token. Only the path's user is known to policy, so that
/// it does not tell who exists.
#[derive(Debug)]
pub struct Owner(());

impl Object for Owner {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

/// `POST /v3/users/{user_id}/password`: the owner changes their password. The old one is the proof, so no
/// token is needed; one that is sent must be valid and no delegated one.
pub async fn change_password(s: &mut Writing<'_>) -> Result<Response> {
    if s.caller().is_ok() {
        s.may(Act::Password)?;
        let owner = s.authorize(Op::ChangePassword, Owner(()))?;
        change_with(s, &owner).await
    } else {
        change_with(s, &System::OriginalPassword).await
    }
}

async fn change_with(s: &mut Writing<'_>, proof: &impl SetsPassword) -> Result<Response> {
    let id = s.param("user_id")?;
    let mut body = s.body()?;
    let old = take_text(&mut body, "original_password").unwrap_or_default();
    let new = take_text(&mut body, "password").unwrap_or_default();
    let login =
        Login { parts: s.app.auth(), now: s.now, slow: &mut *s.slow, epoch: s.epoch, line: &s.request.line };
    if login::is_in_a_directory(&mut s.tx, login, id, &old).await? {
        return Err(read_only());
    }
    let account = login::account(&mut s.tx, id).await?;
    s.request.line.tried(login::tried(account.as_ref(), None, None));
    if account.is_none() {
        s.request.line.looked_at(login::nobodys(None));
    }
    let proven = {
        s.slow.claim(id);
        let mut login = Login {
            parts: s.app.auth(),
            now: s.now,
            slow: &mut *s.slow,
            epoch: s.epoch,
            line: &s.request.line,
        };
        login.check_password(&mut s.tx, account, &old).await?
    };
    check_change(s, &proven, &new).await?;
    let new = New::from(s.app, s.slow, &new)?;
    let user = sql::get(&mut s.tx, proven.account.user()).await?;
    let user = user.filter(User::is_enabled).ok_or(Error::Unauthorized(Reason::Disabled))?;
    password::set(&mut s.tx, proof, s.app, &user, &new, By::Owner, s.now).await?;
    sql::end_tokens(&mut s.tx, proof, &user.id).await?;
    Ok(no_content())
}

/// Checks that the owner of this account may change its password to this one, now.
async fn check_change(s: &mut Writing<'_>, proven: &Proven, new: &str) -> Result<()> {
    let app = s.app;
    app.passwords.acceptable(new)?;
    if proven.account.options.is_on("lock_password") {
        return Err(Error::BadRequest(
            "You cannot change your password at this time due to password policy disallowing password \
             changes. Please contact your administrator to reset your password."
                .into(),
        ));
    }
    if proven.account.self_service {
        password::old_enough(app, proven.account.set_at, s.now)?;
    }
    for hash in password::history(&mut s.tx, app, proven.account.local()).await? {
        if s.slow.verify(new, Some(&hash))? {
            let count = app.config.compliance.unique_last_password_count;
            return Err(Error::BadRequest(format!(
                "The new password cannot be identical to a previous password. The total number which \
                 includes the new password must be unique is {count}."
            )));
        }
    }
    Ok(())
}
