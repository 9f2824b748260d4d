//! What was read of a directory, written where users and groups are: `id_mapping`, `user` and `nonlocal_user` as a Keystone writes
//! them when a user logs in; `group` and `user_group_membership`, which a Keystone does not look at for such a domain. So one
//! path decides about all users, and whoever loses roles by a group loses the tokens that carried them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use vicar_rules::Micros;
use vicar_rules::directory::{Kind, Reading, Standing, public_id};
use vicar_rules::revocation::Event;

use super::entries::{Group, User, Whole};
use crate::args;
use crate::clock::SECOND;
use crate::extra;
use crate::facts::{self, Holders, RoleLossGuard};
use crate::store::schema::Dialect;
use crate::store::{CHUNK, DateTime, Delete, Error, Id, Insert, Result, Select, Store, Tx, Update, WriteTx};
use crate::system::System;

/// So many users are written by one transaction, which others wait for.
const AT_ONCE: usize = 100;

/// How long names are at most.
const USER_NAME: usize = 255;
const GROUP_NAME: usize = 64;

/// A reading of one domain.
#[derive(Debug, Clone, Copy)]
pub struct Reads<'a> {
    /// The domain.
    pub domain: &'a str,
    /// When the question was sent.
    pub at: Micros,
    /// For how long it counts.
    pub span: Micros,
    /// Whether it is of all users: then it is noted once for all of them.
    pub is_whole: bool,
}

/// Whose names are being written: of those it is known what they are called now.
type Called<'a> = BTreeMap<String, &'a str>;

impl Reads<'_> {
    /// Writes users with their groups, and who is gone, by their ids here. Returns the ids here of the users, by those there;
    /// one whose entry cannot be stored is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(
        &self,
        store: &Store,
        found: &[(User, Vec<Group>)],
        gone: &[String],
    ) -> Result<BTreeMap<String, String>> {
        let mut ids = BTreeMap::new();
        for some in found.chunks(AT_ONCE) {
            ids.extend(self.written(store, some, &[]).await?);
        }
        let locals = found.iter().map(|(user, _)| user.local.as_str());
        let left_out: BTreeSet<&str> = locals.filter(|local| !ids.contains_key(*local)).collect();
        let left_out = match left_out.is_empty() {
            true => BTreeMap::new(),
            false => self.mapped(&mut store.read().await?, Kind::User, &left_out).await?,
        };
        let gone: Vec<String> = gone.iter().cloned().chain(left_out.into_values()).collect();
        for some in gone.chunks(AT_ONCE) {
            let mut tx = store.write().await?;
            self.write_gone(&mut tx, some).await?;
            tx.commit().await?;
        }
        Ok(ids)
    }

    /// Writes entries. If the database cannot keep one as it is, then those texts are left out that engines differ about; and
    /// if that does not help, each is written by itself, so that no entry keeps others out.
    async fn written(
        &self,
        store: &Store,
        users: &[(User, Vec<Group>)],
        groups: &[Group],
    ) -> Result<BTreeMap<String, String>> {
        match self.write(store, users, groups).await {
            Err(Error::Refused(_)) => {}
            done => return done,
        }
        let groups: Vec<Group> = groups.iter().filter_map(narrow_group).collect();
        let users: Vec<(User, Vec<Group>)> = users.iter().filter_map(narrow_user).collect();
        match self.write(store, &users, &groups).await {
            Err(Error::Refused(_)) => {}
            done => return done,
        }
        let mut ids = BTreeMap::new();
        for group in &groups {
            match self.write(store, &[], std::slice::from_ref(group)).await {
                Err(Error::Refused(why)) => left_out(&group.local, &why),
                done => drop(done?),
            }
        }
        for user in &users {
            match self.write(store, std::slice::from_ref(user), &[]).await {
                Err(Error::Refused(why)) => left_out(&user.0.local, &why),
                done => ids.extend(done?),
            }
        }
        Ok(ids)
    }

    async fn write(
        &self,
        store: &Store,
        users: &[(User, Vec<Group>)],
        groups: &[Group],
    ) -> Result<BTreeMap<String, String>> {
        let mut tx = store.write().await?;
        let groups: BTreeSet<&Group> =
            groups.iter().chain(users.iter().flat_map(|(_, groups)| groups)).collect();
        let groups = self.write_groups(&mut tx, &groups).await?;
        let ids = self.write_users(&mut tx, users, &groups).await?;
        tx.commit().await?;
        Ok(ids)
    }

    /// Writes all that a directory has; what is not in it is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn whole(&self, store: &Store, all: Whole) -> Result<()> {
        let mut of_user: BTreeMap<&str, Vec<Group>> = BTreeMap::new();
        for (group, members) in &all.groups {
            for member in members {
                of_user.entry(member).or_default().push(group.clone());
            }
        }
        let groups: Vec<Group> = all.groups.iter().map(|(group, _)| group.clone()).collect();
        for some in groups.chunks(AT_ONCE) {
            self.written(store, &[], some).await?;
        }
        let groups_of = |user: &User| of_user.get(user.local.as_str()).cloned().unwrap_or_default();
        let found: Vec<(User, Vec<Group>)> =
            all.users.iter().map(|user| (user.clone(), groups_of(user))).collect();
        let ids = self.users(store, &found, &[]).await?;
        let is_there: BTreeSet<&String> = ids.values().collect();
        let gone: Vec<String> = self.known_users(&mut store.read().await?).await?;
        let gone: Vec<String> = gone.into_iter().filter(|id| !is_there.contains(id)).collect();
        self.users(store, &[], &gone).await?;
        let locals: BTreeSet<&str> = groups.iter().map(|group| group.local.as_str()).collect();
        let mut tx = store.write().await?;
        self.drop_groups(&mut tx, &locals).await?;
        let whole = Update::of("vicar_directory").set("read_at", self.at).key("domain_id", self.domain);
        if tx.execute(&System::Directory, &whole).await? == 0 {
            let row = Insert::into("vicar_directory").set("domain_id", self.domain).set("read_at", self.at);
            tx.execute(&System::Directory, &row).await?;
        }
        tx.commit().await
    }

    /// The ids here of those entries that have one, by those there.
    async fn mapped(
        &self,
        tx: &mut Tx,
        kind: Kind,
        locals: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, String>> {
        let mut out: BTreeMap<String, String> = BTreeMap::new();
        for part in locals.iter().copied().collect::<Vec<_>>().chunks(CHUNK) {
            let mut q = Select::new("SELECT m.local_id, m.public_id FROM id_mapping m");
            q.id("m.domain_id", Some(self.domain))
                .and("m.entity_type = ?", args![kind.word()])
                .id_in("m.local_id", part.iter().copied());
            out.extend(q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await?);
        }
        Ok(out)
    }

    /// The ids here of entries, by those there: new ones where there are none. An entry that must not be taken for who has its
    /// id already has none.
    async fn ids<'b>(
        &self,
        tx: &mut WriteTx,
        kind: Kind,
        locals: impl IntoIterator<Item = &'b str>,
    ) -> Result<BTreeMap<String, String>> {
        let locals: BTreeSet<&str> = locals.into_iter().collect();
        let mut out = self.mapped(tx, kind, &locals).await?;
        let known: BTreeSet<String> = out.keys().cloned().collect();
        let new = locals.iter().filter(|local| !known.contains(**local));
        out.extend(new.map(|local| ((*local).to_owned(), public_id(self.domain, kind, local))));
        if kind == Kind::User {
            let linked = linked(tx, &out.values().collect::<Vec<_>>()).await?;
            out.retain(|local, id| {
                let is_free = !linked.contains(id);
                if !is_free {
                    left_out(local, "who has come through an identity provider has its id");
                }
                is_free
            });
        }
        for local in locals.into_iter().filter(|local| !known.contains(*local)) {
            let Some(id) = out.get(local) else { continue };
            if let Some(other) = self.same_to_the_database(tx, kind, local).await? {
                left_out(local, &format!("its id is the same to this database as that of {other:?}"));
                out.remove(local);
                continue;
            }
            let row = Insert::into("id_mapping")
                .set("public_id", id)
                .set("domain_id", self.domain)
                .set("local_id", local)
                .set("entity_type", kind.word());
            tx.execute(&System::Directory, &row).await?;
        }
        Ok(out)
    }

    /// The other id in the directory that leaves no room for a new one: a collation takes `jurgen` for `jürgen`, or `Ann` for
    /// `ann`. A Keystone takes the second of them for the first.
    async fn same_to_the_database(&self, tx: &mut Tx, kind: Kind, local: &str) -> Result<Option<String>> {
        match tx.dialect() {
            Dialect::Mysql => {
                // Not an id, so compared by the collation of the column, as its unique key is.
                let sql = "SELECT m.local_id FROM id_mapping m
                            WHERE m.domain_id = ? AND m.entity_type = ? AND CONCAT(m.local_id, '') = ?";
                tx.first(sql, args![Id(self.domain), kind.word(), local], |r| r.take()).await
            }
            Dialect::Sqlite | Dialect::Postgres => Ok(None),
        }
    }

    /// Writes groups; their ids here, by those there.
    async fn write_groups(
        &self,
        tx: &mut WriteTx,
        groups: &BTreeSet<&Group>,
    ) -> Result<BTreeMap<String, String>> {
        let ids = self.ids(tx, Kind::Group, groups.iter().map(|group| group.local.as_str())).await?;
        let groups = || groups.iter().filter_map(|group| Some((*group, ids.get(&group.local)?)));
        let called: Called<'_> = groups().map(|(group, id)| (id.clone(), group.name.as_str())).collect();
        let mut stored: BTreeMap<String, (String, String)> = BTreeMap::new();
        for part in ids.values().collect::<Vec<_>>().chunks(CHUNK) {
            let mut q = Select::new("SELECT g.id, g.name, g.description FROM \"group\" g");
            q.id_in("g.id", part.iter().copied());
            let rows = q.map(tx, |r| {
                let (id, name): (String, String) = (r.take()?, r.take()?);
                Ok((id, (name, r.take::<Option<String>>()?.unwrap_or_default())))
            });
            stored.extend(rows.await?);
        }
        for (group, id) in groups() {
            let description = group.description.clone().unwrap_or_default();
            let is = stored.get(id);
            let name =
                self.free_name(tx, "group", (id, &group.name), is.map(|(name, _)| name), &called).await?;
            match is {
                Some(as_stored) if *as_stored == (name.clone(), description.clone()) => {}
                Some(_) => {
                    let changed =
                        Update::of("group").set("name", name).set("description", description).key("id", id);
                    tx.execute(&System::Directory, &changed).await?;
                }
                None => {
                    let row = Insert::into("group")
                        .set("id", id)
                        .set("domain_id", self.domain)
                        .set("name", name)
                        .set("description", description)
                        .set("extra", "{}");
                    tx.execute(&System::Directory, &row).await?;
                }
            }
        }
        Ok(ids)
    }

    /// The name under which something is stored: names in a domain are unique here, and in a directory they need not be. Who
    /// had it keeps it, as long as they are still called so; the other is shown with a part of their id.
    async fn free_name(
        &self,
        tx: &mut WriteTx,
        table: &'static str,
        (id, name): (&str, &str),
        stored: Option<&String>,
        called: &Called<'_>,
    ) -> Result<String> {
        let (column, most) = if table == "group" { ("id", GROUP_NAME) } else { ("user_id", USER_NAME) };
        let plain: String = name.chars().take(most).collect();
        if stored == Some(&plain) {
            return Ok(plain);
        }
        let sql =
            format!("SELECT h.{column}, h.name FROM \"{table}\" h WHERE h.domain_id = ? AND h.name = ?");
        let holder: Option<(String, String)> =
            tx.first(&sql, args![Id(self.domain), &plain], |r| Ok((r.take()?, r.take()?))).await?;
        let Some((holder, held)) = holder.filter(|(holder, _)| holder != id) else { return Ok(plain) };
        let with_id = |id: &str| {
            let start: String = name.chars().take(most - 15).collect();
            format!("{start} ({})", id.chars().take(12).collect::<String>())
        };
        let keeps = match called.get(&holder) {
            Some(now) => now.chars().take(most).eq(held.chars()),
            None => table == "group" || self.is_fresh(tx, &holder).await?,
        };
        if keeps {
            return Ok(with_id(id));
        }
        let other = Update::of(table).set("name", with_id(&holder)).key(column, holder.as_str());
        tx.execute(&System::Directory, &other).await?;
        Ok(plain)
    }

    /// Whether a user was read lately, and was there.
    async fn is_fresh(&self, tx: &mut Tx, id: &str) -> Result<bool> {
        let sql = "SELECT read_at, gone_at FROM vicar_directory_entry WHERE public_id = ?";
        let read: Option<Reading> = tx
            .first(sql, args![Id(id)], |r| {
                Ok(Reading { at: r.take()?, is_gone: r.take::<Option<i64>>()?.is_some() })
            })
            .await?;
        Ok(read.is_some_and(|read| matches!(read.standing(self.span, self.at), Standing::Counts(_))))
    }

    async fn write_users(
        &self,
        tx: &mut WriteTx,
        found: &[(User, Vec<Group>)],
        groups: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        let ids = self.ids(tx, Kind::User, found.iter().map(|(user, _)| user.local.as_str())).await?;
        let public: Vec<&String> = ids.values().collect();
        let newer = self.newer(tx, &public).await?;
        let stored = stored_users(tx, &public).await?;
        let members = memberships(tx, &public).await?;
        let called: Called<'_> =
            found.iter().filter_map(|(u, _)| Some((ids.get(&u.local)?.clone(), u.name.as_str()))).collect();
        let mut lost: Vec<(&String, &String)> = Vec::new();
        let mut new: Vec<(&String, &String)> = Vec::new();
        let none = BTreeSet::new();
        let mut noted = Vec::new();
        for (user, theirs) in found {
            let Some(id) = ids.get(&user.local).filter(|id| !newer.contains(*id)) else { continue };
            self.write_user(tx, id, user, stored.get(id), &called).await?;
            let is = members.get(id).unwrap_or(&none);
            let now: BTreeSet<&String> = theirs.iter().filter_map(|group| groups.get(&group.local)).collect();
            lost.extend(is.iter().filter(|group| !now.contains(group)).map(|group| (id, group)));
            new.extend(now.into_iter().filter(|group| !is.contains(*group)).map(|group| (id, group)));
            noted.push(id.as_str());
        }
        self.change_members(tx, &lost, &new).await?;
        self.note(tx, &noted, None).await?;
        Ok(ids)
    }

    /// Those of some users who were read later than this was.
    async fn newer(&self, tx: &mut Tx, ids: &[&String]) -> Result<BTreeSet<String>> {
        let mut out = BTreeSet::new();
        for part in ids.chunks(CHUNK) {
            let mut q = Select::new("SELECT e.public_id FROM vicar_directory_entry e");
            q.and("e.read_at > ?", args![self.at]).id_in("e.public_id", part.iter().copied());
            out.extend(q.map(tx, |r| r.take::<String>()).await?);
        }
        Ok(out)
    }

    async fn write_user(
        &self,
        tx: &mut WriteTx,
        id: &str,
        user: &User,
        is: Option<&StoredUser>,
        called: &Called<'_>,
    ) -> Result<()> {
        let mut attributes = is.map(|is| is.extra.clone()).unwrap_or_default();
        for (name, value) in [("description", &user.description), ("email", &user.mail)] {
            match value {
                Some(value) => drop(attributes.insert(name.to_owned(), value.clone().into())),
                None => drop(attributes.remove(name)),
            }
        }
        let stored = is.and_then(|is| is.name.as_ref());
        let name = self.free_name(tx, "nonlocal_user", (id, &user.name), stored, called).await?;
        let Some(is) = is else {
            let row = Insert::into("user")
                .set("id", id)
                .set("extra", extra::to_column(&attributes))
                .set("enabled", user.enabled)
                .set("default_project_id", &user.default_project)
                .set("created_at", DateTime(self.at / SECOND * SECOND))
                .set("domain_id", self.domain);
            tx.execute(&System::Directory, &row).await?;
            return self.name(tx, id, name).await;
        };
        if (is.enabled, &is.default_project, &is.extra) != (user.enabled, &user.default_project, &attributes)
        {
            let changed = Update::of("user")
                .set("extra", extra::to_column(&attributes))
                .set("enabled", user.enabled)
                .set("default_project_id", &user.default_project)
                .key("id", id);
            tx.execute(&System::Directory, &changed).await?;
        }
        if is.enabled && !user.enabled {
            end_tokens(tx, id).await?;
        }
        match stored {
            Some(stored) if *stored == name => Ok(()),
            Some(_) => {
                let renamed = Update::of("nonlocal_user").set("name", name).key("user_id", id);
                tx.execute(&System::Directory, &renamed).await.map(drop)
            }
            None => self.name(tx, id, name).await,
        }
    }

    async fn name(&self, tx: &mut WriteTx, id: &str, name: String) -> Result<()> {
        let row =
            Insert::into("nonlocal_user").set("domain_id", self.domain).set("name", name).set("user_id", id);
        tx.execute(&System::Directory, &row).await.map(drop)
    }

    /// Takes users out of groups, and puts them into others. What they lose by it ends the tokens that carried it.
    async fn change_members(
        &self,
        tx: &mut WriteTx,
        lost: &[(&String, &String)],
        new: &[(&String, &String)],
    ) -> Result<()> {
        let losers: BTreeSet<String> = lost.iter().map(|(user, _)| (*user).clone()).collect();
        let guard = match losers.is_empty() {
            true => None,
            false => Some(RoleLossGuard::begin(tx, losers).await?),
        };
        for (user, group) in lost {
            let row = Delete::from("user_group_membership").key("user_id", *user).key("group_id", *group);
            tx.execute(&System::Directory, &row).await?;
        }
        for some in new.chunks(CHUNK) {
            let rows = some.iter().fold(Insert::into("user_group_membership"), |rows, (user, group)| {
                rows.row().set("user_id", *user).set("group_id", *group)
            });
            tx.execute(&System::Directory, &rows).await?;
        }
        match guard {
            Some(guard) => guard.finish(tx, &System::Directory).await,
            None => Ok(()),
        }
    }

    /// Notes that entries were read, and whether they were gone.
    async fn note(&self, tx: &mut WriteTx, ids: &[&str], gone: Option<Micros>) -> Result<()> {
        for part in ids.chunks(CHUNK) {
            let mut q = Select::new("SELECT e.public_id FROM vicar_directory_entry e");
            q.id_in("e.public_id", part.iter().copied());
            let there: BTreeSet<String> = q.map(tx, |r| r.take::<String>()).await?.into_iter().collect();
            if !there.is_empty() {
                let mut read = Update::of("vicar_directory_entry")
                    .set("read_at", self.at)
                    .set("gone_at", gone)
                    .key_in("public_id", there.iter().map(String::as_str));
                if self.is_whole && gone.is_none() {
                    read = read.and("gone_at IS NOT NULL", &[]);
                }
                tx.execute(&System::Directory, &read).await?;
            }
            let new = part.iter().filter(|id| !there.contains(**id));
            let rows = new.fold(Insert::into("vicar_directory_entry"), |rows, id| {
                rows.row()
                    .set("public_id", *id)
                    .set("domain_id", self.domain)
                    .set("read_at", self.at)
                    .set("gone_at", gone)
            });
            if !rows.is_empty() {
                tx.execute(&System::Directory, &rows).await?;
            }
        }
        Ok(())
    }

    /// Removes what shows users who are gone. What they were given and what they gave stays, as in a Keystone, and is worth
    /// nothing until they are back.
    async fn write_gone(&self, tx: &mut WriteTx, ids: &[String]) -> Result<()> {
        let all: Vec<&String> = ids.iter().collect();
        let newer = self.newer(tx, &all).await?;
        let gone: Vec<&str> = ids.iter().filter(|id| !newer.contains(*id)).map(String::as_str).collect();
        let there: Vec<String> = stored_users(tx, &all).await?.into_keys().collect();
        // The row of who has come through an identity provider is not the directory's.
        let linked = linked(tx, &all).await?;
        let is_ours = |id: &&str| gone.contains(id) && !linked.contains(*id);
        let there: Vec<&str> = there.iter().map(String::as_str).filter(is_ours).collect();
        if !there.is_empty() {
            let guard = RoleLossGuard::begin(tx, there.iter().map(|id| (*id).to_owned())).await?;
            for (table, column) in [
                ("user_group_membership", "user_id"),
                ("expiring_user_group_membership", "user_id"),
                ("user_option", "user_id"),
                ("nonlocal_user", "user_id"),
                ("user", "id"),
            ] {
                let rows = Delete::from(table).key_in(column, there.iter().copied());
                tx.execute(&System::Directory, &rows).await?;
            }
            guard.finish(tx, &System::Directory).await?;
            for id in &there {
                end_tokens(tx, id).await?;
            }
        }
        self.note(tx, &gone, Some(self.at)).await
    }

    /// The users of the domain's directory who are known here and were not read later than this was.
    async fn known_users(&self, tx: &mut Tx) -> Result<Vec<String>> {
        let sql = "SELECT n.user_id FROM nonlocal_user n
                     LEFT JOIN vicar_directory_entry e ON e.public_id = n.user_id
                    WHERE n.domain_id = ? AND (e.read_at IS NULL OR e.read_at <= ?)";
        tx.column(sql, args![Id(self.domain), self.at]).await
    }

    /// Removes the groups of the domain that are not among those.
    async fn drop_groups(&self, tx: &mut WriteTx, locals: &BTreeSet<&str>) -> Result<()> {
        let sql = "SELECT g.id, m.local_id FROM \"group\" g
                     JOIN id_mapping m ON m.public_id = g.id AND m.entity_type = 'group'
                    WHERE g.domain_id = ?";
        let all: Vec<(String, String)> =
            tx.map(sql, args![Id(self.domain)], |r| Ok((r.take()?, r.take()?))).await?;
        for (group, _) in all.into_iter().filter(|(_, local)| !locals.contains(local.as_str())) {
            // A Keystone on this database may have put users of identity providers into it.
            let holders = Holders::group(tx, &group).await?;
            let guard = RoleLossGuard::begin_for(tx, holders).await?;
            for members in ["user_group_membership", "expiring_user_group_membership"] {
                tx.execute(&System::Directory, &Delete::from(members).key("group_id", &group)).await?;
            }
            tx.execute(&System::Directory, &Delete::from("group").key("id", &group)).await?;
            guard.finish(tx, &System::Directory).await?;
        }
        Ok(())
    }
}

async fn end_tokens(tx: &mut WriteTx, user: &str) -> Result<()> {
    let event = Event { user: Some(user.to_owned()), ..Event::default() };
    facts::revoke(tx, &System::Directory, event).await
}

/// Warns the operator of an entry that is not there for us.
fn left_out(local: &str, why: &str) {
    tracing::warn!(entry = local, why, "directory: an entry is left out");
}

/// Texts of a user or group are left out if they are longer, in bytes of JSON: two of them fit the columns of every engine.
const LONGEST_TEXT: usize = 30_000;

/// Whether every engine can keep it: characters of more than three bytes are not in the tables of every Keystone.
fn is_narrow(text: &str) -> bool {
    text.chars().all(|c| c <= '\u{ffff}')
}

/// A text that every engine can keep.
fn narrow(text: &Option<String>) -> Option<String> {
    let fits =
        |text: &String| is_narrow(text) && Value::from(text.as_str()).to_string().len() <= LONGEST_TEXT;
    text.clone().filter(fits)
}

/// A group without what some engine cannot keep; nothing if that is its id or name.
fn narrow_group(group: &Group) -> Option<Group> {
    if !is_narrow(&group.local) || !is_narrow(&group.name) {
        left_out(&group.local, "its id or name has characters that the database cannot keep");
        return None;
    }
    Some(Group { description: narrow(&group.description), ..group.clone() })
}

/// A user, likewise.
fn narrow_user((user, groups): &(User, Vec<Group>)) -> Option<(User, Vec<Group>)> {
    if !is_narrow(&user.local) || !is_narrow(&user.name) {
        left_out(&user.local, "its id or name has characters that the database cannot keep");
        return None;
    }
    let user = User {
        mail: narrow(&user.mail),
        description: narrow(&user.description),
        default_project: narrow(&user.default_project),
        ..user.clone()
    };
    Some((user, groups.iter().filter_map(narrow_group).collect()))
}

/// Those of some users who have come through an identity provider.
async fn linked(tx: &mut Tx, ids: &[&String]) -> Result<BTreeSet<String>> {
    let mut out = BTreeSet::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new("SELECT f.user_id FROM federated_user f");
        q.id_in("f.user_id", part.iter().copied());
        out.extend(q.map(tx, |r| r.take::<String>()).await?);
    }
    Ok(out)
}

/// A user of a directory, as stored.
struct StoredUser {
    enabled: bool,
    default_project: Option<String>,
    extra: Map<String, Value>,
    name: Option<String>,
}

async fn stored_users(tx: &mut Tx, ids: &[&String]) -> Result<BTreeMap<String, StoredUser>> {
    let mut out = BTreeMap::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new(
            "SELECT u.id, u.enabled, u.default_project_id, u.extra, n.name FROM \"user\" u
               LEFT JOIN nonlocal_user n ON n.user_id = u.id",
        );
        q.id_in("u.id", part.iter().copied());
        let rows = q.map(tx, |r| {
            let id: String = r.take()?;
            let enabled = r.take::<Option<bool>>()?.unwrap_or(false);
            let default_project = r.take()?;
            Ok((id, StoredUser { enabled, default_project, extra: extra::read(r.take()?), name: r.take()? }))
        });
        out.extend(rows.await?);
    }
    Ok(out)
}

async fn memberships(tx: &mut Tx, users: &[&String]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for part in users.chunks(CHUNK) {
        let mut q = Select::new("SELECT m.user_id, m.group_id FROM user_group_membership m");
        q.id_in("m.user_id", part.iter().copied());
        for (user, group) in q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?))).await? {
            out.entry(user).or_default().insert(group);
        }
    }
    Ok(out)
}
