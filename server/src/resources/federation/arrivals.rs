//! Who has come through an identity provider, stored: the user, their groups for a time, and what the operator's mapping
//! provides for them. All of it happens in the transaction of the login, or none of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vicar_rules::arrival::{self, Grants, Named, Person, Place};
use vicar_rules::delegation::Presence;
use vicar_rules::revocation::Event;
use vicar_rules::roles::RoleSet;

use crate::args;
use crate::auth::federated::Comer;
use crate::auth::login::{self, Account, Called};
use crate::authz::Writing;
use crate::clock::{self, SECOND};
use crate::error::{Error, Result};
use crate::extra;
use crate::facts::{self, RoleLossGuard};
use crate::ids;
use crate::notifications::{Action, ObjectKind};
use crate::reason::Reason;
use crate::resources::projects::{self, ProjectPatch};
use crate::store::{self, CHUNK, Date, DateTime, Delete, Id, Insert, Row, Select, Tx, Update, WriteTx};
use crate::system::{Provided, System};

/// Who has come.
#[derive(Debug)]
pub struct Arrived {
    /// The user's id.
    pub user: String,
    /// The groups that their token names; nothing for a user who was here before and only logs in this way.
    pub groups: Option<Vec<String>>,
    /// The local account, to note the login there.
    account: Option<Account>,
}

impl Arrived {
    /// Notes the login of a local user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record(&self, s: &mut Writing<'_>) -> Result<()> {
        match &self.account {
            Some(account) => login::seen(&mut s.tx, s.app.auth(), account, s.now).await,
            None => Ok(()),
        }
    }
}

/// Stores who has come.
///
/// # Errors
/// 401 for a group or a local user who is not there, 404 for a domain or a role, 403 for a role of another domain or a group of
/// a directory, 409 for a user who came another way, 503 when a directory is away; [`Error::Pending`] until it is asked.
pub async fn receive(s: &mut Writing<'_>, comer: &Comer) -> Result<Arrived> {
    match &comer.arrival.person {
        Person::Local { user, domain } => local(s, user, domain.as_ref()).await,
        Person::Shadow { unique_id, name, email, domain } => {
            let domain = match domain {
                Some(named) => domain_id(&mut s.tx, named).await?,
                None => comer.way.domain.clone(),
            };
            let shadow = Shadow { comer, unique_id, name, email: email.as_deref(), domain: &domain };
            shadow.receive(s).await
        }
    }
}

async fn local(s: &mut Writing<'_>, user: &Named, domain: Option<&Named>) -> Result<Arrived> {
    let (tx, slow) = (&mut s.tx, &mut *s.slow);
    let unknown = || Error::Unauthorized(Reason::NoSuchUser);
    let account = match (user, domain) {
        (Named::Id(id), _) => login::let_in(tx, slow, Called::Id(id)).await?,
        (Named::Name(name), Some(domain)) => match domain_id(tx, domain).await {
            Err(Error::NotFound(..)) => return Err(unknown()),
            found => login::let_in(tx, slow, Called::Name(name, &found?)).await?,
        },
        (Named::Name(_), None) => None,
    };
    let account = account.ok_or_else(unknown)?;
    if !facts::user(tx, account.user()).await?.is_some_and(|user| user.presence == Presence::Active) {
        return Err(Error::Unauthorized(Reason::Disabled));
    }
    Ok(Arrived { user: account.user().to_owned(), groups: None, account: Some(account) })
}

async fn domain_id(tx: &mut Tx, domain: &Named) -> Result<String> {
    let (found, named) = match domain {
        Named::Id(id) => (facts::domain(tx, id).await?, id),
        Named::Name(name) => {
            // To some databases other letters are the same.
            let found = facts::domain_named(tx, name).await?;
            (found.filter(|domain| domain.name == *name), name)
        }
    };
    Ok(found.ok_or_else(|| Error::NotFound("domain", named.clone()))?.id)
}

/// A user of an identity provider.
struct Shadow<'a> {
    comer: &'a Comer,
    unique_id: &'a str,
    name: &'a str,
    email: Option<&'a str>,
    domain: &'a str,
}

impl Shadow<'_> {
    async fn receive(&self, s: &mut Writing<'_>) -> Result<Arrived> {
        let groups = self.groups(&mut s.tx).await?;
        let roles = self.roles(&mut s.tx).await?;
        let sql = "SELECT f.user_id, f.display_name, u.domain_id FROM federated_user f
                     JOIN \"user\" u ON u.id = f.user_id
                    WHERE f.idp_id = ? AND f.protocol_id = ? AND f.unique_id = ?";
        let (provider, protocol) = (&self.comer.way.provider, &self.comer.protocol);
        let read = |r: &mut Row| Ok((r.take::<String>()?, r.take::<Option<String>>()?, r.take::<String>()?));
        let args = args![Id(provider), Id(protocol), Id(self.unique_id)];
        let known = s.tx.first(sql, args, read).await?;
        // Both ids are made alike, of the domain and of what somebody is called there. Whoever came before the user of the
        // directory would be them from then on.
        let domain = known.as_ref().map_or(self.domain, |(_, _, domain)| domain);
        let id = known.as_ref().map_or_else(|| self.id(), |(user, ..)| user.clone());
        let tx = &mut s.tx;
        if facts::directories::is_served(tx, domain).await? || facts::directories::has_user(tx, &id).await? {
            return Err(Error::taken(
                "federated_user",
                "the users of this domain are those of its directory",
            ));
        }
        let user = match known {
            Some((user, shown, _)) => {
                self.refresh(s, &user, shown.as_deref()).await?;
                user
            }
            None => self.make(s, id).await?,
        };
        let stale = self.stale(&mut s.tx, &user, &groups).await?;
        let wanted = self.provide(s, &roles).await?;
        let held = if self.comer.decides_alone || !wanted.is_empty() {
            held(&mut s.tx, &user).await?
        } else {
            BTreeMap::new()
        };
        let (made, taken) = arrival::grants(&held, &wanted, self.comer.decides_alone);
        let guard = match stale.is_empty() && taken.is_empty() {
            true => None,
            false => Some(RoleLossGuard::begin(&mut s.tx, [user.clone()]).await?),
        };
        self.join(s, &user, &groups, &stale).await?;
        grant(&mut s.tx, &user, &made).await?;
        for (project, role) in &taken {
            let row = Delete::from("assignment").key("type", "UserProject").key("actor_id", &user);
            let row = row.key("target_id", project).key("role_id", role).and("inherited = ?", args![false]);
            s.tx.execute(&System::Login, &row).await?;
        }
        // The new token has to live, which is one of this second: as in Keystone, what is taken was so in the second before.
        let before = (s.now / SECOND - 1) * SECOND;
        if let Some(guard) = guard {
            guard.finish_before(&mut s.tx, &System::Login, before).await?;
        }
        if !stale.is_empty() {
            // Tokens name groups themselves, so those from before would still have these.
            let of_user = Event { user: Some(user.clone()), ..Event::default() };
            facts::revoke_before(&mut s.tx, &System::Login, of_user, before).await?;
        }
        Ok(Arrived { user, groups: Some(groups.into_iter().collect()), account: None })
    }

    /// The ids of the groups that the mapping says.
    async fn groups(&self, tx: &mut Tx) -> Result<BTreeSet<String>> {
        let mut groups = self.comer.arrival.group_ids.clone();
        let by_id: Vec<String> = groups.iter().cloned().collect();
        if !facts::federation::are_groups(tx, &by_id).await? {
            tracing::info!(
                groups = by_id.join(", "),
                "federation: the mapping names a group that is not there"
            );
            return Err(Error::Unauthorized(Reason::NoSuchGroup));
        }
        for group in &by_id {
            if facts::directories::has_group(tx, group).await? {
                return Err(of_a_directory(group));
            }
        }
        for (name, domain) in &self.comer.arrival.groups {
            let domain = domain_id(tx, domain).await?;
            if facts::directories::is_served(tx, &domain).await? {
                return Err(of_a_directory(name));
            }
            let sql = "SELECT id FROM \"group\" WHERE name = ? AND domain_id = ?";
            // Exactly this name, as of an id.
            groups.extend(tx.column::<String>(sql, args![Id(name.as_str()), Id(&domain)]).await?);
        }
        Ok(groups)
    }

    /// The ids of the roles that the mapping names: those that are no domain's before those of the user's.
    async fn roles(&self, tx: &mut Tx) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        let named: BTreeSet<&String> =
            self.comer.arrival.places.iter().flat_map(|place| &place.roles).collect();
        for name in named {
            let mut q = Select::new("SELECT id, domain_id FROM role");
            q.eq("name", Some(name.as_str()));
            let all = q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?;
            let of = |domain: &str| all.iter().find(|(_, of)| of == domain).map(|(id, _)| id.clone());
            match of(facts::NO_DOMAIN).or_else(|| of(self.domain)) {
                Some(id) => drop(found.insert(name.clone(), id)),
                None if all.is_empty() => return Err(Error::NotFound("role", name.clone())),
                None => {
                    return Err(Error::Forbidden(format!(
                        "role: {name} must be within the same domain as the identity provider: {}.",
                        self.comer.way.provider
                    )));
                }
            }
        }
        Ok(found)
    }

    /// The user's id, which is the same wherever they come to: as a Keystone makes it.
    fn id(&self) -> String {
        hex::encode(
            Sha256::new()
                .chain_update(self.domain)
                .chain_update("user")
                .chain_update(self.unique_id)
                .finalize(),
        )
    }

    async fn make(&self, s: &mut Writing<'_>, id: String) -> Result<String> {
        let mut more = Map::new();
        if let Some(email) = self.email {
            more.insert("email".into(), email.into());
        }
        let user = Insert::into("user")
            .set("id", &id)
            .set("extra", extra::to_column(&more))
            .set("enabled", true)
            .set("created_at", DateTime(s.now / SECOND * SECOND))
            .set("last_active_at", Date(clock::date(s.now)))
            .set("domain_id", self.domain);
        let link = Insert::into("federated_user")
            .set("user_id", &id)
            .set("idp_id", &self.comer.way.provider)
            .set("protocol_id", &self.comer.protocol)
            .set("unique_id", self.unique_id)
            .set("display_name", self.name);
        for row in [user, link] {
            s.tx.execute(&System::Login, &row).await.map_err(|e| match e {
                store::Error::Duplicate => {
                    Error::taken("federated_user", "this user has come another way before")
                }
                other => other.into(),
            })?;
        }
        Ok(id)
    }

    /// Takes over what the provider says anew of a user, and notes that they were here.
    async fn refresh(&self, s: &mut Writing<'_>, user: &str, shown: Option<&str>) -> Result<()> {
        if shown != Some(self.name) {
            let renamed = Update::of("federated_user")
                .set("display_name", self.name)
                .key("idp_id", &self.comer.way.provider)
                .key("protocol_id", &self.comer.protocol)
                .key("unique_id", self.unique_id);
            s.tx.execute(&System::Login, &renamed).await?;
        }
        let sql = "SELECT extra, last_active_at FROM \"user\" WHERE id = ?";
        let stored: Option<(Option<String>, Option<Date>)> =
            s.tx.first(sql, args![Id(user)], |r| Ok((r.take()?, r.take()?))).await?;
        let (stored, last) = stored.unwrap_or_default();
        let today = clock::date(s.now);
        let mut change = Update::of("user").key("id", user);
        if last.is_none_or(|day| day.0 != today) {
            change = change.set("last_active_at", Date(today));
        }
        let mut more = extra::read(stored);
        if let Some(email) = self.email
            && more.get("email").and_then(Value::as_str) != Some(email)
        {
            more.insert("email".into(), email.into());
            change = change.set("extra", extra::to_column(&more));
        }
        if !change.is_empty() {
            s.tx.execute(&System::Login, &change).await?;
        }
        Ok(())
    }

    /// The groups for a time that the user has by this provider, and that it does not say any more.
    async fn stale(&self, tx: &mut Tx, user: &str, groups: &BTreeSet<String>) -> Result<Vec<String>> {
        let sql = "SELECT group_id FROM expiring_user_group_membership WHERE user_id = ? AND idp_id = ?";
        let mut before: Vec<String> = tx.column(sql, args![Id(user), Id(&self.comer.way.provider)]).await?;
        before.retain(|group| !groups.contains(group));
        Ok(before)
    }

    /// Sets the groups for a time: from now on their time runs anew.
    async fn join(
        &self,
        s: &mut Writing<'_>,
        user: &str,
        groups: &BTreeSet<String>,
        stale: &[String],
    ) -> Result<()> {
        let provider = &self.comer.way.provider;
        let groups: Vec<&String> = groups.iter().collect();
        let seen = DateTime(s.now / SECOND * SECOND);
        for some in stale.chunks(CHUNK) {
            let gone =
                Delete::from("expiring_user_group_membership").key("user_id", user).key("idp_id", provider);
            s.tx.execute(&System::Login, &gone.key_in("group_id", some)).await?;
        }
        for some in groups.chunks(CHUNK) {
            let mut q = Select::new("SELECT group_id FROM expiring_user_group_membership");
            q.id("user_id", Some(user)).id("idp_id", Some(provider)).id_in("group_id", some.iter().copied());
            let known: Vec<String> = q.map(&mut s.tx, |r| r.take()).await?;
            if !known.is_empty() {
                let renewed = Update::of("expiring_user_group_membership")
                    .set("last_verified", seen)
                    .key("user_id", user)
                    .key("idp_id", provider)
                    .key_in("group_id", &known);
                s.tx.execute(&System::Login, &renewed).await?;
            }
            let new = some.iter().filter(|group| !known.contains(group));
            let rows = new.fold(Insert::into("expiring_user_group_membership"), |rows, group| {
                rows.row()
                    .set("user_id", user)
                    .set("group_id", *group)
                    .set("idp_id", provider)
                    .set("last_verified", seen)
            });
            if !rows.is_empty() {
                s.tx.execute(&System::Login, &rows).await.map_err(at_once)?;
            }
        }
        Ok(())
    }

    /// The projects that the mapping says, made where they are not there, with the ids of their roles.
    async fn provide(
        &self,
        s: &mut Writing<'_>,
        roles: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, RoleSet>> {
        let mut wanted: BTreeMap<String, RoleSet> = BTreeMap::new();
        for place in &self.comer.arrival.places {
            let project = self.project(s, place).await?;
            let ids = place.roles.iter().filter_map(|name| roles.get(name).cloned());
            wanted.entry(project).or_default().extend(ids);
        }
        Ok(wanted)
    }

    async fn project(&self, s: &mut Writing<'_>, place: &Place) -> Result<String> {
        let domain = match &place.domain {
            Some(named) => domain_id(&mut s.tx, named).await?,
            None => self.comer.way.domain.clone(),
        };
        if let Some(found) = facts::project_named(&mut s.tx, &place.name, &domain).await? {
            return Ok(found.id);
        }
        let body = Map::from_iter([("name".to_owned(), place.name.as_str().into())]);
        let project = ProjectPatch::of(body).into_new(ids::uuid(), Some((domain.clone(), domain)));
        let id = project.id.clone();
        projects::create(&mut s.tx, s.app, &Provided(project)).await?;
        s.tell_followed(ObjectKind::Project, Action::Created, [id.clone()]);
        Ok(id)
    }
}

/// Who is in a group of a directory, the directory alone says.
fn of_a_directory(group: &str) -> Error {
    Error::Forbidden(format!(
        "The mapping says group {group}, which is one of a directory: that alone says who is in it."
    ))
}

/// What a user holds on projects by grants of their own.
async fn held(tx: &mut Tx, user: &str) -> Result<BTreeMap<String, RoleSet>> {
    let sql = "SELECT target_id, role_id FROM assignment WHERE type = 'UserProject' AND actor_id = ? AND inherited = ?";
    let rows =
        tx.map(sql, args![Id(user), false], |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?;
    let mut held: BTreeMap<String, RoleSet> = BTreeMap::new();
    for (project, role) in rows {
        held.entry(project).or_default().insert(role);
    }
    Ok(held)
}

async fn grant(tx: &mut WriteTx, user: &str, made: &Grants) -> Result<()> {
    for some in made.chunks(CHUNK) {
        let rows = some.iter().fold(Insert::into("assignment"), |rows, (project, role)| {
            rows.row()
                .set("type", "UserProject")
                .set("actor_id", user)
                .set("target_id", project)
                .set("role_id", role)
                .set("inherited", false)
        });
        tx.execute(&System::Login, &rows).await.map_err(at_once)?;
    }
    Ok(())
}

/// A Keystone on the same database was faster; the next run finds it.
fn at_once(e: store::Error) -> store::Error {
    match e {
        store::Error::Duplicate => store::Error::Retry("the same login at once".into()),
        other => other,
    }
}
