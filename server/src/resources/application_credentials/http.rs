//! `/v3/users/{id}/application_credentials` and `/v3/users/{id}/access_rules`

use std::collections::BTreeSet;

use axum::response::Response;
use serde_json::{Value, json};
use vicar_rules::access_rule::AccessRule;
use vicar_rules::application_credential::{CredentialRequest, MayDelegate, grant};
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::revocation::Event;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::Act;

use super::sql::{self, New};
use super::{NewCredential, rule_to_json, to_json};
use crate::auth::application_credential::{LONGEST_SECRET, audit_chain};
use crate::authz::{Authorized, NoObject, Proposed, Reading, Session, Writing};
use crate::clock;
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::application_credentials::{self, StoredCredential, StoredRule};
use crate::facts::evidence::{self, Evidence, Evidences, Kind};
use crate::facts::{self, Place};
use crate::http::Links;
use crate::http::request::{created, no_content, one, take_text};
use crate::http::schema::{self, NAME, TEXT};
use crate::ids;
use crate::notifications::{Action, ObjectKind};
use crate::resource::Record;
use crate::resources::limits::{self, Counted};
use crate::resources::roles::{self, Role};
use crate::resources::trusts::end;
use crate::resources::unused_since;
use crate::schema;
use crate::store::{Select, Tx, WriteTx};

/// The most access rules that one application credential is limited to.
const MOST_RULES: usize = 200;

/// An access rule by what it says, by its id, or by both.
fn access_rule() -> Value {
    let mut rule = schema::access_rule();
    let id = json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": schema::WORD});
    extra::set(&mut rule, "id", id);
    rule
}

schema!(CREATE, {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": NAME},
        "description": {"type": ["string", "null"], "maxLength": 16_384, "pattern": TEXT},
        "secret": {"type": ["string", "null"], "pattern": TEXT},
        "expires_at": {"type": ["string", "null"], "maxLength": 64},
        "unrestricted": {"type": ["boolean", "null"]},
        "roles": {"type": "array", "maxItems": 1000, "items": schema::named_role()},
        "access_rules": {
            "type": "array",
            "maxItems": MOST_RULES,
            "items": {
                "type": "object",
                "properties": access_rule(),
            },
        },
        "may_delegate": {
            "type": ["object", "null"],
            "required": ["trustees"],
            "properties": {
                "trustees": {
                    "type": "array", "minItems": 1, "maxItems": 32,
                    "items": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": TEXT},
                },
                // An empty list reads as nothing, and would be all.
                "roles": {
                    "type": ["array", "null"], "minItems": 1, "maxItems": 32, "items": schema::named_role(),
                },
                "max_depth": {"type": ["integer", "null"], "minimum": 0, "maximum": 1000},
            },
            "additionalProperties": false,
        },
        // The server says these.
        "id": {"type": "string"},
        "project_id": {"type": "string"},
        "system": {"type": ["string", "null"]},
    },
    "additionalProperties": false,
});
schema!(QUERY, {
    "type": "object",
    "properties": {"name": {"type": "string"}, "unused_since": unused_since::schema()},
});
schema!(RULES_QUERY, {
    "type": "object",
    "properties": {
        "service": {"type": "string"}, "path": {"type": "string"}, "method": {"type": "string"},
    },
});

/// `POST /v3/users/{user_id}/application_credentials`
pub async fn create(s: &mut Writing<'_>) -> Result<Response> {
    let mut body = s.body()?;
    let user_id = s.param("user_id")?.to_owned();
    let owner = s.authorize(Op::CreateApplicationCredential, Proposed(NewCredential { user_id }))?;
    s.may(Act::ApplicationCredentials)?;
    let caller = s.caller()?;
    // Whatever a policy says: it is made of the caller's own token.
    let token = caller.token().filter(|token| token.user.id == owner.user_id).ok_or_else(|| {
        Error::Forbidden("Cannot create an application credential for another user.".into())
    })?;
    let project = token.project().map(|p| p.id.clone()).ok_or_else(|| {
        Error::Forbidden("An application credential is made with a token that is scoped to a project.".into())
    })?;
    let roles = roles::named::resolve(&mut s.tx, body.get("roles")).await?;
    let until = match take_text(&mut body, "expires_at") {
        None => None,
        Some(text) => Some(
            clock::from_client(&text)
                .ok_or_else(|| Error::field("expires_at", "must be a UTC time without an offset"))?,
        ),
    };
    let rules = Rules::resolve(&mut s.tx, &owner.user_id, body.remove("access_rules")).await?;
    let unrestricted = body.get("unrestricted").and_then(Value::as_bool);
    let may_delegate = may_delegate(&mut s.tx, body.get("may_delegate")).await?;
    let ask = CredentialRequest {
        roles,
        until,
        unrestricted: unrestricted == Some(true),
        access_rules: rules.wanted(),
        may_delegate,
    };
    let token_roles: RoleSet = token.roles.iter().map(|role| role.id.clone()).collect();
    let parent = token.application_credential.as_ref();
    let place = Place::Project(&project);
    let held = facts::effective_roles(&mut s.tx, &owner.user_id, place, &token.implications).await?;
    let above = parent.map(|p| &p.credential);
    let granted = grant(&ask, above, &token_roles, &held, &token.implications, s.now)?;
    if let Some(limit) = s.app.config.application_credential_user_limit
        && sql::count_of_user(&mut s.tx, &owner.user_id).await? >= limit.into()
    {
        return Err(Error::Forbidden(format!(
            "Unable to create additional application credentials, maximum of {limit} already exceeded for user."
        )));
    }
    let ceiling = s.app.config.max_credentials_per_user;
    if let Some(limit) = ceiling
        && (sql::count_of_user(&mut s.tx, &owner.user_id).await? >= limit.into()
            || sql::count_rules_of_user(&mut s.tx, &owner.user_id).await? + rules.count_new() > limit.into())
    {
        return Err(Error::Forbidden(format!(
            "The user may have no more than {limit} application credentials and {limit} access rules \
             ([delegation] max_credentials_per_user)."
        )));
    }
    limits::check_room(&mut s.tx, &project, Counted::ApplicationCredentials, s.now).await?;
    let secret = match take_text(&mut body, "secret").filter(|secret| !secret.is_empty()) {
        Some(given) if given.len() > LONGEST_SECRET => {
            return Err(Error::field(
                "secret",
                "longer than 72 bytes, of which bcrypt would silently ignore the rest",
            ));
        }
        Some(given) => given,
        None => s.slow.new_secret(),
    };
    s.slow.claim(&owner.user_id);
    let secret_hash = s.slow.hash(&secret)?;
    let (id, name) = (ids::uuid(), take_text(&mut body, "name").unwrap_or_default());
    let new = New {
        id: &id,
        name: &name,
        description: body.get("description").and_then(Value::as_str),
        secret_hash: &secret_hash,
        project: &project,
        unrestricted,
    };
    let made = Evidence::new(Some(&token.payload.audit_ids), None, s.now);
    let internal = sql::insert(&mut s.tx, &owner, &new, &granted, &made).await?;
    // What a credential is limited to is that of its parent, when nothing else was asked.
    let rules = match parent.filter(|_| rules.0.is_empty()) {
        Some(parent) => Rules(parent.access_rules.iter().cloned().map(Named::Stored).collect()),
        None => rules,
    };
    let keys = rules.store(&mut s.tx, &owner).await?;
    sql::limit_to(&mut s.tx, &owner, internal, &keys).await?;
    let made = application_credentials::get(&mut s.tx, &id).await?;
    let made = made.ok_or_else(|| Error::Internal("a new application credential is gone".into()))?;
    let links = s.links();
    let mut shown = shown(&mut s.tx, links, &made).await?;
    extra::set(&mut shown, "secret", secret);
    Ok(created("application_credential", shown))
}

/// What a body lets the credential delegate.
async fn may_delegate(tx: &mut Tx, given: Option<&Value>) -> Result<Option<MayDelegate>> {
    let Some(given) = given.and_then(Value::as_object) else { return Ok(None) };
    let trustees = given.get("trustees").and_then(Value::as_array).into_iter().flatten();
    let trustees: BTreeSet<String> = trustees.filter_map(Value::as_str).map(str::to_owned).collect();
    let known = facts::users::users(tx, trustees.iter().map(String::as_str)).await?;
    if let Some(unknown) = trustees.iter().find(|id| !known.contains_key(*id)) {
        return Err(Error::NotFound("user", unknown.clone()));
    }
    let max_depth = match given.get("max_depth") {
        None | Some(Value::Null) => 0,
        // JSON Schema takes `1.0` for an integer.
        Some(depth) => depth
            .as_u64()
            .and_then(|depth| depth.try_into().ok())
            .ok_or_else(|| Error::field("may_delegate.max_depth", "must be an integer without a fraction"))?,
    };
    Ok(Some(MayDelegate { trustees, roles: roles::named::resolve(tx, given.get("roles")).await?, max_depth }))
}

/// An access rule of a body.
enum Named {
    /// One that the user has.
    Stored(StoredRule),
    /// A new one, with the id that it will have.
    New(String, AccessRule),
}

/// The access rules of a body, each once.
struct Rules(Vec<Named>);

impl Rules {
    /// As Keystone: an id that is known is that rule, whatever else is said of it; then a rule that says the same is it.
    async fn resolve(tx: &mut Tx, user: &str, given: Option<Value>) -> Result<Self> {
        let Some(Value::Array(given)) = given else { return Ok(Self(Vec::new())) };
        let texts =
            |name: &str| -> BTreeSet<&str> { given.iter().filter_map(|r| r[name].as_str()).collect() };
        let (ids, paths) = (texts("id"), texts("path"));
        let of_ids = application_credentials::find_rules(tx, |q| {
            q.id_in("a.external_id", ids);
        })
        .await?;
        let mut own = application_credentials::find_rules(tx, |q| {
            q.id("a.user_id", Some(user)).id_in("a.path", paths);
        })
        .await?;
        let (of_user, foreign): (Vec<_>, Vec<_>) = of_ids.into_iter().partition(|rule| rule.user == user);
        own.extend(of_user);
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        for (at, rule) in given.iter().enumerate() {
            let id = rule["id"].as_str();
            if let Some(id) = id.filter(|id| foreign.iter().any(|rule| rule.id == *id)) {
                return Err(Error::NotFound("Access Rule", id.to_owned()));
            }
            let text = |name: &str| rule[name].as_str().map(str::to_owned);
            let named = match own.iter().find(|stored| id == Some(stored.id.as_str())) {
                Some(stored) => Named::Stored(stored.clone()),
                None => match (text("service"), text("path"), text("method")) {
                    (Some(service), Some(path), Some(method)) => {
                        let rule = AccessRule { service, path, method };
                        match own.iter().find(|stored| stored.rule == rule) {
                            Some(stored) => Named::Stored(stored.clone()),
                            None => Named::New(id.map_or_else(ids::uuid, str::to_owned), rule),
                        }
                    }
                    _ => match id {
                        Some(id) => return Err(Error::NotFound("Access Rule", id.to_owned())),
                        None => {
                            return Err(Error::field(
                                &format!("access_rules.{at}"),
                                "needs service, path and method, or the id of an access rule",
                            ));
                        }
                    },
                },
            };
            if seen.insert(named.rule().clone()) {
                all.push(named);
            }
        }
        Ok(Self(all))
    }

    fn wanted(&self) -> BTreeSet<AccessRule> {
        self.0.iter().map(|named| named.rule().clone()).collect()
    }

    /// How many are new.
    fn count_new(&self) -> i64 {
        let new = self.0.iter().filter(|named| matches!(named, Named::New(..))).count();
        i64::try_from(new).unwrap_or(i64::MAX)
    }

    /// Stores those that are new; returns the keys of all.
    async fn store(self, tx: &mut WriteTx, owner: &Authorized<Proposed<NewCredential>>) -> Result<Vec<i64>> {
        let mut keys = Vec::new();
        for named in self.0 {
            keys.push(match named {
                Named::Stored(stored) => stored.internal,
                Named::New(id, rule) => sql::insert_rule(tx, owner, &id, &rule).await?,
            });
        }
        Ok(keys)
    }
}

impl Named {
    fn rule(&self) -> &AccessRule {
        match self {
            Self::Stored(stored) => &stored.rule,
            Self::New(_, rule) => rule,
        }
    }
}

/// Roles as Keystone shows them here: whole, without links.
async fn role_objects(tx: &mut Tx, links: &Links, all: &[StoredCredential]) -> Result<Vec<Value>> {
    let ids: BTreeSet<&String> = all.iter().flat_map(|stored| &stored.credential.roles).collect();
    let roles = Record::<Role>::find(tx, |q| {
        q.id_in("t.id", ids);
    })
    .await?;
    let bare = |role: &Record<Role>| {
        let mut role = role.to_json(links);
        if let Some(map) = role.as_object_mut() {
            map.remove("links");
        }
        role
    };
    Ok(roles.iter().map(bare).collect())
}

async fn shown(tx: &mut Tx, links: &Links, stored: &StoredCredential) -> Result<Value> {
    let roles = role_objects(tx, links, std::slice::from_ref(stored)).await?;
    let id = &stored.credential.id;
    let evidence = Evidences::of(tx, Kind::ApplicationCredential, [id]).await?.to_json(id);
    Ok(to_json(stored, &roles, evidence, links))
}

/// The application credential that a path names, with the right to do `op` to it.
fn authorize<T>(
    s: &Session<'_, T>,
    op: Op,
    found: Option<StoredCredential>,
) -> Result<Authorized<StoredCredential>> {
    let id = s.param("application_credential_id")?;
    s.authorize_found(op, found, || Error::NotFound("Application Credential", id.to_owned()))
}

/// `GET /v3/users/{user_id}/application_credentials/{application_credential_id}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    s.may(Act::ReadApplicationCredentials)?;
    let id = s.param("application_credential_id")?;
    let found = application_credentials::get(&mut s.tx, id).await?;
    let found = authorize(s, Op::GetApplicationCredential, found)?;
    let links = s.links();
    let shown = shown(&mut s.tx, links, &found).await?;
    Ok(one("application_credential", shown))
}

/// `GET /v3/users/{user_id}/application_credentials`
pub async fn list(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::ListApplicationCredentials, NoObject)?;
    s.may(Act::ReadApplicationCredentials)?;
    let (user, query, links) = (s.param("user_id")?, s.query()?, s.links());
    let unused_since = unused_since::of(query)?;
    let mut paging = s.paging(&["name"], &[])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let found = application_credentials::find(&mut s.tx, |q| {
            q.id("c.user_id", Some(user)).eq("c.name", query.get("name"));
            if let Some(since) = unused_since.filter(|_| !batch.is_one()) {
                evidence::unused(q, Kind::ApplicationCredential, "c.id", since);
            }
            q.batch("c.id", &batch);
        })
        .await?;
        paging.read(&batch, found.len(), found.last().map(|c| c.credential.id.as_str()));
        let roles = role_objects(&mut s.tx, links, &found).await?;
        let ids = found.iter().map(|stored| &stored.credential.id);
        let evidence = Evidences::of(&mut s.tx, Kind::ApplicationCredential, ids).await?;
        for stored in &found {
            // Who looks for what is unused looks for what could be used.
            if unused_since.is_none() || batch.is_one() || !stored.credential.until.passed(s.now) {
                let evidence = evidence.to_json(&stored.credential.id);
                paging.push(to_json(stored, &roles, evidence, links));
            }
        }
    }
    Ok(s.page("application_credentials", paging))
}

/// `DELETE /v3/users/{user_id}/application_credentials/{application_credential_id}`: its tokens end with it.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::ApplicationCredentials)?;
    let id = s.param("application_credential_id")?;
    let found = application_credentials::get(&mut s.tx, id).await?;
    let found = authorize(s, Op::DeleteApplicationCredential, found)?;
    let ended = end::credential_gone(&mut s.tx, &found, &found.credential.id, s.now).await?;
    s.request.line.ended(&ended);
    sql::delete(&mut s.tx, &found).await?;
    s.tell_followed(ObjectKind::Trust, Action::Deleted, ended);
    let event = Event { audit_chain: Some(audit_chain(&found.credential.id)), ..Event::default() };
    facts::revoke(&mut s.tx, &found, event).await?;
    Ok(no_content())
}

/// What is known of the user whom a path names.
async fn path_user(tx: &mut Tx, user: &str) -> Result<Facts> {
    let found = facts::user(tx, user).await?;
    Ok(found.map_or_else(Facts::none, |user| Facts::none().with(Fact::UserId, &user.id)))
}

/// `GET /v3/users/{user_id}/access_rules`
pub async fn rules(s: &mut Reading<'_>) -> Result<Response> {
    let (user, links) = (s.param("user_id")?, s.links());
    let owner = path_user(&mut s.tx, user).await?;
    s.authorize(Op::ListAccessRules, owner)?;
    s.may(Act::ReadApplicationCredentials)?;
    s.query()?;
    let mut paging = s.paging(&[], &["service", "path", "method"])?;
    while let Some(batch) = s.next_batch(&mut paging).await? {
        let found = application_credentials::find_rules(&mut s.tx, |q| {
            q.id("a.user_id", Some(user)).batch("a.external_id", &batch);
        })
        .await?;
        paging.read(&batch, found.len(), found.last().map(|rule| rule.id.as_str()));
        found.iter().for_each(|rule| paging.push(rule_to_json(rule, links)));
    }
    Ok(s.page("access_rules", paging))
}

/// A user's access rule.
async fn find_rule(tx: &mut Tx, user: &str, id: &str) -> Result<Option<StoredRule>> {
    let mut found = application_credentials::find_rules(tx, |q: &mut Select| {
        q.id("a.external_id", Some(id)).id("a.user_id", Some(user));
    })
    .await?;
    Ok(found.pop())
}

fn no_rule(id: &str) -> Error {
    Error::NotFound("Access Rule", id.to_owned())
}

/// `GET /v3/users/{user_id}/access_rules/{access_rule_id}`
pub async fn get_rule(s: &mut Reading<'_>) -> Result<Response> {
    let (user, id) = (s.param("user_id")?, s.param("access_rule_id")?);
    let owner = path_user(&mut s.tx, user).await?;
    s.authorize(Op::GetAccessRule, owner)?;
    s.may(Act::ReadApplicationCredentials)?;
    let found = find_rule(&mut s.tx, user, id).await?.ok_or_else(|| no_rule(id))?;
    Ok(one("access_rule", rule_to_json(&found, s.links())))
}

/// `DELETE /v3/users/{user_id}/access_rules/{access_rule_id}`
pub async fn delete_rule(s: &mut Writing<'_>) -> Result<Response> {
    let (user, id) = (s.param("user_id")?, s.param("access_rule_id")?);
    let owner = path_user(&mut s.tx, user).await?;
    s.authorize(Op::DeleteAccessRule, owner)?;
    s.may(Act::ReadApplicationCredentials)?;
    let found = find_rule(&mut s.tx, user, id).await?.ok_or_else(|| no_rule(id))?;
    let found = s.authorize(Op::DeleteAccessRule, found)?;
    sql::delete_rule(&mut s.tx, &found).await?;
    Ok(no_content())
}
