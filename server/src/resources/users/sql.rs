//! Users in the database: a row of `user`, a name in `local_user`, options, and open attributes in `extra`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vicar_rules::Micros;
use vicar_rules::policy::{Fact, Facts};
use vicar_rules::revocation::Event;

use super::http::Owner;
use crate::args;
use crate::authz::{Authorized, Caller, Object, Proposed, System};
use crate::clock::{self, SECOND};
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::options::{OPTIONS, Options, options_of};
use crate::facts::{self, Activity, PASSWORD_END};
use crate::notifications::{Gone, ObjectKind};
use crate::resources::keypairs::EndsKeypairs;
use crate::resources::projects::{Domain, Project};
use crate::resources::trusts::{self, end::EndsTrusts};
use crate::store::{
    self, Batch, CHUNK, Date, DateTime, Delete, Id, Insert, Proof, Row, Select, Tx, Update, WriteTx, cascade,
};

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The id of the domain.
    pub domain_id: String,
    /// The stored flag `enabled`.
    pub enabled_flag: bool,
    /// Whether the user was inactive for so long that they count as disabled.
    pub idle: bool,
    /// The project that a login without a scope goes to.
    pub default_project_id: Option<String>,
    /// When the newest password expires; `None`: never.
    pub password_expires_at: Option<Micros>,
    /// The options.
    pub options: Options,
    /// Attributes that clients keep with the user.
    pub extra: Map<String, Value>,
}

impl Object for User {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with(Fact::UserId, &self.id)
            .with(Fact::UserName, &self.name)
            .with(Fact::UserDomain, &self.domain_id)
            .with_opt(Fact::UserDefaultProject, self.default_project_id.as_deref())
            .with_flag(Fact::UserEnabled, self.is_enabled()))
    }
}

impl Object for Proposed<User> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::UserDomain, &self.domain_id))
    }
}

impl User {
    /// Whether the flag is set and the user was active lately enough.
    pub fn is_enabled(&self) -> bool {
        self.enabled_flag && !self.idle
    }
}

/// Users of a name, wherever they came from. MariaDB gathers what is in a table of its own, and would ask a union
/// for each user.
pub const NAMED: &str = "u.id IN (SELECT named.user_id FROM (
    SELECT user_id FROM local_user WHERE name = ?
    UNION ALL SELECT user_id FROM nonlocal_user WHERE name = ?
    UNION ALL SELECT user_id FROM federated_user WHERE display_name = ?) named)";

/// The name that a user is shown with.
pub const NAME: &str = "COALESCE(l.name, n.name,
                (SELECT MIN(f.display_name) FROM federated_user f WHERE f.user_id = u.id), '')";

fn user_query() -> String {
    format!(
        "SELECT u.id, {NAME},
            u.domain_id, u.enabled, u.last_active_at, u.created_at,
            (SELECT o.option_value FROM user_option o WHERE o.user_id = u.id AND o.option_id = '1004'),
            u.default_project_id, {PASSWORD_END}, u.extra
       FROM \"user\" u
       LEFT JOIN local_user l ON l.user_id = u.id
       LEFT JOIN nonlocal_user n ON n.user_id = u.id"
    )
}

fn read_user(r: &mut Row, since: Option<&Date>) -> store::Result<User> {
    let (id, name, domain_id) = (r.take()?, r.take()?, r.take()?);
    let enabled_flag = r.take::<Option<bool>>()?.unwrap_or(false);
    let seen: Activity = facts::read_activity(r)?;
    Ok(User {
        id,
        name,
        domain_id,
        enabled_flag,
        idle: facts::is_inactive(since, &seen),
        default_project_id: r.take()?,
        password_expires_at: facts::read_password_end(r)?,
        options: Options::default(),
        extra: extra::read(r.take()?),
    })
}

/// Users that match conditions on `u` and `l` (`local_user`), ordered by id.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<User>> {
    find(tx, |q| {
        build(q);
        q.end("ORDER BY u.id");
    })
    .await
}

/// The users of a batch that match conditions on `u` and `l`.
///
/// # Errors
/// When the database fails.
pub async fn list_batch(tx: &mut Tx, batch: &Batch, build: impl FnOnce(&mut Select)) -> Result<Vec<User>> {
    find(tx, |q| {
        build(q);
        q.batch("u.id", batch);
    })
    .await
}

async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<User>> {
    let mut q = Select::new(&user_query());
    build(&mut q);
    let since = tx.inactive_since().cloned();
    let mut users = q.map(tx, |r| read_user(r, since.as_ref())).await?;
    for some in users.chunks_mut(CHUNK) {
        let mut options = options_of(tx, some.iter().map(|u| u.id.as_str())).await?;
        for user in some {
            user.options = options.remove(&user.id).unwrap_or_default();
        }
    }
    Ok(users)
}

/// A user by id.
///
/// # Errors
/// 503 when they are in a directory that does not say how they are; otherwise when the database fails.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<User>> {
    if tx.directories().is_some() {
        match facts::user(tx, id).await? {
            None => return Ok(None),
            Some(user) if user.is_unknown => return Err(Error::DirectoryAway),
            Some(_) => {}
        }
    }
    let one = |q: &mut Select| {
        q.id("u.id", Some(id));
    };
    Ok(list(tx, one).await?.pop())
}

/// Links to identity providers: of each provider the protocols, with the unique id there.
///
/// # Errors
/// When the database fails.
pub async fn federated(tx: &mut Tx, user: &str) -> Result<BTreeMap<String, Vec<(String, String)>>> {
    let rows = tx
        .map(
            "SELECT idp_id, protocol_id, unique_id FROM federated_user WHERE user_id = ? ORDER BY idp_id, id",
            args![Id(user)],
            |r| Ok((r.take::<String>()?, r.take::<String>()?, r.take::<String>()?)),
        )
        .await?;
    let mut out: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (idp, protocol, unique) in rows {
        out.entry(idp).or_default().push((protocol, unique));
    }
    Ok(out)
}

/// A link to an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The provider.
    pub provider: String,
    /// The protocol.
    pub protocol: String,
    /// Who the user is there.
    pub unique_id: String,
}

impl Link {
    /// Those in a checked body: `[{"idp_id", "protocols": [{"protocol_id", "unique_id"}]}]`.
    pub fn all(body: &Map<String, Value>) -> Vec<Self> {
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let providers = body.get("federated").and_then(Value::as_array).into_iter().flatten();
        providers
            .flat_map(|provider| {
                let protocols = provider["protocols"].as_array().into_iter().flatten();
                protocols.map(|protocol| Self {
                    provider: text(provider, "idp_id"),
                    protocol: text(protocol, "protocol_id"),
                    unique_id: text(protocol, "unique_id"),
                })
            })
            .collect()
    }
}

/// Stores links of a user to identity providers.
///
/// # Errors
/// 409 when somebody is linked so already.
pub async fn insert_links(tx: &mut WriteTx, proof: &impl Proof, user: &User, links: &[Link]) -> Result<()> {
    for some in links.chunks(CHUNK) {
        let rows = some.iter().fold(Insert::into("federated_user"), |rows, link| {
            rows.row()
                .set("user_id", &user.id)
                .set("idp_id", &link.provider)
                .set("protocol_id", &link.protocol)
                .set("unique_id", &link.unique_id)
                .set("display_name", &user.name)
        });
        tx.execute(proof, &rows).await.map_err(|e| match e {
            store::Error::Duplicate => Error::taken("federated_user", "somebody is linked so already"),
            other => other.into(),
        })?;
    }
    Ok(())
}

/// Stores links in the place of those that there are; whether one of these is gone by it.
///
/// # Errors
/// 409 when somebody else is linked so already.
pub async fn replace_links(
    tx: &mut WriteTx,
    stored: &Authorized<User>,
    user: &User,
    links: &[Link],
) -> Result<bool> {
    let before = federated(tx, &stored.id).await?;
    tx.execute(stored, &Delete::from("federated_user").key("user_id", &stored.id)).await?;
    insert_links(tx, stored, user, links).await?;
    let stays = |provider: &str, (protocol, unique_id): &(String, String)| {
        links.iter().any(|l| l.provider == provider && l.protocol == *protocol && l.unique_id == *unique_id)
    };
    Ok(before.iter().any(|(provider, all)| all.iter().any(|one| !stays(provider, one))))
}

fn name_taken(name: &str, domain: &str) -> impl FnOnce(store::Error) -> Error {
    let detail = format!("Duplicate entry found with name {name} at domain ID {domain}");
    move |e| match e {
        store::Error::Duplicate => Error::taken("user", &detail),
        other => other.into(),
    }
}

/// Proofs that cover a new password.
pub trait SetsPassword: Proof {}

impl SetsPassword for Authorized<Proposed<User>> {}
impl SetsPassword for Authorized<User> {}
impl SetsPassword for Authorized<Owner> {}
impl SetsPassword for System {}

/// Proofs that cover the deletion of a user: a user's own, and that of the domain that they are in.
pub trait DeletesUser: EndsTrusts {}

impl DeletesUser for Authorized<User> {}
impl EndsTrusts for Authorized<User> {}
impl EndsKeypairs for Authorized<User> {}
impl DeletesUser for Authorized<Project> {}
impl DeletesUser for Authorized<Domain> {}

/// Stores a new user, without a password.
///
/// # Errors
/// 409 when the name is taken.
pub async fn insert(tx: &mut WriteTx, user: &Authorized<Proposed<User>>, now: Micros) -> Result<()> {
    let row = Insert::into("user")
        .set("id", &user.id)
        .set("extra", extra::to_column(&user.extra))
        .set("enabled", user.enabled_flag)
        .set("default_project_id", &user.default_project_id)
        .set("created_at", DateTime(now / SECOND * SECOND))
        .set("domain_id", &user.domain_id);
    tx.execute(user, &row).await?;
    insert_name(tx, user, user).await?;
    write_options(tx, user, user).await
}

async fn insert_name(tx: &mut WriteTx, proof: &impl Proof, user: &User) -> Result<()> {
    let row = Insert::into("local_user")
        .set("user_id", &user.id)
        .set("domain_id", &user.domain_id)
        .set("name", &user.name);
    tx.execute(proof, &row).await.map_err(name_taken(&user.name, &user.domain_id))?;
    Ok(())
}

/// Stores what may have changed of a user, except the name.
///
/// # Errors
/// When the database fails.
pub async fn update(tx: &mut WriteTx, stored: &Authorized<User>, user: &User) -> Result<()> {
    let changed = Update::of("user")
        .set("extra", extra::to_column(&user.extra))
        .set("enabled", user.enabled_flag)
        .set("default_project_id", &user.default_project_id)
        .key("id", &stored.id);
    tx.execute(stored, &changed).await?;
    write_options(tx, stored, user).await
}

/// Stores a user's new name.
///
/// # Errors
/// 409 when the name is taken.
pub async fn rename(tx: &mut WriteTx, stored: &Authorized<User>, user: &User) -> Result<()> {
    let renamed = Update::of("local_user").set("name", &user.name).key("user_id", &stored.id);
    let changed = tx.execute(stored, &renamed).await.map_err(name_taken(&user.name, &stored.domain_id))?;
    // A user of another identity provider has no local name yet.
    if changed == 0 && local_id(tx, &stored.id).await?.is_none() {
        insert_name(tx, stored, user).await?;
    }
    Ok(())
}

/// The key of a user's local account, which passwords refer to.
///
/// # Errors
/// When the database fails.
pub async fn local_id(tx: &mut Tx, user: &str) -> Result<Option<i64>> {
    Ok(tx.first("SELECT id FROM local_user WHERE user_id = ?", args![Id(user)], |r| r.take()).await?)
}

/// The same; a user of another identity provider gets a local account.
///
/// # Errors
/// 409 when the name is taken among local accounts.
pub async fn local_id_or_new(tx: &mut WriteTx, proof: &impl SetsPassword, user: &User) -> Result<i64> {
    if let Some(id) = local_id(tx, &user.id).await? {
        return Ok(id);
    }
    insert_name(tx, proof, user).await?;
    let made = local_id(tx, &user.id).await?;
    made.ok_or_else(|| Error::Internal("a local account is gone right after its insertion".into()))
}

async fn write_options(tx: &mut WriteTx, proof: &impl Proof, user: &User) -> Result<()> {
    tx.execute(proof, &Delete::from("user_option").key("user_id", &user.id)).await?;
    let set = OPTIONS.iter().filter_map(|(id, name)| Some((*id, user.options.get(name)?)));
    let rows = set.fold(Insert::into("user_option"), |rows, (id, value)| {
        rows.row().set("user_id", &user.id).set("option_id", id).set("option_value", value.to_string())
    });
    if !rows.is_empty() {
        tx.execute(proof, &rows).await?;
    }
    Ok(())
}

/// Resets the count of failed logins.
///
/// # Errors
/// When the database fails.
pub async fn forget_failures(tx: &mut WriteTx, user: &Authorized<User>) -> Result<()> {
    let none_failed = Update::of("local_user")
        .set("failed_auth_count", 0_i64)
        .set("failed_auth_at", store::Value::Null)
        .key("user_id", &user.id)
        .and("failed_auth_count <> 0", &[]);
    tx.execute(user, &none_failed).await?;
    Ok(())
}

/// Records that a user was active today.
///
/// # Errors
/// When the database fails.
pub async fn seen_today(tx: &mut WriteTx, user: &Authorized<User>, now: Micros) -> Result<()> {
    let today = Date(clock::date(now));
    tx.execute(user, &Update::of("user").set("last_active_at", today).key("id", &user.id)).await?;
    Ok(())
}

/// Ends every token in which a user takes part.
///
/// # Errors
/// When the database fails.
pub async fn end_tokens(tx: &mut WriteTx, proof: &impl Proof, user: &str) -> Result<()> {
    let event = Event { user: Some(user.to_owned()), ..Event::default() };
    Ok(facts::revoke(tx, proof, event).await?)
}

/// Deletes a user with the trusts in which they take part and all below them, their credentials, grants,
/// memberships and passwords; and ends their tokens. Returns what went with them and is told of.
///
/// # Errors
/// When the database fails.
pub async fn delete(
    tx: &mut WriteTx,
    proof: &impl DeletesUser,
    user: &str,
    now: Micros,
) -> Result<Vec<Gone>> {
    let mut gone = Vec::new();
    for (kind, ids) in [
        (
            ObjectKind::ApplicationCredential,
            "SELECT id FROM application_credential WHERE user_id = ? ORDER BY id",
        ),
        (
            ObjectKind::AccessRule,
            "SELECT external_id FROM access_rule WHERE user_id = ? AND external_id IS NOT NULL ORDER BY external_id",
        ),
    ] {
        let ids: Vec<String> = tx.column(ids, args![Id(user)]).await?;
        gone.extend(ids.into_iter().map(|id| (kind, id)));
    }
    trusts::end::user_gone(tx, proof, user, now).await?;
    cascade::delete(tx, proof, "user", user).await?;
    end_tokens(tx, proof, user).await?;
    Ok(gone)
}

/// How a filter compares with the end of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `lt`
    Before,
    /// `lte`
    NotAfter,
    /// `gt`
    After,
    /// `gte`
    NotBefore,
    /// `eq`
    Same,
    /// `neq`
    Other,
}

impl Compare {
    /// The words of `password_expires_at=<word>:<time>`.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "lt" => Self::Before,
            "lte" => Self::NotAfter,
            "gt" => Self::After,
            "gte" => Self::NotBefore,
            "eq" => Self::Same,
            "neq" => Self::Other,
            _ => return None,
        })
    }

    /// Whether it holds. A password that never expires matches no comparison.
    pub fn holds(self, found: Option<Micros>, wanted: Micros) -> bool {
        found.is_some_and(|found| match self {
            Self::Before => found < wanted,
            Self::NotAfter => found <= wanted,
            Self::After => found > wanted,
            Self::NotBefore => found >= wanted,
            Self::Same => found == wanted,
            Self::Other => found != wanted,
        })
    }
}
